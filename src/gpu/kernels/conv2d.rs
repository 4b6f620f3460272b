//! Convolution: forward, input gradient, weight gradient.

use super::{Gradient, Read, ReadWrite, Recording, Region};
use super::{code, flag, flat_grid, product_grid, reduce};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::folded;
use crate::gpu::strategy;
use crate::op::{Activation, Conv2dGeometry, Size2};

params! {
    /// Channels are those of one group.
    struct Params {
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

params! {
    struct BackwardWeightParams {
        batch: u32,
        groups: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
        parts: u32,
    }
}

params! {
    /// Of the convolution that the rows core runs: for an input gradient, the roles are swapped.
    struct RowsParams {
        batch: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
    }
}

params! {
    struct TapsParams {
        batch: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
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

params! {
    struct PackParams {
        in_channels: u32,
        out_channels: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "conv2d_forward",
    source: source!(
        "conv2d_forward.wgsl",
        "core/product_tiled.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
        "HAS_BIAS",
        "ACTIVATION",
        "A_ALONG_K",
        "B_ALONG_K",
    ],
};

pub(crate) const BACKWARD_INPUT: Kernel = Kernel {
    name: "conv2d_backward_input",
    source: source!(
        "conv2d_backward_input.wgsl",
        "core/product_tiled.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
        "GRADIENT_OF",
        "ACCUMULATE",
        "A_ALONG_K",
        "B_ALONG_K",
    ],
};

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_backward_weight",
    source: source!(
        "conv2d_backward_weight.wgsl",
        "core/product_tiled.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, ReadWrite],
    params: BackwardWeightParams::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
        "A_ALONG_K",
        "B_ALONG_K",
    ],
};

pub(crate) const ROWS: Kernel = Kernel {
    name: "conv2d_rows",
    source: source!(
        "conv2d_rows.wgsl",
        "core/rows.wgsl",
        "core/slide.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: RowsParams::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "PAD_TOP",
        "PAD_LEFT",
        "INPUT_VEC4",
        "OUTPUT_VEC4",
        "EDGE_LOADS",
        "HAS_BIAS",
        "ACTIVATION",
        "GRADIENT_OF",
        "ACCUMULATE",
    ],
};

pub(crate) const BACKWARD_WEIGHT_TAPS: Kernel = Kernel {
    name: "conv2d_backward_weight_taps",
    source: source!(
        "conv2d_backward_weight_taps.wgsl",
        "core/taps.wgsl",
        "core/slide.wgsl"
    ),
    bindings: &[Read, Read, ReadWrite],
    params: TapsParams::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "PAD_TOP",
        "PAD_LEFT",
        "INPUT_VEC4",
        "OUTPUT_VEC4",
    ],
};

pub(crate) const BACKWARD_WEIGHT_SUM: Kernel = Kernel {
    name: "conv2d_backward_weight_sum",
    source: source!("conv2d_backward_weight_sum.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: TapsSumParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W"],
};

pub(crate) const PACK_WEIGHT: Kernel = Kernel {
    name: "conv2d_pack_weight",
    source: source!("conv2d_pack_weight.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite],
    params: PackParams::LAYOUT,
    constants: &["KERNEL_H", "KERNEL_W", "BACKWARD"],
};

/// Rows and columns of C that a workgroup of the tiled core computes.
const TILE: usize = 64;

/// `y = activation(conv(x, w) + b)`.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    activation: Option<Activation>,
    output: Region,
) {
    if strategy::conv2d_by_rows(&recording.traits, geometry) {
        let packed = pack(recording, geometry, weight, false);
        let epilogue = [
            ("HAS_BIAS", flag(bias.is_some())),
            ("ACTIVATION", code(activation)),
        ];
        let [top, _, left, _] = geometry.padding;
        let regions = [Some(input), Some(packed), bias, None, Some(output)];
        rows(
            recording,
            rows_params(geometry),
            geometry.kernel,
            [top, left],
            &epilogue,
            &regions,
        );
        return;
    }
    let mut constants = window_constants(geometry).to_vec();
    constants.extend([
        ("HAS_BIAS", flag(bias.is_some())),
        ("ACTIVATION", code(activation)),
        ("A_ALONG_K", 1.0),
        ("B_ALONG_K", 0.0),
    ]);
    let regions = [Some(input), Some(weight), bias, Some(output)];
    let pixels = geometry.batch * geometry.out_size.area();
    let channels = geometry.out_channels / geometry.groups;
    let grid = product_grid(channels, pixels, geometry.groups, TILE);
    recording.dispatch(&FORWARD, &constants, &regions, params(geometry), grid);
}

/// The gradient with respect to the input, from the gradient with respect to the output.
pub(crate) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [gradient_output, weight]: [Region; 2],
    gradient_input: Gradient,
) {
    let epilogue = gradient_input.constants();
    let (forward, target) = (gradient_input.forward(), Some(gradient_input.region));
    if strategy::conv2d_backward_input_by_rows(&recording.traits, geometry) {
        // At stride 1 the input gradient is itself a convolution of the output gradient, with the
        // flipped filter and a padding that makes up for the first one.
        let packed = pack(recording, geometry, weight, true);
        let [top, _, left, _] = geometry.padding;
        let padding = [
            geometry.kernel.height - 1 - top,
            geometry.kernel.width - 1 - left,
        ];
        let swapped = Conv2dGeometry {
            in_channels: geometry.out_channels,
            in_size: geometry.out_size,
            out_channels: geometry.in_channels,
            out_size: geometry.in_size,
            ..*geometry
        };
        let regions = [Some(gradient_output), Some(packed), None, forward, target];
        rows(
            recording,
            rows_params(&swapped),
            geometry.kernel,
            padding,
            &epilogue,
            &regions,
        );
        return;
    }
    let mut constants = window_constants(geometry).to_vec();
    constants.extend(epilogue);
    constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]);
    let regions = [Some(gradient_output), Some(weight), forward, target];
    let pixels = geometry.batch * geometry.in_size.area();
    let channels = geometry.in_channels / geometry.groups;
    let grid = product_grid(channels, pixels, geometry.groups, TILE);
    recording.dispatch(
        &BACKWARD_INPUT,
        &constants,
        &regions,
        params(geometry),
        grid,
    );
}

