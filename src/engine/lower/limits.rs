//! A plan's kernels for a device with limits: where a batch is too large for them, the error says which
//! would not be.

use super::{Lowered, PlanOptions, Task, lower};
use crate::engine::memory::staging_sizes;
use crate::gpu::strategy::Traits;
use crate::model::ValueId;
use crate::{Error, Result};

/// Elements of a tensor that kernels can count, in vectors of four.
const COUNTABLE: usize = u32::MAX as usize / 4;

/// Records the kernels of a plan, or tells which layer needs more than the device has, and what batch
/// would fit.
pub(in crate::engine) fn lower_planned(task: &Task, traits: Traits) -> Result<Lowered> {
    let result = attempt(task, traits, task.options.batch);
    result.map_err(|error| match matches!(error, Error::Limit { .. }) {
        true => advised(task, traits, error),
        false => error,
    })
}

fn attempt(task: &Task, traits: Traits, batch: usize) -> Result<Lowered> {
    let task = Task {
        options: PlanOptions {
            batch,
            ..task.options
        },
        ..task.clone()
    };
    check_lengths(&task, traits)?;
    let lowered = lower(&task, traits, batch)?;
    for (what, needed) in staging_sizes(&lowered) {
        if needed > traits.max_buffer {
            return Err(Error::Limit {
                limit: "max_buffer_size",
                what: what.into(),
                needed,
                available: traits.max_buffer,
            });
        }
    }
    Ok(lowered)
}

/// Refuses a batch whose values are more than can be counted, before anything is counted.
fn check_lengths(task: &Task, traits: Traits) -> Result<()> {
    let (graph, batch) = (&task.model.graph, task.options.batch);
    let len = |value: ValueId| graph.shape(value).len().saturating_mul(batch);
    let Some(value) = graph.values().find(|&value| len(value) > COUNTABLE) else {
        return Ok(());
    };
    let mut nodes = graph.nodes().iter();
    let node = nodes.find(|node| node.output == value);
    Err(Error::Limit {
        limit: "max_storage_buffer_binding_size",
        what: match node {
            Some(node) => format!("{}: output", node.label()),
            None => format!("model: {}", graph.value_name(value)),
        },
        needed: (len(value) as u64).saturating_mul(4),
        available: traits.max_binding,
    })
}

/// The error, with the largest batch that fits where it hangs on the batch.
fn advised(task: &Task, traits: Traits, error: Error) -> Error {
    let batch = task.options.batch;
    let fails = |batch: usize| attempt(task, traits, batch).err();
    if let Some(first) = fails(1) {
        // What is the same for two examples, no batch changes.
        let unmoved = fails(2).is_some_and(|second| second == first);
        return match unmoved {
            true => first,
            false => at_batch(first, 1, "not even one example fits".into()),
        };
    }
    let (mut fit, mut many) = (1, batch);
    while many - fit > 1 {
        let middle = fit + (many - fit) / 2;
        match fails(middle) {
            None => fit = middle,
            Some(_) => many = middle,
        }
    }
    let advice = format!("the largest that fits is {fit}, and accumulate adds up several");
    at_batch(error, batch, advice)
}

/// The error of a limit, with a word about the batch.
fn at_batch(error: Error, batch: usize, advice: String) -> Error {
    let Error::Limit {
        limit,
        what,
        needed,
        available,
    } = error
    else {
        return error;
    };
    Error::Limit {
        limit,
        what: format!("{what}, at a batch of {batch} ({advice}),"),
        needed,
        available,
    }
}
