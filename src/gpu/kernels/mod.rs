//! The host side of the kernels, one file per family: a kernel's description, its params, and a
//! function that records it.
//!
//! Every function writes its output and reads the rest. An [`Output`] says where a result goes and
//! what happens to it on the way.

pub(crate) mod activation;
#[cfg(test)]
mod activation_tests;
pub(crate) mod adaptive_pool2d;
pub(crate) mod average;
mod blocks;
pub(crate) mod broadcast;
pub(crate) mod bytes;
pub(crate) mod concat;
pub(crate) mod conv2d;
mod conv2d_again;
mod conv2d_depthwise;
mod conv2d_fft;
mod conv2d_pack;
mod conv2d_rows;
mod conv2d_strided;
mod conv2d_unfolded;
mod conv2d_winograd;
mod conv2d_winograd_gradient;
pub(crate) mod dropout;
pub(crate) mod local_response_norm;
pub(crate) mod loss;
mod loss_classes;
mod loss_dice;
mod loss_elements;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pad2d;
pub(crate) mod peak;
pub(crate) mod pixel_shuffle;
pub(crate) mod pool2d;
pub(crate) mod pool2d_large;
pub(crate) mod prelu;
mod product;
pub(crate) mod reduce;
pub(crate) mod scale;
pub(crate) mod select;
#[cfg(test)]
mod shader_dump;
#[cfg(test)]
mod shader_files;
#[cfg(test)]
pub(crate) mod shader_models;
#[cfg(test)]
mod shader_tests;
pub(crate) mod softmax;
pub(crate) mod upsample2d;

use super::kernel::Access::{Read, ReadWrite};
use super::kernel::Format;
#[cfg(test)]
use super::kernel::Kernel;
use super::record::{Recording, Region, folded};
use crate::op::{Activation, Size2};

/// The kernels of each family, by the word that the names of their shaders begin with. A shader that
/// belongs to none of them fails a test.
#[cfg(test)]
const FAMILIES: &[(&str, &[&Kernel])] = &[
    ("activation", activation::KERNELS),
    ("broadcast", broadcast::KERNELS),
    ("adaptive_pool2d", adaptive_pool2d::KERNELS),
    ("average", average::KERNELS),
    ("bytes", &[&bytes::NUMBERS]),
    ("concat", &[&concat::COPY]),
    ("conv2d", conv2d::KERNELS),
    ("conv2d", conv2d_depthwise::KERNELS),
    ("conv2d", conv2d_again::KERNELS),
    ("conv2d", conv2d_fft::KERNELS),
    ("conv2d", conv2d_pack::KERNELS),
    ("conv2d", conv2d_rows::KERNELS),
    ("conv2d", conv2d_strided::KERNELS),
    ("conv2d", conv2d_unfolded::KERNELS),
    ("conv2d", conv2d_winograd::KERNELS),
    ("conv2d", conv2d_winograd_gradient::KERNELS),
    ("dropout", &[&dropout::DROPOUT]),
    ("local_response_norm", local_response_norm::KERNELS),
    ("loss", loss::KERNELS),
    ("matmul", matmul::KERNELS),
    ("norm", norm::batch::KERNELS),
    ("norm", norm::channels::KERNELS),
    ("norm", norm::group::KERNELS),
    ("norm", norm::layer::KERNELS),
    ("optimizer", optimizer::KERNELS),
    ("pad2d", pad2d::KERNELS),
    ("peak", peak::KERNELS),
    ("pixel_shuffle", &[&pixel_shuffle::SHUFFLE]),
    ("pool2d", pool2d::KERNELS),
    ("pool2d", pool2d_large::KERNELS),
    ("prelu", prelu::KERNELS),
    ("reduce", reduce::KERNELS),
    ("select", select::KERNELS),
    ("softmax", softmax::KERNELS),
    ("upsample2d", upsample2d::KERNELS),
];

/// Every kernel, for the tests that hold them against their shaders.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static Kernel> {
    FAMILIES
        .iter()
        .flat_map(|(_, kernels)| kernels.iter().copied())
}

/// Where a result goes and what happens to it on the way: the epilogue of `core/epilogue.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub region: Region,
    /// What is added to the result first, by the kernels of normalisation.
    pub addend: Option<Region>,
    /// The function applied to the result.
    pub activation: Option<Activation>,
    /// Where the argument of that function goes, for a gradient that does not follow from the value.
    pub argument: Option<Region>,
    /// For the gradient of a value that an activation made as part of the kernel before it: the
    /// activation, and the value or the argument, whichever [`Activation::gradient_from_value`] says. What is written is then the gradient of its argument.
    pub gradient_of: Option<(Activation, Region)>,
    /// Whether to add to what is there, for a value that is used more than once.
    pub accumulate: bool,
}

