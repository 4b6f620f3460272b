//! Convolution with any stride and dilation by strips of pixels, for subgroups of 8: the cores `strided`
//! and `strided_taps`.

use super::conv2d_pack;
use super::conv2d_rows::{self, RowsParams, TapsParams, half, rows_params, weight_sums};
use super::pixel_shuffle::{Towards, shuffle_and_add};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, group_grid, whole_vectors, window_constants};
use crate::gpu::kernel::{Kernel, Params as _, source};
use crate::gpu::strategy::{self, Traits};
use crate::gpu::work::{period, taps_of_phase};
use crate::op::{Conv2dGeometry, PixelShuffleGeometry, Size2};

pub(crate) const STRIDED: Kernel = Kernel {
    name: "conv2d_strided",
    source: source!("conv2d_strided.wgsl"),
    blocks: &[&blocks::STRIDED, &blocks::EPILOGUE4],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Packed"), (3, "Saved"), (4, "Output")],
    params: RowsParams::LAYOUT,
    constants: &[
        "KERNEL_H",
        "KERNEL_W",
        "STRIDE_H",
        "STRIDE_W",
        "PAD_TOP",
        "PAD_LEFT",
        "DILATION_H",
        "DILATION_W",
        "BACKWARD",
        "WIDE",
        "OUTPUT_VEC4",
    ],
};

pub(crate) const STRIDED_TAPS: Kernel = Kernel {
    name: "conv2d_strided_taps",
    source: source!("conv2d_strided_taps.wgsl"),
    blocks: &[&blocks::STRIDED_TAPS],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Input")],
    params: TapsParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&STRIDED, &STRIDED_TAPS];

/// `y = conv(x, w) + b` through the output's epilogue.
pub(super) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let packed = conv2d_pack::rows(recording, geometry, weight, false);
    let inputs = [input, packed];
    strided(recording, geometry, false, inputs, bias, output);
}

/// The input gradient, as a convolution of the output gradient with the flipped filter.
pub(super) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [gradient_output, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    if let Some((rows, shuffle)) = patches(&recording.traits, geometry) {
        let len = geometry.input_len();
        let patches = recording.transient("gradients of patches", len);
        let inputs = [gradient_output, weight];
        conv2d_rows::backward_input(recording, &rows, inputs, None, patches.into());
        let bias = (bias, geometry.in_channels);
        shuffle_and_add(recording, &shuffle, Towards::Pixels, patches, bias, output);
        return;
    }
    let packed = conv2d_pack::rows(recording, geometry, weight, true);
    let inputs = [gradient_output, packed];
    strided(recording, &geometry.swapped(), true, inputs, bias, output);
}

/// Where the filter covers each pixel once, as it cuts an image of few channels into patches: the convolution of one
/// tap whose channels are the pixels of a patch, and what lays these out. All of a tile is in use there; with more
/// channels it is so anyway, and laying them out takes longer.
fn patches(
    traits: &Traits,
    geometry: &Conv2dGeometry,
) -> Option<(Conv2dGeometry, PixelShuffleGeometry)> {
    let Conv2dGeometry {
        batch,
        groups,
        in_channels,
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = *geometry;
    let covered = [
        in_channels <= 8 * groups,
        kernel.height == kernel.width && kernel == stride && dilation == Size2::ONE,
        padding == [0; 4],
        in_size.height == out_size.height * stride.height,
        in_size.width == out_size.width * stride.width,
    ];
    let channels = in_channels.checked_mul(kernel.area())?;
    let tiles = groups * (channels / groups).div_ceil(16);
    if covered.contains(&false) || tiles > traits.max_workgroups as usize {
        return None;
    }
    let rows = Conv2dGeometry {
        in_channels: channels,
        in_size: out_size,
        kernel: Size2::ONE,
        stride: Size2::ONE,
        ..*geometry
    };
    let shuffle = PixelShuffleGeometry {
        planes: batch * in_channels,
        size: out_size,
        factor: kernel.height,
    };
    Some((rows, shuffle))
}

/// The strided core on a geometry as it runs, with packed weights.
fn strided(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    backward: bool,
    [input, packed]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let Conv2dGeometry {
        batch,
        groups,
        in_channels,
        out_channels,
        out_size,
        kernel,
        stride,
        ..
    } = *geometry;
    let (step, period) = match backward {
        true => (stride, period(geometry)),
        false => (Size2::ONE, Size2::ONE),
    };
    let [in_channels, out_channels] = [in_channels, out_channels].map(|all| all / groups);
    let wide = out_channels > 16;
    let mut constants = window(geometry, backward).to_vec();
    constants.extend([
        ("BACKWARD", flag(backward)),
        ("PERIOD_H", period.height as f64),
        ("PERIOD_W", period.width as f64),
        ("WIDE", flag(wide)),
        ("HALF", half(geometry)),
        ("HAS_BIAS", flag(bias.is_some())),
    ]);
    let whole = if step.width == 1 {
        whole_vectors(out_size.width)
    } else {
        0.0
    };
    constants.push(("OUTPUT_VEC4", whole));
    constants.extend(output.constants(recording));
    let regions = [
        Some(input),
        Some(packed),
        bias,
        output.saved(),
        Some(output.region),
    ];
    let rows = batch * out_size.height.div_ceil(step.height);
    let strips = rows * out_size.width.div_ceil(4 * step.width);
    let [x, y, _] = group_grid(step.area() * strips.div_ceil(8));
    let channels = if wide { 32 } else { 16 };
    let grid = [x, y, (groups * out_channels.div_ceil(channels)) as u64];
    // A turn for each tap of a phase.
    let sums = in_channels * taps_of_phase(kernel, period);
    recording.iterations(strategy::strided_iterations(geometry, sums));
    let params = rows_params(geometry);
    recording.dispatch(&STRIDED, &constants, &regions, params, grid);
    recording.flops(geometry.flops());
}

/// The window as the core walks it: for an input gradient, that of the flipped filter.
fn window(geometry: &Conv2dGeometry, backward: bool) -> [(&'static str, f64); 8] {
    let Conv2dGeometry {
        kernel,
        stride,
        dilation,
        padding: [top, _, left, _],
        ..
    } = *geometry;
    let mut constants = window_constants(kernel, stride, [top, left], dilation);
    if backward {
        let reach = |kernel: usize, dilation: usize| ((kernel - 1) * dilation) as f64;
        for (name, value) in &mut constants {
            match *name {
                "PAD_TOP" => *value = reach(kernel.height, dilation.height) - *value,
                "PAD_LEFT" => *value = reach(kernel.width, dilation.width) - *value,
                _ => {}
            }
        }
    }
    constants
}

/// The weight gradient, as partial sums and their sum, and a bias's on the way. Gives the
/// bias's place if its gradient is yet to be made.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    to: (Region, Option<Region>),
) -> Option<Region> {
    let mut constants = window(geometry, false).to_vec();
    constants.push(("OUTPUT_VEC4", whole_vectors(geometry.out_size.width)));
    constants.push(("HALF", half(geometry)));
    let kernel = (&STRIDED_TAPS, &constants[..]);
    weight_sums(recording, geometry, kernel, inputs, to)
}
