//! Pooling to a size. What is ordinary pooling goes to the kernels of that.

use super::pool2d::{BackwardParams, Params};
use super::pool2d_large::{LargeParams, max_total, parts_of};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flat_grid, group_grid, pool2d, reduce};
use crate::gpu::kernel::{Kernel, Params as _, source};
use crate::gpu::strategy::group_iterations;
use crate::op::AdaptivePool2dGeometry;

pub(crate) const AVG_FORWARD: Kernel = Kernel {
    name: "adaptive_pool2d_avg_forward",
    source: source!("adaptive_pool2d_avg_forward.wgsl"),
    blocks: &[&blocks::ADAPTIVE_WINDOW, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const MAX_FORWARD: Kernel = Kernel {
    name: "adaptive_pool2d_max_forward",
    source: source!("adaptive_pool2d_max_forward.wgsl"),
    blocks: &[
        &blocks::ADAPTIVE_WINDOW,
        &blocks::BEST,
        &blocks::ACTIVATION,
        &blocks::FLAT,
    ],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const AVG_LARGE: Kernel = Kernel {
    name: "adaptive_pool2d_avg_large",
    source: source!("adaptive_pool2d_avg_large.wgsl"),
    blocks: &[
        &blocks::ADAPTIVE_WINDOW,
        &blocks::ACTIVATION,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: LargeParams::LAYOUT,
    constants: &[],
};

pub(crate) const MAX_LARGE: Kernel = Kernel {
    name: "adaptive_pool2d_max_large",
    source: source!("adaptive_pool2d_max_large.wgsl"),
    blocks: &[
        &blocks::ADAPTIVE_WINDOW,
        &blocks::BEST,
        &blocks::ACTIVATION,
        &blocks::FLAT,
    ],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: LargeParams::LAYOUT,
    constants: &[],
};

pub(crate) const AVG_BACKWARD: Kernel = Kernel {
    name: "adaptive_pool2d_avg_backward",
    source: source!("adaptive_pool2d_avg_backward.wgsl"),
    blocks: &[&blocks::ADAPTIVE_WINDOW, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(1, "Saved"), (2, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const MAX_BACKWARD: Kernel = Kernel {
    name: "adaptive_pool2d_max_backward",
    source: source!("adaptive_pool2d_max_backward.wgsl"),
    blocks: &[&blocks::ADAPTIVE_WINDOW, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(2, "Saved"), (3, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &AVG_FORWARD,
    &MAX_FORWARD,
    &AVG_LARGE,
    &MAX_LARGE,
    &AVG_BACKWARD,
    &MAX_BACKWARD,
];

/// Parts of each window, a workgroup for each, or 0 where one invocation takes a window.
pub(crate) fn parts_of_windows(geometry: &AdaptivePool2dGeometry) -> usize {
    parts_of(geometry.output_len(), geometry.largest_window())
}

/// The mean of each window, or an activation of it.
pub(crate) fn avg_forward(
    recording: &mut Recording,
    geometry: &AdaptivePool2dGeometry,
    input: Region,
    output: Output,
) {
    if let Some(ordinary) = geometry.ordinary() {
        return pool2d::avg_forward(recording, &ordinary, true, input, output);
    }
    let window = geometry.largest_window();
    let parts = recording.parts(|| parts_of_windows(geometry));
    if parts == 0 {
        let constants = output.activation_constants(recording);
        let regions = [Some(input), Some(output.region)];
        recording.iterations(window.area() + window.height);
        let grid = flat_grid(geometry.output_len());
        recording.dispatch(&AVG_FORWARD, &constants, &regions, params(geometry), grid);
        return;
    }
    let windows = geometry.output_len();
    let now = match parts {
        1 => output,
        _ => recording
            .transient("means of parts", parts * windows)
            .into(),
    };
    let constants = now.activation_constants(recording);
    recording.iterations(group_iterations(window.area().div_ceil(parts)));
    let params = LargeParams::of(params(geometry), parts);
    let grid = group_grid(parts * windows);
    let regions = [Some(input), Some(now.region)];
    recording.dispatch(&AVG_LARGE, &constants, &regions, params, grid);
    if parts > 1 {
        let extents = [1, windows, 1];
        reduce::sum_parts(recording, now.region, parts, extents, None, output);
    }
}

/// Each mean's gradient, shared out over its window.
pub(crate) fn avg_backward(
    recording: &mut Recording,
    geometry: &AdaptivePool2dGeometry,
    gradient_output: Region,
    output: Output,
) {
    if let Some(ordinary) = geometry.ordinary() {
        return pool2d::avg_backward(recording, &ordinary, true, gradient_output, output);
    }
    let regions = [Some(gradient_output), output.saved(), Some(output.region)];
    by_window_rows(recording, geometry, &AVG_BACKWARD, &regions, output);
}

/// The maximum of each window, or an activation of it, and its place in the input plane.
pub(crate) fn max_forward(
    recording: &mut Recording,
    geometry: &AdaptivePool2dGeometry,
    input: Region,
    output: Output,
    argmax: Region,
) {
    if let Some(ordinary) = geometry.ordinary() {
        return pool2d::max_forward(recording, &ordinary, input, output, argmax);
    }
    let window = geometry.largest_window();
    let parts = recording.parts(|| parts_of_windows(geometry));
    if parts == 0 {
        let constants = output.activation_constants(recording);
        let regions = [input, output.region, argmax].map(Some);
        recording.iterations(window.area() + window.height);
        let grid = flat_grid(geometry.output_len());
        recording.dispatch(&MAX_FORWARD, &constants, &regions, params(geometry), grid);
        return;
    }
    let windows = geometry.output_len();
    let [value, place] = match parts {
        1 => [output.region, argmax],
        _ => [(); 2].map(|()| recording.transient("maxima of parts", parts * windows)),
    };
    let now = if parts == 1 { output } else { value.into() };
    let constants = now.activation_constants(recording);
    let regions = [input, value, place].map(Some);
    recording.iterations(window.area().div_ceil(parts).div_ceil(64));
    let params = LargeParams::of(params(geometry), parts);
    let grid = group_grid(parts * windows);
    recording.dispatch(&MAX_LARGE, &constants, &regions, params, grid);
    if parts > 1 {
        max_total(recording, [parts, windows], [value, place], output, argmax);
    }
}

/// Each maximum's gradient at its place, those of overlapping windows added.
pub(crate) fn max_backward(
    recording: &mut Recording,
    geometry: &AdaptivePool2dGeometry,
    read: [Region; 2],
    output: Output,
) {
    if let Some(ordinary) = geometry.ordinary() {
        return pool2d::max_backward(recording, &ordinary, read, output);
    }
    let [gradient_output, argmax] = read.map(Some);
    let regions = [gradient_output, argmax, output.saved(), Some(output.region)];
    by_window_rows(recording, geometry, &MAX_BACKWARD, &regions, output);
}

/// A gathering of gradients from windows: in several dispatches where an invocation would take too many.
fn by_window_rows(
    recording: &mut Recording,
    geometry: &AdaptivePool2dGeometry,
    kernel: &'static Kernel,
    regions: &[Option<Region>],
    output: Output,
) {
    let (covering, height) = (geometry.covering(), geometry.out_size.height);
    let of_row = 1 + covering.width;
    let rows = match covering.height * of_row {
        ..=pool2d::MOST_WINDOWS => height,
        _ => (pool2d::MOST_WINDOWS / of_row).max(1),
    };
    let grid = flat_grid(geometry.input_len());
    for begin in (0..height).step_by(rows) {
        let end = (begin + rows).min(height);
        let now = Output {
            accumulate: output.accumulate || begin > 0,
            ..output
        };
        let constants = now.constants(recording);
        recording.iterations(covering.height.min(end - begin) * of_row);
        let params = BackwardParams::of(params(geometry), [begin, end]);
        recording.dispatch(kernel, &constants, regions, params, grid);
    }
}

fn params(geometry: &AdaptivePool2dGeometry) -> Params {
    Params::of(geometry.planes, geometry.in_size, geometry.out_size)
}
