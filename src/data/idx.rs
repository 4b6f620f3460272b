//! The format IDX, of MNIST and its kin.

use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::array::{Array, Values};
use super::memory::{Memory, Split};
use crate::op::Target;
use crate::shape::elements;
use crate::{Error, Result, file};

impl Array {
    /// The array in the bytes of an IDX file, gzipped or not: bytes, or numbers of one of its other types.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such file, with fewer or more values than its header says.
    pub fn idx(bytes: &[u8]) -> Result<Self> {
        let read = unpacked(Cursor::new(bytes)).map_err(|error| error.to_string());
        let parsed = read.and_then(|mut source| parse(&mut *source));
        parsed.map_err(|reason| Error::argument("IDX", reason))
    }

    /// The array in an IDX file: [`idx`](Self::idx).
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_idx(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = || {
            let packed = BufReader::new(file::open(path).map_err(|error| error.to_string())?);
            parse(&mut *unpacked(packed).map_err(|error| error.to_string())?)
        };
        read().map_err(|reason| Error::file(path, reason))
    }
}

impl Memory {
    /// The training or the test images in a folder with the four files of MNIST, Fashion-MNIST or another of
    /// this family, gzipped or not: examples `(1, H, W)`, and classes by their numbers.
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_mnist(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        let folder = folder.as_ref();
        let name = match split {
            Split::Train => "train",
            Split::Test => "t10k",
        };
        let images = find(folder, &format!("{name}-images-idx3-ubyte"))?;
        let labels = find(folder, &format!("{name}-labels-idx1-ubyte"))?;
        let (pixels, classes) = (Array::read_idx(&images)?, Array::read_idx(&labels)?);
        images_of(pixels, classes)
            .map_err(|(at, reason)| Error::file([&images, &labels][at], reason))
    }

    /// The images and their classes in the bytes of two such files, for programs that have no folders.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such files, and where one holds no images of bytes, or the other no
    /// label for each.
    pub fn mnist(images: &[u8], labels: &[u8]) -> Result<Self> {
        let (pixels, classes) = (Array::idx(images)?, Array::idx(labels)?);
        let names = ["images", "labels"];
        images_of(pixels, classes).map_err(|(at, reason)| Error::argument(names[at], reason))
    }
}

/// The examples of a file of images and one of labels; or which of them is wrong, and why.
fn images_of(pixels: Array, classes: Array) -> std::result::Result<Memory, (usize, String)> {
    if pixels.shape().rank() != 3 || !matches!(pixels.values(), Values::Bytes(_)) {
        return Err((
            0,
            format!("holds no images of bytes, but {}", pixels.shape()),
        ));
    }
    let (1, Values::Bytes(bytes)) = (classes.shape().rank(), classes.values()) else {
        return Err((1, format!("holds no labels, but {}", classes.shape())));
    };
    let count = bytes
        .iter()
        .max()
        .map_or(0, |&label| usize::from(label) + 1);
    let memory = Memory::new(pixels.with_axis(1), Target::from(classes));
    let memory = memory.map_err(|error| (1, error.to_string()))?;
    Ok(memory.class_names((0..count).map(|class| class.to_string())))
}

/// `name` or `name.gz` in `folder`.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    if !folder.is_dir() {
        return Err(Error::file(folder, "there is no such folder"));
    }
    let candidates = [folder.join(name), folder.join(format!("{name}.gz"))];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::file(folder, format!("holds neither {name} nor {name}.gz")))
}

/// What a source holds, unpacked if it is gzipped.
fn unpacked<'a>(mut packed: impl BufRead + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    Ok(match packed.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(GzDecoder::new(packed)),
        false => Box::new(packed),
    })
}

/// The format: two zeros, the type of the values, the number of axes, the extents, of 32 bits each, then the
/// values. All numbers are big-endian.
fn parse(source: &mut dyn Read) -> std::result::Result<Array, String> {
    let [zero, zero_too, kind, rank] = header(source)?;
    if [zero, zero_too] != [0, 0] || !(1..=8).contains(&rank) {
        return Err("is no IDX file: its first bytes are not its magic number".into());
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(u32::from_be_bytes(header(source)?) as usize);
    }
    let count = elements(&shape);
    let values = match kind {
        0x08 => Values::Bytes(exactly(count, source)?),
        0x09 => integers(count, source, i8::from_be_bytes)?,
        0x0b => integers(count, source, i16::from_be_bytes)?,
        0x0c => integers(count, source, i32::from_be_bytes)?,
        0x0d => floats(count, source, f32::from_be_bytes)?,
        0x0e => floats(count, source, |bytes| f64::from_be_bytes(bytes) as f32)?,
        _ => {
            return Err(format!(
                "values of the type {kind:#04x}, which IDX does not have"
            ));
        }
    };
    ends(source, count)?;
    Array::new(shape, values).map_err(|error| error.to_string())
}

fn header(source: &mut dyn Read) -> std::result::Result<[u8; 4], String> {
    let mut bytes = [0; 4];
    let read = source.read_exact(&mut bytes);
    read.map(|()| bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => "the file ends within its header".into(),
        _ => error.to_string(),
    })
}

/// Integers of `SIZE` bytes each.
pub(super) fn integers<T: Into<i64>, const SIZE: usize>(
    count: usize,
    source: &mut dyn Read,
    read: impl Fn([u8; SIZE]) -> T,
) -> std::result::Result<Values, String> {
    let values = numbers(count, source, |bytes| read(bytes).into())?;
    Ok(Values::Integers(values))
}

/// Real numbers of `SIZE` bytes each.
pub(super) fn floats<const SIZE: usize>(
    count: usize,
    source: &mut dyn Read,
    read: impl Fn([u8; SIZE]) -> f32,
) -> std::result::Result<Values, String> {
    numbers(count, source, read).map(Values::Floats)
}

/// Numbers of `SIZE` bytes each.
pub(super) fn numbers<T, const SIZE: usize>(
    count: usize,
    source: &mut dyn Read,
    read: impl Fn([u8; SIZE]) -> T,
) -> std::result::Result<Vec<T>, String> {
    let bytes = exactly(count.saturating_mul(SIZE), source)?;
    let numbers = bytes.chunks_exact(SIZE);
    Ok(numbers
        .filter_map(|bytes| bytes.try_into().ok())
        .map(read)
        .collect())
}

/// So many bytes. The memory follows what comes, and never exceeds what is asked for: neither a header that
/// promises too much nor a few bytes that unpack to gigabytes take more.
pub(super) fn exactly(count: usize, source: &mut dyn Read) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let more = (count - bytes.len()).min(bytes.len().max(1 << 16));
        bytes.reserve_exact(more);
        let read = (&mut *source).take(more as u64).read_to_end(&mut bytes);
        if read.map_err(|error| error.to_string())? < more {
            let got = bytes.len();
            return Err(format!(
                "{got} bytes of values where the header says {count}"
            ));
        }
    }
    Ok(bytes)
}

/// Refuses a source that goes on.
pub(super) fn ends(source: &mut dyn Read, count: usize) -> std::result::Result<(), String> {
    match source.read(&mut [0]).map_err(|error| error.to_string())? {
        0 => Ok(()),
        _ => Err(format!("more values than the {count} of the header")),
    }
}
