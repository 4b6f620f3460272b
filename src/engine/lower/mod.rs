//! Lowering: the kernels of a training step and of a prediction, recorded in order, with the buffers
//! between them. Which activations become part of which product is decided here.

mod backward;
mod forward;
mod fusion;
mod single;

use std::ops::Range;

use crate::gpu::kernel::Format;
use crate::gpu::kernels::concat::Block;
use crate::gpu::kernels::{Output, activation, optimizer};
use crate::gpu::record::{Decision, Recording, Region, Storage};
use crate::gpu::strategy::{Choices, Traits};
use crate::gpu::tensor::padded;
use crate::model::{Graph, Model, Node, ParameterId, ValueId};
use crate::op::{Loss, Optimizer};
use crate::{Error, Result};

use fusion::Fusion;
pub(super) use single::{Form, Single, loss_alone, singles, update_alone};

/// What is lowered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub model: &'a Model,
    pub loss: &'a Loss,
    pub optimizer: &'a Optimizer,
    /// The largest batch: sizes of buffers and choices of kernels depend on it.
    pub planned_batch: usize,
    /// The largest part of a slab of parameters in bytes.
    pub max_slab: u64,
    /// The largest global norm of the gradients.
    pub clip_norm: Option<f64>,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Whether activations, and the weights that products read, are stored as f16.
    pub half: bool,
    /// What was found to be fast.
    pub choices: Option<&'a Choices>,
    /// The decisions of the planned batch, for a smaller one.
    pub decisions: &'a [Decision],
}

/// The kernels of a model.
#[derive(Debug)]
pub(super) struct Lowered {
    pub recording: Recording,
    /// The dispatches of a batch's forward and backward pass.
    pub gradients: Range<usize>,
    /// The dispatches that begin a sum over micro-batches with their gradients, and those that add
    /// to it; empty where a batch is an update.
    pub begin_sum: Range<usize>,
    pub add_to_sum: Range<usize>,
    /// The dispatches that update the parameters.
    pub update: Range<usize>,
    /// The dispatches of a forward pass alone, in evaluation.
    pub predict: Range<usize>,
    pub input: Region,
    /// `(N)`.
    pub labels: Region,
    /// `(N, outputs)`: values or probabilities.
    pub values: Region,
    /// `(classes)`, where the loss has weights for them.
    pub class_weights: Option<Region>,
    pub loss: Region,
    /// The model's output in evaluation.
    pub output: Region,
    pub slabs: Vec<Slab>,
    /// The running statistics, all of them.
    pub statistics: Option<Region>,
    places: Vec<Place>,
}

/// Parameters that lie in one buffer and are updated by one dispatch.
#[derive(Debug)]
pub(super) struct Slab {
    pub parameter: Region,
    /// The copy in half precision, made anew at the beginning of each pass.
    pub copy: Option<Region>,
    pub gradient: Region,
    /// The sum of the gradients of micro-batches.
    pub sum: Option<Region>,
    pub state: Vec<Region>,
}

impl Slab {
    /// The gradient that the optimizer takes.
    fn total(&self) -> Region {
        self.sum.unwrap_or(self.gradient)
    }

    fn vectors(&self) -> usize {
        (self.parameter.size / 16) as usize
    }
}

/// Where a parameter lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The slab, or `None` for a statistic.
    slab: Option<usize>,
    offset: u64,
    size: u64,
}

impl Place {
    /// Its part of a slab of either format.
    fn within(self, slab: Region) -> Region {
        let scaled = |bytes: u64| bytes / 4 * slab.format.size();
        Region {
            offset: scaled(self.offset),
            size: padded(scaled(self.size)),
            ..slab
        }
    }
}

