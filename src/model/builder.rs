//! Writing a model down, layer after layer.

use std::sync::Arc;

use super::{Graph, Model, ValueId};
use crate::op::{
    Activation, Add, AvgPool1d, AvgPool2d, BatchNorm, Concat, Conv1d, Conv2d, ConvTranspose2d,
    Dropout, Flatten, GlobalPool, GroupNorm, InstanceNorm, LayerNorm, LayerNormChannels, Linear,
    LocalResponseNorm, MaxPool1d, MaxPool2d, Op, Reshape, Size2, Softmax,
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
}

/// A chain of layers from a given value on.
type Branch<'a> = Box<dyn FnOnce(ModelBuilder) -> ModelBuilder + 'a>;

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

    /// Makes all axes one, as a dense layer after an image wants it.
    pub fn flatten(self) -> Self {
        self.push(Flatten)
    }

    /// Gives each example another shape of as many elements.
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        self.push(Reshape::new(shape))
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
                ("body".to_string(), Box::new(body) as Branch),
                ("shortcut".into(), Box::new(shortcut)),
            ],
        )
    }

    /// Several chains from the same value, their outputs one after the other along the channels. The
    /// layers of the k-th are named `<i>.<k>.<j>`.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, Model};
    /// let model = Model::builder([4, 9, 9])
    ///     .concat([
    ///         |branch| branch.conv2d(8, 1).relu(),
    ///         |branch| branch.push(Conv2d::new(16, 3).padding(1)).relu(),
    ///     ])
    ///     .build()?;
    /// assert_eq!(model.output_shape().to_string(), "[24, 9, 9]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn concat<const N: usize>(mut self, branches: [fn(Self) -> Self; N]) -> Self {
        if N == 0 {
            self.error
                .get_or_insert(Error::argument("concat", "needs a branch"));
            return self;
        }
        let numbered = branches.into_iter().enumerate();
        self.branches(
            Concat.into(),
            numbered.map(|(k, branch)| (k.to_string(), Box::new(branch) as Branch)),
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
        for (branch, body) in branches {
            let (chain, error) = (Arc::new(()), self.error.clone());
            self = body(Self {
                prefix: format!("{name}.{branch}."),
                layers: 0,
                end: start,
                chain: chain.clone(),
                ..self
            });
            // What another builder holds was not made from this value, nor under these names. The graph
            // is lost with the builder that it went to, and so is the error that it had.
            if !Arc::ptr_eq(&self.chain, &chain) {
                let reason = "must return the builder that it was given";
                let foreign = || Error::argument(format!("layer {name} {branch}"), reason);
                self.error = Some(error.unwrap_or_else(foreign));
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

    /// The model, or the first error met, which names its layer.
    pub fn build(self) -> Result<Model> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Model { graph: self.graph }),
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
        let kept = start().concat([|_| Model::builder([4]), |branch| branch]);
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
            "layer 0 (add): expected two values of [3, 6, 6], got [3, 8, 8]"
        );
        for input in [vec![], vec![0, 8, 8], vec![8]] {
            assert!(Model::builder(input).conv2d(4, 3).build().is_err());
        }
    }
}
