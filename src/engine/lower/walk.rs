//! The graph, walked: forwards and backwards in training, forwards in evaluation.

use super::slabs::{add_pieces, apart};
use super::{Asked, Fusion, Lowered, Part, Purpose, Task, record_numbers};
use crate::Result;
use crate::engine::internal;
use crate::engine::operators::{Applies, Backward, Forward, Mode, Pieces, Site, kernels};
use crate::gpu::kernel::Format;
use crate::gpu::kernels::{Output, activation, loss};
use crate::gpu::record::{Recording, Region, Storage};
use crate::model::{Graph, Node, ValueId};
use crate::op::Activation;

/// One walk over the graph: the regions that values and their gradients got.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    batch: usize,
    mode: Mode,
    values: Vec<Option<Region>>,
    gradients: Vec<Option<Region>>,
    /// The arguments of the activations that made values, where they are kept.
    arguments: Vec<Option<Region>>,
    /// Whether the gradient of a parameter is there, so that other uses of the parameter add to it.
    begun: Vec<bool>,
    /// Whether gradients of parameters are left out.
    values_alone: bool,
}

impl<'a> Walk<'a> {
    pub fn new(task: &'a Task<'a>, fusion: &'a Fusion, batch: usize, mode: Mode) -> Self {
        let count = task.model.graph.values().count();
        let (values, gradients) = (vec![None; count], vec![None; count]);
        let begun = vec![false; task.model.graph.parameters().len()];
        Self {
            task,
            fusion,
            batch,
            mode,
            values,
            gradients,
            arguments: vec![None; count],
            begun,
            values_alone: false,
        }
    }

