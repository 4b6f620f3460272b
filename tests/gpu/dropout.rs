//! The kernel of src/gpu/kernels/dropout.rs, by itself and in training.

use wgpu_cnn::{DropUnit, Dropout, Linear, Loss, Model, Optimizer, Target, Trainer, cpu, ops};

use crate::common::{assert_error, bits, each_gpu, poisoned_gpus, random, tensor, uniform};
use crate::compare::{assert_bits, assert_same};

struct Case {
    name: &'static str,
    shape: &'static [usize],
    probability: f64,
    seed: u64,
    step: u64,
    layer: u32,
}

impl Case {
    fn reference(&self, x: &[f32]) -> Vec<f32> {
        let &Case {
            probability,
            seed,
            step,
            layer,
            ..
        } = self;
        let mut y = vec![0.0; x.len()];
        cpu::dropout(probability, seed, step, layer, x, &mut y).unwrap();
        y
    }
}

const CASES: [Case; 8] = [
    Case {
        name: "one number",
        shape: &[1],
        probability: 0.5,
        seed: 0,
        step: 0,
        layer: 0,
    },
    Case {
        name: "less than a block",
        shape: &[3],
        probability: 0.25,
        seed: 1,
        step: 2,
        layer: 3,
    },
    Case {
        name: "one block",
        shape: &[2, 2],
        probability: 0.5,
        seed: 1,
        step: 3,
        layer: 1,
    },
    Case {
        name: "a block begun, a seed of 64 bits",
        shape: &[257],
        probability: 0.3,
        seed: u64::MAX - 4,
        step: 1,
        layer: 7,
    },
    Case {
        name: "an image of odd sizes",
        shape: &[3, 5, 7, 9],
        probability: 0.2,
        seed: 1 << 32,
        step: 1 << 20,
        layer: 100,
    },
    Case {
        name: "most dropped",
        shape: &[2, 1031],
        probability: 0.97,
        seed: 9,
        step: 4,
        layer: 2,
    },
    Case {
        name: "next to nothing dropped",
        shape: &[2, 1031],
        probability: 1e-3,
        seed: 9,
        step: 4,
        layer: 2,
    },
    Case {
        name: "nothing dropped",
        shape: &[130],
        probability: 0.0,
        seed: 9,
        step: 4,
        layer: 2,
    },
];

fn on_gpu(gpu: &wgpu_cnn::Gpu, case: &Case, x: &[f32]) -> Vec<f32> {
    let x = tensor(gpu, case.shape, x);
    let y = ops::dropout(&x, case.probability, case.seed, case.step, case.layer);
    y.unwrap().to_vec().unwrap()
}

/// One product each, by the same mask: not a bit differs.
#[test]
fn masks_and_values_equal_the_reference_bit_by_bit() {
    for case in &CASES {
        let x = uniform(&mut random(14), case.shape.iter().product());
        let expected = case.reference(&x);
        for (device, gpu) in each_gpu() {
            let name = format!("{}, {device}", case.name);
            assert_bits(&name, &on_gpu(gpu, case, &x), &expected);
        }
    }
}

/// The mask of a run is that of the element with its number, however runs and vectors lie to each other.
#[test]
fn runs_have_the_masks_of_elements_bit_by_bit() {
    const LEN: usize = 4 * 64 + 9;
    let ones = vec![1.0; LEN];
    let mut masks = vec![0.0; LEN];
    let (seed, step, layer) = (5 << 32 | 1, 3, 2);
    cpu::dropout(0.4, seed, step, layer, &ones, &mut masks).unwrap();
    let x = uniform(&mut random(16), LEN);
    for span in [1, 2, 3, 4, 7, 8, 30, LEN, usize::MAX] {
        let expected: Vec<f32> = (0..LEN).map(|at| x[at] * masks[at / span]).collect();
        let mut y = vec![0.0; LEN];
        cpu::dropout_spans(0.4, span, seed, step, layer, &x, &mut y).unwrap();
        assert_bits(&format!("{span} on the CPU"), &y, &expected);
        for (device, gpu) in each_gpu() {
            let x = tensor(gpu, [LEN], &x);
            let y = ops::dropout_spans(&x, 0.4, span, seed, step, layer).unwrap();
            assert_bits(
                &format!("{span}, {device}"),
                &y.to_vec().unwrap(),
                &expected,
            );
        }
    }
}

