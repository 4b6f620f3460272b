//! The models whose kernels the tests of shaders translate.

use std::collections::BTreeMap;

use super::peak;
use crate::gpu::record::{Dispatch, Recording};
use crate::gpu::strategy::{Core, Traits};
use crate::{AvgPool2d, Conv2d, ConvTranspose2d, Loss, MaxPool2d, Model, Optimizer, Padding};

/// The adapters that the strategy table tells apart, with every core that can be preferred there.
pub(crate) fn adapters() -> Vec<Traits> {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let preferring = Core::ALL.map(|core| Traits {
        preferred: Some(core),
        ..software
    });
    [&[Traits::DEFAULT, software][..], &preferring].concat()
}

/// Models with every operator, in every fused form that the models of tests/gpu use.
pub(crate) fn models() -> Vec<Model> {
    let same = |channels, kernel: usize| Conv2d::new(channels, kernel).padding(Padding::Same);
    let models = [
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
            .build(),
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
            .build(),
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
            .build(),
        every_operator(),
    ];
    models.into_iter().map(Result::unwrap).collect()
}

/// Training steps that use every kernel.
pub(crate) fn recordings(traits: Traits) -> Vec<Recording> {
    let losses: [Loss; 4] = [
        Loss::cross_entropy().into(),
        Loss::mean_squared_error(),
        Loss::binary_cross_entropy(),
        Loss::cross_entropy().class_weights([1.0; 4]).into(),
    ];
    let optimizers: [Optimizer; 6] = [
        Optimizer::sgd(0.1).into(),
        Optimizer::sgd(0.1).momentum(0.9).into(),
        Optimizer::sgd(0.1).momentum(0.9).nesterov(true).into(),
        Optimizer::adam(0.1).into(),
        Optimizer::adamw(0.1).amsgrad(true).into(),
        Optimizer::rmsprop(0.1).centered(true).momentum(0.9).into(),
    ];
    let mut recordings = Vec::new();
    for model in models() {
        for (loss, optimizer) in losses.iter().cycle().zip(&optimizers) {
            if loss.geometry(16, model.output_shape()).is_ok() {
                for half in [false, true] {
                    let recording =
                        crate::engine::record(&model, loss, optimizer, 16, half, traits);
                    recordings.push(recording.unwrap());
                }
            }
        }
    }
    recordings
}

/// A dispatch for each pipeline that the models and the measurements need on any adapter.
pub(super) fn pipelines() -> Vec<Dispatch> {
    let recordings = adapters().into_iter().flat_map(recordings);
    let measurements = adapters().into_iter().map(measurements);
    let mut pipelines = BTreeMap::new();
    for dispatch in recordings.chain(measurements).flat_map(|r| r.dispatches) {
        let (constants, formats) = (&dispatch.constants, &dispatch.formats);
        let key = (dispatch.kernel.name, format!("{constants:?} {formats:?}"));
        pipelines.entry(key).or_insert(dispatch);
    }
    let pipelines: Vec<_> = pipelines.into_values().collect();
    let kept = pipelines.iter().filter_map(keeping_arguments);
    [kept.collect(), pipelines].concat()
}

/// The pipeline with the arguments of its function as a second output, where it applies one. No plan has
/// that yet.
fn keeping_arguments(dispatch: &Dispatch) -> Option<Dispatch> {
    let applies = |&(name, code): &(&str, f64)| name == "ACTIVATION" && code != 0.0;
    let applies = dispatch.constants.iter().any(applies);
    let last = dispatch.bindings.iter().flatten().last().copied();
    let argument = last.filter(|_| applies && dispatch.kernel.keeps_arguments())?;
    Some(Dispatch {
        argument: Some(argument),
        ..dispatch.clone()
    })
}

/// The kernels that no model uses: those that measure an adapter.
fn measurements(traits: Traits) -> Recording {
    let mut recording = Recording::new(traits);
    let buffers = [0; 2].map(|_| recording.transient("", 64));
    peak::arithmetic(&mut recording, 1, buffers[0]);
    peak::bandwidth(&mut recording, 64, buffers);
    recording.finish().unwrap()
}

/// A model of four outputs with the operators that the others lack.
fn every_operator() -> crate::Result<Model> {
    Model::builder([2, 12, 12])
        .push(Conv2d::new(8, 3).padding(1))
        .batch_norm()
        .leaky_relu(0.1)
        .push(Conv2d::new(8, 3).padding(1).groups(8))
        .silu()
        .concat([|b| b.conv2d(4, 3).gelu(), |b| b.conv2d(6, 3).gelu_tanh()])
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
            |b| b.global_max_pool(),
            |b| b.global_avg_pool(),
            |b| b.global_softmax_pool(),
        ])
        .flatten()
        .dense(5)
        .softmax()
        .dense(4)
        .log_softmax()
        .build()
}
