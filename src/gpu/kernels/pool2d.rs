//! Pooling.

use super::pool2d_large::{LARGEST_WINDOW, avg_large, max_large, window_parts};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, softmax};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::{Pool2dGeometry, Size2, SoftmaxGeometry};

params! {
    struct Params {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
    }
}

params! {
    struct BackwardParams {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        row_begin: u32,
        row_end: u32,
    }
}

params! {
    struct SoftmaxParams {
        planes: u32,
        len: u32,
    }
}

pub(crate) const MAX_FORWARD: Kernel = Kernel {
    name: "pool2d_max_forward",
    source: source!("pool2d_max_forward.wgsl"),
    blocks: &[&blocks::WINDOW, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &["PAIRS"],
};

pub(crate) const MAX_BACKWARD: Kernel = Kernel {
    name: "pool2d_max_backward",
    source: source!("pool2d_max_backward.wgsl"),
    blocks: &[&blocks::WINDOW, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(2, "Saved"), (3, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &["PAIRS"],
};

pub(crate) const AVG_FORWARD: Kernel = Kernel {
    name: "pool2d_avg_forward",
    source: source!("pool2d_avg_forward.wgsl"),
    blocks: &[&blocks::MEAN_WINDOW, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const AVG_BACKWARD: Kernel = Kernel {
    name: "pool2d_avg_backward",
    source: source!("pool2d_avg_backward.wgsl"),
    blocks: &[&blocks::MEAN_WINDOW, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(1, "Saved"), (2, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const SOFTMAX_FORWARD: Kernel = Kernel {
    name: "pool2d_softmax_forward",
    source: source!("pool2d_softmax_forward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: SoftmaxParams::LAYOUT,
    constants: &[],
};

pub(crate) const SOFTMAX_BACKWARD: Kernel = Kernel {
    name: "pool2d_softmax_backward",
    source: source!("pool2d_softmax_backward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Pooled"), (4, "Saved"), (5, "Output")],
    params: SoftmaxParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &MAX_FORWARD,
    &MAX_BACKWARD,
    &AVG_FORWARD,
    &AVG_BACKWARD,
    &SOFTMAX_FORWARD,
    &SOFTMAX_BACKWARD,
];

/// The maximum of each window, or an activation of it, and its place in the input plane.
pub(crate) fn max_forward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    input: Region,
    output: Output,
    argmax: Region,
) {
    let parts = window_parts(recording, geometry);
    if parts > 0 {
        return max_large(recording, geometry, parts, input, output, argmax);
    }
    let Pool2dGeometry {
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        ..
    } = *geometry;
    let whole = in_size.width.is_multiple_of(4) && out_size.width.is_multiple_of(4);
    let inside = padding == [0; 4] && in_size.width == 2 * out_size.width;
    let pairs = whole && inside && kernel.width == 2 && stride.width == 2;
    let pairs = pairs && geometry.dilation.width == 1;
    let mut constants = window_constants(geometry).to_vec();
    constants.push(("PAIRS", flag(pairs)));
    constants.extend(output.activation_constants(recording));
    let regions = [Some(input), Some(output.region), Some(argmax)];
    recording.iterations(kernel.area() + kernel.height);
    let grid = flat_grid(geometry.planes * out_size.height * out_size.width.div_ceil(4));
    recording.dispatch(&MAX_FORWARD, &constants, &regions, params(geometry), grid);
}

/// Each maximum's gradient at its place, those of overlapping windows added.
pub(crate) fn max_backward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    [gradient_output, argmax]: [Region; 2],
    output: Output,
) {
    let Pool2dGeometry {
        planes,
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        ..
    } = *geometry;
    let two = Size2::from(2);
    let twice = Size2 {
        height: 2 * out_size.height,
        width: 2 * out_size.width,
    };
    let pairs = [kernel, stride] == [two, two] && padding == [0; 4] && in_size == twice;
    let pairs = pairs && geometry.dilation == Size2::ONE && out_size.width.is_multiple_of(4);
    let mut constants = window_constants(geometry).to_vec();
    constants.push(("PAIRS", flag(pairs)));
    constants.extend(output.constants(recording));
    let regions = [
        Some(gradient_output),
        Some(argmax),
        output.saved(),
        Some(output.region),
    ];
    let strips = if pairs {
        planes * out_size.height * out_size.width / 4
    } else {
        planes * in_size.height * in_size.width.div_ceil(4)
    };
    let grid = flat_grid(strips);
    if pairs {
        let params = BackwardParams::of(params(geometry), [0, out_size.height]);
        recording.dispatch(&MAX_BACKWARD, &constants, &regions, params, grid);
        return;
    }
    // A strip's four positions reach some more windows than one does.
    let reach = |kernel: usize, dilation: usize| (kernel - 1) * dilation + 1;
    let covering = Size2 {
        height: reach(kernel.height, geometry.dilation.height).div_ceil(stride.height),
        width: (reach(kernel.width, geometry.dilation.width) + 3).div_ceil(stride.width),
    };
    let kernel = (&MAX_BACKWARD, constants);
    by_window_rows(recording, geometry, covering, kernel, &regions, grid);
}

/// Windows that an invocation gathers gradients from at most, with a turn for each row of them.
pub(super) const MOST_WINDOWS: usize = 4096;

/// A gathering of gradients from windows, of which at most `covering` reach a position, or a strip of them:
/// in several dispatches where an invocation would take too many.
fn by_window_rows(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    covering: Size2,
    (kernel, mut constants): (&'static Kernel, Vec<(&'static str, f64)>),
    regions: &[Option<Region>],
    grid: [u64; 3],
) {
    let Size2 { height, width } = geometry.out_size;
    let of_row = 1 + covering.width.min(width);
    let rows = match covering.height.min(height) * of_row {
        ..=MOST_WINDOWS => height,
        _ => (MOST_WINDOWS / of_row).max(1),
    };
    for begin in (0..height).step_by(rows) {
        let end = (begin + rows).min(height);
        recording.iterations(covering.height.min(end - begin) * of_row);
        let params = BackwardParams::of(params(geometry), [begin, end]);
        recording.dispatch(kernel, &constants, regions, params, grid);
        for (name, value) in &mut constants {
            if *name == "ACCUMULATE" {
                *value = flag(true);
            }
        }
    }
}

/// The mean of each window, or an activation of it.
pub(crate) fn avg_forward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    count_padding: bool,
    input: Region,
    output: Output,
) {
    let parts = window_parts(recording, geometry);
    let mut constants = mean_constants(geometry, count_padding).to_vec();
    if parts > 0 {
        return avg_large(recording, geometry, (parts, constants), input, output);
    }
    constants.extend(output.activation_constants(recording));
    let regions = [Some(input), Some(output.region)];
    recording.iterations(geometry.kernel.area() + geometry.kernel.height);
    let grid = flat_grid(geometry.output_len());
    recording.dispatch(&AVG_FORWARD, &constants, &regions, params(geometry), grid);
}

/// Each mean's gradient, shared out over its window.
pub(crate) fn avg_backward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    count_padding: bool,
    gradient_output: Region,
    output: Output,
) {
    let mut constants = mean_constants(geometry, count_padding).to_vec();
    constants.extend(output.constants(recording));
    let regions = [Some(gradient_output), output.saved(), Some(output.region)];
    let grid = flat_grid(geometry.input_len());
    let covering = Size2 {
        height: geometry.kernel.height.div_ceil(geometry.stride.height),
        width: geometry.kernel.width.div_ceil(geometry.stride.width),
    };
    let kernel = (&AVG_BACKWARD, constants);
    by_window_rows(recording, geometry, covering, kernel, &regions, grid);
}

/// Each plane's mean weighted with its softmax, and the statistics `(planes, 2)` of the softmax.
pub(crate) fn softmax_forward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    input: Region,
    [output, statistics]: [Region; 2],
) {
    let len = geometry.in_size.area();
    let parts = recording.parts(|| match len {
        ..=LARGEST_WINDOW => 0,
        _ => strategy::group_parts(geometry.planes, len),
    });
    if parts > 0 {
        let lines = SoftmaxGeometry {
            outer: geometry.planes,
            extent: len,
            inner: 1,
        };
        softmax::statistics(recording, &lines, parts, input, statistics, Some(output));
        return;
    }
    let regions = [Some(input), Some(output), Some(statistics)];
    recording.iterations(2 * len);
    let grid = flat_grid(geometry.planes);
    recording.dispatch(
        &SOFTMAX_FORWARD,
        &[],
        &regions,
        softmax_params(geometry),
        grid,
    );
}

/// The gradient of that pooling.
pub(crate) fn softmax_backward(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    read: [Region; 4],
    output: Output,
) {
    let [input, pooled, statistics, gradient_output] = read.map(Some);
    let regions = [
        input,
        pooled,
        statistics,
        gradient_output,
        output.saved(),
        Some(output.region),
    ];
    let (constants, params) = (output.constants(recording), softmax_params(geometry));
    let grid = flat_grid(geometry.input_len());
    recording.dispatch(&SOFTMAX_BACKWARD, &constants, &regions, params, grid);
}

impl Params {
    /// Of pooling from planes of one size to those of another.
    pub(super) fn of(planes: usize, from: Size2, to: Size2) -> Self {
        Self {
            planes: planes as u32,
            in_height: from.height as u32,
            in_width: from.width as u32,
            out_height: to.height as u32,
            out_width: to.width as u32,
        }
    }
}

impl BackwardParams {
    /// Of a dispatch that takes the windows of these rows.
    pub(super) fn of(params: Params, rows: [usize; 2]) -> Self {
        let Params {
            planes,
            in_height,
            in_width,
            out_height,
            out_width,
        } = params;
        let [row_begin, row_end] = rows.map(|row| row as u32);
        Self {
            planes,
            in_height,
            in_width,
            out_height,
            out_width,
            row_begin,
            row_end,
        }
    }
}

pub(super) fn params(geometry: &Pool2dGeometry) -> Params {
    Params::of(geometry.planes, geometry.in_size, geometry.out_size)
}

fn softmax_params(geometry: &Pool2dGeometry) -> SoftmaxParams {
    SoftmaxParams {
        planes: geometry.planes as u32,
        len: geometry.in_size.area() as u32,
    }
}

pub(super) fn window_constants(geometry: &Pool2dGeometry) -> [(&'static str, f64); 8] {
    let [top, _, left, _] = geometry.padding;
    super::window_constants(
        geometry.kernel,
        geometry.stride,
        [top, left],
        geometry.dilation,
    )
}

fn mean_constants(geometry: &Pool2dGeometry, count_padding: bool) -> [(&'static str, f64); 9] {
    let Pool2dGeometry {
        kernel,
        stride,
        padding,
        ..
    } = *geometry;
    let [top, bottom, left, right] = padding.map(|extent| extent as f64);
    [
        ("KERNEL_H", kernel.height as f64),
        ("KERNEL_W", kernel.width as f64),
        ("STRIDE_H", stride.height as f64),
        ("STRIDE_W", stride.width as f64),
        ("PAD_TOP", top),
        ("PAD_BOTTOM", bottom),
        ("PAD_LEFT", left),
        ("PAD_RIGHT", right),
        ("COUNT_PADDING", flag(count_padding)),
    ]
}
