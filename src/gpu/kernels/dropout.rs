//! Dropout, forward and backward.

use super::{Output, Read, ReadWrite, Recording, Region, blocks, flag, flat_grid, vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::op::dropout;

params! {
    struct Params {
        len: u32,
        threshold: u32,
        scale: f32,
        layer: u32,
        step: u32,
        seed_low: u32,
        seed_high: u32,
        span: u32,
    }
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

/// `len` elements of a layer's value or gradient through its mask, which depends on the step. Each element
/// has a mask of its own, or each run of `span` of them.
pub(crate) fn dropout(
    recording: &mut Recording,
    probability: f64,
    layer: u32,
    (len, span): (usize, Option<usize>),
    input: Region,
    output: Output,
) {
    let params = Params {
        len: vectors(len) as u32,
        threshold: dropout::threshold(probability),
        scale: dropout::scale(probability) as f32,
        layer,
        step: 0,
        seed_low: 0,
        seed_high: 0,
        span: span.unwrap_or(1) as u32,
    };
    let regions = [Some(input), output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    let mut constants = vec![("SPANS", flag(span.is_some()))];
    constants.extend(output.constants(recording));
    recording.dispatch(&DROPOUT, &constants, &regions, params, grid);
    recording.varies(Varies::Dropout);
}

/// Fills in what changes from step to step.
pub(crate) fn set_step(params: &mut [u8], seed: u64, step: u64) {
    super::edit(params, |params: &mut Params| {
        (params.seed_low, params.seed_high) = (seed as u32, (seed >> 32) as u32);
        params.step = step as u32;
    });
}
