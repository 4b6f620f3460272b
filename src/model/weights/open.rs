//! Files of weights, held to a model.

use std::collections::{HashMap, HashSet};

use safetensors::tensor::{Dtype, TensorInfo};

use super::Weights;
use super::convert::{self, is_read};
use super::index;
use super::names::Names;
use super::report::{LoadReport, listed};
use crate::file::safetensors::{Bytes, Reader, Source, extents, quoted};
use crate::model::graph::Parameter;
use crate::model::{Graph, ParameterId};
use crate::{Error, Result};

/// A file, or the bytes of one.
pub(super) type Open = Reader<Box<dyn Bytes>>;

/// Files that hold what a model takes of them.
pub(crate) struct Opened {
    files: Vec<Open>,
    /// Where each parameter is read from, in the graph's order; none that stays as it is.
    places: Vec<Option<Place>>,
    report: LoadReport,
}

/// A tensor: the number of its file, and its number there.
type Place = (usize, usize);

/// The type that PyTorch gives the values of a parameter.
pub(super) fn dtype(parameter: &Parameter) -> Dtype {
    match parameter.is_count() {
        true => Dtype::I64,
        false => Dtype::F32,
    }
}

impl Weights {
    /// Opens the files. All that can be wrong with them, but for the reading of values, is found here.
    pub(crate) fn open(&self, graph: &Graph) -> Result<Opened> {
        let mut files = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            match source {
                Source::File(path) if index::is_index(path) => files.extend(index::open(path)?),
                Source::File(_) | Source::Bytes(_) => {
                    let name = match self.sources.len() {
                        1 => "the bytes".into(),
                        _ => format!("the bytes[{at}]"),
                    };
                    files.push(source.open(&name)?);
                }
            }
        }
        let path = match &self.sources[0] {
            Source::File(path) => path.clone(),
            Source::Bytes(_) => "the bytes".into(),
        };
        let matched = Matching::new(graph, &files, self).and_then(Matching::end);
        let (places, report) = matched.map_err(|reason| Error::file(&path, reason))?;
        Ok(Opened {
            files,
            places,
            report,
        })
    }
}

impl Opened {
    /// What is read, and what not.
    pub fn into_report(self) -> LoadReport {
        self.report
    }

    /// The values of a parameter, or none where it stays as it is.
    pub fn read(&mut self, graph: &Graph, id: ParameterId) -> Result<Option<Vec<f32>>> {
        let Some((file, tensor)) = self.places.get(id.0).copied().flatten() else {
            return Ok(None);
        };
        let parameter = graph.parameter(id);
        let (len, count) = (parameter.shape.len(), parameter.is_count());
        convert::read(&mut self.files[file], tensor, len, count).map(Some)
    }

    /// The values of all parameters that are read, in the graph's order.
    pub fn read_all(&mut self, graph: &Graph) -> Result<Vec<(ParameterId, Vec<f32>)>> {
        let mut all = Vec::new();
        for at in 0..self.places.len() {
            let id = ParameterId(at);
            all.extend(self.read(graph, id)?.map(|values| (id, values)));
        }
        Ok(all)
    }
}

/// A tensor under the name that the model would have for it.
struct Tensor<'a> {
    /// Its name in the file.
    stored: &'a str,
    /// That in the model; none where it is of another part of the file.
    name: Option<String>,
    info: &'a TensorInfo,
    place: Place,
    /// Whether the name is that of a tensor which is in the file under another.
    tied: bool,
}

/// The tensors of files beside the parameters of a model.
struct Matching<'a> {
    tensors: Vec<Tensor<'a>>,
    names: &'a Names,
    partial: bool,
    places: Vec<Option<Place>>,
    /// The tensors that the model looks for, whether they fit or not.
    used: HashSet<Place>,
    report: LoadReport,
    /// The model's parameters that no file has.
    missing: Vec<String>,
    /// What is wrong with tensors that are there.
    misfits: Vec<String>,
}

impl<'a> Matching<'a> {
    fn new(
        graph: &Graph,
        files: &'a [Open],
        weights: &'a Weights,
    ) -> std::result::Result<Self, String> {
        let mut matching = Self {
            tensors: tensors(files, &weights.names)?,
            names: &weights.names,
            partial: weights.partial,
            places: vec![None; graph.parameters().len()],
            used: HashSet::new(),
            report: LoadReport::default(),
            missing: Vec::new(),
            misfits: Vec::new(),
        };
        let by_name = matching.by_name(graph)?;
        for (id, parameter) in graph.kept() {
            matching.find(id, parameter, &by_name);
        }
        Ok(matching)
    }

    /// The number of the tensor for each of the model's names.
    fn by_name(&self, graph: &Graph) -> std::result::Result<HashMap<String, usize>, String> {
        let wanted: HashSet<&str> = graph.kept().map(|(_, it)| &*it.name).collect();
        let mut by_name = HashMap::new();
        // Those that are tied come last, and where there is another they are not needed.
        for (at, tensor) in self.tensors.iter().enumerate() {
            let name = tensor.name.as_deref();
            let Some(name) = name.filter(|name| wanted.contains(name) && !self.names.skips(name))
            else {
                continue;
            };
            match by_name.get(name) {
                Some(_) if tensor.tied => {}
                Some(&other) => {
                    let other: &Tensor = &self.tensors[other];
                    let both = [other.stored, tensor.stored].map(quoted);
                    let [one, two] = both;
                    return Err(format!("tensors {one} and {two} are both {name:?} here"));
                }
                None => drop(by_name.insert(name.to_owned(), at)),
            }
        }
        Ok(by_name)
    }