impl Lowered {
    /// The buffers that a model keeps, and no kernels yet.
    fn new(task: &Task, traits: Traits) -> Result<Self> {
        let planned = task.planned_batch;
        let outputs = task.model.output_shape().len();
        let mut recording = Recording::new(traits);
        recording.choices = task.choices.cloned().unwrap_or_default();
        recording.decide_as(task.decisions.to_vec());
        recording.set_label("model");
        let mut persistent =
            |label: &str, len: usize| recording.buffer(label, len, Storage::Persistent);
        let input = persistent("input", planned * task.model.input_shape().len());
        let takes_labels = matches!(task.loss, Loss::CrossEntropy(_));
        let labels = persistent("labels", if takes_labels { planned } else { 1 });
        let values = persistent("target values", planned * outputs);
        let loss = persistent("loss", 1);
        let output = persistent("output", planned * outputs);
        let class_weights = match task.loss {
            Loss::CrossEntropy(loss) => loss.class_weights.as_ref(),
            _ => None,
        };
        let class_weights = class_weights.map(|weights| persistent("class weights", weights.len()));
        let (slabs, statistics, places) = place_parameters(task, &mut recording)?;
        Ok(Self {
            recording,
            gradients: 0..0,
            begin_sum: 0..0,
            add_to_sum: 0..0,
            update: 0..0,
            predict: 0..0,
            input,
            labels,
            values,
            class_weights,
            loss,
            output,
            slabs,
            statistics,
            places,
        })
    }

    /// Where a parameter or a statistic lies.
    pub fn parameter(&self, id: ParameterId) -> Result<Region> {
        let place = self.places[id.0];
        let slab = match place.slab {
            Some(slab) => Some(self.slabs[slab].parameter),
            None => self.statistics,
        };
        slab.map(|slab| place.within(slab))
            .ok_or_else(|| internal("a parameter has no place"))
    }

    /// Where the products find a weight: in half precision in the slab's copy.
    pub fn weight(&self, id: ParameterId) -> Result<Region> {
        self.within(id, |slab| slab.copy.unwrap_or(slab.parameter))
    }

    /// Where a batch's gradient of a parameter lies; a statistic has none.
    pub fn gradient(&self, id: ParameterId) -> Result<Region> {
        self.within(id, |slab| slab.gradient)
    }

    /// Where the gradient that the optimizer takes lies.
    pub fn total_gradient(&self, id: ParameterId) -> Result<Region> {
        self.within(id, Slab::total)
    }

    fn within(&self, id: ParameterId, region: impl Fn(&Slab) -> Region) -> Result<Region> {
        let place = self.places[id.0];
        let slab = place
            .slab
            .map(|slab| place.within(region(&self.slabs[slab])));
        slab.ok_or_else(|| Error::argument("gradient", "a running statistic has none"))
    }
}

/// Records a model's kernels for `batch` examples. The buffers are those of the planned batch, and
/// so are the kernels and their order: only params and grids depend on `batch`.
pub(super) fn lower(task: &Task, traits: Traits, batch: usize) -> Result<Lowered> {
    let mut lowered = Lowered::new(task, traits)?;
    let output = lowered.output;
    let fusion = Fusion::of(&task.model.graph);
    record_copies(&mut lowered);
    let mut pass = Pass::new(task, &fusion, batch, true);
    pass.forward(&mut lowered, None)?;
    pass.backward(&mut lowered)?;
    lowered.gradients = 0..lowered.recording.dispatches.len();
    record_update(task, &mut lowered);
    let start = lowered.recording.dispatches.len();
    record_copies(&mut lowered);
    Pass::new(task, &fusion, batch, false).forward(&mut lowered, Some(output))?;
    lowered.predict = start..lowered.recording.dispatches.len();
    lowered.recording = lowered.recording.finish()?;
    Ok(lowered)
}

/// Records the copies of the parameters in half precision.
fn record_copies(lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("half precision");
    for slab in slabs.iter() {
        if let Some(copy) = slab.copy {
            activation::forward(recording, 4 * slab.vectors(), slab.parameter, copy.into());
        }
    }
}

