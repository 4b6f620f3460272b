//! Writing a model down, layer after layer.

use std::ops::Range;
use std::sync::Arc;

use super::{Graph, GraphBuilder, Model, Value, ValueId};
use crate::op::{
    Activation, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Add, AvgPool1d, AvgPool2d, BatchNorm,
    ChannelPermute, ChannelShuffle, Concat, Conv1d, Conv2d, ConvTranspose2d, DropUnit, Dropout,
    Flatten, GlobalPool, LayerNorm, Linear, MaxPool1d, MaxPool2d, Mul, Op, Pad2d, Padding,
    PaddingMode, PixelShuffle, PixelUnshuffle, PointwiseLinear, Prelu, Reshape, Scale, Size2,
    Slice, Softmax, Upsample2d,
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

/// A chain of layers from a given value on: one of several of [`ModelBuilder::concat`] and
/// [`ModelBuilder::join`].
pub struct Branch<'a>(Box<dyn FnOnce(ModelBuilder) -> ModelBuilder + 'a>);

impl<'a> Branch<'a> {
    /// The layers that a closure adds to the builder that it is given. One that adds nothing hands the
    /// value on.
    pub fn new(layers: impl FnOnce(ModelBuilder) -> ModelBuilder + 'a) -> Self {
        Self(Box::new(layers))
    }
}

impl<'a, F: FnOnce(ModelBuilder) -> ModelBuilder + 'a> From<F> for Branch<'a> {
    fn from(layers: F) -> Self {
        Self::new(layers)
    }
}

