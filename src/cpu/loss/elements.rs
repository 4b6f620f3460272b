//! Losses that are a sum over elements.

use super::super::activation::sigmoid;
use super::super::sum::sum;
use crate::cpu::Real;
use crate::op::{BinaryCrossEntropy, Loss, LossGeometry};

/// The sum of a loss over all elements, with its gradient. A loss of other than elements is NaN.
pub(super) fn elements<T: Real>(
    loss: &Loss,
    geometry: &LossGeometry,
    output: &[T],
    target: &[f32],
    divisor: T,
    gradient: &mut [T],
) -> f64 {
    let elements = Elements {
        output,
        target,
        divisor,
        gradient,
    };
    match loss {
        Loss::MeanSquaredError(_) => elements.each(|_, x, t| {
            let d = x - t;
            (d * d, d + d)
        }),
        Loss::L1(_) => elements.each(|_, x, t| absolute(x, t)),
        Loss::SmoothL1 { beta, .. } if T::nearest(*beta) == T::zero() => {
            elements.each(|_, x, t| absolute(x, t))
        }
        Loss::SmoothL1 { beta, .. } => {
            let beta = T::nearest(*beta);
            elements.each(|_, x, t| {
                let d = x - t;
                let half = T::nearest(0.5);
                match d.abs() >= beta {
                    true => (d.abs() - half * beta, d.signum()),
                    false => (half * d * d / beta, d / beta),
                }
            })
        }
        Loss::Huber { delta, .. } => {
            let delta = T::nearest(*delta);
            elements.each(|_, x, t| {
                let d = x - t;
                let half = T::nearest(0.5);
                match d.abs() > delta {
                    true => (delta * (d.abs() - half * delta), delta * d.signum()),
                    false => (half * d * d, d),
                }
            })
        }
        Loss::BinaryCrossEntropy(loss) => {
            let len = geometry.outputs().max(1);
            elements.each(|at, x, t| binary(loss, geometry, at % len, x, t))
        }
        Loss::KlDivergence(_) => elements.each(|_, x, t| {
            let entropy = if t == T::zero() { t } else { t * t.ln() };
            (entropy - t * x, -t)
        }),
        Loss::CrossEntropy(_) | Loss::NegativeLogLikelihood(_) | Loss::Dice(_) => f64::NAN,
    }
}

/// `|x - t|`, and its sign: 0 where they are equal, and where there is no difference between them, as in
/// PyTorch.
fn absolute<T: Real>(x: T, t: T) -> (T, T) {
    let sign = match x.partial_cmp(&t) {
        Some(std::cmp::Ordering::Greater) => T::one(),
        Some(std::cmp::Ordering::Less) => -T::one(),
        Some(std::cmp::Ordering::Equal) | None => T::zero(),
    };
    ((x - t).abs(), sign)
}

/// `p * t * softplus(-x) + (1 - t) * softplus(x)`, with an exponential that never overflows.
fn binary<T: Real>(
    loss: &BinaryCrossEntropy,
    geometry: &LossGeometry,
    element: usize,
    x: T,
    t: T,
) -> (T, T) {
    let [positive, weight] = geometry.weights;
    let p = loss.positive_weights.as_ref();
    let p = p.map_or(T::one(), |(_, p)| T::nearest(positive.value(p, element)));
    // The factor of softplus(-x), of which the other, softplus(x), is the sum with x.
    let both = match loss.positive_weights {
        Some(_) => T::one() + (p - T::one()) * t,
        None => T::one(),
    };
    let linear = if x > T::zero() {
        (T::one() - t) * x
    } else {
        -(p * t) * x
    };
    let logarithm = (-x.abs()).exp().ln_1p();
    // PyTorch adds minus infinity and infinity up.
    let loss_of = match x == T::neg_infinity() {
        true => T::nan(),
        false => linear + both * logarithm,
    };
    let gradient = both * sigmoid(x) - p * t;
    match &loss.weights {
        Some((_, values)) => {
            let weight = T::nearest(weight.value(values, element));
            (weight * loss_of, weight * gradient)
        }
        None => (loss_of, gradient),
    }
}

struct Elements<'a, T> {
    output: &'a [T],
    target: &'a [f32],
    divisor: T,
    gradient: &'a mut [T],
}

impl<T: Real> Elements<'_, T> {
    /// The sum of a loss over all elements; `work` gives an element's loss and gradient.
    fn each(self, work: impl Fn(usize, T, T) -> (T, T)) -> f64 {
        let elements = self.output.iter().zip(self.target).zip(self.gradient);
        let losses = elements
            .enumerate()
            .map(|(at, ((&output, &target), gradient))| {
                let (loss, derivative) = work(at, output, T::nearest(target));
                *gradient = derivative / self.divisor;
                loss
            });
        sum(losses)
    }
}
