//! Futures that are dropped in the middle, as a browser's may be at each point at which they wait.

use std::pin::pin;
use std::task::{Context, Waker};

use super::{Predictor, Trainer, TrainerBuilder};
use crate::{Average, Gpu, Losses, Model, Optimizer, Result};

/// A device whose answers come with a later poll.
fn gpu() -> Option<Gpu> {
    crate::device::device(Gpu::builder().answers_later())
}

fn builder() -> TrainerBuilder {
    let model = Model::builder([2]).dense(3).batch_norm().dropout(0.25);
    let builder = Trainer::builder(model.dense(2).build().unwrap()).batch(4);
    builder
        .optimizer(Optimizer::adam(0.01))
        .average(Average::equal())
}

const X: [f32; 8] = [0.5, -1.0, 0.25, 2.0, -0.75, 1.5, 1.0, 0.0];

/// Polls a future so many times, and drops it. Whether it had come to its end.
fn ends_within(polls: usize, future: impl Future<Output = Result<()>>) -> bool {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    (0..polls).any(|_| future.as_mut().poll(&mut context).is_ready())
}

/// Calls `run` with more and more polls of a future that it drops then, until it says that it had come to its end.
fn dropped_everywhere(mut run: impl FnMut(usize) -> bool) {
    let ended = (0..200).find(|&polls| run(polls));
    // A device that answers at once would have nothing dropped in the middle.
    assert!(ended.is_some_and(|polls| polls > 1), "{ended:?}");
}

fn values(trainer: &Trainer) -> Vec<Vec<u32>> {
    let names = trainer.model().parameters();
    let values = names.map(|(name, _)| trainer.parameter(name).unwrap());
    let bits = values.map(|values| values.into_iter().map(f32::to_bits).collect());
    bits.collect()
}

/// Drops a call in the middle between others of its kind: training has then come to where it says it has.
fn comes_to_what_it_counts(
    make: impl Fn() -> Trainer,
    call: impl AsyncFn(&mut Trainer) -> Result<()>,
) {
    // With what waits for an update, and what the optimizer keeps.
    let state = |trainer: &Trainer| {
        let state = pollster::block_on(trainer.training_state()).unwrap();
        (state.counts, state.parameters)
    };
    let mut whole = make();
    let mut states = vec![state(&whole)];
    for _ in 0..4 {
        pollster::block_on(call(&mut whole)).unwrap();
        states.push(state(&whole));
    }
    dropped_everywhere(|polls| {
        let mut trainer = make();
        pollster::block_on(call(&mut trainer)).unwrap();
        let ended = ends_within(polls, call(&mut trainer));
        let here = state(&trainer);
        let reached = states.iter().position(|state| *state == here);
        let reached = reached.unwrap_or_else(|| panic!("after {polls} polls: {:?}", here.0));
        assert!(reached == 2 || (reached == 1 && !ended), "{reached}");
        for _ in reached..4 {
            pollster::block_on(call(&mut trainer)).unwrap();
        }
        assert!(state(&trainer) == states[4], "{polls} polls");
        ended
    });
}

#[test]
fn a_step_that_is_dropped_was_made_or_not() {
    let Some(gpu) = gpu() else { return };
    for accumulate in [1, 2] {
        let make = || builder().accumulate(accumulate).on(&gpu).unwrap();
        comes_to_what_it_counts(make, async |trainer| {
            trainer.step_async(&X, [0u8, 1, 0, 1]).await
        });
    }
}

#[test]
fn a_profile_that_is_dropped_has_made_whole_steps() {
    let Some(gpu) = gpu() else { return };
    let labels = [0u8, 1, 0, 1];
    let mut whole = builder().on(&gpu).unwrap();
    let mut states = vec![values(&whole)];
    for _ in 0..12 {
        whole.step(&X, labels).unwrap();
        states.push(values(&whole));
    }
    for polls in (0..60).step_by(3) {
        let mut trainer = builder().on(&gpu).unwrap();
        let profile = async { trainer.profile_async(&X, labels).await.map(drop) };
        ends_within(polls, profile);
        let made = trainer.batches() as usize;
        assert_eq!(
            values(&trainer),
            states[made],
            "{polls} polls, {made} steps"
        );
        trainer.step(&X, labels).unwrap();
        assert_eq!(
            values(&trainer),
            states[made + 1],
            "{polls} polls, {made} steps"
        );
    }
}

