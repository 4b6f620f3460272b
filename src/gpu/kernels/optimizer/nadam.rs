//! NAdam.

use super::bytes;
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::kernels::{Read, ReadWrite, blocks};
use crate::op::NAdam;

params! {
    struct NAdamParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        gradient_share: f32,
        moment_share: f32,
        root_correction: f32,
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        epsilon: f32,
        weight_decay: f32,
        decay: f32,
    }
}

pub(crate) const NADAM: Kernel = Kernel {
    name: "optimizer_nadam",
    source: source!("optimizer_nadam.wgsl"),
    blocks: &[&blocks::ADAM_MOMENTS, &blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: NAdamParams::LAYOUT,
    constants: &[],
};

/// The params of an update, counted from 1, of `len` vectors of four.
pub(super) fn params(nadam: &NAdam, step: u64, len: u32, gradient_scale: f32) -> Vec<u8> {
    let (shares, [beta1, beta2]) = (nadam.shares(step), nadam.betas);
    let (penalty, decay) = match nadam.decoupled {
        true => (0.0, 1.0 - nadam.learning_rate * nadam.weight_decay),
        false => (nadam.weight_decay, 1.0),
    };
    bytes(NAdamParams {
        len,
        first_step: u32::from(step == 1),
        gradient_scale,
        gradient_share: shares.gradient as f32,
        moment_share: shares.moment as f32,
        root_correction: shares.root_correction as f32,
        beta1: beta1 as f32,
        one_minus_beta1: (1.0 - beta1) as f32,
        beta2: beta2 as f32,
        one_minus_beta2: (1.0 - beta2) as f32,
        epsilon: nadam.epsilon as f32,
        weight_decay: penalty as f32,
        decay: decay as f32,
    })
}
