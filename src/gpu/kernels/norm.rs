//! Batch and layer normalisation.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::{BatchNorm, BatchNormGeometry};

params! {
    struct StatisticsParams {
        batch: u32,
        channels: u32,
        plane: u32,
        epsilon: f32,
        momentum: f32,
    }
}

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

params! {
    struct LayerForwardParams {
        rows: u32,
        len: u32,
        epsilon: f32,
    }
}

params! {
    struct LayerBackwardParams {
        rows: u32,
        len: u32,
    }
}

pub(crate) const BATCH_STATISTICS: Kernel = Kernel {
    name: "norm_batch_statistics",
    source: source!("norm_batch_statistics.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: StatisticsParams::LAYOUT,
    constants: &[],
};

pub(crate) const BATCH_FORWARD: Kernel = Kernel {
    name: "norm_batch_forward",
    source: source!("norm_batch_forward.wgsl"),
    blocks: &[&blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (6, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &["TRAINING"],
};

pub(crate) const BATCH_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "norm_batch_backward_weight",
    source: source!("norm_batch_backward_weight.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const BATCH_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_batch_backward_input",
    source: source!("norm_batch_backward_input.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (6, "Saved"), (7, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_FORWARD: Kernel = Kernel {
    name: "norm_layer_forward",
    source: source!("norm_layer_forward.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (4, "Output")],
    params: LayerForwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "norm_layer_backward_weight",
    source: source!("norm_layer_backward_weight.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: LayerBackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_layer_backward_input",
    source: source!("norm_layer_backward_input.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Saved"), (5, "Output")],
    params: LayerBackwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &BATCH_STATISTICS,
    &BATCH_FORWARD,
    &BATCH_BACKWARD_WEIGHT,
    &BATCH_BACKWARD_INPUT,
    &LAYER_FORWARD,
    &LAYER_BACKWARD_WEIGHT,
    &LAYER_BACKWARD_INPUT,
];

/// Batch normalisation in training: the statistics `(C, 2)`, the running estimates, and the output.
pub(crate) fn batch_forward(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    [input, gamma, beta]: [Region; 3],
    [statistics, running_mean, running_variance]: [Region; 3],
    output: Output,
) {
    let [batch, channels, plane] = extents(geometry);
    let params = StatisticsParams {
        batch,
        channels,
        plane,
        epsilon: norm.epsilon as f32,
        momentum: norm.momentum as f32,
    };
    let regions = [input, statistics, running_mean, running_variance].map(Some);
    recording.iterations(2 * (geometry.batch * geometry.plane).div_ceil(64));
    let grid = group_grid(geometry.channels);
    recording.dispatch(&BATCH_STATISTICS, &[], &regions, params, grid);
    let [input, gamma, beta, statistics] = [input, gamma, beta, statistics].map(Some);
    let regions = [input, gamma, beta, statistics, None, None];
    normalise(recording, norm, geometry, true, regions, output);
}

/// Batch normalisation in evaluation, by the running estimates.
pub(crate) fn batch_forward_evaluation(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    [input, gamma, beta]: [Region; 3],
    running: [Region; 2],
    output: Output,
) {
    let [input, gamma, beta, mean, variance] =
        [input, gamma, beta, running[0], running[1]].map(Some);
    let regions = [input, gamma, beta, None, mean, variance];
    normalise(recording, norm, geometry, false, regions, output);
}

fn normalise(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    training: bool,
    inputs: [Option<Region>; 6],
    output: Output,
) {
    let [batch, channels, plane] = extents(geometry);
    let params = ForwardParams {
        batch,
        channels,
        plane,
        epsilon: norm.epsilon as f32,
    };
    let grid = flat_grid(geometry.batch * geometry.channels * geometry.plane);
    let mut constants = vec![("TRAINING", flag(training))];
    constants.extend(output.activation_constants(recording));
    let regions = [&inputs[..], &[Some(output.region)]].concat();
    recording.dispatch(&BATCH_FORWARD, &constants, &regions, params, grid);
}

/// The gradients of gamma and beta, and from them that of the input if it is wanted.
pub(crate) fn batch_backward(
    recording: &mut Recording,
    geometry: &BatchNormGeometry,
    [input, gradient_output, statistics, gamma]: [Region; 4],
    gradients: [Region; 2],
    output: Option<Output>,
) {
    let [batch, channels, plane] = extents(geometry);
    let params = BackwardParams {
        batch,
        channels,
        plane,
    };
    let regions = [
        input,
        gradient_output,
        statistics,
        gradients[0],
        gradients[1],
    ]
    .map(Some);
    recording.iterations((geometry.batch * geometry.plane).div_ceil(64));
    let grid = group_grid(geometry.channels);
    recording.dispatch(&BATCH_BACKWARD_WEIGHT, &[], &regions, params, grid);
    if let Some(output) = output {
        let [gradient_gamma, gradient_beta] = gradients;
        let read = [
            input,
            gradient_output,
            statistics,
            gamma,
            gradient_gamma,
            gradient_beta,
        ];
        let mut regions = read.map(Some).to_vec();
        regions.extend([output.saved(), Some(output.region)]);
        let grid = flat_grid(geometry.batch * geometry.channels * geometry.plane);
        let constants = output.constants(recording);
        recording.dispatch(&BATCH_BACKWARD_INPUT, &constants, &regions, params, grid);
    }
}

fn extents(geometry: &BatchNormGeometry) -> [u32; 3] {
    [
        geometry.batch as u32,
        geometry.channels as u32,
        geometry.plane as u32,
    ]
}

/// Layer normalisation of `(rows, len)`, with the statistics `(rows, 2)` for the backward pass.
pub(crate) fn layer_forward(
    recording: &mut Recording,
    epsilon: f64,
    [rows, len]: [usize; 2],
    [input, gamma, beta]: [Region; 3],
    [statistics, output]: [Region; 2],
) {
    let epsilon = epsilon as f32;
    let params = LayerForwardParams {
        rows: rows as u32,
        len: len as u32,
        epsilon,
    };
    let regions = [input, gamma, beta, statistics, output].map(Some);
    recording.iterations(3 * len.div_ceil(64));
    recording.dispatch(&LAYER_FORWARD, &[], &regions, params, group_grid(rows));
}

/// The gradients of gamma and beta, and that of the input if it is wanted.
pub(crate) fn layer_backward(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    [input, gradient_output, statistics, gamma]: [Region; 4],
    gradients: [Region; 2],
    output: Option<Output>,
) {
    let params = LayerBackwardParams {
        rows: rows as u32,
        len: len as u32,
    };
    let regions = [
        input,
        gradient_output,
        statistics,
        gradients[0],
        gradients[1],
    ]
    .map(Some);
    recording.iterations(rows);
    recording.dispatch(
        &LAYER_BACKWARD_WEIGHT,
        &[],
        &regions,
        params,
        flat_grid(len),
    );
    if let Some(output) = output {
        let mut regions = [input, gradient_output, statistics, gamma]
            .map(Some)
            .to_vec();
        regions.extend([output.saved(), Some(output.region)]);
        recording.iterations(2 * len.div_ceil(64));
        let grid = group_grid(rows);
        let constants = output.constants(recording);
        recording.dispatch(&LAYER_BACKWARD_INPUT, &constants, &regions, params, grid);
    }
}
