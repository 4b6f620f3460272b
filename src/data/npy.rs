//! NumPy's formats: `.npy`, an array, and `.npz`, a zip archive of them.

use std::io::{Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use half::f16;
use rawzip::{CompressionMethod, ZipArchive};

use super::array::{Array, Values};
use super::idx::{ends, exactly, floats, integers, numbers};
use crate::shape::elements;
use crate::{Error, Result, Shape, file};

type Parsed<T> = std::result::Result<T, String>;

/// Bytes of a header at most. NumPy's own are of some hundred.
const HEADER: usize = 1 << 16;

impl Array {
    /// The array in the bytes of a `.npy` file: of booleans, integers or real numbers, in either order of
    /// bytes and of axes. Booleans and `uint8` become bytes, other integers `i64`, real numbers `f32`.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such file, for other types, and for integers that `i64` does
    /// not hold.
    pub fn npy(bytes: &[u8]) -> Result<Self> {
        parse(&mut Cursor::new(bytes)).map_err(|reason| Error::argument("npy", reason))
    }

    /// The array in a `.npy` file: [`npy`](Self::npy).
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_npy(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = file::open(path).map_err(|error| Error::file(path, error))?;
        let parsed = parse(&mut std::io::BufReader::new(file));
        parsed.map_err(|reason| Error::file(path, reason))
    }

    /// The arrays in the bytes of a `.npz` file, compressed or not, by name, in the order of the file.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such file; it names the array that cannot be read.
    pub fn npz(bytes: &[u8]) -> Result<Vec<(String, Self)>> {
        unpack(bytes).map_err(|reason| Error::argument("npz", reason))
    }

    /// The arrays in a `.npz` file: [`npz`](Self::npz).
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_npz(path: impl AsRef<Path>) -> Result<Vec<(String, Self)>> {
        let path = path.as_ref();
        let bytes = file::read(path).map_err(|error| Error::file(path, error))?;
        unpack(&bytes).map_err(|reason| Error::file(path, reason))
    }
}

fn unpack(bytes: &[u8]) -> Parsed<Vec<(String, Array)>> {
    let words = |error: rawzip::Error| error.to_string();
    let archive = ZipArchive::from_slice(bytes).map_err(words)?;
    let (mut arrays, mut entries) = (Vec::new(), archive.entries());
    while let Some(entry) = entries.next_entry().map_err(words)? {
        let path = entry.file_path();
        let name = String::from_utf8_lossy(path.as_ref()).into_owned();
        let Some(name) = name.strip_suffix(".npy").map(String::from) else {
            return Err(format!("holds {name}, which is no array"));
        };
        let packed = archive.get_entry(entry.wayfinder()).map_err(words)?;
        let array = match entry.compression_method() {
            CompressionMethod::STORE => parse(&mut packed.verifying_reader(packed.data())),
            CompressionMethod::DEFLATE => {
                let unpacked = DeflateDecoder::new(packed.data());
                parse(&mut packed.verifying_reader(unpacked))
            }
            other => Err(format!("is compressed by the method {}", other.as_u16())),
        };
        arrays.push((
            name.clone(),
            array.map_err(|reason| format!("{name}: {reason}"))?,
        ));
    }
    Ok(arrays)
}

/// The format: a magic number, a version, the length of the header, the header, which is a dictionary of
/// Python, and the values.
fn parse(source: &mut dyn Read) -> Parsed<Array> {
    let magic: [u8; 6] = begin(source)?;
    if &magic != b"\x93NUMPY" {
        return Err("is no file of NumPy: its first bytes are not its magic number".into());
    }
    let length = match begin(source)? {
        [1, _] => usize::from(u16::from_le_bytes(begin(source)?)),
        [2 | 3, _] => u32::from_le_bytes(begin(source)?) as usize,
        [major, minor] => return Err(format!("is of the version {major}.{minor} of the format")),
    };
    if length > HEADER {
        return Err(format!("a header of {length} bytes, of {HEADER} at most"));
    }
    let text = exactly(length, source).map_err(|_| "the file ends within its header")?;
    let header = Header::parse(&text)?;
    let count = elements(&header.shape);
    let values = read(&header.kind, count, source)?;
    ends(source, count)?;
    let values = match header.columns_first {
        true => rows_first(values, &header.shape),
        false => values,
    };
    Array::new(header.shape, values).map_err(|error| error.to_string())
}

fn begin<const SIZE: usize>(source: &mut dyn Read) -> Parsed<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    let read = source.read_exact(&mut bytes);
    read.map(|()| bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => "the file ends within its header".into(),
        _ => error.to_string(),
    })
}

