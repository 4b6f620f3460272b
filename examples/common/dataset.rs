//! Labelled images in the IDX format of MNIST, Fashion-MNIST and their kin.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

/// The classes of every data set of this family.
pub const CLASSES: usize = 10;

/// Labelled grey images of one size.
pub struct Images {
    /// Height and width.
    pub size: [usize; 2],
    /// A byte a pixel, image after image.
    pixels: Vec<u8>,
    /// The class of each image, below [`CLASSES`].
    labels: Vec<u8>,
}

impl Images {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Batches in an order drawn from `seed`; the last one may be smaller.
    pub fn shuffled(
        &self,
        batch: usize,
        seed: u64,
    ) -> impl ExactSizeIterator<Item = (Vec<f32>, Vec<u8>)> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut order);
        self.batches(batch, order)
    }

    /// Batches in the order of the file; the last one may be smaller.
    pub fn in_order(&self, batch: usize) -> impl ExactSizeIterator<Item = (Vec<f32>, Vec<u8>)> {
        self.batches(batch, (0..self.len()).collect())
    }

    /// Pixels from 0 (black) to 1, shape (N, 1, H, W), and labels, shape (N).
    fn batches(
        &self,
        batch: usize,
        order: Vec<usize>,
    ) -> impl ExactSizeIterator<Item = (Vec<f32>, Vec<u8>)> {
        let batch = batch.max(1);
        let area = self.size[0] * self.size[1];
        (0..order.len().div_ceil(batch)).map(move |step| {
            let chosen = &order[step * batch..order.len().min((step + 1) * batch)];
            let pixels = chosen
                .iter()
                .flat_map(|&i| &self.pixels[i * area..(i + 1) * area]);
            let labels = chosen.iter().map(|&i| self.labels[i]);
            (
                pixels.map(|&pixel| f32::from(pixel) / 255.0).collect(),
                labels.collect(),
            )
        })
    }
}

/// The training and the test images in `folder`: the standard four files, gzipped or not.
pub fn load(folder: &Path) -> Result<(Images, Images), Box<dyn Error>> {
    let train = load_split(folder, "train")?;
    let test = load_split(folder, "t10k")?;
    if train.size != test.size {
        let ([h, w], [test_h, test_w]) = (train.size, test.size);
        let sizes = format!("training images of {h}x{w} and test images of {test_h}x{test_w}");
        return Err(format!("{}: {sizes}", folder.display()).into());
    }
    Ok((train, test))
}

fn load_split(folder: &Path, split: &str) -> Result<Images, Box<dyn Error>> {
    let images = Idx::<3>::read(folder, &format!("{split}-images-idx3-ubyte"))?;
    let labels = Idx::<1>::read(folder, &format!("{split}-labels-idx1-ubyte"))?;
    let ([count, height, width], [labelled]) = (images.extents, labels.extents);
    if images.values.is_empty() {
        return Err(images.error("holds no pixels").into());
    }
    if labelled != count {
        return Err(labels
            .error(&format!("{labelled} labels for {count} images"))
            .into());
    }
    if let Some(label) = labels.values.iter().find(|&&l| usize::from(l) >= CLASSES) {
        let reason = format!("holds label {label}, where there are {CLASSES} classes");
        return Err(labels.error(&reason).into());
    }
    Ok(Images {
        size: [height, width],
        pixels: images.values,
        labels: labels.values,
    })
}

/// The content of an IDX file of bytes with `RANK` axes.
struct Idx<const RANK: usize> {
    path: PathBuf,
    extents: [usize; RANK],
    values: Vec<u8>,
}

impl<const RANK: usize> Idx<RANK> {
    /// Reads `name` or `name.gz` in `folder`.
    fn read(folder: &Path, name: &str) -> Result<Self, String> {
        let mut file = Self {
            path: find(folder, name)?,
            extents: [0; RANK],
            values: Vec::new(),
        };
        let mut source = unpacked(&file.path).map_err(|error| file.error(&error.to_string()))?;
        let parsed = file.parse(&mut *source);
        parsed.map_err(|reason| file.error(&reason))?;
        Ok(file)
    }

    /// The format: a magic number that ends with the type (8, bytes) and the number of axes, the
    /// extents, then the values; all integers are big-endian and of 32 bits.
    fn parse(&mut self, source: &mut dyn Read) -> Result<(), String> {
        let mut integer = || {
            let mut bytes = [0; 4];
            let read = source.read_exact(&mut bytes);
            read.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => "the file ends within its header".to_owned(),
                _ => error.to_string(),
            })?;
            Ok::<_, String>(u32::from_be_bytes(bytes) as usize)
        };
        let (magic, expected) = (integer()?, 0x800 + RANK);
        if magic != expected {
            return Err(format!(
                "magic number {magic:#010x}, expected {expected:#010x}"
            ));
        }
        for extent in &mut self.extents {
            *extent = integer()?;
        }
        let expected: u128 = self.extents.iter().map(|&extent| extent as u128).product();
        self.values = at_most(expected, source).map_err(|error| error.to_string())?;
        let got = self.values.len() as u128;
        if got != expected {
            return Err(format!("{got} values where the header says {expected}"));
        }
        match source.read(&mut [0]).map_err(|error| error.to_string())? {
            0 => Ok(()),
            _ => Err(format!("more values than the {expected} of the header")),
        }
    }

    fn error(&self, reason: &str) -> String {
        format!("{}: {reason}", self.path.display())
    }
}

/// `name` or `name.gz` in `folder`.
fn find(folder: &Path, name: &str) -> Result<PathBuf, String> {
    if !folder.is_dir() {
        return Err(format!("{}: there is no such folder", folder.display()));
    }
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| format!("{}: holds neither {name} nor {name}.gz", folder.display()))
}

/// The content of a file, unpacked if it is gzipped.
fn unpacked(path: &Path) -> std::io::Result<Box<dyn Read>> {
    let mut packed = BufReader::new(File::open(path)?);
    Ok(match packed.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(GzDecoder::new(packed)),
        false => Box::new(packed),
    })
}

/// The first `count` bytes, or as many as there are. The memory follows what comes, and never exceeds
/// what is asked for: neither a header that promises too much nor a few bytes that unpack to gigabytes
/// take more.
fn at_most(count: u128, source: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let missing = count - bytes.len() as u128;
        let more = missing.min(bytes.len().max(1 << 16) as u128) as usize;
        bytes.reserve_exact(more);
        let read = (&mut *source).take(more as u64).read_to_end(&mut bytes)?;
        if read < more || missing == more as u128 {
            return Ok(bytes);
        }
    }
}