    /// The same walk, on its way back to values alone.
    pub fn without_parameters(&self) -> Self {
        Self {
            values_alone: true,
            ..self.clone()
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
            folds_later: self.task.options.ranks > 1,
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
    fn parameters(&self, lowered: &mut Lowered, node: &Node) -> Result<Vec<Pieces>> {
        let ids = node.parameters.iter().enumerate();
        // What a look makes of running statistics is nobody's.
        let looks = matches!(self.task.purpose, Purpose::Look);
        let aside = looks && self.mode(node) == Mode::Training;
        let trains = self.mode(node) == Mode::Training;
        ids.map(|(at, &id)| {
            let pieces = lowered.read_by(node, at, id)?;
            let pieces = match trains {
                true => lowered.in_training(self.graph(), node, id, pieces),
                false => pieces,
            };
            Ok(match aside && self.graph().parameter(id).is_statistic() {
                true => apart(&mut lowered.recording, &pieces, "running statistics"),
                false => pieces,
            })
        })
        .collect()
    }

    /// The values that are asked for, with their places.
    pub fn asked(&self) -> Result<Vec<Asked>> {
        let values = self.graph().values();
        let asked = values.filter(|&value| self.task.wanted.value(value));
        let asked = asked.map(|value| {
            Ok(Asked {
                value,
                place: self.value(value)?,
                gradient: self.gradients[self.fusion.root(value).0],
            })
        });
        asked.collect()
    }

    /// Elements of a value for the planned batch.
    fn planned_len(&self, value: ValueId) -> usize {
        self.task.options.batch * self.graph().shape(value).len()
    }

    /// Whether a value is one of the model's outputs.
    fn is_output(&self, value: ValueId) -> bool {
        let mut outputs = self.graph().outputs().iter();
        outputs.any(|&output| self.fusion.root(output) == value)
    }

    /// A buffer for a value. The model's outputs are f32 in either precision, and so are its inputs.
    /// Outputs that are handed out in training stay until they are read.
    fn new_value(&self, recording: &mut Recording, value: ValueId) -> Region {
        let is_output = self.is_output(value);
        let format = match self.task.options.half && !is_output {
            true => Format::F16,
            false => Format::F32,
        };
        let training = self.mode == Mode::Training;
        let storage = match training && is_output && self.task.hands_outputs_out() {
            true => Storage::Persistent,
            false => Storage::Transient,
        };
        recording.buffer_of(format, "output", self.planned_len(value), storage)
    }

    /// Records the operators in order, in training.
    pub fn forward(&mut self, lowered: &mut Lowered) -> Result<()> {
        let parts = self.values_in_order(lowered, &[])?;
        for (node, part) in lowered.nodes.iter_mut().zip(parts) {
            node.forward = part;
        }
        let outputs = self.graph().outputs().iter();
        lowered.trained = outputs.map(|&o| self.value(o)).collect::<Result<_>>()?;
        Ok(())
    }

    /// Records the operators in order, in evaluation. The model's outputs go to their places.
    pub fn predict(&mut self, lowered: &mut Lowered) -> Result<()> {
        let destinations = lowered.outputs.clone();
        let parts = self.values_in_order(lowered, &destinations)?;
        for (node, part) in lowered.nodes.iter_mut().zip(parts) {
            node.predict = part;
        }
        for (at, destination) in destinations.into_iter().enumerate() {
            let output = self.graph().outputs()[at];
            let value = self.value(output)?;
            if value == destination {
                continue;
            }
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
            lowered.copies[at] = Some(Part {
                range: begin..recording.dispatches.len(),
                mode: Mode::Evaluation,
                places,
            });
        }
        Ok(())
    }

    /// Records each operator's forward pass. The outputs go to `destinations`, or to buffers of their
    /// own.
    fn values_in_order(
        &mut self,
        lowered: &mut Lowered,
        destinations: &[Region],
    ) -> Result<Vec<Option<Part<Forward>>>> {
        let graph = self.graph();
        for (at, &input) in graph.inputs().iter().enumerate() {
            let (task, way) = (self.task, (self.batch, self.mode));
            let numbers = record_numbers(lowered, task, (input, lowered.inputs[at]), way);
            self.values[input.0] = Some(numbers);
        }
        for (constant, &region) in graph.constants().iter().zip(&lowered.constants) {
            self.values[constant.value.0] = Some(region);
        }
        let outputs = graph.outputs().iter().map(|&o| self.fusion.root(o));
        let outputs: Vec<_> = outputs.collect();
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
            let output = outputs.iter().position(|&output| output == written);
            let destination = output.and_then(|at| destinations.get(at).copied());
            let recording = &mut lowered.recording;
            let region = destination.unwrap_or_else(|| self.new_value(recording, written));
            self.values[written.0] = Some(region);
            self.values[node.output.0] = Some(region);
            let part = self.node_forward(lowered, node, region)?;
            parts.pop();
            parts.push(Some(part));
        }
        Ok(parts)
    }

    fn node_forward(
        &mut self,
        lowered: &mut Lowered,
        node: &Node,
        region: Region,
    ) -> Result<Part<Forward>> {
        let (operator, site) = (kernels(&node.op), self.site(node));
        let (inputs, parameters) = (self.values_of(node)?, self.parameters(lowered, node)?);
        let addend = self.fusion.addend(self.fusion.written(node.output));
        let addend = addend.map(|addend| self.value(addend));
        let recording = &mut lowered.recording;
        let kept = operator.keeps(&site)?;
        let written = self.fusion.written(node.output);
        let goes_back = self.mode == Mode::Training && self.task.wanted.needs(written);
        let passed = self.fusion.passed_by_maker(written);
        let keeps = passed.is_some_and(|activation| !activation.gradient_from_value());
        let argument = (goes_back && keeps).then(|| {
            let len = self.planned_len(written);
            recording.buffer_of(region.format, "argument", len, Storage::Transient)
        });
        self.arguments[written.0] = argument;
        let places = Forward {
            inputs,
            parameters,
            output: Output {
                addend: addend.transpose()?,
                activation: self.fusion.activation(written),
                argument,
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

    /// Records the losses and their gradients with respect to the model's outputs. Of a loss that is the
    /// caller's there is the place for the gradient.
    pub fn losses(&mut self, lowered: &mut Lowered) -> Result<()> {
        for (at, task) in self.task.losses.iter().enumerate() {
            let output = self.graph().outputs()[task.output];
            let root = self.fusion.root(output);
            lowered.recording.set_label("loss");
            let storage = match task.loss {
                Some(_) => Storage::Transient,
                None => Storage::Persistent,
            };
            let (len, recording) = (self.planned_len(output), &mut lowered.recording);
            let gradient = recording.buffer("output gradient", len, storage);
            let value = self.value(root)?;
            let begin = recording.dispatches.len();
            let parts = &mut lowered.losses[at];
            parts.logits = [value, gradient];
            if let Some(own) = &task.loss {
                let shape = self.graph().shape(output);
                let geometry = own.geometry(self.batch, shape)?;
                let planned = own.geometry(self.task.options.batch, shape)?;
                let targets = loss::Targets {
                    labels: parts.labels,
                    values: parts.values,
                    weights: parts.loss_weights,
                };
                let (results, geometries) = ([parts.loss, gradient], [&geometry, &planned]);
                loss::loss(recording, own, geometries, value, targets, results);
            }
            parts.range = begin..recording.dispatches.len();
            parts.sum = self.add_loss(recording, root, gradient);
        }
        Ok(())
    }

    /// Makes a loss's gradient that of its output, or records that it is added to what is there already.
    fn add_loss(
        &mut self,
        recording: &mut Recording,
        root: ValueId,
        gradient: Region,
    ) -> Option<Part<Output>> {
        let Some(sum) = self.gradients[root.0] else {
            self.gradients[root.0] = Some(gradient);
            return None;
        };
        let places = Output {
            accumulate: true,
            ..sum.into()
        };
        let len = self.batch * self.graph().shape(root).len();
        let begin = recording.dispatches.len();
        activation::forward(recording, len, gradient, places);
        Some(Part {
            range: begin..recording.dispatches.len(),
            mode: self.mode,
            places,
        })
    }

    /// Records every operator's gradients, last operator first.
    pub fn backward(&mut self, lowered: &mut Lowered) -> Result<()> {
        for (index, node) in self.graph().nodes().iter().enumerate().rev() {
            let written = self.fusion.written(node.output);
            let part_of_another = self.fusion.is_part_of_another(node.output);
            if node.op.definition().is_view() || part_of_another {
                continue;
            }
            let Some(gradient) = self.gradients[written.0] else {
                continue;
            };
            lowered.recording.set_label(node.label());
            self.node_backward(lowered, (index, node), gradient)?;
            // The gradient of a sum that is part of this node, for the other value.
            let sums = self.graph().nodes().iter().enumerate();
            let mut sums = sums.filter(|(_, n)| self.fusion.summand(n.output) == Some(node.output));
            if let Some(sum) = sums.next() {
                lowered.recording.set_label(sum.1.label());
                self.node_backward(lowered, sum, gradient)?;
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
            let root = Some(self.fusion.root(input));
            let handed_on = root == heir || root == self.fusion.summand(node.output);
            to_inputs.push(match wanted.needs(input) && !handed_on {
                true => Some(self.new_gradient(&mut lowered.recording, input)?),
                false => None,
            });
        }
        let (mut to_parameters, mut shared) = (Vec::new(), Vec::new());
        for &id in &node.parameters {
            if !wanted.parameter(id) || self.values_alone {
                to_parameters.push(None);
                continue;
            }
            let gradient = lowered.gradient(id)?;
            let begun = std::mem::replace(&mut self.begun[id.0], true);
            to_parameters.push(Some(match begun {
                true => {
                    let label = "gradient of a shared parameter";
                    let apart = apart(&mut lowered.recording, &gradient, label);
                    shared.push((apart.clone(), gradient));
                    apart
                }
                false => gradient,
            }));
        }
        let places = Backward {
            inputs: self.values_of(node)?,
            parameters: self.parameters(lowered, node)?,
            output: self.value(self.fusion.written(node.output))?,
            kept: lowered.nodes[index].kept(),
            gradient,
            through: self.through(node)?,
            to_inputs,
            to_parameters,
        };
        let begin = lowered.recording.dispatches.len();
        let (operator, site) = (kernels(&node.op), self.site(node));
        let asked = places.to_inputs.iter().any(Option::is_some)
            || places.to_parameters.iter().any(Option::is_some);
        // Nobody but this pass takes the gradient through where nothing else is asked of the operator.
        let by_itself = asked && operator.applies() == Applies::Everything;
        if let Some(through) = places.through.filter(|_| !by_itself) {
            activation::turn(&mut lowered.recording, through, site.len(), gradient);
        }
        if asked {
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
        let sums = shared.into_iter().map(|(apart, gradient)| {
            let begin = lowered.recording.dispatches.len();
            add_pieces(&mut lowered.recording, &apart, &gradient);
            Part {
                range: begin..lowered.recording.dispatches.len(),
                mode: self.mode(node),
                places: [apart, gradient],
            }
        });
        let sums = sums.collect();
        let parts = &mut lowered.nodes[index];
        (parts.heir, parts.backward, parts.sums) = (heir, Some(part), sums);
        Ok(())
    }

    /// What the gradient of a value goes through before it is that of what its node computes. Where a sum is part
    /// of another node, that has seen to it.
    fn through(&self, node: &Node) -> Result<Option<(Activation, Region)>> {
        if self.fusion.summand(node.output).is_some() {
            return Ok(None);
        }
        let written = self.fusion.written(node.output);
        let Some(activation) = self.fusion.passed_by_maker(written) else {
            return Ok(None);
        };
        let saved = self.arguments[written.0].map_or_else(|| self.value(written), Ok)?;
        Ok(Some((activation, saved)))
    }

    /// The input that can take the buffer of the output's gradient over as its own, where an operator
    /// hands it on as it is: the first to be told of its gradient, where that needs no change.
    fn heir(&self, node: &Node) -> Option<ValueId> {
        if self.fusion.is_asked(node.output) {
            return None; // it keeps its own
        }
        let (operator, site) = (kernels(&node.op), self.site(node));
        let roots: Vec<_> = node.inputs.iter().map(|&i| self.fusion.root(i)).collect();
        let fits = |&(position, root): &(usize, ValueId)| {
            operator.hands_gradient_on(&site, position)
                && self.fusion.summand(node.output) != Some(root)
                && roots.iter().filter(|&&other| other == root).count() == 1
                && self.task.wanted.needs(root)
                && self.fusion.passed_by_readers(root).is_none()
                && self.gradients[root.0].is_none()
        };
        let mut inputs = roots.iter().copied().enumerate();
        inputs.find(fits).map(|(_, root)| root)
    }

    /// Where a value's gradient goes. The first to ask writes, the others add.
    fn new_gradient(&mut self, recording: &mut Recording, value: ValueId) -> Result<Output> {
        let root = self.fusion.root(value);
        let gradient_of = match self.fusion.passed_by_readers(root) {
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
