//! What models are trained on, and what their parameters may be besides what the seed says.

use fastrand::Rng;
use wgpu_cnn::{Loss, Shape};

use super::draw::Fill;

/// What labels may be of a loss that takes some: the one that is ignored, and what the classes weigh.
pub struct Labels<'a> {
    pub ignored: Option<i64>,
    weights: Option<&'a [f32]>,
}

impl<'a> Labels<'a> {
    pub fn of(loss: &'a Loss) -> Option<Self> {
        let (ignored, weights) = match loss {
            Loss::CrossEntropy(loss) => (loss.ignored_label, loss.class_weights.as_deref()),
            Loss::NegativeLogLikelihood(loss) => {
                (loss.ignored_label, loss.class_weights.as_deref())
            }
            Loss::Dice(loss) => (loss.ignored_label, None),
            _ => return None,
        };
        Some(Self { ignored, weights })
    }

    /// A label that is not ignored and has a weight.
    pub fn counted(&self, classes: usize) -> Option<i64> {
        let weighs = |label: &i64| {
            let weights = self.weights;
            weights.is_none_or(|weights| weights[*label as usize] > 0.0)
        };
        let mut counted = (0..classes as i64).filter(|label| self.ignored != Some(*label));
        counted.find(weighs)
    }
}

/// Values off by a little.
pub fn noised(rng: &mut Rng, noise: f64, values: &[f32]) -> Vec<f32> {
    let off = |&value: &f32| (f64::from(value) * (1.0 + noise * (2.0 * rng.f64() - 1.0))) as f32;
    values.iter().map(off).collect()
}

/// The values of an input.
pub fn values(rng: &mut Rng, fill: Fill, len: usize) -> Vec<f32> {
    let mut value = || match fill {
        Fill::Uniform => 2.0 * rng.f32() - 1.0,
        Fill::Large => 16.0 * rng.f32() - 8.0,
        Fill::Integers => rng.i8(-3..=3).into(),
        Fill::Sparse if rng.usize(..8) > 0 => 0.0,
        Fill::Sparse => 2.0 * rng.f32() - 1.0,
    };
    (0..len).map(|_| value()).collect()
}

/// Other values for a parameter, if its name says what these may be.
pub fn other(rng: &mut Rng, name: &str, shape: &Shape) -> Option<Vec<f32>> {
    let fan_in = shape.len() / shape.first()?;
    let [middle, width] = match name.rsplit('.').next()? {
        "weight" if shape.rank() > 1 => [0.0, (3.0 / fan_in as f32).sqrt()],
        "weight" => [1.0, 0.5],
        "bias" | "running_mean" => [0.0, 0.5],
        "running_var" => [1.5, 1.0],
        _ => return None,
    };
    Some(
        (0..shape.len())
            .map(|_| middle + width * (2.0 * rng.f32() - 1.0))
            .collect(),
    )
}
