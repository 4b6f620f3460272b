//! The safetensors format: the length of a header in eight bytes, the header in JSON, then the bytes of the
//! tensors, one after the other. Both ways go tensor by tensor: what is in memory is the header and what is
//! asked for.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorInfo};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Replacement;
use crate::{Error, Result, Shape, file};

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;

/// Where a file is read from: the disk or memory.
pub(crate) trait Bytes: Read + Seek + Send {}

impl<T: Read + Seek + Send> Bytes for T {}

/// Where a file is, by its path or as the bytes of one that many have.
#[derive(Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Arc<Vec<u8>>),
}

impl Source {
    /// Opens it. What is said of bytes calls them by a name.
    pub fn open(&self, name: &str) -> Result<Reader<Box<dyn Bytes>>> {
        let (path, source): (&Path, Box<dyn Bytes>) = match self {
            Self::File(path) => {
                let opened = file::open(path);
                let source = opened.map_err(|error| Error::file(path, error))?;
                (path, Box::new(source))
            }
            Self::Bytes(bytes) => (
                Path::new(name),
                Box::new(Cursor::new(Shared(bytes.clone()))),
            ),
        };
        Reader::new(path, source)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{path:?}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// Bytes that many have.
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The bytes that say how long the header is.
const PREFIX: u64 = 8;
/// No header is longer, says the format.
pub(crate) const LONGEST_HEADER: u64 = 100_000_000;
/// The name in the header under which strings stand that are no tensors.
const METADATA: &str = "__metadata__";
/// Characters of a name that a message shows.
const SHOWN: usize = 120;

/// Where the bytes of a file go, one after the other.
pub(crate) trait Sink {
    /// Writes what comes next.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Sink for Replacement {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Replacement::write(self, bytes)
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// What stands before the values of tensors, given by name, type and shape, and the tensors by number in the
/// order of their values: by size of type, so that all lie where their type may, then by name.
pub(crate) fn header<'a>(
    tensors: impl IntoIterator<Item = (&'a str, Dtype, &'a [usize])>,
    metadata: &BTreeMap<String, String>,
) -> std::result::Result<(Vec<u8>, Vec<usize>), String> {
    let tensors: Vec<_> = tensors.into_iter().collect();
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_unstable_by_key(|&at| (std::cmp::Reverse(tensors[at].1), tensors[at].0, at));
    let mut entries = Vec::new();
    if !metadata.is_empty() {
        entries.push((METADATA, serde_json::to_string(metadata)));
    }
    let (mut end, mut names) = (0, HashSet::from([METADATA]));
    for &at in &order {
        let (name, dtype, shape) = tensors[at];
        if !names.insert(name) {
            return Err(format!("two tensors would be called {}", quoted(name)));
        }
        let begin = end;
        end = bytes(dtype, shape)
            .and_then(|bytes| usize::try_from(bytes).ok()?.checked_add(begin))
            .ok_or_else(|| format!("tensor {} is too large for a file", quoted(name)))?;
        let info = TensorInfo {
            dtype,
            shape: shape.to_vec(),
            data_offsets: (begin, end),
        };
        entries.push((name, serde_json::to_string(&info)));
    }
    let mut json = String::from("{");
    for (at, (name, entry)) in entries.into_iter().enumerate() {
        let said = |error: serde_json::Error| error.to_string();
        json.push_str(if at == 0 { "" } else { "," });
        json.push_str(&serde_json::to_string(name).map_err(said)?);
        json.push(':');
        json.push_str(&entry.map_err(said)?);
    }
    json.push('}');
    let mut json = json.into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() as u64 > LONGEST_HEADER {
        return Err(format!("a header of {} bytes is too long", json.len()));
    }
    let header = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
    Ok((header, order))
}

/// The bytes of a tensor, where they are whole and can be counted.
fn bytes(dtype: Dtype, shape: &[usize]) -> Option<u64> {
    let bits = shape
        .iter()
        .try_fold(dtype.bitsize() as u64, |bits, &extent| {
            bits.checked_mul(extent as u64)
        })?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// A name in a message, however long it is.
pub(crate) fn quoted(name: &str) -> String {
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}..", &name[..end]),
        None => format!("{name:?}"),
    }
}

/// A shape in a message, however many axes it has.
pub(crate) fn extents(shape: &[usize]) -> String {
    /// Axes that are shown.
    const AXES: usize = 8;
    let shown = Shape::from(&shape[..shape.len().min(AXES)]);
    match shape.len() > AXES {
        true => format!("{shown}.. of {} axes", shape.len()),
        false => shown.to_string(),
    }
}

/// A file of tensors, open.
pub(crate) struct Reader<R> {
    /// The file in messages.
    path: PathBuf,
    source: R,
    /// Where the bytes of the first tensor begin.
    begin: u64,
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the header. All that can be wrong with a file, but for the reading of values, is found here.
    pub fn new(path: &Path, mut source: R) -> Result<Self> {
        let (begin, tensors, metadata) =
            contents(&mut source).map_err(|error| Error::file(path, error))?;
        Ok(Self {
            path: path.into(),
            source,
            begin,
            tensors,
            metadata,
        })
    }

