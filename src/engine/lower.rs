//! Lowering: the kernels of a training step and of a prediction, recorded in order, with the buffers
//! between them. Which activations become part of which product is decided here.

use std::ops::Range;

use crate::gpu::kernels::{Gradient, activation, conv2d, loss, matmul, optimizer, pool2d, reduce};
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::strategy::Traits;
use crate::model::{Graph, Model, Node, ParameterId, ValueId};
use crate::op::{Activation, Loss, Op, Optimizer};
use crate::{Error, Result};

/// What is lowered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    pub model: &'a Model,
    pub loss: Loss,
    pub optimizer: &'a Optimizer,
    /// The largest batch: sizes of buffers and choices of kernels depend on it.
    pub planned_batch: usize,
    /// The largest part of a slab of parameters in bytes.
    pub max_slab: u64,
}

/// The kernels of a model.
#[derive(Debug)]
pub(super) struct Lowered {
    pub recording: Recording,
    /// The dispatches of a training step.
    pub train: Range<usize>,
    /// The part of them that updates the parameters, a dispatch for each slab.
    pub update: Range<usize>,
    /// The dispatches of a forward pass alone.
    pub predict: Range<usize>,
    pub input: Region,
    /// `(N)` labels; absent where the loss takes none.
    pub labels: Region,
    /// `(N, outputs)` values or probabilities.
    pub values: Region,
    pub loss: Region,
    /// The model's output in a forward pass.
    pub output: Region,
    pub slabs: Vec<Slab>,
    places: Vec<Place>,
}

/// Parameters that lie in one buffer and are updated by one dispatch.
#[derive(Debug)]
pub(super) struct Slab {
    pub parameter: Region,
    pub gradient: Region,
    pub state: Vec<Region>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    slab: usize,
    offset: u64,
    size: u64,
}

impl Lowered {
    pub fn parameter(&self, id: ParameterId) -> Region {
        let place = self.places[id.0];
        place.within(self.slabs[place.slab].parameter)
    }

    pub fn gradient(&self, id: ParameterId) -> Region {
        let place = self.places[id.0];
        place.within(self.slabs[place.slab].gradient)
    }
}

impl Place {
    fn within(self, slab: Region) -> Region {
        Region {
            buffer: slab.buffer,
            offset: self.offset,
            size: self.size,
        }
    }
}

/// Records a model's kernels for `batch` examples. The buffers are those of the planned batch, and
/// so are the kernels and their order: only params and grids depend on `batch`.
pub(super) fn lower(task: &Task, traits: Traits, batch: usize) -> Result<Lowered> {
    let graph = &task.model.graph;
    let planned = task.planned_batch;
    let outputs = task.model.output_shape().len();
    let mut recording = Recording::new(traits);
    recording.set_label("model");
    let persistent = |recording: &mut Recording, label: &str, len: usize| {
        recording.buffer(label, len, Storage::Persistent)
    };
    let input = persistent(
        &mut recording,
        "input",
        planned * task.model.input_shape().len(),
    );
    let takes_labels = matches!(task.loss, Loss::CrossEntropy(_));
    let labels = persistent(
        &mut recording,
        "labels",
        if takes_labels { planned } else { 1 },
    );
    let values = persistent(&mut recording, "target values", planned * outputs);
    let loss = persistent(&mut recording, "loss", 1);
    let output = persistent(&mut recording, "output", planned * outputs);
    let (slabs, places) = place_parameters(task, &mut recording)?;
    let mut lowered = Lowered {
        recording,
        train: 0..0,
        update: 0..0,
        predict: 0..0,
        input,
        labels,
        values,
        loss,
        output,
        slabs,
        places,
    };

    let fusion = Fusion::of(graph);
    let mut pass = Pass::new(task, &fusion, batch);
    pass.forward(&mut lowered, None)?;
    pass.backward(&mut lowered)?;
    let start = lowered.recording.dispatches.len();
    lowered.recording.set_label("optimizer");
    for Slab {
        parameter,
        gradient,
        state,
    } in &lowered.slabs
    {
        let len = (parameter.size / 16) as usize;
        let regions = [*gradient, *parameter];
        optimizer::update(&mut lowered.recording, task.optimizer, len, regions, state);
    }
    let end = lowered.recording.dispatches.len();
    (lowered.train, lowered.update) = (0..end, start..end);

    Pass::new(task, &fusion, batch).forward(&mut lowered, Some(output))?;
    lowered.predict = end..lowered.recording.dispatches.len();
    lowered.recording = lowered.recording.finish()?;
    Ok(lowered)
}

