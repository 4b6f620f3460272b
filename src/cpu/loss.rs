//! Losses and their gradients. The twin of the `loss` kernels.

use super::activation::sigmoid;
use super::softmax::maximum_and_sum;
use super::sum::sum;
use super::{Real, check_length};
use crate::op::{CrossEntropy, Loss, LossGeometry, Target};
use crate::{Error, Result, Shape};

/// The loss of `output (rows, classes)` divided by `normaliser`, with its gradient with respect to
/// the output written to `gradient`. The normaliser is usually
/// [`Loss::normaliser`](crate::Loss::normaliser); with 1 the losses and gradients of several batches
/// can be summed and divided later.
///
/// * Cross-entropy of a row `z`: `-sum of t * log_softmax(z)`, its gradient `sum(t) * softmax(z) - t`,
///   with `t[c] = weight[c] * ((1 - smoothing) * p[c] + smoothing / classes)` for the probabilities
///   `p`, or for a label the same with `p` 1 at its class and 0 elsewhere. A row with the ignored
///   label adds nothing, and its gradient is zero whatever the normaliser.
/// * Squared error: `(output - target)^2`, its gradient `2 * (output - target)`.
/// * Binary cross-entropy: `softplus(output) - target * output`, its gradient
///   `sigmoid(output) - target`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice, the target or the class weights have another
/// length, [`Error::Argument`](crate::Error::Argument) where a label is out of range or the loss
/// takes none, and where the normaliser is negative, infinite or NaN.
pub fn loss_forward_backward<T: Real>(
    loss: &Loss,
    geometry: &LossGeometry,
    normaliser: f64,
    output: &[T],
    target: &Target,
    gradient: &mut [T],
) -> Result<T> {
    let &LossGeometry { rows, classes } = geometry;
    check_length("loss output", [rows, classes], output.len())?;
    check_length("loss gradient", [rows, classes], gradient.len())?;
    if !(normaliser >= 0.0 && normaliser.is_finite()) {
        let reason = format!("{normaliser} is not a number from zero on");
        return Err(Error::argument("normaliser", reason));
    }
    loss.geometry(rows, &Shape::from([classes]))?;
    target.check(loss, classes, rows)?;
    let divisor = T::nearest(normaliser);
    let classes = classes.max(1);
    let rows = output
        .chunks_exact(classes)
        .zip(gradient.chunks_exact_mut(classes));
    let codes = target.codes(loss);
    let total = match (loss, target) {
        (Loss::CrossEntropy(loss), Target::Labels(_) | Target::WideLabels(_)) => sum(rows
            .zip(&codes[..])
            .map(|((z, gradient), &label)| label_cross_entropy(loss, z, label, divisor, gradient))),
        (Loss::CrossEntropy(loss), Target::Values(values)) => {
            let rows = rows.zip(values.chunks_exact(classes));
            sum(rows.map(|((z, gradient), p)| soft_cross_entropy(loss, z, p, divisor, gradient)))
        }
        (Loss::MeanSquaredError(_), Target::Values(values)) => {
            element_wise(output, values, gradient, |output, target| {
                let difference = output - target;
                (difference * difference, (difference + difference) / divisor)
            })
        }
        (Loss::BinaryCrossEntropy(_), Target::Values(values)) => {
            element_wise(output, values, gradient, |x, target| {
                // ln(1 + exp(x)) - target * x, with an exponential that never overflows.
                let linear = if x > T::zero() {
                    (T::one() - target) * x
                } else {
                    -target * x
                };
                let loss = linear + (-x.abs()).exp().ln_1p();
                (loss, (sigmoid(x) - target) / divisor)
            })
        }
        // `check` refuses labels for these.
        (
            Loss::MeanSquaredError(_) | Loss::BinaryCrossEntropy(_),
            Target::Labels(_) | Target::WideLabels(_),
        ) => f64::NAN,
    };
    Ok(T::nearest(total / normaliser))
}

