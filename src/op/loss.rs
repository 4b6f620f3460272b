//! Loss functions: what training makes small.

use crate::{Error, Result, Shape};

/// How the losses of a batch become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// Their mean: over the rows for cross-entropy, over all elements for the squared error.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// A loss function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// `-sum over c of target[c] * log softmax(logits)[c]` per row, on class labels or on
    /// probabilities. Computed from the logits by shifting with their maximum, so that large logits
    /// stay finite.
    CrossEntropy(Reduction),
    /// `(output - target)^2` per element.
    MeanSquaredError(Reduction),
}

impl Default for Loss {
    fn default() -> Self {
        Self::cross_entropy()
    }
}

impl Loss {
    /// Mean softmax cross-entropy.
    pub fn cross_entropy() -> Self {
        Self::CrossEntropy(Reduction::Mean)
    }

    /// Mean squared error, over all elements.
    pub fn mean_squared_error() -> Self {
        Self::MeanSquaredError(Reduction::Mean)
    }

    /// Sets how the losses of a batch become one number.
    pub fn reduction(self, reduction: Reduction) -> Self {
        match self {
            Self::CrossEntropy(_) => Self::CrossEntropy(reduction),
            Self::MeanSquaredError(_) => Self::MeanSquaredError(reduction),
        }
    }

    /// The resolved extents for `batch` outputs of shape `output` each.
    pub fn geometry(self, batch: usize, output: &Shape) -> Result<LossGeometry> {
        if let (Self::CrossEntropy(_), false) = (self, output.rank() == 1) {
            let expected = "one row of logits per example, shape [classes]";
            return Err(Error::shape("cross-entropy", expected, output));
        }
        let (classes, reduction) = match self {
            Self::CrossEntropy(reduction) => (output.len(), reduction),
            Self::MeanSquaredError(reduction) => (output.len(), reduction),
        };
        let count = match (reduction, self) {
            (Reduction::Sum, _) => 1,
            (Reduction::Mean, Self::CrossEntropy(_)) => batch,
            (Reduction::Mean, Self::MeanSquaredError(_)) => batch * classes,
        };
        Ok(LossGeometry {
            rows: batch,
            classes,
            scale: 1.0 / count as f64,
        })
    }
}

/// The extents of a loss, resolved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossGeometry {
    /// Examples.
    pub rows: usize,
    /// Outputs per example.
    pub classes: usize,
    /// What the sum over the batch is multiplied by: one over the count for a mean.
    pub scale: f64,
}

/// What the outputs of a batch should have been. `step` takes anything that converts into it.
///
/// ```
/// use wgpu_cnn::Target;
/// assert!(matches!(Target::from(&[3u8, 1]), Target::Labels(labels) if labels == [3, 1]));
/// assert!(matches!(Target::from(&[0.5f32]), Target::Values(_)));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// A class per example, `(N)`.
    Labels(Vec<u32>),
    /// As many values per example as there are outputs: the values that the squared error wants, or
    /// the probabilities of the classes for the cross-entropy.
    Values(Vec<f32>),
}

macro_rules! target_from {
    ($($integer:ty),*) => {$(
        impl From<&[$integer]> for Target {
            fn from(labels: &[$integer]) -> Self {
                // A label that does not fit in 32 bits is out of range for every model.
                Self::Labels(labels.iter().map(|&l| u32::try_from(l).unwrap_or(u32::MAX)).collect())
            }
        }
        target_from!(@references $integer);
    )*};
    (@references $element:ty) => {
        impl From<&Vec<$element>> for Target {
            fn from(target: &Vec<$element>) -> Self {
                target.as_slice().into()
            }
        }
        impl<const N: usize> From<&[$element; N]> for Target {
            fn from(target: &[$element; N]) -> Self {
                target.as_slice().into()
            }
        }
    };
}
target_from!(u8, u32, i32, i64, usize);

impl From<&[f32]> for Target {
    fn from(values: &[f32]) -> Self {
        Self::Values(values.to_vec())
    }
}
target_from!(@references f32);

impl Target {
    /// The number of examples, if the target fits the loss and an output of `classes` elements.
    pub(crate) fn check(&self, loss: Loss, classes: usize, batch: usize) -> Result<()> {
        match (self, loss) {
            (Self::Labels(labels), Loss::CrossEntropy(_)) => {
                if labels.len() != batch {
                    return Err(Error::shape(
                        "labels",
                        format!("{batch} labels"),
                        labels.len(),
                    ));
                }
                match labels.iter().position(|&label| label as usize >= classes) {
                    Some(at) => Err(Error::argument(
                        format!("labels[{at}]"),
                        format!("class {} of {classes}", labels[at]),
                    )),
                    None => Ok(()),
                }
            }
            (Self::Labels(_), _) => Err(Error::argument(
                "target",
                "the mean squared error takes values, not labels",
            )),
            (Self::Values(values), _) if values.len() != batch * classes => Err(Error::shape(
                "target",
                format!("{batch} rows of {classes} values"),
                values.len(),
            )),
            (Self::Values(_), _) => Ok(()),
        }
    }
}
