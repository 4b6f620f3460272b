//! Whole training steps, GPU against CPU reference.

mod cases;

pub use cases::{Case, cases};

use wgpu_cnn::engine::Reference;
use wgpu_cnn::{Gpu, Loss, Model, Optimizer, Target, Trainer};

use crate::common::{
    assert_error, bits, child, digest, plain_gpu, poisoned_gpus, random, state, wide,
};
use crate::compare::Expected;

/// What f64 says, and how far f32 may be from it: some times as far as the reference itself is when
/// it computes in f32, and what the built-in functions are off.
fn expected(exact: &[f64], rounded: &[f32], accuracy: f64) -> Expected {
    let apart = exact
        .iter()
        .zip(rounded)
        .map(|(a, &b)| (a - f64::from(b)).abs());
    let rounding = apart.fold(0.0, f64::max);
    let largest = exact.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let tolerance = 64.0 * rounding + 4.0 * accuracy * largest + f64::from(f32::MIN_POSITIVE);
    Expected {
        values: exact.to_vec(),
        tolerances: vec![tolerance; exact.len()],
    }
}

/// A trainer beside the reference in f64 and in f32.
pub struct Race {
    name: String,
    pub trainer: Trainer,
    pub exact: Reference<f64>,
    pub rounded: Reference<f32>,
    accuracy: f64,
}

impl Race {
    fn new(case: &Case, device: &str, gpu: &Gpu) -> Self {
        Self::of(case, device, case.trainer(gpu))
    }

    pub fn of(case: &Case, device: &str, trainer: Trainer) -> Self {
        Self {
            name: format!("{}, {device}", case.name),
            trainer,
            exact: case.reference(),
            rounded: case.reference(),
            accuracy: case.accuracy,
        }
    }

    /// One step of each, with losses compared.
    pub fn step(&mut self, what: &str, (x, target): &(Vec<f32>, Target)) {
        self.trainer.step(x, target.clone()).unwrap();
        let exact = self.exact.step(&wide(x), target).unwrap();
        let rounded = self.rounded.step(x, target).unwrap();
        let expected = expected(&[exact], &[rounded], self.accuracy);
        expected.assert(
            &format!("{}, loss, {what}", self.name),
            &[self.trainer.loss().unwrap()],
        );
    }

    pub fn assert_gradients(&self, what: &str) {
        for (name, _) in self.trainer.model().parameters() {
            let (exact, rounded) = (self.exact.gradient(name), self.rounded.gradient(name));
            let expected = expected(exact.unwrap(), rounded.unwrap(), self.accuracy);
            let got = self.trainer.gradient(name).unwrap();
            expected.assert(&format!("{}, gradient of {name}, {what}", self.name), &got);
        }
    }

    pub fn assert_parameters(&self, what: &str) {
        for (name, _) in self.trainer.model().parameters() {
            let (exact, rounded) = (self.exact.parameter(name), self.rounded.parameter(name));
            let expected = expected(exact.unwrap(), rounded.unwrap(), self.accuracy);
            let got = self.trainer.parameter(name).unwrap();
            expected.assert(&format!("{}, {name}, {what}", self.name), &got);
        }
    }
}

#[test]
fn ten_steps_equal_the_reference() {
    for case in &cases() {
        for (device, gpu) in poisoned_gpus() {
            let mut race = Race::new(case, device, gpu);
            let mut rng = random(21);
            race.step("step 1", &case.data(&mut rng, case.batch));
            race.assert_gradients("step 1");
            for step in 2..=10 {
                race.step(&format!("step {step}"), &case.data(&mut rng, case.batch));
            }
            race.assert_parameters("step 10");
        }
    }
}

#[test]
fn a_smaller_batch_is_a_batch_of_its_own_size() {
    for case in &cases() {
        let few = case.batch / 2;
        for (device, gpu) in poisoned_gpus() {
            let mut rng = random(22);
            let mut race = Race::new(case, device, gpu);
            let data = case.data(&mut rng, few);
            race.step("a smaller batch", &data);
            race.assert_gradients("a smaller batch");
            let planned_for_few = Case {
                batch: few,
                model: case.model.clone(),
                loss: case.loss.clone(),
                ..*case
            };
            let mut other = planned_for_few.trainer(gpu);
            other.step(&data.0, data.1).unwrap();
            for (name, _) in case.model.parameters() {
                let of = |trainer: &Trainer| trainer.gradient(name).unwrap();
                let (here, there) = (of(&race.trainer), of(&other));
                let expected = expected(&wide(&there), &there, f64::from(f32::EPSILON) * 8.0);
                expected.assert(&format!("{}, gradient of {name}", race.name), &here);
            }
            race.step("a full batch after it", &case.data(&mut rng, case.batch));
            race.assert_gradients("a full batch after it");
            race.step("one example", &case.data(&mut rng, 1));
            race.assert_gradients("one example");
        }
    }
}

