//! The graph walked forwards and backwards, with what the way back needs of the way there.

use crate::cpu::{self, Real};
use crate::model::{Graph, Node, ParameterId, ValueId};
use crate::op::{GlobalPool, Op};
use crate::{Error, Result};

/// What dropout's masks follow from, beside layer and element.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Masks {
    pub seed: u64,
    /// Batches trained on before this one.
    pub step: u64,
}

/// One walk over the graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a, T> {
    pub graph: &'a Graph,
    pub parameters: &'a [Vec<T>],
    pub batch: usize,
    /// `None` in evaluation: no dropout, and normalisation with the running statistics.
    pub training: Option<Masks>,
}

impl<'a, T: Real> Walk<'a, T> {
    fn weight(&self, node: &Node) -> &'a [T] {
        node.weight().map_or(&[], |id| &self.parameters[id.0])
    }

    fn bias(&self, node: &Node) -> Option<&'a [T]> {
        node.bias().map(|id| &self.parameters[id.0][..])
    }

    /// A bias that the operator always has.
    fn beta(&self, node: &Node) -> &'a [T] {
        self.bias(node).unwrap_or(&[])
    }
}

/// What a forward pass leaves for the backward pass, and the backward pass's own memory. Kept
/// between steps for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape<T> {
    /// Each value of the graph, `(N, ..)`.
    pub values: Vec<Vec<T>>,
    /// The loss's gradient with respect to each value; empty where none is needed or has arrived.
    pub gradients: Vec<Vec<T>>,
    /// What each node keeps beside its output.
    pub kept: Vec<Kept<T>>,
    /// A further gradient of a value that is used more than once.
    further: Vec<T>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Kept<T> {
    /// Of max-pooling.
    pub argmax: Vec<u32>,
    /// Of batch normalisation in training: the batch's mean and variance.
    pub mean: Vec<T>,
    pub variance: Vec<T>,
}

impl<T: Real> Tape<T> {
    /// Makes room for what the graph's nodes leave.
    pub fn resize(&mut self, graph: &Graph) {
        self.values.resize(graph.values().count(), Vec::new());
        self.kept.resize_with(graph.nodes().len(), Kept::default);
    }

    /// Computes every value from the input.
    pub fn forward(&mut self, walk: Walk<T>, input: &[T]) -> Result<()> {
        let graph = walk.graph;
        self.resize(graph);
        resized(&mut self.values[graph.input().0], input.len()).copy_from_slice(input);
        for (index, node) in graph.nodes().iter().enumerate() {
            let mut y = std::mem::take(&mut self.values[node.output.0]);
            let y_slice = resized(&mut y, walk.batch * graph.shape(node.output).len());
            self.node_forward(walk, index, node, y_slice)?;
            self.values[node.output.0] = y;
        }
        Ok(())
    }

