//! Writing a model down, layer after layer.

mod branches;
#[cfg(test)]
mod tests;

pub use branches::Branch;

use std::ops::Range;
use std::sync::Arc;

use super::{Graph, GraphBuilder, Model, Value, ValueId};
use crate::op::{
    Activation, AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d, BatchNorm,
    ChannelPermute, ChannelShuffle, Conv1d, Conv2d, ConvTranspose2d, DropUnit, Dropout, Flatten,
    GlobalPool, GroupNorm, InstanceNorm, LayerNorm, LayerNormChannels, Linear, LocalResponseNorm,
    MaxPool1d, MaxPool2d, Op, Pad2d, Padding, PaddingMode, PixelShuffle, PixelUnshuffle,
    PointwiseLinear, Prelu, Reshape, Scale, Size2, Slice, Softmax, Upsample2d,
};
use crate::{Error, Result, Shape};

/// A model in the making. Each call adds a layer to the end of the chain; an error is kept and
/// returned by [`build`](Self::build), so that a chain reads as one.
#[derive(Debug, Clone)]
pub struct ModelBuilder {
    graph: Graph,
    /// The end of the chain so far.
    end: ValueId,
    /// What the names of this chain's layers begin with: empty, or `3.body.`.
    prefix: String,
    /// Layers of this chain so far.
    layers: usize,
    /// The chain that this is, which its clones are too and no other chain is.
    chain: Arc<()>,
    error: Option<Error>,
    /// Whether the graph went with a builder that has not come back, which the error tells.
    lost: bool,
}

impl ModelBuilder {
    pub(super) fn new(input: Shape) -> Self {
        let error = Graph::check_input(&input).err();
        let graph = Graph::new(input);
        let end = graph.input();
        Self {
            graph,
            end,
            prefix: String::new(),
            layers: 0,
            chain: Arc::new(()),
            error,
            lost: false,
        }
    }

    /// Adds any layer in its full form.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, MaxPool2d, Model, Padding};
    /// Model::builder([3, 32, 32])
    ///     .push(Conv2d::new(32, [3, 5]).stride([2, 1]).padding(Padding::Same).bias(false))
    ///     .push(MaxPool2d::new(3).stride(2).padding(1))
    ///     .build()?;
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn push(self, layer: impl Into<Op>) -> Self {
        let (name, inputs) = (self.next_name(), vec![self.end]);
        self.append(name, layer.into(), inputs)
    }

