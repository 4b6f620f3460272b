//! An operator with shapes, as the tests try it.

use crate::model::{Graph, Model, ValueId};
use crate::op::{Activation, Concat, Flatten, Linear, Op, Reshape};
use crate::{Result, Shape};

/// An operator with its options and the shapes of one example of its inputs.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is awkward about it.
    pub name: &'static str,
    /// The operator with its options.
    pub op: Op,
    /// The shape of one example of each input.
    pub inputs: Vec<Shape>,
    /// Examples.
    pub batch: usize,
}

/// Features of the model's input.
const FEATURES: usize = 5;

impl Case {
    /// A case with one input and a batch of 3.
    pub(super) fn new(name: &'static str, op: impl Into<Op>, input: impl Into<Shape>) -> Self {
        Self::joining(name, op, [input.into()])
    }

    /// A case with several inputs.
    pub(super) fn joining<const N: usize>(
        name: &'static str,
        op: impl Into<Op>,
        inputs: [Shape; N],
    ) -> Self {
        Self {
            name,
            op: op.into(),
            inputs: inputs.into(),
            batch: 3,
        }
    }

    /// The same with so many examples.
    pub(super) fn batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The operator in a model whose every input comes from a dense layer of its own, so that each
    /// has a gradient. Ends in a row.
    ///
    /// # Errors
    ///
    /// Those of building a model, where the shapes do not fit the operator.
    pub fn model(&self) -> Result<Model> {
        self.model_with(None)
    }

    /// The same with an operator after it, as an activation that becomes part of its kernels, and a
    /// dense layer at the end.
    ///
    /// # Errors
    ///
    /// Those of [`model`](Self::model).
    pub fn model_before(&self, after: impl Into<Op>) -> Result<Model> {
        self.model_with(Some(after.into()))
    }

    /// The operator in models that differ in what is asked of its gradients: each input in turn is the
    /// model's own, which has none, where there are several; and each is read again behind it, so that its
    /// gradient is added to what is there.
    ///
    /// # Errors
    ///
    /// Those of [`model`](Self::model).
    pub fn models_around(&self) -> Result<Vec<Model>> {
        let several = (0..self.inputs.len()).filter(|_| self.inputs.len() > 1);
        let mut models = several
            .map(|at| self.model_on(at))
            .collect::<Result<Vec<_>>>()?;
        models.push(self.model_read_again()?);
        Ok(models)
    }

    fn model_on(&self, own: usize) -> Result<Model> {
        Graph::check_input(&self.inputs[own])?;
        let mut graph = Graph::new(self.inputs[own].clone());
        let row = graph.push("all".into(), Flatten.into(), vec![graph.input()])?;
        let mut inputs = Vec::new();
        for (at, shape) in self.inputs.iter().enumerate() {
            if at == own {
                inputs.push(graph.input());
                continue;
            }
            inputs.push(dense_input(&mut graph, row, (at, shape))?);
        }
        let value = graph.push("operator".into(), self.op.clone(), inputs)?;
        let row = graph.push("row".into(), Flatten.into(), vec![value])?;
        graph.finish(vec![row])
    }

    fn model_read_again(&self) -> Result<Model> {
        let mut graph = Graph::clone(&self.model()?.graph);
        let mut rows = vec![graph.output()];
        let nodes = graph.nodes().iter();
        let inputs: Vec<_> = nodes
            .filter(|node| node.name.starts_with("input"))
            .map(|node| node.output)
            .collect();
        rows.extend(inputs);
        let together = graph.push("together".into(), Concat.into(), rows)?;
        graph.finish(vec![together])
    }

    fn model_with(&self, after: Option<Op>) -> Result<Model> {
        let mut graph = Graph::new([FEATURES].into());
        let mut inputs = Vec::new();
        for (at, shape) in self.inputs.iter().enumerate() {
            let from = graph.input();
            inputs.push(dense_input(&mut graph, from, (at, shape))?);
        }
        let mut value = graph.push("operator".into(), self.op.clone(), inputs)?;
        let mut then =
            |name: &str, op: Op, value: ValueId| graph.push(name.into(), op, vec![value]);
        if let Some(after) = &after {
            value = then("after", after.clone(), value)?;
            if matches!(after, Op::Activation(function) if !function.gradient_from_value()) {
                // It becomes part of the kernels before it where no product reads it.
                value = then("reader", Activation::Tanh.into(), value)?;
            }
        }
        value = then("row", Flatten.into(), value)?;
        if after.is_some() {
            // What makes the model's output applies no activation.
            value = then("head", Linear::new(3).into(), value)?;
        }
        graph.finish(vec![value])
    }
}

/// What a dense layer of its own makes of a row, as the input at a position.
fn dense_input(
    graph: &mut Graph,
    row: ValueId,
    (position, shape): (usize, &Shape),
) -> Result<ValueId> {
    let dense = Linear::new(shape.len()).into();
    let value = graph.push(format!("input{position}"), dense, vec![row])?;
    let view = Reshape::new(shape.clone()).into();
    graph.push(format!("shape{position}"), view, vec![value])
}
