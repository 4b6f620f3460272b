//! What becomes of the running statistics in training: averages of all batches, and frozen ones.

use wgpu_cnn::{BatchNorm, Loss, Model, Optimizer, Target, Trainer};

use crate::common::{each_gpu, random, uniform};
use crate::compare::Expected;

const BATCH: usize = 3;
/// Two channels of four positions.
const EXAMPLE: usize = 8;

fn batches() -> [Vec<f32>; 4] {
    let rng = &mut random(31);
    [(); 4].map(|()| uniform(rng, BATCH * EXAMPLE))
}

/// A trainer on each device, and one on the CPU.
fn trainers(norm: BatchNorm) -> Vec<(&'static str, Trainer)> {
    let model = Model::builder([2, 2, 2]).push(norm).build().unwrap();
    let builder = || {
        let builder = Trainer::builder(model.clone()).batch(BATCH);
        let builder = builder.loss(Loss::mean_squared_error());
        builder.optimizer(Optimizer::sgd(0.1))
    };
    let on_gpus = each_gpu().map(|(device, gpu)| (device, builder().on(gpu).unwrap()));
    let on_cpu = ("the CPU", builder().on_cpu().unwrap());
    on_gpus.chain([on_cpu]).collect()
}

/// The values of a channel of a batch.
fn channel(x: &[f32], channel: usize) -> Vec<f64> {
    let planes = x.chunks_exact(4).skip(channel).step_by(2);
    planes.flatten().map(|&x| x.into()).collect()
}

#[test]
fn without_a_momentum_they_are_the_averages_of_all_batches() {
    let zeros = || Target::Values(vec![0.0; BATCH * EXAMPLE]);
    for (device, mut trainer) in trainers(BatchNorm::new().momentum(None)) {
        let (mut means, mut variances) = ([0.0; 2], [0.0; 2]);
        for (step, x) in (1..).zip(&batches()) {
            trainer.step(x, zeros()).unwrap();
            for c in 0..2 {
                let values = channel(x, c);
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let squares = values.iter().map(|x| (x - mean) * (x - mean));
                means[c] += mean;
                variances[c] += squares.sum::<f64>() / (values.len() - 1) as f64;
            }
            let of = |sums: [f64; 2]| sums.map(|sum| sum / f64::from(step)).to_vec();
            for (name, sums) in [("0.running_mean", means), ("0.running_var", variances)] {
                let expected = Expected::new(of(sums), &[2.0; 2], 40);
                let got = trainer.parameter(name).unwrap();
                expected.assert(&format!("{name}, step {step}, {device}"), &got);
            }
            let count = trainer.parameter("0.num_batches_tracked").unwrap();
            assert_eq!(count, [step as f32], "{device}");
        }
        // What is kept goes on from where it was.
        let folder = std::env::temp_dir().join(format!("wgpu-cnn-norm-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{}.safetensors", device.replace([' ', '/'], "-")));
        trainer.save(&path).unwrap();
        trainer
            .set_parameter("0.num_batches_tracked", &[0.0])
            .unwrap();
        trainer.load(&path).unwrap();
        let count = trainer.parameter("0.num_batches_tracked").unwrap();
        assert_eq!(count, [4.0], "{device}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn frozen_ones_are_used_and_stay() {
    let norm = BatchNorm::new().frozen(true).momentum(None);
    let (mean, variance, gamma, beta) = ([0.5, -0.25], [1.5, 0.75], [2.0, -1.0], [0.25, 0.5]);
    for (device, mut trainer) in trainers(norm) {
        let parameters = [
            ("0.running_mean", mean),
            ("0.running_var", variance),
            ("0.weight", gamma),
            ("0.bias", beta),
        ];
        for (name, values) in parameters {
            trainer.set_parameter(name, &values).unwrap();
        }
        let x = &batches()[0];
        let before = trainer.predict(x).unwrap();
        trainer.step(x, Target::Values(vec![0.0; x.len()])).unwrap();
        // The loss is that of evaluation, and its gradients follow from y alone: 2 y / n each.
        let squares = before.iter().map(|y| f64::from(*y).powi(2));
        let loss = squares.sum::<f64>() / before.len() as f64;
        let off = (f64::from(trainer.loss().unwrap()) / loss - 1.0).abs();
        assert!(off < 1e-6, "{device}: off by {off}");
        for (name, statistic) in [("0.running_mean", mean), ("0.running_var", variance)] {
            assert_eq!(trainer.parameter(name).unwrap(), statistic, "{device}");
        }
        let count = trainer.parameter("0.num_batches_tracked").unwrap();
        assert_eq!(count, [0.0], "{device}");
        for c in 0..2 {
            let gy = channel(&before, c).into_iter().map(|y| 2.0 * y / 24.0);
            let [mean, variance] = [mean[c], variance[c]].map(f64::from);
            let normal = |x: f64| (x - mean) / (variance + 1e-5).sqrt();
            let pairs = channel(x, c).into_iter().zip(gy.clone());
            let ggamma: f64 = pairs.map(|(x, gy)| normal(x) * gy).sum();
            let gbeta: f64 = gy.sum();
            for (name, expected) in [("0.weight", ggamma), ("0.bias", gbeta)] {
                let got = f64::from(trainer.gradient(name).unwrap()[c]);
                assert!(
                    (got - expected).abs() < 1e-6,
                    "{name} on {device}: {got}, {expected}"
                );
            }
        }
        // A single value per channel is enough.
        trainer
            .step(&x[..EXAMPLE], Target::Values(vec![0.0; EXAMPLE]))
            .unwrap();
    }
    let one = Model::builder([2]).push(norm).build().unwrap();
    let builder = Trainer::builder(one).loss(Loss::mean_squared_error());
    let mut trainer = builder.batch(1).on_cpu().unwrap();
    let x = [1.0, 2.0];
    trainer.step(&x[..], Target::Values(vec![0.0; 2])).unwrap();
}
