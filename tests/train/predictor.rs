//! A model in use against the trainer it comes from: the same bits, in less memory.

use std::thread;

use pollster::block_on;
use wgpu_cnn::engine::catalogue::{ModelCase, models};
use wgpu_cnn::zoo::{self, Network};
use wgpu_cnn::{
    BatchNorm, Conv2d, ConvTranspose2d, Gpu, Loss, Model, PointwiseLinear, Predictor, Target,
    Trainer,
};

use crate::common::{assert_error, bits, each_core, plain_gpu, poisoned_gpus, random, uniform};

/// Inputs of so many examples.
fn inputs(model: &Model, examples: usize) -> Vec<Vec<f32>> {
    let mut rng = random(3);
    let shapes = model.input_shapes();
    shapes
        .map(|shape| uniform(&mut rng, examples * shape.len()))
        .collect()
}

fn slices(inputs: &[Vec<f32>]) -> Vec<&[f32]> {
    inputs.iter().map(Vec::as_slice).collect()
}

/// The models that learn something.
fn learning() -> impl Iterator<Item = ModelCase> {
    let models = models().unwrap().into_iter();
    models.filter(|case| case.model.parameter_count() > 0)
}

/// A trainer of a model whose statistics are not those of the beginning.
fn trained(case: &ModelCase, half: bool, gpu: &Gpu) -> Trainer {
    let builder = Trainer::builder(case.model.clone()).batch(case.batch);
    let builder = builder.loss(Loss::mean_squared_error());
    let mut trainer = builder.half_precision(half).on(gpu).unwrap();
    let x = inputs(&case.model, case.batch);
    let target = vec![0.25; case.model.output_shape().len() * case.batch];
    trainer.step(slices(&x), Target::Values(target)).unwrap();
    trainer
}

fn assert_same_outputs(name: &str, got: &[(String, Vec<f32>)], expected: &[(String, Vec<f32>)]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for ((a, got), (b, expected)) in got.iter().zip(expected) {
        assert_eq!(a, b, "{name}");
        assert_eq!(bits(got), bits(expected), "{name}: {a}");
    }
}

#[test]
fn a_predictor_gives_the_bits_of_its_trainer_on_every_core_and_in_either_precision() {
    let devices: Vec<(&str, &Gpu)> = each_core().chain(poisoned_gpus()).collect();
    // Each model on one of the devices, and every other in half precision.
    for (at, (case, (device, gpu))) in learning().zip(devices.iter().cycle()).enumerate() {
        let half = at % 2 == 1 && gpu.has_half_precision();
        let name = format!("{}, {device}, half {half}", case.name);
        let mut trainer = trained(&case, half, gpu);
        let predictor = trainer.predictor().unwrap().on(gpu).unwrap();
        for examples in [case.batch, 1, 2 * case.batch + 1] {
            let x = inputs(&case.model, examples);
            let expected = trainer.predict_all(slices(&x)).unwrap();
            let got = predictor.predict_all(slices(&x)).unwrap();
            assert_same_outputs(&name, &got, &expected);
        }
    }
}

