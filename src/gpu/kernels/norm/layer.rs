//! Layer normalisation of whole examples, as rows.

use super::batch::record_statistics;
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{
    added, affine, blocks, by_some, flat_grid, group_grid, partial_gradients, plane_unit,
    reduce_iterations, reducers, sum_gradients, sum_parts, whole_vectors,
};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, LONGEST_GROUP_SUM};
use crate::op::BatchNormGeometry;

params! {
    struct ForwardParams {
        rows: u32,
        len: u32,
        epsilon: f32,
    }
}

params! {
    struct BackwardParams {
        rows: u32,
        len: u32,
    }
}

params! {
    struct PartsParams {
        rows: u32,
        len: u32,
        parts: u32,
    }
}

params! {
    struct LongParams {
        rows: u32,
        len: u32,
        channels: u32,
        plane: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "norm_layer_forward",
    source: source!("norm_layer_forward.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::ACTIVATION,
        &blocks::MOMENTS,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (4, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LONG_FORWARD: Kernel = Kernel {
    name: "norm_layer_long_forward",
    source: source!("norm_layer_long_forward.wgsl"),
    blocks: &[&blocks::AFFINE, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Addend"), (5, "Output")],
    params: LongParams::LAYOUT,
    constants: &["HAS_ADDEND"],
};

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "norm_layer_backward_weight",
    source: source!("norm_layer_backward_weight.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input")],
    params: PartsParams::LAYOUT,
    constants: &[],
};

pub(crate) const BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_layer_backward_input",
    source: source!("norm_layer_backward_input.wgsl"),
    blocks: &[
        &blocks::AFFINE,
        &blocks::EPILOGUE,
        &blocks::REDUCE_BY_SOME,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (4, "Saved"), (5, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const LONG_SUMS: Kernel = Kernel {
    name: "norm_layer_long_sums",
    source: source!("norm_layer_long_sums.wgsl"),
    blocks: &[&blocks::AFFINE, &blocks::REDUCE_BY_SOME, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input")],
    params: PartsParams::LAYOUT,
    constants: &[],
};

pub(crate) const LONG_BACKWARD_INPUT: Kernel = Kernel {
    name: "norm_layer_long_backward_input",
    source: source!("norm_layer_long_backward_input.wgsl"),
    blocks: &[&blocks::AFFINE, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (5, "Saved"), (6, "Output")],
    params: LongParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(in super::super) const KERNELS: &[&Kernel] = &[
    &FORWARD,
    &LONG_FORWARD,
    &BACKWARD_WEIGHT,
    &BACKWARD_INPUT,
    &LONG_SUMS,
    &LONG_BACKWARD_INPUT,
];

/// Parts of a row that is long, or 1.
fn row_parts(recording: &mut Recording, [rows, len]: [usize; 2]) -> usize {
    recording.parts(|| match len {
        ..=LONGEST_GROUP_SUM => 1,
        _ => strategy::group_parts(rows, len),
    })
}

/// Mean and inverse deviation of each of some rows, `(rows, 2)`, whose values are split into parts.
pub(super) fn row_statistics(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    parts: usize,
    epsilon: f64,
    [input, statistics]: [Region; 2],
) {
    // A row is what a channel is to batch normalisation.
    let geometry = BatchNormGeometry {
        batch: 1,
        channels: rows,
        plane: len,
    };
    let (options, to) = ([epsilon, 0.0], (statistics, None));
    record_statistics(recording, (&geometry, parts), options, Some(input), to);
}

/// Rows whose statistics are there, or the sums that their gradients follow from, and how gamma lies over
/// them: `channels` elements of it, each for `plane` neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct LongRows {
    pub rows: usize,
    pub len: usize,
    pub channels: usize,
    pub plane: usize,
}

impl LongRows {
    fn params(self) -> LongParams {
        LongParams {
            rows: self.rows as u32,
            len: self.len as u32,
            channels: self.channels as u32,
            plane: self.plane as u32,
        }
    }
}

/// The normalised rows, element by element, from the input, gamma, beta and the statistics.
pub(super) fn normalise(
    recording: &mut Recording,
    rows: LongRows,
    read: [Option<Region>; 4],
    output: Output,
) {
    let mut constants = vec![affine(read[1]), added(output)];
    constants.extend(output.activation_constants(recording));
    let regions = [&read[..], &[output.addend, Some(output.region)]].concat();
    let grid = flat_grid(rows.rows * rows.len);
    recording.dispatch(&LONG_FORWARD, &constants, &regions, rows.params(), grid);
}

/// The input gradient of rows, element by element, from the input, the gradient of the output, the
/// statistics, gamma and the sums.
pub(super) fn backward_normalised(
    recording: &mut Recording,
    rows: LongRows,
    read: [Option<Region>; 5],
    output: Output,
) {
    let mut constants = vec![affine(read[3])];
    constants.extend(output.constants(recording));
    let regions = [&read[..], &[output.saved(), Some(output.region)]].concat();
    let grid = flat_grid(rows.rows * rows.len);
    recording.dispatch(
        &LONG_BACKWARD_INPUT,
        &constants,
        &regions,
        rows.params(),
        grid,
    );
}

/// Layer normalisation of `(rows, len)`, with the statistics `(rows, 2)` for the backward pass. Reads the
/// input, and gamma and beta where there are any.
pub(crate) fn forward(
    recording: &mut Recording,
    epsilon: f64,
    [rows, len]: [usize; 2],
    (input, [gamma, beta]): (Region, [Option<Region>; 2]),
    (statistics, output): (Region, Output),
) {
    let parts = row_parts(recording, [rows, len]);
    let read = [Some(input), gamma, beta, Some(statistics)];
    if parts > 1 {
        row_statistics(recording, [rows, len], parts, epsilon, [input, statistics]);
        let long = LongRows {
            rows,
            len,
            channels: len,
            plane: 1,
        };
        normalise(recording, long, read, output);
        return;
    }
    let params = ForwardParams {
        rows: rows as u32,
        len: len as u32,
        epsilon: epsilon as f32,
    };
    let mut constants = vec![
        affine(gamma),
        by_some(recording),
        ("PLANE_VEC4", whole_vectors(len)),
    ];
    constants.extend(output.activation_constants(recording));
    let regions = [&read[..], &[Some(output.region)]].concat();
    let places = len / plane_unit(len);
    let turns = 2 * reduce_iterations(recording, places) + len.div_ceil(reducers(recording));
    recording.iterations(turns);
    recording.dispatch(&FORWARD, &constants, &regions, params, group_grid(rows));
}

/// The gradients of gamma and beta, and that of the input, each if it is wanted.
pub(crate) fn backward(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    read: [Region; 3],
    gamma: Option<Region>,
    (gradients, output): (Option<[Region; 2]>, Option<Output>),
) {
    if let Some(gradients) = gradients {
        backward_parameters(recording, [rows, len], read, gradients);
    }
    if let Some(output) = output {
        backward_input(recording, [rows, len], read, gamma, output);
    }
}

fn backward_parameters(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    [input, gradient_output, statistics]: [Region; 3],
    gradients: [Region; 2],
) {
    let parts = recording.parts(|| rows.div_ceil(strategy::SUMMED_SLABS));
    let partial = partial_gradients(recording, gradients, parts, len);
    let params = PartsParams {
        rows: rows as u32,
        len: len as u32,
        parts: parts as u32,
    };
    let regions = [input, gradient_output, statistics, partial[0], partial[1]].map(Some);
    let of_part = rows.div_ceil(parts);
    recording.iterations(of_part + of_part.div_ceil(16));
    let grid = flat_grid(parts * len);
    recording.dispatch(&BACKWARD_WEIGHT, &[], &regions, params, grid);
    sum_gradients(recording, partial, gradients, parts, len);
}

fn backward_input(
    recording: &mut Recording,
    [rows, len]: [usize; 2],
    read: [Region; 3],
    gamma: Option<Region>,
    output: Output,
) {
    let read = [&read.map(Some)[..], &[gamma]].concat();
    let parts = row_parts(recording, [rows, len]);
    if parts == 1 {
        let params = BackwardParams {
            rows: rows as u32,
            len: len as u32,
        };
        let mut constants = vec![affine(gamma), by_some(recording)];
        constants.extend(output.constants(recording));
        let regions = [&read[..], &[output.saved(), Some(output.region)]].concat();
        let turns = reduce_iterations(recording, len) + len.div_ceil(reducers(recording));
        recording.iterations(turns);
        recording.dispatch(
            &BACKWARD_INPUT,
            &constants,
            &regions,
            params,
            group_grid(rows),
        );
        return;
    }
    let partial = recording.transient("norm gradient parts", 2 * parts * rows);
    let params = PartsParams {
        rows: rows as u32,
        len: len as u32,
        parts: parts as u32,
    };
    let regions = [&read[..], &[Some(partial)]].concat();
    recording.iterations(reduce_iterations(recording, len.div_ceil(parts)));
    let constants = [affine(gamma), by_some(recording)];
    let grid = group_grid(parts * rows);
    recording.dispatch(&LONG_SUMS, &constants, &regions, params, grid);
    let sums = recording.transient("norm gradient sums", 2 * rows);
    sum_parts(
        recording,
        partial,
        parts,
        [1, 2 * rows, 1],
        None,
        sums.into(),
    );
    let long = LongRows {
        rows,
        len,
        channels: len,
        plane: 1,
    };
    let read = [read[0], read[1], read[2], gamma, Some(sums)];
    backward_normalised(recording, long, read, output);
}
