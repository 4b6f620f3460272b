//! Losses of classes, one of which is right.

use super::{Loss, Reduction};
use crate::{Error, Result};

/// Softmax cross-entropy per row of logits, on class labels or on probabilities:
/// `-sum over c of weight[c] * target[c] * log softmax(logits)[c]`. An output `[C, H, W]` or `[C, L]`
/// has a row for each pixel or moment; labels are then `(N, H, W)`, and probabilities lie as the
/// output does.
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

/// Negative log-likelihood per row of logarithms of probabilities, on class labels:
/// `-weight[label] * output[label]`. After [`log_softmax`](crate::ModelBuilder::log_softmax) it is the
/// [`CrossEntropy`] of what went into that. Rows are as there, and so is the mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NegativeLogLikelihood {
    /// How the losses of a batch become one number. Default the mean.
    pub reduction: Reduction,
    /// A factor for each class. Default 1.
    pub class_weights: Option<Vec<f32>>,
    /// Rows with this label count for nothing. Default none.
    pub ignored_label: Option<i64>,
}

impl NegativeLogLikelihood {
    /// Sets how the losses of a batch become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
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

impl From<NegativeLogLikelihood> for Loss {
    fn from(loss: NegativeLogLikelihood) -> Self {
        Self::NegativeLogLikelihood(loss)
    }
}

/// Refuses other than one finite factor from zero on for each class.
pub(super) fn check_weights(loss: &str, weights: &[f32], classes: usize) -> Result<()> {
    if weights.len() != classes {
        let expected = format!("{classes} class weights");
        return Err(Error::shape(loss, expected, weights.len()));
    }
    check_factors("class weights", weights)
}

/// Refuses factors that are negative, infinite or NaN.
pub(super) fn check_factors(what: &str, factors: &[f32]) -> Result<()> {
    let fits = |factor: &f32| *factor >= 0.0 && factor.is_finite();
    match factors.iter().all(fits) {
        true => Ok(()),
        false => Err(Error::argument(what, "must be finite and not negative")),
    }
}
