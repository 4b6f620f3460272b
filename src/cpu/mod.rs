//! The reference: every operator, loss and optimizer in plain Rust. It is what the kernels are held
//! to, and what trains where there is no graphics adapter.
//!
//! One file per operator, each the twin of a family of kernels. The functions take slices and write
//! slices: they never add to what an output held before, and they hold no state. All of them are
//! generic over `f32` and `f64` ([`Real`]), so that finite differences can judge them. They run on
//! every core (with the feature `native`), and give the same bits on any number of them. Long sums do
//! not drift: of terms of one sign, however many, they are within 1e-6 of the right one in `f32`.
//!
//! ```
//! use wgpu_cnn::cpu;
//! let (a, b) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]);
//! let mut c = [0.0; 4];
//! cpu::matmul(2, 2, 2, &a, false, &b, true, &mut c)?; // C = A * B^T
//! assert_eq!(c, [17.0, 23.0, 39.0, 53.0]);
//! # Ok::<(), wgpu_cnn::Error>(())
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

mod activation;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod dropout;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod parallel;
mod pool2d;
mod softmax;
mod sum;

pub use activation::{activation_backward, activation_forward};
pub use concat::{concat_backward, concat_forward};
pub use conv_transpose2d::{
    conv_transpose2d_backward_bias, conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight, conv_transpose2d_forward,
};
pub use conv2d::{
    conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight, conv2d_forward,
};
pub use dropout::dropout;
pub use loss::loss_forward_backward;
pub use matmul::{
    linear_backward_bias, linear_backward_input, linear_backward_weight, linear_forward, matmul,
};
pub use norm::{
    batch_norm_backward_input, batch_norm_backward_input_eval, batch_norm_backward_parameters,
    batch_norm_forward, batch_norm_moments, batch_norm_update_running, layer_norm_backward_input,
    layer_norm_backward_parameters, layer_norm_forward,
};
pub use optimizer::{clip_scale, global_norm, optimizer_update};
pub use pool2d::{
    avg_pool2d_backward, avg_pool2d_forward, max_pool2d_backward, max_pool2d_forward,
    softmax_pool_backward, softmax_pool_forward,
};
pub use softmax::{softmax_backward, softmax_forward};

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{AddAssign, MulAssign, Range};

use num_traits::{Float, FromPrimitive, ToPrimitive};

use crate::{Error, Result, Shape};

/// The numbers that the reference computes with: `f32`, as the kernels do, or `f64`, as finite
/// differences need.
pub trait Real:
    Float + FromPrimitive + Sum + AddAssign + MulAssign + Default + Debug + Send + Sync + 'static
{
    /// The nearest number of this type.
    fn nearest(value: impl ToPrimitive) -> Self {
        <Self as num_traits::NumCast>::from(value).unwrap_or_else(Self::nan)
    }

    /// The same number in `f64`.
    fn wide(self) -> f64 {
        self.to_f64().unwrap_or(f64::NAN)
    }
}

impl Real for f32 {}
impl Real for f64 {}

/// Refuses a slice that does not hold as many elements as `shape`.
fn check_length(what: &str, shape: impl Into<Shape>, got: usize) -> Result<()> {
    let shape = shape.into();
    if shape.len() == got {
        Ok(())
    } else {
        Err(Error::length(what, &shape, got))
    }
}

/// Those `i` of `0..count` for which `i * step + offset` lies within `0..extent`: the outputs whose
/// window's tap lies inside the image, or the taps of an output's window that do.
fn inside(count: usize, step: usize, offset: isize, extent: usize) -> Range<usize> {
    let first_at_least = |bound: isize| (bound.max(0) as usize).div_ceil(step).min(count);
    let start = first_at_least(-offset);
    start..first_at_least(extent as isize - offset).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_agrees_with_trying_every_position() {
        for (count, step, extent) in [(5, 1, 3), (4, 2, 7), (3, 4, 2), (1, 1, 1), (6, 3, 9)] {
            for offset in -12..12 {
                let tried: Vec<usize> = (0..count)
                    .filter(|&i| (0..extent as isize).contains(&((i * step) as isize + offset)))
                    .collect();
                let computed: Vec<usize> = inside(count, step, offset, extent).collect();
                assert_eq!(computed, tried, "{count} {step} {offset} {extent}");
            }
        }
    }
}
