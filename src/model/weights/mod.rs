//! Weights on disk, in the safetensors format, and how they become those of a model.

mod convert;
mod index;
mod names;
mod open;
mod report;
mod save;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use report::LoadReport;
pub use save::SaveOptions;

use super::Model;
use crate::file::safetensors::Source;
use crate::{Pattern, Result};
use names::Names;

#[cfg(all(test, feature = "native"))]
mod tests;

/// Where weights come from, and how they become those of a model: a safetensors file, the bytes of one, or
/// several.
///
/// Whatever takes weights takes a path as it is, and then every parameter of the model must be in the file
/// under its own name and in its shape, and nothing else: a mistake in a name is found, and not trained
/// around. For all other files this says what to do. What is said of names is done in the order of the calls.
///
/// ```no_run
/// use wgpu_cnn::prelude::*;
/// # let gpu = Gpu::new()?;
/// // A network that was trained with `nn.DataParallel`, for ten classes of one's own.
/// let weights = Weights::file("resnet18.safetensors").strip_prefix("module.").skip("fc.*");
/// let model = zoo::resnet18().classes(10).build()?;
/// println!("{}", weights.check(&model)?); // 100 loaded, 2 skipped: fc.weight fc.bias, 2 unused: ...
/// let trainer = Trainer::builder(model).weights(weights).on(&gpu)?;
/// # use wgpu_cnn::zoo;
/// # Ok::<(), Error>(())
/// ```
///
/// `F64`, `F16` and `BF16` become `f32`, rounded to the nearest; a finite number beyond `f32` is an error.
/// What counts the batches of a normalisation may be any whole number. Tensors that share their values, of which
/// `safetensors.torch.save_model` writes one and the names of the others, are found under each of their names.
#[derive(Debug, Clone)]
pub struct Weights {
    /// At least one.
    sources: Vec<Source>,
    names: Names,
    partial: bool,
}

impl<P: AsRef<Path>> From<P> for Weights {
    fn from(path: P) -> Self {
        Self::file(path.as_ref())
    }
}

impl Weights {
    fn new(source: Source) -> Self {
        Self {
            sources: vec![source],
            names: Names::default(),
            partial: false,
        }
    }

    /// A file. One that ends in `.json` is an index of several, such as
    /// `model.safetensors.index.json`, which lie beside it or in folders below it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(path.into()))
    }

    /// The bytes of a file, as a program has them that has no files: in a browser, or in an executable.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Source::Bytes(Arc::new(bytes.into())))
    }

    /// Adds a file: the tensors are those of all of them together.
    pub fn and_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.push(Source::File(path.into()));
        self
    }

    /// Adds the bytes of a file: the tensors are those of all of them together.
    pub fn and_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.sources.push(Source::Bytes(Arc::new(bytes.into())));
        self
    }

    /// Reads the tensors whose names begin with a prefix, and takes it off. Others are of another part of the
    /// file, and unused: `module.` is what `nn.DataParallel` adds, and a file that holds averaged weights
    /// beside the last ones has a prefix for each.
    pub fn strip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names.strip(prefix);
        self
    }

    /// Puts a prefix before every name of the file: the model has as `backbone.conv1.weight` what
    /// is `conv1.weight` there.
    pub fn add_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.names.add(prefix);
        self
    }

    /// Gives the model's names by a function of those in the file.
    pub fn rename(mut self, name: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.names.function(name);
        self
    }

    /// Gives the model's names by a table of the file's and the model's. Others stay.
    pub fn rename_each<A: Into<String>, B: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = (A, B)>,
    ) -> Self {
        self.names.table(names);
        self
    }

    /// Leaves parameters as they are, by their names in the model, whether they are in the file or not, and
    /// in which shape: `"fc.*"` for a new head. Tensors that would have such a name, as those of an auxiliary
    /// head that the model does without, are no error either. It can be called several times.
    pub fn skip(mut self, names: impl Into<Pattern>) -> Self {
        self.names.skip(names);
        self
    }

    /// Leaves parameters as they are that the file lacks, and tensors unused that the model lacks. It is an
    /// error all the same if nothing is read, or a tensor has another shape than the model's: the
    /// [report](LoadReport) says what was not read. Default false.
    pub fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// What a model would take of the files, from their headers alone.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a file that is none, or whose tensors are not the model's: the
    /// first of those that are too many, missing, or of another shape or type, each with both shapes.
    pub fn check(&self, model: &Model) -> Result<LoadReport> {
        Ok(self.open(&model.graph)?.into_report())
    }
}
