//! Losses and their gradients. The twin of the `loss` kernels.

use super::{Real, check_length};
use crate::Result;
use crate::op::{Loss, LossGeometry, Target};

/// The reduced loss of `output (rows, classes)`, with d loss / d output written to `gradient`.
///
/// Cross-entropy of a row `z` against probabilities `p` (of a label: 1 at its class, 0 elsewhere)
/// is `-sum(p * log_softmax(z))`, and its gradient `sum(p) * softmax(z) - p`. The squared error is
/// `sum((output - target)^2)`, its gradient `2 * (output - target)`. Loss and gradient are
/// multiplied by the geometry's `scale`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice or the target has another length,
/// [`Error::Argument`](crate::Error::Argument) where a label is out of range or the loss takes none.
pub fn loss_forward_backward<T: Real>(
    loss: Loss,
    geometry: &LossGeometry,
    output: &[T],
    target: &Target,
    gradient: &mut [T],
) -> Result<T> {
    let &LossGeometry {
        rows,
        classes,
        scale,
    } = geometry;
    check_length("loss output", [rows, classes], output.len())?;
    check_length("loss gradient", [rows, classes], gradient.len())?;
    target.check(loss, classes, rows)?;
    let rows = output
        .chunks_exact(classes.max(1))
        .zip(gradient.chunks_exact_mut(classes.max(1)));
    let sum: T = match (loss, target) {
        (Loss::CrossEntropy(_), Target::Labels(labels)) => rows
            .zip(labels)
            .map(|((z, gradient), &label)| cross_entropy_label(z, label as usize, gradient))
            .sum(),
        (Loss::CrossEntropy(_), Target::Values(values)) => rows
            .zip(values.chunks_exact(classes.max(1)))
            .map(|((z, gradient), p)| cross_entropy_probabilities(z, p, gradient))
            .sum(),
        (Loss::MeanSquaredError(_), Target::Values(values)) => rows
            .zip(values.chunks_exact(classes.max(1)))
            .map(|((output, gradient), target)| squared_error(output, target, gradient))
            .sum(),
        // `check` refuses labels for the squared error.
        (Loss::MeanSquaredError(_), Target::Labels(_)) => T::nan(),
    };
    let scale = T::nearest(scale);
    gradient.iter_mut().for_each(|gradient| *gradient *= scale);
    Ok(sum * scale)
}

fn cross_entropy_label<T: Real>(z: &[T], label: usize, gradient: &mut [T]) -> T {
    log_softmax(z, gradient);
    let loss = -gradient[label];
    gradient.iter_mut().for_each(|g| *g = g.exp());
    gradient[label] = gradient[label] - T::one();
    loss
}

fn cross_entropy_probabilities<T: Real>(z: &[T], p: &[f32], gradient: &mut [T]) -> T {
    log_softmax(z, gradient);
    let p = p.iter().map(|&p| T::nearest(p));
    let total: T = p.clone().sum();
    let terms = gradient.iter_mut().zip(p).map(|(g, p)| {
        let log_softmax = *g;
        *g = total * log_softmax.exp() - p;
        p * log_softmax
    });
    -terms.sum::<T>()
}

fn squared_error<T: Real>(output: &[T], target: &[f32], gradient: &mut [T]) -> T {
    let elements = output.iter().zip(target).zip(gradient);
    let terms = elements.map(|((&output, &target), gradient)| {
        let difference = output - T::nearest(target);
        *gradient = difference + difference;
        difference * difference
    });
    terms.sum()
}

/// `z - m - ln(sum(exp(z - m)))` with `m = max(z)`, so that no exponential overflows.
fn log_softmax<T: Real>(z: &[T], result: &mut [T]) {
    let maximum = z.iter().copied().fold(T::neg_infinity(), T::max);
    let log_sum = z.iter().map(|&z| (z - maximum).exp()).sum::<T>().ln();
    z.iter()
        .zip(result)
        .for_each(|(&z, result)| *result = z - maximum - log_sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Shape};
    use approx::assert_abs_diff_eq;

    fn run(loss: Loss, classes: usize, output: &[f64], target: &Target) -> (f64, Vec<f64>) {
        let shape = Shape::from([classes]);
        let geometry = loss.geometry(output.len() / classes, &shape).unwrap();
        let mut gradient = vec![f64::NAN; output.len()];
        let value = loss_forward_backward(loss, &geometry, output, target, &mut gradient).unwrap();
        (value, gradient)
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
        let refused = loss_forward_backward(loss, &geometry, &[0.0; 2], &labels, &mut [0.0; 2]);
        assert!(matches!(refused, Err(Error::Argument { .. })));
    }
}
