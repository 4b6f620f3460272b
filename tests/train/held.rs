//! Steps in three calls between trainers, on the device and by way of the host.

use wgpu_cnn::{
    Activation, Add, BatchNorm, Flatten, Gpu, Held, Linear, Loss, Losses, Model, Optimizer,
    Reduction, Target, Trainer, TrainerBuilder,
};

use crate::common::{assert_error, bits, plain_gpu, poisoned_gpus, random, state, uniform};

const BATCH: usize = 4;

fn generator() -> Model {
    let builder = Model::builder([6]).dense(2 * 3 * 3).reshape([2, 3, 3]);
    let builder = builder.push(wgpu_cnn::ConvTranspose2d::new(3, 3).stride(2));
    builder
        .batch_norm()
        .relu()
        .conv2d(1, 2)
        .tanh()
        .build()
        .unwrap()
}

fn discriminator() -> Model {
    let builder = Model::builder([1, 6, 6]).conv2d(4, 3).batch_norm();
    builder
        .leaky_relu(0.2)
        .dropout(0.3)
        .flatten()
        .dense(1)
        .build()
        .unwrap()
}

fn own(model: Model) -> TrainerBuilder {
    let builder = Trainer::builder(model)
        .loss(Losses::own_first())
        .batch(BATCH);
    builder
        .optimizer(Optimizer::sgd(0.05).momentum(0.9))
        .seed(1)
}

