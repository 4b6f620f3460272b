//! Batch normalisations that become part of the weights before them, for evaluation.

use super::{Graph, Node, Parameter, ParameterId, ValueId};
use crate::op::{BatchNorm, Op};
use crate::{Error, Result};

/// A batch normalisation, and the layer with weights whose output it alone reads.
#[derive(Debug, Clone)]
struct Fold {
    norm: BatchNorm,
    /// Gamma, beta and the statistics, or without factors the statistics alone.
    statistics: Vec<ParameterId>,
    weight: ParameterId,
    /// Where the layer's bias is, or will be.
    bias: ParameterId,
    /// The groups of a transpose convolution, whose weights begin with the input's channels.
    transposed: Option<usize>,
    channels: usize,
}

/// A graph without the batch normalisations that follow a layer with weights, and how its parameters
/// follow from those of the graph that it was.
#[derive(Debug, Clone)]
pub(crate) struct Folded {
    pub graph: Graph,
    folds: Vec<Fold>,
}

impl Folded {
    /// The parameters from those of the graph that it was, computed in `f64`: with the factor
    /// `s = gamma / sqrt(variance + epsilon)` of each channel the weights are `s w`, and the bias is
    /// `s (b - mean) + beta`.
    pub fn parameters(&self, mut values: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        let parameters = self.graph.parameters().iter().skip(values.len());
        let added: Vec<Vec<f32>> = parameters.map(|p| vec![0.0; p.shape.len()]).collect();
        values.extend(added);
        for fold in &self.folds {
            let own: Vec<&[f32]> = fold.statistics.iter().map(|id| &values[id.0][..]).collect();
            let own: Vec<Vec<f64>> = own
                .iter()
                .map(|values| values.iter().map(|&value| f64::from(value)).collect())
                .collect();
            let first = if fold.norm.affine { 2 } else { 0 };
            let (mean, variance) = (&own[first], &own[first + 1]);
            let of = |at: usize, channel: usize, otherwise: f64| match fold.norm.affine {
                true => own[at][channel],
                false => otherwise,
            };
            let factors: Vec<f64> = (0..fold.channels)
                .map(|c| of(0, c, 1.0) / (variance[c] + fold.norm.epsilon).sqrt())
                .collect();
            let weights = &mut values[fold.weight.0];
            fold.scale(weights, self.graph.parameter(fold.weight), &factors)?;
            for (channel, bias) in values[fold.bias.0].iter_mut().enumerate() {
                let moved = (f64::from(*bias) - mean[channel]) * factors[channel];
                *bias = (moved + of(1, channel, 0.0)) as f32;
            }
        }
        Ok(values)
    }
}

impl Fold {
    /// Multiplies the weights of each output channel with its factor.
    fn scale(&self, weights: &mut [f32], parameter: &Parameter, factors: &[f64]) -> Result<()> {
        let shape = &parameter.spec.shape;
        let [rows, columns] = match shape[..] {
            [rows, columns, ..] => [rows, columns],
            _ => return Err(Error::shape("weights", "two axes at least", shape)),
        };
        let filter = weights.len() / (rows * columns);
        for (at, weight) in weights.iter_mut().enumerate() {
            let (row, column) = (at / filter / columns, at / filter % columns);
            let channel = match self.transposed {
                None => row,
                Some(groups) => row / (rows / groups) * columns + column,
            };
            *weight = (f64::from(*weight) * factors[channel]) as f32;
        }
        Ok(())
    }
}

/// A layer with weights, with a bias, and the groups of a transpose convolution.
fn with_bias(op: &Op) -> Option<(Op, Option<usize>)> {
    let mut op = op.clone();
    let (bias, transposed) = if let Op::Conv2d(conv) = &mut op {
        (&mut conv.bias, None)
    } else if let Op::ConvTranspose2d(conv) = &mut op {
        (&mut conv.bias, Some(conv.groups))
    } else if let Op::Linear(linear) = &mut op {
        (&mut linear.bias, None)
    } else if let Op::PointwiseLinear(linear) = &mut op {
        (&mut linear.bias, None)
    } else {
        return None;
    };
    *bias = true;
    Some((op, transposed))
}

impl Graph {
    /// The graph in which each batch normalisation that alone reads the output of a layer with weights of its
    /// own is part of that layer. All values and parameters keep their numbers.
    pub fn fold_batch_norm(&self) -> Result<Folded> {
        let mut folded = Folded {
            graph: self.clone(),
            folds: vec![],
        };
        for node in &self.nodes {
            if let Op::BatchNorm(norm) = &node.op
                && self.is_foldable(node.inputs[0])
            {
                folded.fold(node, *norm)?;
            }
        }
        Ok(folded)
    }

    /// Whether the layer that makes a value can take a batch normalisation in.
    fn is_foldable(&self, value: ValueId) -> bool {
        let readers = self.nodes.iter().flat_map(|node| &node.inputs);
        let alone = readers.filter(|&&read| read == value).count() == 1;
        let Some(node) = self.nodes.iter().find(|node| node.output == value) else {
            return false;
        };
        let own = |id: &ParameterId| {
            let users = self.nodes.iter().flat_map(|node| &node.parameters);
            users.filter(|&used| used == id).count() == 1
        };
        let fits = alone && !self.outputs.contains(&value) && node.parameters.iter().all(own);
        fits && with_bias(&node.op).is_some()
    }
}

impl Folded {
    /// Makes a batch normalisation part of the layer before it.
    fn fold(&mut self, norm: &Node, op: BatchNorm) -> Result<()> {
        let graph = &mut self.graph;
        let value = norm.inputs[0];
        let Some(at) = graph.nodes.iter().position(|node| node.output == value) else {
            return Ok(());
        };
        let mut node = graph.nodes[at].clone();
        let Some((with, transposed)) = with_bias(&node.op) else {
            return Ok(());
        };
        let specs = with.definition().parameters(&graph.input_shapes(&node))?;
        if let (1, Some(spec)) = (node.parameters.len(), specs.get(1)) {
            node.parameters.push(ParameterId(graph.parameters.len()));
            graph.parameters.push(Parameter {
                name: format!("{}.bias", node.name),
                shape: spec.shape.clone(),
                spec: spec.clone(),
                values: None,
            });
        }
        let [weight, bias] = node.parameters[..] else {
            return Ok(());
        };
        self.folds.push(Fold {
            norm: op,
            statistics: norm.parameters.clone(),
            weight,
            bias,
            transposed,
            channels: graph.parameter(bias).shape.len(),
        });
        (node.op, node.output) = (with, norm.output);
        graph.nodes[at] = node;
        graph.nodes.retain(|other| other.name != norm.name);
        Ok(())
    }
}
