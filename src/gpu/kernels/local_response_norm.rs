//! Local response normalisation.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::LocalResponseNorm;

params! {
    struct ForwardParams {
        batch: u32,
        channels: u32,
        plane: u32,
        before: u32,
        after: u32,
        factor: f32,
        beta: f32,
        k: f32,
    }
}

params! {
    struct BackwardParams {
        batch: u32,
        channels: u32,
        plane: u32,
        before: u32,
        after: u32,
        factor: f32,
        beta: f32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "local_response_norm_forward",
    source: source!("local_response_norm_forward.wgsl"),
    blocks: &[&blocks::RESPONSE, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (2, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &["KEEP"],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "local_response_norm_backward",
    source: source!("local_response_norm_backward.wgsl"),
    blocks: &[&blocks::RESPONSE, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (3, "Saved"), (4, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD];

/// Whether the power is made of square roots alone: `QUARTERS` of the shaders is not -1.
pub(crate) fn takes_roots(layer: &LocalResponseNorm) -> bool {
    quarters(layer) >= 0.0
}

fn quarters(layer: &LocalResponseNorm) -> f64 {
    let quarters = 4.0 * layer.beta;
    match quarters.fract() == 0.0 && quarters <= 8.0 {
        true => quarters,
        false => -1.0,
    }
}

/// Channels of a window before and after its own that there can be.
fn reach(layer: &LocalResponseNorm, channels: usize) -> [u32; 2] {
    layer.reach().map(|reach| reach.min(channels) as u32)
}

/// Iterations of an invocation that walks a window in blocks.
fn iterations(layer: &LocalResponseNorm, channels: usize) -> usize {
    let turns = layer.size.min(channels);
    turns + turns.div_ceil(16)
}

/// The output of `(N, C, plane)`, and for the backward pass what the powers are of, `(N, C, plane)`, if it is
/// wanted.
pub(crate) fn forward(
    recording: &mut Recording,
    layer: &LocalResponseNorm,
    [batch, channels, plane]: [usize; 3],
    input: Region,
    (bases, output): (Option<Region>, Output),
) {
    let [before, after] = reach(layer, channels);
    let params = ForwardParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: plane as u32,
        before,
        after,
        factor: layer.factor() as f32,
        beta: layer.beta as f32,
        k: layer.k as f32,
    };
    let mut constants = vec![
        ("QUARTERS", quarters(layer)),
        ("KEEP", flag(bases.is_some())),
    ];
    constants.extend(output.activation_constants(recording));
    let regions = [Some(input), bases, Some(output.region)];
    recording.iterations(iterations(layer, channels));
    let grid = flat_grid(batch * channels * plane);
    recording.dispatch(&FORWARD, &constants, &regions, params, grid);
}

/// The gradient of the input, from the input, the gradient of the output, and what the forward pass kept.
pub(crate) fn backward(
    recording: &mut Recording,
    layer: &LocalResponseNorm,
    [batch, channels, plane]: [usize; 3],
    read: [Region; 3],
    output: Output,
) {
    let [before, after] = reach(layer, channels);
    let params = BackwardParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: plane as u32,
        before,
        after,
        factor: layer.factor() as f32,
        beta: layer.beta as f32,
    };
    let mut constants = vec![("QUARTERS", quarters(layer))];
    constants.extend(output.constants(recording));
    let regions = [&read.map(Some)[..], &[output.saved(), Some(output.region)]].concat();
    recording.iterations(iterations(layer, channels));
    let grid = flat_grid(batch * channels * plane);
    recording.dispatch(&BACKWARD, &constants, &regions, params, grid);
}
