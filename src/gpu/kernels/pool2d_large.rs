//! Pooling over large windows, whole planes among them.

use super::pool2d::{Params, params, window_constants};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, group_grid, reduce};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, group_iterations};
use crate::op::{Pool2dGeometry, Size2};

params! {
    struct LargeParams {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        parts: u32,
    }
}

params! {
    struct TotalParams {
        windows: u32,
        parts: u32,
    }
}

pub(crate) const MAX_LARGE: Kernel = Kernel {
    name: "pool2d_max_large",
    source: source!("pool2d_max_large.wgsl"),
    blocks: &[
        &blocks::WINDOW,
        &blocks::BEST,
        &blocks::ACTIVATION,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: LargeParams::LAYOUT,
    constants: &[],
};

pub(crate) const MAX_TOTAL: Kernel = Kernel {
    name: "pool2d_max_total",
    source: source!("pool2d_max_total.wgsl"),
    blocks: &[&blocks::BEST, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[(2, "Output")],
    params: TotalParams::LAYOUT,
    constants: &[],
};

pub(crate) const AVG_LARGE: Kernel = Kernel {
    name: "pool2d_avg_large",
    source: source!("pool2d_avg_large.wgsl"),
    blocks: &[
        &blocks::MEAN_WINDOW,
        &blocks::ACTIVATION,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: LargeParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&MAX_LARGE, &MAX_TOTAL, &AVG_LARGE];

/// The largest window that one invocation takes, however few there are.
pub(crate) const LARGEST_WINDOW: usize = 256;

/// Parts of each window, a workgroup for each, or 0 where one invocation takes a window: a small one, or
/// one of so many that they fill a device by themselves, if no chain of additions is long.
pub(crate) fn parts_of_windows(geometry: &Pool2dGeometry) -> usize {
    parts_of(geometry.output_len(), geometry.kernel)
}

/// The same of so many windows of one size.
pub(super) fn parts_of(windows: usize, kernel: Size2) -> usize {
    /// Windows that fill a device.
    const MANY: usize = 16_384;
    /// The largest of them that one invocation takes.
    const LARGEST: usize = 4096;
    let chain = kernel.height.max(kernel.width); // row by row
    match kernel.area() {
        ..=LARGEST_WINDOW => 0,
        ..=LARGEST if windows >= MANY && chain <= LARGEST_WINDOW => 0,
        area => strategy::group_parts(windows, area),
    }
}

/// The same, as planned: a smaller batch has fewer windows.
pub(super) fn window_parts(recording: &mut Recording, geometry: &Pool2dGeometry) -> usize {
    recording.parts(|| parts_of_windows(geometry))
}

/// The maximum of each window, or an activation of it, and its place, by a workgroup, or several, for
/// each.
pub(super) fn max_large(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    parts: usize,
    input: Region,
    output: Output,
    argmax: Region,
) {
    let windows = geometry.output_len();
    let [value, place] = match parts {
        1 => [output.region, argmax],
        _ => [(); 2].map(|()| recording.transient("maxima of parts", parts * windows)),
    };
    let now = if parts == 1 { output } else { value.into() };
    let mut constants = window_constants(geometry).to_vec();
    constants.extend(now.activation_constants(recording));
    let regions = [input, value, place].map(Some);
    recording.iterations(geometry.kernel.area().div_ceil(parts).div_ceil(64));
    let params = LargeParams::of(params(geometry), parts);
    let grid = group_grid(parts * windows);
    recording.dispatch(&MAX_LARGE, &constants, &regions, params, grid);
    if parts > 1 {
        max_total(recording, [parts, windows], [value, place], output, argmax);
    }
}

/// The maximum of each window, or an activation of it, and its place, from those of parts of the windows.
pub(super) fn max_total(
    recording: &mut Recording,
    [parts, windows]: [usize; 2],
    [value, place]: [Region; 2],
    output: Output,
    argmax: Region,
) {
    let params = TotalParams {
        windows: windows as u32,
        parts: parts as u32,
    };
    let constants = output.activation_constants(recording);
    let regions = [value, place, output.region, argmax].map(Some);
    recording.iterations(parts.div_ceil(64));
    let grid = group_grid(windows);
    recording.dispatch(&MAX_TOTAL, &constants, &regions, params, grid);
}

/// The mean of each window, or an activation of it, by a workgroup, or several, for each.
pub(super) fn avg_large(
    recording: &mut Recording,
    geometry: &Pool2dGeometry,
    (parts, mut constants): (usize, Vec<(&'static str, f64)>),
    input: Region,
    output: Output,
) {
    let windows = geometry.output_len();
    let now = match parts {
        1 => output,
        _ => recording
            .transient("means of parts", parts * windows)
            .into(),
    };
    constants.extend(now.activation_constants(recording));
    recording.iterations(group_iterations(geometry.kernel.area().div_ceil(parts)));
    let params = LargeParams::of(params(geometry), parts);
    let grid = group_grid(parts * windows);
    let regions = [Some(input), Some(now.region)];
    recording.dispatch(&AVG_LARGE, &constants, &regions, params, grid);
    if parts > 1 {
        let extents = [1, windows, 1];
        reduce::sum_parts(recording, now.region, parts, extents, None, output);
    }
}

impl LargeParams {
    /// Of windows in so many parts.
    pub(super) fn of(params: Params, parts: usize) -> Self {
        let Params {
            planes,
            in_height,
            in_width,
            out_height,
            out_width,
        } = params;
        Self {
            planes,
            in_height,
            in_width,
            out_height,
            out_width,
            parts: parts as u32,
        }
    }
}
