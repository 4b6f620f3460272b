//! A directed acyclic graph of operators, in an order in which it can be run.

use crate::op::{Op, ParameterKind, ParameterSpec};
use crate::{Error, Result, Shape};

/// Elements that a tensor has fewer of.
const LARGEST: usize = 1 << 30;

/// A tensor that flows through the graph: the input, or a node's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub usize);

/// A tensor that the model keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ParameterId(pub usize);

/// One operator at its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The place in the chain, as `torch.nn.Sequential` counts: `3`, or `3.body.0`.
    pub name: String,
    pub op: Op,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
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
    pub shape: Shape,
    pub spec: ParameterSpec,
}

impl Parameter {
    /// Whether the optimizer changes it.
    pub fn is_learned(&self) -> bool {
        self.spec.kind == ParameterKind::Learned
    }

    /// Whether it is a whole number that counts batches.
    pub fn is_count(&self) -> bool {
        self.spec.kind == ParameterKind::Count
    }
}

/// The nodes in the order of their execution. Value 0 is the input; the last node's output (or the
/// input, where there is no node) is the output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Graph {
    shapes: Vec<Shape>,
    nodes: Vec<Node>,
    parameters: Vec<Parameter>,
}

impl Graph {
    pub fn new(input: Shape) -> Self {
        Self {
            shapes: vec![input],
            nodes: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Refuses an input that is no tensor.
    pub fn check_input(input: &Shape) -> Result<()> {
        match input.len() {
            0 => Err(Error::shape("input", "extents above zero", input)),
            1..LARGEST => Ok(()),
            _ => Err(Error::shape("input", "less than 2^30 elements", input)),
        }
    }

    pub fn input(&self) -> ValueId {
        ValueId(0)
    }

    pub fn output(&self) -> ValueId {
        self.nodes.last().map_or(self.input(), |node| node.output)
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
            let reason = "is a running statistic, which has no gradient";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
        Ok(id)
    }

    /// Adds an operator and gives its output.
    pub fn push(&mut self, name: String, op: Op, inputs: Vec<ValueId>) -> Result<ValueId> {
        let output = ValueId(self.shapes.len());
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
        let first = self.parameters.len();
        self.parameters
            .extend(specs.into_iter().map(|spec| Parameter {
                name: format!("{name}.{}", spec.name),
                shape: spec.shape.clone(),
                spec,
            }));
        let parameters = (first..self.parameters.len()).map(ParameterId).collect();
        self.shapes.push(shape);
        self.nodes.push(Node {
            layer: self.nodes.len() as u32,
            name,
            op,
            inputs,
            output,
            parameters,
        });
        Ok(output)
    }
}