impl std::fmt::Debug for Branch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branch").finish_non_exhaustive()
    }
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

    /// `body(x) + x`, the residual connection of He et al. 2016. The body's layers are named
    /// `<i>.body.<j>`, where `i` is the block's own place in the chain.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, Model};
    /// let model = Model::builder([8, 16, 16])
    ///     .residual(|body| body.push(Conv2d::new(8, 3).padding(1)).relu())
    ///     .relu()
    ///     .build()?;
    /// assert_eq!(model.parameters().next().unwrap().0, "0.body.0.weight");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn residual(self, body: impl FnOnce(Self) -> Self) -> Self {
        self.residual_with(body, |shortcut| shortcut)
    }

    /// `body(x) + shortcut(x)`, for a body that changes the shape. The shortcut's layers are named
    /// `<i>.shortcut.<j>`.
    pub fn residual_with(
        self,
        body: impl FnOnce(Self) -> Self,
        shortcut: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.branches(
            Add.into(),
            [
                ("body".into(), Branch::new(body)),
                ("shortcut".into(), Branch::new(shortcut)),
            ],
        )
    }

    /// `x * gate(x)`, element by element, where the gate may have one position, as that of squeeze and
    /// excitation (Hu et al. 2018) does, or one channel. Its layers are named `<i>.gate.<j>`.
    ///
    /// ```
    /// use wgpu_cnn::Model;
    /// let model = Model::builder([16, 8, 8])
    ///     .gate(|gate| gate.global_avg_pool().conv2d(4, 1).relu().conv2d(16, 1).sigmoid())
    ///     .build()?;
    /// assert_eq!(model.output_shape().to_string(), "[16, 8, 8]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn gate(self, gate: impl FnOnce(Self) -> Self) -> Self {
        self.branches(
            Mul.into(),
            [
                ("value".into(), Branch::new(|value| value)),
                ("gate".into(), Branch::new(gate)),
            ],
        )
    }

    /// Several chains from the same value, their outputs one after the other along the channels. The
    /// layers of the k-th are named `<i>.<k>.<j>`.
    ///
    /// ```
    /// use wgpu_cnn::{Branch, Conv2d, Model};
    /// let widths = [8, 16];
    /// let model = Model::builder([4, 9, 9])
    ///     .concat([
    ///         Branch::new(|branch| branch.conv2d(widths[0], 1).relu()),
    ///         Branch::new(|branch| branch.push(Conv2d::new(widths[1], 3).padding(1)).relu()),
    ///     ])
    ///     .concat(widths.map(|width| Branch::new(move |branch| branch.conv2d(width, 1))))
    ///     .build()?;
    /// assert_eq!(model.output_shape().to_string(), "[24, 9, 9]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn concat<'a, B: Into<Branch<'a>>>(self, branches: impl IntoIterator<Item = B>) -> Self {
        self.join(Concat, branches)
    }

    /// Several chains from the same value, joined by an operator that takes as many. The layers of the
    /// k-th are named `<i>.<k>.<j>`.
    pub fn join<'a, B: Into<Branch<'a>>>(
        self,
        join: impl Into<Op>,
        branches: impl IntoIterator<Item = B>,
    ) -> Self {
        let numbered = branches.into_iter().enumerate();
        self.branches(
            join.into(),
            numbered.map(|(k, branch)| (k.to_string(), branch.into())),
        )
    }

    /// Named chains from the same value, joined by an operator.
    fn branches<'a>(
        mut self,
        join: Op,
        branches: impl IntoIterator<Item = (String, Branch<'a>)>,
    ) -> Self {
        let (name, start, layers) = (self.next_name(), self.end, self.layers);
        let (outer, whole, mut ends) = (self.prefix.clone(), self.chain.clone(), Vec::new());
        for (branch, Branch(body)) in branches {
            let error = self.error.clone();
            let (prefix, label) = (format!("{name}.{branch}."), format!("{name} {branch}"));
            let (inner, kept) = Self { end: start, ..self }.inside(prefix, body);
            self = inner;
            if !kept {
                let foreign = || foreign(&label);
                (self.error, self.lost) = (Some(error.unwrap_or_else(foreign)), true);
            }
            ends.push(self.end);
        }
        Self {
            prefix: outer,
            layers,
            chain: whole,
            ..self
        }
        .append(name, join, ends)
    }

    /// What layers make of this builder's end under other names, and whether it is still this builder:
    /// what another one holds was not made from this value, nor under these names. The graph is lost
    /// with the builder that it went to, and so is the error that it had.
    fn inside(self, prefix: String, layers: impl FnOnce(Self) -> Self) -> (Self, bool) {
        let chain = Arc::new(());
        let inner = layers(Self {
            prefix,
            layers: 0,
            chain: chain.clone(),
            ..self
        });
        let kept = Arc::ptr_eq(&inner.chain, &chain);
        (inner, kept)
    }

    /// A chain in a graph, from a value on: the graph and the chain's end, or an error and the graph, if
    /// it is still there.
    #[allow(clippy::result_large_err)] // the graph is handed back
    pub(super) fn within(
        graph: Graph,
        end: ValueId,
        prefix: String,
        layers: impl FnOnce(Self) -> Self,
    ) -> std::result::Result<(Graph, ValueId), (Option<Graph>, Error)> {
        let label = prefix.trim_end_matches('.').to_string();
        let start = Self {
            graph,
            end,
            prefix: String::new(),
            layers: 0,
            chain: Arc::new(()),
            error: None,
            lost: false,
        };
        match start.inside(prefix, layers) {
            (_, false) => Err((None, foreign(&label))),
            (inner, true) => match inner.error {
                Some(error) => Err(((!inner.lost).then_some(inner.graph), error)),
                None => Ok((inner.graph, inner.end)),
            },
        }
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

/// A branch has returned another builder than its own.
fn foreign(label: &str) -> Error {
    let reason = "must return the builder that it was given";
    Error::argument(format!("layer {label}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_sequential_container() {
        let model = Model::builder([1, 8, 8])
            .conv2d(4, 3)
            .relu()
            .residual(|body| body.push(Conv2d::new(4, 3).padding(1)).relu())
            .flatten()
            .dense(3)
            .build()
            .unwrap();
        let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
        let expected = [
            "0.weight",
            "0.bias",
            "2.body.0.weight",
            "2.body.0.bias",
            "4.weight",
            "4.bias",
        ];
        assert_eq!(names, expected);
    }

    /// The message of a model that cannot be.
    fn refused(builder: ModelBuilder) -> String {
        builder.build().unwrap_err().to_string()
    }

    #[test]
    fn a_branch_that_returns_another_builder_is_refused_by_name() {
        let start = || Model::builder([4]).dense(4);
        let said = "layer 1 body: must return the builder that it was given";
        // Another model's, one of the same layers, and an older clone of the very builder.
        assert_eq!(refused(start().residual(|_| Model::builder([9]))), said);
        assert_eq!(refused(start().residual(|_| start().dense(4))), said);
        let older = start();
        let current = older.clone().dense(4);
        let said = "layer 2 body: must return the builder that it was given";
        assert_eq!(refused(current.residual(|_| older.dense(4))), said);
        // The chain around the branch, under whose names two parameters would be called the same.
        let builder = start().dense(4);
        let around = builder.clone();
        assert_eq!(refused(builder.residual(|_| around.dense(4))), said);
        // The other branch's, and that of the block around.
        let mut other = None;
        let body = |body: ModelBuilder| {
            other = Some(body.clone());
            body.dense(4)
        };
        let (body, shortcut) = (body, |_| Model::builder([4]));
        let both = start().residual_with(body, shortcut);
        assert!(refused(both).starts_with("layer 1 shortcut: must return"));
        let other = other.unwrap();
        let said = "layer 1.body.1 body: must return the builder that it was given";
        let nested = |body: ModelBuilder| {
            let outer = body.clone().dense(4);
            body.dense(4).residual(|_| outer)
        };
        assert_eq!(refused(start().residual(nested)), said);
        assert!(refused(start().residual(|_| other)).contains("must return"));
        let kept = start().concat([
            Branch::new(|_| Model::builder([4])),
            Branch::new(|branch| branch),
        ]);
        assert!(refused(kept).starts_with("layer 1 0: must return"));
    }

    #[test]
    fn a_branch_may_go_on_from_a_clone_of_its_builder() {
        let twice = |body: ModelBuilder| {
            let kept = body.dense(4).clone();
            let _ = kept.clone().dense(3);
            kept.relu()
        };
        let model = Model::builder([4]).residual(twice).dense(2).build();
        let model = model.unwrap();
        let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            ["0.body.0.weight", "0.body.0.bias", "1.weight", "1.bias"]
        );
    }

    #[test]
    fn the_first_error_is_the_one_returned() {
        let first = Model::builder([4]).dense(0);
        let said = refused(first.clone());
        assert!(said.starts_with("layer 0 (linear): linear: "), "{said}");
        let foreign = first.clone().residual(|_| Model::builder([4]));
        assert_eq!(refused(foreign), said);
        assert_eq!(refused(first.residual(|body| body.dense(3))), said);
        let within = Model::builder([4]).residual(|body| body.dense(0).conv2d(1, 9));
        assert!(refused(within).starts_with("layer 0.body.0 (linear)"));
    }

    #[test]
    fn operators_that_join_are_refused_in_a_chain() {
        let said = "layer 0 (add): expected two values, got 1";
        assert_eq!(refused(Model::builder([4]).push(Add)), said);
        assert_eq!(refused(Model::builder([4]).push(Op::Add(Add))), said);
        let one = Model::builder([4, 2]).push(Concat).build().unwrap();
        assert_eq!(one.output_shape().to_string(), "[4, 2]");
    }

    /// A chain that copies itself in every block makes 2,000^2 / 2 nodes anew, which shows in seconds; here
    /// it is the number of blocks that is tried, not the time.
    #[test]
    fn thousands_of_residual_blocks_are_one_chain() {
        let mut builder = Model::builder([4]);
        for _ in 0..2_000 {
            builder = builder.residual(|body| body.dense(4).relu());
        }
        let model = builder.build().unwrap();
        assert_eq!(model.graph.nodes().len(), 6_000);
        assert_eq!(model.parameters().last().unwrap().0, "1999.body.0.bias");
    }

    #[test]
    fn shape_errors_name_the_layer() {
        let error = Model::builder([1, 8, 8])
            .conv2d(4, 3)
            .relu()
            .conv2d(4, 9)
            .dense(3)
            .build();
        let error = error.unwrap_err();
        assert!(matches!(&error, Error::Shape { layer, .. } if layer == "layer 2 (conv2d)"));
        assert!(error.to_string().contains("at least 9x9"), "{error}");
        let error = Model::builder([3, 8, 8])
            .residual(|body| body.conv2d(3, 3))
            .build();
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "layer 0 (add): expected two values of [3, 6, 6], or one with a number for each channel or \
             for each position, got [3, 8, 8]"
        );
        for input in [vec![], vec![0, 8, 8], vec![8]] {
            assert!(Model::builder(input).conv2d(4, 3).build().is_err());
        }
    }
}
