//! Micro-batches and clipping, through the trainer: against one large batch, and against the CPU.

use wgpu_cnn::{CrossEntropy, Loss, Model, Optimizer, Trainer, TrainerBuilder};

use crate::common::{each_gpu, random, uniform};

const CLASSES: usize = 3;
const WEIGHTS: [f32; CLASSES] = [0.5, 2.0, 1.0];

fn model() -> Model {
    let model = Model::builder([1, 6, 6]).conv2d(4, 3).relu().flatten();
    model.dense(CLASSES).build().unwrap()
}

fn builder(loss: CrossEntropy) -> TrainerBuilder {
    let optimizer = Optimizer::sgd(0.5).momentum(0.9);
    Trainer::builder(model())
        .seed(5)
        .optimizer(optimizer)
        .loss(loss)
}

fn weighted() -> CrossEntropy {
    let loss = Loss::cross_entropy().class_weights(WEIGHTS);
    loss.ignored_label(-100)
}

/// All parameters, one after the other.
fn parameters(trainer: &Trainer) -> Vec<f32> {
    let names: Vec<String> = trainer
        .model()
        .parameters()
        .map(|(name, _)| name.into())
        .collect();
    names
        .iter()
        .flat_map(|name| trainer.parameter(name).unwrap())
        .collect()
}

fn assert_near(what: &str, left: &[f32], right: &[f32]) {
    assert_eq!(left.len(), right.len());
    assert!(
        left.iter().filter(|value| **value != 0.0).count() > left.len() / 2,
        "{what}"
    );
    for (at, (left, right)) in left.iter().zip(right).enumerate() {
        assert!(
            (left - right).abs() < 2e-6,
            "{what}, element {at}: {left} and {right}"
        );
    }
}

/// Twelve examples, with ignored ones spread unevenly over the micro-batches.
const LABELS: [i64; 12] = [0, 1, 2, -100, 1, -100, -100, -100, 2, 2, 1, 0];

#[test]
fn micro_batches_equal_one_large_batch() {
    let x = uniform(&mut random(1), 12 * 36);
    for (device, gpu) in each_gpu() {
        let mut large = builder(weighted()).batch(12).on(gpu).unwrap();
        let mut small = builder(weighted()).batch(4).accumulate(3).on(gpu).unwrap();
        let mut on_cpu = builder(weighted()).batch(4).accumulate(3).on_cpu().unwrap();
        for _ in 0..3 {
            large.step(&x, &LABELS).unwrap();
            // The large batch's loss is the mean of the small ones', weighted with what counts.
            let (mut sum, mut weights) = (0.0, 0.0);
            for (x, labels) in x.chunks(4 * 36).zip(LABELS.chunks(4)) {
                small.step(x, labels).unwrap();
                on_cpu.step(x, labels).unwrap();
                let losses = [&small, &on_cpu].map(|trainer| trainer.loss().unwrap());
                assert!((losses[0] - losses[1]).abs() < 2e-6, "{device}: {losses:?}");
                let counted = labels
                    .iter()
                    .filter_map(|&label| usize::try_from(label).ok());
                let weight: f32 = counted.map(|class| WEIGHTS[class]).sum();
                (sum, weights) = (sum + weight * losses[0], weights + weight);
            }
            let (whole, parts) = (large.loss().unwrap(), sum / weights);
            assert!((whole - parts).abs() < 2e-6, "{device}: {whole}, {parts}");
            assert_near(device, &parameters(&small), &parameters(&large));
            assert_near(device, &parameters(&on_cpu), &parameters(&large));
            let gradient = |trainer: &Trainer| trainer.gradient("0.weight").unwrap();
            assert_near(device, &gradient(&small), &gradient(&large));
        }
    }
}

#[test]
fn an_unfinished_sum_is_applied_on_request() {
    let x = uniform(&mut random(2), 8 * 36);
    let labels = [0u8, 1, 2, 0, 1, 2, 2, 1];
    for (device, gpu) in each_gpu() {
        let mut large = builder(CrossEntropy::default()).batch(8).on(gpu).unwrap();
        large.step(&x, &labels).unwrap();
        let mut small = builder(CrossEntropy::default())
            .batch(4)
            .accumulate(5)
            .on(gpu)
            .unwrap();
        let before = parameters(&small);
        for (x, labels) in x.chunks(4 * 36).zip(labels.chunks(4)) {
            small.step(x, labels).unwrap();
        }
        assert_eq!(before, parameters(&small), "{device}: an update too early");
        small.update().unwrap();
        assert_near(device, &parameters(&small), &parameters(&large));
        let after = parameters(&small);
        small.update().unwrap();
        assert_eq!(after, parameters(&small), "{device}: an update of nothing");
    }
}

#[test]
fn gradients_are_clipped_by_their_global_norm() {
    let x = uniform(&mut random(3), 4 * 36);
    let labels = [0u8, 1, 2, 0];
    for (device, gpu) in each_gpu() {
        let trained = |clip: Option<f64>| {
            let builder = builder(CrossEntropy::default()).batch(4);
            let builder = match clip {
                Some(norm) => builder.clip_norm(norm),
                None => builder,
            };
            let [mut ours, mut reference] =
                [builder.clone().on(gpu).unwrap(), builder.on_cpu().unwrap()];
            for _ in 0..3 {
                ours.step(&x, &labels).unwrap();
                reference.step(&x, &labels).unwrap();
            }
            assert_near(device, &parameters(&ours), &parameters(&reference));
            parameters(&ours)
        };
        let free = trained(None);
        assert_ne!(trained(Some(1e-2)), free, "{device}");
        assert_eq!(trained(Some(1e6)), free, "{device}");
    }
}
