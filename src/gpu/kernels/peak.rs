//! What the adapter's peaks are measured with. No model uses these kernels.

use super::{Read, ReadWrite, Recording, Region, blocks, flat_grid, group_grid, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};

params! {
    struct ArithmeticParams {
        factor: f32,
        addend: f32,
    }
}

params! {
    struct BandwidthParams {
        len: u32,
    }
}

pub(crate) const ARITHMETIC: Kernel = Kernel {
    name: "peak_arithmetic",
    source: source!("peak_arithmetic.wgsl"),
    blocks: &[],
    bindings: &[ReadWrite],
    formats: &[],
    params: ArithmeticParams::LAYOUT,
    constants: &[],
};

pub(crate) const BANDWIDTH: Kernel = Kernel {
    name: "peak_bandwidth",
    source: source!("peak_bandwidth.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: BandwidthParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&ARITHMETIC, &BANDWIDTH];

/// Additions and multiplications of a workgroup of [`arithmetic`]: 64 invocations, 256 turns, 8
/// multiply-adds of 3 vectors of four.
const WORKGROUP_FLOPS: u64 = 64 * 256 * 8 * 3 * 4 * 2;

/// Multiply-adds in registers alone. `unwritten` is a buffer that stays as it is.
pub(crate) fn arithmetic(recording: &mut Recording, workgroups: usize, unwritten: Region) {
    // Towards 1.5, from values near 1.
    let params = ArithmeticParams {
        factor: 0.5,
        addend: 0.75,
    };
    let grid = group_grid(workgroups);
    recording.dispatch(&ARITHMETIC, &[], &[Some(unwritten)], params, grid);
    recording.flops(workgroups as u64 * WORKGROUP_FLOPS);
}

/// A copy of `len` elements.
pub(crate) fn bandwidth(recording: &mut Recording, len: usize, [from, to]: [Region; 2]) {
    let params = BandwidthParams {
        len: vectors(len) as u32,
    };
    let grid = flat_grid(vectors(len));
    recording.dispatch(&BANDWIDTH, &[], &[Some(from), Some(to)], params, grid);
}

/// The grid of so many workgroups of [`arithmetic`].
pub(crate) fn grid(workgroups: usize) -> [u32; 3] {
    group_grid(workgroups).map(|count| count as u32)
}
