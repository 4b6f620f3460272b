//! What changes from step to step in the params of the kernels.

use crate::engine::lower::LossParts;
use crate::gpu::kernels::loss::LossStep;
use crate::gpu::kernels::{average, dropout, loss, optimizer};
use crate::gpu::record::{Dispatch, Varies};
use crate::model::{Groups, OutputLoss};

use super::PlanOptions;

/// What a submission says to the kernels whose params vary.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Step {
    /// In the order of the losses; none where no loss is computed.
    pub losses: Vec<LossStep>,
    /// Updates before this batch.
    pub made: u64,
    /// Examples of its update before it.
    pub examples: u64,
    /// The update that this submission makes, counted from 1.
    pub update: u64,
    /// The updates that had been made when the average began.
    pub average_began: u64,
    pub gradient_scale: f32,
}

/// What the params of a plan's kernels follow from beside the step.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Setting<'a> {
    pub losses: &'a [OutputLoss],
    /// Of the same losses.
    pub parts: &'a [LossParts],
    pub groups: &'a Groups,
    pub options: &'a PlanOptions,
}

impl Step {
    /// Writes what varies into the params of the dispatch at a place.
    pub fn fill(&self, (at, dispatch): (usize, &Dispatch), params: &mut [u8], setting: &Setting) {
        let Setting {
            groups, options, ..
        } = setting;
        match dispatch.varies {
            Varies::Nothing => {}
            Varies::Loss | Varies::LossTotal => self.fill_loss((at, dispatch), params, setting),
            Varies::Dropout { masks } => {
                let first = self.examples.wrapping_mul(u64::from(masks));
                dropout::set_step(params, options.seed, self.made, first);
            }
            Varies::Clip => optimizer::set_clip_step(params, self.gradient_scale),
            Varies::Optimizer { vectors, group } => {
                let group = &groups.list()[group];
                let update = group.updates(self.update).max(1);
                let scale = self.gradient_scale;
                let values = optimizer::params(&group.optimizer, update, vectors, scale);
                params[..values.len()].copy_from_slice(&values);
            }
            Varies::Average => {
                if let Some(own) = &options.average {
                    let update = own.own_update(self.update, self.average_began);
                    average::set_shares(params, own, update);
                }
            }
        }
    }

    fn fill_loss(&self, (at, dispatch): (usize, &Dispatch), params: &mut [u8], setting: &Setting) {
        let mut parts = setting.parts.iter();
        let Some(position) = parts.position(|parts| parts.range.contains(&at)) else {
            return;
        };
        let step = self.losses.get(position).copied().unwrap_or(LossStep::UNIT);
        match (&setting.losses[position].loss, dispatch.varies) {
            (Some(_), Varies::LossTotal) => loss::set_total_step(params, step),
            (Some(loss), _) => loss::set_step(loss, params, step),
            (None, _) => {}
        }
    }
}

impl Step {
    /// The first batch, which is an update.
    pub const FIRST: Self = Self {
        losses: Vec::new(),
        made: 0,
        examples: 0,
        update: 1,
        average_began: 0,
        gradient_scale: 1.0,
    };
}
