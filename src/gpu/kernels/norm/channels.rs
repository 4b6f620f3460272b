//! Layer normalisation over the channels of each position.

use super::batch::{Moments, backward_parameters};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{affine, blocks, group_grid, layer};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::BatchNormGeometry;

params! {
    struct ForwardParams {
        batch: u32,
        channels: u32,
        plane: u32,
        epsilon: f32,
    }
}

params! {
    struct BackwardParams {
        batch: u32,
        channels: u32,
        plane: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "norm_channels_forward",
    source: source!("norm_channels_forward.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::ACTIVATION,
        &blocks::LANES,
        &blocks::CORRECTED,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (4, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_channels_backward_input",
    source: source!("norm_channels_backward_input.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::EPILOGUE,
        &blocks::LANES,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Saved"), (5, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(in super::super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD_INPUT];

/// Neighbouring positions of a workgroup, `POSITIONS` of the shaders.
const POSITIONS: usize = 16;
/// Invocations that share a position, `LANES` of the shaders.
const LANES: usize = 16;

/// Normalisation over the channels of `(N, C, plane)`, with the statistics `(N, plane, 2)` for the backward
/// pass. Reads the input, and gamma and beta where there are any.
pub(crate) fn forward(
    recording: &mut Recording,
    epsilon: f64,
    [batch, channels, plane]: [usize; 3],
    (input, [gamma, beta]): (Region, [Option<Region>; 2]),
    (statistics, output): (Region, Output),
) {
    if plane == 1 {
        // Neighbouring positions are no neighbours in memory then, but the channels are.
        let (read, to) = ((input, [gamma, beta]), (statistics, output));
        layer::forward(recording, epsilon, [batch, channels], read, to);
        return;
    }
    let params = ForwardParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: plane as u32,
        epsilon: epsilon as f32,
    };
    let mut constants = vec![affine(gamma)];
    constants.extend(output.activation_constants(recording));
    let (statistics, to) = (Some(statistics), Some(output.region));
    let regions = [Some(input), gamma, beta, statistics, to];
    recording.iterations(2 * iterations(channels) + channels.div_ceil(LANES));
    let grid = group_grid((batch * plane).div_ceil(POSITIONS));
    recording.dispatch(&FORWARD, &constants, &regions, params, grid);
}

/// Iterations of an invocation that walks the channels in blocks.
fn iterations(channels: usize) -> usize {
    let turns = channels.div_ceil(LANES);
    turns + turns.div_ceil(16)
}

/// The gradients of gamma and beta, and that of the input, each if it is wanted. Reads the input, the
/// gradient of the output, and the statistics.
pub(crate) fn backward(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    read: [Region; 3],
    gamma: Option<Region>,
    (gradients, output): (Option<[Region; 2]>, Option<Output>),
) {
    if plane == 1 {
        let to = (gradients, output);
        layer::backward(recording, [batch, channels], read, gamma, to);
        return;
    }
    let [input, gradient_output, statistics] = read;
    if let Some(gradients) = gradients {
        let geometry = BatchNormGeometry {
            batch,
            channels,
            plane,
        };
        let read = (input, gradient_output.into());
        let moments = Moments::Positions(statistics);
        backward_parameters(recording, &geometry, read, moments, gradients);
    }
    let Some(output) = output else { return };
    let params = BackwardParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: plane as u32,
    };
    let mut constants = vec![affine(gamma)];
    constants.extend(output.constants(recording));
    let rest = [gamma, output.saved(), Some(output.region)];
    let regions = [&read.map(Some)[..], &rest].concat();
    recording.iterations(iterations(channels) + channels.div_ceil(LANES));
    let grid = group_grid((batch * plane).div_ceil(POSITIONS));
    recording.dispatch(&BACKWARD_INPUT, &constants, &regions, params, grid);
}
