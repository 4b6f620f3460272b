//! Pooling.

use super::{Gradient, Read, ReadWrite, Recording, Region, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::Pool2dGeometry;

params! {
    struct Params {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
    }
}

pub(crate) const MAX_FORWARD: Kernel = Kernel {
    name: "max_pool2d_forward",
    source: source!("pool2d_forward.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite, ReadWrite],
    params: Params::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
    ],
};

pub(crate) const MAX_BACKWARD: Kernel = Kernel {
    name: "max_pool2d_backward",
    source: source!(
        "pool2d_backward.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
        "GRADIENT_OF",
        "ACCUMULATE",
    ],
};

/// The maximum of each window, and its place in the input plane.
pub(crate) fn max_forward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    input: Region,
    [output, argmax]: [Region; 2],
) {
    let regions = [Some(input), Some(output), Some(argmax)];
    let grid = flat_grid(geometry.output_len(), 64);
    let constants = window_constants(geometry);
    recording.dispatch(&MAX_FORWARD, &constants, &regions, params(geometry), grid);
}

/// Each maximum's gradient at its place, those of overlapping windows added.
pub(crate) fn max_backward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    [gradient_output, argmax]: [Region; 2],
    gradient_input: Gradient,
) {
    let mut constants = window_constants(geometry).to_vec();
    constants.extend(gradient_input.constants());
    let regions = [
        Some(gradient_output),
        Some(argmax),
        gradient_input.forward(),
        Some(gradient_input.region),
    ];
    let grid = flat_grid(geometry.input_len(), 64);
    recording.dispatch(&MAX_BACKWARD, &constants, &regions, params(geometry), grid);
}

fn params(geometry: &Pool2dGeometry) -> Params {
    Params {
        planes: geometry.planes as u32,
        in_height: geometry.in_size.height as u32,
        in_width: geometry.in_size.width as u32,
        out_height: geometry.out_size.height as u32,
        out_width: geometry.out_size.width as u32,
    }
}

fn window_constants(geometry: &Pool2dGeometry) -> [(&'static str, f64); 8] {
    let [top, _, left, _] = geometry.padding;
    super::window_constants(
        geometry.kernel,
        geometry.stride,
        [top, left],
        geometry.dilation,
    )
}