fn made(builder: TrainerBuilder, gpu: Option<&Gpu>) -> Trainer {
    match gpu {
        Some(gpu) => builder.on(gpu).unwrap(),
        None => builder.on_cpu().unwrap(),
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The gradient of the mean binary cross-entropy of verdicts that should all be `label`.
fn gradient(verdicts: &[f32], label: f32) -> Vec<f32> {
    let count = verdicts.len() as f32;
    verdicts
        .iter()
        .map(|&x| (sigmoid(x) - label) / count)
        .collect()
}

/// A generator and a discriminator, trained for some rounds: with what they hand to each other held where
/// they compute, or by way of the host.
fn adversaries(gpu: Option<&Gpu>, by_host: bool, rounds: usize) -> [Vec<Vec<u32>>; 2] {
    let mut g = made(own(generator()), gpu);
    let mut d = made(
        own(discriminator()).accumulate(2).input_gradients(true),
        gpu,
    );
    let mut rng = random(4);
    for round in 0..rounds {
        // The last batch is smaller.
        let count = if round + 1 == rounds {
            BATCH - 1
        } else {
            BATCH
        };
        let real = uniform(&mut rng, count * 36);
        let noise = uniform(&mut rng, count * 6);
        let noise = g.hold([count, 6], &noise).unwrap();
        let images = g.forward_held(&[&noise]).unwrap().swap_remove(0).1;
        let images = match by_host {
            true => d.hold([count, 1, 6, 6], &images.to_vec().unwrap()).unwrap(),
            false => images,
        };
        assert_eq!(images.shape().to_vec(), [count, 1, 6, 6]);
        // What the discriminator learns: real ones, then made ones.
        let verdict = d.forward(&real).unwrap().swap_remove(0).1;
        d.backward([&gradient(&verdict, 1.0)]).unwrap();
        let verdict = d.forward_held(&[&images]).unwrap().swap_remove(0).1;
        let verdict = verdict.to_vec().unwrap();
        // What the generator learns from the same pass: nothing of it is the discriminator's.
        let hold = |d: &Trainer, values: &[f32]| -> Held { d.hold([count, 1], values).unwrap() };
        let fooled = hold(&d, &gradient(&verdict, 1.0));
        d.backward_inputs(&[&fooled]).unwrap();
        let mut wish = d.input_gradient(0).unwrap();
        let seen = hold(&d, &gradient(&verdict, 0.0));
        d.backward_held(&[&seen]).unwrap();
        d.update().unwrap();
        if by_host {
            wish = g.hold([count, 1, 6, 6], &wish.to_vec().unwrap()).unwrap();
        }
        g.backward_held(&[&wish]).unwrap();
        g.update().unwrap();
    }
    [state(&g), state(&d)]
}

#[test]
fn adversaries_learn_the_same_by_the_device_as_by_the_host() {
    for (device, gpu) in poisoned_gpus().chain(plain_gpu().map(|gpu| ("plain", gpu))) {
        let [g, d] = adversaries(Some(gpu), false, 4);
        assert!([g, d] == adversaries(Some(gpu), true, 4), "{device}");
    }
    assert!(adversaries(None, false, 4) == adversaries(None, true, 4));
}

#[test]
fn adversaries_learn_the_same_on_gpu_and_cpu() {
    let Some(gpu) = plain_gpu() else { return };
    let [there, here] = [Some(gpu), None].map(|gpu| adversaries(gpu, false, 3));
    for (a, b) in there.iter().flatten().zip(here.iter().flatten()) {
        for (a, b) in a.iter().zip(b) {
            let [a, b] = [a, b].map(|&bits| f32::from_bits(bits));
            assert!((a - b).abs() <= 2e-3 * b.abs().max(1.0), "{a} and {b}");
        }
    }
}

#[test]
fn a_way_back_to_the_inputs_leaves_training_as_it_was() {
    let Some(gpu) = plain_gpu() else { return };
    for gpu in [Some(gpu), None] {
        let mut rng = random(9);
        let x = uniform(&mut rng, BATCH * 36);
        let run = |detours: usize| {
            let mut d = made(own(discriminator()).input_gradients(true), gpu);
            let mut seen = Vec::new();
            for _ in 0..3 {
                let verdict = d.forward(&x).unwrap().swap_remove(0).1;
                for _ in 0..detours {
                    let up = d.hold([BATCH, 1], &[1.0; BATCH]).unwrap();
                    d.backward_inputs(&[&up]).unwrap();
                    seen.push(bits(&d.input_gradient(0).unwrap().to_vec().unwrap()));
                }
                d.backward([&gradient(&verdict, 1.0)]).unwrap();
                d.update().unwrap();
            }
            (state(&d), seen)
        };
        let [(without, _), (with, seen)] = [run(0), run(2)];
        assert!(without == with);
        assert!(seen[0] == seen[1] && seen[0] != seen[2]);
        assert!(seen[0].iter().any(|&bits| bits != 0));
        // Of ones it is what a whole way back with ones leaves.
        let mut d = made(own(discriminator()).input_gradients(true), gpu);
        d.forward(&x).unwrap();
        d.backward([&[1.0; BATCH]]).unwrap();
        let whole = d.input_gradient(0).unwrap().to_vec().unwrap();
        assert_eq!(bits(&whole), seen[0]);
    }
}

/// Labels, values, options: what a trainer does with such a loss of its own and what it does with the library's
/// are the same bits.
#[test]
fn a_loss_of_held_outputs_is_that_of_a_step() {
    let Some(gpu) = plain_gpu() else { return };
    let labels = Target::from([2i64, -100, 0, 1]);
    let values = Target::Values(uniform(&mut random(2), BATCH * 3));
    let losses: [(Loss, Target); 4] = [
        (
            Loss::cross_entropy()
                .class_weights([0.5, 2.0, 1.0])
                .ignored_label(-100)
                .into(),
            labels,
        ),
        (
            Loss::binary_cross_entropy()
                .positive_weights([3], [0.5, 2.0, 1.0])
                .into(),
            values.clone(),
        ),
        (Loss::huber(0.3).reduction(Reduction::Sum), values.clone()),
        (Loss::mean_squared_error(), values),
    ];
    let model = || {
        let builder = Model::builder([1, 6, 6]).conv2d(2, 3).relu();
        builder.flatten().dense(3).build().unwrap()
    };
    for ((device, gpu), (loss, target)) in [("gpu", Some(gpu)), ("cpu", None)]
        .into_iter()
        .flat_map(|device| losses.iter().map(move |loss| (device, loss)))
    {
        let mut rng = random(3);
        let mut by_step = made(own(model()).loss(loss.clone()), gpu);
        let mut by_hand = made(own(model()), gpu);
        for _ in 0..3 {
            let x = uniform(&mut rng, BATCH * 36);
            by_step.step(&x, target.clone()).unwrap();
            let x = by_hand.hold([BATCH, 1, 6, 6], &x).unwrap();
            let outputs = by_hand.forward_held(&[&x]).unwrap().swap_remove(0).1;
            let (value, gradient) = outputs.loss(target.clone(), loss.clone()).unwrap();
            assert_eq!(value.shape().to_vec(), [1]);
            assert_eq!(gradient.shape(), outputs.shape());
            by_hand.backward_held(&[&gradient]).unwrap();
            by_hand.update().unwrap();
            let value = value.to_vec().unwrap();
            assert!(
                bits(&value) == bits(&[by_step.loss().unwrap()]),
                "{loss:?} on {device}"
            );
        }
        assert!(state(&by_step) == state(&by_hand), "{loss:?} on {device}");
        let outputs = by_hand.hold([BATCH, 3], &[0.5; 3 * BATCH]).unwrap();
        let short = outputs.loss(vec![0.5; 5], Loss::mean_squared_error());
        assert_error(short, "shape", &["target"]);
        let beyond = outputs.loss([0u8, 1, 2, 3], Loss::cross_entropy());
        assert_error(beyond, "argument", &["3"]);
    }
}

#[test]
fn what_runs_between_forward_and_backward_ends_the_forward_pass() {
    let Some(gpu) = plain_gpu() else { return };
    for gpu in [Some(gpu), None] {
        let x = vec![0.5; BATCH * 36];
        let mut d = made(own(discriminator()).input_gradients(true), gpu);
        let held = d.hold([BATCH, 1], &[1.0; BATCH]).unwrap();
        let needs = |result: Result<(), wgpu_cnn::Error>| {
            assert_error(result, "argument", &["forward pass just before"]);
        };
        needs(d.backward_held(&[&held]));
        assert_error(d.input_gradient(0), "argument", &["way back"]);
        d.forward(&x).unwrap();
        d.predict(&x).unwrap();
        needs(d.backward_held(&[&held]));
        needs(d.backward_inputs(&[&held]));
        d.forward(&x).unwrap();
        d.backward_held(&[&held]).unwrap();
        needs(d.backward_inputs(&[&held]));
    }
}

#[test]
fn what_is_held_elsewhere_or_does_not_fit_is_an_error() {
    let Some(gpu) = plain_gpu() else { return };
    let mut there = made(own(discriminator()), Some(gpu));
    let mut here = made(own(discriminator()), None);
    let [x, y] = [&there, &here].map(|d| d.hold([2, 1, 6, 6], &[0.5; 72]).unwrap());
    assert_error(there.forward_held(&[&y]), "argument", &["elsewhere"]);
    assert_error(here.forward_held(&[&x]), "argument", &["elsewhere"]);
    assert_error(there.forward_held(&[]), "shape", &["inputs"]);
    let many = there
        .hold([BATCH + 1, 36], &[0.0; 36 * (BATCH + 1)])
        .unwrap();
    assert_error(there.forward_held(&[&many]), "shape", &["1 to 4"]);
    let odd = there.hold([2, 35], &[0.0; 70]).unwrap();
    assert_error(there.forward_held(&[&odd]), "shape", &["input"]);
    assert_error(there.hold([2, 2], &[0.0; 3]), "shape", &["held"]);
    assert_error(here.hold([0, 2], &[]), "shape", &["held"]);
    there.forward_held(&[&x]).unwrap();
    assert_error(there.backward_held(&[&x]), "shape", &["gradient"]);
    let one = there.hold([2, 1], &[1.0; 2]).unwrap();
    assert_error(
        there.backward_inputs(&[&one]),
        "argument",
        &["input_gradients"],
    );
    assert_error(there.input_gradient(0), "argument", &["input_gradients"]);
    assert_error(there.input_gradient(1), "argument", &["input 1"]);
    assert_error(here.input_gradient(0), "argument", &["input_gradients"]);
}

/// A sum and an activation that are part of a normalisation of what is constant: of the norm nothing is asked
/// where the gradients of the inputs alone are, and the gradient of the other value goes through all the same.
#[test]
fn the_gradient_of_an_input_goes_through_what_is_fused_into_a_constant_branch() {
    for activation in [Activation::Gelu, Activation::Relu, Activation::Silu] {
        let mut net = Model::graph();
        let x = net.input([3, 4, 4]);
        let values: Vec<f32> = (0..48).map(|at| (at as f32).sin()).collect();
        let fixed = net.constant("fixed", [3, 4, 4], values).unwrap();
        let normed = net.add("norm", BatchNorm::new(), [fixed]).unwrap();
        let sum = net.apply(Add, [normed, x]).unwrap();
        let y = net.apply(activation, [sum]).unwrap();
        let y = net.apply(Flatten, [y]).unwrap();
        let y = net.add("fc", Linear::new(2), [y]).unwrap();
        let model = net.build([y]).unwrap();
        let (x, gy) = (
            uniform(&mut random(8), BATCH * 48),
            [0.5, -1.0].repeat(BATCH),
        );
        let both = |gpu: Option<&Gpu>| {
            let mut trainer = made(own(model.clone()).input_gradients(true), gpu);
            let x = trainer.hold([BATCH, 3, 4, 4], &x).unwrap();
            trainer.forward_held(&[&x]).unwrap();
            let gy = trainer.hold([BATCH, 2], &gy).unwrap();
            trainer.backward_inputs(&[&gy]).unwrap();
            let alone = trainer.input_gradient(0).unwrap().to_vec().unwrap();
            trainer.backward_held(&[&gy]).unwrap();
            [alone, trainer.input_gradient(0).unwrap().to_vec().unwrap()]
        };
        let [expected, _] = both(None);
        for (device, gpu) in poisoned_gpus() {
            for got in both(Some(gpu)) {
                let mut pairs = got.iter().zip(&expected);
                let near = pairs.all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "{activation:?} on {device}: {got:?}, {expected:?}");
            }
        }
    }
}
