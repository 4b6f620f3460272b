//! Depthwise convolution by strips of columns: the core `depthwise`.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, reduce, whole_vectors, window_constants};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::{Conv2dGeometry, Size2};

params! {
    /// Of the operation that runs: for an input gradient, the roles are swapped.
    struct Params {
        planes: u32,
        channels: u32,
        multiplier: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        rows: u32,
        segments: u32,
    }
}

params! {
    struct WeightParams {
        batch: u32,
        channels: u32,
        multiplier: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        rows: u32,
        segments: u32,
        parts: u32,
    }
}

/// A kernel over one of the cores: the name of its shader, to which that of the core is added.
macro_rules! over {
    ($name:literal, $source:literal, $core:ident, $epilogue:ident) => {
        Kernel {
            name: $name,
            source: source!($source),
            blocks: &[&blocks::$core, &blocks::$epilogue],
            bindings: &[Read, Read, Read, Read, ReadWrite],
            formats: &[(0, "Input"), (1, "Weight"), (3, "Saved"), (4, "Output")],
            params: Params::LAYOUT,
            constants: &["HAS_BIAS"],
        }
    };
}

pub(crate) const FORWARD: Kernel = over!(
    "conv2d_depthwise_forward",
    "conv2d_depthwise.wgsl",
    DEPTHWISE_FORWARD,
    EPILOGUE4
);
pub(crate) const BACKWARD_INPUT: Kernel = over!(
    "conv2d_depthwise_backward_input",
    "conv2d_depthwise.wgsl",
    DEPTHWISE_BACKWARD_INPUT,
    EPILOGUE4
);
pub(crate) const ODD_FORWARD: Kernel = over!(
    "conv2d_depthwise_odd_forward",
    "conv2d_depthwise_odd.wgsl",
    DEPTHWISE_FORWARD,
    EPILOGUE
);
pub(crate) const ODD_BACKWARD_INPUT: Kernel = over!(
    "conv2d_depthwise_odd_backward_input",
    "conv2d_depthwise_odd.wgsl",
    DEPTHWISE_BACKWARD_INPUT,
    EPILOGUE
);

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_depthwise_backward_weight",
    source: source!("conv2d_depthwise_backward_weight.wgsl"),
    blocks: &[&blocks::STRIP_TAPS, &blocks::FILTER],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Input")],
    params: WeightParams::LAYOUT,
    constants: &["OUTPUT_VEC4"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &FORWARD,
    &BACKWARD_INPUT,
    &ODD_FORWARD,
    &ODD_BACKWARD_INPUT,
    &BACKWARD_WEIGHT,
];

/// `y = conv(x, w) + b` through the output's epilogue.
pub(super) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let kernels = [&FORWARD, &ODD_FORWARD];
    let rows = geometry.out_size.height;
    walk(
        recording,
        geometry,
        (kernels, 1, rows),
        inputs,
        bias,
        output,
    );
}

/// The input gradient, from the gradient of the output.
pub(super) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let kernels = [&BACKWARD_INPUT, &ODD_BACKWARD_INPUT];
    let (stride, [top, ..]) = (geometry.stride, geometry.padding);
    // A row of the gradient completes a stride's rows, of which the first may lie above the image.
    let rows = (geometry.in_size.height + top % stride.height).div_ceil(stride.height);
    let how = (kernels, stride.width, rows);
    walk(recording, &geometry.swapped(), how, inputs, bias, output);
}

