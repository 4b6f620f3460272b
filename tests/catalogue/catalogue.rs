//! Everything in the catalogue, on the GPU: each case of each operator by itself, with an activation
//! after it and in half precision, and each model in training. A new operator is tested here from its
//! cases alone.

use wgpu_cnn::engine::catalogue::{Case, ModelCase, models};
use wgpu_cnn::{Activation, Gpu, Loss, Model, Optimizer, Target, Trainer, TrainerBuilder};

use crate::cases::chosen;
use crate::common::{child, digest, labels, plain_gpu, poisoned_gpus, random, state, uniform};

/// A case by itself, or with this activation after it.
fn model(case: &Case, after: Option<Activation>) -> Model {
    let model = match after {
        Some(function) => case.model_before(function),
        None => case.model(),
    };
    model.unwrap_or_else(|error| panic!("{}, {}: {error}", case.op.name(), case.name))
}

/// Which of a case's two models are tried, by the number of the case: without an activation after it, and
/// with one.
type Which = fn(usize) -> &'static [bool];

/// Runs the verifier over every case's own plan.
fn clean(gpu: &'static Gpu, device: &str, half: bool, which: Which) {
    let activations = Activation::ALL.into_iter().cycle();
    for (at, (case, function)) in chosen().iter().zip(activations).enumerate() {
        for &fused in which(at) {
            let after = fused.then_some(function);
            let builder = Trainer::builder(model(case, after))
                .loss(Loss::mean_squared_error())
                .batch(case.batch)
                .half_precision(half);
            let report = builder.on(gpu).unwrap().verify().unwrap();
            let (operator, name) = (case.op.name(), case.name);
            assert!(
                report.passed(),
                "{operator}, {name}, {after:?} on {device}, half {half}: {report}"
            );
            // By itself, or as a part of the layer before; a view has no kernels.
            let fused = format!("+ {operator}");
            let is_it =
                |layer: &str| layer.starts_with("layer operator ") || layer.ends_with(&fused);
            let views = ["flatten", "reshape"].contains(&operator);
            let mut checks = report.checks.iter();
            assert!(
                views || checks.any(|check| is_it(&check.layer)),
                "{operator}, {name}: {report}"
            );
        }
    }
}

#[test]
fn every_case_is_clean_whatever_is_asked_of_its_gradients() {
    let Some((device, gpu)) = poisoned_gpus().next() else {
        return;
    };
    for case in chosen() {
        for (at, model) in case.models_around().unwrap().into_iter().enumerate() {
            let builder = Trainer::builder(model)
                .loss(Loss::mean_squared_error())
                .batch(case.batch);
            let report = builder.on(gpu).unwrap().verify().unwrap();
            let (operator, name) = (case.op.name(), case.name);
            assert!(
                report.passed(),
                "{operator}, {name}, {at} on {device}: {report}"
            );
        }
    }
}

#[test]
fn every_case_of_every_operator_is_clean() {
    // The second device has other cores, and the same epilogues. Without an activation after it each case is tried on
    // the first one where something else is asked of its gradients.
    let which: [Which; 2] = [|_| &[true], |_| &[false]];
    for ((device, gpu), which) in poisoned_gpus().zip(which) {
        clean(gpu, device, false, which);
    }
}

#[test]
fn every_case_of_every_operator_is_clean_in_half_precision() {
    let Some((device, gpu)) = poisoned_gpus().next() else {
        return;
    };
    if gpu.has_half_precision() {
        clean(gpu, device, true, |at| [&[false], &[true]][at % 2]);
    } else {
        eprintln!("skipped: no device with SHADER_F16");
    }
}

fn trainer(case: &ModelCase) -> TrainerBuilder {
    Trainer::builder(case.model.clone())
        .loss(case.loss.clone())
        .batch(case.batch)
        .optimizer(Optimizer::sgd(0.05).momentum(0.9))
        .seed(9)
}

/// The same batch for every step of a number.
fn data(case: &ModelCase, step: u64) -> (Vec<f32>, Target) {
    let (input, output) = (case.model.input_shape(), case.model.output_shape());
    let mut rng = random(71 + step);
    let x = uniform(&mut rng, case.batch * input.len());
    let target = match case.loss {
        Loss::CrossEntropy(_) => {
            let classes = output.len() as u32;
            Target::from(&labels(&mut rng, case.batch, classes)[..])
        }
        _ => Target::from(&uniform(&mut rng, case.batch * output.len())[..]),
    };
    (x, target)
}

/// The first step's loss and gradients: later ones hang on what rounding did to the weights.
#[test]
fn every_model_has_the_gradients_of_the_reference() {
    for (device, gpu) in poisoned_gpus() {
        for case in models().unwrap() {
            let (x, target) = data(&case, 0);
            let mut sides = [
                trainer(&case).on(gpu).unwrap(),
                trainer(&case).on_cpu().unwrap(),
            ];
            for side in &mut sides {
                side.step(&x, target.clone()).unwrap();
            }
            let [got, expected] = sides.each_ref().map(|side| side.loss().unwrap());
            let name = format!("{} on {device}", case.name);
            let near = (got - expected).abs() <= 1e-5 * expected.abs();
            assert!(near, "{name}: loss {got}, the reference's {expected}");
            let parameters = case.model.parameters();
            let learned = parameters
                .filter(|(name, _)| !name.contains("running") && !name.contains("num_batches"));
            for (parameter, _) in learned {
                let gradients = sides
                    .each_ref()
                    .map(|side| side.gradient(parameter).unwrap());
                let [got, expected] = gradients;
                let largest = expected.iter().fold(0f32, |most, g| most.max(g.abs()));
                let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs());
                // A NaN fails the comparison, and stays.
                let worst = worst.fold(0f32, |most, d| if d <= most { most } else { d });
                let near = worst <= 1e-3 * largest.max(1e-4);
                assert!(near, "{name}: {parameter} is off by {worst} of {largest}");
            }
        }
    }
}

/// What a child process is told to print.
const CHILD: &str = "WGPU_CNN_TEST_CATALOGUE";

fn bits_of_every_model(gpu: &Gpu) -> Vec<String> {
    let bits = models().unwrap().into_iter().map(|case| {
        let mut trainer = trainer(&case).on(gpu).unwrap();
        for step in 0..4 {
            let (x, target) = data(&case, step);
            trainer.step(&x, target).unwrap();
        }
        format!("{}: {}", case.name, digest(&state(&trainer)))
    });
    bits.collect()
}

#[test]
fn every_model_gives_the_same_bits_in_every_process() {
    let Some(gpu) = plain_gpu() else { return };
    let here = bits_of_every_model(gpu);
    if std::env::var(CHILD).is_ok() {
        here.iter().for_each(|line| println!("{line}"));
        return;
    }
    let test = "catalogue::every_model_gives_the_same_bits_in_every_process";
    let output = child(test, &[(CHILD, "1"), ("LP_NUM_THREADS", "1")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for line in here {
        assert!(
            said.contains(&line),
            "{line} here; in another process {said}"
        );
    }
}
