//! Normalisation, a file an operator. The twins of the `norm` kernels.
//!
//! Means and variances take two passes, so that they stay accurate where the mean is large, and are
//! added up in `f64`, where no square overflows. A variance that `f32` cannot hold is infinite: what it
//! normalises is `beta`, and has no gradient, as in PyTorch.

mod batch;
mod channels;
mod group;
mod layer;

pub use batch::{
    batch_norm_backward_input, batch_norm_backward_input_eval, batch_norm_backward_parameters,
    batch_norm_forward, batch_norm_moments, batch_norm_update_running,
};
pub(crate) use batch::{fold_running, unbiased};
pub use channels::{
    layer_norm_channels_backward_input, layer_norm_channels_backward_parameters,
    layer_norm_channels_forward,
};
pub use group::{group_norm_backward_input, group_norm_backward_parameters, group_norm_forward};
pub use layer::{layer_norm_backward_input, layer_norm_backward_parameters, layer_norm_forward};

use super::Real;
use super::sum::{sum, sum_of};

/// Mean and biased variance of all values of some slices.
fn moments<'a, T: Real>(parts: impl Iterator<Item = &'a [T]> + Clone) -> (T, T) {
    let count = parts.clone().map(<[T]>::len).sum::<usize>() as f64;
    let mean = sum(parts.clone().map(sum_of)) / count;
    let square = |x: &T| (x.wide() - mean) * (x.wide() - mean);
    let squares = sum(parts.map(|part| sum(part.iter().map(square))));
    (T::nearest(mean), T::nearest(squares / count))
}

/// `(x - mean) * factor`, also where the difference is more than `T` holds and the product is not.
fn centred<T: Real>(x: T, mean: T, factor: T) -> T {
    let difference = x - mean;
    match difference.is_finite() {
        true => difference * factor,
        false => x * factor - mean * factor,
    }
}

fn inverse_deviation<T: Real>(variance: T, epsilon: f64) -> T {
    T::one() / (variance + T::nearest(epsilon)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_mean_costs_no_accuracy() {
        let x: Vec<f32> = (0..4096).map(|i| 10_000.0 + (i % 8) as f32).collect();
        let (mean, variance) = moments(x.chunks_exact(64));
        assert_eq!((mean, variance), (10_003.5, 5.25));
    }
}
