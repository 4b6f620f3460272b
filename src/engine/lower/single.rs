//! Parts of a plan by themselves, lowered exactly as in the whole: what the verifier runs. Every
//! operator with the fusion that the graph gives it, the loss, and the update of the parameters.

use std::ops::Range;

use super::{Fusion, Lowered, Pass, Task, record_update};
use crate::Result;
use crate::gpu::kernels::{Output, activation};
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::strategy::Traits;
use crate::model::{Graph, Node, ValueId};
use crate::op::{Activation, Op};

/// What a [`Single`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Form {
    /// An operator's forward and backward pass.
    Training,
    /// An operator's forward pass where evaluation has another one.
    Evaluation,
    /// The copy of the output of a model that ends in what does nothing in evaluation.
    Copy,
}

/// One operator's kernels, with buffers of their own.
#[derive(Debug)]
pub(in crate::engine) struct Single {
    pub form: Form,
    /// The operator's place among the graph's nodes.
    pub index: usize,
    pub lowered: Lowered,
    pub forward: Range<usize>,
    pub backward: Range<usize>,
    /// The values that it reads, each once.
    pub inputs: Vec<(ValueId, Region)>,
    pub output: Region,
    /// The function that the operator applies to its result.
    pub activation: Option<Activation>,
    /// What the forward pass keeps for the backward pass beside its value.
    pub kept: Option<Region>,
    /// Absent where nothing asks for gradients.
    pub output_gradient: Option<Region>,
    pub input_gradients: Vec<InputGradient>,
}

/// Where the gradient of a value that an operator reads goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct InputGradient {
    pub value: ValueId,
    pub region: Region,
    /// Whether a later reader of the value has written there before.
    pub accumulates: bool,
    /// The function that the operator before applied: its gradient is part of this one.
    pub gradient_of: Option<Activation>,
}

/// Every operator of a model that has kernels, in the order of the graph.
pub(in crate::engine) fn singles(task: &Task, traits: Traits) -> Result<Vec<Single>> {
    let graph = &task.model.graph;
    let fusion = Fusion::of(graph);
    let output = fusion.root(graph.output());
    // Where gradients have arrived on the way back.
    let mut arrived = vec![false; graph.values().count()];
    arrived[output.0] = true;
    let mut singles = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        let part_of_another = fusion.activation(node.output).is_some();
        if node.op.is_view() || part_of_another {
            continue;
        }
        let new = |form| Single::new(task, traits, &fusion, (index, node), form);
        match node.op {
            Op::BatchNorm(_) => singles.push(new(Form::Evaluation)?),
            Op::Dropout(_) if node.output == output => singles.push(new(Form::Copy)?),
            _ => {}
        }
        let mut single = new(Form::Training)?;
        if arrived[fusion.written(node.output).0] {
            single.record_backward(task, &fusion, node, &mut arrived)?;
        }
        singles.push(single);
    }
    singles.reverse();
    for single in &mut singles {
        let recording = &mut single.lowered.recording;
        *recording = finished(std::mem::replace(recording, Recording::new(traits)))?;
    }
    Ok(singles)
}

impl Single {
    /// The forward pass.
    fn new(
        task: &Task,
        traits: Traits,
        fusion: &Fusion,
        (index, node): (usize, &Node),
        form: Form,
    ) -> Result<Self> {
        let mut lowered = Lowered::new(task, traits)?;
        let mut pass = Pass::new(task, fusion, task.planned_batch, form == Form::Training);
        lowered.recording.set_label(node.label());
        let inputs = roots(fusion, node).into_iter().map(|value| {
            (
                value,
                lowered
                    .recording
                    .transient("input", pass.planned_len(value)),
            )
        });
        let inputs: Vec<_> = inputs.collect();
        for &(value, region) in &inputs {
            pass.values[value.0] = Some(region);
        }
        let written = fusion.written(node.output);
        let output = lowered
            .recording
            .transient(&node.name, pass.planned_len(written));
        let activation = fusion.activation(written);
        if form == Form::Copy {
            let (len, input) = (pass.len(written), pass.value(node.inputs[0])?);
            activation::forward(&mut lowered.recording, len, input, output.into());
        } else {
            let output = Output {
                activation,
                ..output.into()
            };
            pass.forward_node(&mut lowered, node, output)?;
        }
        let end = lowered.recording.dispatches.len();
        Ok(Self {
            form,
            index,
            lowered,
            forward: 0..end,
            backward: end..end,
            inputs,
            output,
            activation,
            kept: pass.kept[node.output.0],
            output_gradient: None,
            input_gradients: Vec::new(),
        })
    }

