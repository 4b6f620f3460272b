//! Lion.

use super::bytes;
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::kernels::{Read, ReadWrite, blocks};
use crate::op::Lion;

params! {
    struct LionParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        learning_rate: f32,
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        decay: f32,
    }
}

pub(crate) const LION: Kernel = Kernel {
    name: "optimizer_lion",
    source: source!("optimizer_lion.wgsl"),
    blocks: &[&blocks::GRADIENT_SLAB, &blocks::FLAT, &blocks::NAN],
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: LionParams::LAYOUT,
    constants: &[],
};

/// The params of an update, counted from 1, of `len` vectors of four.
pub(super) fn params(lion: &Lion, step: u64, len: u32, gradient_scale: f32) -> Vec<u8> {
    let [beta1, beta2] = lion.betas;
    bytes(LionParams {
        len,
        first_step: u32::from(step == 1),
        gradient_scale,
        learning_rate: lion.learning_rate as f32,
        beta1: beta1 as f32,
        one_minus_beta1: (1.0 - beta1) as f32,
        beta2: beta2 as f32,
        one_minus_beta2: (1.0 - beta2) as f32,
        decay: (1.0 - lion.learning_rate * lion.weight_decay) as f32,
    })
}
