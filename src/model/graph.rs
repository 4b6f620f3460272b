//! A directed acyclic graph of operators, in an order in which it can be run.

mod edits;
mod fold;
mod looking;

pub(crate) use fold::Folded;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Model;
use crate::op::{Bytes, Op, ParameterKind, ParameterSpec};
use crate::{Error, Result, Shape};

/// Elements that a tensor has fewer of.
const LARGEST: usize = 1 << 30;

/// A tensor that flows through the graph: an input, a constant, or a node's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub usize);

/// A tensor that the model keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ParameterId(pub usize);

/// One operator at its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The user's name, or the place in the chain, as `torch.nn.Sequential` counts: `3`, or `3.body.0`.
    pub name: String,
    pub op: Op,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
    /// Its own, or those of another layer that it shares.
    pub parameters: Vec<ParameterId>,
    /// The number that tells its random words from those of other nodes.
    pub layer: u32,
}

impl Node {
    /// The node in messages: `layer 3 (conv2d)`.
    pub fn label(&self) -> String {
        format!("layer {} ({})", self.name, self.op.name())
    }
}

/// A kept tensor's name, shape and start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    pub name: String,
    /// As users see it. Kernels see that of the spec, of as many elements.
    pub shape: Shape,
    pub spec: ParameterSpec,
    /// What it is from the start, where it is part of the model rather than drawn.
    pub values: Option<Arc<[f32]>>,
}

impl Parameter {
    /// Whether the optimizer changes it.
    pub fn is_learned(&self) -> bool {
        self.spec.kind == ParameterKind::Learned
    }

    /// Whether the forward pass of training changes it.
    pub fn is_statistic(&self) -> bool {
        matches!(
            self.spec.kind,
            ParameterKind::Statistic | ParameterKind::Count
        )
    }

    /// Whether it is part of the model, as a stride is, rather than of what is trained and saved.
    pub fn is_constant(&self) -> bool {
        self.spec.kind == ParameterKind::Constant
    }

    /// Whether it is a whole number that counts batches.
    pub fn is_count(&self) -> bool {
        self.spec.kind == ParameterKind::Count
    }
}

/// A value that is the same for every example.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Constant {
    pub name: String,
    pub value: ValueId,
    /// Of one example.
    pub values: Arc<[f32]>,
}

/// The nodes in the order of their execution.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Graph {
    shapes: Vec<Shape>,
    inputs: Vec<ValueId>,
    /// What the bytes stand for of those inputs that are given as bytes.
    bytes: Vec<(ValueId, Bytes)>,
    constants: Vec<Constant>,
    nodes: Vec<Node>,
    parameters: Vec<Parameter>,
    /// Of layers, constants and parameters.
    names: HashSet<String>,
    /// None as long as it is in the making.
    outputs: Vec<ValueId>,
    making: Box<Making>,
}

/// What is known of a graph only while it is in the making.
#[derive(Debug, Clone, PartialEq, Default)]
struct Making {
    /// The number behind a name from which on a free one is looked for.
    numbers: HashMap<String, usize>,
    /// Parameters as they were before they were renamed or fixed, in that order.
    edits: Vec<(ParameterId, Parameter)>,
}

impl Graph {
    /// A graph of one input and nothing else.
    pub fn new(input: Shape) -> Self {
        let mut graph = Self::default();
        graph.push_input(input);
        graph
    }

    /// Adds an input.
    pub fn push_input(&mut self, shape: Shape) -> ValueId {
        let value = self.push_value(shape);
        self.inputs.push(value);
        value
    }

    /// Adds a value that is the same for every example.
    pub fn push_constant(&mut self, name: &str, shape: Shape, values: Vec<f32>) -> Result<ValueId> {
        Self::check_extents(&format!("constant {name:?}"), &shape)?;
        if shape.len() != values.len() {
            let what = format!("constant {name:?}");
            return Err(Error::length(&what, &shape, values.len()));
        }
        self.take_name(name)?;
        let value = self.push_value(shape);
        self.constants.push(Constant {
            name: name.into(),
            value,
            values: values.into(),
        });
        Ok(value)
    }

    fn push_value(&mut self, shape: Shape) -> ValueId {
        self.shapes.push(shape);
        ValueId(self.shapes.len() - 1)
    }