/// In training, by what the loss says of a model without weights that matter.
#[test]
fn channels_examples_and_batches_are_dropped_whole() {
    let units = [DropUnit::Channel, DropUnit::Example, DropUnit::Batch];
    for (device, gpu) in poisoned_gpus().take(1) {
        for (unit, runs) in units.into_iter().zip([15, 5, 1]) {
            let model = Model::builder([3, 2, 2]);
            let model = model
                .conv2d(3, 1)
                .push(Dropout::new(0.5).unit(unit))
                .build();
            let mut trainer = Trainer::builder(model.unwrap())
                .loss(Loss::mean_squared_error())
                .optimizer(Optimizer::sgd(0.0))
                .batch(5)
                .seed(9)
                .on(gpu)
                .unwrap();
            let x = uniform(&mut random(3), 60);
            let value = trainer.predict(&x).unwrap();
            let mut dropped = 0;
            for step in 0..6 {
                trainer.step(&x, vec![0.0; 60]).unwrap();
                let mut masks = vec![0.0; runs];
                cpu::dropout(0.5, 9, step, 1, &vec![1.0; runs], &mut masks).unwrap();
                dropped += masks.iter().filter(|&&mask| mask == 0.0).count();
                let masked = value.iter().enumerate();
                let masked = masked.map(|(at, &v)| f64::from(v * masks[at * runs / 60]));
                let expected = masked.map(|v| v * v).sum::<f64>() / 60.0;
                let loss = f64::from(trainer.loss().unwrap());
                let near = (loss - expected).abs() <= 1e-6 * expected;
                assert!(near, "{unit:?} on {device}: {loss} for {expected}");
            }
            assert!((1..6 * runs).contains(&dropped), "{unit:?}");
        }
    }
}

/// In training, the batches of an update have the masks of one batch with all of their examples, a smaller
/// one counting for what it has: by what the loss says of a model without weights that matter.
#[test]
fn batches_of_an_update_have_the_masks_of_one_batch() {
    const SIZES: [usize; 5] = [3, 1, 2, 3, 3];
    // An odd number of masks an example, so that a batch begins anywhere in a block.
    let units = [
        (DropUnit::Value, 21),
        (DropUnit::Channel, 3),
        (DropUnit::Example, 1),
        (DropUnit::Batch, 1),
    ];
    let model = |unit| {
        let model = Model::builder([3, 7, 1]).conv2d(3, 1);
        model.push(Dropout::new(0.5).unit(unit)).build().unwrap()
    };
    let builder = |unit| {
        let builder = Trainer::builder(model(unit)).loss(Loss::mean_squared_error());
        let builder = builder.optimizer(Optimizer::sgd(0.0)).batch(3);
        builder.accumulate(SIZES.len()).seed(9)
    };
    let mut trainers = Vec::new();
    for (unit, masks) in units {
        trainers.push(("the CPU", unit, masks, builder(unit).on_cpu().unwrap()));
        for (device, gpu) in poisoned_gpus().take(2) {
            trainers.push((device, unit, masks, builder(unit).on(gpu).unwrap()));
        }
    }
    for (device, unit, masks, mut trainer) in trainers {
        for update in 0..3 {
            let mut all = vec![0.0; masks * SIZES.iter().sum::<usize>()];
            let ones = vec![1.0; all.len()];
            cpu::dropout(0.5, 9, update, 1, &ones, &mut all).unwrap();
            let mut before = 0;
            for examples in SIZES {
                let x = uniform(&mut random(update), 21 * examples);
                let value = trainer.predict(&x).unwrap();
                trainer.step(&x, vec![0.0; value.len()]).unwrap();
                let of = |at: usize| match unit {
                    DropUnit::Batch => 0,
                    _ => at * masks / 21,
                };
                let masked = value.iter().enumerate();
                let masked = masked.map(|(at, &v)| f64::from(v * all[before * masks + of(at)]));
                let expected = masked.map(|v| v * v).sum::<f64>() / value.len() as f64;
                let loss = f64::from(trainer.loss().unwrap());
                let near = (loss - expected).abs() <= 1e-6 * expected;
                assert!(near, "{unit:?} on {device}: {loss} for {expected}");
                before += examples;
            }
        }
    }
}

/// Five standard deviations, in numbers that do not come from the reference.
#[test]
fn the_share_that_is_dropped_is_the_probability_and_the_mean_stays() {
    const LEN: usize = 100_003;
    for probability in [0.1, 0.5, 0.9] {
        let case = Case {
            name: "ones",
            shape: &[LEN],
            probability,
            seed: 3,
            step: 5,
            layer: 1,
        };
        let spread = 5.0 * (probability * (1.0 - probability) / LEN as f64).sqrt();
        for (device, gpu) in each_gpu() {
            let y = on_gpu(gpu, &case, &[1.0; LEN]);
            let scale = (1.0 / (1.0 - probability)) as f32;
            assert!(y.iter().all(|&y| y == 0.0 || y == scale), "{device}");
            let dropped = y.iter().filter(|&&y| y == 0.0).count() as f64 / LEN as f64;
            let off = (dropped - probability).abs();
            assert!(off < spread, "{device}: {dropped} of {probability}");
            let mean = y.iter().map(|&y| f64::from(y)).sum::<f64>() / LEN as f64;
            let within = spread / (1.0 - probability) + f64::from(f32::EPSILON);
            assert!((mean - 1.0).abs() < within, "{device}: a mean of {mean}");
        }
    }
}

