//! Planes made larger or smaller by interpolation.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, vectors, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::group_iterations;
use crate::op::{Interpolation, Upsample2dGeometry};

params! {
    struct Params {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        row_step: u32,
        row_offset: i32,
        row_unit: u32,
        row_next: u32,
        row_nearest: f32,
        column_step: u32,
        column_offset: i32,
        column_unit: u32,
        column_next: u32,
        column_nearest: f32,
    }
}

params! {
    struct BackwardParams {
        planes: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
        row_step: u32,
        row_offset: i32,
        row_unit: u32,
        row_next: u32,
        row_nearest: f32,
        column_step: u32,
        column_offset: i32,
        column_unit: u32,
        column_next: u32,
        column_nearest: f32,
        row_begin: u32,
        row_end: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "upsample2d_forward",
    source: source!("upsample2d_forward.wgsl"),
    blocks: &[&blocks::RESAMPLE, &blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Output")],
    params: Params::LAYOUT,
    constants: &["ROWS_VEC4"],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "upsample2d_backward",
    source: source!("upsample2d_backward.wgsl"),
    blocks: &[&blocks::RESAMPLE, &blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(1, "Saved"), (2, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const BACKWARD_LARGE: Kernel = Kernel {
    name: "upsample2d_backward_large",
    source: source!("upsample2d_backward_large.wgsl"),
    blocks: &[
        &blocks::RESAMPLE,
        &blocks::EPILOGUE,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(1, "Saved"), (2, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD, &BACKWARD_LARGE];

/// The interpolated planes, or an activation of them.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &Upsample2dGeometry,
    input: Region,
    output: Output,
) {
    let mut constants = vec![
        nearest(geometry),
        ("ROWS_VEC4", whole_vectors(geometry.out_size.width)),
    ];
    constants.extend(output.activation_constants(recording));
    let regions = [Some(input), Some(output.region)];
    let grid = flat_grid(vectors(geometry.output_len()));
    recording.dispatch(&FORWARD, &constants, &regions, params(geometry), grid);
}

/// Whether so many outputs read a position that a workgroup adds up their gradients, rather than an
/// invocation.
pub(crate) fn has_many_readers(geometry: &Upsample2dGeometry) -> bool {
    /// The most that one invocation adds up, however few positions there are.
    const FEW: usize = 256;
    /// Positions that fill a device, and the most that one invocation adds up then.
    const MANY: usize = 16_384;
    const MOST: usize = 1024;
    let [rows, columns] = geometry.axes().map(|axis| axis.readers());
    match rows.saturating_mul(columns) {
        ..=FEW => false,
        ..=MOST if geometry.input_len() >= MANY => false,
        _ => true,
    }
}

/// The gradients of the outputs that read a position, added up at each.
pub(crate) fn backward(
    recording: &mut Recording,
    geometry: &Upsample2dGeometry,
    gradient_output: Region,
    output: Output,
) {
    /// Outputs that a workgroup takes in one dispatch.
    const MOST: usize = 65_536;
    let large = recording.parts(|| usize::from(has_many_readers(geometry))) > 0;
    let [rows, columns] = geometry.axes().map(|axis| axis.readers());
    let height = geometry.out_size.height;
    let (kernel, grid, taken) = match large {
        false => (&BACKWARD, flat_grid(geometry.input_len()), height),
        true => {
            let grid = group_grid(geometry.input_len());
            let fits = rows.saturating_mul(columns) <= MOST;
            let taken = if fits {
                height
            } else {
                (MOST / columns).max(1)
            };
            (&BACKWARD_LARGE, grid, taken)
        }
    };
    let regions = [Some(gradient_output), output.saved(), Some(output.region)];
    for begin in (0..height).step_by(taken) {
        let end = (begin + taken).min(height);
        let now = Output {
            accumulate: output.accumulate || begin > 0,
            ..output
        };
        let mut constants = vec![nearest(geometry)];
        constants.extend(now.constants(recording));
        let of_rows = rows.min(end - begin);
        recording.iterations(match large {
            false => of_rows * (columns + 1),
            true => group_iterations(of_rows * columns),
        });
        let params = backward_params(geometry, [begin, end]);
        recording.dispatch(kernel, &constants, &regions, params, grid);
    }
}

fn nearest(geometry: &Upsample2dGeometry) -> (&'static str, f64) {
    let nearest = geometry.interpolation == Interpolation::Nearest;
    ("NEAREST", flag(nearest))
}

fn params(geometry: &Upsample2dGeometry) -> Params {
    let [rows, columns] = geometry.axes();
    Params {
        planes: geometry.planes as u32,
        in_height: rows.input as u32,
        in_width: columns.input as u32,
        out_height: rows.output as u32,
        out_width: columns.output as u32,
        row_step: rows.step as u32,
        row_offset: rows.offset,
        row_unit: rows.unit as u32,
        row_next: rows.next,
        row_nearest: rows.nearest,
        column_step: columns.step as u32,
        column_offset: columns.offset,
        column_unit: columns.unit as u32,
        column_next: columns.next,
        column_nearest: columns.nearest,
    }
}

/// Of a dispatch that takes these rows of the output.
fn backward_params(geometry: &Upsample2dGeometry, rows: [usize; 2]) -> BackwardParams {
    let Params {
        planes,
        in_height,
        in_width,
        out_height,
        out_width,
        row_step,
        row_offset,
        row_unit,
        row_next,
        row_nearest,
        column_step,
        column_offset,
        column_unit,
        column_next,
        column_nearest,
    } = params(geometry);
    let [row_begin, row_end] = rows.map(|row| row as u32);
    BackwardParams {
        planes,
        in_height,
        in_width,
        out_height,
        out_width,
        row_step,
        row_offset,
        row_unit,
        row_next,
        row_nearest,
        column_step,
        column_offset,
        column_unit,
        column_next,
        column_nearest,
        row_begin,
        row_end,
    }
}