    pub fn node_forward(
        &mut self,
        walk: Walk<T>,
        index: usize,
        node: &Node,
        y: &mut [T],
    ) -> Result<()> {
        let (batch, shape) = (walk.batch, walk.graph.shape(node.inputs[0]));
        let x = &self.values[node.inputs[0].0][..];
        let (weight, bias) = (walk.weight(node), walk.bias(node));
        let Kept {
            argmax,
            mean,
            variance,
        } = &mut self.kept[index];
        match &node.op {
            Op::Conv2d(conv) => {
                cpu::conv2d_forward(&conv.geometry(batch, shape)?, x, weight, bias, y)
            }
            Op::ConvTranspose2d(conv) => {
                cpu::conv_transpose2d_forward(&conv.geometry(batch, shape)?, x, weight, bias, y)
            }
            Op::Linear(linear) => {
                cpu::linear_forward(&linear.geometry(batch, shape)?, x, weight, bias, y)
            }
            Op::MaxPool2d(pool) => {
                let argmax = resized(argmax, y.len());
                cpu::max_pool2d_forward(&pool.geometry(batch, shape)?, x, y, argmax)
            }
            Op::AvgPool2d(pool) => {
                let geometry = pool.geometry(batch, shape)?;
                cpu::avg_pool2d_forward(&geometry, pool.count_include_pad, x, y)
            }
            Op::GlobalPool(pool) => {
                let geometry = pool.geometry(batch, shape)?;
                match pool {
                    GlobalPool::Max => {
                        cpu::max_pool2d_forward(&geometry, x, y, resized(argmax, y.len()))
                    }
                    GlobalPool::Average => cpu::avg_pool2d_forward(&geometry, true, x, y),
                    GlobalPool::Softmax => cpu::softmax_pool_forward(&geometry, x, y),
                }
            }
            Op::Activation(activation) => cpu::activation_forward(*activation, x, y),
            Op::Softmax(softmax) => {
                cpu::softmax_forward(&softmax.geometry(batch, shape)?, softmax.log, x, y)
            }
            Op::BatchNorm(norm) => {
                let (geometry, beta) = (norm.geometry(batch, shape)?, walk.beta(node));
                let [mean, variance]: [&[T]; 2] = match (walk.training, node.statistics()) {
                    (None, Some(running)) => running.map(|id| &walk.parameters[id.0][..]),
                    _ => {
                        let mean = resized(mean, geometry.channels);
                        let variance = resized(variance, geometry.channels);
                        cpu::batch_norm_moments(&geometry, x, mean, variance)?;
                        [mean, variance]
                    }
                };
                cpu::batch_norm_forward(&geometry, norm.epsilon, x, mean, variance, weight, beta, y)
            }
            Op::LayerNorm(norm) => {
                cpu::layer_norm_forward(batch, norm.epsilon, x, weight, walk.beta(node), y)
            }
            Op::Dropout(probability) => match walk.training {
                Some(Masks { seed, step }) => {
                    cpu::dropout(*probability, seed, step, index as u32, x, y)
                }
                None => copy(x, y),
            },
            Op::Flatten | Op::Reshape(_) => copy(x, y),
            Op::Add => {
                copy(x, y)?;
                add(y, &self.values[node.inputs[1].0]);
                Ok(())
            }
            Op::Concat => {
                let inputs: Vec<&[T]> = node
                    .inputs
                    .iter()
                    .map(|input| &self.values[input.0][..])
                    .collect();
                cpu::concat_forward(batch, &inputs, y)
            }
        }
    }

    /// Computes the parameters' gradients from the output's, and the input's if asked for.
    pub fn backward(
        &mut self,
        walk: Walk<T>,
        gradients: &mut [Vec<T>],
        input_gradient: bool,
    ) -> Result<()> {
        let wanted = wanted_gradients(walk.graph, input_gradient);
        for (index, node) in walk.graph.nodes().iter().enumerate().rev() {
            let gy = std::mem::take(&mut self.gradients[node.output.0]);
            if gy.is_empty() || !wanted[node.output.0] {
                continue;
            }
            self.parameter_gradients(walk, index, node, &gy, gradients)?;
            for (position, &ValueId(input)) in node.inputs.iter().enumerate() {
                if !wanted[input] {
                    continue;
                }
                // The first gradient of a value is written in place, further ones add up.
                let first = self.gradients[input].is_empty();
                let place = if first {
                    &mut self.gradients[input]
                } else {
                    &mut self.further
                };
                let mut gx = std::mem::take(place);
                let gx_slice = resized(&mut gx, self.values[input].len());
                self.input_gradient(walk, (index, position), node, gradients, &gy, gx_slice)?;
                if first {
                    self.gradients[input] = gx;
                } else {
                    add(&mut self.gradients[input], &gx);
                    self.further = gx;
                }
            }
            self.gradients[node.output.0] = gy;
        }
        Ok(())
    }