#[test]
fn each_planned_size_has_the_bits_of_a_trainer_of_that_batch() {
    let Some(gpu) = plain_gpu() else { return };
    for case in learning().step_by(3) {
        let trainer = trained(&case, false, gpu);
        let file = std::env::temp_dir().join(format!("wgpu-cnn-predictor-{}", std::process::id()));
        trainer.save(&file).unwrap();
        let builder = Predictor::builder(case.model.clone()).weights(&file);
        let predictor = builder.batches([5, 1, 2]).on(gpu).unwrap();
        // Each examples count among them twice, so that the params of another are there before.
        for (examples, planned) in [
            (5, 5),
            (1, 1),
            (4, 5),
            (2, 2),
            (1, 1),
            (3, 5),
            (5, 5),
            (2, 2),
        ] {
            let builder = Trainer::builder(case.model.clone()).loss(Loss::mean_squared_error());
            let mut own = builder.batch(planned).weights(&file).on(gpu).unwrap();
            let x = inputs(&case.model, examples);
            let expected = own.predict_all(slices(&x)).unwrap();
            let got = predictor.predict_all(slices(&x)).unwrap();
            assert_same_outputs(&format!("{}, {examples}", case.name), &got, &expected);
        }
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn any_number_on_their_way_arrive_each_with_its_own_outputs() {
    let Some(gpu) = plain_gpu() else { return };
    let model = zoo::resnet18()
        .classes(10)
        .input([3, 32, 32])
        .build()
        .unwrap();
    for in_flight in [1, 2, 5] {
        let builder = Predictor::builder(model.clone()).in_flight(in_flight);
        let predictor = builder.batches([1, 3]).on(gpu).unwrap();
        let images: Vec<_> = (1..9).map(|count| inputs(&model, count)).collect();
        let alone = images.iter().map(|x| predictor.predict(slices(x)).unwrap());
        let alone: Vec<_> = alone.collect();
        // More than may be on their way, taken in the other order, and some dropped.
        let started = images.iter().map(|x| predictor.start(slices(x)).unwrap());
        let started: Vec<_> = started.collect();
        for (at, prediction) in started.into_iter().enumerate().rev() {
            if at % 3 != 1 {
                assert_eq!(bits(&prediction.wait().unwrap()), bits(&alone[at]), "{at}");
            }
        }
        thread::scope(|scope| {
            let predict = |x| predictor.predict(slices(x)).unwrap();
            let threads = images.iter().map(|x| scope.spawn(move || predict(x)));
            let threads: Vec<_> = threads.collect();
            for (thread, alone) in threads.into_iter().zip(&alone) {
                assert_eq!(bits(&thread.join().unwrap()), bits(alone));
            }
        });
        // Futures of one thread.
        let mut futures: Vec<_> = images
            .iter()
            .map(|x| Box::pin(predictor.predict_async(slices(x))))
            .collect();
        drop(futures.swap_remove(0));
        for (future, at) in futures.into_iter().zip([7, 1, 2, 3, 4, 5, 6]) {
            assert_eq!(bits(&block_on(future).unwrap()), bits(&alone[at]));
        }
    }
}

#[test]
fn what_a_predictor_cannot_be_is_an_error() {
    let Some(gpu) = plain_gpu() else { return };
    let builder = || Predictor::builder(Model::builder([4]).dense(3).build().unwrap());
    assert_error(builder().batch(0).on(gpu), "argument", &["batch", "zero"]);
    assert_error(builder().batches([]).on(gpu), "argument", &["batches"]);
    assert_error(builder().batches([1, 0]).on_cpu(), "argument", &["batch"]);
    assert_error(builder().in_flight(0).on(gpu), "argument", &["in_flight"]);
    assert_error(builder().memory_budget(8).on(gpu), "memory", &[]);
    assert_error(builder().memory_budget(8).on_cpu(), "argument", &["memory"]);
    assert_error(builder().half_precision(true).on_cpu(), "argument", &[]);
    assert_error(builder().weights("no such file").on(gpu), "file", &[]);
    assert_error(builder().batch(usize::MAX).on(gpu), "limit", &["largest"]);
    let predictor = builder().on(gpu).unwrap();
    assert_error(predictor.predict(&[0.0; 3]), "shape", &["input", "whole"]);
    assert_error(predictor.predict(&[0.0; 0]), "shape", &["input"]);
    assert_error(
        predictor.predict([&[0.0; 4], &[0.0; 4]]),
        "shape",
        &["inputs"],
    );
}

/// Networks with batch normalisations behind convolutions of every kind, and such as cannot be folded.
fn normalised() -> Vec<(&'static str, Model)> {
    let transposed = Model::builder([4, 5, 5])
        .push(ConvTranspose2d::new(6, 3).stride(2).groups(2).bias(false))
        .batch_norm()
        .relu()
        .push(Conv2d::new(8, 3).groups(2))
        .push(BatchNorm::new().affine(false).momentum(None))
        .push(PointwiseLinear::new(5).bias(false))
        .batch_norm()
        .flatten()
        .dense(7)
        .batch_norm()
        .residual(|body| body.dense(7).batch_norm());
    let unfoldable = Model::builder([3, 6, 6])
        .batch_norm()
        .conv2d(4, 3)
        .relu()
        .batch_norm()
        .max_pool2d(2)
        .batch_norm();
    let network = |network: Network| network.classes(5).input([3, 64, 64]).build().unwrap();
    vec![
        ("transposed, groups, dense", transposed.build().unwrap()),
        ("unfoldable", unfoldable.build().unwrap()),
        ("resnet18", network(zoo::resnet18())),
        ("mobilenet_v2", network(zoo::mobilenet_v2())),
        ("densenet121", network(zoo::densenet121())),
        ("efficientnet_b0", network(zoo::efficientnet_b0())),
    ]
}

#[test]
fn folded_networks_predict_the_same_within_rounding() {
    let Some(gpu) = plain_gpu() else { return };
    for (name, model) in normalised() {
        // Statistics, factors and biases as after a training.
        let mut trainer = Trainer::builder(model.clone())
            .batch(1)
            .seed(5)
            .on_cpu()
            .unwrap();
        let mut rng = random(6);
        let vectors = model.parameters().filter(|(_, shape)| shape.rank() == 1);
        let names: Vec<String> = vectors.map(|(name, _)| name.into()).collect();
        for parameter in names {
            let mut values = trainer.parameter(&parameter).unwrap();
            let shaken = uniform(&mut rng, values.len());
            let pairs = values.iter_mut().zip(shaken);
            pairs.for_each(|(value, shaken)| *value += 0.1 * shaken.abs());
            trainer.set_parameter(&parameter, &values).unwrap();
        }
        let x = inputs(&model, 2);
        let builder = |fold| trainer.predictor().unwrap().fold_batch_norm(fold);
        let plain = builder(false)
            .on_cpu()
            .unwrap()
            .predict_all(slices(&x))
            .unwrap();
        let folded = [
            builder(true).on_cpu().unwrap(),
            builder(true).on(gpu).unwrap(),
        ];
        for folded in folded {
            let got = folded.predict_all(slices(&x)).unwrap();
            for ((a, got), (b, plain)) in got.iter().zip(&plain) {
                assert_eq!(a, b);
                let largest = plain
                    .iter()
                    .fold(0.0f32, |most, value| most.max(value.abs()));
                assert!(largest > 1e-3, "{name}: {plain:?}");
                for (got, plain) in got.iter().zip(plain) {
                    assert!(
                        (got - plain).abs() <= 1e-3 * largest,
                        "{name}: {got}, not {plain}"
                    );
                }
            }
        }
        let [plain, folded] = [false, true].map(|fold| {
            let builder = Predictor::builder(model.clone()).fold_batch_norm(fold);
            builder.memory(gpu).unwrap()
        });
        match name {
            "unfoldable" => assert_eq!(plain, folded),
            _ => assert!(folded.total() < plain.total(), "{name}: {folded}, {plain}"),
        }
    }
}
