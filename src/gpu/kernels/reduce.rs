//! Sums in a fixed order: bias gradients, and the parts of a split sum.

use super::{Read, ReadWrite, Recording, Region, flat_grid, group_grid, whole_vectors};
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
        parts: u32,
    }
}

pub(crate) const BIAS: Kernel = Kernel {
    name: "bias",
    source: source!("bias.wgsl", "core/reduce.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: BiasParams::LAYOUT,
    constants: &["PLANE_VEC4"],
};

pub(crate) const SUM_PARTS: Kernel = Kernel {
    name: "sum_parts",
    source: source!("sum_parts.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: SumPartsParams::LAYOUT,
    constants: &[],
};

/// The sum of `(N, C, plane)` over all but the channels. `planned_batch` is the largest N, which
/// decides how the sum is split.
pub(crate) fn bias_gradient(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    planned_batch: usize,
    gradient_output: Region,
    gradient_bias: Region,
) {
    if plane == 1 && planned_batch <= 1024 {
        // The examples are the parts of the sum.
        sum_parts(recording, gradient_output, batch, gradient_bias, channels);
        return;
    }
    let parts = strategy::bias_parts(planned_batch, channels, plane);
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
    recording.dispatch(
        &BIAS,
        &constants,
        &regions,
        params,
        group_grid(channels * parts),
    );
    if parts > 1 {
        sum_parts(recording, partial, parts, gradient_bias, channels);
    }
}

/// The sum of `parts` slabs of `len` elements.
pub(crate) fn sum_parts(
    recording: &mut Recording,
    partial: Region,
    parts: usize,
    total: Region,
    len: usize,
) {
    let params = SumPartsParams {
        len: len as u32,
        parts: parts as u32,
    };
    let regions = [Some(partial), Some(total)];
    recording.iterations(parts);
    recording.dispatch(&SUM_PARTS, &[], &regions, params, flat_grid(len));
}
