//! Weights on disk, in the safetensors format: the length of a header in eight bytes, the header in
//! JSON, then the bytes of the tensors, one after the other.
//!
//! Both ways go tensor by tensor: what is in memory is the header and a parameter.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value};

use super::graph::Parameter;
use super::{Graph, ParameterId};
#[cfg(feature = "native")]
use crate::file::Replacement;
use crate::{Error, Result, Shape, file};

#[cfg(all(test, feature = "native"))]
#[path = "weights_tests.rs"]
mod tests;

/// The bytes that say how long the header is.
const PREFIX: u64 = 8;
/// No header is longer, says the format.
const LONGEST_HEADER: u64 = 100_000_000;

/// Writes every parameter under its name as little-endian f32, and those that count as i64, as PyTorch does.
/// Each is asked for when its turn comes.
#[cfg(feature = "native")]
pub(crate) fn write_weights(
    graph: &Graph,
    path: &Path,
    mut values: impl FnMut(&str) -> Result<Vec<f32>>,
) -> Result<()> {
    let mut file = Replacement::begin(path)?;
    let (header, order) = header(graph).map_err(|error| Error::file(path, error))?;
    file.write(&header)?;
    for id in order {
        let parameter = graph.parameter(id);
        for value in values(&parameter.name)? {
            match parameter.is_count() {
                true => file.write(&(value as i64).to_le_bytes())?,
                false => file.write(&value.to_le_bytes())?,
            }
        }
    }
    file.finish()
}

/// What stands before the values, and the parameters in the order of their values: by name, those of eight
/// bytes first, so that all lie where their type may.
#[cfg(feature = "native")]
fn header(graph: &Graph) -> std::result::Result<(Vec<u8>, Vec<ParameterId>), String> {
    let mut order: Vec<(ParameterId, &Parameter)> = graph.kept().collect();
    order.sort_by_key(|(_, parameter)| (!parameter.is_count(), &parameter.name));
    let mut end = 0;
    let tensors = order.iter().map(|(_, parameter)| {
        let begin = end;
        let dtype = dtype(parameter);
        end += parameter.shape.len() * dtype.bitsize() / 8;
        let info = TensorInfo {
            dtype,
            shape: parameter.shape.to_vec(),
            data_offsets: (begin, end),
        };
        (parameter.name.clone(), info)
    });
    let metadata = Metadata::new(None, tensors.collect()).map_err(|error| error.to_string())?;
    let mut json = serde_json::to_vec(&metadata).map_err(|error| error.to_string())?;
    json.resize(json.len().next_multiple_of(8), b' ');
    let header = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
    Ok((header, order.into_iter().map(|(id, _)| id).collect()))
}

/// The type of a parameter's values in a file.
fn dtype(parameter: &Parameter) -> Dtype {
    match parameter.is_count() {
        true => Dtype::I64,
        false => Dtype::F32,
    }
}

/// A file that holds every parameter of a model, by name, in its shape, as f32; those that count as i64.
pub(crate) struct Weights<R = File> {
    /// The file in messages.
    path: PathBuf,
    source: R,
    /// Where the values of each parameter begin, their number and their type, in the graph's order; none of
    /// what is part of the model.
    places: Vec<Option<Place>>,
}

impl Weights {
    /// Opens a file. All that can be wrong with it, but for the reading of values, is found here.
    pub fn open(graph: &Graph, path: &Path) -> Result<Self> {
        let source = file::open(path).map_err(|error| Error::file(path, error))?;
        Self::new(graph, path, source)
    }
}

impl<R: Read + Seek> Weights<R> {
    fn new(graph: &Graph, path: &Path, mut source: R) -> Result<Self> {
        let places = places(graph, &mut source).map_err(|error| Error::file(path, error))?;
        Ok(Self {
            path: path.into(),
            source,
            places,
        })
    }

    /// The values of a parameter.
    pub fn read(&mut self, id: ParameterId) -> Result<Vec<f32>> {
        let missing = || Error::file(&self.path, "does not hold what is part of the model");
        let (begin, len, dtype) = self.places[id.0].ok_or_else(missing)?;
        if dtype == Dtype::I64 {
            return self.counts(begin, len);
        }
        let mut values = vec![0.0f32; len];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        let sought = self.source.seek(SeekFrom::Start(begin));
        let read = sought.and_then(|_| self.source.read_exact(bytes));
        read.map_err(|error| Error::file(&self.path, error))?;
        if cfg!(target_endian = "big") {
            for value in &mut values {
                *value = f32::from_bits(value.to_bits().swap_bytes());
            }
        }
        Ok(values)
    }