/// Records what happens to the gradients: their sum over micro-batches, clipping, the optimizer.
fn record_update(task: &Task, lowered: &mut Lowered) {
    let Lowered {
        recording, slabs, ..
    } = lowered;
    recording.set_label("optimizer");
    let mut sums = [false, true].map(|accumulate| {
        let start = recording.dispatches.len();
        for slab in slabs.iter() {
            if let Some(sum) = slab.sum {
                let output = Output {
                    accumulate,
                    ..sum.into()
                };
                activation::forward(recording, 4 * slab.vectors(), slab.gradient, output);
            }
        }
        start..recording.dispatches.len()
    });
    (lowered.begin_sum, lowered.add_to_sum) =
        (std::mem::take(&mut sums[0]), std::mem::take(&mut sums[1]));
    let start = recording.dispatches.len();
    let clip = task.clip_norm.map(|max_norm| {
        let clip = recording.transient("clip", 1);
        let totals: Vec<_> = slabs
            .iter()
            .map(|slab| (slab.total(), slab.vectors()))
            .collect();
        optimizer::clip(recording, &totals, max_norm, clip);
        clip
    });
    for slab in slabs.iter() {
        let regions = [slab.total(), slab.parameter];
        let len = slab.vectors();
        optimizer::update(recording, task.optimizer, len, regions, clip, &slab.state);
    }
    lowered.update = start..recording.dispatches.len();
}

/// Lays the parameters out, each at an offset that a binding may begin at, in as few slabs as
/// their size allows, and the statistics in a buffer of their own.
fn place_parameters(
    task: &Task,
    recording: &mut Recording,
) -> Result<(Vec<Slab>, Option<Region>, Vec<Place>)> {
    let traits = recording.traits;
    let max_slab = task.max_slab.min(traits.max_binding).min(traits.max_buffer);
    // An element in a copy of half the size must be where a binding may begin, too.
    let alignment = match task.half {
        true => 2 * traits.storage_alignment,
        false => traits.storage_alignment,
    };
    let (mut sizes, mut places, mut statistics) = (Vec::<u64>::new(), Vec::new(), 0);
    for parameter in task.model.graph.parameters() {
        let size = (parameter.shape.len() as u64 * 4).next_multiple_of(16);
        if !parameter.is_learned() {
            places.push(Place {
                slab: None,
                offset: statistics,
                size,
            });
            statistics = (statistics + size).next_multiple_of(traits.storage_alignment);
            continue;
        }
        if size > max_slab {
            return Err(Error::Limit {
                limit: "max_storage_buffer_binding_size",
                what: format!("parameter {}", parameter.name),
                needed: size,
                available: max_slab,
            });
        }
        let offset = sizes.last().map(|end| end.next_multiple_of(alignment));
        let offset = offset.filter(|offset| offset + size <= max_slab);
        let offset = offset.unwrap_or_else(|| {
            sizes.push(0);
            0
        });
        places.push(Place {
            slab: Some(sizes.len() - 1),
            offset,
            size,
        });
        if let Some(end) = sizes.last_mut() {
            *end = offset + size;
        }
    }
    let mut persistent = |format, label: &str, size: u64| {
        recording.buffer_of(format, label, size as usize / 4, Storage::Persistent)
    };
    let slabs = sizes.into_iter().map(|size| {
        let mut single = |label| persistent(Format::F32, label, size);
        Slab {
            parameter: single("parameters"),
            gradient: single("gradients"),
            sum: (task.accumulate > 1).then(|| single("gradient sums")),
            state: (0..task.optimizer.state_slots())
                .map(|_| single("optimizer state"))
                .collect(),
            copy: (task.half).then(|| persistent(Format::F16, "half-precision weights", size)),
        }
    });
    let slabs = slabs.collect();
    let statistics = (statistics > 0).then(|| persistent(Format::F32, "statistics", statistics));
    Ok((slabs, statistics, places))
}

/// One walk over the graph: the regions that values and their gradients got.
struct Pass<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    batch: usize,
    training: bool,
    values: Vec<Option<Region>>,
    gradients: Vec<Option<Region>>,
    /// What a node's forward pass keeps for its backward pass beside its value: the places of the
    /// maxima of a max-pool, the statistics of a normalisation. By the node's output.
    kept: Vec<Option<Region>>,
}

impl<'a> Pass<'a> {
    fn new(task: &'a Task<'a>, fusion: &'a Fusion, batch: usize, training: bool) -> Self {
        let (values, gradients, kept) = Default::default();
        let mut pass = Self {
            task,
            fusion,
            batch,
            training,
            values,
            gradients,
            kept,
        };
        let count = pass.graph().values().count();
        for regions in [&mut pass.values, &mut pass.gradients, &mut pass.kept] {
            regions.resize(count, None);
        }
        pass
    }

