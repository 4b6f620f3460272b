//! The weight gradient of a convolution at stride 1 by its definition, where a fast algorithm has left what is not finite.

use super::conv2d::conv2d_params;
use super::{Read, ReadWrite, Recording, Region, blocks, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, source};
use crate::gpu::strategy;
use crate::op::Conv2dGeometry;

conv2d_params! {
    struct Params {
        kernel_height: u32,
        kernel_width: u32,
        dilation_height: u32,
        dilation_width: u32,
        pad_top: u32,
        pad_left: u32,
    }
}

pub(crate) const WEIGHT: Kernel = Kernel {
    name: "conv2d_backward_weight_again",
    source: source!("conv2d_backward_weight_again.wgsl"),
    blocks: &[&blocks::FLAT, &blocks::TIMES_ZERO, &blocks::ENDED],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Gradient")],
    params: Params::LAYOUT,
    constants: &["SHARES"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&WEIGHT];

/// Computes again what is not finite in a weight gradient.
pub(super) fn weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let shares = recording.parts(|| strategy::shares(geometry));
    let [top, _, left, _] = geometry.padding;
    let params = Params {
        kernel_height: geometry.kernel.height as u32,
        kernel_width: geometry.kernel.width as u32,
        dilation_height: geometry.dilation.height as u32,
        dilation_width: geometry.dilation.width as u32,
        pad_top: top as u32,
        pad_left: left as u32,
        ..Params::of(geometry)
    };
    let grid = flat_grid(strategy::invocations(geometry, shares));
    recording.iterations(strategy::weight_iterations(geometry, shares));
    let regions = [input, gradient_output, gradient_weight].map(Some);
    recording.dispatch(
        &WEIGHT,
        &[("SHARES", shares as f64)],
        &regions,
        params,
        grid,
    );
}
