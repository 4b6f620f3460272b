//! Lowering: the kernels of a training step and of a prediction, recorded in order, with the buffers
//! between them. Which activations become part of which kernel is decided here; what an operator's
//! kernels are, [`operators`](super::operators) knows.

mod fusion;
mod inputs;
mod limits;
mod look;
mod prediction;
mod ranks;
#[cfg(test)]
mod record;
mod slabs;
mod task;
#[cfg(test)]
mod tests;
mod walk;
mod wiring;

use std::ops::Range;

use crate::gpu::kernels::{Output, activation, average, optimizer};
use crate::gpu::record::{Dispatch, Recording, Region, Storage};
use crate::gpu::strategy::Traits;
#[cfg(test)]
use crate::model::{Groups, OutputLoss};
use crate::model::{Node, ParameterId, ValueId};
use crate::{Error, Loss, Result};

use super::operators::{Backward, Forward, Mode, Pieces};
pub(super) use fusion::Fusion;
use inputs::{input_places, record_numbers};
pub(super) use limits::lower_planned;
pub(super) use look::Asked;
pub(super) use prediction::Predicting;
pub(super) use ranks::Apart;
#[cfg(test)]
pub(crate) use record::{record, record_in_pieces, record_of_ranks};
pub(super) use slabs::Slab;
use slabs::{Buffer, Spots, place_parameters};
pub(crate) use task::PlanOptions;
pub(super) use task::{Purpose, Task};
use walk::Walk;
pub(super) use wiring::wiring_faults;

/// The kernels of a model.
#[derive(Debug)]
pub(super) struct Lowered {
    pub recording: Recording,
    pub ranges: Ranges,
    /// The part of each node, by its place in the graph.
    pub nodes: Vec<NodeParts>,
    /// What makes numbers of the bytes of inputs, in the order of its recording, with the places of both.
    pub unpacked: Vec<Part<[Region; 2]>>,
    /// What writes each output in evaluation where its layer does not, as where it does nothing there.
    pub copies: Vec<Option<Part<Forward>>>,
    /// Where nothing but predictions is asked for: those of each size of batch, the largest first.
    pub predictions: Vec<Predicting>,
    /// What brings the parameters into the form in which those read them.
    pub loading: Vec<Dispatch>,
    /// The values of a look; of a training that asks for its inputs' gradients, the inputs.
    pub asked: Vec<Asked>,
    /// The same after a way back to the inputs alone.
    pub asked_alone: Vec<Asked>,
    pub inputs: Vec<Region>,
    /// The values that are the same for every example, for all examples of a batch.
    pub constants: Vec<Region>,
    /// In the order of the task's losses.
    pub losses: Vec<LossParts>,
    /// The model's outputs in training.
    pub trained: Vec<Region>,
    /// The model's outputs in evaluation.
    pub outputs: Vec<Region>,
    pub slabs: Vec<Slab>,
    /// The buffers of the parameters that are not learned, such as running statistics.
    pub unlearned: Vec<Region>,
    /// Where several ranks train: the batch's own means and variances, until they are folded.
    pub apart: Option<Apart>,
    /// How many train together.
    pub ranks: usize,
    places: Vec<Spots>,
}

/// What a loss reads and writes.
#[derive(Debug, Clone)]
pub(in crate::engine) struct LossParts {
    /// `(N)`, or `(N, plane)` where the loss takes a label for each pixel.
    pub labels: Region,
    /// `(N, outputs)`: values or probabilities.
    pub values: Region,
    /// Where the loss has weights: `(classes)`, or those of positive targets and of elements.
    pub loss_weights: Option<Region>,
    pub loss: Region,
    /// The output in training, and the loss's gradient with respect to it.
    pub logits: [Region; 2],
    /// The kernels of this loss; none where the caller computes it.
    pub range: Range<usize>,
    /// What adds the gradient to that of another loss of the same value.
    pub sum: Option<Part<Output>>,
}

