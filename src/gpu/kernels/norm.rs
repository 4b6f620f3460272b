//! Batch and layer normalisation.

use super::reduce::sum_parts;
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, LONGEST_GROUP_SUM, group_iterations};
use crate::op::{BatchNorm, BatchNormGeometry};

params! {
    struct StatisticsParams {
        batch: u32,
        channels: u32,
        plane: u32,
        parts: u32,
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
    struct PartsParams {
        batch: u32,
        channels: u32,
        plane: u32,
        parts: u32,
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
    struct LayerParams {
        rows: u32,
        len: u32,
    }
}

params! {
    struct LayerPartsParams {
        rows: u32,
        len: u32,
        parts: u32,
    }
}

pub(crate) const BATCH_STATISTICS: Kernel = Kernel {
    name: "norm_batch_statistics",
    source: source!("norm_batch_statistics.wgsl"),
    blocks: &[&blocks::MOMENTS, &blocks::STATISTICS, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: StatisticsParams::LAYOUT,
    constants: &["SPLIT"],
};

pub(crate) const BATCH_TOTAL: Kernel = Kernel {
    name: "norm_batch_total",
    source: source!("norm_batch_total.wgsl"),
    blocks: &[&blocks::STATISTICS, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
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
    params: PartsParams::LAYOUT,
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
    blocks: &[&blocks::MOMENTS, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (4, "Output")],
    params: LayerForwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_LONG_FORWARD: Kernel = Kernel {
    name: "norm_layer_long_forward",
    source: source!("norm_layer_long_forward.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Output")],
    params: LayerParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "norm_layer_backward_weight",
    source: source!("norm_layer_backward_weight.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: LayerPartsParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_layer_backward_input",
    source: source!("norm_layer_backward_input.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Saved"), (5, "Output")],
    params: LayerParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_LONG_SUMS: Kernel = Kernel {
    name: "norm_layer_long_sums",
    source: source!("norm_layer_long_sums.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input")],
    params: LayerPartsParams::LAYOUT,
    constants: &[],
};

pub(crate) const LAYER_LONG_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_layer_long_backward_input",
    source: source!("norm_layer_long_backward_input.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (5, "Saved"), (6, "Output")],
    params: LayerParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &BATCH_STATISTICS,
    &BATCH_TOTAL,
    &BATCH_FORWARD,
    &BATCH_BACKWARD_WEIGHT,
    &BATCH_BACKWARD_INPUT,
    &LAYER_FORWARD,
    &LAYER_LONG_FORWARD,
    &LAYER_BACKWARD_WEIGHT,
    &LAYER_BACKWARD_INPUT,
    &LAYER_LONG_SUMS,
    &LAYER_LONG_BACKWARD_INPUT,
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
    let to = [Some(statistics), Some(running_mean), Some(running_variance)];
    let options = [norm.epsilon, norm.momentum];
    let parts = strategy::group_parts(geometry.channels, geometry.batch * geometry.plane);
    let parts = recording.parts(|| parts);
    record_statistics(recording, (geometry, parts), options, input, to);
    let [input, gamma, beta, statistics] = [input, gamma, beta, statistics].map(Some);
    let regions = [input, gamma, beta, statistics, None, None];
    normalise(recording, norm, geometry, true, regions, output);
}

/// Mean and inverse deviation of each channel, and the running estimates where there are any. Parts of a
/// channel's values, if there are several, each have a workgroup of their own.
fn record_statistics(
    recording: &mut Recording,
    (geometry, parts): (&BatchNormGeometry, usize),
    [epsilon, momentum]: [f64; 2],
    input: Region,
    to: [Option<Region>; 3],
) {
    let [batch, channels, plane] = extents(geometry);
    let params = StatisticsParams {
        batch,
        channels,
        plane,
        parts: parts as u32,
        epsilon: epsilon as f32,
        momentum: momentum as f32,
    };
    let partial = match parts {
        1 => None,
        _ => Some(recording.transient("statistics of parts", 2 * parts * geometry.channels)),
    };
    let split = ("SPLIT", flag(partial.is_some()));
    let has_running = ("HAS_RUNNING", flag(to[1].is_some()));
    let regions = match partial {
        None => [Some(input), to[0], to[1], to[2]],
        Some(partial) => [Some(input), Some(partial), None, None],
    };
    let of_part = (geometry.batch * geometry.plane).div_ceil(parts);
    recording.iterations(2 * group_iterations(of_part));
    let grid = group_grid(geometry.channels * parts);
    let constants = [split, has_running];
    recording.dispatch(&BATCH_STATISTICS, &constants, &regions, params, grid);
    if partial.is_some() {
        recording.iterations(2 * parts.div_ceil(64));
        let regions = [partial, to[0], to[1], to[2]];
        let grid = group_grid(geometry.channels);
        recording.dispatch(&BATCH_TOTAL, &[has_running], &regions, params, grid);
    }
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
    let values = geometry.batch * geometry.plane;
    let parts = recording.parts(|| strategy::group_parts(geometry.channels, values));
    let partial = partial_gradients(recording, gradients, parts, geometry.channels);
    let params = PartsParams {
        batch,
        channels,
        plane,
        parts: parts as u32,
    };
    let regions = [input, gradient_output, statistics, partial[0], partial[1]].map(Some);
    recording.iterations(group_iterations(values.div_ceil(parts)));
    let grid = group_grid(geometry.channels * parts);
    recording.dispatch(&BATCH_BACKWARD_WEIGHT, &[], &regions, params, grid);
    sum_gradients(recording, partial, gradients, parts, geometry.channels);
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
        let params = BackwardParams {
            batch,
            channels,
            plane,
        };
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

/// Where the parts of the gradients of gamma and beta go: where these do, if there is one part.
fn partial_gradients(
    recording: &mut Recording,
    gradients: [Region; 2],
    parts: usize,
    len: usize,
) -> [Region; 2] {
    match parts {
        1 => gradients,
        _ => [(); 2].map(|()| recording.transient("norm gradient parts", parts * len)),
    }
}

/// The gradients of gamma and beta from their parts.
fn sum_gradients(
    recording: &mut Recording,
    partial: [Region; 2],
    gradients: [Region; 2],
    parts: usize,
    len: usize,
) {
    for (partial, to) in partial.into_iter().zip(gradients).filter(|_| parts > 1) {
        sum_parts(recording, partial, parts, [1, len, 1], None, to.into());
    }
}

/// Parts of a row that is long, or 1.
fn row_parts(recording: &mut Recording, [rows, len]: [usize; 2]) -> usize {
    recording.parts(|| match len {
        ..=LONGEST_GROUP_SUM => 1,
        _ => strategy::group_parts(rows, len),
    })
}

/// Layer normalisation of `(rows, len)`, with the statistics `(rows, 2)` for the backward pass.
pub(crate) fn layer_forward(
    recording: &mut Recording,
    epsilon: f64,
    [rows, len]: [usize; 2],
    [input, gamma, beta]: [Region; 3],
    [statistics, output]: [Region; 2],
) {
    let (rows32, len32) = (rows as u32, len as u32);
    let parts = row_parts(recording, [rows, len]);
    if parts > 1 {
        // A row is what a channel is to batch normalisation.
        let geometry = BatchNormGeometry {
            batch: 1,
            channels: rows,
            plane: len,
        };
        let to = [Some(statistics), None, None];
        record_statistics(recording, (&geometry, parts), [epsilon, 0.0], input, to);
        let params = LayerParams {
            rows: rows32,
            len: len32,
        };
        let regions = [input, gamma, beta, statistics, output].map(Some);
        let grid = flat_grid(rows * len);
        recording.dispatch(&LAYER_LONG_FORWARD, &[], &regions, params, grid);
        return;
    }
    let params = LayerForwardParams {
        rows: rows32,
        len: len32,
        epsilon: epsilon as f32,
    };
    let regions = [input, gamma, beta, statistics, output].map(Some);
    recording.iterations(2 * group_iterations(len) + len.div_ceil(64));
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
    let parts = recording.parts(|| rows.div_ceil(strategy::SUMMED_SLABS));
    let partial = partial_gradients(recording, gradients, parts, len);
    let params = LayerPartsParams {
        rows: rows as u32,
        len: len as u32,
        parts: parts as u32,
    };
    let regions = [input, gradient_output, statistics, partial[0], partial[1]].map(Some);
    let of_part = rows.div_ceil(parts);
    recording.iterations(of_part + of_part.div_ceil(16));
    let grid = flat_grid(parts * len);
    recording.dispatch(&LAYER_BACKWARD_WEIGHT, &[], &regions, params, grid);
    sum_gradients(recording, partial, gradients, parts, len);
    if let Some(output) = output {
        let read = [input, gradient_output, statistics, gamma];
        layer_backward_input(recording, [rows, len], read, output);
    }
}

fn layer_backward_input(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    read: [Region; 4],
    output: Output,
) {
    let [rows32, len32] = [rows, len].map(|extent| extent as u32);
    let mut regions = read.map(Some).to_vec();
    let parts = row_parts(recording, [rows, len]);
    if parts > 1 {
        let partial = recording.transient("norm gradient parts", 2 * parts * rows);
        let to_sums = [&regions[..], &[Some(partial)]].concat();
        let parts_params = LayerPartsParams {
            rows: rows32,
            len: len32,
            parts: parts as u32,
        };
        recording.iterations(group_iterations(len.div_ceil(parts)));
        let grid = group_grid(parts * rows);
        recording.dispatch(&LAYER_LONG_SUMS, &[], &to_sums, parts_params, grid);
        let sums = recording.transient("norm gradient sums", 2 * rows);
        sum_parts(
            recording,
            partial,
            parts,
            [1, 2 * rows, 1],
            None,
            sums.into(),
        );
        regions.push(Some(sums));
    } else {
        recording.iterations(group_iterations(len) + len.div_ceil(64));
    }
    regions.extend([output.saved(), Some(output.region)]);
    let constants = output.constants(recording);
    let (kernel, grid) = match parts {
        1 => (&LAYER_BACKWARD_INPUT, group_grid(rows)),
        _ => (&LAYER_LONG_BACKWARD_INPUT, flat_grid(rows * len)),
    };
    let params = LayerParams {
        rows: rows32,
        len: len32,
    };
    recording.dispatch(kernel, &constants, &regions, params, grid);
}
