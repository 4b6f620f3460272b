//! Convolution at stride 1 by rows of pixels, for subgroups of 8: the cores `rows` and `taps`. What
//! `conv2d_strided` has in common with them is here too.

use super::conv2d::{conv2d_params, extents};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, conv2d_pack, flag, group_grid, reduce, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, row_taps};
use crate::op::{Conv2dGeometry, Size2};

params! {
    /// Of the convolution that the rows core runs: for an input gradient, the roles are swapped. Channels are
    /// those of one group.
    struct RowsParams {
        batch: u32,
        groups: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
    }
}

conv2d_params! {
    struct TapsParams {
        rows_per_split: u32,
    }
}

params! {
    struct TapsSumParams {
        in_channels: u32,
        out_channels: u32,
        splits: u32,
    }
}

pub(crate) const ROWS: Kernel = Kernel {
    name: "conv2d_rows",
    source: source!("conv2d_rows.wgsl"),
    blocks: &[&blocks::ROWS, &blocks::EPILOGUE4],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Packed"), (3, "Saved"), (4, "Output")],
    params: RowsParams::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "PAD_TOP",
        "PAD_LEFT",
        "INPUT_VEC4",
        "OUTPUT_VEC4",
        "EDGE_LOADS",
    ],
};

pub(crate) const BACKWARD_WEIGHT_TAPS: Kernel = Kernel {
    name: "conv2d_backward_weight_taps",
    source: source!("conv2d_backward_weight_taps.wgsl"),
    blocks: &[&blocks::TAPS],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Input")],
    params: TapsParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W", "PAD_TOP", "PAD_LEFT", "INPUT_VEC4"],
};

pub(crate) const BACKWARD_WEIGHT_SUM: Kernel = Kernel {
    name: "conv2d_backward_weight_sum",
    source: source!("conv2d_backward_weight_sum.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[],
    params: TapsSumParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W", "ROW_SUMS"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&ROWS, &BACKWARD_WEIGHT_TAPS, &BACKWARD_WEIGHT_SUM];

/// `y = conv(x, w) + b` through the output's epilogue.
pub(super) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let packed = conv2d_pack::rows(recording, geometry, weight, false);
    let [top, _, left, _] = geometry.padding;
    rows(
        recording,
        geometry,
        [top, left],
        [input, packed],
        bias,
        output,
    );
}

/// The input gradient, which at stride 1 is itself a convolution of the output gradient: with the
/// flipped filter, and a padding that makes up for the first one.
pub(super) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [gradient_output, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let packed = conv2d_pack::rows(recording, geometry, weight, true);
    let [top, _, left, _] = geometry.padding;
    let padding = [
        geometry.kernel.height - 1 - top,
        geometry.kernel.width - 1 - left,
    ];
    rows(
        recording,
        &geometry.swapped(),
        padding,
        [gradient_output, packed],
        bias,
        output,
    );
}

/// The rows core on a geometry as it runs, with packed weights.
fn rows(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [top, left]: [usize; 2],
    [input, packed]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let Conv2dGeometry {
        batch,
        in_size,
        in_channels,
        out_size,
        kernel,
        ..
    } = *geometry;
    let mut constants = vec![
        ("KERNEL_H", kernel.height as f64),
        ("KERNEL_W", kernel.width as f64),
        ("PAD_TOP", top as f64),
        ("PAD_LEFT", left as f64),
        ("INPUT_VEC4", whole_vectors(in_size.width)),
        ("OUTPUT_VEC4", whole_vectors(out_size.width)),
        ("HALF", half(geometry)),
        ("EDGE_LOADS", flag(needs_edge_loads(geometry, left))),
        ("HAS_BIAS", flag(bias.is_some())),
    ];
    constants.extend(output.constants(recording));
    let regions = [
        Some(input),
        Some(packed),
        bias,
        output.saved(),
        Some(output.region),
    ];
    let strips = batch * out_size.height * out_size.width.div_ceil(4);
    let [x, y, _] = group_grid(strips.div_ceil(8));
    let grid = [x, y, tiles(geometry) as u64];
    let channels = in_channels / geometry.groups;
    recording.iterations(strategy::rows_iterations(channels, kernel));
    recording.dispatch(&ROWS, &constants, &regions, rows_params(geometry), grid);
    recording.flops(geometry.flops());
}

/// Whether a strip of pixels may need a block of the input that no neighbouring lane of its
/// subgroup has loaded: a strip's window then runs across the end of its row or of its subgroup.
pub(super) fn needs_edge_loads(geometry: &Conv2dGeometry, left: usize) -> bool {
    let width = geometry.kernel.width;
    let strips = geometry.out_size.width.div_ceil(4);
    let shift = (4 - left % 4) % 4;
    let own = usize::from((shift + width + 6) / 4 == 3);
    let whole_rows = width <= 5 && 8usize.is_multiple_of(strips);
    let covered = strips + own >= geometry.in_size.width.div_ceil(4) + left.div_ceil(4);
    !(whole_rows && covered)
}

/// The weight gradient by the taps core, and a bias's on the way. Gives the bias's place if its gradient is yet to be made.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    to: (Region, Option<Region>),
) -> Option<Region> {
    let [top, _, left, _] = geometry.padding;
    let constants = [
        ("HALF", half(geometry)),
        ("KERNEL_H", geometry.kernel.height as f64),
        ("KERNEL_W", geometry.kernel.width as f64),
        ("PAD_TOP", top as f64),
        ("PAD_LEFT", left as f64),
        ("INPUT_VEC4", whole_vectors(geometry.in_size.width)),
        ("OUTPUT_VEC4", whole_vectors(geometry.out_size.width)),
    ];
    let kernel = (&BACKWARD_WEIGHT_TAPS, &constants[..]);
    weight_sums(recording, geometry, kernel, inputs, to)
}