/// The dispatches by purpose.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// What depends on the parameters alone: run when they have changed.
    pub prepare: Range<usize>,
    /// The part of it that depends on those which an update changes.
    pub prepare_again: Range<usize>,
    pub forward: Range<usize>,
    pub loss: Range<usize>,
    pub backward: Range<usize>,
    /// The way back to the inputs alone, where their gradients are asked for: it leaves what
    /// [`backward`](Self::backward) needs.
    pub to_inputs: Range<usize>,
    /// What begins a sum over micro-batches with a batch's gradients, and what adds to it; empty where
    /// a batch is an update.
    pub begin_sum: Range<usize>,
    pub add_to_sum: Range<usize>,
    pub update: Range<usize>,
    /// What an update makes of the average, and what exchanges it with the parameters; empty where none
    /// is kept.
    pub average: Range<usize>,
    /// What folds a batch's own means and variances into the running ones; empty where one rank trains.
    pub fold: Range<usize>,
    pub swap: Range<usize>,
    /// A forward pass alone, in evaluation.
    pub predict: Range<usize>,
}

impl Ranges {
    /// A batch's loss and gradients.
    pub fn gradients(&self) -> [Range<usize>; 3] {
        [&self.forward, &self.loss, &self.backward].map(Range::clone)
    }
}

/// Dispatches, and the places that they were given.
#[derive(Debug, Clone)]
pub(super) struct Part<P> {
    pub range: Range<usize>,
    pub mode: Mode,
    pub places: P,
}

/// What of a recording belongs to a node. A view has nothing, and neither has an activation that is
/// part of the kernels before it.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeParts {
    pub forward: Option<Part<Forward>>,
    pub backward: Option<Part<Backward>>,
    /// What adds the gradients of parameters that it shares, which lie at the first of these places, to
    /// what other layers made of them, at the second.
    pub sums: Vec<Part<[Pieces; 2]>>,
    /// The value that took the gradient of the node's output over, unchanged.
    pub heir: Option<ValueId>,
    pub predict: Option<Part<Forward>>,
}

impl NodeParts {
    /// What the forward pass keeps beside the value.
    fn kept(&self) -> Option<Region> {
        self.forward.as_ref().and_then(|part| part.places.kept)
    }
}

impl Lowered {
    /// The buffers that a model keeps, and no kernels yet.
    fn new(task: &Task, traits: Traits) -> Result<Self> {
        let (graph, planned) = (&task.model.graph, task.options.batch);
        let mut recording = Recording::new(task.traits(traits));
        recording.choices = task.choices.cloned().unwrap_or_default();
        recording.decide_as(task.decisions.to_vec());
        recording.set_label("model");
        let inputs = input_places(&mut recording, graph, planned);
        let mut persistent =
            |label: &str, len: usize| recording.buffer(label, len, Storage::Persistent);
        let len = |value: ValueId| planned * graph.shape(value).len();
        let constants = graph.constants().iter();
        let constants = constants.map(|constant| persistent("constant", len(constant.value)));
        let constants = constants.collect();
        let mut losses = Vec::new();
        for loss in task.losses {
            let shape = graph.shape(graph.outputs()[loss.output]);
            let function = loss.loss.as_ref();
            let geometry = function
                .map(|own| own.geometry(planned, shape))
                .transpose()?;
            // Of what is not taken, as of a loss of the caller's, an element is there to be bound.
            let labels = geometry.filter(|_| function.is_some_and(Loss::takes_labels));
            let values = geometry.filter(|_| function.is_some_and(Loss::takes_values));
            let weights = function.and_then(Loss::weights);
            losses.push(LossParts {
                labels: persistent("labels", labels.map_or(1, |of| of.positions())),
                values: persistent("target values", values.map_or(1, |_| planned * shape.len())),
                loss_weights: weights.map(|weights| persistent("loss weights", weights.len())),
                loss: persistent("loss", 1),
                logits: [inputs[0]; 2],
                range: 0..0,
                sum: None,
            });
        }
        let outputs = graph.outputs().iter();
        let outputs: Vec<_> = outputs.map(|&o| persistent("output", len(o))).collect();
        let (slabs, unlearned, places) = place_parameters(task, &mut recording)?;
        Ok(Self {
            recording,
            ranges: Ranges::default(),
            nodes: vec![NodeParts::default(); task.model.graph.nodes().len()],
            unpacked: vec![],
            copies: vec![None; outputs.len()],
            predictions: vec![],
            loading: vec![],
            asked: vec![],
            asked_alone: vec![],
            trained: vec![inputs[0]; outputs.len()],
            inputs,
            constants,
            losses,
            outputs,
            slabs,
            unlearned,
            apart: None,
            ranks: task.options.ranks,
            places,
        })
    }