/// Either of the two on a geometry as it runs: with a kernel for rows of whole vectors and one for any, so
/// many vectors to a strip, and so many turns down a column.
fn walk(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    ([whole, odd], vectors, rows): ([&'static Kernel; 2], usize, usize),
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let Conv2dGeometry {
        batch,
        in_channels,
        in_size,
        out_channels,
        out_size,
        kernel,
        ..
    } = *geometry;
    let planes = batch * out_channels;
    let Segments {
        strips,
        rows,
        segments,
    } = Segments::of(recording, geometry, (vectors, rows), LONGEST);
    let kernel_of = if whole_output(geometry) { whole } else { odd };
    let mut constants = window(geometry).to_vec();
    constants.push(("HAS_BIAS", flag(bias.is_some())));
    constants.extend(output.constants(recording));
    let regions = [
        Some(input),
        Some(weight),
        bias,
        output.saved(),
        Some(output.region),
    ];
    let params = Params {
        planes: planes as u32,
        channels: out_channels as u32,
        multiplier: (out_channels / in_channels) as u32,
        in_height: in_size.height as u32,
        in_width: in_size.width as u32,
        out_height: out_size.height as u32,
        out_width: out_size.width as u32,
        rows: rows as u32,
        segments: segments as u32,
    };
    recording.iterations(rows + kernel.height);
    let grid = flat_grid(planes * segments * strips);
    recording.dispatch(kernel_of, &constants, &regions, params, grid);
    recording.flops(geometry.flops());
}

/// The weight gradient: sums of the segments that an invocation takes, then those in order.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let Conv2dGeometry {
        batch,
        in_channels,
        in_size,
        out_channels,
        out_size,
        ..
    } = *geometry;
    let traits = recording.traits;
    let Segments {
        strips,
        rows,
        segments,
    } = Segments::of(recording, geometry, (1, out_size.height), SUMMED);
    let (units, len) = (batch * segments * strips, geometry.weight_len());
    let parts = recording.parts(|| strategy::segment_parts(&traits, out_channels, len, units));
    let target = match parts {
        1 => gradient_weight,
        _ => recording.transient("weight gradient parts", parts * len),
    };
    let mut constants = window(geometry).to_vec();
    constants.push(("OUTPUT_VEC4", flag(whole_output(geometry))));
    let params = WeightParams {
        batch: batch as u32,
        channels: out_channels as u32,
        multiplier: (out_channels / in_channels) as u32,
        in_height: in_size.height as u32,
        in_width: in_size.width as u32,
        out_height: out_size.height as u32,
        out_width: out_size.width as u32,
        rows: rows as u32,
        segments: segments as u32,
        parts: parts as u32,
    };
    recording.iterations(units.div_ceil(parts) * (rows + geometry.kernel.height + 1));
    let regions = [Some(gradient_output), Some(input), Some(target)];
    let grid = flat_grid(out_channels * parts);
    recording.dispatch(&BACKWARD_WEIGHT, &constants, &regions, params, grid);
    recording.flops(geometry.flops());
    if parts > 1 {
        let to = gradient_weight.into();
        reduce::sum_parts(recording, target, parts, [1, len, 1], None, to);
    }
}

/// What the invocations share a plane of the output by.
struct Segments {
    /// Strips side by side.
    strips: usize,
    /// Rows of a segment of a strip.
    rows: usize,
    /// Segments of a strip.
    segments: usize,
}

impl Segments {
    /// With strips of so many vectors, that take so many turns down a column, and segments of `longest` rows at
    /// most. Dilated rows and columns are walked apart.
    fn of(
        recording: &mut Recording,
        geometry: &Conv2dGeometry,
        (vectors, turns): (usize, usize),
        longest: usize,
    ) -> Self {
        let Size2 { height, width } = geometry.dilation;
        let strips = geometry.out_size.width.div_ceil(4 * vectors * width) * width;
        let turns = turns.div_ceil(height);
        let lanes = geometry.batch * geometry.out_channels * strips * height;
        let traits = recording.traits;
        let split = recording.parts(|| strategy::segments(&traits, lanes, turns, longest));
        Self {
            strips,
            rows: turns.div_ceil(split),
            segments: split * height,
        }
    }
}

/// Whether a strip's results are whole vectors of memory.
fn whole_output(geometry: &Conv2dGeometry) -> bool {
    geometry.out_size.width.is_multiple_of(4) && geometry.dilation.width == 1
}

/// Rows of a segment at most: for a driver's loops, which may make 17 turns for each, and for the digits of a sum.
const LONGEST: usize = 2048;
const SUMMED: usize = 32;

/// The window, and whether the strips of the input begin at whole vectors.
fn window(geometry: &Conv2dGeometry) -> Vec<(&'static str, f64)> {
    let Conv2dGeometry {
        kernel,
        stride,
        padding: [top, _, left, _],
        dilation,
        in_size: Size2 { width, .. },
        ..
    } = *geometry;
    let mut constants = window_constants(kernel, stride, [top, left], dilation).to_vec();
    let whole = if dilation.width == 1 {
        whole_vectors(width)
    } else {
        0.0
    };
    constants.push(("INPUT_VEC4", whole));
    constants
}
