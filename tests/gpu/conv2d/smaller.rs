//! Of a smaller batch than was planned for, the last blocks, tiles and parts are empty, and hold those of the batch before.

use wgpu_cnn::{Conv1d, Conv2d, Gpu, Loss, Model, Optimizer, Target, Trainer};

use crate::common::{random, uniform};
use crate::device::device;

/// Steps of a batch and of parts of it on one core, beside the CPU path.
fn equal_the_reference(model: &Model, core: &str) {
    let Some(gpu) = device(
        Gpu::builder()
            .poison(true)
            .prefer_core(core)
            .compute_units(256),
    ) else {
        return;
    };
    const BATCH: usize = 20;
    let builder = || {
        let builder = Trainer::builder(model.clone()).batch(BATCH).seed(3);
        let builder = builder.loss(Loss::mean_squared_error());
        builder.optimizer(Optimizer::sgd(0.0))
    };
    let trainers = [builder().on(&gpu), builder().on_cpu()];
    let mut trainers = trainers.map(Result::unwrap);
    let [inputs, outputs] = [model.input_shape(), model.output_shape()].map(|shape| shape.len());
    let mut rng = random(1);
    for examples in [BATCH, 3, 9, BATCH] {
        let x = uniform(&mut rng, examples * inputs);
        let y = uniform(&mut rng, examples * outputs);
        let results = trainers.each_mut().map(|trainer| {
            trainer.step(&x, Target::Values(y.clone())).unwrap();
            let gradients = model
                .parameters()
                .map(|(name, _)| trainer.gradient(name).unwrap());
            let mut results: Vec<Vec<f32>> = gradients.collect();
            results.push(trainer.predict(&x).unwrap());
            results
        });
        let [on_gpu, on_cpu] = results;
        for (got, expected) in on_gpu.iter().zip(&on_cpu) {
            let most = expected
                .iter()
                .fold(0f32, |most, value| most.max(value.abs()));
            let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 * most;
            assert!(
                got.iter().zip(expected).all(is_near),
                "{examples} examples, {core}"
            );
        }
    }
}

#[test]
fn chunks_of_fourier_transforms_may_be_empty() {
    let model = Model::builder([20, 30]).push(Conv1d::new(120, 3));
    let model = model.push(Conv1d::new(3, 5)).build().unwrap();
    equal_the_reference(&model, "fft");
}

#[test]
fn chunks_and_parts_of_winograds_tiles_may_be_empty() {
    let layer = |channels| Conv2d::new(channels, 3).padding(1);
    let model = Model::builder([64, 12, 12]).push(layer(128));
    let model = model.push(layer(4)).build().unwrap();
    let signals = Model::builder([64, 200]).push(Conv1d::new(128, 3));
    let signals = signals.push(Conv1d::new(4, 3)).build().unwrap();
    for core in ["winograd-subgroup", "winograd-tiled"] {
        equal_the_reference(&model, core);
        equal_the_reference(&signals, core);
    }
}
