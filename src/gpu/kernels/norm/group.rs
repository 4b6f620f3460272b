//! Group and instance normalisation. The values of a group lie one after the other, and so it is a row to
//! the kernels of layer normalisation, with a gamma for each channel.

use super::layer::{LongRows, backward_normalised, normalise, row_statistics};
use super::{Incoming, Output, Read, ReadWrite, Recording, Region};
use super::{
    affine, blocks, by_some, group_grid, plane_unit, reduce_iterations, sum_gradients, sum_parts,
    whole_vectors,
};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::GroupNormGeometry;

params! {
    struct SumsParams {
        planes: u32,
        per_group: u32,
        plane: u32,
        parts: u32,
    }
}

params! {
    struct TotalParams {
        rows: u32,
        per_group: u32,
        channels: u32,
    }
}

pub(crate) const SUMS: Kernel = Kernel {
    name: "norm_group_sums",
    source: source!("norm_group_sums.wgsl"),
    blocks: &[
        &blocks::GRADIENT,
        &blocks::PLANES,
        &blocks::REDUCE_BY_SOME,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Given")],
    params: SumsParams::LAYOUT,
    constants: &[],
};

pub(crate) const TOTAL: Kernel = Kernel {
    name: "norm_group_total",
    source: source!("norm_group_total.wgsl"),
    blocks: &[&blocks::AFFINE, &blocks::REDUCE_BY_SOME, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[],
    params: TotalParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(in super::super) const KERNELS: &[&Kernel] = &[&SUMS, &TOTAL];

fn long_rows(geometry: &GroupNormGeometry) -> LongRows {
    let [rows, len] = geometry.rows();
    LongRows {
        rows,
        len,
        channels: geometry.channels,
        plane: geometry.plane,
    }
}

/// Group normalisation, with the statistics `(N, groups, 2)` for the backward pass. Reads the input, and
/// gamma and beta where there are any.
pub(crate) fn forward(
    recording: &mut Recording,
    epsilon: f64,
    geometry: &GroupNormGeometry,
    (input, [gamma, beta]): (Region, [Option<Region>; 2]),
    (statistics, output): (Region, Output),
) {
    let [rows, len] = geometry.rows();
    let parts = recording.parts(|| strategy::group_parts(rows, len));
    row_statistics(recording, [rows, len], parts, epsilon, [input, statistics]);
    let read = [Some(input), gamma, beta, Some(statistics)];
    normalise(recording, long_rows(geometry), read, output);
}

/// The gradients of gamma and beta, and that of the input, each if it is wanted. Reads the input, the
/// gradient of the output, and the statistics.
pub(crate) fn backward(
    recording: &mut Recording,
    geometry: &GroupNormGeometry,
    (input, incoming, statistics): (Region, Incoming, Region),
    gamma: Option<Region>,
    (gradients, output): (Option<[Region; 2]>, Option<Output>),
) {
    let [products, sums] = plane_sums(recording, geometry, (input, incoming, statistics));
    if let Some(gradients) = gradients {
        // The examples are the parts of these sums.
        let (parts, len) = (geometry.batch, geometry.channels);
        for (planes, to) in [products, sums].into_iter().zip(gradients) {
            sum_parts(recording, planes, parts, [1, len, 1], None, to.into());
        }
    }
    let Some(output) = output else { return };
    let [rows, _] = geometry.rows();
    let per_group = geometry.channels / geometry.groups;
    let total = recording.transient("norm gradient sums", 2 * rows);
    let params = TotalParams {
        rows: rows as u32,
        per_group: per_group as u32,
        channels: geometry.channels as u32,
    };
    recording.iterations(reduce_iterations(recording, per_group));
    let constants = [affine(gamma), by_some(recording)];
    let regions = [Some(products), Some(sums), gamma, Some(total)];
    recording.dispatch(&TOTAL, &constants, &regions, params, group_grid(rows));
    let read = [input, incoming.region, statistics].map(Some);
    let read = [read[0], read[1], read[2], gamma, Some(total)];
    backward_normalised(recording, long_rows(geometry), read, output);
}

/// The sums over each plane of the gradient with the normalised input, and of the gradient alone: `(N, C)`.
fn plane_sums(
    recording: &mut Recording,
    geometry: &GroupNormGeometry,
    (input, incoming, statistics): (Region, Incoming, Region),
) -> [Region; 2] {
    let planes = geometry.batch * geometry.channels;
    let parts = recording.parts(|| strategy::group_parts(planes, geometry.plane));
    let to = [(); 2].map(|()| recording.transient("norm gradient planes", planes));
    let partial = super::partial_gradients(recording, to, parts, planes);
    let unit = plane_unit(geometry.plane);
    let params = SumsParams {
        planes: planes as u32,
        per_group: (geometry.channels / geometry.groups) as u32,
        plane: (geometry.plane / unit) as u32,
        parts: parts as u32,
    };
    let mut constants = vec![
        by_some(recording),
        ("PLANE_VEC4", whole_vectors(geometry.plane)),
    ];
    constants.extend(incoming.constants(recording));
    let regions = [input, incoming.given(), statistics, partial[0], partial[1]].map(Some);
    let of_part = (geometry.plane / unit).div_ceil(parts);
    recording.iterations(reduce_iterations(recording, of_part));
    let grid = group_grid(planes * parts);
    recording.dispatch(&SUMS, &constants, &regions, params, grid);
    sum_gradients(recording, partial, to, parts, planes);
    to
}
