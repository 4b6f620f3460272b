//! Sums in a fixed order: bias gradients, and the parts of a split sum.

use super::{Read, ReadWrite, Recording, Region, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};

params! {
    struct BiasParams {
        batch: u32,
        channels: u32,
        plane: u32,
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
    source: source!("bias.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: BiasParams::LAYOUT,
    constants: &[],
};

pub(crate) const SUM_PARTS: Kernel = Kernel {
    name: "sum_parts",
    source: source!("sum_parts.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: SumPartsParams::LAYOUT,
    constants: &[],
};

/// The sum of `(N, C, plane)` over all but the channels.
pub(crate) fn bias_gradient(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    gradient_output: Region,
    gradient_bias: Region,
) {
    let params = BiasParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: plane as u32,
    };
    let regions = [Some(gradient_output), Some(gradient_bias)];
    recording.dispatch(&BIAS, &[], &regions, params, flat_grid(channels, 1));
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
    recording.dispatch(&SUM_PARTS, &[], &regions, params, flat_grid(len, 64));
}
