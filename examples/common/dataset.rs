//! Labelled images in the IDX format of MNIST, Fashion-MNIST and their kin.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// The classes of every data set of this family.
pub const CLASSES: usize = 10;

/// The answer that each row of `logits`, shape (N, [`CLASSES`]), gives: the class of its largest.
pub fn answers(logits: &[f32]) -> impl Iterator<Item = usize> {
    logits.chunks_exact(CLASSES).map(|row| {
        (0..CLASSES)
            .max_by(|&a, &b| row[a].total_cmp(&row[b]))
            .unwrap_or_default()
    })
}

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
    let (path, [count, height, width], pixels) =
        read_idx(folder, &format!("{split}-images-idx3-ubyte"))?;
    let error = |path: &Path, reason: String| Err(format!("{}: {reason}", path.display()).into());
    if pixels.is_empty() {
        return error(&path, "holds no pixels".into());
    }
    let (path, [labelled], labels) = read_idx(folder, &format!("{split}-labels-idx1-ubyte"))?;
    if labelled != count {
        return error(&path, format!("{labelled} labels for {count} images"));
    }
    if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= CLASSES) {
        return error(
            &path,
            format!("label {label}, where there are {CLASSES} classes"),
        );
    }
    Ok(Images {
        size: [height, width],
        pixels,
        labels,
    })
}

/// Reads an IDX file of bytes with `RANK` axes: a magic number that ends with the type (8, bytes) and
/// the number of axes, the extents, then the values; all integers are big-endian and of 32 bits.
fn read_idx<const RANK: usize>(
    folder: &Path,
    name: &str,
) -> Result<(PathBuf, [usize; RANK], Vec<u8>), Box<dyn Error>> {
    let path = find(folder, name)?;
    let error = |reason: String| format!("{}: {reason}", path.display());
    let bytes = read(&path).map_err(|reason| error(reason.to_string()))?;
    let mut rest = bytes.as_slice();
    let mut integer = || {
        let (integer, tail) = rest
            .split_first_chunk()
            .ok_or("the file ends within its header")?;
        rest = tail;
        Ok(u32::from_be_bytes(*integer) as usize)
    };
    let magic = integer().map_err(|reason: &str| error(reason.into()))?;
    if magic != 0x800 + RANK {
        let expected = 0x800 + RANK;
        return Err(error(format!(
            "magic number {magic:#010x}, expected {expected:#010x}"
        ))
        .into());
    }
    let mut extents = [0; RANK];
    for extent in &mut extents {
        *extent = integer().map_err(|reason| error(reason.into()))?;
    }
    let expected: u128 = extents.iter().map(|&extent| extent as u128).product();
    if rest.len() as u128 != expected {
        let reason = format!(
            "{} values where the header announces {expected}",
            rest.len()
        );
        return Err(error(reason).into());
    }
    let values = rest.to_vec();
    Ok((path, extents, values))
}

/// `name` or `name.gz` in `folder`.
fn find(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| format!("{}: holds neither {name} nor {name}.gz", folder.display()))
}

/// The content of a file, unpacked if it is gzipped.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
