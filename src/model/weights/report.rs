//! What was read.

use std::fmt;

/// Names of a list that are shown.
const SHOWN: usize = 5;

/// What a model has taken of a file of [`Weights`](super::Weights), and what not. Each list is in the order of
/// the model, or of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// The model's parameters that were read, by their names in the model.
    pub loaded: Vec<String>,
    /// The model's parameters that are not in the file, and stay as they were: those of a load that is
    /// [partial](super::Weights::partial).
    pub missing: Vec<String>,
    /// The model's parameters that were [skipped](super::Weights::skip), and stay as they were.
    pub skipped: Vec<String>,
    /// The tensors of the file that the model has not taken, by their names in the file. The
    /// `num_batches_tracked` that PyTorch writes for every normalisation are not told of.
    pub unused: Vec<String>,
    /// The parameters that were no `F32` in the file, or, where they are counts, no `I64`: their names in the
    /// model, and the type there.
    pub converted: Vec<(String, String)>,
    /// The parameters whose names differ: in the model, and in the file.
    pub renamed: Vec<(String, String)>,
}

impl fmt::Display for LoadReport {
    /// A line: how many of each, with the first names of those that were not read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        if !self.converted.is_empty() {
            write!(f, " ({} converted)", self.converted.len())?;
        }
        let lists = [
            ("missing", &self.missing),
            ("skipped", &self.skipped),
            ("unused", &self.unused),
        ];
        for (what, names) in lists {
            if !names.is_empty() {
                write!(f, ", {} {what}: {}", names.len(), listed(names, " "))?;
            }
        }
        Ok(())
    }
}

/// The first of a list, and how many there are more.
pub(super) fn listed(items: &[String], between: &str) -> String {
    let shown = items[..items.len().min(SHOWN)].join(between);
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown}{between}and {more} more"),
    }
}
