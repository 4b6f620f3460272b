//! Sums in a fixed order: bias gradients, and the parts of a split sum.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, whole_vectors};
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
        parts: u32,
    }
}

pub(crate) const BIAS: Kernel = Kernel {
    name: "reduce_bias",
    source: source!("reduce_bias.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: BiasParams::LAYOUT,
    constants: &["PLANE_VEC4"],
};

pub(crate) const PARTS: Kernel = Kernel {
    name: "reduce_parts",
    source: source!("reduce_parts.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(2, "Saved"), (3, "Output")],
    params: SumPartsParams::LAYOUT,
    constants: &["HAS_BIAS"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&BIAS, &PARTS];

/// The sum of `(N, C, plane)` over all but the channels.
pub(crate) fn bias_gradient(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    gradient_output: Region,
    gradient_bias: Region,
) {
    let parts = recording.parts(|| match plane {
        1 if batch <= 1024 => 0, // the examples are the parts of the sum
        _ => strategy::bias_parts(batch, channels, plane),
    });
    if parts == 0 {
        sum_parts(
            recording,
            gradient_output,
            batch,
            [1, channels],
            None,
            gradient_bias.into(),
        );
        return;
    }
    let partial = match parts {
        1 => gradient_bias,
        _ => recording.transient("bias gradient parts", parts * channels),
    };
    let unit = if plane.is_multiple_of(4) { 4 } else { 1 };
    let params = BiasParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: (plane / unit) as u32,
        parts: parts as u32,
    };
    let constants = [("PLANE_VEC4", whole_vectors(plane))];
    let regions = [Some(gradient_output), Some(partial)];
    recording.iterations((batch * plane).div_ceil(64 * parts));
    let grid = group_grid(channels * parts);
    recording.dispatch(&BIAS, &constants, &regions, params, grid);
    if parts > 1 {
        sum_parts(
            recording,
            partial,
            parts,
            [1, channels],
            None,
            gradient_bias.into(),
        );
    }
}

/// The sum of `parts` slabs of `(rows, columns)`, and a bias, through the output's epilogue.
pub(crate) fn sum_parts(
    recording: &mut Recording,
    partial: Region,
    parts: usize,
    [rows, columns]: [usize; 2],
    bias: Option<Region>,
    output: Output,
) {
    let params = SumPartsParams {
        len: (rows * columns) as u32,
        columns: columns as u32,
        parts: parts as u32,
    };
    let mut constants = vec![("HAS_BIAS", flag(bias.is_some()))];
    constants.extend(output.constants(recording));
    let regions = [Some(partial), bias, output.saved(), Some(output.region)];
    recording.iterations(parts);
    let grid = flat_grid(rows * columns);
    recording.dispatch(&PARTS, &constants, &regions, params, grid);
}
