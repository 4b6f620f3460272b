//! The graph, walked: forwards and backwards in training, forwards in evaluation.

use super::{Fusion, Lowered, Part, Task};
use crate::Result;
use crate::engine::internal;
use crate::engine::operators::{Backward, Forward, Mode, Pieces, Site, kernels};
use crate::gpu::kernel::Format;
use crate::gpu::kernels::{Output, activation, loss};
use crate::gpu::record::{Recording, Region, Storage};
use crate::model::{Graph, Node, ValueId};

/// One walk over the graph: the regions that values and their gradients got.
pub(super) struct Walk<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    batch: usize,
    mode: Mode,
    values: Vec<Option<Region>>,
    gradients: Vec<Option<Region>>,
}

impl<'a> Walk<'a> {
    pub fn new(task: &'a Task<'a>, fusion: &'a Fusion, batch: usize, mode: Mode) -> Self {
        let count = task.model.graph.values().count();
        let (values, gradients) = (vec![None; count], vec![None; count]);
        Self {
            task,
            fusion,
            batch,
            mode,
            values,
            gradients,
        }
    }

    fn graph(&self) -> &'a Graph {
        &self.task.model.graph
    }

    /// How a node computes.
    fn mode(&self, node: &Node) -> Mode {
        self.mode.of(node)
    }

    fn site(&self, node: &Node) -> Site<'a> {
        Site {
            planned: self.task.options.batch,
            ..Site::new(self.graph(), node, self.batch, self.mode)
        }
    }

    fn value(&self, value: ValueId) -> Result<Region> {
        self.values[self.fusion.root(value).0].ok_or_else(|| internal("a value is read too early"))
    }

    fn values_of(&self, node: &Node) -> Result<Vec<Region>> {
        node.inputs.iter().map(|&input| self.value(input)).collect()
    }

    /// The parameters of a node as its kernels read them.
    fn parameters(&self, lowered: &Lowered, node: &Node) -> Result<Vec<Pieces>> {
        let ids = node.parameters.iter().enumerate();
        ids.map(|(at, &id)| lowered.read_by(node, at, id)).collect()
    }

    /// Elements of a value for the planned batch.
    fn planned_len(&self, value: ValueId) -> usize {
        self.task.options.batch * self.graph().shape(value).len()
    }

    /// A buffer for a value. The model's output is f32 in either precision, and so is its input.
    fn new_value(&self, recording: &mut Recording, value: ValueId) -> Region {
        let is_output = value == self.fusion.root(self.graph().output());
        let format = match self.task.options.half && !is_output {
            true => Format::F16,
            false => Format::F32,
        };
        let len = self.planned_len(value);
        recording.buffer_of(format, "output", len, Storage::Transient)
    }

    /// Records the operators in order, in training.
    pub fn forward(&mut self, lowered: &mut Lowered) -> Result<()> {
        let parts = self.values_in_order(lowered, None)?;
        for (node, part) in lowered.nodes.iter_mut().zip(parts) {
            node.forward = part;
        }
        Ok(())
    }

    /// Records the operators in order, in evaluation. The model's output goes to its place.
    pub fn predict(&mut self, lowered: &mut Lowered) -> Result<()> {
        let destination = lowered.output;
        let parts = self.values_in_order(lowered, Some(destination))?;
        for (node, part) in lowered.nodes.iter_mut().zip(parts) {
            node.predict = part;
        }
        let output = self.fusion.root(self.graph().output());
        let value = self.value(output)?;
        if value != destination {
            let places = Forward {
                inputs: vec![value],
                parameters: vec![],
                output: destination.into(),
                kept: None,
            };
            let len = self.batch * self.graph().shape(output).len();
            let recording = &mut lowered.recording;
            let begin = recording.dispatches.len();
            activation::forward(recording, len, value, places.output);
            let range = begin..recording.dispatches.len();
            let mode = Mode::Evaluation;
            lowered.copy = Some(Part {
                range,
                mode,
                places,
            });
        }
        Ok(())
    }

    /// Records each operator's forward pass. The output goes to `destination`, or to a buffer of its
    /// own.
    fn values_in_order(
        &mut self,
        lowered: &mut Lowered,
        destination: Option<Region>,
    ) -> Result<Vec<Option<Part<Forward>>>> {
        let graph = self.graph();
        self.values[graph.input().0] = Some(lowered.input);
        let output = self.fusion.root(graph.output());
        let mut parts = Vec::new();
        for node in graph.nodes() {
            parts.push(None);
            let (definition, written) = (node.op.definition(), self.fusion.written(node.output));
            // The kernels before have applied an activation that has its value already.
            if definition.is_view() || self.values[written.0].is_some() {
                continue;
            }
            let evaluates = self.mode(node) == Mode::Evaluation;
            if evaluates && definition.is_identity_in_evaluation() {
                self.values[written.0] = Some(self.value(node.inputs[0])?);
                continue;
            }
            lowered.recording.set_label(node.label());
            let region = match destination {
                Some(region) if written == output => region,
                _ => self.new_value(&mut lowered.recording, written),
            };
            self.values[written.0] = Some(region);
            let part = self.node_forward(lowered, node, region)?;
            parts.pop();
            parts.push(Some(part));
        }
        Ok(parts)
    }

    fn node_forward(
        &self,
        lowered: &mut Lowered,
        node: &Node,
        region: Region,
    ) -> Result<Part<Forward>> {
        let (operator, site) = (kernels(&node.op), self.site(node));
        let (inputs, parameters) = (self.values_of(node)?, self.parameters(lowered, node)?);
        let recording = &mut lowered.recording;
        let kept = operator.keeps(&site)?;
        let places = Forward {
            inputs,
            parameters,
            output: Output {
                activation: self.fusion.activation(self.fusion.written(node.output)),
                ..region.into()
            },
            kept: kept.map(|keeps| recording.transient(keeps.label, keeps.len)),
        };
        let begin = recording.dispatches.len();
        operator.record_forward(&site, recording, &places)?;
        Ok(Part {
            range: begin..recording.dispatches.len(),
            mode: site.mode,
            places,
        })
    }

    /// Records the loss and its gradient with respect to the model's output.
    pub fn loss(&mut self, lowered: &mut Lowered) -> Result<()> {
        let (task, output) = (self.task, self.fusion.root(self.graph().output()));
        lowered.recording.set_label("loss");
        let len = self.planned_len(output);
        let gradient = lowered.recording.transient("output gradient", len);
        let shape = task.model.output_shape();
        let geometry = task.loss.geometry(self.batch, shape)?;
        let planned = task.loss.geometry(task.options.batch, shape)?;
        let targets = loss::Targets {
            labels: lowered.labels,
            values: lowered.values,
            class_weights: lowered.class_weights,
        };
        let (value, results) = (self.value(output)?, [lowered.loss, gradient]);
        let (recording, geometries) = (&mut lowered.recording, [&geometry, &planned]);
        loss::loss(recording, task.loss, geometries, value, targets, results);
        lowered.logits = [value, gradient];
        self.gradients[output.0] = Some(gradient);
        Ok(())
    }

    /// Records every operator's gradients, last operator first.
    pub fn backward(&mut self, lowered: &mut Lowered) -> Result<()> {
        for (index, node) in self.graph().nodes().iter().enumerate().rev() {
            let written = self.fusion.written(node.output);
            let part_of_another = self.fusion.activation(node.output).is_some();
            if node.op.definition().is_view() || part_of_another {
                continue;
            }
            if let Some(gradient) = self.gradients[written.0] {
                lowered.recording.set_label(node.label());
                self.node_backward(lowered, (index, node), gradient)?;
            }
        }
        Ok(())
    }

    fn node_backward(
        &mut self,
        lowered: &mut Lowered,
        (index, node): (usize, &Node),
        gradient: Region,
    ) -> Result<()> {
        let wanted = &self.task.wanted;
        let heir = self.heir(node);
        let mut to_inputs = Vec::new();
        for &input in &node.inputs {
            let handed_on = heir == Some(self.fusion.root(input));
            to_inputs.push(match wanted.needs(input) && !handed_on {
                true => Some(self.new_gradient(&mut lowered.recording, input)?),
                false => None,
            });
        }
        let to_parameters = node.parameters.iter().map(|&id| {
            let gradient = || lowered.gradient(id);
            wanted.parameter(id).then(gradient).transpose()
        });
        let places = Backward {
            inputs: self.values_of(node)?,
            parameters: self.parameters(lowered, node)?,
            output: self.value(self.fusion.written(node.output))?,
            kept: match &lowered.nodes[index].forward {
                Some(forward) => forward.places.kept,
                None => None,
            },
            gradient,
            to_inputs,
            to_parameters: to_parameters.collect::<Result<_>>()?,
        };
        let begin = lowered.recording.dispatches.len();
        let asked = places.to_inputs.iter().any(Option::is_some);
        if asked || places.to_parameters.iter().any(Option::is_some) {
            let (operator, site) = (kernels(&node.op), self.site(node));
            operator.record_backward(&site, &mut lowered.recording, &places)?;
        }
        if let Some(heir) = heir {
            self.gradients[heir.0] = Some(gradient);
        }
        let part = Part {
            range: begin..lowered.recording.dispatches.len(),
            mode: self.mode(node),
            places,
        };
        let parts = &mut lowered.nodes[index];
        (parts.heir, parts.backward) = (heir, Some(part));
        Ok(())
    }

    /// The input that can take the buffer of the output's gradient over as its own, where an operator
    /// hands it on as it is: the first to be told of its gradient, where that needs no change.
    fn heir(&self, node: &Node) -> Option<ValueId> {
        let keeps_its_own = self.fusion.is_asked(node.output);
        if !kernels(&node.op).hands_gradient_on() || keeps_its_own {
            return None;
        }
        let roots: Vec<_> = node.inputs.iter().map(|&i| self.fusion.root(i)).collect();
        let alone = |root: &&ValueId| roots.iter().filter(|other| other == root).count() == 1;
        let fits = |root: &&ValueId| {
            self.task.wanted.needs(**root)
                && self.fusion.activation(**root).is_none()
                && self.gradients[root.0].is_none()
        };
        roots.iter().filter(alone).find(fits).copied()
    }

    /// Where a value's gradient goes. The first to ask writes, the others add.
    fn new_gradient(&mut self, recording: &mut Recording, value: ValueId) -> Result<Output> {
        let root = self.fusion.root(value);
        let gradient_of = match self.fusion.activation(root) {
            Some(activation) => Some((activation, self.value(root)?)),
            None => None,
        };
        let existing = self.gradients[root.0];
        let region = existing.unwrap_or_else(|| {
            let label = format!("gradient of value {}", root.0);
            recording.transient(label, self.planned_len(root))
        });
        self.gradients[root.0] = Some(region);
        Ok(Output {
            gradient_of,
            accumulate: existing.is_some(),
            ..region.into()
        })
    }
}
