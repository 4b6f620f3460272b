//! The learning rate by a schedule, as a trainer takes it.

use wgpu_cnn::{Group, Loss, Model, Optimizer, Schedule, Trainer, TrainerBuilder};

use crate::common::each_gpu;

/// One bias, whose gradient is 2 at each step: what it changes by tells the rate.
fn builder() -> TrainerBuilder {
    let model = Model::builder([1]).dense(1).build().unwrap();
    let builder = Trainer::builder(model)
        .batch(1)
        .optimizer(Optimizer::sgd(0.5));
    builder.loss(Loss::mean_squared_error())
}

fn each_trainer(builder: &TrainerBuilder, then: impl Fn(&str, Trainer)) {
    then("cpu", builder.clone().on_cpu().unwrap());
    for (device, gpu) in each_gpu() {
        then(device, builder.clone().on(gpu).unwrap());
    }
}

/// The rate at which a step updated, where it did.
fn rate_of(trainer: &mut Trainer, then: impl FnOnce(&mut Trainer)) -> f32 {
    trainer.set_parameter("0.weight", &[0.0]).unwrap();
    trainer.set_parameter("0.bias", &[0.0]).unwrap();
    then(trainer);
    trainer.parameter("0.bias").unwrap()[0] / -2.0
}

fn step(trainer: &mut Trainer) {
    trainer.step(&[0.0], &[-1.0f32]).unwrap();
}

#[test]
fn a_rate_is_that_of_its_update_and_a_base_can_be_set() {
    each_trainer(
        &builder().schedule(Schedule::step(2, 0.5)),
        |device, mut trainer| {
            let mut rates = vec![];
            for update in 0..5 {
                if update == 4 {
                    trainer.set_learning_rate(2.0).unwrap();
                }
                let said = trainer.learning_rate();
                rates.push(rate_of(&mut trainer, step));
                assert_eq!(f64::from(rates[update as usize]), said, "{device}");
                assert_eq!(trainer.updates(), update + 1);
            }
            assert_eq!(rates, [0.5, 0.5, 0.25, 0.25, 0.5], "{device}");
        },
    );
}

#[test]
fn groups_go_each_from_a_base_of_their_own() {
    let builder = builder()
        .schedule(Schedule::exponential(0.5))
        .group(Group::new("0.weight").learning_rate(2.0))
        .group(Group::new("0.bias").rate_factor(0.5));
    each_trainer(&builder, |device, mut trainer| {
        for (update, expected) in [(0, [2.0, 0.25]), (1, [1.0, 0.125]), (2, [0.5, 0.25])] {
            if update == 2 {
                trainer.set_learning_rate(2.0).unwrap();
            }
            for name in ["0.weight", "0.bias"] {
                trainer.set_parameter(name, &[0.0]).unwrap();
            }
            trainer.step(&[1.0], &[-1.0f32]).unwrap();
            let changes = ["0.weight", "0.bias"].map(|name| trainer.parameter(name).unwrap()[0]);
            assert_eq!(
                changes.map(|change| change / -2.0),
                expected,
                "{device}, {update}"
            );
        }
    });
}

#[test]
fn batches_of_one_update_have_one_rate() {
    let builder = builder().schedule(Schedule::exponential(0.5)).accumulate(3);
    each_trainer(&builder, |device, mut trainer| {
        let rates = [0.5, 0.25, 0.125].map(|expected| {
            let rate = rate_of(&mut trainer, |trainer| {
                for _ in 0..3 {
                    assert_eq!(trainer.learning_rate(), expected);
                    step(trainer);
                }
            });
            assert_eq!(f64::from(rate), expected, "{device}");
            rate
        });
        assert_eq!(rates.len() as u64, trainer.updates());
        // An update before its time is one, and an empty one is none.
        let rate = rate_of(&mut trainer, |trainer| {
            step(trainer);
            trainer.update().unwrap();
            trainer.update().unwrap();
        });
        assert_eq!((rate, trainer.updates()), (0.0625, 4), "{device}");
    });
}

#[test]
fn a_rate_that_no_optimizer_takes_ends_the_training_before_the_update() {
    let falls = |update: u64| 1.0 - update as f64;
    let builder = builder().schedule(Schedule::function(falls));
    each_trainer(&builder, |device, mut trainer| {
        step(&mut trainer);
        step(&mut trainer);
        let before = trainer.parameter("0.bias").unwrap();
        let error = trainer.step(&[0.0], &[-1.0f32]).unwrap_err().to_string();
        assert!(error.contains("update 2"), "{device}: {error}");
        assert_eq!(trainer.parameter("0.bias").unwrap(), before, "{device}");
        assert_eq!(trainer.updates(), 2);
    });
    assert!(
        self::builder()
            .schedule(Schedule::step(0, 0.5))
            .on_cpu()
            .is_err()
    );
}
