//! Softmax and its logarithm.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flag, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::SoftmaxGeometry;

params! {
    struct Params {
        outer: u32,
        extent: u32,
        inner: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "softmax_forward",
    source: source!("softmax_forward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "softmax_backward",
    source: source!("softmax_backward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(0, "Value"), (2, "Saved"), (3, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD];

/// Softmax, or its logarithm, along the middle axis.
pub(crate) fn forward(
    recording: &mut Recording,
    log: bool,
    geometry: &SoftmaxGeometry,
    input: Region,
    output: Region,
) {
    let regions = [Some(input), Some(output)];
    recording.iterations(3 * geometry.extent);
    let grid = flat_grid(geometry.outer * geometry.inner);
    recording.dispatch(
        &FORWARD,
        &[("LOG", flag(log))],
        &regions,
        params(geometry),
        grid,
    );
}

/// Its gradient, from its value.
pub(crate) fn backward(
    recording: &mut Recording,
    log: bool,
    geometry: &SoftmaxGeometry,
    [value, gradient_output]: [Region; 2],
    output: Output,
) {
    let mut constants = vec![("LOG", flag(log))];
    constants.extend(output.constants(recording));
    let regions = [
        Some(value),
        Some(gradient_output),
        output.saved(),
        Some(output.region),
    ];
    recording.iterations(2 * geometry.extent);
    let grid = flat_grid(geometry.outer * geometry.inner);
    recording.dispatch(&BACKWARD, &constants, &regions, params(geometry), grid);
}

fn params(geometry: &SoftmaxGeometry) -> Params {
    let SoftmaxGeometry {
        outer,
        extent,
        inner,
    } = *geometry;
    Params {
        outer: outer as u32,
        extent: extent as u32,
        inner: inner as u32,
    }
}
