//! Models in which operators meet: fused, branched, used twice, at the ends of a model.

use super::cases;
use crate::op::{
    AvgPool1d, AvgPool2d, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, GroupNorm, InstanceNorm,
    LayerNorm, LayerNormChannels, Linear, LocalResponseNorm, MaxPool1d, MaxPool2d, Padding,
    Softmax,
};
use crate::{Branch, Loss, Model, ModelBuilder, Result};

/// A model that tests train.
#[derive(Debug, Clone)]
pub struct ModelCase {
    /// What it has.
    pub name: &'static str,
    /// The network.
    pub model: Model,
    /// Examples.
    pub batch: usize,
    /// A loss that its output fits.
    pub loss: Loss,
}

/// A model by name, with its batch, and how it is built.
type Network = (&'static str, usize, fn() -> Result<Model>);

const NETWORKS: &[Network] = &[
    ("lenet", 4, lenet),
    ("convolutions", 3, convolutions),
    ("fused products", 3, fused_products),
    ("strides, groups and dilation", 3, strided),
    ("pools and joins", 3, pools_and_joins),
    ("normalisations", 4, normalisations),
    ("normalised activations", 3, normalised_activations),
    ("arguments that are kept", 3, kept_arguments),
    ("sums of normalised values", 3, normalised_sums),
    ("signals", 2, signals),
    ("dense layers", 5, dense_layers),
    ("many classes", 2, many_classes),
    ("every operator", 8, every_operator),
    ("dropout at the end", 3, ends_in_dropout),
];

/// Every model: networks, and of each operator that none of them has, its first case.
///
/// # Errors
///
/// None, unless a model here has a wrong shape.
pub fn models() -> Result<Vec<ModelCase>> {
    let networks = NETWORKS.iter();
    let networks = networks.map(|&(name, batch, build)| Ok(ModelCase::new(name, batch, build()?)));
    let mut models = networks.collect::<Result<Vec<_>>>()?;
    for case in cases() {
        let name = case.op.name();
        let nodes = models.iter().flat_map(|case| case.model.graph.nodes());
        if nodes.map(|node| node.op.name()).all(|known| known != name) {
            models.push(ModelCase::new(name, case.batch, case.model()?));
        }
    }
    Ok(models)
}

impl ModelCase {
    fn new(name: &'static str, batch: usize, model: Model) -> Self {
        let loss = match model.output_shape().rank() {
            1 => Loss::default(),
            _ => Loss::mean_squared_error(),
        };
        Self {
            name,
            model,
            batch,
            loss,
        }
    }
}

fn same(channels: usize, kernel: usize) -> Conv2d {
    Conv2d::new(channels, kernel).padding(Padding::Same)
}

fn lenet() -> Result<Model> {
    Model::builder([1, 28, 28])
        .conv2d(32, 5)
        .relu()
        .max_pool2d(2)
        .conv2d(64, 5)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(128)
        .relu()
        .residual(|body| body.dense(128))
        .dense(10)
        .build()
}

fn convolutions() -> Result<Model> {
    Model::builder([4, 12, 12])
        .push(same(8, 3))
        .push(Conv2d::new(8, 3).stride(2).padding(1))
        .push(same(8, 3).dilation(2))
        .gate(|g| {
            g.global_avg_pool()
                .conv2d(2, 1)
                .relu()
                .conv2d(8, 1)
                .sigmoid()
        })
        .push(same(8, 3).groups(2))
        .push(same(8, 3).groups(8))
        .push(ConvTranspose2d::new(4, 3).stride(2).output_padding(1))
        .flatten()
        .dense(3)
        .build()
}

fn fused_products() -> Result<Model> {
    Model::builder([3, 7, 7])
        .push(same(8, 3))
        .relu()
        .residual(|body| body.push(same(8, 3)).tanh().push(same(8, 4).bias(false)))
        .sigmoid()
        .residual(|body| body.push(MaxPool2d::new(3).stride(1).padding(1)))
        .residual(|body| body.push(same(8, 7)).sigmoid())
        .push(Conv2d::new(4, [1, 11]).padding([0, 9]))
        .flatten()
        .dense(3)
        .tanh()
        .build()
}

fn strided() -> Result<Model> {
    Model::builder([4, 32, 32])
        .push(Conv2d::new(8, 3).stride(2).padding(1).groups(2))
        .relu()
        .residual(|body| {
            body.push(same(8, 3).groups(8))
                .sigmoid()
                .push(same(8, 1).groups(4))
        })
        .push(Conv2d::new(8, [3, 2]).dilation([2, 3]).stride([1, 2]))
        .flatten()
        .build()
}

fn pools_and_joins() -> Result<Model> {
    Model::builder([4, 13, 13])
        .residual(|body| body.push(MaxPool2d::new(3).stride(1).padding(1)))
        .concat([
            Branch::new(|branch| branch.push(AvgPool2d::new(3).stride(1).padding(1))),
            Branch::new(|branch| branch.dropout(0.5)),
        ])
        .max_pool2d(2)
        .avg_pool2d(2)
        .conv2d(4, 1)
        .concat([0..3, 1..4, 1..2].map(|range| Branch::new(|branch| branch.slice(0, range))))
        .concat([
            Branch::new(|branch| branch.global_max_pool()),
            Branch::new(|branch| branch.global_avg_pool()),
            Branch::new(|branch| branch.global_softmax_pool()),
        ])
        .build()
}

fn normalisations() -> Result<Model> {
    Model::builder([4, 8, 8])
        .conv2d(6, 3)
        .batch_norm()
        .tanh()
        .layer_norm()
        .push(Softmax::new().axis(0))
        .log_softmax()
        .dense(3)
        .build()
}

/// Gradients that go through an activation on their way, and are added to.
fn normalised_activations() -> Result<Model> {
    Model::builder([4, 8, 8])
        .conv2d(6, 3)
        .sigmoid()
        .residual(|b| b.push(GroupNorm::new(3)).relu())
        .conv2d(6, 1)
        .tanh()
        .residual(|b| b.push(LayerNormChannels::new()).sigmoid())
        .conv2d(6, 1)
        .leaky_relu(0.2)
        .push(LocalResponseNorm::new(5).alpha(0.5))
        .conv2d(6, 1)
        .tanh()
        .push(InstanceNorm::new())
        .conv2d(6, 1)
        .sigmoid()
        .push(BatchNorm::new().frozen(true))
        .tanh()
        .dense(3)
        .build()
}

/// Activations whose gradient needs their argument, after layers that pass it on their way back, and after others.
fn kept_arguments() -> Result<Model> {
    Model::builder([4, 6, 6])
        .conv2d(4, 3)
        .batch_norm()
        .silu()
        .conv2d(4, 1)
        .push(GroupNorm::new(2))
        .gelu()
        .conv2d(4, 1)
        .push(InstanceNorm::new())
        .mish()
        .residual(|b| b.conv2d(4, 1).push(BatchNorm::new().frozen(true)))
        .hard_swish()
        .residual(|b| {
            b.push(BatchNorm::new().affine(false).frozen(true))
                .gelu_tanh()
        })
        .push(LayerNormChannels::new())
        .softplus()
        .gate(|b| b.global_avg_pool().conv2d(4, 1).sigmoid())
        .silu()
        .dense(3)
        .build()
}

/// Residual sums that are part of a normalisation, before an activation or none, of a value that is read by
/// others, of two that are normalised, and of what is itself normalised. No bias before a batch norm, which takes it
/// away again: its gradient would be rounding alone.
fn normalised_sums() -> Result<Model> {
    Model::builder([3, 6, 6])
        .push(Conv2d::new(4, 3).bias(false))
        .batch_norm()
        .relu()
        .residual(|b| {
            b.push(same(4, 3).bias(false))
                .batch_norm()
                .relu()
                .push(same(4, 3).bias(false))
                .batch_norm()
        })
        .relu()
        .residual_with(
            |b| b.push(same(5, 3).bias(false)).batch_norm(),
            |s| s.push(Conv2d::new(5, 1).bias(false)).batch_norm(),
        )
        .leaky_relu(0.1)
        .residual(|b| b.push(InstanceNorm::new().affine(true)))
        .residual(|b| b.conv2d(5, 1).push(BatchNorm::new().frozen(true)))
        .silu()
        .residual(|b| b.push(GroupNorm::new(5)))
        .relu6()
        .residual(|b| b.push(LayerNormChannels::new()))
        .flatten()
        .residual(|b| b.push(Linear::new(80).bias(false)).batch_norm())
        .dense(3)
        .build()
}

/// One-dimensional layers, groups, and values that are read more than once.
fn signals() -> Result<Model> {
    let block = |b: ModelBuilder| {
        b.push(Conv1d::new(6, 3).padding(1).groups(3))
            .batch_norm()
            .relu()
    };
    Model::builder([3, 41])
        .push(Conv1d::new(6, 5).dilation(2).padding_same())
        .relu()
        .residual(block)
        .push(MaxPool1d::new(3).stride(2))
        .residual(|b| b.push(LayerNorm::new()).push(Softmax::new().axis(0)))
        .push(AvgPool1d::new(2).count_include_pad(false).padding(1))
        .push(Conv1d::new(9, 1).bias(false))
        .sigmoid()
        .concat([
            Branch::new(|b| b.global_avg_pool()),
            Branch::new(|b| b.global_max_pool()),
        ])
        .flatten()
        .build()
}

/// A value added to itself and multiplied with itself among them, and every activation.
fn dense_layers() -> Result<Model> {
    let model = Model::builder([20])
        .dense(33)
        .residual(|body| body)
        .gate(|body| body);
    let activations = crate::Activation::ALL.into_iter();
    let model = activations.fold(model, |model, f| model.dense(9).push(f));
    model.dense(4).build()
}

fn many_classes() -> Result<Model> {
    Model::builder([3]).dense(4100).build()
}

fn every_operator() -> Result<Model> {
    Model::builder([2, 12, 12])
        .push(Conv2d::new(8, 3).padding(1))
        .batch_norm()
        .leaky_relu(0.1)
        .push(Conv2d::new(8, 3).padding(1).groups(8))
        .silu()
        .concat([
            Branch::new(|b| b.conv2d(4, 3).gelu()),
            Branch::new(|b| b.conv2d(6, 3).gelu_tanh()),
        ])
        .residual_with(
            |b| b.conv2d(4, 1).softplus(),
            |s| s.conv2d(4, 1).leaky_relu(0.2),
        )
        .push(
            ConvTranspose2d::new(6, 3)
                .stride(2)
                .padding(1)
                .output_padding(1),
        )
        .tanh()
        .push(AvgPool2d::new(3).stride(2).padding(1))
        .dropout(0.3)
        .layer_norm()
        .push(MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true))
        .concat([
            Branch::new(|b| b.global_max_pool()),
            Branch::new(|b| b.global_avg_pool()),
            Branch::new(|b| b.global_softmax_pool()),
        ])
        .reshape([18, 1])
        .flatten()
        .dense(5)
        .softmax()
        .dense(4)
        .log_softmax()
        .build()
}

/// The output of evaluation is then a copy, and it is no row of logits.
fn ends_in_dropout() -> Result<Model> {
    Model::builder([2, 6, 7])
        .push(ConvTranspose2d::new(4, 2).stride(3).groups(2).bias(false))
        .gelu()
        .dropout(0.5)
        .build()
}
