//! Values around planes.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::Pad2dGeometry;

params! {
    struct Params {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        top: u32,
        left: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "pad2d_forward",
    source: source!("pad2d_forward.wgsl"),
    blocks: &[&blocks::PADDING_MODE, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Saved"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "pad2d_backward",
    source: source!("pad2d_backward.wgsl"),
    blocks: &[&blocks::PADDING_MODE, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(1, "Saved"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD];

/// Each plane with values around it.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &Pad2dGeometry,
    input: Region,
    output: Output,
) {
    let grid = flat_grid(geometry.output_len());
    record(recording, &FORWARD, geometry, input, output, grid);
}

/// The gradient with respect to the input.
pub(crate) fn backward(
    recording: &mut Recording,
    geometry: &Pad2dGeometry,
    gradient_output: Region,
    output: Output,
) {
    let places = geometry.most_places();
    recording.iterations(places.area().saturating_add(places.height));
    let grid = flat_grid(geometry.input_len());
    record(
        recording,
        &BACKWARD,
        geometry,
        gradient_output,
        output,
        grid,
    );
}

fn record(
    recording: &mut Recording,
    kernel: &'static Kernel,
    geometry: &Pad2dGeometry,
    input: Region,
    output: Output,
    grid: [u64; 3],
) {
    let (out, [top, _, left, _]) = (geometry.out_size(), geometry.padding);
    let params = Params {
        planes: geometry.planes as u32,
        in_height: geometry.in_size.height as u32,
        in_width: geometry.in_size.width as u32,
        out_height: out.height as u32,
        out_width: out.width as u32,
        top: top as u32,
        left: left as u32,
    };
    let mut constants = vec![("MODE", geometry.mode.code().into())];
    constants.extend(output.constants(recording));
    let regions = [Some(input), output.saved(), Some(output.region)];
    recording.dispatch(kernel, &constants, &regions, params, grid);
}
