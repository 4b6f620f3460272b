//! Optimizers.

use super::{Read, ReadWrite, Recording, Region};
use super::{flag, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::{Adam, Optimizer, Sgd};

params! {
    struct SgdParams {
        len: u32,
        first_step: u32,
        learning_rate: f32,
        momentum: f32,
        weight_decay: f32,
    }
}

params! {
    struct AdamParams {
        len: u32,
        first_step: u32,
        step_size: f32,
        root_correction: f32,
        beta1: f32,
        one_minus_beta1: f32,
        beta2: f32,
        one_minus_beta2: f32,
        epsilon: f32,
        weight_decay: f32,
    }
}

pub(crate) const SGD: Kernel = Kernel {
    name: "optimizer_sgd",
    source: source!("optimizer_sgd.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite, ReadWrite],
    params: SgdParams::LAYOUT,
    constants: &["HAS_MOMENTUM"],
};

pub(crate) const ADAM: Kernel = Kernel {
    name: "optimizer_adam",
    source: source!("optimizer_adam.wgsl", "core/flat.wgsl"),
    bindings: &[Read, ReadWrite, ReadWrite, ReadWrite],
    params: AdamParams::LAYOUT,
    constants: &[],
};

/// The params of an optimizer's kernel over `len` vectors of four, at a step counted from 1.
pub(crate) fn params(optimizer: &Optimizer, step: u64, len: u32) -> Vec<u8> {
    let first_step = u32::from(step == 1);
    match *optimizer {
        Optimizer::Sgd(Sgd {
            learning_rate,
            momentum,
            weight_decay,
        }) => bytemuck::bytes_of(&SgdParams {
            len,
            first_step,
            learning_rate: learning_rate as f32,
            momentum: momentum as f32,
            weight_decay: weight_decay as f32,
        })
        .to_vec(),
        Optimizer::Adam(Adam {
            learning_rate,
            betas: [beta1, beta2],
            epsilon,
            weight_decay,
        }) => {
            let power = step.min(i32::MAX as u64) as i32;
            bytemuck::bytes_of(&AdamParams {
                len,
                first_step,
                step_size: (learning_rate / (1.0 - beta1.powi(power))) as f32,
                root_correction: (1.0 - beta2.powi(power)).sqrt() as f32,
                beta1: beta1 as f32,
                one_minus_beta1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
                epsilon: epsilon as f32,
                weight_decay: weight_decay as f32,
            })
            .to_vec()
        }
    }
}

/// Updates a slab of parameters of `len` vectors of four. Its params change with every step: the
/// caller fills them in through [`params`].
pub(crate) fn update(
    recording: &mut Recording,
    optimizer: &Optimizer,
    len: usize,
    [gradient, parameter]: [Region; 2],
    state: &[Region],
) {
    let grid = flat_grid(len, 64);
    let state = |slot: usize| state.get(slot).copied();
    match optimizer {
        Optimizer::Sgd(_) => {
            let constants = [("HAS_MOMENTUM", flag(state(0).is_some()))];
            let regions = [Some(gradient), Some(parameter), state(0)];
            let params: SgdParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&SGD, &constants, &regions, params, grid);
        }
        Optimizer::Adam(_) => {
            let regions = [Some(gradient), Some(parameter), state(0), state(1)];
            let params: AdamParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&ADAM, &[], &regions, params, grid);
        }
    }
}
