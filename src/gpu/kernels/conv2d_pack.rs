//! Filters of convolutions rearranged as cores read them, once for every change of them.

use super::{Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::gpu::work::Phases;
use crate::op::{Conv2dGeometry, Size2};

params! {
    /// Of the convolution that will run.
    struct RowsParams {
        groups: u32,
        in_channels: u32,
        out_channels: u32,
        backward: u32,
    }
}

params! {
    struct TilesParams {
        groups: u32,
        in_channels: u32,
        out_channels: u32,
    }
}

pub(crate) const PACK_WEIGHT: Kernel = Kernel {
    name: "conv2d_pack_weight",
    source: source!("conv2d_pack_weight.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Weight"), (1, "Packed")],
    params: RowsParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W"],
};

pub(crate) const PACK_TILES: Kernel = Kernel {
    name: "conv2d_pack_tiles",
    source: source!("conv2d_pack_tiles.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Weight"), (1, "Packed")],
    params: TilesParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W", "PHASES_H", "PHASES_W", "BACKWARD"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&PACK_WEIGHT, &PACK_TILES];

/// The filters rearranged as the rows core reads them.
pub(super) fn rows(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    weight: Region,
    backward: bool,
) -> Region {
    let Size2 { height, width } = geometry.kernel;
    let channels = [geometry.in_channels, geometry.out_channels].map(|all| all / geometry.groups);
    let [in_channels, out_channels] = if backward {
        [channels[1], channels[0]]
    } else {
        channels
    };
    let len = strategy::packed_len(geometry, backward);
    let constants = [("KERNEL_H", height as f64), ("KERNEL_W", width as f64)];
    let params = RowsParams {
        groups: geometry.groups as u32,
        in_channels: in_channels as u32,
        out_channels: out_channels as u32,
        backward: backward.into(),
    };
    let memory = ("packed weights", weight.format, len);
    let record = |recording: &mut Recording, packed| {
        let (regions, grid) = ([Some(weight), Some(packed)], flat_grid(len / 16));
        recording.dispatch(&PACK_WEIGHT, &constants, &regions, params, grid);
    };
    recording.prepared(&PACK_WEIGHT, (&constants, params), weight, memory, record)
}

/// The weights as the tiled cores read them.
pub(super) fn tiles(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    weight: Region,
    backward: bool,
) -> Region {
    let Size2 { height, width } = geometry.kernel;
    let phases = match backward && Phases::of(geometry).folded() {
        true => geometry.stride,
        false => Size2::ONE,
    };
    let constants = [
        ("KERNEL_H", height as f64),
        ("KERNEL_W", width as f64),
        ("PHASES_H", phases.height as f64),
        ("PHASES_W", phases.width as f64),
        ("BACKWARD", flag(backward)),
    ];
    let params = TilesParams {
        groups: geometry.groups as u32,
        in_channels: (geometry.in_channels / geometry.groups) as u32,
        out_channels: (geometry.out_channels / geometry.groups) as u32,
    };
    let len = strategy::tiled_len(geometry, backward);
    let memory = ("packed weights", weight.format, len);
    let record = |recording: &mut Recording, packed| {
        let (regions, grid) = ([Some(weight), Some(packed)], flat_grid(len / 4));
        recording.dispatch(&PACK_TILES, &constants, &regions, params, grid);
    };
    recording.prepared(&PACK_TILES, (&constants, params), weight, memory, record)
}
