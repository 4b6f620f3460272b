//! `Gpu::verify` on this machine's adapter, for small models that hold every operator between them:
//! with the cores for subgroups and without them, and with NaN around every buffer.

use wgpu_cnn::{
    AvgPool1d, AvgPool2d, Conv1d, Conv2d, ConvTranspose2d, Error, Gpu, GpuBuilder, LayerNorm,
    MaxPool1d, MaxPool2d, Model, Result, Softmax, VerifyReport,
};

use crate::common::plain_gpu;
use crate::device::device;

/// The models with a batch for each. Odd sizes, so that every tile has an edge.
fn models() -> Vec<(usize, Model)> {
    let models: [(usize, Result<Model>); 4] = [
        (3, plain()),
        (4, every_operator()),
        (2, signal()),
        (3, ends_in_dropout()),
    ];
    models
        .into_iter()
        .map(|(batch, model)| (batch, model.unwrap()))
        .collect()
}

/// Products with the activations that become part of them.
fn plain() -> Result<Model> {
    Model::builder([1, 20, 18])
        .conv2d(6, 5)
        .relu()
        .max_pool2d(2)
        .push(
            Conv2d::new(10, [3, 4])
                .stride([1, 2])
                .padding([1, 0, 2, 1])
                .dilation([2, 1]),
        )
        .tanh()
        .push(MaxPool2d::new([2, 3]).stride([1, 2]))
        .flatten()
        .dense(33)
        .sigmoid()
        .dense(7)
        .build()
}

fn every_operator() -> Result<Model> {
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

/// One-dimensional layers, groups, and values that are read more than once.
fn signal() -> Result<Model> {
    Model::builder([3, 41])
        .push(Conv1d::new(6, 5).dilation(2).padding_same())
        .relu()
        .residual(|b| {
            b.push(Conv1d::new(6, 3).padding(1).groups(3))
                .batch_norm()
                .relu()
        })
        .push(MaxPool1d::new(3).stride(2))
        .residual(|b| b.push(LayerNorm::new()).push(Softmax::new().axis(0)))
        .push(AvgPool1d::new(2).count_include_pad(false).padding(1))
        .push(Conv1d::new(9, 1).bias(false))
        .sigmoid()
        .concat([|b| b.global_avg_pool(), |b| b.global_max_pool()])
        .flatten()
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

fn clean(builder: GpuBuilder) {
    let Some(gpu) = device(builder) else { return };
    for (batch, model) in models() {
        let report = gpu.verify(&model, batch).unwrap();
        assert!(report.passed(), "{report}");
        complete(&model, &report);
    }
}

/// Whether a report speaks of every layer and is not empty talk.
fn complete(model: &Model, report: &VerifyReport) {
    for (name, _) in model
        .parameters()
        .filter(|(name, _)| name.ends_with("weight"))
    {
        let layer = format!("layer {} ", name.trim_end_matches(".weight"));
        let mut checks = report
            .checks
            .iter()
            .filter(|check| check.layer.starts_with(&layer));
        assert!(
            checks.any(|check| check.result == "weight gradient"),
            "{layer}: {report}"
        );
    }
    assert!(
        report
            .checks
            .iter()
            .any(|check| check.exact && check.worst == 0.0)
    );
    assert!(report.checks.iter().any(|check| check.worst > 0.0));
    assert_eq!(report.failed_kernels(), 0);
    assert!(report.kernels() > 30);
}

#[test]
fn every_operator_is_clean() {
    clean(Gpu::builder());
}

#[test]
fn every_operator_is_clean_without_subgroups() {
    clean(Gpu::builder().allow_subgroups(false));
}

#[test]
fn every_operator_is_clean_among_nan() {
    clean(Gpu::builder().poison(true));
}

#[test]
fn equal_layers_are_checked_once() {
    let Some(gpu) = plain_gpu() else { return };
    let block = |b: wgpu_cnn::ModelBuilder| b.push(Conv2d::new(4, 3).padding(1)).relu();
    let model = block(block(block(Model::builder([4, 6, 6]))))
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let report = gpu.verify(&model, 2).unwrap();
    let of = |layer: &str| {
        report
            .checks
            .iter()
            .filter(|c| c.layer.starts_with(layer))
            .count()
    };
    // The first computes no input gradient, and the second stands for the third.
    assert_eq!([of("layer 0"), of("layer 2"), of("layer 4")], [3, 4, 0]);
    assert_eq!(report.checks[3].repeats, 1);
    assert!(
        report
            .to_string()
            .contains("layer 2 (conv2d) + relu and 1 more")
    );
}

#[test]
fn what_cannot_be_verified_is_an_error() {
    let Some(gpu) = plain_gpu() else { return };
    let model = plain().unwrap();
    assert!(matches!(gpu.verify(&model, 0), Err(Error::Argument { .. })));
    assert!(matches!(
        gpu.verify(&model, 1 << 40),
        Err(Error::Argument { .. })
    ));
    let nothing = Model::builder([4]).relu().build().unwrap();
    assert!(matches!(
        gpu.verify(&nothing, 2),
        Err(Error::Argument { .. })
    ));
    let single = Model::builder([4]).dense(3).batch_norm().build().unwrap();
    assert!(matches!(gpu.verify(&single, 1), Err(Error::Shape { .. })));
}
