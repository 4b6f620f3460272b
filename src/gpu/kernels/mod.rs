//! The host side of the kernels, one file per family: a kernel's description, its params, and a
//! function that records it.
//!
//! Every function writes its output and reads the rest. A [`Gradient`] says where an input's
//! gradient goes and what to do with it on the way.

pub(crate) mod activation;
pub(crate) mod conv2d;
pub(crate) mod loss;
pub(crate) mod matmul;
pub(crate) mod optimizer;
pub(crate) mod pool2d;
pub(crate) mod reduce;
#[cfg(test)]
mod shader_tests;

use super::kernel::Access::{Read, ReadWrite};
use super::record::{Recording, Region, folded};
use crate::op::{Activation, Size2};

/// Every kernel, for the tests that hold them against their shaders.
#[cfg(test)]
pub(crate) const ALL: [&super::kernel::Kernel; 20] = [
    &activation::ACTIVATION_FORWARD,
    &activation::ACTIVATION_BACKWARD,
    &activation::ADD,
    &conv2d::FORWARD,
    &conv2d::BACKWARD_INPUT,
    &conv2d::BACKWARD_WEIGHT,
    &conv2d::BACKWARD_WEIGHT_TAPS,
    &conv2d::BACKWARD_WEIGHT_SUM,
    &conv2d::PACK_WEIGHT,
    &conv2d::ROWS,
    &loss::CROSS_ENTROPY,
    &loss::MEAN_SQUARED_ERROR,
    &loss::TOTAL,
    &matmul::MATMUL,
    &optimizer::SGD,
    &optimizer::ADAM,
    &pool2d::MAX_FORWARD,
    &pool2d::MAX_BACKWARD,
    &reduce::BIAS,
    &reduce::SUM_PARTS,
];

/// Where the gradient of a value goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient {
    pub region: Region,
    /// The activation that made the value, and the value itself, where the activation is part of
    /// the kernel that made the value: then the gradient wanted is that of its argument.
    pub fused: Option<(Activation, Region)>,
    /// Whether to add to what is there, for a value that is used more than once.
    pub accumulate: bool,
}

impl From<Region> for Gradient {
    fn from(region: Region) -> Self {
        Self {
            region,
            fused: None,
            accumulate: false,
        }
    }
}

impl Gradient {
    /// The constants of a kernel that writes to it.
    fn constants(&self) -> [(&'static str, f64); 2] {
        let code = code(self.fused.map(|(activation, _)| activation));
        [("GRADIENT_OF", code), ("ACCUMULATE", flag(self.accumulate))]
    }

    /// The forward value that such a kernel reads.
    fn forward(&self) -> Option<Region> {
        self.fused.map(|(_, region)| region)
    }
}

/// An activation as an override constant.
fn code(activation: Option<Activation>) -> f64 {
    activation.map_or(0, Activation::code).into()
}

/// A flag as an override constant.
fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// The grid of a kernel with an invocation per item, in workgroups of `size`.
fn flat_grid(items: usize, size: usize) -> [u64; 3] {
    let [x, y] = folded(items.div_ceil(size) as u64);
    [x, y, 1]
}

/// The grid of a blocked product: tiles of `tile` by `tile`, folded, times slices.
fn product_grid(m: usize, n: usize, slices: usize, tile: usize) -> [u64; 3] {
    let [x, y] = folded((m.div_ceil(tile) * n.div_ceil(tile)) as u64);
    [x, y, slices as u64]
}

/// A number of elements in whole vectors of four.
fn vectors(len: usize) -> usize {
    len.div_ceil(4)
}

/// A window's extents as override constants.
fn window_constants(
    kernel: Size2,
    stride: Size2,
    [top, left]: [usize; 2],
    dilation: Size2,
) -> [(&'static str, f64); 8] {
    [
        ("KERNEL_H", kernel.height as f64),
        ("KERNEL_W", kernel.width as f64),
        ("STRIDE_H", stride.height as f64),
        ("STRIDE_W", stride.width as f64),
        ("PAD_TOP", top as f64),
        ("PAD_LEFT", left as f64),
        ("DILATION_H", dilation.height as f64),
        ("DILATION_W", dilation.width as f64),
    ]
}
