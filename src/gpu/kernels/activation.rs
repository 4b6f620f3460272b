//! Element-wise functions.

use super::{Gradient, Read, ReadWrite, Recording, Region};
use super::{code, flat_grid, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::Activation;

params! {
    struct Params {
        len: u32,
    }
}

pub(crate) const ACTIVATION_FORWARD: Kernel = Kernel {
    name: "activation_forward",
    source: source!(
        "activation_forward.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &["ACTIVATION"],
};

pub(crate) const ACTIVATION_BACKWARD: Kernel = Kernel {
    name: "activation_backward",
    source: source!(
        "activation_backward.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &["ACTIVATION", "GRADIENT_OF", "ACCUMULATE"],
};

pub(crate) const ADD: Kernel = Kernel {
    name: "add",
    source: source!("add.wgsl", "core/flat.wgsl"),
    bindings: &[Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &[],
};

/// `y = f(x)` over `len` elements.
pub(crate) fn forward(
    recording: &mut Recording,
    activation: Activation,
    len: usize,
    input: Region,
    output: Region,
) {
    let constants = [("ACTIVATION", code(Some(activation)))];
    let params = Params {
        len: vectors(len) as u32,
    };
    let regions = [Some(input), Some(output)];
    let grid = flat_grid(vectors(len), 64);
    recording.dispatch(&ACTIVATION_FORWARD, &constants, &regions, params, grid);
}

/// The gradient with respect to the argument of an activation, from its value and the gradient with
/// respect to that; without an activation, the gradient as it is.
pub(crate) fn backward(
    recording: &mut Recording,
    activation: Option<(Activation, Region)>,
    len: usize,
    gradient_output: Region,
    gradient_input: Gradient,
) {
    let mut constants = vec![(
        "ACTIVATION",
        code(activation.map(|(activation, _)| activation)),
    )];
    constants.extend(gradient_input.constants());
    let params = Params {
        len: vectors(len) as u32,
    };
    let regions = [
        activation.map(|(_, output)| output),
        Some(gradient_output),
        gradient_input.forward(),
        Some(gradient_input.region),
    ];
    let grid = flat_grid(vectors(len), 64);
    recording.dispatch(&ACTIVATION_BACKWARD, &constants, &regions, params, grid);
}

/// The sum of two tensors of `len` elements.
pub(crate) fn add(recording: &mut Recording, len: usize, inputs: [Region; 2], output: Region) {
    let params = Params {
        len: vectors(len) as u32,
    };
    let regions = [Some(inputs[0]), Some(inputs[1]), Some(output)];
    recording.dispatch(&ADD, &[], &regions, params, flat_grid(vectors(len), 64));
}
