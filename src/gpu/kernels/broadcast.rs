//! Two values, element by element: their sum, their product, and the gradients of both.

use super::reduce::sum_parts;
use super::{Output, Read, ReadWrite, Recording, Region, activation};
use super::{blocks, flag, flat_grid, group_grid, vectors, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::{BroadcastGeometry, Spread};

params! {
    struct JoinParams {
        len: u32,
        channels: u32,
        plane: u32,
    }
}

params! {
    struct RowsParams {
        batch: u32,
        channels: u32,
        plane: u32,
        parts: u32,
        sharing: u32,
    }
}

params! {
    struct ColumnsParams {
        outer: u32,
        len: u32,
        inner: u32,
        parts: u32,
        sharing: u32,
    }
}

pub(crate) const JOIN: Kernel = Kernel {
    name: "broadcast_join",
    source: source!("broadcast_join.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Left"), (1, "Right"), (3, "Saved"), (4, "Output")],
    params: JoinParams::LAYOUT,
    constants: &["MULTIPLY", "HAS_OFFSET", "LEFT", "RIGHT", "PLANE_VEC4"],
};

pub(crate) const SUM_ROWS: Kernel = Kernel {
    name: "broadcast_sum_rows",
    source: source!("broadcast_sum_rows.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(1, "Other"), (2, "Saved"), (3, "Output")],
    params: RowsParams::LAYOUT,
    constants: &["OTHER", "HAS_PLAIN", "PLANE_VEC4"],
};

pub(crate) const SUM_COLUMNS: Kernel = Kernel {
    name: "broadcast_sum_columns",
    source: source!("broadcast_sum_columns.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(1, "Other"), (2, "Saved"), (3, "Output")],
    params: ColumnsParams::LAYOUT,
    constants: &["OTHER", "HAS_PLAIN"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&JOIN, &SUM_ROWS, &SUM_COLUMNS];

/// What is made of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Sum,
    Product,
}

/// The sum of two values of `len` elements, for tests that need a kernel.
#[cfg(test)]
pub(crate) fn add(recording: &mut Recording, len: usize, inputs: [Region; 2], output: Output) {
    let geometry = BroadcastGeometry::of_whole(len);
    join(recording, Operation::Sum, &geometry, inputs, output);
}

/// The sum or the product of two values.
pub(crate) fn join(
    recording: &mut Recording,
    operation: Operation,
    geometry: &BroadcastGeometry,
    inputs: [Region; 2],
    output: Output,
) {
    let sides = [geometry.left, geometry.right].map(code);
    let inputs = (inputs.map(Some), None);
    record_join(recording, operation, geometry, sides, inputs, output);
}

/// How a side lies, as the kernel knows it.
fn code(side: Spread) -> f64 {
    match side {
        Spread::Whole => 0.0,
        Spread::Channels => 1.0,
        Spread::Positions => 2.0,
        Spread::Examples => 3.0,
    }
}

pub(super) fn record_join(
    recording: &mut Recording,
    operation: Operation,
    geometry: &BroadcastGeometry,
    [left, right]: [f64; 2],
    (inputs, offset): ([Option<Region>; 2], Option<Region>),
    output: Output,
) {
    let len = geometry.output_len();
    let params = JoinParams {
        len: len as u32,
        channels: geometry.channels as u32,
        plane: geometry.plane as u32,
    };
    let mut constants = vec![
        ("MULTIPLY", flag(operation == Operation::Product)),
        ("HAS_OFFSET", flag(offset.is_some())),
        ("LEFT", left),
        ("RIGHT", right),
        ("PLANE_VEC4", whole_vectors(geometry.plane)),
    ];
    constants.extend(output.constants(recording));
    let [left, right] = inputs;
    let regions = [left, right, offset, output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    recording.dispatch(&JOIN, &constants, &regions, params, grid);
}

/// The gradient of the left side, from that of the output and, of a product, the right side.
pub(crate) fn gradient(
    recording: &mut Recording,
    geometry: &BroadcastGeometry,
    gradient_output: Region,
    right: Option<Region>,
    output: Output,
) {
    let &BroadcastGeometry {
        batch,
        channels,
        plane,
        left,
        ..
    } = geometry;
    let (extents, sharing) = match left {
        Spread::Whole => {
            let len = geometry.output_len();
            return match right.map(|right| [gradient_output, right]) {
                Some(inputs) => join(recording, Operation::Product, geometry, inputs, output),
                None => activation::forward(recording, len, gradient_output, output),
            };
        }
        Spread::Channels if plane <= SHORTEST_ROW => {
            (Extents::Columns([batch * channels, plane, 1]), channels)
        }
        Spread::Channels => (Extents::Rows([1, batch * channels, plane]), channels),
        Spread::Positions => (Extents::Columns([batch, channels, plane]), 1),
        Spread::Examples => (Extents::Rows([1, batch, channels * plane]), 1),
    };
    let other = match right {
        None => Other::None,
        Some(_) if geometry.right == Spread::Whole => Other::Alike,
        Some(_) => Other::Rows(sharing),
    };
    let values = [Some(gradient_output), right];
    sums(recording, (extents, other), values, (output, None));
}

/// The longest sum over positions that one invocation takes.
const SHORTEST_ROW: usize = 64;

/// What is added up of a gradient.
#[derive(Debug, Clone, Copy)]
pub(super) enum Extents {
    /// All of `(N, C, plane)` but the channels.
    Rows([usize; 3]),
    /// The middle axis of `(outer, len, inner)`.
    Columns([usize; 3]),
}

/// What a gradient is multiplied with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Other {
    None,
    /// A value that lies as it.
    Alike,
    /// Rows of a value, each for so many of the results.
    Rows(usize),
}

impl Other {
    fn code(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Alike => 1.0,
            Self::Rows(_) => 2.0,
        }
    }

    fn sharing(self) -> u32 {
        match self {
            Self::None | Self::Alike => 1,
            Self::Rows(sharing) => sharing as u32,
        }
    }
}

/// Sums of a gradient times another value to `output`, and of the gradient alone to `plain`.
pub(super) fn sums(
    recording: &mut Recording,
    (extents, other): (Extents, Other),
    [gradient_output, value]: [Option<Region>; 2],
    (output, plain): (Output, Option<Region>),
) {
    let (results, parts) = match extents {
        Extents::Rows([batch, channels, plane]) => {
            let values = batch * plane;
            let parts = recording.parts(|| strategy::group_parts(channels, values));
            (channels, parts)
        }
        Extents::Columns([outer, len, inner]) => {
            let results = outer * inner;
            (results, recording.parts(|| column_parts(results, len)))
        }
    };
    let mut partial = |to: Region| match parts {
        1 => to,
        _ => recording.transient("gradient parts", parts * results),
    };
    let (to, to_plain) = (partial(output.region), plain.map(&mut partial));
    let now = if parts == 1 { output } else { to.into() };
    let regions = [gradient_output, value, now.saved(), Some(to), to_plain];
    let mut constants = vec![
        ("OTHER", other.code()),
        ("HAS_PLAIN", flag(plain.is_some())),
    ];
    constants.extend(now.constants(recording));
    match extents {
        Extents::Rows(extents) => {
            record_rows(recording, extents, (parts, other), constants, &regions);
        }
        Extents::Columns(extents) => {
            record_columns(recording, extents, (parts, other), &constants, &regions);
        }
    }
    let last = [
        (Some(to), Some(output)),
        (to_plain, plain.map(Output::from)),
    ];
    for (partial, output) in last.into_iter().filter(|_| parts > 1) {
        if let (Some(partial), Some(output)) = (partial, output) {
            sum_parts(recording, partial, parts, [1, results, 1], None, output);
        }
    }
}

fn record_rows(
    recording: &mut Recording,
    [batch, channels, plane]: [usize; 3],
    (parts, other): (usize, Other),
    mut constants: Vec<(&'static str, f64)>,
    regions: &[Option<Region>],
) {
    let unit = if plane.is_multiple_of(4) { 4 } else { 1 };
    constants.push(("PLANE_VEC4", whole_vectors(plane)));
    let params = RowsParams {
        batch: batch as u32,
        channels: channels as u32,
        plane: (plane / unit) as u32,
        parts: parts as u32,
        sharing: other.sharing(),
    };
    let of_part = (batch * (plane / unit)).div_ceil(parts);
    recording.iterations(strategy::group_iterations(of_part));
    let grid = group_grid(channels * parts);
    recording.dispatch(&SUM_ROWS, &constants, regions, params, grid);
}

fn record_columns(
    recording: &mut Recording,
    [outer, len, inner]: [usize; 3],
    (parts, other): (usize, Other),
    constants: &[(&'static str, f64)],
    regions: &[Option<Region>],
) {
    let params = ColumnsParams {
        outer: outer as u32,
        len: len as u32,
        inner: inner as u32,
        parts: parts as u32,
        sharing: other.sharing(),
    };
    let of_part = len.div_ceil(parts);
    recording.iterations(of_part + of_part.div_ceil(16));
    let grid = flat_grid(outer * inner * parts);
    recording.dispatch(&SUM_COLUMNS, constants, regions, params, grid);
}

/// Parts that each of several sums of so many values is split into, an invocation for each part: as many
/// as fill a device, and enough that none is too long.
fn column_parts(sums: usize, values: usize) -> usize {
    /// Invocations that keep a device busy.
    const WANTED: usize = 32_768;
    /// The shortest sum worth an invocation of its own.
    const SHORTEST: usize = 64;
    let busy = (WANTED / sums.max(1)).clamp(1, (values / SHORTEST).max(1));
    busy.max(values.div_ceil(strategy::SUMMED_SLABS))
}
