//! Losses of classes.

use super::super::parallel::for_each;
use super::super::softmax::maximum_and_sum;
use super::super::sum::sum;
use crate::cpu::Real;
use crate::op::{CrossEntropy, LossGeometry, NegativeLogLikelihood, Target};

/// The cross-entropy of every row with its label.
pub(super) fn of_labels<T: Real>(
    loss: &CrossEntropy,
    geometry: &LossGeometry,
    output: &[T],
    labels: &[u32],
    divisor: T,
    gradient: &mut [T],
) -> f64 {
    rows(geometry, output, gradient, |row, z, gradient| {
        let label = labels[row];
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
    })
}

/// The cross-entropy of every row with its probabilities, which lie as the output does.
pub(super) fn of_probabilities<T: Real>(
    loss: &CrossEntropy,
    geometry: &LossGeometry,
    output: &[T],
    probabilities: &[f32],
    divisor: T,
    gradient: &mut [T],
) -> f64 {
    rows(geometry, output, gradient, |row, z, gradient| {
        let p = |class| T::nearest(probabilities[geometry.at(row, class)]);
        let target = |class: usize| Some(target(loss, class, z.len(), p(class)));
        cross_entropy(z, target, divisor, gradient)
    })
}

/// The sum of a loss over the rows of classes; `work` gives a row's loss and writes its gradient. Pixels
/// have their rows copied out of the planes of the classes.
fn rows<T: Real>(
    geometry: &LossGeometry,
    output: &[T],
    gradient: &mut [T],
    work: impl Fn(usize, &[T], &mut [T]) -> T + Send + Sync,
) -> f64 {
    let (example, plane) = (geometry.outputs().max(1), geometry.plane.max(1));
    let mut losses = vec![T::zero(); output.len() / example * plane];
    let examples = output.chunks_exact(example);
    let examples = examples
        .zip(gradient.chunks_exact_mut(example))
        .zip(losses.chunks_exact_mut(plane))
        .enumerate();
    for_each(examples, |(at, ((output, gradient), losses))| {
        if let [loss] = losses {
            *loss = work(at, output, gradient);
            return;
        }
        let mut z = vec![T::zero(); geometry.classes];
        let mut row_gradient = z.clone();
        for (position, loss) in losses.iter_mut().enumerate() {
            let column = output[position..].iter().step_by(plane);
            z.iter_mut().zip(column).for_each(|(z, &from)| *z = from);
            *loss = work(at * plane + position, &z, &mut row_gradient);
            let column = gradient[position..].iter_mut().step_by(plane);
            column.zip(&row_gradient).for_each(|(to, &from)| *to = from);
        }
    });
    sum(losses.into_iter())
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

/// The negative log-likelihood of every label. Of the other classes nothing is read.
pub(super) fn likelihood<T: Real>(
    loss: &NegativeLogLikelihood,
    geometry: &LossGeometry,
    output: &[T],
    labels: &[u32],
    divisor: T,
    gradient: &mut [T],
) -> f64 {
    gradient.fill(T::zero());
    let counted = labels.iter().enumerate();
    let counted = counted.filter(|&(_, &label)| label != Target::IGNORED);
    let losses = counted.map(|(row, &label)| {
        let class = label as usize;
        let weight = loss.class_weights.as_ref().map_or(1.0, |w| w[class]);
        let (at, weight) = (geometry.at(row, class), T::nearest(weight));
        gradient[at] = -weight / divisor;
        -weight * output[at]
    });
    sum(losses)
}