/// Lays the parameters out, each at an offset that a binding may begin at, in as few slabs as
/// their size allows.
fn place_parameters(task: &Task, recording: &mut Recording) -> Result<(Vec<Slab>, Vec<Place>)> {
    let traits = recording.traits;
    let max_slab = task.max_slab.min(traits.max_binding).min(traits.max_buffer);
    let (mut sizes, mut places) = (Vec::<u64>::new(), Vec::new());
    for parameter in task.model.graph.parameters() {
        let size = (parameter.shape.len() as u64 * 4).next_multiple_of(16);
        if size > max_slab {
            return Err(Error::Limit {
                limit: "max_storage_buffer_binding_size",
                what: format!("parameter {}", parameter.name),
                needed: size,
                available: max_slab,
            });
        }
        let offset = sizes
            .last()
            .map(|end| end.next_multiple_of(traits.storage_alignment));
        let offset = offset.filter(|offset| offset + size <= max_slab);
        let offset = offset.unwrap_or_else(|| {
            sizes.push(0);
            0
        });
        places.push(Place {
            slab: sizes.len() - 1,
            offset,
            size,
        });
        if let Some(end) = sizes.last_mut() {
            *end = offset + size;
        }
    }
    let slabs = sizes.into_iter().map(|size| {
        let mut slab = |label| recording.buffer(label, size as usize / 4, Storage::Persistent);
        let (parameter, gradient) = (slab("parameters"), slab("gradients"));
        let state = (0..task.optimizer.state_slots())
            .map(|_| slab("optimizer state"))
            .collect();
        Slab {
            parameter,
            gradient,
            state,
        }
    });
    Ok((slabs.collect(), places))
}

/// What the graph becomes before it is recorded: which values are one and the same, which
/// activations are part of the product before them, and which values need a gradient.
struct Fusion {
    /// The value that each value is a reshaped view of, or itself.
    root: Vec<ValueId>,
    /// The activation that the product which makes a value also applies, by root.
    activation: Vec<Option<Activation>>,
    /// The value that a product writes instead of its own: that of the activation it applies.
    written: Vec<ValueId>,
    /// Whether anything that is learned lies before a value.
    learns: Vec<bool>,
}

impl Fusion {
    fn of(graph: &Graph) -> Self {
        let mut root: Vec<ValueId> = graph.values().collect();
        let mut learns = vec![false; root.len()];
        for node in graph.nodes() {
            if let Op::Flatten = node.op {
                root[node.output.0] = root[node.inputs[0].0];
            }
            let before = node.inputs.iter().any(|input| learns[root[input.0].0]);
            learns[root[node.output.0].0] |= before || !node.parameters.is_empty();
        }
        let mut fusion = Self {
            activation: vec![None; root.len()],
            written: root.clone(),
            root,
            learns,
        };
        let output = fusion.root(graph.output());
        for node in graph.nodes() {
            let product = matches!(node.op, Op::Conv2d(_) | Op::Linear(_));
            let mut readers = graph.nodes().iter().filter(|reader| {
                let reads = reader.inputs.iter().any(|&v| fusion.root(v) == node.output);
                reads && !matches!(reader.op, Op::Flatten)
            });
            let (reader, others) = (readers.next(), readers.next());
            if let (true, Some(reader), None) = (product && node.output != output, reader, others)
                && let Op::Activation(activation) = reader.op
            {
                fusion.activation[reader.output.0] = Some(activation);
                fusion.written[node.output.0] = reader.output;
            }
        }
        fusion
    }

    fn root(&self, value: ValueId) -> ValueId {
        self.root[value.0]
    }
}

/// One walk over the graph: the regions that values and their gradients got.
struct Pass<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    batch: usize,
    values: Vec<Option<Region>>,
    gradients: Vec<Option<Region>>,
    /// The places of the maxima, by the root of a max-pool's output.
    argmax: Vec<Option<Region>>,
}