    /// The backward pass, where the gradients of later readers have `arrived`.
    fn record_backward(
        &mut self,
        task: &Task,
        fusion: &Fusion,
        node: &Node,
        arrived: &mut [bool],
    ) -> Result<()> {
        let mut pass = Pass::new(task, fusion, task.planned_batch, true);
        let written = fusion.written(node.output);
        pass.values[written.0] = Some(self.output);
        pass.kept[node.output.0] = self.kept;
        let recording = &mut self.lowered.recording;
        let gradient = recording.transient("output gradient", pass.planned_len(written));
        self.output_gradient = Some(gradient);
        for &(value, region) in &self.inputs {
            pass.values[value.0] = Some(region);
            if arrived[value.0] {
                let gradient = recording.transient("input gradient", pass.planned_len(value));
                pass.gradients[value.0] = Some(gradient);
            }
        }
        pass.backward_node(&mut self.lowered, node, gradient)?;
        self.backward = self.forward.end..self.lowered.recording.dispatches.len();
        for &(value, _) in &self.inputs {
            let Some(region) = pass.gradients[value.0].filter(|_| fusion.learns(value)) else {
                continue;
            };
            if region == gradient {
                arrived[value.0] = true; // handed on as it is, by no kernel
                continue;
            }
            let (accumulates, gradient_of) = (arrived[value.0], fusion.activation(value));
            let gradient = InputGradient {
                value,
                region,
                accumulates,
                gradient_of,
            };
            self.input_gradients.push(gradient);
            arrived[value.0] = true;
        }
        Ok(())
    }

    /// The values that a node reads, of those that this one's inputs are.
    pub fn positions(&self, graph: &Graph) -> Vec<ValueId> {
        let fusion = Fusion::of(graph);
        let inputs = &graph.nodes()[self.index].inputs;
        inputs.iter().map(|&input| fusion.root(input)).collect()
    }
}

/// The loss by itself: its kernels, the model's output that it reads, and the gradient.
pub(in crate::engine) fn loss_alone(task: &Task, traits: Traits) -> Result<(Lowered, [Region; 2])> {
    let graph = &task.model.graph;
    let fusion = Fusion::of(graph);
    let mut lowered = Lowered::new(task, traits)?;
    let mut pass = Pass::new(task, &fusion, task.planned_batch, true);
    let value = fusion.root(graph.output());
    let output = lowered
        .recording
        .transient("output", pass.planned_len(value));
    pass.values[value.0] = Some(output);
    let gradient = pass.loss(&mut lowered)?;
    lowered.recording = finished(lowered.recording)?;
    Ok((lowered, [output, gradient]))
}

/// The update of the parameters by itself.
pub(in crate::engine) fn update_alone(task: &Task, traits: Traits) -> Result<Lowered> {
    let mut lowered = Lowered::new(task, traits)?;
    record_update(task, &mut lowered);
    lowered.recording = finished(lowered.recording)?;
    Ok(lowered)
}

/// The values behind a node's inputs, each once.
fn roots(fusion: &Fusion, node: &Node) -> Vec<ValueId> {
    let mut roots = Vec::new();
    for &input in &node.inputs {
        let root = fusion.root(input);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}

/// A recording in which every buffer that a kernel uses is kept, and the others need no memory.
fn finished(recording: Recording) -> Result<Recording> {
    let mut recording = recording.finish()?;
    let mut used = vec![false; recording.buffers.len()];
    for region in recording
        .dispatches
        .iter()
        .flat_map(|d| &d.bindings)
        .flatten()
    {
        used[region.buffer.0] = true;
    }
    for (buffer, used) in recording.buffers.iter_mut().zip(used) {
        buffer.storage = if used {
            Storage::Persistent
        } else {
            Storage::Transient
        };
    }
    Ok(recording)
}
