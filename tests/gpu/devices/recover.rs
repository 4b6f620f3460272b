//! A training goes on after its device was lost.

use wgpu_cnn::{Error, Losses, Optimizer, Result, Trainer, TrainerBuilder};

use super::lost::{device, temporary, within_minutes};
use super::model;
use crate::common::{assert_error, plain_gpu, random, state, uniform};

const STEPS: usize = 8;

fn builder() -> TrainerBuilder {
    let builder = Trainer::builder(model()).batch(4).accumulate(2).seed(3);
    builder.optimizer(Optimizer::adam(0.01)).checkpoint_every(3)
}

/// A batch; the rate changes on the way.
fn step(trainer: &mut Trainer, number: usize) -> Result<()> {
    let x = uniform(&mut random(number as u64), 4 * 36);
    if number == 4 {
        trainer.set_learning_rate(0.005)?;
    }
    trainer.set_data_place([number as u8]);
    trainer.step(&x, &[0u8, 1, 2, 0])?;
    let loss = trainer.loss()?.into();
    trainer.record([("loss", loss)])
}

/// As a program trains that looks after its device, which is lost before these steps, the first time that it
/// comes to them. Its devices are all of this crate's making, or all of the program's: these have other kernels.
fn train(
    builder: TrainerBuilder,
    own: bool,
    losses: &[usize],
    step: fn(&mut Trainer, usize) -> Result<()>,
) -> (Vec<Vec<u32>>, usize) {
    let (mut gpu, mut recovered, mut lost) = (device(own), 0, 0);
    let mut trainer = builder.on(&gpu).unwrap();
    let mut number = 0;
    while number < STEPS {
        if losses.get(lost) == Some(&number) {
            lost += 1;
            gpu.device().destroy();
        }
        match step(&mut trainer, number) {
            Err(Error::DeviceLost { .. }) => {
                gpu = device(own);
                let next = trainer.recover(&gpu).unwrap();
                assert!(
                    next <= number as u64 && next.is_multiple_of(3),
                    "{next} for {number}"
                );
                assert_eq!(next, trainer.batches());
                (number, recovered) = (next as usize, recovered + 1);
            }
            done => {
                done.unwrap();
                number += 1;
            }
        }
    }
    assert_eq!(trainer.batches(), STEPS as u64);
    // A row of each step, and no step twice.
    let rows = trainer.log().rows().iter();
    let rows: Vec<_> = rows.map(|row| (row.batch, row.examples)).collect();
    let expected = (1..=STEPS as u64).map(|batch| (batch, 4 * batch));
    assert_eq!(rows, expected.collect::<Vec<_>>(), "lost before {losses:?}");
    (state(&trainer), recovered)
}

#[test]
fn a_device_that_is_lost_at_any_step_leaves_no_trace() {
    if plain_gpu().is_none() {
        return;
    }
    within_minutes(|| {
        let file = temporary("recover.safetensors");
        let expected = [true, false].map(|own| train(builder(), own, &[], step).0);
        for at in 0..STEPS {
            let theirs = at % 4 / 2;
            let builder = match at {
                1 | 3 => builder().checkpoint_every_to(3, &file),
                5 | 7 => builder().checkpoint_every_with(3, |_| {}),
                _ => builder(),
            };
            // Every second time the new device is lost too.
            let losses = &[at, (at + 1).min(STEPS - 1)][..1 + at % 2];
            let (state, recovered) = train(builder, theirs == 0, losses, step);
            assert_eq!(recovered, losses.len(), "lost at {at}");
            assert!(state == expected[theirs], "lost at {at}: other bits");
        }
        std::fs::remove_file(file).unwrap();
    });
}

/// Three calls a step.
fn own_step(trainer: &mut Trainer, number: usize) -> Result<()> {
    let x = uniform(&mut random(number as u64), 4 * 36);
    let outputs = trainer.forward(&x)?;
    let gradient: Vec<f32> = outputs[0].1.iter().map(|y| y.tanh()).collect();
    trainer.backward([&gradient])?;
    trainer.update()?;
    trainer.record([("first", outputs[0].1[0].into())])
}

#[test]
fn a_loss_of_ones_own_is_recovered_with_its_updates() {
    if plain_gpu().is_none() {
        return;
    }
    within_minutes(|| {
        let builder = || builder().accumulate(1).loss(Losses::own_first());
        let (expected, _) = train(builder(), true, &[], own_step);
        let (state, recovered) = train(builder(), true, &[2, 7], own_step);
        assert!(recovered == 2 && state == expected);
    });
}

#[test]
fn what_cannot_be_recovered_says_so_and_can_be_tried_again() {
    let Some(plain) = plain_gpu() else { return };
    within_minutes(move || {
        let lost = device(true);
        let mut trainer = builder().on(&lost).unwrap();
        (0..5).for_each(|number| step(&mut trainer, number).unwrap());
        lost.device().destroy();
        let again = trainer.recover(&lost);
        assert!(matches!(again, Err(Error::DeviceLost { .. })), "{again:?}");
        assert_eq!(trainer.recover(plain).unwrap(), 3);
        // As it was when the state was kept: before the step, and after it was told.
        assert_eq!(trainer.data_place(), [3]);
        // A device that is there can be left, too.
        (3..7).for_each(|number| step(&mut trainer, number).unwrap());
        assert_eq!(trainer.recover(plain).unwrap(), 6);
        let mut without = Trainer::builder(model()).on(plain).unwrap();
        assert_error(
            without.recover(plain),
            "argument",
            &["recover", "checkpoint_every"],
        );
        let mut on_cpu = builder().on_cpu().unwrap();
        assert_error(on_cpu.recover(plain), "argument", &["recover", "CPU"]);
        // Before anything was kept there is the beginning.
        let mut early = builder().on(plain).unwrap();
        assert_eq!(early.recover(plain).unwrap(), 0);
    });
}

/// What another training's log counts is part of the state of the beginning.
#[test]
fn a_log_that_was_set_before_the_first_step_counts_on() {
    let mut earlier = builder().on(&device(false)).unwrap();
    (0..3).for_each(|number| step(&mut earlier, number).unwrap());
    let mut trainer = builder().on(&device(false)).unwrap();
    trainer.set_log(earlier.log().clone());
    step(&mut trainer, 0).unwrap();
    let examples = |trainer: &Trainer| trainer.log().rows().last().unwrap().examples;
    assert_eq!(examples(&trainer), 16);
    trainer.gpu().unwrap().device().destroy();
    assert_eq!(trainer.recover(&device(false)).unwrap(), 0);
    assert_eq!(examples(&trainer), 12);
    step(&mut trainer, 0).unwrap();
    assert_eq!(examples(&trainer), 16);
}