/// The gradient with respect to the weights, from the input and the gradient with respect to the
/// output. `planned` is the geometry of the largest batch, which decides how the sum is split.
pub(crate) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    planned: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    if strategy::conv2d_by_rows(&recording.traits, geometry) {
        backward_weight_by_taps(
            recording,
            geometry,
            planned,
            [input, gradient_output],
            gradient_weight,
        );
        return;
    }
    let [out_channels, in_channels, kernel_h, kernel_w] = geometry.weight_shape();
    let (m, n) = (
        out_channels / geometry.groups,
        in_channels * kernel_h * kernel_w,
    );
    let tiles = m.div_ceil(TILE) * n.div_ceil(TILE) * geometry.groups;
    let parts = strategy::weight_gradient_splits(tiles, planned.batch * planned.out_size.area());
    let len = geometry.weight_len();
    let target = match parts {
        1 => gradient_weight,
        _ => recording.transient("weight gradient parts", parts * len),
    };
    let mut constants = window_constants(geometry).to_vec();
    constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]);
    let Params {
        batch,
        groups,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
    } = params(geometry);
    let params = BackwardWeightParams {
        batch,
        groups,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
        parts: parts as u32,
    };
    let regions = [Some(gradient_output), Some(input), Some(target)];
    let grid = product_grid(m, n, geometry.groups * parts, TILE);
    recording.dispatch(&BACKWARD_WEIGHT, &constants, &regions, params, grid);
    if parts > 1 {
        reduce::sum_parts(recording, target, parts, gradient_weight, len);
    }
}

/// The weight gradient by the taps core: partial sums over parts of the output rows, then those in
/// order.
fn backward_weight_by_taps(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    planned: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let Size2 { height, width } = geometry.kernel;
    let taps = if width <= 5 { width } else { 4 };
    let chunks = width.div_ceil(taps);
    let tiles = geometry.out_channels.div_ceil(16) * (geometry.in_channels * height).div_ceil(8);
    let strips = planned.out_size.width.div_ceil(4);
    let rows = |geometry: &Conv2dGeometry| geometry.batch * geometry.out_size.height;
    let splits = strategy::tap_splits(tiles * chunks, rows(planned), strips);
    let sums = splits * chunks * tiles * 16 * taps * 8;
    let partial = recording.transient("weight gradient parts", sums);

    let RowsParams {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
    } = rows_params(geometry);
    let [top, _, left, _] = geometry.padding;
    let size = [("KERNEL_H", height as f64), ("KERNEL_W", width as f64)];
    let mut constants = size.to_vec();
    constants.extend([
        ("PAD_TOP", top as f64),
        ("PAD_LEFT", left as f64),
        ("INPUT_VEC4", flag(in_width.is_multiple_of(4))),
        ("OUTPUT_VEC4", flag(out_width.is_multiple_of(4))),
    ]);
    let params = TapsParams {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
        rows_per_split: rows(geometry).div_ceil(splits) as u32,
    };
    let regions = [Some(gradient_output), Some(input), Some(partial)];
    let grid = [tiles, splits, chunks].map(|extent| extent as u64);
    recording.dispatch(&BACKWARD_WEIGHT_TAPS, &constants, &regions, params, grid);

    let params = TapsSumParams {
        in_channels,
        out_channels,
        splits: splits as u32,
    };
    let regions = [Some(partial), Some(gradient_weight)];
    let grid = flat_grid(geometry.weight_len(), 64);
    recording.dispatch(&BACKWARD_WEIGHT_SUM, &size, &regions, params, grid);
}