    /// Where a parameter or a statistic lies.
    pub fn parameter(&self, id: ParameterId) -> Result<Pieces> {
        self.places[id.0].within(|buffer| {
            Ok(match buffer {
                Buffer::Slab(at) => self.slabs[at].parameter,
                Buffer::Unlearned(at) => self.unlearned[at],
            })
        })
    }

    /// Where a node's kernels read the parameter at a position.
    fn read_by(&self, node: &Node, position: usize, id: ParameterId) -> Result<Pieces> {
        match node.op.definition().reads_half(position) {
            true => self.half(id),
            false => self.parameter(id),
        }
    }

    /// Where products find a parameter: in half precision in the slab's copy.
    fn half(&self, id: ParameterId) -> Result<Pieces> {
        match self.places[id.0].is_learned() {
            true => self.within(id, |slab| slab.copy.unwrap_or(slab.parameter)),
            // What is not learned has no copy: kernels read it as it is.
            false => self.parameter(id),
        }
    }

    /// Whether the optimizer changes a parameter.
    pub fn learns(&self, id: ParameterId) -> bool {
        self.places[id.0].is_learned()
    }

    /// Where a slot of the optimizer's state of a parameter lies; of what is not learned there is none.
    pub fn state(&self, id: ParameterId, slot: usize) -> Result<Pieces> {
        self.within(id, |slab| slab.state[slot])
    }

    /// Where the average of a learned parameter lies, where one is kept.
    pub fn average(&self, id: ParameterId) -> Result<Pieces> {
        self.within(id, |slab| slab.average.unwrap_or(slab.parameter))
    }

    /// Where a batch's gradient of a parameter lies; a statistic has none.
    pub fn gradient(&self, id: ParameterId) -> Result<Pieces> {
        self.within(id, |slab| slab.gradient)
    }

    /// Where the gradient that the optimizer takes lies.
    pub fn total_gradient(&self, id: ParameterId) -> Result<Pieces> {
        self.within(id, Slab::total)
    }

    fn within(&self, id: ParameterId, region: impl Fn(&Slab) -> Region) -> Result<Pieces> {
        self.places[id.0].within(|buffer| match buffer {
            Buffer::Slab(at) => Ok(region(&self.slabs[at])),
            Buffer::Unlearned(_) => {
                let reason = "a parameter that is not learned has none";
                Err(Error::argument("gradient", reason))
            }
        })
    }
}

impl Lowered {
    /// A range of the dispatches by itself: a recording of nothing else, in which every buffer that
    /// they use is kept.
    pub fn part(mut self, range: fn(&mut Ranges) -> &mut Range<usize>) -> Self {
        let kept = range(&mut self.ranges).clone();
        for loss in &mut self.losses {
            let within = kept.start <= loss.range.start && loss.range.end <= kept.end;
            loss.range = match within {
                true => loss.range.start - kept.start..loss.range.end - kept.start,
                false => 0..0,
            };
        }
        let recording = &mut self.recording;
        recording.dispatches.truncate(kept.end);
        recording.dispatches.drain(..kept.start);
        let mut used = vec![false; recording.buffers.len()];
        let regions = recording.dispatches.iter().flat_map(Dispatch::regions);
        regions.for_each(|region| used[region.buffer.0] = true);
        for (buffer, used) in recording.buffers.iter_mut().zip(used) {
            buffer.storage = match used {
                true => Storage::Persistent,
                false => Storage::Transient,
            };
        }
        self.ranges = Ranges::default();
        *range(&mut self.ranges) = 0..kept.len();
        (self.nodes, self.copies, self.unpacked) = (vec![], vec![], vec![]);
        self
    }
}

