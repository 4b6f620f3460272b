//! What models are trained on, and what their parameters may be besides what the seed says.

use fastrand::Rng;
use wgpu_cnn::{CrossEntropy, Shape};

use super::draw::Fill;

/// A label that is not ignored and has a weight.
pub fn counted(loss: &CrossEntropy, classes: usize) -> Option<i64> {
    let weighs = |label: &i64| {
        let weights = loss.class_weights.as_ref();
        weights.is_none_or(|weights| weights[*label as usize] > 0.0)
    };
    let mut counted = (0..classes as i64).filter(|label| loss.ignored_label != Some(*label));
    counted.find(weighs)
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