#[test]
fn seed_step_and_layer_each_change_the_mask() {
    let masks = [
        (1, 2, 3),
        (2, 2, 3),
        (1 << 32 | 1, 2, 3),
        (1, 3, 3),
        (1, 2, 4),
    ];
    for (device, gpu) in poisoned_gpus() {
        let x = tensor(gpu, [300], &[1.0; 300]);
        let results = masks.map(|(seed, step, layer)| {
            let y = ops::dropout(&x, 0.5, seed, step, layer).unwrap();
            bits(&y.to_vec().unwrap())
        });
        for (at, mask) in results.iter().enumerate() {
            let others = results[..at].iter();
            for other in others {
                let common = mask.iter().zip(other).filter(|(a, b)| a == b).count();
                // Half of 300, and five standard deviations.
                assert!((107..=193).contains(&common), "{device}: {common} of 300");
            }
        }
    }
}

/// The mask is multiplied with, so that what is no number stays none.
#[test]
fn nan_and_infinities_that_are_dropped_are_nan() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [nan, inf, -inf, 1.0, -0.0].repeat(40);
    let case = Case {
        name: "no numbers",
        shape: &[200],
        probability: 0.5,
        seed: 6,
        step: 0,
        layer: 0,
    };
    let expected = case.reference(&x);
    assert!(expected.contains(&inf) && expected.contains(&-inf) && expected.contains(&2.0));
    let infinities = expected.iter().zip(&x).filter(|(_, x)| x.is_infinite());
    assert!(infinities.clone().any(|(y, _)| y.is_nan()));
    for (device, gpu) in each_gpu() {
        assert_same(device, &on_gpu(gpu, &case, &x), &expected);
    }
}

/// The gradient of the bias before it is the mask times a number that is not zero.
#[test]
fn training_masks_value_and_gradient_alike_and_evaluation_does_not() {
    const FEATURES: usize = 131;
    const SEED: u64 = 77 << 32 | 5;
    let model = Model::builder([3])
        .push(Linear::new(FEATURES))
        .dropout(0.4)
        .build()
        .unwrap();
    let plain = Model::builder([3]).push(Linear::new(FEATURES));
    let plain = plain.build().unwrap();
    let x = [0.5, -1.0, 0.25];
    // Beyond what a value can be, so that no gradient but those of what is dropped is zero.
    let target = Target::Values(vec![100.0; FEATURES]);
    for (device, gpu) in each_gpu() {
        let on = |model: &Model| {
            let builder = Trainer::builder(model.clone()).batch(1).seed(SEED);
            let builder = builder.loss(Loss::mean_squared_error());
            builder.optimizer(Optimizer::sgd(0.0)).on(gpu).unwrap()
        };
        let (mut trainer, mut plain) = (on(&model), on(&plain));
        let value = plain.predict(&x).unwrap();
        assert_bits(device, &trainer.predict(&x).unwrap(), &value);
        let ones = tensor(gpu, [1, FEATURES], &[1.0; FEATURES]);
        for step in 0..3 {
            let name = format!("step {step}, {device}");
            trainer.step(&x, target.clone()).unwrap();
            let mask = ops::dropout(&ones, 0.4, SEED, step, 1).unwrap();
            let mask = mask.to_vec().unwrap();
            let gradient = trainer.gradient("0.bias").unwrap();
            let kept = |values: &[f32]| -> Vec<bool> { values.iter().map(|&v| v != 0.0).collect() };
            assert_eq!(kept(&gradient), kept(&mask), "{name}");
            // The loss tells the masked value.
            let squares = value.iter().zip(&mask).map(|(value, mask)| {
                let difference = f64::from(value * mask) - 100.0;
                difference * difference
            });
            let loss = squares.sum::<f64>() / FEATURES as f64;
            let off = (f64::from(trainer.loss().unwrap()) / loss - 1.0).abs();
            assert!(off < 1e-6, "{name}: {} for {loss}", trainer.loss().unwrap());
        }
        assert_bits(device, &trainer.predict(&x).unwrap(), &value);
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_element() {
    const LEN: usize = 4 * 64 * 32_768 + 1001;
    let case = Case {
        name: "folded",
        shape: &[LEN],
        probability: 0.5,
        seed: 1,
        step: 1,
        layer: 1,
    };
    let x = uniform(&mut random(15), LEN);
    let expected = case.reference(&x);
    for (device, gpu) in poisoned_gpus().take(1) {
        assert_bits(device, &on_gpu(gpu, &case, &x), &expected);
    }
}

#[test]
fn what_is_no_probability_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let x = tensor(gpu, [4], &[1.0; 4]);
        for probability in [1.0, -0.1, f64::NAN, f64::INFINITY] {
            let words = ["dropout probability", "0..1"];
            assert_error(ops::dropout(&x, probability, 1, 1, 1), "argument", &words);
            let runs = ops::dropout_spans(&x, probability, 2, 1, 1, 1);
            assert_error(runs, "argument", &words);
        }
        let runs = ops::dropout_spans(&x, 0.5, 0, 1, 1, 1);
        assert_error(runs, "argument", &["dropout span", "zero"]);
    }
}
