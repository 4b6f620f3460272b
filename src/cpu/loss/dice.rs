//! The Dice loss.

use super::super::activation::sigmoid;
use super::super::softmax::softmax_forward;
use super::super::sum::sum;
use crate::cpu::Real;
use crate::op::{Dice, DiceOutput, LossGeometry, SoftmaxGeometry, Target};

/// The classes that pixels have.
#[derive(Clone, Copy)]
pub(super) enum Mask<'a> {
    /// `(rows, plane)`.
    Labels(&'a [u32]),
    /// `(rows, classes, plane)`.
    Values(&'a [f32]),
}

impl<'a> Mask<'a> {
    pub(super) fn of(target: &'a Target, codes: &'a [u32]) -> Self {
        match target {
            Target::Values(values) => Self::Values(values),
            Target::Labels(_) | Target::WideLabels(_) => Self::Labels(codes),
        }
    }

    /// Whether a pixel counts, and as how much of a class.
    fn value<T: Real>(self, geometry: &LossGeometry, row: usize, class: usize) -> Option<T> {
        match self {
            Self::Labels(labels) if labels[row] == Target::IGNORED => None,
            Self::Labels(labels) if labels[row] as usize == class => Some(T::one()),
            Self::Labels(_) => Some(T::zero()),
            Self::Values(values) => Some(T::nearest(values[geometry.at(row, class)])),
        }
    }
}

/// The sums of `p * t` and of `p + t` over a whole batch, of every class.
pub(super) fn batch_sums<T: Real>(
    loss: &Dice,
    geometry: &LossGeometry,
    output: &[T],
    mask: Mask<'_>,
) -> Vec<[f64; 2]> {
    let mut p = vec![T::zero(); output.len()];
    probabilities(loss, geometry, output, &mut p);
    let pixels = 0..geometry.positions();
    let of_class = |class| sums(geometry, &p, mask, pixels.clone(), class).map(Real::wide);
    (0..geometry.classes).map(of_class).collect()
}

/// `1 - (2 * sum(p * t) + s) / (sum(p) + sum(t) + s)` of every class, summed up, with the gradient.
pub(super) fn dice<T: Real>(
    loss: &Dice,
    geometry: &LossGeometry,
    output: &[T],
    mask: Mask<'_>,
    divisor: T,
    gradient: &mut [T],
) -> f64 {
    let &LossGeometry {
        rows,
        classes,
        plane,
        ..
    } = geometry;
    if output.is_empty() {
        return 0.0;
    }
    probabilities(loss, geometry, output, gradient);
    // The examples whose pixels share their sums.
    let group = if loss.over_batch { rows } else { 1 };
    let mut losses = Vec::new();
    for first in (0..rows).step_by(group) {
        let pixels = first * plane..(first + group) * plane;
        let sums: Vec<[T; 2]> = (0..classes)
            .map(|class| sums(geometry, gradient, mask, pixels.clone(), class))
            .collect();
        let smoothing = T::nearest(loss.smoothing);
        let above = |[both, all]: [T; 2]| (all - both - both) / (all + smoothing);
        losses.extend(sums.iter().copied().map(above));
        for row in pixels {
            of_pixel(loss, geometry, &sums, mask, row, divisor, gradient);
        }
    }
    sum(losses.into_iter())
}

/// The probabilities of all classes at all pixels.
fn probabilities<T: Real>(loss: &Dice, geometry: &LossGeometry, output: &[T], p: &mut [T]) {
    match loss.output {
        DiceOutput::Softmax => {
            let lines = SoftmaxGeometry {
                outer: geometry.rows,
                extent: geometry.classes,
                inner: geometry.plane,
            };
            // The lengths are those of the geometry.
            let _ = softmax_forward(&lines, false, output, p);
        }
        DiceOutput::Sigmoid => {
            p.iter_mut().zip(output).for_each(|(p, &x)| *p = sigmoid(x));
        }
    }
}

/// A class's sums of `p * t` and of `p + t`.
fn sums<T: Real>(
    geometry: &LossGeometry,
    p: &[T],
    mask: Mask<'_>,
    pixels: std::ops::Range<usize>,
    class: usize,
) -> [T; 2] {
    let pairs = pixels.filter_map(|row| {
        let t = mask.value::<T>(geometry, row, class)?;
        Some((p[geometry.at(row, class)], t))
    });
    [
        T::nearest(sum(pairs.clone().map(|(p, t)| p * t))),
        T::nearest(sum(pairs.map(|(p, t)| p + t))),
    ]
}

/// Makes the gradient of the probabilities of a pixel's classes.
fn of_pixel<T: Real>(
    loss: &Dice,
    geometry: &LossGeometry,
    sums: &[[T; 2]],
    mask: Mask<'_>,
    row: usize,
    divisor: T,
    p: &mut [T],
) {
    let smoothing = T::nearest(loss.smoothing);
    // The gradient with respect to the probability of a class.
    let slope = |class: usize| {
        let ([both, all], t) = (sums[class], mask.value::<T>(geometry, row, class));
        let below = all + smoothing;
        let dice = (both + both + smoothing) / below;
        t.map_or(T::zero(), |t| (dice - t - t) / below)
    };
    let classes = || (0..geometry.classes).map(|class| (class, geometry.at(row, class)));
    match loss.output {
        DiceOutput::Softmax => {
            let mean = classes().map(|(class, at)| p[at] * slope(class));
            let mean = T::nearest(sum(mean));
            for (class, at) in classes() {
                p[at] = p[at] * (slope(class) - mean) / divisor;
            }
        }
        DiceOutput::Sigmoid => {
            for (class, at) in classes() {
                p[at] = slope(class) * p[at] * (T::one() - p[at]) / divisor;
            }
        }
    }
}