fn label_cross_entropy<T: Real>(
    loss: &CrossEntropy,
    z: &[T],
    label: u32,
    divisor: T,
    gradient: &mut [T],
) -> T {
    if label == Target::IGNORED {
        // The target is zero, and so is the gradient, but where a logit is not finite.
        cross_entropy(z, |_| Some(T::zero()), T::one(), gradient);
        return T::zero();
    }
    // Without smoothing, the other classes are no part of the sum: a logit of negative infinity
    // costs nothing there.
    let target = |class| {
        let hit = class == label as usize;
        let counts = hit || loss.label_smoothing > 0.0;
        counts.then(|| target(loss, class, z.len(), if hit { T::one() } else { T::zero() }))
    };
    cross_entropy(z, target, divisor, gradient)
}

fn soft_cross_entropy<T: Real>(
    loss: &CrossEntropy,
    z: &[T],
    p: &[f32],
    divisor: T,
    gradient: &mut [T],
) -> T {
    let target = |class: usize| Some(target(loss, class, z.len(), T::nearest(p[class])));
    cross_entropy(z, target, divisor, gradient)
}

/// A class's probability after smoothing and weighting.
fn target<T: Real>(loss: &CrossEntropy, class: usize, classes: usize, p: T) -> T {
    let [sharp, even] = [
        1.0 - loss.label_smoothing,
        loss.label_smoothing / classes as f64,
    ];
    let smoothed = T::nearest(sharp) * p + T::nearest(even);
    match &loss.class_weights {
        Some(weights) => T::nearest(weights[class]) * smoothed,
        None => smoothed,
    }
}

/// `-sum of t * log_softmax(z)`, with the gradient `(sum(t) * softmax(z) - t) / divisor`. A class
/// without a target is left out of the sums.
fn cross_entropy<T: Real>(
    z: &[T],
    target: impl Fn(usize) -> Option<T>,
    divisor: T,
    gradient: &mut [T],
) -> T {
    let (maximum, exponentials) = maximum_and_sum(z.iter().copied());
    let log_sum = exponentials.ln();
    let targets = || (0..z.len()).filter_map(|class| Some((class, target(class)?)));
    let losses = targets().map(|(class, t)| t * (log_sum - (z[class] - maximum)));
    let loss = T::nearest(sum(losses));
    let total = T::nearest(sum(targets().map(|(_, t)| t)));
    for (class, (&z, gradient)) in z.iter().zip(gradient).enumerate() {
        let softmax = (z - maximum).exp() / exponentials;
        *gradient = (total * softmax - target(class).unwrap_or_else(T::zero)) / divisor;
    }
    loss
}