/// The weight gradient by a kernel with its constants, and a bias's: partial sums over parts of the output
/// rows, then those in order. Gives the bias's place where a buffer has no room for its sums.
pub(super) fn weight_sums(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    (kernel, constants): (&'static Kernel, &[(&'static str, f64)]),
    [input, gradient_output]: [Region; 2],
    (gradient_weight, gradient_bias): (Region, Option<Region>),
) -> Option<Region> {
    let Size2 { height, width } = geometry.kernel;
    let chunks = width.div_ceil(row_taps(width));
    let [row_tiles, channel_tiles] = strategy::tap_tiles(geometry);
    let tiles = row_tiles * channel_tiles;
    let strips = geometry.out_size.width.div_ceil(4);
    let rows = geometry.batch * geometry.out_size.height;
    let sums = strategy::tap_sums(geometry);
    let most = recording.traits.holds(sums);
    let splits = recording.parts(|| strategy::tap_splits(geometry, tiles * chunks, most));
    // Behind the sums of each split lie those of the gradient itself, by tiles of 16 channels.
    let with_gradients = sums + channel_tiles * 16;
    let room = splits <= recording.traits.holds(with_gradients);
    let bias_now = gradient_bias.filter(|_| room);
    let summed = bias_now.map(|_| ("ROW_SUMS", flag(true)));
    let sums = summed.map_or(sums, |_| with_gradients);
    let partial = recording.transient("weight gradient parts", splits * sums);

    let rows_per_split = rows.div_ceil(splits);
    let params = TapsParams {
        rows_per_split: rows_per_split as u32,
        ..TapsParams::of(geometry)
    };
    let regions = [Some(gradient_output), Some(input), Some(partial)];
    let grid = [tiles, splits, chunks].map(|extent| extent as u64);
    recording.iterations(rows_per_split * (2 + strips));
    let constants: Vec<_> = constants.iter().copied().chain(summed).collect();
    recording.dispatch(kernel, &constants, &regions, params, grid);
    recording.flops(geometry.flops());

    let (partial, splits) = reduce::fewer_slabs(recording, partial, splits, sums);
    let params = TapsSumParams {
        in_channels: params.in_channels,
        out_channels: params.out_channels,
        splits: splits as u32,
    };
    let regions = [Some(partial), Some(gradient_weight), bias_now];
    let turns = row_taps(width).div_ceil(2) + summed.iter().len();
    recording.iterations((splits + splits.div_ceil(16)) * turns);
    let size = [("KERNEL_H", height as f64), ("KERNEL_W", width as f64)];
    let constants: Vec<_> = size.into_iter().chain(summed).collect();
    let grid = [row_tiles, channel_tiles, chunks].map(|extent| extent as u64);
    recording.dispatch(&BACKWARD_WEIGHT_SUM, &constants, &regions, params, grid);
    gradient_bias.filter(|_| !room)
}

/// Tiles of 16 channels that a convolution writes, in all groups.
fn tiles(geometry: &Conv2dGeometry) -> usize {
    geometry.groups * (geometry.out_channels / geometry.groups).div_ceil(16)
}

/// Whether no group fills more than half of such a tile.
pub(super) fn half(geometry: &Conv2dGeometry) -> f64 {
    flag(geometry.out_channels / geometry.groups <= 8)
}

#[rustfmt::skip]
pub(super) fn rows_params(geometry: &Conv2dGeometry) -> RowsParams {
    let [batch, groups, in_channels, in_height, in_width, out_channels, out_height, out_width] = extents(geometry);
    RowsParams { batch, groups, in_channels, in_height, in_width, out_channels, out_height, out_width }
}
