//! Batch normalisation.

use wgpu_cnn::op::BatchNormGeometry;
use wgpu_cnn::{BatchNorm, Loss, Model, Optimizer, Shape, Target, Tensor, Trainer, cpu, ops};

use super::{chain, scales};
use crate::common::{Fill, each_gpu, integers, narrow, random, tensor, uniform, wide};
use crate::compare::{Expected, assert_bits, assert_same};

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}

fn negated(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| -value).collect()
}

struct Batch {
    name: &'static str,
    /// `(N, C, ...)`
    shape: &'static [usize],
    layer: fn(BatchNorm) -> BatchNorm,
    /// What all values are moved by.
    mean: f32,
}

impl Batch {
    fn layer(&self) -> BatchNorm {
        (self.layer)(BatchNorm::new())
    }

    fn geometry(&self) -> BatchNormGeometry {
        let (batch, example) = (self.shape[0], Shape::from(&self.shape[1..]));
        self.layer().geometry(batch, &example).unwrap()
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn input(&self) -> Vec<f32> {
        let x = uniform(&mut random(self.len() as u64), self.len());
        x.iter().map(|x| x + self.mean).collect()
    }
}

const BATCHES: [Batch; 9] = [
    Batch {
        name: "two values",
        shape: &[2, 1],
        layer: |norm| norm,
        mean: 0.0,
    },
    Batch {
        name: "rows",
        shape: &[5, 7],
        layer: |norm| norm,
        mean: 0.0,
    },
    Batch {
        name: "more rows than a workgroup",
        shape: &[65, 3],
        layer: |norm| norm,
        mean: 0.5,
    },
    Batch {
        name: "signals, options of its own",
        shape: &[3, 2, 9],
        layer: |norm| norm.epsilon(1e-2).momentum(0.25),
        mean: 0.0,
    },
    Batch {
        name: "one image",
        shape: &[1, 3, 5, 4],
        layer: |norm| norm,
        mean: 0.0,
    },
    Batch {
        name: "images of odd sizes",
        shape: &[3, 5, 7, 9],
        layer: |norm| norm,
        mean: 0.0,
    },
    Batch {
        name: "whole vectors, the newest batch alone",
        shape: &[4, 4, 8, 8],
        layer: |norm| norm.momentum(1.0),
        mean: 0.0,
    },
    Batch {
        name: "large planes, running statistics that stay",
        shape: &[2, 2, 33, 65],
        layer: |norm| norm.momentum(0.0),
        mean: 0.0,
    },
    Batch {
        name: "a large mean",
        shape: &[4, 3, 6, 6],
        layer: |norm| norm,
        mean: 1000.0,
    },
];

/// Moments of each channel in f64.
fn moments(geometry: &BatchNormGeometry, x: &[f64]) -> [Vec<f64>; 2] {
    let mut moments = [(); 2].map(|()| vec![0.0; geometry.channels]);
    let [mean, variance] = &mut moments;
    cpu::batch_norm_moments(geometry, x, mean, variance).unwrap();
    moments
}

/// `gamma * (x - mean) * inverse + beta` with these moments. On magnitudes it is the same with the
/// mean added, for that is what its rounding comes from.
fn normalised(
    case: &Batch,
    x: &[f64],
    [mean, variance]: [&[f64]; 2],
    [gamma, beta]: [&[f64]; 2],
) -> Expected {
    let (geometry, epsilon) = (case.geometry(), case.layer().epsilon);
    let run = |x: &[f64], mean: &[f64], gamma: &[f64], beta: &[f64]| {
        let mut y = vec![0.0; x.len()];
        cpu::batch_norm_forward(&geometry, epsilon, x, mean, variance, gamma, beta, &mut y)
            .unwrap();
        y
    };
    let values = run(x, mean, gamma, beta);
    let [x, mean, gamma, beta] = [x, mean, gamma, beta].map(magnitudes);
    let terms = run(&x, &negated(&mean), &gamma, &beta);
    Expected::new(values, &terms, chain(geometry.count()))
}

#[test]
fn batch_norm_in_training_equals_the_reference() {
    for case in &BATCHES {
        let (geometry, layer, x) = (case.geometry(), case.layer(), case.input());
        let (channels, terms) = (geometry.channels, chain(geometry.count()));
        let rng = &mut random(18);
        let (gamma, beta) = (scales(rng, channels), uniform(rng, channels));
        let running = [uniform(rng, channels), uniform(rng, channels)];
        let [mean, variance] = moments(&geometry, &wide(&x));
        let y = normalised(
            case,
            &wide(&x),
            [&mean, &variance],
            [&wide(&gamma), &wide(&beta)],
        );
        // The mean of each channel and the inverse of its deviation; sums of x as far as it spreads.
        let pairs = mean.iter().zip(&variance);
        let kept = pairs.clone().flat_map(|(&mean, variance)| {
            let inverse = 1.0 / (variance + layer.epsilon).sqrt();
            [(mean, mean.abs() + variance.sqrt()), (inverse, inverse)]
        });
        let (values, magnitude): (Vec<f64>, Vec<f64>) = kept.unzip();
        let kept = Expected::new(values, &magnitude, terms);
        let update = |mean: &[f64], running: [&[f64]; 2]| {
            let mut new = running.map(<[f64]>::to_vec);
            let [new_mean, new_variance] = &mut new;
            let momentum = layer.momentum.unwrap();
            let (mean, to) = (mean, (new_mean, new_variance));
            cpu::batch_norm_update_running(&geometry, momentum, mean, &variance, to.0, to.1)
                .unwrap();
            new
        };
        let before = running.each_ref().map(|values| wide(values));
        let values = update(&mean, before.each_ref().map(|v| &v[..]));
        let spread: Vec<f64> = pairs.map(|(mean, v)| mean.abs() + v.sqrt()).collect();
        let before = before.each_ref().map(|values| magnitudes(values));
        let magnitude = update(&spread, before.each_ref().map(|v| &v[..]));
        let [new_mean, new_variance] =
            [0, 1].map(|at| Expected::new(values[at].clone(), &magnitude[at], terms));
        for (device, gpu) in each_gpu() {
            let name = |what: &str| format!("{}, {what}, {device}", case.name);
            let there = |values: &[f32]| tensor(gpu, [channels], values);
            let parameters = [there(&gamma), there(&beta)];
            let running = [there(&running[0]), there(&running[1])];
            let (got, statistics) = ops::batch_norm_forward(
                &tensor(gpu, case.shape, &x),
                parameters.each_ref(),
                running.each_ref(),
                &layer,
            )
            .unwrap();
            y.assert(&name("output"), &got.to_vec().unwrap());
            let read = |tensor: &Tensor| tensor.to_vec().unwrap();
            kept.assert(&name("statistics"), &read(&statistics.batch));
            new_mean.assert(&name("running mean"), &read(&statistics.running_mean));
            new_variance.assert(
                &name("running variance"),
                &read(&statistics.running_variance),
            );
        }
    }
}

#[test]
fn batch_norm_in_evaluation_equals_the_reference() {
    for case in &BATCHES {
        let (channels, layer, x) = (case.geometry().channels, case.layer(), case.input());
        let rng = &mut random(19);
        let (gamma, beta) = (scales(rng, channels), uniform(rng, channels));
        let mean: Vec<f32> = uniform(rng, channels)
            .iter()
            .map(|m| m + case.mean)
            .collect();
        let variance: Vec<f32> = uniform(rng, channels).iter().map(|v| 1.5 + v).collect();
        let y = normalised(
            case,
            &wide(&x),
            [&wide(&mean), &wide(&variance)],
            [&wide(&gamma), &wide(&beta)],
        );
        for (device, gpu) in each_gpu() {
            let there = |values: &[f32]| tensor(gpu, [channels], values);
            let (parameters, running) = (
                [there(&gamma), there(&beta)],
                [there(&mean), there(&variance)],
            );
            let got = ops::batch_norm_forward_evaluation(
                &tensor(gpu, case.shape, &x),
                parameters.each_ref(),
                running.each_ref(),
                &layer,
            );
            let name = format!("{}, {device}", case.name);
            y.assert(&name, &got.unwrap().to_vec().unwrap());
        }
    }
}

/// The gradients of input, gamma and beta from statistics as the kernels read them.
fn batch_gradients(
    case: &Batch,
    x: &[f32],
    statistics: &[f32],
    gamma: &[f32],
    gy: &[f32],
) -> [Expected; 3] {
    let (geometry, epsilon) = (case.geometry(), case.layer().epsilon);
    let rows = statistics.chunks_exact(2);
    let mean: Vec<f64> = rows.clone().map(|row| row[0].into()).collect();
    let variance = rows.map(|row| f64::from(row[1]).powi(-2) - epsilon);
    let variance: Vec<f64> = variance.collect();
    let parameters = |x: &[f64], mean: &[f64], gy: &[f64]| {
        let mut to = [(); 2].map(|()| vec![0.0; geometry.channels]);
        let [ggamma, gbeta] = &mut to;
        cpu::batch_norm_backward_parameters(
            &geometry, epsilon, x, mean, &variance, gy, ggamma, gbeta,
        )
        .unwrap();
        to
    };
    let input =
        |x: &[f64], mean: &[f64], gamma: &[f64], [ggamma, gbeta]: [&[f64]; 2], gy: &[f64]| {
            let mut gx = vec![0.0; x.len()];
            cpu::batch_norm_backward_input(
                &geometry, epsilon, x, mean, &variance, gamma, ggamma, gbeta, gy, &mut gx,
            )
            .unwrap();
            gx
        };
    let [x, gamma, gy] = [x, gamma, gy].map(wide);
    let [ggamma, gbeta] = parameters(&x, &mean, &gy);
    let gx = input(&x, &mean, &gamma, [&ggamma, &gbeta], &gy);
    // All terms with one sign.
    let [x, gamma, gy, mean] = [&x, &gamma, &gy, &mean].map(|values| magnitudes(values));
    let mean = negated(&mean);
    let [terms_gamma, terms_beta] = parameters(&x, &mean, &gy);
    let sums = [&terms_gamma, &terms_beta].map(|terms| negated(terms));
    let terms = input(&x, &mean, &gamma, [&sums[0], &sums[1]], &gy);
    let sum = chain(geometry.count());
    [
        Expected::new(gx, &terms, 2 * sum),
        Expected::new(ggamma, &terms_gamma, sum),
        Expected::new(gbeta, &terms_beta, sum),
    ]
}

#[test]
fn gradients_of_batch_norm_equal_the_reference() {
    for case in &BATCHES {
        let (geometry, layer, x) = (case.geometry(), case.layer(), case.input());
        let (channels, rng) = (geometry.channels, &mut random(20));
        let [mean, variance] = moments(&geometry, &wide(&x));
        let statistics = mean.iter().zip(&variance).flat_map(|(&mean, variance)| {
            [
                mean as f32,
                (variance + layer.epsilon).sqrt().recip() as f32,
            ]
        });
        let (statistics, gamma) = (statistics.collect::<Vec<_>>(), scales(rng, channels));
        for (kind, fill) in [("random", uniform as Fill), ("integers", integers)] {
            let gy = fill(rng, case.len());
            let expected = batch_gradients(case, &x, &statistics, &gamma, &gy);
            for (device, gpu) in each_gpu() {
                let got = ops::batch_norm_backward(
                    &tensor(gpu, case.shape, &x),
                    &tensor(gpu, [channels], &gamma),
                    &tensor(gpu, [channels, 2], &statistics),
                    &tensor(gpu, case.shape, &gy),
                    &layer,
                );
                let got = got.unwrap().map(|tensor| tensor.to_vec().unwrap());
                for (at, what) in ["input", "gamma", "beta"].into_iter().enumerate() {
                    let name = format!("{}, {kind}, {what}, {device}", case.name);
                    match (what, kind) {
                        // Nothing but a sum.
                        ("beta", "integers") => {
                            assert_same(&name, &got[at], &narrow(&expected[at].values));
                        }
                        // Of two values, the gradient is next to nothing.
                        ("input", _) if geometry.count() == 2 => {
                            expected[at].close(&got[at]).unwrap();
                        }
                        _ => expected[at].assert(&name, &got[at]),
                    }
                }
            }
        }
    }
}

/// In numbers that do not come from the reference: variance divided by n within the batch and by n - 1
/// in the running estimate, a constant channel that gives beta, and NaN that stays in its channel.
#[test]
fn batch_norm_is_that_of_pytorch() {
    let nan = f32::NAN;
    let x = [
        [1.0, 7.0, 0.0, 3.0],
        [3.0, 7.0, nan, 3.0],
        [5.0, 7.0, 1.0, 3.5],
        [7.0, 7.0, 2.0, 2.5],
    ];
    let layer = BatchNorm::new().epsilon(0.0).momentum(0.5);
    let root = 5f32.sqrt();
    for (device, gpu) in each_gpu() {
        let there = |values: &[f32]| tensor(gpu, [4], values);
        let (gamma, beta) = (there(&[root, 1.0, 1.0, 1.0]), there(&[0.5, 2.0, 0.0, 0.0]));
        let (mean, variance) = (there(&[0.0, 1.0, 2.0, 3.0]), there(&[1.0; 4]));
        let run = |layer: &BatchNorm| {
            let x = tensor(gpu, [4, 4], x.as_flattened());
            ops::batch_norm_forward(&x, [&gamma, &beta], [&mean, &variance], layer).unwrap()
        };
        let (y, statistics) = run(&layer);
        let column = |at: usize| -> Vec<f32> {
            let y = y.to_vec().unwrap();
            y.iter().skip(at).step_by(4).copied().collect()
        };
        let near = |name: &str, got: &[f32], values: &[f32]| {
            Expected::new(wide(values), &vec![4.0; values.len()], 4)
                .assert(&format!("{name}, {device}"), got);
        };
        near("a channel", &column(0), &[-2.5, -0.5, 1.5, 3.5]);
        assert_same(device, &column(2), &[nan; 4]);
        let new = statistics.running_mean.to_vec().unwrap();
        assert_same(device, &new, &[2.0, 4.0, nan, 3.0]);
        let new = statistics.running_variance.to_vec().unwrap();
        let third = 0.5 / 3.0;
        near(
            "running variance",
            &new,
            &[0.5 + 20.0 / 6.0, 0.5, nan, 0.5 + 0.5 * third],
        );
        // With epsilon, the constant channel is beta.
        let (y, statistics) = run(&BatchNorm::new());
        let y = y.to_vec().unwrap();
        let constant: Vec<f32> = y.iter().skip(1).step_by(4).copied().collect();
        assert_same(device, &constant, &[2.0; 4]);
        let inverse = statistics.batch.to_vec().unwrap()[3];
        assert!((inverse * 1e-5f32.sqrt() - 1.0).abs() < 1e-6, "{device}");
    }
}

/// Running statistics over steps, a partial batch among them, and what evaluation makes of them.
#[test]
fn training_keeps_running_statistics_and_evaluation_uses_them() {
    let case = Batch {
        name: "in training",
        shape: &[4, 3, 5, 2],
        layer: |norm| norm.momentum(0.2),
        mean: 0.0,
    };
    let (layer, example) = (case.layer(), case.len() / 4);
    let model = Model::builder([3, 5, 2]).push(layer).build().unwrap();
    let rng = &mut random(21);
    let (gamma, beta) = (scales(rng, 3), uniform(rng, 3));
    let sizes = [4, 4, 3, 4];
    let batches = sizes.map(|size| -> Vec<f32> {
        let x = uniform(rng, size * example);
        x.iter().map(|x| 2.0 * x + 0.75).collect()
    });
    // As the reference has them after each step, from 0 and 1.
    let mut running = [vec![0.0; 3], vec![1.0; 3]];
    let after = batches.each_ref().map(|x| {
        let size = x.len() / example;
        let geometry = layer.geometry(size, &Shape::from([3, 5, 2])).unwrap();
        let [mean, variance] = moments(&geometry, &wide(x));
        let [new_mean, new_variance] = &mut running;
        let momentum = layer.momentum.unwrap();
        cpu::batch_norm_update_running(
            &geometry,
            momentum,
            &mean,
            &variance,
            new_mean,
            new_variance,
        )
        .unwrap();
        running.clone()
    });
    let x = case.input();
    let [mean, variance] = &after[3];
    let moments = [&mean[..], &variance[..]];
    let y = normalised(&case, &wide(&x), moments, [&wide(&gamma), &wide(&beta)]);
    for (device, gpu) in each_gpu() {
        let builder = Trainer::builder(model.clone()).batch(4);
        let builder = builder.loss(Loss::mean_squared_error());
        let mut trainer = builder.optimizer(Optimizer::sgd(0.0)).on(gpu).unwrap();
        trainer.set_parameter("0.weight", &gamma).unwrap();
        trainer.set_parameter("0.bias", &beta).unwrap();
        for (step, (batch, after)) in batches.iter().zip(&after).enumerate() {
            let target = Target::Values(vec![0.0; batch.len()]);
            trainer.step(batch, target).unwrap();
            let [mean, variance] = after;
            for (parameter, values) in [("running_mean", mean), ("running_var", variance)] {
                let got = trainer.parameter(&format!("0.{parameter}")).unwrap();
                // Each step adds roundings of numbers no larger than 2.
                let expected = Expected::new(values.clone(), &[2.0; 3], (step + 1) * chain(40));
                expected.assert(&format!("{parameter}, step {step}, {device}"), &got);
            }
        }
        let before = trainer.parameter("0.running_mean").unwrap();
        y.assert(device, &trainer.predict(&x).unwrap());
        assert_bits(
            device,
            &trainer.parameter("0.running_mean").unwrap(),
            &before,
        );
    }
}
