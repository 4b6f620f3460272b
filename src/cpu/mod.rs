//! The reference: every operator, loss and optimizer in plain Rust. It is what the kernels are held
//! to, and what trains where there is no graphics adapter.
//!
//! One file per operator, each the twin of a family of kernels. The functions take slices and write
//! slices: they never add to what an output held before, and they hold no state. All of them are
//! generic over `f32` and `f64` ([`Real`]), so that finite differences can judge them. They run on
//! every core (with the feature `native`), and give the same bits on any number of them. Long sums do
//! not drift: of terms of one sign, however many, they are within 1e-6 of the right one in `f32`.
//!
//! Plain loops are the definition, and what `f64` goes through. The products of `f32`, of convolutions and dense
//! layers, are tiles of the same sums on vectors as wide as the processor's, held to those loops; their bits do not depend
//! on that width. The functions here are direct sums. A trainer on the CPU, and a
//! [`Reference`](crate::engine::Reference) in `f32`, also compute 3x3, 1x3 and 5x5 convolutions at stride 1 by Winograd's
//! algorithm, where that takes less time. Which of these ways is taken depends on the number of examples too, so an example's last
//! bits may differ between batches of different sizes.
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
mod adaptive_pool2d;
mod average;
mod broadcast;
mod bytes;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod dropout;
mod local_response_norm;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad2d;
mod parallel;
mod pixel_shuffle;
mod pool2d;
mod prelu;
mod product;
mod scale;
mod select;
mod softmax;
mod sum;
mod upsample2d;
mod wide;

pub use activation::{activation_backward, activation_forward};
pub use adaptive_pool2d::{
    adaptive_avg_pool2d_backward, adaptive_avg_pool2d_forward, adaptive_max_pool2d_backward,
    adaptive_max_pool2d_forward,
};
pub use average::average_update;
pub use broadcast::{add_backward, add_forward, mul_backward, mul_forward};
pub(crate) use bytes::bytes_to_numbers;
pub use concat::{concat_backward, concat_forward};
pub(crate) use conv_transpose2d::conv_transpose2d_forward_by;
pub use conv_transpose2d::{
    conv_transpose2d_backward_bias, conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight, conv_transpose2d_forward,
};
pub use conv2d::{
    conv2d_backward_bias, conv2d_backward_input, conv2d_backward_weight, conv2d_forward,
};
pub(crate) use conv2d::{conv2d_backward_input_by, conv2d_backward_weight_by, conv2d_forward_by};
pub use dropout::{dropout, dropout_spans};
pub(crate) use dropout::{dropout_from, dropout_spans_from};
pub use local_response_norm::{local_response_norm_backward, local_response_norm_forward};
pub(crate) use loss::dice_sums;
pub use loss::loss_forward_backward;
pub use matmul::{
    linear_backward_bias, linear_backward_input, linear_backward_weight, linear_forward, matmul,
};
pub use norm::{
    batch_norm_backward_input, batch_norm_backward_input_eval, batch_norm_backward_parameters,
    batch_norm_forward, batch_norm_moments, batch_norm_update_running, group_norm_backward_input,
    group_norm_backward_parameters, group_norm_forward, layer_norm_backward_input,
    layer_norm_backward_parameters, layer_norm_channels_backward_input,
    layer_norm_channels_backward_parameters, layer_norm_channels_forward, layer_norm_forward,
};
pub(crate) use norm::{fold_running, unbiased};
pub use optimizer::{clip_scale, global_norm, optimizer_update};
pub use pad2d::{pad2d_backward, pad2d_forward};
pub(crate) use parallel::among_workers;
pub use pixel_shuffle::{pixel_shuffle, pixel_unshuffle};
pub use pool2d::{
    avg_pool2d_backward, avg_pool2d_forward, max_pool2d_backward, max_pool2d_forward,
    softmax_pool_backward, softmax_pool_forward,
};
pub use prelu::{prelu_backward_input, prelu_backward_weight, prelu_forward};
pub use scale::{scale_backward_bias, scale_backward_input, scale_backward_weight, scale_forward};
pub use select::{
    channel_permute_backward, channel_permute_forward, channel_shuffle_backward,
    channel_shuffle_forward, slice_backward, slice_forward,
};
pub use softmax::{softmax_backward, softmax_forward};
pub use upsample2d::{upsample2d_backward, upsample2d_forward};

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

    /// The same numbers where they are `f32`, whose products are computed on vectors; other numbers' are plain loops.
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }

    /// As [`as_f32`](Self::as_f32), to write to.
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}

impl Real for f32 {
    fn as_f32(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }

