//! Adagrad.

use super::bytes;
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::kernels::{Read, ReadWrite, blocks};
use crate::op::Adagrad;

params! {
    struct AdagradParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        learning_rate: f32,
        weight_decay: f32,
        initial: f32,
        epsilon: f32,
    }
}

pub(crate) const ADAGRAD: Kernel = Kernel {
    name: "optimizer_adagrad",
    source: source!("optimizer_adagrad.wgsl"),
    blocks: &[&blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: AdagradParams::LAYOUT,
    constants: &[],
};

/// The params of an update, counted from 1, of `len` vectors of four.
pub(super) fn params(adagrad: &Adagrad, step: u64, len: u32, gradient_scale: f32) -> Vec<u8> {
    bytes(AdagradParams {
        len,
        first_step: u32::from(step == 1),
        gradient_scale,
        learning_rate: adagrad.rate(step) as f32,
        weight_decay: adagrad.weight_decay as f32,
        initial: adagrad.initial_accumulator as f32,
        epsilon: adagrad.epsilon as f32,
    })
}
