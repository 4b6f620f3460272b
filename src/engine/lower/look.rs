//! A look at values and their gradients: one pass of training there and back, which changes nothing that is kept.

use super::walk::Walk;
use super::{Fusion, Lowered, Ranges, Task, record_copies};
use crate::Result;
use crate::engine::operators::Mode;
use crate::gpu::record::{Region, Storage};
use crate::gpu::strategy::Traits;
use crate::model::ValueId;

/// A value that is asked for, and where it and its gradient lie.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Asked {
    pub value: ValueId,
    pub place: Region,
    /// None where none arrives, as where no loss depends on the value.
    pub gradient: Option<Region>,
}

/// Records the pass.
pub(super) fn lower(task: &Task, traits: Traits, batch: usize) -> Result<Lowered> {
    let graph = &task.model.graph;
    let mut lowered = Lowered::new(task, traits)?;
    let fusion = Fusion::of(graph, &task.wanted);
    let mut begin = 0;
    let mut recorded = |lowered: &Lowered| {
        let end = lowered.recording.dispatches.len();
        std::mem::replace(&mut begin, end)..end
    };
    lowered.recording.prepare_apart();
    record_copies(&mut lowered);
    let mut walk = Walk::new(task, &fusion, batch, Mode::Training);
    walk.forward(&mut lowered)?;
    let forward = recorded(&lowered);
    walk.losses(&mut lowered)?;
    let loss = recorded(&lowered);
    walk.backward(&mut lowered)?;
    let backward = recorded(&lowered);
    lowered.recording.end_preparation(); // nothing here changes parameters
    lowered.ranges = Ranges {
        forward,
        loss,
        backward,
        prepare: recorded(&lowered),
        ..Ranges::default()
    };
    lowered.asked = walk.asked()?;
    keep(&mut lowered);
    keep_outputs(task, &mut lowered);
    lowered.recording = lowered.recording.finish()?;
    Ok(lowered)
}

/// Makes outputs that are handed out stay until they are read, those among them that no layer computes.
pub(super) fn keep_outputs(task: &Task, lowered: &mut Lowered) {
    if task.hands_outputs_out() {
        for region in &lowered.trained {
            lowered.recording.buffers[region.buffer.0].storage = Storage::Persistent;
        }
    }
}

/// Makes what is looked at stay until it is read.
pub(super) fn keep(lowered: &mut Lowered) {
    let asked = lowered.asked.iter().chain(&lowered.asked_alone);
    let places = asked.flat_map(|asked| [Some(asked.place), asked.gradient]);
    let kept: Vec<Region> = places.flatten().collect();
    for region in kept {
        lowered.recording.buffers[region.buffer.0].storage = Storage::Persistent;
    }
}
