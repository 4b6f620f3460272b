//! What changes from step to step in the params of the kernels.

use crate::gpu::kernels::loss::LossStep;
use crate::gpu::kernels::{dropout, loss, optimizer};
use crate::gpu::record::{Dispatch, Varies};
use crate::op::{Loss, Optimizer};

use super::PlanOptions;

/// What a submission says to the kernels whose params vary.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Step {
    pub loss: LossStep,
    /// Batches before this one.
    pub batch: u64,
    /// The update that this submission makes, counted from 1.
    pub update: u64,
    pub gradient_scale: f32,
}

impl Step {
    /// Writes what varies into the params of a dispatch.
    pub fn fill(
        self,
        dispatch: &Dispatch,
        params: &mut [u8],
        loss: &Loss,
        optimizer: &Optimizer,
        options: &PlanOptions,
    ) {
        match dispatch.varies {
            Varies::Nothing => {}
            Varies::Loss => loss::set_step(loss, params, self.loss),
            Varies::LossTotal => loss::set_total_step(params, self.loss),
            Varies::Dropout => dropout::set_step(params, options.seed, self.batch),
            Varies::Clip => optimizer::set_clip_step(params, self.gradient_scale),
            Varies::Optimizer { vectors } => {
                let (update, scale) = (self.update.max(1), self.gradient_scale);
                let values = optimizer::params(optimizer, update, vectors, scale);
                params[..values.len()].copy_from_slice(&values);
            }
        }
    }
}

impl Step {
    /// The first batch, which is an update.
    pub const FIRST: Self = Self {
        loss: LossStep {
            scale: 1.0,
            gradient_scale: 1.0,
            weight: 1.0,
            soft: false,
        },
        batch: 0,
        update: 1,
        gradient_scale: 1.0,
    };
}