#[test]
fn soft_and_hard_labels_take_turns() {
    let case = &cases()[0];
    for (device, gpu) in poisoned_gpus() {
        let mut race = Race::new(case, device, gpu);
        let mut rng = random(23);
        for step in 0..4 {
            let (x, hard) = case.data(&mut rng, case.batch);
            let soft = (0..case.batch * 10).map(|_| rng.f32() / 5.0).collect();
            let target = if step % 2 == 0 {
                Target::Values(soft)
            } else {
                hard
            };
            race.step(&format!("step {step}"), &(x, target));
            race.assert_gradients(&format!("step {step}"));
        }
    }
}

#[test]
fn initial_weights_are_the_same_bits_everywhere() {
    for case in &cases() {
        let builder = || {
            Trainer::builder(case.model.clone())
                .loss(case.loss.clone())
                .seed(77)
        };
        let cpu = builder().on_cpu().unwrap();
        for (device, gpu) in poisoned_gpus() {
            let gpu = builder().on(gpu).unwrap();
            for (name, _) in case.model.parameters() {
                let of = |trainer: &Trainer| bits(&trainer.parameter(name).unwrap());
                assert_eq!(of(&gpu), of(&cpu), "{}, {name}, {device}", case.name);
            }
        }
    }
}

#[test]
fn predictions_do_not_depend_on_how_many_are_asked_for() {
    for case in &cases() {
        let example = case.model.input_shape().len();
        let x = case.data(&mut random(24), 3 * case.batch + 1).0;
        let exact = case.reference::<f64>().forward(&wide(&x)).unwrap();
        let rounded = case.reference::<f32>().forward(&x).unwrap();
        for (device, gpu) in poisoned_gpus() {
            let name = format!("{}, {device}", case.name);
            let mut trainer = case.trainer(gpu);
            let all = trainer.predict(&x).unwrap();
            expected(&exact, &rounded, case.accuracy).assert(&name, &all);
            for examples in [1, 2, case.batch] {
                let parts = x.chunks(examples * example).take(5);
                let parts: Vec<f32> = parts.flat_map(|x| trainer.predict(x).unwrap()).collect();
                assert_eq!(
                    bits(&parts),
                    bits(&all[..parts.len()]),
                    "{name}, {examples}"
                );
            }
        }
    }
}

#[test]
fn predictions_leave_the_training_alone() {
    let case = &cases()[0];
    for (device, gpu) in poisoned_gpus() {
        let (mut with, mut without) = (case.trainer(gpu), case.trainer(gpu));
        let mut rng = random(25);
        for _ in 0..3 {
            let (x, target) = case.data(&mut rng, case.batch);
            with.step(&x, target.clone()).unwrap();
            with.predict(&x).unwrap();
            without.step(&x, target).unwrap();
            assert_eq!(with.loss().unwrap(), without.loss().unwrap(), "{device}");
        }
        assert_eq!(state(&with), state(&without), "{device}");
    }
}

/// The bits of all parameters after some steps.
fn train(case: &Case, gpu: &Gpu) -> Vec<Vec<u32>> {
    let mut trainer = case.trainer(gpu);
    let mut rng = random(26);
    for _ in 0..5 {
        let (x, target) = case.data(&mut rng, case.batch);
        trainer.step(&x, target).unwrap();
    }
    state(&trainer)
}

#[test]
fn two_trainings_with_one_seed_give_the_same_bits() {
    for case in &cases() {
        for (device, gpu) in poisoned_gpus() {
            assert_eq!(
                train(case, gpu),
                train(case, gpu),
                "{}, {device}",
                case.name
            );
        }
    }
}

#[test]
fn a_training_that_has_diverged_is_told_and_stays_so() {
    let Some(gpu) = plain_gpu() else { return };
    let builder = || {
        let model = Model::builder([2]).dense(1).build().unwrap();
        let builder = Trainer::builder(model).loss(Loss::mean_squared_error());
        builder.batch(1).optimizer(Optimizer::sgd(1e20))
    };
    for mut trainer in [builder().on(gpu).unwrap(), builder().on_cpu().unwrap()] {
        assert_error(trainer.is_finite(), "argument", &["no step"]);
        for expected in [true, false, false] {
            trainer.step(&[1.0, 2.0], &[3.0f32]).unwrap();
            assert_eq!(trainer.is_finite(), Ok(expected));
        }
    }
}

const CHILD: &str = "WGPU_CNN_TEST_CHILD";

/// In a child process this is the first thing that the process does on the device.
#[test]
fn the_first_step_of_a_process_is_right_and_its_bits_are_those_of_any_process() {
    let Some(gpu) = plain_gpu() else { return };
    let case = &cases()[0];
    if std::env::var(CHILD).is_ok() {
        let mut race = Race::new(case, "a new process", gpu);
        race.step("first step", &case.data(&mut random(27), case.batch));
        race.assert_gradients("first step");
        race.assert_parameters("first step");
        println!("{}", digest(&train(case, gpu)));
        return;
    }
    let here = digest(&train(case, gpu));
    for _ in 0..2 {
        let name = "the_first_step_of_a_process_is_right_and_its_bits_are_those_of_any_process";
        let output = child(&format!("training::{name}"), &[(CHILD, "1")]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains(&here),
            "{here}, but in a process of its own: {said}"
        );
    }
}