    /// Whole numbers as f32, which counts up to 2^24.
    fn counts(&mut self, begin: u64, len: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; 8 * len];
        let sought = self.source.seek(SeekFrom::Start(begin));
        let read = sought.and_then(|_| self.source.read_exact(&mut bytes));
        read.map_err(|error| Error::file(&self.path, error))?;
        let (counts, _) = bytes.as_chunks();
        let count = |bytes: &[u8; 8]| match i64::from_le_bytes(*bytes) {
            count @ 0.. => Ok(count as f32),
            other => Err(Error::file(&self.path, format!("{other} batches"))),
        };
        counts.iter().map(count).collect()
    }

    /// The values of all parameters that it holds, in the graph's order.
    pub fn read_all(mut self) -> Result<Vec<Vec<f32>>> {
        let held = (0..self.places.len()).filter(|&at| self.places[at].is_some());
        let held: Vec<usize> = held.collect();
        let ids = held.into_iter().map(ParameterId);
        ids.map(|id| self.read(id)).collect()
    }
}

/// Where the values of a parameter begin, their number and their type.
type Place = (u64, usize, Dtype);

/// Where the values of each parameter lie. Tensors that belong to another model are an error. What is wrong is told of the first tensor in the file that is not the model's, then of
/// the first one of the model.
fn places(
    graph: &Graph,
    source: &mut (impl Read + Seek),
) -> std::result::Result<Vec<Option<Place>>, String> {
    let (begin, tensors) = tensors(source)?;
    let names: HashSet<&str> = graph
        .kept()
        .map(|(_, parameter)| &*parameter.name)
        .collect();
    // PyTorch counts the batches that every normalisation has seen; here those alone do that whose running
    // estimates are averages of all of them.
    let foreign = |name: &str| !name.ends_with(".num_batches_tracked") && !names.contains(name);
    if let Some((name, _)) = tensors.iter().find(|(name, _)| foreign(name)) {
        return Err(format!("tensor {name:?} is not one of the model's"));
    }
    let by_name: HashMap<&str, &TensorInfo> = tensors
        .iter()
        .map(|(name, info)| (name.as_str(), info))
        .collect();
    let place = |parameter: &Parameter| {
        let name = &parameter.name;
        let info = by_name
            .get(name.as_str())
            .ok_or_else(|| format!("there is no tensor {name:?}"))?;
        let dtype = dtype(parameter);
        if info.dtype != dtype {
            return Err(format!(
                "tensor {name:?} is {:?}, not {dtype:?}",
                info.dtype
            ));
        }
        if info.shape != parameter.shape[..] {
            let (got, expected) = (Shape::from(&info.shape[..]), &parameter.shape);
            return Err(format!(
                "tensor {name:?} is {got}, the model's is {expected}"
            ));
        }
        let begin = begin + info.data_offsets.0 as u64;
        Ok((begin, parameter.shape.len(), dtype))
    };
    let places = graph.parameters().iter().map(|parameter| {
        let kept = !parameter.is_constant();
        kept.then(|| place(parameter)).transpose()
    });
    places.collect()
}

/// The tensors of a file in its order, and where the bytes of the first begin. They follow each other
/// without gaps to the end of the file.
fn tensors(
    source: &mut (impl Read + Seek),
) -> std::result::Result<(u64, Vec<(String, TensorInfo)>), String> {
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
    let tensors = parse(&header)?;
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
    Ok((begin, tensors))
}

/// The tensors that a header tells of, in the order of their bytes. An error names the first by name.
fn parse(header: &[u8]) -> std::result::Result<Vec<(String, TensorInfo)>, String> {
    let header: Map<String, Value> =
        serde_json::from_slice(header).map_err(|error| format!("the header: {error}"))?;
    let mut tensors = Vec::new();
    for (name, value) in header {
        if name != "__metadata__" {
            let info = serde_json::from_value::<TensorInfo>(value);
            let info = info.map_err(|error| format!("tensor {name:?}: {error}"))?;
            tensors.push((name, info));
        }
    }
    tensors.sort_by(|(name, info), (other_name, other)| {
        let order = info.data_offsets.cmp(&other.data_offsets);
        order.then_with(|| name.cmp(other_name))
    });
    Ok(tensors)
}

/// Whether a tensor begins at `begin`, and is as long as type and shape say. Returns where it ends.
fn check_place(name: &str, info: &TensorInfo, begin: u64) -> std::result::Result<u64, String> {
    let (from, to) = info.data_offsets;
    let (from, to) = (from as u64, to as u64);
    if from != begin {
        return Err(format!(
            "tensor {name:?} begins at byte {from}, where the one before it ends at {begin}"
        ));
    }
    let bits = (info.shape.iter()).try_fold(info.dtype.bitsize() as u64, |bits, &extent| {
        bits.checked_mul(extent as u64)
    });
    if bits.map(|bits| bits.div_ceil(8)) != to.checked_sub(from) || bits.is_some_and(|b| b % 8 != 0)
    {
        return Err(format!(
            "tensor {name:?} is {:?} of {:?} in the bytes {from} to {to}",
            info.dtype, info.shape
        ));
    }
    Ok(to)
}