    /// Adds any layer under a name of its own, in the place of its number.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, Model};
    /// let model = Model::builder([3, 8, 8]).named("stem", Conv2d::new(4, 3)).relu().build()?;
    /// assert_eq!(model.parameters().next().unwrap().0, "stem.weight");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn named(self, name: &str, layer: impl Into<Op>) -> Self {
        let (name, inputs) = (format!("{}{name}", self.prefix), vec![self.end]);
        self.append(name, layer.into(), inputs)
    }

    /// A part that is no chain: `part` is given a graph and the value so far, and returns the value that
    /// the chain goes on from. Its layers are named `<i>.<name>`, where `i` is the part's place.
    ///
    /// ```
    /// use wgpu_cnn::{Activation, Concat, Conv2d, Model};
    /// let dense = |net: &mut wgpu_cnn::GraphBuilder, x| {
    ///     let a = net.add("a", Conv2d::new(4, 3).padding(1), [x])?;
    ///     let b = net.add("b", Conv2d::new(4, 3).padding(1), [a])?;
    ///     net.apply(Concat, [x, a, b])
    /// };
    /// let model = Model::builder([3, 8, 8]).graph(dense).relu().build()?;
    /// assert_eq!(model.output_shape().to_string(), "[11, 8, 8]");
    /// assert_eq!(model.parameters().next().unwrap().0, "0.a.weight");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn graph(mut self, part: impl FnOnce(&mut GraphBuilder, Value) -> Result<Value>) -> Self {
        let name = self.next_name();
        self.layers += 1;
        if self.error.is_some() {
            return self;
        }
        let graph = std::mem::take(&mut self.graph);
        let mut net = GraphBuilder::of(graph, format!("{name}."));
        let (id, start) = net.handle(self.end);
        let result = part(&mut net, start);
        match net.end(id, &name, result) {
            Ok((graph, end)) => {
                self.graph = graph;
                match end {
                    Ok(end) => self.end = end,
                    Err(error) => self.error = Some(error),
                }
            }
            Err(error) => (self.error, self.lost) = (Some(error), true),
        }
        self
    }

    /// A convolution with `out_channels` filters at stride 1 without padding: short for
    /// [`Conv2d::new`].
    pub fn conv2d(self, out_channels: usize, kernel: impl Into<Size2>) -> Self {
        self.push(Conv2d::new(out_channels, kernel))
    }

    /// Max-pooling over windows that touch without overlapping: short for [`MaxPool2d::new`].
    pub fn max_pool2d(self, kernel: impl Into<Size2>) -> Self {
        self.push(MaxPool2d::new(kernel))
    }

    /// A dense layer: short for [`Linear::new`].
    pub fn dense(self, out_features: usize) -> Self {
        self.push(Linear::new(out_features))
    }

    /// A dense layer over the channels of each pixel: short for [`PointwiseLinear::new`].
    pub fn pointwise_linear(self, out_features: usize) -> Self {
        self.push(PointwiseLinear::new(out_features))
    }

    /// A convolution over signals with `out_channels` filters of `kernel` taps: short for
    /// [`Conv1d::new`].
    pub fn conv1d(self, out_channels: usize, kernel: usize) -> Self {
        self.push(Conv1d::new(out_channels, kernel))
    }

    /// A transpose convolution at stride 1: short for [`ConvTranspose2d::new`].
    pub fn conv_transpose2d(self, out_channels: usize, kernel: impl Into<Size2>) -> Self {
        self.push(ConvTranspose2d::new(out_channels, kernel))
    }

    /// Max-pooling over signals: short for [`MaxPool1d::new`].
    pub fn max_pool1d(self, kernel: usize) -> Self {
        self.push(MaxPool1d::new(kernel))
    }

    /// Mean pooling over windows that touch without overlapping: short for [`AvgPool2d::new`].
    pub fn avg_pool2d(self, kernel: impl Into<Size2>) -> Self {
        self.push(AvgPool2d::new(kernel))
    }

    /// Mean pooling over signals: short for [`AvgPool1d::new`].
    pub fn avg_pool1d(self, kernel: usize) -> Self {
        self.push(AvgPool1d::new(kernel))
    }

    /// Values around each plane, `[top, bottom, left, right]` of them or as many on all sides: short for
    /// [`Pad2d::new`].
    pub fn pad2d(self, padding: impl Into<Padding>, mode: PaddingMode) -> Self {
        self.push(Pad2d::new(padding).mode(mode))
    }

    /// The maximum over all positions of each channel.
    pub fn global_max_pool(self) -> Self {
        self.push(GlobalPool::Max)
    }

    /// The mean over all positions of each channel.
    pub fn global_avg_pool(self) -> Self {
        self.push(GlobalPool::Average)
    }

    /// The mean over all positions of each channel, weighted with their softmax.
    pub fn global_softmax_pool(self) -> Self {
        self.push(GlobalPool::Softmax)
    }

    /// Mean pooling to planes of this size: short for [`AdaptiveAvgPool2d::new`].
    pub fn adaptive_avg_pool2d(self, size: impl Into<Size2>) -> Self {
        self.push(AdaptiveAvgPool2d::new(size))
    }

    /// Max-pooling to planes of this size: short for [`AdaptiveMaxPool2d::new`].
    pub fn adaptive_max_pool2d(self, size: impl Into<Size2>) -> Self {
        self.push(AdaptiveMaxPool2d::new(size))
    }

    /// Planes made larger or smaller by interpolation: a number for the nearest values, so many times as
    /// large, or an [`Upsample2d`].
    pub fn upsample2d(self, layer: impl Into<Upsample2d>) -> Self {
        self.push(layer.into())
    }

    /// Channels laid out as blocks of `factor` by `factor` pixels: see [`PixelShuffle`].
    pub fn pixel_shuffle(self, factor: usize) -> Self {
        self.push(PixelShuffle::new(factor))
    }

    /// Blocks of `factor` by `factor` pixels laid out as channels: see [`PixelUnshuffle`].
    pub fn pixel_unshuffle(self, factor: usize) -> Self {
        self.push(PixelUnshuffle::new(factor))
    }

    /// `max(x, 0)`.
    pub fn relu(self) -> Self {
        self.push(Activation::Relu)
    }

    /// The logistic function.
    pub fn sigmoid(self) -> Self {
        self.push(Activation::Sigmoid)
    }

    /// The hyperbolic tangent.
    pub fn tanh(self) -> Self {
        self.push(Activation::Tanh)
    }

    /// `x` where it is positive, else `slope * x`.
    pub fn leaky_relu(self, slope: f32) -> Self {
        self.push(Activation::LeakyRelu { slope })
    }

    /// GELU through the error function.
    pub fn gelu(self) -> Self {
        self.push(Activation::Gelu)
    }

    /// GELU's approximation through the hyperbolic tangent.
    pub fn gelu_tanh(self) -> Self {
        self.push(Activation::GeluTanh)
    }

    /// `x * sigmoid(x)`.
    pub fn silu(self) -> Self {
        self.push(Activation::Silu)
    }

    /// `log(1 + exp(x))`.
    pub fn softplus(self) -> Self {
        self.push(Activation::Softplus)
    }

    /// `x` where `x > 0`, else `alpha * (exp(x) - 1)`.
    pub fn elu(self, alpha: f32) -> Self {
        self.push(Activation::Elu { alpha })
    }

    /// `min(max(x, 0), 6)`.
    pub fn relu6(self) -> Self {
        self.push(Activation::Relu6)
    }

    /// `x` within two bounds, and the nearer one beyond them.
    pub fn hard_tanh(self, min: f32, max: f32) -> Self {
        self.push(Activation::HardTanh { min, max })
    }

    /// `min(max(x + 3, 0), 6) / 6`.
    pub fn hard_sigmoid(self) -> Self {
        self.push(Activation::HardSigmoid)
    }

    /// `x * min(max(x + 3, 0), 6) / 6`.
    pub fn hard_swish(self) -> Self {
        self.push(Activation::HardSwish)
    }

    /// ELU scaled so that a network normalises itself.
    pub fn selu(self) -> Self {
        self.push(Activation::Selu)
    }

    /// `x` where `x > 0`, else `alpha * (exp(x / alpha) - 1)`.
    pub fn celu(self, alpha: f32) -> Self {
        self.push(Activation::Celu { alpha })
    }

    /// `x * tanh(log(1 + exp(x)))`.
    pub fn mish(self) -> Self {
        self.push(Activation::Mish)
    }

    /// `x / (1 + |x|)`.
    pub fn softsign(self) -> Self {
        self.push(Activation::Softsign)
    }

    /// ReLU with one learned slope for negative values: short for [`Prelu::new`].
    pub fn prelu(self) -> Self {
        self.push(Prelu::new())
    }

    /// Softmax along the last axis: short for [`Softmax::new`].
    pub fn softmax(self) -> Self {
        self.push(Softmax::new())
    }

    /// The logarithm of softmax along the last axis.
    pub fn log_softmax(self) -> Self {
        self.push(Softmax::new().log(true))
    }

    /// Batch normalisation with PyTorch's defaults: short for [`BatchNorm::new`].
    pub fn batch_norm(self) -> Self {
        self.push(BatchNorm::new())
    }

    /// Layer normalisation with PyTorch's defaults: short for [`LayerNorm::new`].
    pub fn layer_norm(self) -> Self {
        self.push(LayerNorm::new())
    }

    /// A learned factor for each channel: short for [`Scale::new`].
    pub fn scale(self) -> Self {
        self.push(Scale::new())
    }

    /// Layer normalisation over the channels of each position with PyTorch's defaults: short for
    /// [`LayerNormChannels::new`].
    pub fn layer_norm_channels(self) -> Self {
        self.push(LayerNormChannels::new())
    }

    /// Normalisation of so many groups of channels with PyTorch's defaults: short for [`GroupNorm::new`].
    pub fn group_norm(self, groups: usize) -> Self {
        self.push(GroupNorm::new(groups))
    }

    /// Normalisation of each channel of each example with PyTorch's defaults: short for
    /// [`InstanceNorm::new`].
    pub fn instance_norm(self) -> Self {
        self.push(InstanceNorm::new())
    }

    /// Local response normalisation over windows of `size` channels with PyTorch's defaults: short for
    /// [`LocalResponseNorm::new`].
    pub fn local_response_norm(self, size: usize) -> Self {
        self.push(LocalResponseNorm::new(size))
    }

    /// In training, makes each value zero with this probability and scales the others up.
    pub fn dropout(self, probability: f64) -> Self {
        self.push(Dropout::new(probability))
    }

    /// In training, makes each channel zero with this probability and scales the others up.
    pub fn dropout2d(self, probability: f64) -> Self {
        self.push(Dropout::new(probability).unit(DropUnit::Channel))
    }

    /// In training, makes each example zero with this probability and scales the others up: stochastic
    /// depth, at the end of a residual's body.
    pub fn stochastic_depth(self, probability: f64) -> Self {
        self.push(Dropout::new(probability).unit(DropUnit::Example))
    }

    /// Makes all axes one, as a dense layer after an image wants it.
    pub fn flatten(self) -> Self {
        self.push(Flatten)
    }

    /// Gives each example another shape of as many elements.
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        self.push(Reshape::new(shape))
    }

    /// A range of each example along an axis, which is counted without the batch: short for
    /// [`Slice::new`].
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        self.push(Slice::new(axis, range))
    }

    /// The channels of so many groups, mixed: short for [`ChannelShuffle::new`].
    pub fn channel_shuffle(self, groups: usize) -> Self {
        self.push(ChannelShuffle::new(groups))
    }

    /// The channels with these numbers: short for [`ChannelPermute::new`].
    pub fn channel_permute(self, index: impl Into<Vec<usize>>) -> Self {
        self.push(ChannelPermute::new(index))
    }

    /// The model, or the first error met, which names its layer.
    pub fn build(self) -> Result<Model> {
        match self.error {
            Some(error) => Err(error),
            None => self.graph.finish(vec![self.end]),
        }
    }

    fn next_name(&self) -> String {
        format!("{}{}", self.prefix, self.layers)
    }

    fn append(mut self, name: String, op: Op, inputs: Vec<ValueId>) -> Self {
        if self.error.is_none() {
            match self.graph.push(name, op, inputs) {
                Ok(value) => self.end = value,
                Err(error) => self.error = Some(error),
            }
        }
        self.layers += 1;
        self
    }
}
