//! Blocks of channels, copied into a joined value and out of its gradient.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};

params! {
    struct Params {
        batch: u32,
        len: u32,
        input_stride: u32,
        input_offset: u32,
        output_stride: u32,
        output_offset: u32,
    }
}

pub(crate) const COPY: Kernel = Kernel {
    name: "concat",
    source: source!("concat.wgsl"),
    blocks: &[&blocks::EPILOGUE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Saved"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &[],
};

/// A block of elements in each example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    /// Elements of an example.
    pub stride: usize,
    /// Where the block begins.
    pub offset: usize,
}

/// Copies a block of `len` elements of each example to another place.
pub(crate) fn copy(
    recording: &mut Recording,
    [batch, len]: [usize; 2],
    (input, from): (Region, Block),
    (output, to): (Output, Block),
) {
    let params = Params {
        batch: batch as u32,
        len: len as u32,
        input_stride: from.stride as u32,
        input_offset: from.offset as u32,
        output_stride: to.stride as u32,
        output_offset: to.offset as u32,
    };
    let regions = [Some(input), output.saved(), Some(output.region)];
    let constants = output.constants(recording);
    let grid = flat_grid(batch * len);
    recording.dispatch(&COPY, &constants, &regions, params, grid);
}