/// Records a model's kernels for `batch` examples. The buffers are those of the planned batch, and
/// so are the kernels and their order: only params and grids depend on `batch`.
pub(super) fn lower(task: &Task, traits: Traits, batch: usize) -> Result<Lowered> {
    match task.purpose {
        Purpose::Training => {}
        Purpose::Prediction(sizes) => return prediction::lower(task, sizes, traits, batch),
        Purpose::Look => return look::lower(task, traits, batch),
    }
    let mut lowered = Lowered::new(task, traits)?;
    let fusion = Fusion::of(&task.model.graph, &task.wanted);
    let mut begin = 0;
    let mut recorded = |lowered: &Lowered| {
        let end = lowered.recording.dispatches.len();
        std::mem::replace(&mut begin, end)..end
    };
    lowered.recording.prepare_apart();
    record_copies(&mut lowered);
    ranks::place_apart(task, &mut lowered);
    let mut training = Walk::new(task, &fusion, batch, Mode::Training);
    training.forward(&mut lowered)?;
    look::keep_outputs(task, &mut lowered);
    lowered.ranges.forward = recorded(&lowered);
    training.losses(&mut lowered)?;
    lowered.ranges.loss = recorded(&lowered);
    if task.options.input_gradients {
        // Before the whole way back, so that it can only take memory that nothing else needs.
        let mut to_inputs = training.without_parameters();
        to_inputs.backward(&mut lowered)?;
        lowered.asked_alone = to_inputs.asked()?;
    }
    lowered.ranges.to_inputs = recorded(&lowered);
    training.backward(&mut lowered)?;
    lowered.ranges.backward = recorded(&lowered);
    if task.options.input_gradients {
        lowered.asked = training.asked()?;
        look::keep(&mut lowered);
    }
    record_sum(&mut lowered, false);
    lowered.ranges.begin_sum = recorded(&lowered);
    record_sum(&mut lowered, true);
    lowered.ranges.add_to_sum = recorded(&lowered);
    record_update(task, &mut lowered);
    lowered.ranges.update = recorded(&lowered);
    record_average(&mut lowered);
    lowered.ranges.average = recorded(&lowered);
    record_swap(&mut lowered);
    lowered.ranges.swap = recorded(&lowered);
    ranks::record_fold(task, &mut lowered)?;
    lowered.ranges.fold = recorded(&lowered);
    Walk::new(task, &fusion, batch, Mode::Evaluation).predict(&mut lowered)?;
    lowered.ranges.predict = recorded(&lowered);
    let fixed = lowered.recording.end_preparation();
    let prepare = recorded(&lowered);
    lowered.ranges.prepare_again = prepare.start + fixed..prepare.end;
    lowered.ranges.prepare = prepare;
    lowered.recording = lowered.recording.finish()?;
    Ok(lowered)
}

/// Records the copies of the parameters in half precision.
fn record_copies(lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("half precision");
    recording.preparing(|recording| {
        for slab in slabs.iter() {
            if let Some(copy) = slab.copy {
                activation::forward(recording, 4 * slab.vectors(), slab.parameter, copy.into());
            }
        }
    });
}

/// Records what a batch's gradients do to the sum over micro-batches: begin it, or add to it.
fn record_sum(lowered: &mut Lowered, accumulate: bool) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("optimizer");
    for slab in slabs.iter() {
        if let Some(sum) = slab.sum {
            let output = Output {
                accumulate,
                ..sum.into()
            };
            activation::forward(recording, 4 * slab.vectors(), slab.gradient, output);
        }
    }
}

/// Records clipping and the optimizer.
fn record_update(task: &Task, lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("optimizer");
    let clip = task.options.clip_norm.map(|max_norm| {
        let clip = recording.transient("clip", optimizer::CLIP_FACTORS);
        let totals = slabs.iter().map(|slab| (slab.total(), slab.vectors()));
        let totals: Vec<_> = totals.collect();
        optimizer::clip(recording, &totals, max_norm, clip);
        clip
    });
    for slab in slabs.iter() {
        let regions = [slab.total(), slab.parameter];
        let len = slab.vectors();
        let group = (slab.group, &task.groups.list()[slab.group].optimizer);
        optimizer::update(recording, group, len, regions, clip, &slab.state);
    }
}

/// Records what an update makes of the average.
fn record_average(lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("average");
    for slab in slabs.iter() {
        if let Some(average) = slab.average {
            let regions = [slab.parameter, average];
            average::update(recording, slab.vectors(), regions);
        }
    }
}

/// Records the exchange of the parameters with their average.
fn record_swap(lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    for slab in slabs.iter() {
        if let Some(average) = slab.average {
            average::swap(recording, slab.vectors(), [slab.parameter, average]);
        }
    }
}
