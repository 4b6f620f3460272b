//! Optimizers, and clipping by the global norm before them.

mod adadelta;
mod adagrad;
mod lion;
mod nadam;

use adadelta::{ADADELTA, AdadeltaParams};
use adagrad::{ADAGRAD, AdagradParams};
use lion::{LION, LionParams};
use nadam::{NADAM, NAdamParams};

use super::{Read, ReadWrite, Recording, Region, blocks, flag, flat_grid, group_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::gpu::strategy;
use crate::op::{Adam, Optimizer, Sgd};

params! {
    struct SgdParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        learning_rate: f32,
        momentum: f32,
        one_minus_dampening: f32,
        weight_decay: f32,
    }
}

params! {
    struct AdamParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        step_size: f32,
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

params! {
    struct RmsPropParams {
        len: u32,
        first_step: u32,
        gradient_scale: f32,
        learning_rate: f32,
        alpha: f32,
        one_minus_alpha: f32,
        epsilon: f32,
        momentum: f32,
        weight_decay: f32,
    }
}

params! {
    struct NormPartialParams {
        len: u32,
        first: u32,
    }
}

params! {
    struct NormTotalParams {
        len: u32,
        max_norm: f32,
        gradient_scale: f32,
    }
}

pub(crate) const SGD: Kernel = Kernel {
    name: "optimizer_sgd",
    source: source!("optimizer_sgd.wgsl"),
    blocks: &[&blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: SgdParams::LAYOUT,
    constants: &["HAS_MOMENTUM", "NESTEROV"],
};

pub(crate) const ADAM: Kernel = Kernel {
    name: "optimizer_adam",
    source: source!("optimizer_adam.wgsl"),
    blocks: &[&blocks::ADAM_MOMENTS, &blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: AdamParams::LAYOUT,
    constants: &["AMSGRAD"],
};

pub(crate) const RMSPROP: Kernel = Kernel {
    name: "optimizer_rmsprop",
    source: source!("optimizer_rmsprop.wgsl"),
    blocks: &[&blocks::GRADIENT_SLAB, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite, ReadWrite, ReadWrite],
    formats: &[],
    params: RmsPropParams::LAYOUT,
    constants: &["CENTERED", "HAS_MOMENTUM"],
};

pub(crate) const NORM_PARTIAL: Kernel = Kernel {
    name: "optimizer_norm_partial",
    source: source!("optimizer_norm_partial.wgsl"),
    blocks: &[&blocks::HUGE, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: NormPartialParams::LAYOUT,
    constants: &[],
};

pub(crate) const NORM_TOTAL: Kernel = Kernel {
    name: "optimizer_norm_total",
    source: source!("optimizer_norm_total.wgsl"),
    blocks: &[&blocks::HUGE, &blocks::REDUCE, &blocks::NAN],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: NormTotalParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &SGD,
    &ADAM,
    &RMSPROP,
    &ADAGRAD,
    &ADADELTA,
    &NADAM,
    &LION,
    &NORM_PARTIAL,
    &NORM_TOTAL,
];

/// Vectors of four that a workgroup of [`NORM_PARTIAL`] squares.
const NORM_VECTORS: usize = 64 * 16;

/// Updates a slab of parameters of `len` vectors of four, all of one group. Its params change with every
/// step: the caller fills them in through [`params`].
pub(crate) fn update(
    recording: &mut Recording,
    (group, optimizer): (usize, &Optimizer),
    len: usize,
    [gradient, parameter]: [Region; 2],
    clip: Option<Region>,
    state: &[Region],
) {
    let (grid, has_clip) = (flat_grid(len), ("HAS_CLIP", flag(clip.is_some())));
    let mut slots = state.iter().copied();
    let all = [Some(gradient), clip, Some(parameter)].into_iter();
    let all: Vec<_> = all.chain(state.iter().copied().map(Some)).collect();
    match optimizer {
        Optimizer::Sgd(sgd) => {
            let velocity = slots.next();
            let momentum = ("HAS_MOMENTUM", flag(velocity.is_some()));
            let constants = [momentum, ("NESTEROV", flag(sgd.nesterov)), has_clip];
            let regions = [Some(gradient), clip, Some(parameter), velocity];
            let params: SgdParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&SGD, &constants, &regions, params, grid);
        }
        Optimizer::Adam(adam) => {
            let constants = [("AMSGRAD", flag(adam.amsgrad)), has_clip];
            let moments = [slots.next(), slots.next()];
            let regions = [
                Some(gradient),
                clip,
                Some(parameter),
                moments[0],
                moments[1],
                slots.next(),
            ];
            let params: AdamParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&ADAM, &constants, &regions, params, grid);
        }
        Optimizer::RmsProp(rms) => {
            let square = slots.next();
            let average = if rms.centered { slots.next() } else { None };
            let velocity = slots.next();
            let momentum = ("HAS_MOMENTUM", flag(velocity.is_some()));
            let constants = [("CENTERED", flag(rms.centered)), momentum, has_clip];
            let regions = [
                Some(gradient),
                clip,
                Some(parameter),
                square,
                average,
                velocity,
            ];
            let params: RmsPropParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&RMSPROP, &constants, &regions, params, grid);
        }
        Optimizer::Adagrad(_) => {
            let params: AdagradParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&ADAGRAD, &[has_clip], &all, params, grid);
        }
        Optimizer::Adadelta(_) => {
            let params: AdadeltaParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&ADADELTA, &[has_clip], &all, params, grid);
        }
        Optimizer::NAdam(_) => {
            let params: NAdamParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&NADAM, &[has_clip], &all, params, grid);
        }
        Optimizer::Lion(_) => {
            let params: LionParams = bytemuck::Zeroable::zeroed();
            recording.dispatch(&LION, &[has_clip], &all, params, grid);
        }
    }
    recording.varies(Varies::Optimizer {
        vectors: len as u32,
        group,
    });
}