    /// Looks for a parameter.
    fn find(&mut self, id: ParameterId, parameter: &Parameter, by_name: &HashMap<String, usize>) {
        let name = &parameter.name;
        if self.names.skips(name) {
            self.report.skipped.push(name.clone());
            return;
        }
        let Some(&at) = by_name.get(name) else {
            self.missing.push(name.clone());
            return;
        };
        let tensor = &self.tensors[at];
        self.used.insert(tensor.place);
        let (stored, info) = (quoted(tensor.stored), tensor.info);
        if !is_read(info.dtype, parameter.is_count()) {
            let kind = match parameter.is_count() {
                true => "a whole number",
                false => "F64, F32, F16 or BF16",
            };
            let misfit = format!("tensor {stored} is {:?}, not {kind}", info.dtype);
            return self.misfits.push(misfit);
        }
        if info.shape != parameter.shape[..] {
            let (got, expected) = (extents(&info.shape), &parameter.shape);
            let misfit = format!("tensor {stored} is {got}, the model's is {expected}");
            return self.misfits.push(misfit);
        }
        self.places[id.0] = Some(tensor.place);
        if info.dtype != dtype(parameter) {
            let converted = (name.clone(), format!("{:?}", info.dtype));
            self.report.converted.push(converted);
        }
        if tensor.stored != name {
            let renamed = (name.clone(), tensor.stored.to_owned());
            self.report.renamed.push(renamed);
        }
        self.report.loaded.push(name.clone());
    }

    /// What is read from where, or what is wrong.
    fn end(mut self) -> std::result::Result<(Vec<Option<Place>>, LoadReport), String> {
        let mut foreign = Vec::new();
        for tensor in &self.tensors {
            if tensor.tied || self.used.contains(&tensor.place) {
                continue;
            }
            // PyTorch counts the batches that every normalisation has seen; here those alone do that whose
            // running estimates are averages of all of them.
            let name = tensor.name.as_deref();
            if name.is_some_and(|name| name.ends_with(".num_batches_tracked")) {
                continue;
            }
            self.report.unused.push(tensor.stored.to_owned());
            if name.is_some_and(|name| !self.names.skips(name)) {
                foreign.push(tensor.stored);
            }
        }
        let hint = self.hint(&foreign);
        let mut wrong = Vec::new();
        let mut list = |names: Vec<String>| {
            if !names.is_empty() {
                wrong.push(listed(&names, "; "));
            }
        };
        if !self.partial {
            let said = |name: &&str| format!("tensor {} is not one of the model's", quoted(name));
            list(foreign.iter().map(said).collect());
            let said = |name: &String| format!("there is no tensor {}", quoted(name));
            list(self.missing.iter().map(said).collect());
        }
        list(std::mem::take(&mut self.misfits));
        if wrong.is_empty() && self.report.loaded.is_empty() && !self.missing.is_empty() {
            let count = self.tensors.len();
            wrong.push(format!("none of its {count} tensors is one of the model's"));
        }
        if !wrong.is_empty() {
            wrong.extend(hint);
            return Err(wrong.join("; "));
        }
        self.report.missing = self.missing;
        Ok((self.places, self.report))
    }

    /// What to do where all that is missing is there behind a prefix.
    fn hint(&self, foreign: &[&str]) -> Option<String> {
        let there: HashSet<&str> = foreign.iter().copied().collect();
        let first = self.missing.first()?;
        let mut prefixes = foreign
            .iter()
            .filter_map(|name| name.strip_suffix(&**first));
        let holds = |prefix: &&str| {
            let behind = |name: &String| there.contains(&*format!("{prefix}{name}"));
            !prefix.is_empty() && self.missing.iter().all(behind)
        };
        let prefix = prefixes.find(holds)?;
        let prefix = quoted(prefix);
        Some(format!(
            "what is missing is there behind {prefix}, which `Weights::strip_prefix` takes off"
        ))
    }
}

/// The tensors of all files in their order, then those that are in a file under another name:
/// `safetensors.torch.save_model` writes one of several that share their values, and the names of the others,
/// with its, among the header's strings.
fn tensors<'a>(files: &'a [Open], names: &Names) -> std::result::Result<Vec<Tensor<'a>>, String> {
    let mut places = HashMap::new();
    let mut tensors = Vec::new();
    for (at, file) in files.iter().enumerate() {
        for (number, (stored, info)) in file.tensors().iter().enumerate() {
            if places.insert(&**stored, (at, number)).is_some() {
                return Err(format!("two files have a tensor {}", quoted(stored)));
            }
            tensors.push(Tensor {
                stored,
                name: names.renamed(stored),
                info,
                place: (at, number),
                tied: false,
            });
        }
    }
    for file in files {
        for (stored, kept) in file.metadata() {
            let Some(&place) = places.get(&**kept) else {
                continue;
            };
            if !places.contains_key(&**stored) {
                tensors.push(Tensor {
                    stored,
                    name: names.renamed(stored),
                    info: &files[place.0].tensors()[place.1].1,
                    place,
                    tied: true,
                });
            }
        }
    }
    Ok(tensors)
}
