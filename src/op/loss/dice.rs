//! The Dice loss.

use super::{Loss, Reduction};

/// One minus the soft Dice coefficient of each class, for masks: outputs `[C, H, W]` or `[C, L]`
/// (Milletari et al. 2016, with sums in place of squares). With the probability `p` of a class at each
/// pixel and its target `t`, a label's being 1 at its class and 0 at the others:
///
/// `1 - (2 * sum(p * t) + smoothing) / (sum(p) + sum(t) + smoothing)`
///
/// Sums are over the pixels of an example, or of the whole batch; no class is left out. The mean is over
/// examples and classes, or over classes. Of a batch in several parts
/// ([`accumulate`](crate::TrainerBuilder::accumulate)) each part counts as one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dice {
    /// How the losses of the classes become one number. Default the mean.
    pub reduction: Reduction,
    /// What the outputs are. Default logits of classes of which each pixel has one.
    pub output: DiceOutput,
    /// Added above and below, so that a class that is nowhere, neither in the target nor in the output,
    /// costs nothing. Default 1.
    pub smoothing: f64,
    /// Whether a coefficient is that of the whole batch rather than of one example. Default not.
    pub over_batch: bool,
    /// Pixels with this label are in none of the sums. Default none.
    pub ignored_label: Option<i64>,
}

/// What makes probabilities of a model's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DiceOutput {
    /// Softmax over the classes: each pixel has one of them.
    #[default]
    Softmax,
    /// Sigmoid: each pixel is in any number of classes. A single class is a foreground.
    Sigmoid,
}

impl Default for Dice {
    fn default() -> Self {
        Self {
            reduction: Reduction::Mean,
            output: DiceOutput::Softmax,
            smoothing: 1.0,
            over_batch: false,
            ignored_label: None,
        }
    }
}

impl Dice {
    /// Sets how the losses of the classes become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Takes the sigmoid of each output in place of the softmax over the classes.
    pub fn sigmoid(mut self) -> Self {
        self.output = DiceOutput::Sigmoid;
        self
    }

    /// Sets what is added above and below.
    pub fn smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// Sets whether a coefficient is that of the whole batch.
    pub fn over_batch(mut self, over_batch: bool) -> Self {
        self.over_batch = over_batch;
        self
    }

    /// Sets a label whose pixels are in none of the sums, such as 255. It need not be a class.
    pub fn ignored_label(mut self, label: i64) -> Self {
        self.ignored_label = Some(label);
        self
    }
}

impl From<Dice> for Loss {
    fn from(loss: Dice) -> Self {
        Self::Dice(loss)
    }
}
