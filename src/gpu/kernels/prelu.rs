//! ReLU with learned slopes.

use super::reduce::{by_some, reduce_iterations, sum_parts};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, plane_unit, vectors, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::PreluGeometry;

params! {
    struct Params {
        len: u32,
        channels: u32,
        plane: u32,
    }
}

params! {
    struct SumParams {
        batch: u32,
        channels: u32,
        plane: u32,
        parts: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "prelu_forward",
    source: source!("prelu_forward.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Values"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &["PLANE_VEC4"],
};

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "prelu_backward_weight",
    source: source!("prelu_backward_weight.wgsl"),
    blocks: &[
        &blocks::PLANES,
        &blocks::REDUCE_BY_SOME,
        &blocks::FLAT,
        &blocks::NAN,
    ],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input")],
    params: SumParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD_WEIGHT];

/// `y = x` where `x > 0`, else `weight * x`.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &PreluGeometry,
    [input, weight]: [Region; 2],
    output: Output,
) {
    sloped(recording, geometry, [input, input, weight], output);
}

/// The gradient with respect to the input from that with respect to the output.
pub(crate) fn backward_input(
    recording: &mut Recording,
    geometry: &PreluGeometry,
    [input, gradient_output, weight]: [Region; 3],
    output: Output,
) {
    let read = [input, gradient_output, weight];
    sloped(recording, geometry, read, output);
}

fn sloped(
    recording: &mut Recording,
    geometry: &PreluGeometry,
    [input, values, weight]: [Region; 3],
    output: Output,
) {
    let len = vectors(geometry.input_len());
    // One weight is that of vectors that end in another example too.
    let whole = geometry.channels == 1 || geometry.plane.is_multiple_of(4);
    let unit = if whole { 4 } else { 1 };
    let params = Params {
        len: len as u32,
        channels: geometry.channels as u32,
        plane: geometry.plane.div_ceil(unit) as u32,
    };
    let mut constants = vec![("PLANE_VEC4", flag(whole))];
    constants.extend(output.constants(recording));
    let regions = [
        Some(input),
        Some(values),
        Some(weight),
        output.saved(),
        Some(output.region),
    ];
    recording.dispatch(&FORWARD, &constants, &regions, params, flat_grid(len));
}

/// The gradient with respect to the weights.
pub(crate) fn backward_weight(
    recording: &mut Recording,
    geometry: &PreluGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let (values, channels) = (geometry.count(), geometry.channels);
    let parts = recording.parts(|| strategy::group_parts(channels, values));
    let partial = match parts {
        1 => gradient_weight,
        _ => recording.transient("prelu gradient parts", parts * channels),
    };
    let unit = plane_unit(geometry.plane);
    let params = SumParams {
        batch: geometry.batch as u32,
        channels: channels as u32,
        plane: (geometry.plane / unit) as u32,
        parts: parts as u32,
    };
    let regions = [input, gradient_output, partial].map(Some);
    let of_part = (values / unit).div_ceil(parts);
    recording.iterations(reduce_iterations(recording, of_part));
    let constants = [
        by_some(recording),
        ("PLANE_VEC4", whole_vectors(geometry.plane)),
    ];
    let grid = group_grid(channels * parts);
    recording.dispatch(&BACKWARD_WEIGHT, &constants, &regions, params, grid);
    if parts > 1 {
        let to = gradient_weight.into();
        sum_parts(recording, partial, parts, [1, channels, 1], None, to);
    }
}
