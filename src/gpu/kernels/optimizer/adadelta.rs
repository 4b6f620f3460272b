//! Adadelta.

use super::bytes;
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::kernels::{Read, ReadWrite, blocks};
use crate::op::Adadelta;

params! {
    struct AdadeltaParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        learning_rate: f32,
        rho: f32,
        one_minus_rho: f32,
        epsilon: f32,
        weight_decay: f32,
    }
}

pub(crate) const ADADELTA: Kernel = Kernel {
    name: "optimizer_adadelta",
    source: source!("optimizer_adadelta.wgsl"),
    blocks: &[&blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: AdadeltaParams::LAYOUT,
    constants: &[],
};

/// The params of an update, counted from 1, of `len` vectors of four.
pub(super) fn params(adadelta: &Adadelta, step: u64, len: u32, gradient_scale: f32) -> Vec<u8> {
    bytes(AdadeltaParams {
        len,
        first_step: u32::from(step == 1),
        gradient_scale,
        learning_rate: adadelta.learning_rate as f32,
        rho: adadelta.rho as f32,
        one_minus_rho: (1.0 - adadelta.rho) as f32,
        epsilon: adadelta.epsilon as f32,
        weight_decay: adadelta.weight_decay as f32,
    })
}