    fn graph(&self) -> &'a Graph {
        &self.task.model.graph
    }

    /// Elements of a value for the planned batch.
    fn planned_len(&self, value: ValueId) -> usize {
        self.task.planned_batch * self.graph().shape(value).len()
    }

    /// A buffer for a value. The model's output is f32 in either precision, and so is its input.
    fn new_value(&self, recording: &mut Recording, label: &str, value: ValueId) -> Region {
        let format = match self.task.half && value != self.fusion.root(self.graph().output()) {
            true => Format::F16,
            false => Format::F32,
        };
        let len = self.planned_len(value);
        recording.buffer_of(format, label, len, Storage::Transient)
    }

    /// Elements of a value for this batch.
    fn len(&self, value: ValueId) -> usize {
        self.batch * self.graph().shape(value).len()
    }

    fn value(&self, value: ValueId) -> Result<Region> {
        self.values[self.fusion.root(value).0].ok_or_else(|| internal("a value is read too early"))
    }

    fn kept(&self, node: &Node) -> Result<Region> {
        self.kept[node.output.0].ok_or_else(|| internal("a forward pass kept nothing"))
    }

    /// The inputs of a concatenation: each with the elements of an example of the whole, the block's
    /// own elements as its stride, and its place in the whole.
    fn blocks(&self, node: &Node) -> Vec<(ValueId, usize, Block)> {
        let whole = self.graph().shape(node.output).len();
        let mut offset = 0;
        let blocks = node.inputs.iter().map(|&source| {
            let stride = self.graph().shape(source).len();
            let block = Block { stride, offset };
            offset += stride;
            (source, whole, block)
        });
        blocks.collect()
    }
}

/// The number that tells a layer's random words from those of the others.
fn layer(node: &Node) -> u32 {
    node.output.0 as u32 - 1
}

fn internal(what: &str) -> Error {
    Error::Gpu {
        message: format!("{what}: a defect of wgpu-cnn, please report it"),
    }
}

/// All kernels of a model's training step and prediction, for the tests of shaders.
#[cfg(test)]
pub(crate) fn record(
    model: &Model,
    loss: &Loss,
    optimizer: &Optimizer,
    batch: usize,
    half: bool,
    traits: Traits,
) -> Result<Recording> {
    let task = Task {
        model,
        loss,
        optimizer,
        planned_batch: batch,
        max_slab: u64::MAX,
        clip_norm: Some(1.0),
        accumulate: 2,
        half,
        choices: None,
        decisions: &[],
    };
    Ok(lower(&task, traits, batch)?.recording)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernels::shader_models::{adapters, models};

    #[test]
    fn a_smaller_batch_has_the_kernels_and_buffers_of_the_planned_one() {
        let (loss, optimizer) = (Loss::default(), crate::Optimizer::adam(0.1).into());
        for traits in adapters() {
            for model in &models() {
                let task = Task {
                    model,
                    loss: &loss,
                    optimizer: &optimizer,
                    planned_batch: 16,
                    max_slab: u64::MAX,
                    clip_norm: None,
                    accumulate: 1,
                    half: false,
                    choices: None,
                    decisions: &[],
                };
                let planned = lower(&task, traits, 16).unwrap().recording;
                let decisions = &planned.decisions;
                for batch in [1, 3, 15] {
                    let task = Task { decisions, ..task };
                    let smaller = lower(&task, traits, batch).unwrap().recording;
                    assert_eq!(&smaller.decisions, decisions);
                    assert_eq!(smaller.dispatches.len(), planned.dispatches.len());
                    for (a, b) in planned.dispatches.iter().zip(&smaller.dispatches) {
                        assert_eq!(a.key(), b.key(), "{}", a.label);
                        for (a, b) in a.bindings.iter().zip(&b.bindings) {
                            let place = |region: &Region| (region.buffer, region.offset);
                            assert_eq!(a.as_ref().map(place), b.as_ref().map(place));
                            let size = |region: &Option<Region>| region.map_or(0, |r| r.size);
                            assert!(size(b) <= size(a));
                        }
                    }
                }
            }
        }
    }
}
