//! A learned factor for each channel: the kernels of `broadcast`.

use super::broadcast::{Extents, Operation, Other, record_join, sums};
use super::{Output, Recording, Region, reduce};
use crate::op::{BroadcastGeometry, ScaleGeometry, Spread};

/// How a value lies, as the kernel knows it: as the result, or a number for each channel of all examples.
const SIDES: [f64; 2] = [0.0, 4.0];

fn broadcast(geometry: &ScaleGeometry) -> BroadcastGeometry {
    BroadcastGeometry {
        batch: geometry.batch,
        channels: geometry.channels,
        plane: geometry.plane,
        left: Spread::Whole,
        right: Spread::Channels,
    }
}

/// `y = f(w[c] * x + b[c])`.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &ScaleGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let (geometry, inputs) = (broadcast(geometry), (inputs.map(Some), bias));
    record_join(
        recording,
        Operation::Product,
        &geometry,
        SIDES,
        inputs,
        output,
    );
}

/// `gx = w[c] * gy`.
pub(crate) fn backward_input(
    recording: &mut Recording,
    geometry: &ScaleGeometry,
    [weight, gradient_output]: [Region; 2],
    output: Output,
) {
    forward(recording, geometry, [gradient_output, weight], None, output);
}

/// The gradients of the factors and of the offsets, if they are wanted: the sums over a channel of `gy * x`
/// and of `gy`, in one pass.
pub(crate) fn backward_parameters(
    recording: &mut Recording,
    geometry: &ScaleGeometry,
    [input, gradient_output]: [Region; 2],
    [to_weight, to_bias]: [Option<Region>; 2],
) {
    let &ScaleGeometry {
        batch,
        channels,
        plane,
    } = geometry;
    let Some(to_weight) = to_weight else {
        if let Some(to) = to_bias {
            let extents = [batch, channels, plane];
            reduce::bias_gradient(recording, extents, gradient_output, to);
        }
        return;
    };
    let extents = match plane {
        1 => Extents::Columns([1, batch, channels]),
        _ => Extents::Rows([batch, channels, plane]),
    };
    let values = [Some(gradient_output), Some(input)];
    let to = (to_weight.into(), to_bias);
    sums(recording, (extents, Other::Alike), values, to);
}
