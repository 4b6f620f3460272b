//! One node of a graph by itself, in f64: what the verifier holds a kernel against.

use super::tape::{Kept, Masks, Tape, Walk, resized};
use crate::Result;
use crate::cpu;
use crate::model::{Graph, Node, ParameterId, ValueId};
use crate::op::Op;

/// A node with its inputs and parameters.
#[derive(Debug, Clone)]
pub(in crate::engine) struct SingleReference<'a> {
    graph: &'a Graph,
    index: usize,
    batch: usize,
    masks: Option<Masks>,
    /// By parameter of the graph; empty for those of other nodes.
    parameters: Vec<Vec<f64>>,
    tape: Tape<f64>,
}

/// What a node's backward pass gives.
#[derive(Debug)]
pub(in crate::engine) struct Gradients {
    /// By parameter of the node; of statistics empty.
    pub parameters: Vec<Vec<f64>>,
    /// By input of the node; empty where not asked for.
    pub inputs: Vec<Vec<f64>>,
}

impl<'a> SingleReference<'a> {
    /// The node at `index`, with its inputs and its parameters in its own order. Without masks it
    /// is in evaluation.
    pub fn new(
        graph: &'a Graph,
        index: usize,
        batch: usize,
        masks: Option<Masks>,
        inputs: &[&[f64]],
        parameters: &[Vec<f64>],
    ) -> Self {
        let node = &graph.nodes()[index];
        let mut tape = Tape::default();
        tape.resize(graph);
        for (&ValueId(input), values) in node.inputs.iter().zip(inputs) {
            tape.values[input] = values.to_vec();
        }
        let mut all = vec![Vec::new(); graph.parameters().len()];
        for (&ParameterId(id), values) in node.parameters.iter().zip(parameters) {
            all[id].clone_from(values);
        }
        Self {
            graph,
            index,
            batch,
            masks,
            parameters: all,
            tape,
        }
    }

    pub fn node(&self) -> &'a Node {
        &self.graph.nodes()[self.index]
    }

    /// Whether the node is in evaluation.
    pub fn is_evaluation(&self) -> bool {
        self.masks.is_none()
    }

    /// The node on the absolute values of its inputs and parameters: for an operator that is a sum
    /// of products, the sums of the terms' magnitudes.
    pub fn absolute(&self) -> Self {
        let mut absolute = self.clone();
        let values = absolute
            .tape
            .values
            .iter_mut()
            .chain(&mut absolute.parameters);
        values.flatten().for_each(|value| *value = value.abs());
        absolute
    }

    /// Computes the node's output.
    pub fn forward(&mut self) -> Result<&[f64]> {
        let node = self.node();
        let mut y = Vec::new();
        let slice = resized(&mut y, self.batch * self.graph.shape(node.output).len());
        let walk = Walk {
            graph: self.graph,
            parameters: &self.parameters,
            batch: self.batch,
            training: self.masks,
        };
        self.tape.node_forward(walk, self.index, node, slice)?;
        self.set_output(y);
        Ok(self.output())
    }

    /// The node's output, after [`forward`](Self::forward).
    pub fn output(&self) -> &[f64] {
        &self.tape.values[self.node().output.0]
    }

    /// Puts another output in its place, for a backward pass from exactly that.
    pub fn set_output(&mut self, output: Vec<f64>) {
        let ValueId(value) = self.node().output;
        self.tape.values[value] = output;
    }

    /// One of the node's inputs.
    pub fn input(&self, position: usize) -> &[f64] {
        &self.tape.values[self.node().inputs[position].0]
    }

    /// One of the node's parameters.
    pub fn parameter(&self, position: usize) -> &[f64] {
        let id = self.node().parameters.get(position);
        id.map_or(&[], |id| &self.parameters[id.0])
    }

    /// The positions of a max-pool's maxima.
    pub fn argmax(&self) -> &[u32] {
        &self.kept().argmax
    }

    /// Mean and variance of a batch normalisation's batch.
    pub fn moments(&self) -> [&[f64]; 2] {
        let Kept { mean, variance, .. } = self.kept();
        [mean, variance]
    }

    fn kept(&self) -> &Kept<f64> {
        &self.tape.kept[self.index]
    }

    /// The running statistics of a batch normalisation as the batch makes them.
    pub fn running(&self) -> Result<Option<[Vec<f64>; 2]>> {
        let node = self.node();
        let (Op::BatchNorm(norm), Some(running), false) =
            (&node.op, node.statistics(), self.is_evaluation())
        else {
            return Ok(None);
        };
        let geometry = norm.geometry(self.batch, self.graph.shape(node.inputs[0]))?;
        let [mut mean, mut variance] = running.map(|id| self.parameters[id.0].clone());
        let [batch_mean, batch_variance] = self.moments();
        cpu::batch_norm_update_running(
            &geometry,
            norm.momentum,
            batch_mean,
            batch_variance,
            &mut mean,
            &mut variance,
        )?;
        Ok(Some([mean, variance]))
    }

    /// The gradients of the parameters and, where `wanted`, of the inputs.
    pub fn backward(&self, gy: &[f64], wanted: &[bool]) -> Result<Gradients> {
        let node = self.node();
        let walk = Walk {
            graph: self.graph,
            parameters: &self.parameters,
            batch: self.batch,
            training: self.masks,
        };
        let mut all: Vec<Vec<f64>> = vec![Vec::new(); self.parameters.len()];
        for &ParameterId(id) in &node.parameters {
            if self.graph.parameter(ParameterId(id)).is_learned() {
                all[id].resize(self.parameters[id].len(), 0.0);
            }
        }
        self.tape
            .parameter_gradients(walk, self.index, node, gy, &mut all)?;
        let mut inputs = Vec::new();
        for (position, &wanted) in wanted.iter().enumerate() {
            let mut gx = Vec::new();
            if wanted {
                let gx = resized(&mut gx, self.input(position).len());
                self.tape
                    .input_gradient(walk, (self.index, position), node, &all, gy, gx)?;
            }
            inputs.push(gx);
        }
        let parameters = node
            .parameters
            .iter()
            .map(|id| std::mem::take(&mut all[id.0]));
        Ok(Gradients {
            parameters: parameters.collect(),
            inputs,
        })
    }
}