    fn as_f32_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Real for f64 {}

/// What a product reads twice and writes, where all are `f32`.
#[allow(clippy::type_complexity)] // three slices
fn singles<'a, T: Real>(
    a: &'a [T],
    b: &'a [T],
    c: &'a mut [T],
) -> Option<(&'a [f32], &'a [f32], &'a mut [f32])> {
    Some((T::as_f32(a)?, T::as_f32(b)?, T::as_f32_mut(c)?))
}

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
    use crate::op::{BatchNormGeometry, Conv2d, Conv2dGeometry, MaxPool2d, Pool2dGeometry, Size2};

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

    const PAIR: BatchNormGeometry = BatchNormGeometry {
        batch: 2,
        channels: 2,
        plane: 2,
    };

    #[test]
    fn numbers_that_nothing_can_be_learned_with_are_refused() {
        let (x, row) = ([1.0f32; 8], [1.0; 2]);
        let (mut y, mut mean, mut variance) = ([0.0; 8], [0.0; 2], [0.0; 2]);
        for epsilon in [f64::NAN, f64::INFINITY, 1e300, -1.0] {
            let refused = batch_norm_forward(&PAIR, epsilon, &x, &row, &row, &row, &row, &mut y);
            assert!(refused.is_err());
            assert!(layer_norm_forward(4, epsilon, &x, &row, &row, &mut y).is_err());
        }
        for momentum in [f64::NAN, 2.0] {
            let running = (&mut mean, &mut variance);
            let (mean, variance) = running;
            let refused = batch_norm_update_running(&PAIR, momentum, &row, &row, mean, variance);
            assert!(refused.is_err());
        }
    }

    #[test]
    fn many_empty_planes_are_no_work() {
        let empty = BatchNormGeometry {
            batch: usize::MAX,
            channels: 2,
            plane: 0,
        };
        let (row, mut gamma, mut beta) = ([1.0f32; 2], [1.0; 2], [1.0; 2]);
        let gradients = (&mut gamma, &mut beta);
        let (to_gamma, to_beta) = gradients;
        batch_norm_backward_parameters(&empty, 0.0, &[], &row, &row, &[], to_gamma, to_beta)
            .unwrap();
        assert_eq!((gamma, beta), ([0.0; 2], [0.0; 2]));
        let none = BatchNormGeometry {
            batch: 0,
            plane: usize::MAX,
            ..empty
        };
        batch_norm_forward(&none, 0.0, &[], &row, &row, &row, &row, &mut []).unwrap();
    }

    #[test]
    fn convolutions_of_nothing_and_of_numbers_that_no_slice_has_are_no_panic() {
        let conv = Conv2d::new(2, 3).padding(1);
        let small = conv.geometry(1, &[2, 4, 4].into()).unwrap();
        let huge = Size2::from(1 << 40);
        let most = [
            Conv2dGeometry {
                in_channels: 0,
                in_size: huge,
                ..small
            },
            Conv2dGeometry {
                out_channels: 0,
                out_size: huge,
                ..small
            },
            Conv2dGeometry { groups: 0, ..small },
            Conv2dGeometry {
                stride: usize::MAX.into(),
                ..small
            },
            Conv2dGeometry {
                dilation: usize::MAX.into(),
                ..small
            },
            Conv2dGeometry {
                padding: [usize::MAX; 4],
                ..small
            },
            Conv2dGeometry {
                kernel: huge,
                ..small
            },
        ];
        let (x, w, mut y) = ([1.0f32; 32], [1.0; 36], [0.0; 32]);
        for geometry in most {
            assert!(conv2d_forward(&geometry, &x, &w, None, &mut y).is_err());
            assert!(conv2d_forward(&geometry, &[], &w, None, &mut []).is_err());
            assert!(conv2d_backward_input(&geometry, &[], &w, &mut []).is_err());
            assert!(conv2d_backward_weight(&geometry, &[], &[], &mut [0.0; 36]).is_err());
        }
        let none = Conv2dGeometry {
            batch: 0,
            in_size: (1 << 20).into(),
            out_size: (1 << 20).into(),
            ..small
        };
        conv2d_forward(&none, &[], &w, None, &mut []).unwrap();
        conv2d_backward_input(&none, &[], &w, &mut []).unwrap();
        let mut gw = [1.0; 36];
        conv2d_backward_weight(&none, &[], &[], &mut gw).unwrap();
        assert_eq!(gw, [0.0; 36]);
        let empty = Conv2dGeometry {
            batch: usize::MAX,
            out_size: [0, 4].into(),
            ..small
        };
        let mut gb = [1.0f32; 2];
        conv2d_backward_bias(&empty, &[], &mut gb).unwrap();
        assert_eq!(gb, [0.0; 2]);
    }

    #[test]
    fn no_planes_need_no_memory() {
        let small = MaxPool2d::new(2).geometry(2, &[1, 4, 4].into()).unwrap();
        let none = Pool2dGeometry {
            planes: 0,
            in_size: (1 << 28).into(),
            ..small
        };
        max_pool2d_forward::<f32>(&none, &[], &mut [], &mut []).unwrap();
        max_pool2d_backward::<f32>(&none, &[], &[], &mut []).unwrap();
        avg_pool2d_backward::<f32>(&none, true, &[], &mut []).unwrap();
        softmax_pool_backward::<f32>(&none, &[], &[], &mut []).unwrap();
    }

    #[test]
    fn pools_of_numbers_that_no_slice_has_are_no_panic() {
        let small = MaxPool2d::new(2).geometry(2, &[1, 4, 4].into()).unwrap();
        let most: Size2 = usize::MAX.into();
        let (x, mut y, mut argmax) = ([1.0f32; 32], [0.0; 8], [0; 8]);
        for geometry in [
            Pool2dGeometry {
                kernel: most,
                ..small
            },
            Pool2dGeometry {
                stride: most,
                ..small
            },
            Pool2dGeometry {
                padding: [usize::MAX; 4],
                ..small
            },
            Pool2dGeometry {
                in_size: most,
                planes: 0,
                ..small
            },
        ] {
            assert!(max_pool2d_forward(&geometry, &x, &mut y, &mut argmax).is_err());
            assert!(avg_pool2d_forward(&geometry, true, &x, &mut y).is_err());
            assert!(softmax_pool_forward(&geometry, &x, &mut y[..2]).is_err());
        }
    }
}
