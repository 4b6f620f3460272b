//! Sums in a fixed order: bias gradients, and the parts of a split sum.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, plane_unit, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;

params! {
    struct BiasParams {
        batch: u32,
        channels: u32,
        plane: u32,
        parts: u32,
    }
}

params! {
    struct SumPartsParams {
        len: u32,
        columns: u32,
        inner: u32,
        parts: u32,
        groups: u32,
        rest_begin: u32,
    }
}

pub(crate) const BIAS: Kernel = Kernel {
    name: "reduce_bias",
    source: source!("reduce_bias.wgsl"),
    blocks: &[&blocks::PLANES, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: BiasParams::LAYOUT,
    constants: &[],
};

pub(crate) const PARTS: Kernel = Kernel {
    name: "reduce_parts",
    source: source!("reduce_parts.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(2, "Saved"), (3, "Output")],
    params: SumPartsParams::LAYOUT,
    constants: &["HAS_BIAS", "HAS_REST"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&BIAS, &PARTS];

/// How many invocations share a sum in kernels with `blocks::REDUCE_BY_SOME`.
pub(super) fn reducers(recording: &Recording) -> usize {
    match recording.traits.subgroups_of_8() {
        true => 8,
        false => 64,
    }
}

/// The constant that says so.
pub(super) fn by_some(recording: &Recording) -> (&'static str, f64) {
    ("INVOCATIONS", reducers(recording) as f64)
}

/// Iterations of each of them where they share so many values, in blocks.
pub(super) fn reduce_iterations(recording: &Recording, values: usize) -> usize {
    strategy::shared_iterations(values, reducers(recording))
}

/// The sum of `(N, C, plane)` over all but the channels.
pub(crate) fn bias_gradient(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    gradient_output: Region,
    gradient_bias: Region,
) {
    /// Columns that neighbouring invocations make whole loads of.
    const WIDE: usize = 32;
    let parts = recording.parts(|| match plane {
        // The examples are the parts of the sum.
        1 if batch <= strategy::SUMMED_SLABS || channels >= WIDE => 0,
        _ => strategy::group_parts(channels, batch * plane),
    });
    let (columns, to) = ([1, channels, 1], gradient_bias.into());
    if parts == 0 {
        sum_parts(recording, gradient_output, batch, columns, None, to);
        return;
    }
    let partial = match parts {
        1 => gradient_bias,
        _ => recording.transient("bias gradient parts", parts * channels),
    };
    let extents = [batch, channels, plane, parts];
    sum_planes(recording, extents, gradient_output, partial);
    if parts > 1 {
        sum_parts(recording, partial, parts, columns, None, to);
    }
}

/// The sums of parts of the values of each channel of `(N, C, plane)`.
fn sum_planes(
    recording: &mut Recording,
    [batch, channels, plane, parts]: [usize; 4],
    values: Region,
    partial: Region,
) {
    let unit = plane_unit(plane);
    let params = BiasParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: (plane / unit) as u32,
        parts: parts as u32,
    };
    let constants = [("PLANE_VEC4", whole_vectors(plane))];
    let regions = [Some(values), Some(partial)];
    let of_part = (batch * (plane / unit)).div_ceil(parts);
    recording.iterations(strategy::group_iterations(of_part));
    let grid = group_grid(channels * parts);
    recording.dispatch(&BIAS, &constants, &regions, params, grid);
}

/// Few numbers that add up to what `len` others do, where there are many of these.
pub(crate) fn fewer_values(
    recording: &mut Recording,
    values: Region,
    len: usize,
) -> (Region, usize) {
    let parts = recording.parts(|| match len {
        ..=strategy::LONGEST_GROUP_SUM => 0,
        _ => strategy::group_parts(1, len),
    });
    if parts == 0 {
        return (values, len);
    }
    let partial = recording.transient("sums of parts", parts);
    // As one plane of scalars whatever the length: a smaller batch has the same kernel.
    let params = BiasParams {
        batch: 1,
        channels: 1,
        plane: len as u32,
        parts: parts as u32,
    };
    let regions = [Some(values), Some(partial)];
    recording.iterations(strategy::group_iterations(len.div_ceil(parts)));
    let constants = [("PLANE_VEC4", flag(false))];
    recording.dispatch(&BIAS, &constants, &regions, params, group_grid(parts));
    (partial, parts)
}

/// The sum of `parts` slabs of `(outer, columns, inner)`, and a bias along the columns, through the
/// output's epilogue.
pub(crate) fn sum_parts(
    recording: &mut Recording,
    partial: Region,
    parts: usize,
    extents: [usize; 3],
    bias: Option<Region>,
    output: Output,
) {
    let (partial, parts) = fewer_slabs(recording, partial, parts, extents.iter().product());
    add_slabs(
        recording,
        partial,
        [parts, 1],
        extents,
        (bias, None),
        output,
    );
}

/// The sum of `parts` slabs of `len` elements each for one result, and behind them what is for another, if there is
/// that.
pub(super) fn sum_parts_of_two(
    recording: &mut Recording,
    partial: Region,
    parts: usize,
    [len, rest_len]: [usize; 2],
    (to, rest): (Region, Option<Region>),
) {
    let all = len + rest.map_or(0, |_| rest_len);
    let (partial, parts) = fewer_slabs(recording, partial, parts, all);
    let (extents, rest) = ([1, all, 1], rest.map(|region| (len, region)));
    add_slabs(
        recording,
        partial,
        [parts, 1],
        extents,
        (None, rest),
        to.into(),
    );
}

/// Slabs that add up to what `parts` slabs of `len` do, and of which an invocation can add up all.
pub(super) fn fewer_slabs(
    recording: &mut Recording,
    mut partial: Region,
    mut parts: usize,
    len: usize,
) -> (Region, usize) {
    loop {
        let groups = recording.parts(|| parts.div_ceil(strategy::SUMMED_SLABS));
        if groups <= 1 {
            return (partial, parts);
        }
        let sums = recording.transient("sums of parts", groups * len);
        let extents = [1, len, 1];
        add_slabs(
            recording,
            partial,
            [parts, groups],
            extents,
            (None, None),
            sums.into(),
        );
        (partial, parts) = (sums, groups);
    }
}

/// Adds neighbouring slabs up, so that `groups` of them are left. What begins behind some of the elements may go
/// elsewhere.
fn add_slabs(
    recording: &mut Recording,
    partial: Region,
    [parts, groups]: [usize; 2],
    [outer, columns, inner]: [usize; 3],
    (bias, rest): (Option<Region>, Option<(usize, Region)>),
    output: Output,
) {
    let len = outer * columns * inner;
    let params = SumPartsParams {
        len: len as u32,
        columns: columns as u32,
        inner: inner as u32,
        parts: parts as u32,
        groups: groups as u32,
        rest_begin: rest.map_or(0, |(begin, _)| begin as u32),
    };
    let mut constants = vec![("HAS_BIAS", flag(bias.is_some()))];
    constants.extend(rest.map(|_| ("HAS_REST", flag(true))));
    constants.extend(output.constants(recording));
    let regions = [
        Some(partial),
        bias,
        output.saved(),
        Some(output.region),
        rest.map(|(_, region)| region),
    ];
    let turns = parts.div_ceil(groups);
    recording.iterations(turns + turns.div_ceil(16));
    let grid = flat_grid(groups * len);
    recording.dispatch(&PARTS, &constants, &regions, params, grid);
}
