//! Element-wise functions.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, function_constants, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::Activation;

params! {
    struct ForwardParams {
        elements: u32,
    }
}

params! {
    struct BackwardParams {
        len: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "activation_forward",
    source: source!("activation_forward.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Saved"), (2, "Output")],
    params: ForwardParams::LAYOUT,
    constants: &[],
};

pub(crate) const BACKWARD: Kernel = Kernel {
    name: "activation_backward",
    source: source!("activation_backward.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(0, "Source"), (2, "Saved"), (3, "Output")],
    params: BackwardParams::LAYOUT,
    constants: &["FUNCTION", "FUNCTION_A", "FUNCTION_B", "IN_PLACE"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&FORWARD, &BACKWARD];

/// Copies `len` elements through the output's epilogue: `y = f(x)`. What of the last vector is behind them
/// counts as 0, so that a sum leaves the gaps between gradients as they are: the norm is over those too.
pub(crate) fn forward(recording: &mut Recording, len: usize, input: Region, output: Output) {
    let params = ForwardParams {
        elements: len as u32,
    };
    let regions = [Some(input), output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    let constants = output.constants(recording);
    recording.dispatch(&FORWARD, &constants, &regions, params, grid);
}

/// The gradient with respect to the argument of an activation, from the gradient with respect to its
/// value, and the value or the argument, whichever [`Activation::gradient_from_value`] says.
pub(crate) fn backward(
    recording: &mut Recording,
    activation: Activation,
    len: usize,
    [source, gradient_output]: [Region; 2],
    output: Output,
) {
    let through = (activation, source);
    record_backward(recording, through, len, Some(gradient_output), output);
}

/// The same in the place of the gradient with respect to the value.
pub(crate) fn turn(
    recording: &mut Recording,
    through: (Activation, Region),
    len: usize,
    gradient: Region,
) {
    record_backward(recording, through, len, None, gradient.into());
}

fn record_backward(
    recording: &mut Recording,
    through: (Activation, Region),
    len: usize,
    gradient_output: Option<Region>,
    output: Output,
) {
    let mut constants = function_constants(Some(through)).to_vec();
    constants.push(("IN_PLACE", flag(gradient_output.is_none())));
    constants.extend(output.constants(recording));
    let params = BackwardParams {
        len: vectors(len) as u32,
    };
    let regions = [
        Some(through.1),
        gradient_output,
        output.saved(),
        Some(output.region),
    ];
    recording.dispatch(
        &BACKWARD,
        &constants,
        &regions,
        params,
        flat_grid(vectors(len)),
    );
}