/// The values of a type by NumPy's code: the order of bytes, the kind, and the size in bytes.
fn read(kind: &str, count: usize, source: &mut dyn Read) -> Parsed<Values> {
    match kind {
        "|b1" | "|u1" => exactly(count, source).map(Values::Bytes),
        "|i1" => integers(count, source, i8::from_le_bytes),
        "<u2" => integers(count, source, u16::from_le_bytes),
        ">u2" => integers(count, source, u16::from_be_bytes),
        "<u4" => integers(count, source, u32::from_le_bytes),
        ">u4" => integers(count, source, u32::from_be_bytes),
        "<u8" => wide(numbers(count, source, u64::from_le_bytes)?),
        ">u8" => wide(numbers(count, source, u64::from_be_bytes)?),
        "<i2" => integers(count, source, i16::from_le_bytes),
        ">i2" => integers(count, source, i16::from_be_bytes),
        "<i4" => integers(count, source, i32::from_le_bytes),
        ">i4" => integers(count, source, i32::from_be_bytes),
        "<i8" => integers(count, source, i64::from_le_bytes),
        ">i8" => integers(count, source, i64::from_be_bytes),
        "<f2" => floats(count, source, |bytes| f16::from_le_bytes(bytes).to_f32()),
        ">f2" => floats(count, source, |bytes| f16::from_be_bytes(bytes).to_f32()),
        "<f4" => floats(count, source, f32::from_le_bytes),
        ">f4" => floats(count, source, f32::from_be_bytes),
        "<f8" => floats(count, source, |bytes| f64::from_le_bytes(bytes) as f32),
        ">f8" => floats(count, source, |bytes| f64::from_be_bytes(bytes) as f32),
        _ => Err(format!(
            "values of the type {kind:?}, which are no booleans, integers or real numbers of up to 64 bits"
        )),
    }
}

fn wide(values: Vec<u64>) -> Parsed<Values> {
    let narrow = values.iter().map(|&value| i64::try_from(value));
    let narrow: std::result::Result<Vec<i64>, _> = narrow.collect();
    narrow
        .map(Values::Integers)
        .map_err(|_| "an integer is above those of `i64`".into())
}

/// Values that lie with the first axis fastest (Fortran's order), with the last one fastest.
fn rows_first(values: Values, shape: &[usize]) -> Values {
    match values {
        Values::Bytes(values) => Values::Bytes(transposed(&values, shape)),
        Values::Integers(values) => Values::Integers(transposed(&values, shape)),
        Values::Floats(values) => Values::Floats(transposed(&values, shape)),
    }
}

fn transposed<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut place = vec![0; shape.len()];
    let mut turned = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let at = place.iter().zip(shape).rev();
        turned.push(values[at.fold(0, |sum, (&place, &extent)| sum * extent + place)]);
        for (place, &extent) in place.iter_mut().zip(shape).rev() {
            *place += 1;
            if *place < extent {
                break;
            }
            *place = 0;
        }
    }
    turned
}

/// What a header says.
#[derive(Debug, PartialEq)]
struct Header {
    kind: String,
    columns_first: bool,
    shape: Shape,
}

impl Header {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
    fn parse(text: &[u8]) -> Parsed<Self> {
        let text = String::from_utf8_lossy(text);
        let mut rest = Text(text.trim());
        let (mut kind, mut columns_first, mut shape) = (None, None, None);
        rest.expect("{")?;
        while !rest.take("}") {
            let key = rest.string()?;
            rest.expect(":")?;
            match key {
                "descr" => kind = Some(rest.string()?.to_string()),
                "fortran_order" => columns_first = Some(rest.flag()?),
                "shape" => shape = Some(rest.extents()?),
                _ => return Err(format!("its header has a {key:?}")),
            }
            if !rest.take(",") {
                rest.expect("}")?;
                break;
            }
        }
        match (kind, columns_first, shape) {
            (Some(kind), Some(columns_first), Some(shape)) if rest.0.is_empty() => Ok(Self {
                kind,
                columns_first,
                shape,
            }),
            _ => Err("its header lacks the type, the order or the shape, or has more".into()),
        }
    }
}

/// What is left of a header.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn take(&mut self, token: &str) -> bool {
        let Some(rest) = self.0.strip_prefix(token) else {
            return false;
        };
        self.0 = rest.trim_start();
        true
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        match self.take(token) {
            true => Ok(()),
            false => Err(format!(
                "its header has {} in place of {token}",
                self.start()
            )),
        }
    }

    /// The first few characters, for messages.
    fn start(&self) -> String {
        format!("{:?}", self.0.chars().take(16).collect::<String>())
    }

    /// A string in single or double quotes.
    fn string(&mut self) -> Parsed<&'a str> {
        let quote = self.0.chars().next().filter(|c| ['\'', '"'].contains(c));
        let parts = quote.and_then(|quote| self.0[1..].split_once(quote));
        let Some((string, rest)) = parts else {
            return Err(format!(
                "its header has {} in place of a text: a type of several \
                 fields is not read",
                self.start()
            ));
        };
        self.0 = rest.trim_start();
        Ok(string)
    }

    fn flag(&mut self) -> Parsed<bool> {
        if self.take("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    /// `()`, `(3,)`, `(3, 4)`.
    fn extents(&mut self) -> Parsed<Shape> {
        /// Axes of an array at most, as in NumPy.
        const RANK: usize = 64;
        let mut extents = Vec::new();
        self.expect("(")?;
        while !self.take(")") {
            let end = self
                .0
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(self.0.len());
            let (number, rest) = self.0.split_at(end);
            let extent = number.parse();
            extents.push(
                extent.map_err(|_| {
                    format!("its header has {} in place of an extent", self.start())
                })?,
            );
            self.0 = rest.trim_start();
            if extents.len() > RANK {
                return Err(format!("more than {RANK} axes"));
            }
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(extents.into())
    }
}