    /// The gradients of a node's own parameters.
    pub fn parameter_gradients(
        &self,
        walk: Walk<T>,
        index: usize,
        node: &Node,
        gy: &[T],
        gradients: &mut [Vec<T>],
    ) -> Result<()> {
        let (batch, shape) = (walk.batch, walk.graph.shape(node.inputs[0]));
        let x = &self.values[node.inputs[0].0][..];
        let mut both = |write: Write<T>| match (node.weight(), node.bias()) {
            (Some(ParameterId(weight)), Some(ParameterId(bias))) => {
                let pair = gradients.get_disjoint_mut([weight, bias]);
                let [gw, gb] = pair.map_err(|_| Error::argument("graph", "shared parameters"))?;
                write(gw, Some(gb))
            }
            (Some(ParameterId(weight)), None) => write(&mut gradients[weight], None),
            (None, _) => Ok(()),
        };
        match &node.op {
            Op::Conv2d(conv) => {
                let geometry = conv.geometry(batch, shape)?;
                both(&|gw, gb| {
                    cpu::conv2d_backward_weight(&geometry, x, gy, gw)?;
                    gb.map_or(Ok(()), |gb| cpu::conv2d_backward_bias(&geometry, gy, gb))
                })
            }
            Op::ConvTranspose2d(conv) => {
                let geometry = conv.geometry(batch, shape)?;
                both(&|gw, gb| {
                    cpu::conv_transpose2d_backward_weight(&geometry, x, gy, gw)?;
                    gb.map_or(Ok(()), |gb| {
                        cpu::conv_transpose2d_backward_bias(&geometry, gy, gb)
                    })
                })
            }
            Op::Linear(linear) => {
                let geometry = linear.geometry(batch, shape)?;
                both(&|gw, gb| {
                    cpu::linear_backward_weight(&geometry, x, gy, gw)?;
                    gb.map_or(Ok(()), |gb| cpu::linear_backward_bias(&geometry, gy, gb))
                })
            }
            Op::BatchNorm(norm) => {
                let geometry = norm.geometry(batch, shape)?;
                let Kept { mean, variance, .. } = &self.kept[index];
                both(&|gw, gb| {
                    let gb = gb.unwrap_or_default();
                    let epsilon = norm.epsilon;
                    cpu::batch_norm_backward_parameters(
                        &geometry, epsilon, x, mean, variance, gy, gw, gb,
                    )
                })
            }
            Op::LayerNorm(norm) => both(&|gw, gb| {
                let gb = gb.unwrap_or_default();
                cpu::layer_norm_backward_parameters(batch, norm.epsilon, x, gy, gw, gb)
            }),
            Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::GlobalPool(_)
            | Op::Activation(_)
            | Op::Softmax(_)
            | Op::Dropout(_)
            | Op::Flatten
            | Op::Reshape(_)
            | Op::Add
            | Op::Concat => Ok(()),
        }
    }