    /// Whether a layer, a constant or a parameter has this name.
    pub fn is_taken(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// This name, or the first one with a number behind it that is not taken.
    pub fn free_name(&mut self, name: &str) -> String {
        if !self.is_taken(name) {
            return name.into();
        }
        // Those below were taken the last time, and so they are still.
        let mut number = self.making.numbers.get(name).copied().unwrap_or(1);
        while self.is_taken(&format!("{name}{number}")) {
            number += 1;
        }
        self.making.numbers.insert(name.into(), number);
        format!("{name}{number}")
    }

    /// Whether there is such a value.
    pub fn has(&self, value: ValueId) -> bool {
        value.0 < self.shapes.len()
    }

    fn take_name(&mut self, name: &str) -> Result<()> {
        match self.names.insert(name.into()) {
            true => Ok(()),
            false => {
                let reason = "is the name of another layer, constant or parameter";
                Err(Error::argument(format!("{name:?}"), reason))
            }
        }
    }

    /// The model that gives these values.
    pub fn finish(mut self, outputs: Vec<ValueId>) -> Result<Model> {
        if outputs.is_empty() {
            return Err(Error::argument("outputs", "a model gives a value at least"));
        }
        if self.inputs.is_empty() {
            return Err(Error::argument("inputs", "a model takes a value at least"));
        }
        (self.outputs, self.making) = (outputs, Box::default());
        let names: Vec<String> = self.outputs.iter().map(|&o| self.value_name(o)).collect();
        for (at, output) in self.outputs.iter().enumerate() {
            let what = || format!("output {}", names[at]);
            if self.outputs[..at].contains(output) {
                return Err(Error::argument(what(), "is given twice"));
            }
            if names[..at].contains(&names[at]) {
                let reason = "is the name of two outputs: give the layer another";
                return Err(Error::argument(what(), reason));
            }
        }
        let mut reaches = vec![false; self.shapes.len()];
        self.outputs
            .iter()
            .for_each(|output| reaches[output.0] = true);
        for node in self.nodes.iter().rev() {
            if !reaches[node.output.0] {
                return Err(Error::argument(node.label(), "reaches no output"));
            }
            node.inputs.iter().for_each(|input| reaches[input.0] = true);
        }
        match reaches.iter().position(|&reaches| !reaches) {
            Some(value) => {
                let value = ValueId(value);
                let is_constant = self.constants.iter().any(|c| c.value == value);
                let kind = if is_constant { "constant " } else { "" };
                let name = format!("{kind}{}", self.value_name(value));
                Err(Error::argument(name, "reaches no output"))
            }
            None => Ok(self.into()),
        }
    }

    /// What a value is called: by the layer that makes it, by its place among the inputs, or as the
    /// constant that it is.
    pub fn value_name(&self, value: ValueId) -> String {
        if let Some(node) = self.nodes.iter().find(|node| node.output == value) {
            return node.name.clone();
        }
        if let Some(constant) = self.constants.iter().find(|c| c.value == value) {
            return constant.name.clone();
        }
        match self.inputs.iter().position(|&input| input == value) {
            Some(0) | None => "input".into(),
            Some(at) => format!("input {at}"),
        }
    }

    /// Refuses an input that is no tensor.
    pub fn check_input(input: &Shape) -> Result<()> {
        Self::check_extents("input", input)
    }

    fn check_extents(what: &str, shape: &Shape) -> Result<()> {
        match shape.len() {
            0 => Err(Error::shape(what, "extents above zero", shape)),
            1..LARGEST => Ok(()),
            _ => Err(Error::shape(what, "less than 2^30 elements", shape)),
        }
    }

    /// The inputs, in the order in which a step takes them; at least one.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The outputs, at least one once the graph is a model's.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// The first input.
    pub fn input(&self) -> ValueId {
        self.inputs[0]
    }

    /// The first output.
    pub fn output(&self) -> ValueId {
        self.outputs[0]
    }

    /// The place among the outputs of the one with a name.
    pub fn output_named(&self, name: &str) -> Result<usize> {
        let names: Vec<String> = self.outputs.iter().map(|&o| self.value_name(o)).collect();
        let at = names.iter().position(|other| other == name);
        at.ok_or_else(|| {
            Error::argument(
                format!("output {name:?}"),
                format!("the model has {names:?}"),
            )
        })
    }

    /// The shape of one example of a value.
    pub fn shape(&self, value: ValueId) -> &Shape {
        &self.shapes[value.0]
    }

    /// The shapes of one example of a node's inputs.
    pub fn input_shapes(&self, node: &Node) -> Vec<&Shape> {
        node.inputs.iter().map(|&input| self.shape(input)).collect()
    }

    /// Refuses a batch of training that an operator cannot take.
    pub fn check_training(&self, batch: usize) -> Result<()> {
        self.nodes.iter().try_for_each(|node| {
            let inputs = self.input_shapes(node);
            node.op.definition().check_training(batch, &inputs)
        })
    }

    pub fn values(&self) -> impl Iterator<Item = ValueId> {
        (0..self.shapes.len()).map(ValueId)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters that are trained or gathered: those that a weights file holds.
    pub fn kept(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        let parameters = self.parameters.iter().enumerate();
        let kept = parameters.filter(|(_, parameter)| !parameter.is_constant());
        kept.map(|(at, parameter)| (ParameterId(at), parameter))
    }

    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    pub fn parameter_named(&self, name: &str) -> Result<ParameterId> {
        let at = self
            .parameters
            .iter()
            .position(|parameter| parameter.name == name);
        at.map(ParameterId).ok_or_else(|| {
            let names: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
            Error::argument(
                format!("parameter {name:?}"),
                format!("the model has {names:?}"),
            )
        })
    }

    /// A parameter that has a gradient.
    pub fn learned_named(&self, name: &str) -> Result<ParameterId> {
        let id = self.parameter_named(name)?;
        if !self.parameter(id).is_learned() {
            let reason = match self.parameter(id).is_statistic() {
                true => "is a running statistic, which has no gradient",
                false => "is fixed, and has no gradient",
            };
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
        Ok(id)
    }

    /// Adds an operator and gives its output.
    pub fn push(&mut self, name: String, op: Op, inputs: Vec<ValueId>) -> Result<ValueId> {
        let (shape, specs) = self.resolve(&name, &op, &inputs)?;
        let own: Vec<String> = specs
            .iter()
            .map(|spec| format!("{name}.{}", spec.name))
            .collect();
        if let Some(taken) = own.iter().find(|own| self.is_taken(own)) {
            let reason = "is the name of another layer, constant or parameter";
            return Err(Error::argument(format!("{taken:?}"), reason));
        }
        self.take_name(&name)?;
        self.names.extend(own.iter().cloned());
        let first = self.parameters.len();
        let parameters = own.into_iter().zip(specs);
        self.parameters
            .extend(parameters.map(|(name, spec)| Parameter {
                name,
                shape: spec.shape.clone(),
                spec,
                values: None,
            }));
        let parameters = (first..self.parameters.len()).map(ParameterId).collect();
        Ok(self.push_node(name, op, inputs, shape, parameters))
    }

    fn node_named(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// Whether there is a layer of this name.
    pub fn has_layer(&self, name: &str) -> bool {
        self.node_named(name).is_some()
    }

    /// Adds the operator of another layer a second time, with the same parameters.
    pub fn push_shared(&mut self, of: &str, name: String, inputs: Vec<ValueId>) -> Result<ValueId> {
        let Some(layer) = self.node_named(of) else {
            return Err(Error::argument(
                format!("layer {of:?}"),
                "is not there to be shared",
            ));
        };
        let (op, parameters) = (layer.op.clone(), layer.parameters.clone());
        let (shape, specs) = self.resolve(&name, &op, &inputs)?;
        for (spec, &id) in specs.iter().zip(&parameters) {
            let own = &self.parameter(id).spec.shape;
            if spec.shape != *own {
                let layer = format!("layer {name} ({}), that shares those of {of}", op.name());
                let expected = format!("an input for a {} of {own}", spec.name);
                return Err(Error::shape(
                    layer,
                    expected,
                    format!("one for {}", spec.shape),
                ));
            }
        }
        self.take_name(&name)?;
        Ok(self.push_node(name, op, inputs, shape, parameters))
    }

    fn push_node(
        &mut self,
        name: String,
        op: Op,
        inputs: Vec<ValueId>,
        shape: Shape,
        parameters: Vec<ParameterId>,
    ) -> ValueId {
        let output = self.push_value(shape);
        self.nodes.push(Node {
            layer: self.nodes.len() as u32,
            name,
            op,
            inputs,
            output,
            parameters,
        });
        output
    }

    /// The shape of an operator's output and its parameters, or an error that names the layer.
    fn resolve(
        &self,
        name: &str,
        op: &Op,
        inputs: &[ValueId],
    ) -> Result<(Shape, Vec<ParameterSpec>)> {
        let label = format!("layer {name} ({})", op.name());
        #[allow(clippy::wildcard_enum_match_arm)] // the others know of no layer
        let named = |error| match error {
            Error::Shape { expected, got, .. } => Error::Shape {
                layer: label.clone(),
                expected,
                got,
            },
            Error::Argument { argument, reason } => Error::Argument {
                argument: format!("{label}: {argument}"),
                reason,
            },
            other => other,
        };
        let shapes: Vec<&Shape> = inputs.iter().map(|&input| self.shape(input)).collect();
        let shape = op.definition().output_shape(&shapes).map_err(named)?;
        let specs = op.definition().parameters(&shapes).map_err(named)?;
        let largest = specs
            .iter()
            .map(|spec| spec.shape.len())
            .chain([shape.len()])
            .max();
        if largest.is_some_and(|len| len >= LARGEST) {
            let expected = "tensors of less than 2^30 elements";
            return Err(Error::shape(label.as_str(), expected, largest.unwrap_or(0)));
        }
        Ok((shape, specs))
    }
}