/// The params of an optimizer's kernel over `len` vectors of four, at a step counted from 1.
pub(crate) fn params(optimizer: &Optimizer, step: u64, len: u32, gradient_scale: f32) -> Vec<u8> {
    let first_step = u32::from(step == 1);
    match *optimizer {
        Optimizer::Sgd(Sgd {
            learning_rate,
            momentum,
            dampening,
            weight_decay,
            ..
        }) => bytes(SgdParams {
            len,
            first_step,
            gradient_scale,
            learning_rate: learning_rate as f32,
            momentum: momentum as f32,
            one_minus_dampening: (1.0 - dampening) as f32,
            weight_decay: weight_decay as f32,
        }),
        Optimizer::Adam(adam) => {
            let Adam {
                learning_rate,
                betas: [beta1, beta2],
                epsilon,
                weight_decay,
                ..
            } = adam;
            let power = step.min(i32::MAX as u64) as i32;
            let (penalty, decay) = match adam.decoupled {
                true => (0.0, 1.0 - learning_rate * weight_decay),
                false => (weight_decay, 1.0),
            };
            bytes(AdamParams {
                len,
                first_step,
                gradient_scale,
                step_size: (learning_rate / (1.0 - beta1.powi(power))) as f32,
                root_correction: (1.0 - beta2.powi(power)).sqrt() as f32,
                beta1: beta1 as f32,
                one_minus_beta1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                one_minus_beta2: (1.0 - beta2) as f32,
                epsilon: epsilon as f32,
                weight_decay: penalty as f32,
                decay: decay as f32,
            })
        }
        Optimizer::RmsProp(rms) => bytes(RmsPropParams {
            len,
            first_step,
            gradient_scale,
            learning_rate: rms.learning_rate as f32,
            alpha: rms.alpha as f32,
            one_minus_alpha: (1.0 - rms.alpha) as f32,
            epsilon: rms.epsilon as f32,
            momentum: rms.momentum as f32,
            weight_decay: rms.weight_decay as f32,
        }),
        Optimizer::Adagrad(ref own) => adagrad::params(own, step, len, gradient_scale),
        Optimizer::Adadelta(ref own) => adadelta::params(own, step, len, gradient_scale),
        Optimizer::NAdam(ref own) => nadam::params(own, step, len, gradient_scale),
        Optimizer::Lion(ref own) => lion::params(own, step, len, gradient_scale),
    }
}

fn bytes(params: impl bytemuck::NoUninit) -> Vec<u8> {
    bytemuck::bytes_of(&params).to_vec()
}

/// Numbers that the factor of clipping is the product of.
pub(crate) const CLIP_FACTORS: usize = 2;

/// The factor that brings the norm of all gradients down to `max_norm`, into `clip`. `slabs` are the
/// gradients with their lengths in vectors of four.
pub(crate) fn clip(
    recording: &mut Recording,
    slabs: &[(Region, usize)],
    max_norm: f64,
    clip: Region,
) {
    let groups = |len: usize| len.div_ceil(NORM_VECTORS);
    let total: usize = slabs.iter().map(|&(_, len)| groups(len)).sum();
    let squares = recording.transient("squared gradients", 2 * total);
    let mut first = 0;
    for &(gradient, len) in slabs {
        let params = NormPartialParams {
            len: len as u32,
            first: first as u32,
        };
        let regions = [Some(gradient), Some(squares)];
        recording.dispatch(
            &NORM_PARTIAL,
            &[],
            &regions,
            params,
            group_grid(groups(len)),
        );
        first += groups(len);
    }
    let params = NormTotalParams {
        len: total as u32,
        max_norm: max_norm as f32,
        gradient_scale: 1.0,
    };
    recording.iterations(strategy::group_iterations(total));
    recording.dispatch(
        &NORM_TOTAL,
        &[],
        &[Some(squares), Some(clip)],
        params,
        [1, 1, 1],
    );
    recording.varies(Varies::Clip);
}

/// Fills in what changes from step to step in the params of the norm's total.
pub(crate) fn set_clip_step(params: &mut [u8], gradient_scale: f32) {
    super::edit(params, |params: &mut NormTotalParams| {
        params.gradient_scale = gradient_scale
    });
}
