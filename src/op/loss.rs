//! Loss functions: what training makes small.

mod classes;
mod dice;
mod elements;

use super::Target;
use crate::{Error, Result, Shape};

pub use classes::{CrossEntropy, NegativeLogLikelihood};
pub use dice::{Dice, DiceOutput};
pub use elements::{BinaryCrossEntropy, Broadcast};

/// How the losses of a batch become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// Their mean: over the rows or pixels that count for losses of classes, over all elements for
    /// losses of values, over examples and classes for the Dice loss.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum divided by the number of examples, whatever these consist of: what a Kullback-Leibler
    /// divergence of distributions is.
    BatchMean,
}

/// A loss function.
///
/// Losses of classes take one row of numbers for each class per example, `[C]`, or one for each pixel
/// or moment, `[C, H, W]` or `[C, L]`, with the classes along the first axis. Losses of values take
/// outputs of any shape.
///
/// ```
/// use wgpu_cnn::Loss;
/// let usual = Loss::cross_entropy();
/// let weighted = Loss::cross_entropy().label_smoothing(0.1).class_weights([1.0, 2.5, 1.0]);
/// let regression = Loss::mean_squared_error();
/// let boxes = Loss::smooth_l1(0.1);
/// let masks = Loss::dice().ignored_label(255);
/// # let _: [Loss; 5] = [usual.into(), weighted.into(), regression, boxes, masks.into()];
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Softmax cross-entropy.
    CrossEntropy(CrossEntropy),
    /// `-weight[label] * output[label]` per row, for outputs that are logarithms of probabilities.
    NegativeLogLikelihood(NegativeLogLikelihood),
    /// `(output - target)^2` per element.
    MeanSquaredError(Reduction),
    /// `|output - target|` per element. Its derivative is 0 where they are equal.
    L1(Reduction),
    /// With `d = output - target`, `d^2 / (2 beta)` where `|d| < beta` and `|d| - beta / 2` elsewhere,
    /// per element (Girshick 2015, with a beta of 1).
    SmoothL1 {
        /// Where the square ends; at 0 the loss is [`L1`](Loss::L1).
        beta: f64,
        /// How the losses become one number.
        reduction: Reduction,
    },
    /// With `d = output - target`, `d^2 / 2` where `|d| <= delta` and `delta * (|d| - delta / 2)`
    /// elsewhere, per element (Huber 1964).
    Huber {
        /// Where the square ends.
        delta: f64,
        /// How the losses become one number.
        reduction: Reduction,
    },
    /// The cross-entropy of `sigmoid(output)` with a probability, for outputs that are independent of
    /// each other.
    BinaryCrossEntropy(BinaryCrossEntropy),
    /// `target * (log(target) - output)` per element, for outputs that are logarithms of
    /// probabilities; a probability of 0 costs nothing.
    KlDivergence(Reduction),
    /// One minus the Dice coefficient of each class.
    Dice(Dice),
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

    /// Mean negative log-likelihood, for a model that ends in
    /// [`log_softmax`](crate::ModelBuilder::log_softmax).
    pub fn nll() -> NegativeLogLikelihood {
        NegativeLogLikelihood::default()
    }

    /// Mean squared error, over all elements.
    pub fn mean_squared_error() -> Self {
        Self::MeanSquaredError(Reduction::Mean)
    }

    /// Mean absolute error, over all elements.
    pub fn l1() -> Self {
        Self::L1(Reduction::Mean)
    }

    /// Mean of `d^2 / (2 beta)` where the error `d` is less than `beta`, and of `|d| - beta / 2`
    /// elsewhere. PyTorch's default is a beta of 1.
    pub fn smooth_l1(beta: f64) -> Self {
        let reduction = Reduction::Mean;
        Self::SmoothL1 { beta, reduction }
    }

    /// Mean of `d^2 / 2` where the error `d` is at most `delta`, and of `delta * (|d| - delta / 2)`
    /// elsewhere. PyTorch's default is a delta of 1.
    pub fn huber(delta: f64) -> Self {
        let reduction = Reduction::Mean;
        Self::Huber { delta, reduction }
    }

    /// Mean binary cross-entropy with logits, over all elements.
    pub fn binary_cross_entropy() -> BinaryCrossEntropy {
        BinaryCrossEntropy::default()
    }

    /// The Kullback-Leibler divergence of probabilities from outputs that are logarithms of
    /// probabilities: summed up over each example, and the mean over the examples.
    pub fn kl_divergence() -> Self {
        Self::KlDivergence(Reduction::BatchMean)
    }

    /// The mean Dice loss of the classes of each example, of a softmax over the classes.
    pub fn dice() -> Dice {
        Dice::default()
    }

    /// Sets how the losses of a batch become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        match &mut self {
            Self::CrossEntropy(loss) => loss.reduction = reduction,
            Self::NegativeLogLikelihood(loss) => loss.reduction = reduction,
            Self::BinaryCrossEntropy(loss) => loss.reduction = reduction,
            Self::Dice(loss) => loss.reduction = reduction,
            Self::MeanSquaredError(own)
            | Self::L1(own)
            | Self::SmoothL1 { reduction: own, .. }
            | Self::Huber { reduction: own, .. }
            | Self::KlDivergence(own) => *own = reduction,
        }
        self
    }

    fn own_reduction(&self) -> Reduction {
        match self {
            Self::CrossEntropy(loss) => loss.reduction,
            Self::NegativeLogLikelihood(loss) => loss.reduction,
            Self::BinaryCrossEntropy(loss) => loss.reduction,
            Self::Dice(loss) => loss.reduction,
            Self::MeanSquaredError(reduction)
            | Self::L1(reduction)
            | Self::SmoothL1 { reduction, .. }
            | Self::Huber { reduction, .. }
            | Self::KlDivergence(reduction) => *reduction,
        }
    }

    /// Whether a target may be labels.
    pub(crate) fn takes_labels(&self) -> bool {
        match self {
            Self::CrossEntropy(_) | Self::NegativeLogLikelihood(_) | Self::Dice(_) => true,
            Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::BinaryCrossEntropy(_)
            | Self::KlDivergence(_) => false,
        }
    }

    /// Whether a target may be values.
    pub(crate) fn takes_values(&self) -> bool {
        !matches!(self, Self::NegativeLogLikelihood(_))
    }

    /// Whether it is of a softmax over the classes.
    pub(crate) fn has_softmax(&self) -> bool {
        match self {
            Self::CrossEntropy(_) => true,
            Self::Dice(loss) => loss.output == DiceOutput::Softmax,
            Self::NegativeLogLikelihood(_)
            | Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::BinaryCrossEntropy(_)
            | Self::KlDivergence(_) => false,
        }
    }

    /// What errors call it.
    fn name(&self) -> &'static str {
        match self {
            Self::CrossEntropy(_) => "cross-entropy",
            Self::NegativeLogLikelihood(_) => "negative log-likelihood",
            Self::MeanSquaredError(_) => "squared error",
            Self::L1(_) => "l1",
            Self::SmoothL1 { .. } => "smooth l1",
            Self::Huber { .. } => "huber",
            Self::BinaryCrossEntropy(_) => "binary cross-entropy",
            Self::KlDivergence(_) => "kl divergence",
            Self::Dice(_) => "dice",
        }
    }

    /// The resolved extents for `batch` outputs of shape `output` each.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) where a loss of classes meets an output without an axis
    /// of them, and where weights do not fit the output;
    /// [`Error::Argument`](crate::Error::Argument) where an option is out of range.
    pub fn geometry(&self, batch: usize, output: &Shape) -> Result<LossGeometry> {
        let mut geometry = LossGeometry {
            rows: batch,
            classes: output.len(),
            plane: 1,
            weights: [Broadcast::ONE; 2],
        };
        if self.takes_labels() {
            let [classes, positions @ ..] = &output[..] else {
                let expected = "a row of numbers per example or per pixel, shape [classes, ...]";
                return Err(Error::shape(self.name(), expected, output));
            };
            geometry.classes = *classes;
            geometry.plane = crate::shape::elements(positions);
        }
        if let Self::BinaryCrossEntropy(loss) = self {
            geometry.weights = loss.broadcasts(output)?;
        }
        self.check(&geometry)?;
        Ok(geometry)
    }

    /// Refuses options that are out of range, and weights that do not fit the extents.
    pub(crate) fn check(&self, geometry: &LossGeometry) -> Result<()> {
        let refused = |number: f64, expected: &str| {
            let reason = format!("{number} is not {expected}");
            Err(Error::argument(self.option(), reason))
        };
        match self {
            Self::CrossEntropy(loss) if !(0.0..=1.0).contains(&loss.label_smoothing) => {
                return refused(loss.label_smoothing, "within 0..=1");
            }
            Self::SmoothL1 { beta, .. } if !(*beta >= 0.0 && (*beta as f32).is_finite()) => {
                return refused(*beta, "a number from 0 on");
            }
            Self::Huber { delta: number, .. }
            | Self::Dice(Dice {
                smoothing: number, ..
            }) if !(*number as f32 > 0.0 && (*number as f32).is_finite()) => {
                return refused(*number, "a number above 0");
            }
            Self::BinaryCrossEntropy(loss) => loss.check(&geometry.weights)?,
            Self::CrossEntropy(_)
            | Self::NegativeLogLikelihood(_)
            | Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::KlDivergence(_)
            | Self::Dice(_) => {}
        }
        match self.class_weights() {
            Some(weights) => classes::check_weights(self.name(), weights, geometry.classes),
            None => Ok(()),
        }
    }

    /// What errors call the number that it depends on.
    fn option(&self) -> &'static str {
        match self {
            Self::CrossEntropy(_) => "label smoothing",
            Self::SmoothL1 { .. } => "smooth l1 beta",
            Self::Huber { .. } => "huber delta",
            Self::Dice(_) => "dice smoothing",
            Self::NegativeLogLikelihood(_)
            | Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::BinaryCrossEntropy(_)
            | Self::KlDivergence(_) => self.name(),
        }
    }

    /// The label whose rows count for nothing.
    pub(crate) fn ignored_label(&self) -> Option<i128> {
        let label = match self {
            Self::CrossEntropy(loss) => loss.ignored_label,
            Self::NegativeLogLikelihood(loss) => loss.ignored_label,
            Self::Dice(loss) => loss.ignored_label,
            Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::BinaryCrossEntropy(_)
            | Self::KlDivergence(_) => None,
        };
        label.map(i128::from)
    }

    /// The factor of each class.
    pub(crate) fn class_weights(&self) -> Option<&[f32]> {
        match self {
            Self::CrossEntropy(loss) => loss.class_weights.as_deref(),
            Self::NegativeLogLikelihood(loss) => loss.class_weights.as_deref(),
            Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::BinaryCrossEntropy(_)
            | Self::KlDivergence(_)
            | Self::Dice(_) => None,
        }
    }

    /// What kernels read beside the target: the factor of each class, or those of positive targets and
    /// then those of elements.
    pub(crate) fn weights(&self) -> Option<Vec<f32>> {
        match self {
            Self::BinaryCrossEntropy(loss) => loss.weights_in_memory(),
            Self::CrossEntropy(_)
            | Self::NegativeLogLikelihood(_)
            | Self::MeanSquaredError(_)
            | Self::L1(_)
            | Self::SmoothL1 { .. }
            | Self::Huber { .. }
            | Self::KlDivergence(_)
            | Self::Dice(_) => self.class_weights().map(<[f32]>::to_vec),
        }
    }

    /// Whether the losses of a batch are summed up.
    pub(crate) fn is_sum(&self) -> bool {
        self.own_reduction() == Reduction::Sum
    }

    /// What the sum over a batch is divided by. For a mean that is the number of elements, of rows
    /// or pixels with probabilities, of those whose labels count, or the sum of the labels' weights;
    /// of the Dice loss the number of coefficients. 1 for a sum.
    pub fn normaliser(&self, target: &Target, geometry: &LossGeometry) -> f64 {
        let LossGeometry {
            rows,
            classes,
            plane,
            ..
        } = *geometry;
        let [rows, classes, plane] = [rows, classes, plane].map(|extent| extent as f64);
        match (self.own_reduction(), self) {
            (Reduction::Sum, _) => 1.0,
            (Reduction::BatchMean, _) => rows,
            (Reduction::Mean, Self::CrossEntropy(_) | Self::NegativeLogLikelihood(_)) => {
                match target {
                    Target::Values(_) => rows * plane,
                    Target::Labels(_) | Target::WideLabels(_) => self.weight_of(target),
                }
            }
            (Reduction::Mean, Self::Dice(Dice { over_batch, .. })) => match over_batch {
                true => classes,
                false => rows * classes,
            },
            (
                Reduction::Mean,
                Self::MeanSquaredError(_)
                | Self::L1(_)
                | Self::SmoothL1 { .. }
                | Self::Huber { .. }
                | Self::BinaryCrossEntropy(_)
                | Self::KlDivergence(_),
            ) => rows * classes * plane,
        }
    }

    /// The sum of the weights of the labels that count.
    fn weight_of(&self, target: &Target) -> f64 {
        let ignored = self.ignored_label();
        let counted = target.labels().filter(|&label| Some(label) != ignored);
        match self.class_weights() {
            Some(weights) => {
                let classes = counted.filter_map(|label| usize::try_from(label).ok());
                let weights = classes.filter_map(|class| weights.get(class));
                weights.map(|&weight| f64::from(weight)).sum()
            }
            None => counted.count() as f64,
        }
    }
}

/// The extents of a loss, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LossGeometry {
    /// Examples.
    pub rows: usize,
    /// Classes, or outputs per example where the loss knows of no classes.
    pub classes: usize,
    /// Pixels or moments of an example, each of which has its row of classes, `(rows, classes, plane)`;
    /// else 1.
    pub plane: usize,
    /// How the weights of positive targets, and those of elements, lie along the outputs of an example,
    /// for the binary cross-entropy. [`Broadcast::ONE`] where it has none.
    pub weights: [Broadcast; 2],
}

impl LossGeometry {
    /// Outputs per example.
    pub(crate) fn outputs(&self) -> usize {
        self.classes.saturating_mul(self.plane)
    }

    /// Labels of a batch.
    pub(crate) fn positions(&self) -> usize {
        self.rows.saturating_mul(self.plane)
    }

    /// Where a row's output of a class lies.
    pub(crate) fn at(&self, row: usize, class: usize) -> usize {
        let (example, position) = (row / self.plane, row % self.plane);
        (example * self.classes + class) * self.plane + position
    }
}
