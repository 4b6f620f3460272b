//! Predictions alone: a forward pass in evaluation for each size of batch, one after the other in one
//! recording. So their values share memory, and each parameter is there but once.

use std::ops::Range;

use super::walk::Walk;
use super::{Fusion, Lowered, Task, input_places, record_copies};
use crate::Result;
use crate::engine::operators::Mode;
use crate::gpu::record::{BufferId, Dispatch, Recording, Region, Storage};
use crate::gpu::strategy::Traits;
use crate::gpu::tensor::padded;
use crate::model::ValueId;

/// The forward pass of batches up to a size.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Predicting {
    /// Examples at most.
    pub batch: usize,
    pub inputs: Vec<Region>,
    pub outputs: Vec<Region>,
    pub range: Range<usize>,
}

/// Records the predictions of batches of the planned size, and of each smaller one of `sizes`. A batch of
/// `batch` examples has the params and grids of as many as each of them takes.
pub(super) fn lower(task: &Task, sizes: &[usize], traits: Traits, batch: usize) -> Result<Lowered> {
    let graph = &task.model.graph;
    let mut lowered = Lowered::new(task, traits)?;
    let fusion = Fusion::of(graph, &task.wanted);
    let planned = task.options.batch;
    let mut sizes: Vec<usize> = sizes
        .iter()
        .copied()
        .filter(|&size| size < planned)
        .collect();
    sizes.push(planned);
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.dedup();
    lowered.recording.prepare_apart();
    record_copies(&mut lowered);
    let (inputs, outputs) = (lowered.inputs.clone(), lowered.outputs.clone());
    for size in sizes {
        let part = |region: Region, value: ValueId| Region {
            size: padded(size as u64 * graph.shape(value).len() as u64 * 4),
            ..region
        };
        if size < planned {
            // Of its own, so that its memory is others' where it is not needed.
            lowered.inputs = input_places(&mut lowered.recording, graph, size);
        }
        let values = outputs.iter().zip(graph.outputs());
        lowered.outputs = values
            .map(|(&region, &value)| part(region, value))
            .collect();
        let mut options = task.options;
        options.batch = size;
        let task = Task {
            options,
            ..task.clone()
        };
        let begin = lowered.recording.dispatches.len();
        Walk::new(&task, &fusion, batch.min(size), Mode::Evaluation).predict(&mut lowered)?;
        let prediction = Predicting {
            batch: size,
            inputs: lowered.inputs.clone(),
            outputs: lowered.outputs.clone(),
            range: begin..lowered.recording.dispatches.len(),
        };
        lend_inputs(&mut lowered.recording, &prediction);
        lowered.predictions.push(prediction);
    }
    (lowered.inputs, lowered.outputs) = (inputs, outputs);
    let recorded = lowered.recording.dispatches.len();
    lowered.recording.end_preparation();
    let mut recording = lowered.recording.finish()?;
    lowered.loading = in_turn(recording.dispatches.split_off(recorded));
    lowered.recording = recording;
    lend_parameters(&mut lowered);
    Ok(lowered)
}

/// Hands the memory of inputs on once they are read: where the first kernel reads an input, nothing can
/// have written there since it was uploaded.
fn lend_inputs(recording: &mut Recording, prediction: &Predicting) {
    let Some(first) = recording.dispatches.get(prediction.range.start) else {
        return;
    };
    let read: Vec<usize> = first.regions().map(|region| region.buffer.0).collect();
    for input in &prediction.inputs {
        if read.contains(&input.buffer.0) {
            recording.buffers[input.buffer.0].storage = Storage::Transient;
        }
    }
}

/// Dispatches in an order in which what reads a result comes right behind what makes it.
fn in_turn(dispatches: Vec<Dispatch>) -> Vec<Dispatch> {
    let mut left: Vec<Option<Dispatch>> = dispatches.into_iter().map(Some).collect();
    let mut ordered: Vec<Dispatch> = Vec::new();
    for first in 0..left.len() {
        let Some(dispatch) = left[first].take() else {
            continue;
        };
        let mut made: Vec<BufferId> = written(&dispatch).collect();
        ordered.push(dispatch);
        for later in &mut left[first + 1..] {
            let reads = |dispatch: &mut Dispatch| {
                let mut regions = dispatch.regions();
                regions.any(|region| made.contains(&region.buffer))
            };
            if let Some(dispatch) = later.take_if(reads) {
                made.extend(written(&dispatch));
                ordered.push(dispatch);
            }
        }
    }
    ordered
}

/// The buffers that a dispatch writes to.
fn written(dispatch: &Dispatch) -> impl Iterator<Item = BufferId> {
    dispatch.written().map(|region| region.buffer)
}

/// Gives parameters, and what is made of them, no memory where no prediction reads them: what kernels read
/// rearranged or in half precision alone is there only while it is loaded, and what was folded never.
fn lend_parameters(lowered: &mut Lowered) {
    let recording = &mut lowered.recording;
    let mut read = vec![false; recording.buffers.len()];
    let regions = recording.dispatches.iter().flat_map(Dispatch::regions);
    regions.for_each(|region| read[region.buffer.0] = true);
    let slabs = lowered.slabs.iter();
    let own = slabs.flat_map(|slab| [Some(slab.parameter), slab.copy]);
    let all = own.flatten().chain(lowered.unlearned.iter().copied());
    for region in all.filter(|region| !read[region.buffer.0]) {
        recording.buffers[region.buffer.0].storage = Storage::Transient;
    }
}