#[test]
fn an_update_that_is_dropped_was_made_or_not() {
    let Some(gpu) = gpu() else { return };
    let make = || builder().accumulate(5).on(&gpu).unwrap();
    comes_to_what_it_counts(make, async |trainer| {
        match trainer.batches() > trainer.updates() {
            true => trainer.update_async().await,
            false => trainer.step(&X, [0u8, 1, 0, 1]),
        }
    });
}

#[test]
fn a_way_back_that_is_dropped_was_gone_or_not() {
    let Some(gpu) = gpu() else { return };
    let make = || {
        // Statistics would move with each forward pass already.
        let model = Model::builder([2]).dense(3).dropout(0.25).dense(2).build();
        let builder = Trainer::builder(model.unwrap()).batch(4).accumulate(9);
        builder.loss(Losses::own_first()).on(&gpu).unwrap()
    };
    comes_to_what_it_counts(make, async |trainer| {
        trainer.forward(&X)?;
        trainer.backward_async([&[0.5f32; 8]]).await
    });
}

#[test]
fn weights_and_average_are_exchanged_or_not() {
    let Some(gpu) = gpu() else { return };
    for steps in [0, 2] {
        let mut trainer = builder().on(&gpu).unwrap();
        (0..steps).for_each(|_| trainer.step(&X, [0u8, 1, 0, 1]).unwrap());
        let weights = values(&trainer);
        let averages = trainer.with_average(|trainer| Ok(values(trainer)));
        let both = [weights, averages.unwrap()];
        assert_eq!(both[0] == both[1], steps == 0);
        let mut exchanged = 0;
        dropped_everywhere(|polls| {
            let before = trainer.is_averaged();
            let ended = ends_within(polls, trainer.swap_average_async());
            exchanged += usize::from(trainer.is_averaged() != before && !ended);
            assert!(!ended || trainer.is_averaged() != before);
            let here = &both[usize::from(trainer.is_averaged())];
            assert_eq!(values(&trainer), *here, "{polls} polls");
            ended
        });
        assert!(exchanged > 0, "none was dropped after it was submitted");
        if trainer.is_averaged() {
            trainer.swap_average().unwrap();
        }
        trainer.step(&X, [0u8, 1, 0, 1]).unwrap();
    }
}

#[test]
fn predictions_that_are_dropped_leave_nothing() {
    let Some(gpu) = gpu() else { return };
    let trained = |steps: usize| {
        let mut trainer = builder().on(&gpu).unwrap();
        (0..steps).for_each(|_| trainer.step(&X, [0u8, 1, 0, 1]).unwrap());
        trainer
    };
    let expected = trained(2).predict(&X).unwrap();
    dropped_everywhere(|polls| {
        let mut trainer = trained(2);
        let ended = ends_within(polls, async { trainer.predict_async(&X).await.map(drop) });
        assert_eq!(trainer.predict(&X).unwrap(), expected, "{polls} polls");
        ended
    });
}

#[test]
fn a_prediction_is_sent_while_another_is_waited_for() {
    let Some(gpu) = gpu() else { return };
    let model = Model::builder([2]).dense(3).build().unwrap();
    let predictor = Predictor::builder(model).batch(4).on(&gpu).unwrap();
    let expected = predictor.predict(&X).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    for polls in 1..100 {
        let first = pollster::block_on(predictor.start_async(&X)).unwrap();
        let mut first = pin!(first.wait_async());
        if (0..polls).any(|_| first.as_mut().poll(&mut context).is_ready()) {
            assert!(polls > 2, "it has not waited for the device");
            return;
        }
        // While the first one waits, and nobody polls it.
        let second = async {
            let outputs = predictor.predict_async(&X).await?;
            assert_eq!(outputs, expected, "{polls} polls");
            Ok(())
        };
        assert!(ends_within(100, second), "{polls} polls");
        assert_eq!(
            pollster::block_on(first).unwrap(),
            expected,
            "{polls} polls"
        );
    }
    unreachable!("it never comes to an end");
}
