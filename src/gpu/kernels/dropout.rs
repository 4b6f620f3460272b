//! Dropout, forward and backward.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flag, flat_grid, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::op::dropout::{self, Stream};

params! {
    struct Params {
        len: u32,
        threshold: u32,
        scale: f32,
        layer: u32,
        update: u32,
        key_low: u32,
        key_high: u32,
        span: u32,
        block_low: u32,
        block_high: u32,
        lane: u32,
    }
}

/// What a layer's masks are laid over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extents {
    /// Elements.
    pub len: usize,
    /// Neighbours that have one mask; `None` where each has its own.
    pub span: Option<usize>,
    /// Masks of an example.
    pub masks: usize,
}

pub(crate) const DROPOUT: Kernel = Kernel {
    name: "dropout",
    source: source!("dropout.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Saved"), (2, "Output")],
    params: Params::LAYOUT,
    constants: &["SPANS"],
};

/// `len` elements of a layer's value or gradient through its mask, which depends on the update and on the
/// examples that it has had before these, each of so many masks. Each element has a mask of its own, or each
/// run of `span` of them.
pub(crate) fn dropout(
    recording: &mut Recording,
    probability: f64,
    layer: u32,
    Extents { len, span, masks }: Extents,
    input: Region,
    output: Output,
) {
    let params = Params {
        len: vectors(len) as u32,
        threshold: dropout::threshold(probability),
        scale: dropout::scale(probability) as f32,
        layer,
        update: 0,
        key_low: 0,
        key_high: 0,
        span: span.unwrap_or(1) as u32,
        block_low: 0,
        block_high: 0,
        lane: 0,
    };
    let regions = [Some(input), output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    let mut constants = vec![("SPANS", flag(span.is_some()))];
    constants.extend(output.constants(recording));
    recording.dispatch(&DROPOUT, &constants, &regions, params, grid);
    let masks = masks as u32;
    recording.varies(Varies::Dropout { masks });
}

/// Fills in what changes from batch to batch: the seed, the updates before this one, and the number of the
/// first mask in the update.
pub(crate) fn set_step(params: &mut [u8], seed: u64, updates: u64, first: u64) {
    super::edit(params, |params: &mut Params| {
        let stream = Stream::new(seed, updates, params.layer);
        [params.key_low, params.key_high] = stream.key;
        params.update = stream.update;
        let block = first / 4;
        (params.block_low, params.block_high) = (block as u32, (block >> 32) as u32);
        params.lane = (first % 4) as u32;
    });
}
