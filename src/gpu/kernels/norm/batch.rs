//! Batch normalisation.

use super::{Incoming, Output, Read, ReadWrite, Recording, Region};
use super::{
    added, affine, blocks, flag, flat_grid, group_grid, plane_unit, vectors, whole_vectors,
};
use super::{by_some, partial_gradients, reduce_iterations, reducers, sum_gradients};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
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
    struct FoldParams {
        channels: u32,
        momentum: f32,
    }
}

params! {
    struct CountParams {
        seen: u32,
    }
}

pub(crate) const STATISTICS: Kernel = Kernel {
    name: "norm_batch_statistics",
    source: source!("norm_batch_statistics.wgsl"),
    blocks: &[&blocks::MOMENTS, &blocks::STATISTICS, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: StatisticsParams::LAYOUT,
    constants: &["SPLIT"],
};

pub(crate) const TOTAL: Kernel = Kernel {
    name: "norm_batch_total",
    source: source!("norm_batch_total.wgsl"),
    blocks: &[&blocks::STATISTICS, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: StatisticsParams::LAYOUT,
    constants: &[],
};

pub(crate) const FOLD: Kernel = Kernel {
    name: "norm_batch_fold",
    source: source!("norm_batch_fold.wgsl"),
    blocks: &[&blocks::RUNNING, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: FoldParams::LAYOUT,
    constants: &[],
};

pub(crate) const COUNT: Kernel = Kernel {
    name: "norm_batch_count",
    source: source!("norm_batch_count.wgsl"),
    blocks: &[],
    bindings: &[ReadWrite],
    formats: &[],
    params: CountParams::LAYOUT,
    constants: &[],
};

pub(crate) const FORWARD: Kernel = Kernel {
    name: "norm_batch_forward",
    source: source!("norm_batch_forward.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::ACTIVATION,
        &blocks::CHANNELS,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (5, "Addend"), (6, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &["TRAINING", "HAS_ADDEND"],
};

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "norm_batch_backward_weight",
    source: source!("norm_batch_backward_weight.wgsl"),
    blocks: &[
        &blocks::GRADIENT,
        &blocks::PLANES,
        &blocks::REDUCE_BY_SOME,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Given")],
    params: PartsParams::LAYOUT,
    constants: &["TRAINING", "BY_POSITION"],
};

pub(crate) const BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_batch_backward_input",
    source: source!("norm_batch_backward_input.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::EPILOGUE4,
        &blocks::CHANNELS,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (6, "Saved"), (7, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const FROZEN_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_batch_frozen_backward_input",
    source: source!("norm_batch_frozen_backward_input.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::EPILOGUE4,
        &blocks::CHANNELS,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(3, "Saved"), (4, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(in super::super) const KERNELS: &[&Kernel] = &[
    &STATISTICS,
    &TOTAL,
    &FOLD,
    &COUNT,
    &FORWARD,
    &BACKWARD_WEIGHT,
    &BACKWARD_INPUT,
    &FROZEN_BACKWARD_INPUT,
];

/// The running estimates, and the number of batches that they are averages of, where they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub mean: Region,
    pub variance: Region,
    pub batches: Option<Region>,
    /// Whether mean and variance are to be the batch's own, which [`fold`] makes part of the running ones.
    pub folds_later: bool,
}

/// Batch normalisation in training: the statistics `(C, 2)`, the running estimates, and the output.
/// Reads the input, and gamma and beta where there are any.
pub(crate) fn forward(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    [input, gamma, beta]: [Option<Region>; 3],
    (statistics, running): (Region, Running),
    output: Output,
) {
    let options = [norm.epsilon, norm.momentum.unwrap_or(0.0)];
    let parts = strategy::group_parts(geometry.channels, geometry.batch * geometry.plane);
    let parts = recording.parts(|| parts);
    let to = (statistics, Some(running));
    record_statistics(recording, (geometry, parts), options, input, to);
    count(recording, running.batches);
    let regions = [input, gamma, beta, Some(statistics), None];
    normalise(recording, norm, geometry, regions, output);
}

/// Makes the mean and the unbiased variance of a batch part of the running estimates, as [`forward`] does.
pub(crate) fn fold(
    recording: &mut Recording,
    norm: &BatchNorm,
    channels: usize,
    [mean, variance]: [Region; 2],
    running: Running,
) {
    let params = FoldParams {
        channels: channels as u32,
        momentum: norm.momentum.unwrap_or(0.0) as f32,
    };
    let constants = [("CUMULATIVE", flag(running.batches.is_some()))];
    let regions = [
        Some(mean),
        Some(variance),
        Some(running.mean),
        Some(running.variance),
        running.batches,
    ];
    recording.dispatch(&FOLD, &constants, &regions, params, flat_grid(channels));
    count(recording, running.batches);
}

/// Counts a batch, where they are counted.
fn count(recording: &mut Recording, batches: Option<Region>) {
    if let Some(batches) = batches {
        let params = CountParams { seen: 1 };
        recording.dispatch(&COUNT, &[], &[Some(batches)], params, [1; 3]);
    }
}

/// Mean and inverse deviation of each channel, and the running estimates where there are any. Parts of a
/// channel's values, if there are several, each have a workgroup of their own.
pub(super) fn record_statistics(
    recording: &mut Recording,
    (geometry, parts): (&BatchNormGeometry, usize),
    [epsilon, momentum]: [f64; 2],
    input: Option<Region>,
    (statistics, running): (Region, Option<Running>),
) {
    let [batch, channels, plane] = extents(geometry);
    let unit = plane_unit(geometry.plane);
    let params = StatisticsParams {
        batch,
        channels,
        plane: plane / unit as u32,
        parts: parts as u32,
        epsilon: epsilon as f32,
        momentum: momentum as f32,
    };
    let partial = match parts {
        1 => None,
        _ => Some(recording.transient("statistics of parts", 2 * parts * geometry.channels)),
    };
    let batches = running.and_then(|running| running.batches);
    let constants = [
        ("SPLIT", flag(partial.is_some())),
        by_some(recording),
        plane_vec4(geometry),
        ("HAS_RUNNING", flag(running.is_some())),
        ("CUMULATIVE", flag(batches.is_some())),
        (
            "FOLDS_LATER",
            flag(running.is_some_and(|running| running.folds_later)),
        ),
    ];
    let estimates = running.map(|running| [running.mean, running.variance]);
    let [mean, variance] = [0, 1].map(|at| estimates.map(|estimates| estimates[at]));
    let to = [Some(statistics), mean, variance, batches];
    let of_part = (geometry.batch * geometry.plane / unit).div_ceil(parts);
    recording.iterations(2 * reduce_iterations(recording, of_part));
    let grid = group_grid(geometry.channels * parts);
    let first = match partial {
        None => to,
        Some(_) => [partial, None, None, None],
    };
    let regions = [&[input][..], &first].concat();
    recording.dispatch(&STATISTICS, &constants, &regions, params, grid);
    if partial.is_some() {
        recording.iterations(2 * parts.div_ceil(reducers(recording)));
        let regions = [&[partial][..], &to].concat();
        let grid = group_grid(geometry.channels);
        recording.dispatch(&TOTAL, &constants[1..], &regions, params, grid);
    }
}

/// Batch normalisation in evaluation, by the running estimates.
pub(crate) fn forward_evaluation(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    [input, gamma, beta]: [Option<Region>; 3],
    running: [Region; 2],
    output: Output,
) {
    let [mean, variance] = running.map(Some);
    let regions = [input, gamma, beta, mean, variance];
    normalise(recording, norm, geometry, regions, output);
}

/// From input, gamma, beta, and either statistics or the running mean and variance.
fn normalise(
    recording: &mut Recording,
    norm: &BatchNorm,
    geometry: &BatchNormGeometry,
    inputs: [Option<Region>; 5],
    output: Output,
) {
    let params = forward_params(norm, geometry);
    let grid = vector_grid(geometry);
    let training = inputs[4].is_none();
    let mut constants = vec![("TRAINING", flag(training)), affine(inputs[1])];
    constants.extend([added(output), plane_vec4(geometry)]);
    constants.extend(output.activation_constants(recording));
    let regions = [&inputs[..], &[output.addend, Some(output.region)]].concat();
    recording.dispatch(&FORWARD, &constants, &regions, params, grid);
}

fn forward_params(norm: &BatchNorm, geometry: &BatchNormGeometry) -> ForwardParams {
    let [batch, channels, plane] = extents(geometry);
    ForwardParams {
        batch,
        channels,
        plane,
        epsilon: norm.epsilon as f32,
    }
}

/// What the gradients of gamma and beta take for mean and deviation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moments {
    /// The statistics of each channel.
    Channels(Region),
    /// Those of each position.
    Positions(Region),
    /// The running mean and variance, and what is added to the latter.
    Running([Region; 2], f64),
}

/// The gradients of gamma and beta, from the input and the gradient of the output.
pub(super) fn backward_parameters(
    recording: &mut Recording,
    geometry: &BatchNormGeometry,
    (input, incoming): (Region, Incoming),
    moments: Moments,
    gradients: [Region; 2],
) {
    let [batch, channels, plane] = extents(geometry);
    let values = geometry.batch * geometry.plane;
    let parts = recording.parts(|| strategy::group_parts(geometry.channels, values));
    let partial = partial_gradients(recording, gradients, parts, geometry.channels);
    let (found, epsilon) = match moments {
        Moments::Channels(found) | Moments::Positions(found) => ([Some(found), None, None], 0.0),
        Moments::Running([mean, variance], epsilon) => {
            ([None, Some(mean), Some(variance)], epsilon)
        }
    };
    let unit = match moments {
        Moments::Positions(_) => 1,
        Moments::Channels(_) | Moments::Running(..) => plane_unit(geometry.plane),
    };
    let params = PartsParams {
        batch,
        channels,
        plane: plane / unit as u32,
        parts: parts as u32,
        epsilon: epsilon as f32,
    };
    let mut constants = vec![
        ("TRAINING", flag(found[0].is_some())),
        ("PLANE_VEC4", flag(unit == 4)),
        by_some(recording),
        (
            "BY_POSITION",
            flag(matches!(moments, Moments::Positions(_))),
        ),
    ];
    constants.extend(incoming.constants(recording));
    let read = [Some(input), Some(incoming.given())];
    let regions = [&read[..], &found, &partial.map(Some)].concat();
    let of_part = (values / unit).div_ceil(parts);
    recording.iterations(reduce_iterations(recording, of_part));
    let grid = group_grid(geometry.channels * parts);
    recording.dispatch(&BACKWARD_WEIGHT, &constants, &regions, params, grid);
    sum_gradients(recording, partial, gradients, parts, geometry.channels);
}

/// The gradients of gamma and beta in training, and from them that of the input if it is wanted.
pub(crate) fn backward(
    recording: &mut Recording,
    geometry: &BatchNormGeometry,
    (input, incoming, statistics): (Region, Incoming, Region),
    gamma: Option<Region>,
    gradients: [Region; 2],
    output: Option<Output>,
) {
    let moments = Moments::Channels(statistics);
    let read = (input, incoming);
    backward_parameters(recording, geometry, read, moments, gradients);
    let Some(output) = output else { return };
    let [batch, channels, plane] = extents(geometry);
    let read = [input, incoming.region, statistics].map(Some);
    let rest = [
        gamma,
        Some(gradients[0]),
        Some(gradients[1]),
        output.saved(),
        Some(output.region),
    ];
    let regions = [&read[..], &rest].concat();
    let params = BackwardParams {
        batch,
        channels,
        plane,
    };
    let grid = vector_grid(geometry);
    let mut constants = vec![affine(gamma), plane_vec4(geometry)];
    constants.extend(output.constants(recording));
    recording.dispatch(&BACKWARD_INPUT, &constants, &regions, params, grid);
}

/// The gradients in evaluation, where mean and variance are the running estimates: those of gamma and
/// beta, and that of the input, each if it is wanted.
pub(crate) fn backward_evaluation(
    recording: &mut Recording,
    (norm, geometry): (&BatchNorm, &BatchNormGeometry),
    (input, incoming): (Region, Incoming),
    gamma: Option<Region>,
    running: [Region; 2],
    (gradients, output): (Option<[Region; 2]>, Option<Output>),
) {
    if let Some(gradients) = gradients {
        let moments = Moments::Running(running, norm.epsilon);
        backward_parameters(recording, geometry, (input, incoming), moments, gradients);
    }
    let Some(output) = output else { return };
    let [_, variance] = running.map(Some);
    let (saved, to) = (output.saved(), Some(output.region));
    let regions = [Some(incoming.region), variance, gamma, saved, to];
    let params = forward_params(norm, geometry);
    let grid = vector_grid(geometry);
    let mut constants = vec![affine(gamma), plane_vec4(geometry)];
    constants.extend(output.constants(recording));
    recording.dispatch(&FROZEN_BACKWARD_INPUT, &constants, &regions, params, grid);
}

/// The grid of a kernel with an invocation for four elements.
fn vector_grid(geometry: &BatchNormGeometry) -> [u64; 3] {
    flat_grid(vectors(geometry.batch * geometry.channels * geometry.plane))
}

/// Whether four neighbours have one channel.
fn plane_vec4(geometry: &BatchNormGeometry) -> (&'static str, f64) {
    ("PLANE_VEC4", whole_vectors(geometry.plane))
}

fn extents(geometry: &BatchNormGeometry) -> [u32; 3] {
    [
        geometry.batch as u32,
        geometry.channels as u32,
        geometry.plane as u32,
    ]
}