impl From<Region> for Output {
    fn from(region: Region) -> Self {
        Self {
            region,
            addend: None,
            activation: None,
            argument: None,
            gradient_of: None,
            accumulate: false,
        }
    }
}

impl Output {
    /// The constants of the epilogue, for the dispatch that is recorded next.
    fn constants(&self, recording: &mut Recording) -> [(&'static str, f64); 7] {
        let made_by = self.gradient_of.map(|(activation, _)| activation);
        let [function, a, b] = self.activation_constants(recording);
        let saved = self.saved().map_or(Format::F32, |saved| saved.format);
        let [gradient_a, gradient_b] = numbers_beside(made_by, saved);
        [
            function,
            a,
            b,
            ("GRADIENT_OF", code(made_by)),
            ("GRADIENT_A", gradient_a),
            ("GRADIENT_B", gradient_b),
            ("ACCUMULATE", flag(self.accumulate)),
        ]
    }

    /// The constants of a kernel that applies a function and does nothing else of the epilogue, for
    /// the dispatch that is recorded next.
    fn activation_constants(&self, recording: &mut Recording) -> [(&'static str, f64); 3] {
        recording.keep_argument(self.argument);
        let [a, b] = numbers(self.activation);
        [
            ("ACTIVATION", code(self.activation)),
            ("ACTIVATION_A", a),
            ("ACTIVATION_B", b),
        ]
    }

    /// The value or the argument that the epilogue reads.
    fn saved(&self) -> Option<Region> {
        self.gradient_of.map(|(_, value)| value)
    }
}

/// The gradient of a value, for the first kernel that reads it: `core/gradient.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub region: Region,
    /// Where it is the gradient of what an activation made of the value: the activation, and its argument, or
    /// its value, whichever [`Activation::gradient_from_value`] says. The kernel makes the gradient in `region`
    /// that of the argument.
    pub through: Option<(Activation, Region)>,
}

impl From<Region> for Incoming {
    fn from(region: Region) -> Self {
        Self {
            region,
            through: None,
        }
    }
}

impl Incoming {
    /// What the kernel binds: the gradient, or what it has to go through.
    fn given(&self) -> Region {
        self.through.map_or(self.region, |(_, saved)| saved)
    }

    /// The constants of the block, for the dispatch that is recorded next.
    fn constants(&self, recording: &mut Recording) -> [(&'static str, f64); 3] {
        recording.keep_argument(self.through.map(|_| self.region));
        function_constants(self.through)
    }
}

/// The function whose gradient a kernel computes, and what it has of its values or arguments.
fn function_constants(through: Option<(Activation, Region)>) -> [(&'static str, f64); 3] {
    let function = through.map(|(activation, _)| activation);
    let saved = through.map_or(Format::F32, |(_, saved)| saved.format);
    let [a, b] = numbers_beside(function, saved);
    [
        ("FUNCTION", code(function)),
        ("FUNCTION_A", a),
        ("FUNCTION_B", b),
    ]
}

/// An activation as an override constant.
fn code(activation: Option<Activation>) -> f64 {
    activation.map_or(0, Activation::code).into()
}

/// The numbers that it depends on as override constants.
fn numbers(activation: Option<Activation>) -> [f64; 2] {
    activation.map_or([0.0; 2], |activation| activation.numbers().map(f64::from))
}

/// The same for a gradient that follows from what is stored in a format: a bound that a value may have
/// reached is rounded as the value was.
fn numbers_beside(activation: Option<Activation>, saved: Format) -> [f64; 2] {
    let numbers = numbers(activation);
    let bounded = matches!(activation, Some(Activation::HardTanh { .. }));
    match bounded && saved == Format::F16 {
        true => numbers.map(|number| half::f16::from_f64(number).to_f64()),
        false => numbers,
    }
}

/// A flag as an override constant.
fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Whether rows of so many elements consist of whole vectors of four.
fn whole_vectors(width: usize) -> f64 {
    flag(width.is_multiple_of(4))
}

/// How many neighbours a reduction over planes of this length takes at once.
fn plane_unit(plane: usize) -> usize {
    if plane.is_multiple_of(4) { 4 } else { 1 }
}

/// The grid of a kernel with an invocation per item, in workgroups of 64.
fn flat_grid(items: usize) -> [u64; 3] {
    group_grid(items.div_ceil(64))
}

/// A grid of so many workgroups, folded.
fn group_grid(groups: usize) -> [u64; 3] {
    let [x, y] = folded(groups as u64);
    [x, y, 1]
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

/// Changes a params struct that has been recorded as bytes.
fn edit<P: super::kernel::Params>(params: &mut [u8], change: impl FnOnce(&mut P)) {
    let bytes = &mut params[..size_of::<P>()];
    let mut value: P = bytemuck::pod_read_unaligned(bytes);
    change(&mut value);
    bytes.copy_from_slice(bytemuck::bytes_of(&value));
}