    /// The gradient that a node hands to the input at one of its positions. `gradients` holds those
    /// of its own parameters.
    pub fn input_gradient(
        &self,
        walk: Walk<T>,
        (index, position): (usize, usize),
        node: &Node,
        gradients: &[Vec<T>],
        gy: &[T],
        gx: &mut [T],
    ) -> Result<()> {
        let (batch, shape) = (walk.batch, walk.graph.shape(node.inputs[0]));
        let (x, y) = (&self.values[node.inputs[0].0], &self.values[node.output.0]);
        let weight = walk.weight(node);
        let Kept {
            argmax,
            mean,
            variance,
        } = &self.kept[index];
        match &node.op {
            Op::Conv2d(conv) => {
                cpu::conv2d_backward_input(&conv.geometry(batch, shape)?, gy, weight, gx)
            }
            Op::ConvTranspose2d(conv) => {
                cpu::conv_transpose2d_backward_input(&conv.geometry(batch, shape)?, gy, weight, gx)
            }
            Op::Linear(linear) => {
                cpu::linear_backward_input(&linear.geometry(batch, shape)?, gy, weight, gx)
            }
            Op::MaxPool2d(pool) => {
                cpu::max_pool2d_backward(&pool.geometry(batch, shape)?, gy, argmax, gx)
            }
            Op::AvgPool2d(pool) => {
                let geometry = pool.geometry(batch, shape)?;
                cpu::avg_pool2d_backward(&geometry, pool.count_include_pad, gy, gx)
            }
            Op::GlobalPool(pool) => {
                let geometry = pool.geometry(batch, shape)?;
                match pool {
                    GlobalPool::Max => cpu::max_pool2d_backward(&geometry, gy, argmax, gx),
                    GlobalPool::Average => cpu::avg_pool2d_backward(&geometry, true, gy, gx),
                    GlobalPool::Softmax => cpu::softmax_pool_backward(&geometry, x, gy, gx),
                }
            }
            Op::Activation(activation) => cpu::activation_backward(*activation, x, y, gy, gx),
            Op::Softmax(softmax) => {
                cpu::softmax_backward(&softmax.geometry(batch, shape)?, softmax.log, y, gy, gx)
            }
            Op::BatchNorm(norm) => {
                let geometry = norm.geometry(batch, shape)?;
                let gradient =
                    |id: Option<ParameterId>| -> &[T] { id.map_or(&[], |id| &gradients[id.0]) };
                let (ggamma, gbeta) = (gradient(node.weight()), gradient(node.bias()));
                cpu::batch_norm_backward_input(
                    &geometry,
                    norm.epsilon,
                    x,
                    mean,
                    variance,
                    weight,
                    ggamma,
                    gbeta,
                    gy,
                    gx,
                )
            }
            Op::LayerNorm(norm) => {
                cpu::layer_norm_backward_input(batch, norm.epsilon, x, weight, gy, gx)
            }
            Op::Dropout(probability) => match walk.training {
                Some(Masks { seed, step }) => {
                    cpu::dropout(*probability, seed, step, index as u32, gy, gx)
                }
                None => copy(gy, gx),
            },
            Op::Flatten | Op::Reshape(_) | Op::Add => copy(gy, gx),
            Op::Concat => {
                let before = &node.inputs[..position];
                let first = before
                    .iter()
                    .map(|&input| walk.graph.shape(input).len())
                    .sum();
                cpu::concat_backward(batch, first, gy, gx)
            }
        }
    }

    /// Moves the running statistics of every batch normalisation towards those of the batch that the
    /// last forward pass of training saw.
    pub fn update_statistics(
        &self,
        graph: &Graph,
        batch: usize,
        parameters: &mut [Vec<T>],
    ) -> Result<()> {
        for (node, Kept { mean, variance, .. }) in graph.nodes().iter().zip(&self.kept) {
            let (Op::BatchNorm(norm), Some(running)) = (&node.op, node.statistics()) else {
                continue;
            };
            let geometry = norm.geometry(batch, graph.shape(node.inputs[0]))?;
            let running = parameters.get_disjoint_mut(running.map(|id| id.0));
            let [running_mean, running_variance] =
                running.map_err(|_| Error::argument("graph", "shared statistics"))?;
            cpu::batch_norm_update_running(
                &geometry,
                norm.momentum,
                mean,
                variance,
                running_mean,
                running_variance,
            )?;
        }
        Ok(())
    }
}

/// Writes the gradients of a weight and, where there is one, of a bias.
type Write<'a, T> = &'a dyn Fn(&mut [T], Option<&mut [T]>) -> Result<()>;

/// Whether the gradient of each value is needed: by a parameter above it, or as the input's.
fn wanted_gradients(graph: &Graph, input_gradient: bool) -> Vec<bool> {
    let mut wanted = vec![input_gradient; graph.values().count()];
    for node in graph.nodes() {
        let passes_on = node.inputs.iter().any(|input| wanted[input.0]);
        wanted[node.output.0] = passes_on || !node.parameters.is_empty();
    }
    wanted
}

/// The same values under another shape.
fn copy<T: Real>(from: &[T], to: &mut [T]) -> Result<()> {
    to.copy_from_slice(from);
    Ok(())
}

pub(super) fn add<T: Real>(sum: &mut [T], term: &[T]) {
    sum.iter_mut()
        .zip(term)
        .for_each(|(sum, &term)| *sum += term);
}

/// The buffer as a slice of `len` elements, all of which are to be written.
pub(super) fn resized<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    buffer.resize(len, T::default());
    buffer
}
