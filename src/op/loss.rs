//! Loss functions: what training makes small.

use super::Target;
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
///
/// ```
/// use wgpu_cnn::Loss;
/// let usual = Loss::cross_entropy();
/// let weighted = Loss::cross_entropy().label_smoothing(0.1).class_weights([1.0, 2.5, 1.0]);
/// let regression = Loss::mean_squared_error();
/// # let _: [Loss; 3] = [usual.into(), weighted.into(), regression];
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy.
    CrossEntropy(CrossEntropy),
    /// `(output - target)^2` per element.
    MeanSquaredError(Reduction),
    /// `softplus(output) - target * output` per element: the cross-entropy of `sigmoid(output)` with
    /// a probability, for outputs that are independent of each other.
    BinaryCrossEntropy(Reduction),
}

/// Softmax cross-entropy per row, on class labels or on probabilities:
/// `-sum over c of weight[c] * target[c] * log softmax(logits)[c]`.
///
/// Computed from the logits by shifting with their maximum, so that large logits stay finite. The
/// mean over labels divides by the sum of the labels' class weights, as in PyTorch; the mean over
/// probabilities by the number of rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropy {
    /// How the losses of a batch become one number. Default the mean.
    pub reduction: Reduction,
    /// The share of each target that is spread evenly over all classes (Szegedy et al. 2016).
    /// Default 0.
    pub label_smoothing: f64,
    /// A factor for each class. Default 1.
    pub class_weights: Option<Vec<f32>>,
    /// Rows with this label count for nothing. Default none.
    pub ignored_label: Option<i64>,
}

impl CrossEntropy {
    /// Sets how the losses of a batch become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Sets the share of each target that is spread evenly over all classes.
    pub fn label_smoothing(mut self, share: f64) -> Self {
        self.label_smoothing = share;
        self
    }

    /// Sets a factor for each class.
    pub fn class_weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        self.class_weights = Some(weights.into());
        self
    }

    /// Sets a label whose rows count for nothing, such as PyTorch's -100. It need not be a class.
    pub fn ignored_label(mut self, label: i64) -> Self {
        self.ignored_label = Some(label);
        self
    }
}

impl From<CrossEntropy> for Loss {
    fn from(loss: CrossEntropy) -> Self {
        Self::CrossEntropy(loss)
    }
}

impl Default for Loss {
    fn default() -> Self {
        Self::cross_entropy().into()
    }
}

impl Loss {
    /// Mean softmax cross-entropy.
    pub fn cross_entropy() -> CrossEntropy {
        CrossEntropy::default()
    }

    /// Mean squared error, over all elements.
    pub fn mean_squared_error() -> Self {
        Self::MeanSquaredError(Reduction::Mean)
    }

    /// Mean binary cross-entropy with logits, over all elements.
    pub fn binary_cross_entropy() -> Self {
        Self::BinaryCrossEntropy(Reduction::Mean)
    }

    /// Sets how the losses of a batch become one number.
    pub fn reduction(self, reduction: Reduction) -> Self {
        match self {
            Self::CrossEntropy(loss) => Self::CrossEntropy(loss.reduction(reduction)),
            Self::MeanSquaredError(_) => Self::MeanSquaredError(reduction),
            Self::BinaryCrossEntropy(_) => Self::BinaryCrossEntropy(reduction),
        }
    }

    /// The resolved extents for `batch` outputs of shape `output` each.
    pub fn geometry(&self, batch: usize, output: &Shape) -> Result<LossGeometry> {
        if let Self::CrossEntropy(loss) = self {
            if output.rank() != 1 {
                let expected = "one row of logits per example, shape [classes]";
                return Err(Error::shape("cross-entropy", expected, output));
            }
            if !(0.0..=1.0).contains(&loss.label_smoothing) {
                let reason = format!("{} is not within 0..=1", loss.label_smoothing);
                return Err(Error::argument("label smoothing", reason));
            }
            if let Some(weights) = &loss.class_weights {
                if weights.len() != output.len() {
                    let expected = format!("{} class weights", output.len());
                    return Err(Error::shape("cross-entropy", expected, weights.len()));
                }
                if !weights
                    .iter()
                    .all(|weight| *weight >= 0.0 && weight.is_finite())
                {
                    return Err(Error::argument(
                        "class weights",
                        "must be finite and not negative",
                    ));
                }
            }
        }
        Ok(LossGeometry {
            rows: batch,
            classes: output.len(),
        })
    }

    /// The label whose rows count for nothing.
    pub(crate) fn ignored_label(&self) -> Option<i128> {
        match self {
            Self::CrossEntropy(loss) => loss.ignored_label.map(i128::from),
            Self::MeanSquaredError(_) | Self::BinaryCrossEntropy(_) => None,
        }
    }

    /// Whether the losses of a batch are summed up.
    pub(crate) fn is_sum(&self) -> bool {
        let (Self::CrossEntropy(CrossEntropy { reduction, .. })
        | Self::MeanSquaredError(reduction)
        | Self::BinaryCrossEntropy(reduction)) = self;
        *reduction == Reduction::Sum
    }

    /// What the sum over a batch is divided by: the number of rows or elements for a mean, the sum
    /// of the labels' weights for a mean over weighted labels, 1 for a sum.
    pub fn normaliser(&self, target: &Target, geometry: &LossGeometry) -> f64 {
        let LossGeometry { rows, classes } = *geometry;
        match (self, target) {
            (Self::MeanSquaredError(reduction) | Self::BinaryCrossEntropy(reduction), _) => {
                match reduction {
                    Reduction::Mean => rows as f64 * classes as f64,
                    Reduction::Sum => 1.0,
                }
            }
            (Self::CrossEntropy(loss), target) => match (loss.reduction, target) {
                (Reduction::Sum, _) => 1.0,
                (Reduction::Mean, Target::Values(_)) => rows as f64,
                (Reduction::Mean, Target::Labels(_) | Target::WideLabels(_)) => {
                    let ignored = self.ignored_label();
                    let counted = target.labels().filter(|&label| Some(label) != ignored);
                    match &loss.class_weights {
                        Some(weights) => {
                            let classes = counted.filter_map(|label| usize::try_from(label).ok());
                            let weights = classes.filter_map(|class| weights.get(class));
                            weights.map(|&weight| f64::from(weight)).sum()
                        }
                        None => counted.count() as f64,
                    }
                }
            },
        }
    }
}

/// The extents of a loss, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LossGeometry {
    /// Examples.
    pub rows: usize,
    /// Outputs per example.
    pub classes: usize,
}