    /// The file in messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors in the order of their bytes. They follow each other without gaps to the end of the file.
    pub fn tensors(&self) -> &[(String, TensorInfo)] {
        &self.tensors
    }

    /// The strings of the header that are no tensors.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Fills `into` with the bytes of a tensor, by number, from its byte `offset` on.
    pub fn read(&mut self, tensor: usize, offset: u64, into: &mut [u8]) -> Result<()> {
        let (name, info) = &self.tensors[tensor];
        let (from, to) = info.data_offsets;
        let end = offset.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > (to - from) as u64) {
            let reason = format!("tensor {} is shorter", quoted(name));
            return Err(Error::file(&self.path, reason));
        }
        let begin = self.begin + from as u64 + offset;
        let sought = self.source.seek(SeekFrom::Start(begin));
        let read = sought.and_then(|_| self.source.read_exact(into));
        read.map_err(|error| Error::file(&self.path, error))
    }
}

/// Where the bytes of the first tensor begin, the tensors in the file's order, and the header's strings.
type Contents = (u64, Vec<(String, TensorInfo)>, BTreeMap<String, String>);

fn contents(source: &mut (impl Read + Seek)) -> std::result::Result<Contents, String> {
    let said = |error: std::io::Error| error.to_string();
    let len = source.seek(SeekFrom::End(0)).map_err(said)?;
    source.rewind().map_err(said)?;
    let begin = match len.checked_sub(PREFIX) {
        Some(rest) => {
            let mut prefix = [0; PREFIX as usize];
            source.read_exact(&mut prefix).map_err(said)?;
            let header = u64::from_le_bytes(prefix);
            if header > LONGEST_HEADER {
                return Err(format!(
                    "not a safetensors file: a header of {header} bytes"
                ));
            }
            if header > rest {
                return Err(format!("the file ends within its header of {header} bytes"));
            }
            PREFIX + header
        }
        None => return Err(format!("not a safetensors file: {len} bytes")),
    };
    let mut header = vec![0; (begin - PREFIX) as usize];
    source.read_exact(&mut header).map_err(said)?;
    let (tensors, metadata) = parse(&header)?;
    let mut end = 0;
    for (name, info) in &tensors {
        end = check_place(name, info, end)?;
    }
    let got = len - begin;
    if end != got {
        return Err(format!(
            "{got} bytes of tensors where the header says {end}"
        ));
    }
    Ok((begin, tensors, metadata))
}

/// What a header tells of: tensors in the order of their bytes, and strings.
type Told = (Vec<(String, TensorInfo)>, BTreeMap<String, String>);

/// The entries of a JSON object, of which no two have one name.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Each(PhantomData))
    }
}

struct Each<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Each<V> {
    type Value = Entries<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries<V>, A::Error> {
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while let Some((name, value)) = map.next_entry::<String, V>()? {
            if !names.insert(name.clone()) {
                let twice = format!("{} is there twice", quoted(&name));
                return Err(serde::de::Error::custom(twice));
            }
            entries.push((name, value));
        }
        Ok(Entries(entries))
    }
}

/// What a header tells of. An error names the first tensor by name.
fn parse(header: &[u8]) -> std::result::Result<Told, String> {
    let Entries(mut entries): Entries<&RawValue> =
        serde_json::from_slice(header).map_err(|error| format!("the header: {error}"))?;
    entries.sort_unstable_by(|(name, _), (other, _)| name.cmp(other));
    let (mut tensors, mut metadata) = (Vec::new(), BTreeMap::new());
    for (name, value) in entries {
        if name == METADATA {
            let strings: Option<Entries<String>> = serde_json::from_str(value.get())
                .map_err(|error| format!("the header's metadata: {error}"))?;
            metadata.extend(strings.map(|Entries(strings)| strings).unwrap_or_default());
        } else {
            let info = serde_json::from_str::<TensorInfo>(value.get());
            let info = info.map_err(|error| format!("tensor {}: {error}", quoted(&name)))?;
            tensors.push((name, info));
        }
    }
    tensors.sort_unstable_by(|(name, info), (other_name, other)| {
        let order = info.data_offsets.cmp(&other.data_offsets);
        order.then_with(|| name.cmp(other_name))
    });
    Ok((tensors, metadata))
}

/// Whether a tensor begins at `begin`, and is as long as type and shape say. Returns where it ends.
fn check_place(name: &str, info: &TensorInfo, begin: u64) -> std::result::Result<u64, String> {
    let (from, to) = info.data_offsets;
    let (from, to) = (from as u64, to as u64);
    if from != begin {
        return Err(format!(
            "tensor {} begins at byte {from}, where the one before it ends at {begin}",
            quoted(name)
        ));
    }
    let held = to.checked_sub(from);
    if held.is_none() || bytes(info.dtype, &info.shape) != held {
        return Err(format!(
            "tensor {} is {:?} of {} in the bytes {from} to {to}",
            quoted(name),
            info.dtype,
            extents(&info.shape)
        ));
    }
    Ok(to)
}