impl<'a> Pass<'a> {
    fn new(task: &'a Task<'a>, fusion: &'a Fusion, batch: usize) -> Self {
        let count = fusion.root.len();
        let (values, gradients, argmax) = (vec![None; count], vec![None; count], vec![None; count]);
        Self {
            task,
            fusion,
            batch,
            values,
            gradients,
            argmax,
        }
    }

    fn graph(&self) -> &'a Graph {
        &self.task.model.graph
    }

    /// Elements of a value for the planned batch.
    fn planned_len(&self, value: ValueId) -> usize {
        self.task.planned_batch * self.graph().shape(value).len()
    }

    /// Elements of a value for this batch.
    fn len(&self, value: ValueId) -> usize {
        self.batch * self.graph().shape(value).len()
    }

    fn value(&self, value: ValueId) -> Result<Region> {
        self.values[self.fusion.root(value).0].ok_or_else(|| internal("a value is read too early"))
    }

    /// Records the operators in order. The model's output goes to `destination`, or to a buffer of
    /// its own.
    fn forward(&mut self, lowered: &mut Lowered, destination: Option<Region>) -> Result<()> {
        let graph = self.graph();
        self.values[graph.input().0] = Some(lowered.input);
        let output = self.fusion.root(graph.output());
        for node in graph.nodes() {
            let written = self.fusion.written[node.output.0];
            if self.values[written.0].is_some() {
                continue; // a view, or an activation that the product before it has applied
            }
            lowered.recording.set_label(node.label());
            let region = match destination {
                Some(region) if written == output => region,
                _ => lowered
                    .recording
                    .transient(&node.name, self.planned_len(written)),
            };
            self.values[written.0] = Some(region);
            self.forward_node(lowered, node, self.fusion.activation[written.0], region)?;
        }
        if let (Some(destination), true) = (destination, output == graph.input()) {
            let len = self.len(output);
            let gradient = destination.into();
            activation::backward(&mut lowered.recording, None, len, lowered.input, gradient);
        }
        Ok(())
    }

    fn forward_node(
        &mut self,
        lowered: &mut Lowered,
        node: &Node,
        fused: Option<Activation>,
        output: Region,
    ) -> Result<()> {
        let input = self.value(node.inputs[0])?;
        let shape = self.graph().shape(node.inputs[0]);
        let weight = node.weight().map(|id| lowered.parameter(id));
        let bias = node.bias().map(|id| lowered.parameter(id));
        let recording = &mut lowered.recording;
        match &node.op {
            Op::Conv2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let weight = weight.ok_or_else(|| internal("a convolution has no weight"))?;
                conv2d::forward(recording, &geometry, [input, weight], bias, fused, output);
            }
            Op::Linear(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let weight = weight.ok_or_else(|| internal("a dense layer has no weight"))?;
                matmul::linear_forward(recording, &geometry, [input, weight], bias, fused, output);
            }
            Op::MaxPool2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let argmax = recording.transient("argmax", self.planned_len(node.output));
                self.argmax[node.output.0] = Some(argmax);
                pool2d::max_forward(recording, &geometry, input, [output, argmax]);
            }
            Op::Activation(op) => {
                activation::forward(recording, *op, self.len(node.output), input, output);
            }
            Op::Add => {
                let inputs = [input, self.value(node.inputs[1])?];
                activation::add(recording, self.len(node.output), inputs, output);
            }
            Op::Flatten => {}
        }
        Ok(())
    }

    /// Records the loss and then every operator's gradients, last operator first.
    fn backward(&mut self, lowered: &mut Lowered) -> Result<()> {
        let graph = self.graph();
        let output = self.fusion.root(graph.output());
        lowered.recording.set_label("loss");
        let mut gradient = lowered
            .recording
            .transient("output gradient", self.planned_len(output));
        let geometry = self
            .task
            .loss
            .geometry(self.batch, self.task.model.output_shape())?;
        let targets = loss::Targets {
            labels: lowered.labels,
            values: lowered.values,
        };
        let (value, results) = (self.value(output)?, [lowered.loss, gradient]);
        loss::loss(
            &mut lowered.recording,
            self.task.loss,
            &geometry,
            value,
            targets,
            results,
        );
        if let Some(last) = self.fusion.activation[output.0] {
            // The loss gives the gradient with respect to the activation's value.
            let argument = lowered
                .recording
                .transient("output gradient", self.planned_len(output));
            let last = Some((last, value));
            let len = self.len(output);
            activation::backward(&mut lowered.recording, last, len, gradient, argument.into());
            gradient = argument;
        }
        self.gradients[output.0] = Some(gradient);
        for node in graph.nodes().iter().rev() {
            let written = self.fusion.written[node.output.0];
            let part_of_product = self.fusion.activation[node.output.0].is_some();
            if matches!(node.op, Op::Flatten) || part_of_product {
                continue;
            }
            if let Some(gradient) = self.gradients[written.0] {
                lowered.recording.set_label(node.label());
                self.backward_node(lowered, node, gradient)?;
            }
        }
        Ok(())
    }

    fn backward_node(&mut self, lowered: &mut Lowered, node: &Node, output: Region) -> Result<()> {
        let source = node.inputs[0];
        let input = self.value(source)?;
        let shape = self.graph().shape(source);
        let weight = node
            .weight()
            .map(|id| (lowered.parameter(id), lowered.gradient(id)));
        let bias = node.bias().map(|id| lowered.gradient(id));
        match &node.op {
            Op::Conv2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let largest = op.geometry(self.task.planned_batch, shape)?;
                let (weight, to) = weight.ok_or_else(|| internal("a convolution has no weight"))?;
                let recording = &mut lowered.recording;
                conv2d::backward_weight(recording, &geometry, &largest, [input, output], to);
                if let Some(bias) = bias {
                    let extents = [
                        geometry.batch,
                        geometry.out_channels,
                        geometry.out_size.area(),
                    ];
                    reduce::bias_gradient(recording, extents, largest.batch, output, bias);
                }
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    conv2d::backward_input(recording, &geometry, [output, weight], to);
                }
            }
            Op::Linear(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let (weight, to) = weight.ok_or_else(|| internal("a dense layer has no weight"))?;
                let recording = &mut lowered.recording;
                matmul::linear_backward_weight(recording, &geometry, [input, output], to);
                if let Some(bias) = bias {
                    let extents = [geometry.rows, geometry.out_features, 1];
                    let largest = op.geometry(self.task.planned_batch, shape)?.rows;
                    reduce::bias_gradient(recording, extents, largest, output, bias);
                }
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    matmul::linear_backward_input(recording, &geometry, [output, weight], to);
                }
            }
            Op::MaxPool2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let argmax = self.argmax[node.output.0];
                let argmax = argmax.ok_or_else(|| internal("a max-pool has no argmax"))?;
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    pool2d::max_backward(recording, &geometry, [output, argmax], to);
                }
            }
            Op::Activation(op) => {
                let value = self.value(node.output)?;
                let len = self.len(node.output);
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    activation::backward(recording, Some((*op, value)), len, output, to);
                }
            }
            Op::Add => {
                let len = self.len(node.output);
                for &source in &node.inputs {
                    if let Some(to) = self.gradient(lowered, source)? {
                        activation::backward(&mut lowered.recording, None, len, output, to);
                    }
                }
            }
            Op::Flatten => {}
        }
        Ok(())
    }

    /// Where a value's gradient goes, if anything before it learns. The first to ask writes, the
    /// others add.
    fn gradient(&mut self, lowered: &mut Lowered, value: ValueId) -> Result<Option<Gradient>> {
        let root = self.fusion.root(value);
        if !self.fusion.learns[root.0] {
            return Ok(None);
        }
        let fused = match self.fusion.activation[root.0] {
            Some(activation) => Some((activation, self.value(root)?)),
            None => None,
        };
        let existing = self.gradients[root.0];
        let region = existing.unwrap_or_else(|| {
            let label = format!("gradient of value {}", root.0);
            lowered.recording.transient(label, self.planned_len(root))
        });
        self.gradients[root.0] = Some(region);
        Ok(Some(Gradient {
            region,
            fused,
            accumulate: existing.is_some(),
        }))
    }
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
    loss: Loss,
    optimizer: &Optimizer,
    batch: usize,
    traits: Traits,
) -> Result<Recording> {
    let (planned_batch, max_slab) = (batch, u64::MAX);
    let task = Task {
        model,
        loss,
        optimizer,
        planned_batch,
        max_slab,
    };
    Ok(lower(&task, traits, batch)?.recording)
}
