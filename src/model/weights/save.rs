//! How weights are written.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;

use super::convert;
use super::names::Names;
use super::open::dtype;
use super::report::LoadReport;
use crate::file::safetensors::{Sink, header};
use crate::model::Graph;
use crate::model::graph::Parameter;
use crate::{Error, Pattern, Result};

/// How a model's weights are written: which of them, under which names, and as which numbers.
///
/// As they are without options, all are written under the model's names as `F32`, and those that count as
/// `I64`: what PyTorch reads and [`Weights`](super::Weights) too. What is said of names is done in the order
/// of the calls.
///
/// ```
/// use wgpu_cnn::{Model, SaveOptions, Trainer, Weights};
/// # let model = Model::builder([4]).dense(3).build()?;
/// let trainer = Trainer::builder(model.clone()).on_cpu()?;
/// let half = SaveOptions::new().add_prefix("module.").f16();
/// let bytes = trainer.weights_bytes(&half)?; // or `trainer.save_with("half.safetensors", &half)?`
/// let weights = Weights::bytes(bytes).strip_prefix("module.");
/// assert_eq!(weights.check(&model)?.converted.len(), 2);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SaveOptions {
    names: Names,
    /// What floating-point numbers are written as, where that is not `F32`.
    float: Option<Dtype>,
    metadata: BTreeMap<String, String>,
}

impl SaveOptions {
    /// All weights under the model's names, as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a prefix before every name, such as `module.`.
    pub fn add_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names.add(prefix);
        self
    }

    /// Takes a prefix off. Weights whose names do not begin with it are not written: of a model with a
    /// `backbone.` that part alone.
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names.strip(prefix);
        self
    }

    /// Gives names by a function.
    pub fn rename(mut self, name: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.names.function(name);
        self
    }

    /// Gives names by a table of the model's and the file's. Others stay.
    pub fn rename_each<A: Into<String>, B: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = (A, B)>,
    ) -> Self {
        self.names.table(names);
        self
    }

    /// Gives back the names of a file that the weights were read from, whatever has mapped them.
    pub fn rename_back(self, report: &LoadReport) -> Self {
        let names = report.renamed.iter();
        self.rename_each(names.map(|(name, stored)| (name.as_str(), stored.as_str())))
    }

    /// Leaves out weights by their names in the model: `"fc.*"`, or a function of them.
    pub fn skip(mut self, names: impl Into<Pattern>) -> Self {
        self.names.skip(names);
        self
    }

    /// Writes floating-point numbers as `F16`: 11 binary digits, up to 65,504. A finite weight beyond that is
    /// an error, one too small becomes 0.
    pub fn f16(mut self) -> Self {
        self.float = Some(Dtype::F16);
        self
    }

    /// Writes floating-point numbers as `BF16`: 8 binary digits, in the range of `f32`.
    pub fn bf16(mut self) -> Self {
        self.float = Some(Dtype::BF16);
        self
    }

    /// Adds a string to the file's header, such as the `("format", "pt")` that some of PyTorch's tools look
    /// for.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// What is written of a model.
    pub(crate) fn layout(&self, graph: &Graph) -> Result<Layout> {
        let kept = graph.kept().filter(|(_, it)| !self.names.skips(&it.name));
        let named = kept.filter_map(|(_, it)| Some((self.names.renamed(&it.name)?, it)));
        let named: Vec<(String, &Parameter)> = named.collect();
        if named.is_empty() && graph.kept().next().is_some() {
            return Err(Error::argument("weights", "none would be written"));
        }
        let dtype = |parameter: &Parameter| match (parameter.is_count(), self.float) {
            (false, Some(float)) => float,
            _ => dtype(parameter),
        };
        let tensors = named.iter();
        let tensors = tensors.map(|(name, it)| (name.as_str(), dtype(it), &it.shape[..]));
        let (header, order) = header(tensors, &self.metadata)
            .map_err(|reason| Error::argument("names in a file", reason))?;
        let tensors = order.into_iter().map(|at| {
            let parameter = named[at].1;
            (parameter.name.clone(), dtype(parameter))
        });
        Ok(Layout {
            header,
            tensors: tensors.collect(),
        })
    }
}

/// A file that is to be written.
pub(crate) struct Layout {
    /// What stands before the values.
    pub header: Vec<u8>,
    /// The parameters in the order of their values, by their names in the model, and the type of each there.
    tensors: Vec<(String, Dtype)>,
}

impl Layout {
    /// The parameters in the order in which their values are written, by number and name.
    pub fn parameters(&self) -> impl Iterator<Item = (usize, &str)> {
        let tensors = self.tensors.iter().enumerate();
        tensors.map(|(at, (name, _))| (at, name.as_str()))
    }

    /// Writes the values of a parameter.
    pub fn write(&self, parameter: usize, values: &[f32], sink: &mut impl Sink) -> Result<()> {
        let (name, dtype) = &self.tensors[parameter];
        convert::write(sink, name, values, *dtype)
    }
}
