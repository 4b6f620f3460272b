//! Losses and their gradients. The twin of the `loss` kernels.

mod classes;
mod dice;
mod elements;

use super::{Real, check_length};
use crate::op::{Dice, Loss, LossGeometry, Target};
use crate::{Error, Result};

/// The loss of `output (rows, classes, plane)` divided by `normaliser`, with its gradient with respect
/// to the output written to `gradient`. The normaliser is usually
/// [`Loss::normaliser`](crate::Loss::normaliser); with 1 the losses and gradients of several batches
/// can be summed and divided later.
///
/// * Cross-entropy of the classes `z` of an example or a pixel: `-sum of t * log_softmax(z)`, its
///   gradient `sum(t) * softmax(z) - t`, with
///   `t[c] = weight[c] * ((1 - smoothing) * p[c] + smoothing / classes)` for the probabilities `p`, or
///   for a label the same with `p` 1 at its class and 0 elsewhere. A row with the ignored label adds
///   nothing, and its gradient is zero whatever the normaliser.
/// * Negative log-likelihood: `-weight[label] * z[label]`, its gradient `-weight[label]` there.
/// * Of an element with `d = output - target`: squared error `d^2`, its gradient `2 * d`; L1 `|d|`, its
///   gradient the sign of `d`, 0 where `d` is 0 or NaN; smooth L1 `d^2 / (2 beta)` where
///   `|d| < beta`, else `|d| - beta / 2`; Huber `d^2 / 2` where `|d| <= delta`, else
///   `delta * (|d| - delta / 2)`.
/// * Binary cross-entropy: `softplus(output) - target * output`, its gradient
///   `sigmoid(output) - target`; with a factor `p` of positive targets
///   `p * target * softplus(-output) + (1 - target) * softplus(output)`.
/// * Kullback-Leibler divergence: `target * (log(target) - output)`, its gradient `-target`.
/// * Dice: `1 - (2 * sum(p * t) + s) / (sum(p) + sum(t) + s)` of each class, see
///   [`Dice`](crate::Dice).
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice, the target or the weights have another
/// length, [`Error::Argument`](crate::Error::Argument) where a label is out of range, where the loss
/// takes no labels or no values, and where the normaliser is negative, infinite or NaN.
pub fn loss_forward_backward<T: Real>(
    loss: &Loss,
    geometry: &LossGeometry,
    normaliser: f64,
    output: &[T],
    target: &Target,
    gradient: &mut [T],
) -> Result<T> {
    let &LossGeometry {
        rows,
        classes,
        plane,
        ..
    } = geometry;
    check_length("loss output", [rows, classes, plane], output.len())?;
    check_length("loss gradient", [rows, classes, plane], gradient.len())?;
    if !(normaliser >= 0.0 && normaliser.is_finite()) {
        let reason = format!("{normaliser} is not a number from zero on");
        return Err(Error::argument("normaliser", reason));
    }
    loss.check(geometry)?;
    target.check(loss, geometry)?;
    let divisor = T::nearest(normaliser);
    let codes = target.codes(loss);
    let total = match (loss, target) {
        (Loss::CrossEntropy(loss), Target::Labels(_) | Target::WideLabels(_)) => {
            classes::of_labels(loss, geometry, output, &codes, divisor, gradient)
        }
        (Loss::CrossEntropy(loss), Target::Values(values)) => {
            classes::of_probabilities(loss, geometry, output, values, divisor, gradient)
        }
        (Loss::NegativeLogLikelihood(loss), _) => {
            classes::likelihood(loss, geometry, output, &codes, divisor, gradient)
        }
        (Loss::Dice(loss), _) => {
            let target = dice::Mask::of(target, &codes);
            dice::dice(loss, geometry, output, target, divisor, gradient)
        }
        (
            Loss::MeanSquaredError(_)
            | Loss::L1(_)
            | Loss::SmoothL1 { .. }
            | Loss::Huber { .. }
            | Loss::BinaryCrossEntropy(_)
            | Loss::KlDivergence(_),
            Target::Values(values),
        ) => elements::elements(loss, geometry, output, values, divisor, gradient),
        // `check` refuses labels for these.
        (
            Loss::MeanSquaredError(_)
            | Loss::L1(_)
            | Loss::SmoothL1 { .. }
            | Loss::Huber { .. }
            | Loss::BinaryCrossEntropy(_)
            | Loss::KlDivergence(_),
            Target::Labels(_) | Target::WideLabels(_),
        ) => f64::NAN,
    };
    Ok(T::nearest(total / normaliser))
}

/// The sums that the coefficients of a Dice loss over the whole batch are made of: of `p * t` and of `p + t`,
/// class by class. The target has been checked.
pub(crate) fn dice_sums(
    loss: &Dice,
    geometry: &LossGeometry,
    output: &[f32],
    target: &Target,
) -> Vec<[f64; 2]> {
    let codes = target.codes(&Loss::Dice(*loss));
    dice::batch_sums(loss, geometry, output, dice::Mask::of(target, &codes))
}

#[cfg(test)]
mod tests;