/// Convolution by the rows core. The params are those of the convolution that runs.
fn rows(
    recording: &mut Recording,
    params: RowsParams,
    kernel: Size2,
    [top, left]: [usize; 2],
    epilogue: &[(&'static str, f64)],
    regions: &[Option<Region>],
) {
    let mut constants = vec![
        ("KERNEL_H", kernel.height as f64),
        ("KERNEL_W", kernel.width as f64),
        ("PAD_TOP", top as f64),
        ("PAD_LEFT", left as f64),
        ("INPUT_VEC4", flag(params.in_width.is_multiple_of(4))),
        ("OUTPUT_VEC4", flag(params.out_width.is_multiple_of(4))),
        (
            "EDGE_LOADS",
            flag(needs_edge_loads(&params, kernel.width, left)),
        ),
    ];
    constants.extend(epilogue);
    let strips = params.batch * params.out_height * params.out_width.div_ceil(4);
    let [x, y] = folded(strips.div_ceil(8).into());
    let grid = [x, y, params.out_channels.div_ceil(16).into()];
    recording.dispatch(&ROWS, &constants, regions, params, grid);
}

/// Whether a strip of pixels may need a block of the input that no neighbouring lane of its
/// subgroup has loaded: a strip's window then runs across the end of its row or of its subgroup.
fn needs_edge_loads(params: &RowsParams, kernel_width: usize, left: usize) -> bool {
    let strips = params.out_width.div_ceil(4) as usize;
    let shift = (4 - left % 4) % 4;
    let own = usize::from((shift + kernel_width + 6) / 4 == 3);
    let whole_rows = kernel_width <= 5 && 8usize.is_multiple_of(strips);
    let covered = strips + own >= params.in_width.div_ceil(4) as usize + left.div_ceil(4);
    !(whole_rows && covered)
}

/// The filters rearranged as the rows core reads them.
fn pack(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    weight: Region,
    backward: bool,
) -> Region {
    let Size2 { height, width } = geometry.kernel;
    let taps = if width <= 5 {
        width
    } else {
        width.next_multiple_of(4)
    };
    let channels = [geometry.in_channels, geometry.out_channels];
    let [in_channels, out_channels] = if backward {
        [channels[1], channels[0]]
    } else {
        channels
    };
    let rows = out_channels.div_ceil(16) * in_channels * height * taps;
    let packed = recording.transient("packed weights", rows * 16);
    let constants = [
        ("KERNEL_H", height as f64),
        ("KERNEL_W", width as f64),
        ("BACKWARD", flag(backward)),
    ];
    let params = PackParams {
        in_channels: in_channels as u32,
        out_channels: out_channels as u32,
    };
    let regions = [Some(weight), Some(packed)];
    recording.dispatch(
        &PACK_WEIGHT,
        &constants,
        &regions,
        params,
        flat_grid(rows, 64),
    );
    packed
}

fn rows_params(geometry: &Conv2dGeometry) -> RowsParams {
    let Params {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
        ..
    } = params(geometry);
    RowsParams {
        batch,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
    }
}

fn params(geometry: &Conv2dGeometry) -> Params {
    Params {
        batch: geometry.batch as u32,
        groups: geometry.groups as u32,
        in_channels: (geometry.in_channels / geometry.groups) as u32,
        in_height: geometry.in_size.height as u32,
        in_width: geometry.in_size.width as u32,
        out_channels: (geometry.out_channels / geometry.groups) as u32,
        out_height: geometry.out_size.height as u32,
        out_width: geometry.out_size.width as u32,
    }
}

fn window_constants(geometry: &Conv2dGeometry) -> [(&'static str, f64); 8] {
    let [top, _, left, _] = geometry.padding;
    super::window_constants(
        geometry.kernel,
        geometry.stride,
        [top, left],
        geometry.dilation,
    )
}