/// The sum of a loss over all elements; `work` gives an element's loss and gradient.
fn element_wise<T: Real>(
    output: &[T],
    target: &[f32],
    gradient: &mut [T],
    work: impl Fn(T, T) -> (T, T),
) -> f64 {
    let elements = output.iter().zip(target).zip(gradient);
    let losses = elements.map(|((&output, &target), gradient)| {
        let (loss, derivative) = work(output, T::nearest(target));
        *gradient = derivative;
        loss
    });
    sum(losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn run(
        loss: impl Into<Loss>,
        classes: usize,
        output: &[f64],
        target: &Target,
    ) -> (f64, Vec<f64>) {
        let loss = loss.into();
        let geometry = loss
            .geometry(output.len() / classes, &Shape::from([classes]))
            .unwrap();
        let normaliser = loss.normaliser(target, &geometry);
        let mut gradient = vec![f64::NAN; output.len()];
        let value =
            loss_forward_backward(&loss, &geometry, normaliser, output, target, &mut gradient);
        (value.unwrap(), gradient)
    }

    #[test]
    fn cross_entropy_equals_values_computed_by_hand() {
        // softmax(0, ln 3) = (1/4, 3/4)
        let output = [0.0, 3.0f64.ln(), 0.0, 0.0];
        let labels = Target::Labels(vec![0, 1]);
        let (loss, gradient) = run(Loss::cross_entropy(), 2, &output, &labels);
        assert_abs_diff_eq!(loss, (4.0f64.ln() + 2.0f64.ln()) / 2.0, epsilon = 1e-15);
        assert_abs_diff_eq!(gradient[..], [-0.375, 0.375, 0.25, -0.25], epsilon = 1e-15);
        let sum = Loss::cross_entropy().reduction(crate::Reduction::Sum);
        // Probabilities need not sum to 1.
        let probabilities = Target::Values(vec![0.5, 1.0, 0.0, 0.0]);
        let (loss, gradient) = run(sum, 2, &output, &probabilities);
        let expected = 0.5 * 4.0f64.ln() + (4.0f64 / 3.0).ln();
        assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
        assert_abs_diff_eq!(gradient[..], [-0.125, 0.125, 0.0, 0.0], epsilon = 1e-15);
    }

    #[test]
    fn large_logits_are_finite_and_exact() {
        let output = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4];
        let labels = Target::Labels(vec![1, 2]);
        let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &labels);
        assert_eq!(loss, (2e4 + 2.0f64.ln()) / 2.0);
        assert_abs_diff_eq!(
            gradient[..],
            [0.5, -0.5, 0.0, 0.0, 0.25, -0.25],
            epsilon = 1e-15
        );
        let (_, gradient) = run(
            Loss::cross_entropy(),
            2,
            &[f64::NAN, 1.0],
            &[0u8].as_slice().into(),
        );
        assert!(gradient.iter().all(|g| g.is_nan()));
    }

    #[test]
    fn squared_error_equals_values_computed_by_hand() {
        let target = Target::Values(vec![0.0, 2.0, 1.0, 1.0]);
        let (loss, gradient) = run(
            Loss::mean_squared_error(),
            2,
            &[1.0, 2.0, 4.0, -1.0],
            &target,
        );
        assert_eq!(loss, (1.0 + 0.0 + 9.0 + 4.0) / 4.0);
        assert_eq!(gradient, [0.5, 0.0, 1.5, -1.0]);
        let labels = Target::Labels(vec![0]);
        let loss = Loss::mean_squared_error();
        let geometry = loss.geometry(1, &Shape::from([2])).unwrap();
        let refused =
            loss_forward_backward(&loss, &geometry, 1.0, &[0.0; 2], &labels, &mut [0.0; 2]);
        assert!(matches!(refused, Err(Error::Argument { .. })));
    }

    #[test]
    fn smoothing_weights_and_ignored_labels_equal_values_computed_by_hand() {
        // softmax(0, ln 3) = (1/4, 3/4)
        let output = [0.0, 3.0f64.ln(), 0.0, 0.0];
        let (quarter, rest) = (4.0f64.ln(), (4.0f64 / 3.0).ln());
        let labels = Target::Labels(vec![0, 1]);
        let smooth = Loss::cross_entropy().label_smoothing(0.2);
        let (loss, gradient) = run(smooth.clone(), 2, &output, &labels);
        let expected = (0.9 * quarter + 0.1 * rest + 2.0f64.ln()) / 2.0;
        assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
        assert_abs_diff_eq!(gradient[..], [-0.325, 0.325, 0.2, -0.2], epsilon = 1e-15);
        let weighted = smooth.class_weights([3.0, 1.0]);
        let (loss, gradient) = run(weighted.clone(), 2, &output, &labels);
        let row = 0.3 * 2.0f64.ln() + 0.9 * 2.0f64.ln();
        let expected = (2.7 * quarter + 0.1 * rest + row) / 4.0;
        assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
        let expected = [
            (2.8 * 0.25 - 2.7) / 4.0,
            (2.8 * 0.75 - 0.1) / 4.0,
            0.3 / 4.0,
            -0.3 / 4.0,
        ];
        assert_abs_diff_eq!(gradient[..], expected, epsilon = 1e-15);
        // The second row counts for nothing, also in the normaliser.
        let ignoring = weighted.clone().ignored_label(1);
        let (loss, gradient) = run(ignoring.clone(), 2, &output, &labels);
        assert_abs_diff_eq!(loss, (2.7 * quarter + 0.1 * rest) / 3.0, epsilon = 1e-15);
        let expected = [(2.8 * 0.25 - 2.7) / 3.0, (2.8 * 0.75 - 0.1) / 3.0, 0.0, 0.0];
        assert_abs_diff_eq!(gradient[..], expected, epsilon = 1e-15);
        let (loss, gradient) = run(ignoring, 2, &output, &Target::Labels(vec![1, 1]));
        assert!(loss.is_nan());
        assert_eq!(gradient, [0.0; 4]);
        // Probabilities are mixed with even ones and multiplied by the weights.
        let probabilities = Target::Values(vec![1.0, 0.0, 0.5, 0.5]);
        let (loss, _) = run(weighted, 2, &output, &probabilities);
        let row = (1.5 + 0.5) * 2.0f64.ln();
        assert_abs_diff_eq!(
            loss,
            (2.7 * quarter + 0.1 * rest + row) / 2.0,
            epsilon = 1e-15
        );
    }

    #[test]
    fn binary_cross_entropy_equals_values_computed_by_hand() {
        let sum = Loss::binary_cross_entropy().reduction(crate::Reduction::Sum);
        let target = Target::Values(vec![0.0, 1.0, 0.25, 1.0, 0.0]);
        let output = [0.0, 3.0f64.ln(), 0.0, -1e4, -1e4];
        let (loss, gradient) = run(sum, 5, &output, &target);
        let expected = 2.0 * 2.0f64.ln() + (4.0f64 / 3.0).ln() + 1e4;
        assert_abs_diff_eq!(loss, expected, epsilon = 1e-11);
        assert_abs_diff_eq!(gradient[..], [0.5, -0.25, 0.25, -1.0, 0.0], epsilon = 1e-15);
    }

    #[test]
    fn a_class_at_negative_infinity_costs_nothing_unless_it_is_the_label() {
        let output = [f64::NEG_INFINITY, 0.0, 0.0];
        let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &Target::from(&[1u8]));
        assert_abs_diff_eq!(loss, 2.0f64.ln(), epsilon = 1e-15);
        assert_eq!(gradient, [0.0, -0.5, 0.5]);
        let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &Target::from(&[0u8]));
        assert_eq!((loss, gradient), (f64::INFINITY, vec![-1.0, 0.5, 0.5]));
    }

    #[test]
    fn batches_add_up_to_one() {
        let loss = Loss::from(
            Loss::cross_entropy()
                .class_weights([0.5, 2.0])
                .ignored_label(-1),
        );
        let output = [0.3, -0.2, 1.5, 0.1, -0.7, 0.9];
        let labels = Target::from(&[0i64, -1, 1]);
        let (whole, gradient) = run(loss.clone(), 2, &output, &labels);
        let (mut sum, mut normaliser, mut sums) = (0.0, 0.0, [0.0; 6]);
        for (rows, labels) in [
            (0..2, Target::from(&[0i64, -1])),
            (2..3, Target::from(&[1i64])),
        ] {
            let geometry = LossGeometry {
                rows: rows.len(),
                classes: 2,
            };
            let range = 2 * rows.start..2 * rows.end;
            let (output, sums) = (&output[range.clone()], &mut sums[range]);
            sum += loss_forward_backward(&loss, &geometry, 1.0, output, &labels, sums).unwrap();
            normaliser += loss.normaliser(&labels, &geometry);
        }
        assert_abs_diff_eq!(sum / normaliser, whole, epsilon = 1e-15);
        let divided = sums.map(|sum| sum / normaliser);
        assert_abs_diff_eq!(divided[..], gradient[..], epsilon = 1e-15);
    }
}
