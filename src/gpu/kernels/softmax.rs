//! Softmax and its logarithm.

use super::reduce::sum_parts;
use super::{Output, Read, ReadWrite, Recording, Region, blocks, flag, flat_grid, group_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, group_iterations};
use crate::op::SoftmaxGeometry;

params! {
    struct Params {
        outer: u32,
        extent: u32,
        inner: u32,
    }
}

params! {
    struct PartsParams {
        outer: u32,
        extent: u32,
        inner: u32,
        parts: u32,
    }
}

params! {
    struct TotalParams {
        lines: u32,
        parts: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "softmax_forward",
    source: source!("softmax_forward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "softmax_backward",
    source: source!("softmax_backward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(0, "Value"), (2, "Saved"), (3, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

pub(crate) const PARTIAL: Kernel = Kernel {
    name: "softmax_partial",
    source: source!("softmax_partial.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input")],
    params: PartsParams::LAYOUT,
    constants: &[],
};

pub(crate) const TOTAL: Kernel = Kernel {
    name: "softmax_total",
    source: source!("softmax_total.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[(2, "Output")],
    params: TotalParams::LAYOUT,
    constants: &["WEIGHTED"],
};

pub(crate) const LONG_FORWARD: Kernel = Kernel {
    name: "softmax_long_forward",
    source: source!("softmax_long_forward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

pub(crate) const LONG_SUMS: Kernel = Kernel {
    name: "softmax_long_sums",
    source: source!("softmax_long_sums.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Value")],
    params: PartsParams::LAYOUT,
    constants: &["LOG"],
};

pub(crate) const LONG_BACKWARD: Kernel = Kernel {
    name: "softmax_long_backward",
    source: source!("softmax_long_backward.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Value"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &["LOG"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &FORWARD,
    &BACKWARD,
    &PARTIAL,
    &TOTAL,
    &LONG_FORWARD,
    &LONG_SUMS,
    &LONG_BACKWARD,
];

/// The longest line that one invocation takes.
pub(crate) const LONGEST_LINE: usize = 1024;

/// Parts of a line, each for a workgroup, or 0 where it is short enough for one invocation.
fn line_parts(recording: &mut Recording, geometry: &SoftmaxGeometry) -> usize {
    recording.parts(|| match geometry.extent {
        ..=LONGEST_LINE => 0,
        extent => strategy::group_parts(geometry.outer * geometry.inner, extent),
    })
}

/// Softmax, or its logarithm, along the middle axis.
pub(crate) fn forward(
    recording: &mut Recording,
    log: bool,
    geometry: &SoftmaxGeometry,
    input: Region,
    output: Region,
) {
    let constants = [("LOG", flag(log))];
    let lines = geometry.outer * geometry.inner;
    let parts = line_parts(recording, geometry);
    if parts == 0 {
        let regions = [Some(input), Some(output)];
        recording.iterations(3 * geometry.extent);
        let (params, grid) = (params(geometry), flat_grid(lines));
        recording.dispatch(&FORWARD, &constants, &regions, params, grid);
        return;
    }
    let sums = recording.transient("softmax", 2 * lines);
    statistics(recording, geometry, parts, input, sums, None);
    let regions = [input, sums, output].map(Some);
    let (params, grid) = (params(geometry), flat_grid(lines * geometry.extent));
    recording.dispatch(&LONG_FORWARD, &constants, &regions, params, grid);
}

/// The maximum of each line and the sum of exp(x - maximum), `(lines, 2)`, by parts of the lines; and the
/// mean of each line weighted with its softmax, `(lines)`, if it is wanted.
pub(super) fn statistics(
    recording: &mut Recording,
    geometry: &SoftmaxGeometry,
    parts: usize,
    input: Region,
    to: Region,
    weighted: Option<Region>,
) {
    let lines = geometry.outer * geometry.inner;
    let partial = recording.transient("softmax of parts", 3 * parts * lines);
    recording.iterations(2 * group_iterations(geometry.extent.div_ceil(parts)));
    let (regions, grid) = ([Some(input), Some(partial)], group_grid(parts * lines));
    recording.dispatch(&PARTIAL, &[], &regions, parts_params(geometry, parts), grid);
    let params = TotalParams {
        lines: lines as u32,
        parts: parts as u32,
    };
    let constants = [("WEIGHTED", flag(weighted.is_some()))];
    let regions = [Some(partial), Some(to), weighted];
    recording.iterations(2 * parts.div_ceil(64));
    recording.dispatch(&TOTAL, &constants, &regions, params, group_grid(lines));
}

/// Its gradient, from its value.
pub(crate) fn backward(
    recording: &mut Recording,
    log: bool,
    geometry: &SoftmaxGeometry,
    [value, gradient_output]: [Region; 2],
    output: Output,
) {
    let log = ("LOG", flag(log));
    let lines = geometry.outer * geometry.inner;
    let parts = line_parts(recording, geometry);
    let mut regions = vec![Some(value), Some(gradient_output)];
    if parts > 0 {
        let partial = recording.transient("softmax gradient parts", parts * lines);
        let to = [value, gradient_output, partial].map(Some);
        recording.iterations(group_iterations(geometry.extent.div_ceil(parts)));
        let (params, grid) = (parts_params(geometry, parts), group_grid(parts * lines));
        recording.dispatch(&LONG_SUMS, &[log], &to, params, grid);
        let sums = recording.transient("softmax gradient sums", lines);
        sum_parts(recording, partial, parts, [1, lines, 1], None, sums.into());
        regions.push(Some(sums));
    } else {
        recording.iterations(2 * geometry.extent);
    }
    regions.extend([output.saved(), Some(output.region)]);
    let mut constants = vec![log];
    constants.extend(output.constants(recording));
    let (kernel, grid) = match parts {
        0 => (&BACKWARD, flat_grid(lines)),
        _ => (&LONG_BACKWARD, flat_grid(lines * geometry.extent)),
    };
    recording.dispatch(kernel, &constants, &regions, params(geometry), grid);
}

fn params(geometry: &SoftmaxGeometry) -> Params {
    let [outer, extent, inner] = extents(geometry);
    Params {
        outer,
        extent,
        inner,
    }
}

fn parts_params(geometry: &SoftmaxGeometry, parts: usize) -> PartsParams {
    let [outer, extent, inner] = extents(geometry);
    PartsParams {
        outer,
        extent,
        inner,
        parts: parts as u32,
    }
}

fn extents(geometry: &SoftmaxGeometry) -> [u32; 3] {
    [geometry.outer, geometry.extent, geometry.inner].map(|extent| extent as u32)
}
