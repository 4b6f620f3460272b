//! What changes from step to step in the params of the kernels.

use super::lower::{LossParts, PlanOptions};
use crate::Result;
use crate::gpu::kernels::loss::LossStep;
use crate::gpu::kernels::{average, dropout, loss, optimizer};
use crate::gpu::record::{Dispatch, Varies};
use crate::model::{Graph, Groups, OutputLoss};
use crate::op::Target;

/// What a submission says to the kernels whose params vary.
#[derive(Debug, Clone)]
pub(super) struct Step {
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
pub(super) struct Setting<'a> {
    pub losses: &'a [OutputLoss],
    pub groups: &'a Groups,
    pub options: &'a PlanOptions,
}

impl Step {
    /// Writes what varies into the params of the dispatch at a place. The parts are those of the losses.
    pub fn fill(
        &self,
        (at, dispatch): (usize, &Dispatch),
        params: &mut [u8],
        parts: &[LossParts],
        setting: &Setting,
    ) {
        let Setting {
            groups, options, ..
        } = setting;
        match dispatch.varies {
            Varies::Nothing => {}
            Varies::Loss | Varies::LossTotal => {
                let own = parts.iter().position(|parts| parts.range.contains(&at));
                if let Some(own) = own {
                    self.fill_loss((own, &setting.losses[own]), dispatch, params);
                }
            }
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

    fn fill_loss(
        &self,
        (position, of): (usize, &OutputLoss),
        dispatch: &Dispatch,
        params: &mut [u8],
    ) {
        let step = self.losses.get(position).copied().unwrap_or(LossStep::UNIT);
        match (&of.loss, dispatch.varies) {
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

/// What each of the losses of a batch is divided by; 1 where it is the caller's.
pub(super) fn normalisers(
    graph: &Graph,
    losses: &[OutputLoss],
    examples: usize,
    targets: &[Target],
) -> Result<Vec<f64>> {
    let normalisers = losses.iter().zip(targets).map(|(of, target)| {
        let Some(own) = &of.loss else { return Ok(1.0) };
        let geometry = own.geometry(examples, graph.shape(graph.outputs()[of.output]))?;
        Ok(own.normaliser(target, &geometry))
    });
    normalisers.collect()
}

/// What a loss's kernels are told: by how much the loss and its gradient are multiplied.
pub(super) fn loss_step(of: &OutputLoss, target: &Target, scales: [f64; 2]) -> LossStep {
    let [scale, gradient_scale] = scales.map(|scale| scale as f32);
    LossStep {
        scale,
        gradient_scale,
        weight: of.weight,
        soft: matches!(target, Target::Values(_)),
    }
}
