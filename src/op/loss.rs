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
    pub ignored_label: Option<u32>,
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
        self.ignored_label = Some(label_from(label));
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
                (Reduction::Mean, Target::Labels(labels)) => {
                    let counted = labels.iter().filter(|&&l| Some(l) != loss.ignored_label);
                    match &loss.class_weights {
                        Some(weights) => {
                            let weights = counted.filter_map(|&l| weights.get(l as usize));
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

/// A label in 32 bits. Negative ones and those that do not fit are out of range for every model.
fn label_from(label: impl TryInto<i64>) -> u32 {
    match label.try_into() {
        Ok(label) if (i64::from(i32::MIN)..0).contains(&label) => label as i32 as u32,
        Ok(label) => label.try_into().unwrap_or(u32::MAX),
        Err(_) => u32::MAX,
    }
}

macro_rules! target_from {
    ($($integer:ty),*) => {$(
        impl From<&[$integer]> for Target {
            fn from(labels: &[$integer]) -> Self {
                Self::Labels(labels.iter().map(|&label| label_from(label)).collect())
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
    /// Refuses a target that does not fit the loss and a batch of outputs of `classes` elements.
    pub(crate) fn check(&self, loss: &Loss, classes: usize, batch: usize) -> Result<()> {
        match (self, loss) {
            (Self::Labels(labels), Loss::CrossEntropy(loss)) => {
                if labels.len() != batch {
                    return Err(Error::shape(
                        "labels",
                        format!("{batch} labels"),
                        labels.len(),
                    ));
                }
                let fits =
                    |label: u32| (label as usize) < classes || Some(label) == loss.ignored_label;
                match labels.iter().position(|&label| !fits(label)) {
                    Some(at) => Err(Error::argument(
                        format!("labels[{at}]"),
                        format!("class {} of {classes}", labels[at]),
                    )),
                    None => Ok(()),
                }
            }
            (Self::Labels(_), _) => Err(Error::argument(
                "target",
                "this loss takes values, not labels",
            )),
            (Self::Values(values), _) if values.len() != batch.saturating_mul(classes) => {
                Err(Error::shape(
                    "target",
                    format!("{batch} rows of {classes} values"),
                    values.len(),
                ))
            }
            (Self::Values(_), _) => Ok(()),
        }
    }
}
