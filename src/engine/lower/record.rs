//! The kernels of trainings, for tests that look at recordings.

use super::{PlanOptions, Task, lower, slabs};
use crate::Result;
use crate::gpu::record::Recording;
use crate::gpu::strategy::Traits;
use crate::model::{Groups, OutputLoss};
use crate::op::Average;

/// The kernels of a training step and of a prediction, with clipping and micro-batches, for tests
/// that look at recordings.
pub(crate) fn record(
    model: &crate::Model,
    loss: &crate::Loss,
    optimizer: &crate::Optimizer,
    batch: usize,
    half: bool,
    traits: Traits,
) -> Result<Recording> {
    let options = PlanOptions {
        clip_norm: Some(1.0),
        accumulate: 2,
        half,
        average: Some(Average::ema(0.9)),
        ..PlanOptions::new(batch)
    };
    recorded(model, loss, optimizer, options, traits)
}

/// The same for one of two ranks.
pub(crate) fn record_of_ranks(
    model: &crate::Model,
    loss: &crate::Loss,
    optimizer: &crate::Optimizer,
    batch: usize,
    half: bool,
    traits: Traits,
) -> Result<Recording> {
    let options = PlanOptions {
        ranks: 2,
        half,
        ..PlanOptions::new(batch)
    };
    recorded(model, loss, optimizer, options, traits)
}

/// The same with weights in as many pieces as there can be.
pub(crate) fn record_in_pieces(
    model: &crate::Model,
    loss: &crate::Loss,
    optimizer: &crate::Optimizer,
    batch: usize,
    half: bool,
    traits: Traits,
) -> Result<Recording> {
    let options = PlanOptions {
        half,
        max_slab: slabs::tests::smallest(model),
        ..PlanOptions::new(batch)
    };
    recorded(model, loss, optimizer, options, traits)
}

fn recorded(
    model: &crate::Model,
    loss: &crate::Loss,
    optimizer: &crate::Optimizer,
    options: PlanOptions,
    traits: Traits,
) -> Result<Recording> {
    let losses = &[OutputLoss::first(loss)];
    let groups = Groups::single(&model.graph, *optimizer);
    let task = Task::new(model, losses, &groups, options);
    Ok(lower(&task, traits, options.batch)?.recording)
}
