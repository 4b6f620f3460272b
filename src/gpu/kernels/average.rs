//! Averages of weights.

use super::{Read, ReadWrite, Recording, Region, blocks, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::op::Average;

params! {
    struct UpdateParams {
        len: u32,
        kept: f32,
        taken: f32,
    }
}

params! {
    struct SwapParams {
        len: u32,
    }
}

pub(crate) const UPDATE: Kernel = Kernel {
    name: "average_update",
    source: source!("average_update.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: UpdateParams::LAYOUT,
    constants: &[],
};

pub(crate) const SWAP: Kernel = Kernel {
    name: "average_swap",
    source: source!("average_swap.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[ReadWrite, ReadWrite],
    formats: &[],
    params: SwapParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&UPDATE, &SWAP];

/// What an update makes of the average of `len` vectors of four. The shares change with every update: the
/// caller sets them through [`set_shares`].
pub(crate) fn update(recording: &mut Recording, len: usize, [parameter, average]: [Region; 2]) {
    let params = UpdateParams {
        len: len as u32,
        kept: 0.0,
        taken: 1.0,
    };
    let regions = [Some(parameter), Some(average)];
    recording.dispatch(&UPDATE, &[], &regions, params, flat_grid(len));
    recording.varies(Varies::Average);
}

/// Exchanges `len` vectors of four of parameters with their average.
pub(crate) fn swap(recording: &mut Recording, len: usize, [parameter, average]: [Region; 2]) {
    let params = SwapParams { len: len as u32 };
    let regions = [Some(parameter), Some(average)];
    recording.dispatch(&SWAP, &[], &regions, params, flat_grid(len));
}

/// Fills in what changes from update to update, counted from 1.
pub(crate) fn set_shares(params: &mut [u8], average: &Average, update: u64) {
    let [kept, taken] = average.shares(update);
    super::edit(params, |params: &mut UpdateParams| {
        (params.kept, params.taken) = (kept as f32, taken as f32);
    });
}
