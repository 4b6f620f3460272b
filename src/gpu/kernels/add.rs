//! The sum of two values.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flat_grid, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};

params! {
    struct Params {
        len: u32,
    }
}

pub(crate) const ADD: Kernel = Kernel {
    name: "add",
    source: source!("add.wgsl"),
    blocks: &[&blocks::ACTIVATION, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Left"), (1, "Right"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

/// The sum of two tensors of `len` elements.
pub(crate) fn add(recording: &mut Recording, len: usize, inputs: [Region; 2], output: Output) {
    let params = Params {
        len: vectors(len) as u32,
    };
    let regions = [Some(inputs[0]), Some(inputs[1]), Some(output.region)];
    let constants = output.activation_constants(recording);
    let grid = flat_grid(vectors(len));
    recording.dispatch(&ADD, &constants, &regions, params, grid);
}
