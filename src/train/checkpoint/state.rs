//! The whole state of a training in memory: out of one trainer, into another.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::engine::{Counts, ParameterState};
use crate::model::ParameterId;
use crate::train::Trainer;
use crate::train::trainer::Backend;
use crate::{Error, Result};

/// All that a training has come to.
#[derive(Debug, Clone)]
pub(in crate::train) struct TrainingState {
    /// In the model's order, without what is part of the model.
    pub parameters: Vec<(ParameterId, ParameterState)>,
    pub counts: Counts,
    /// The base, before any schedule.
    pub learning_rate: f64,
    pub notes: BTreeMap<String, String>,
    pub place: Arc<[u8]>,
    /// Of the log, by then.
    pub rows: usize,
}

/// What a future gives that waits for nothing, as none on the CPU does.
pub(in crate::train) fn at_once<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).as_mut().poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::argument("trainer", "waits for a device")),
    }
}

impl Trainer {
    /// All that this training has come to, by parameter.
    pub(in crate::train) async fn training_state(&self) -> Result<TrainingState> {
        self.check_not_averaged()?;
        let counts = self.counts().await?;
        let mut parameters = Vec::new();
        for (id, _) in self.model().graph.kept() {
            let state = match &self.backend {
                Backend::Gpu(plan) => plan.state(id).await?,
                Backend::Cpu(reference) => reference.state(id),
            };
            parameters.push((id, state));
        }
        Ok(TrainingState {
            parameters,
            counts,
            learning_rate: self.base_rate,
            notes: self.session.notes.clone(),
            place: self.session.place.clone(),
            rows: self.logged.rows(),
        })
    }

    /// Goes on from a state of the same model. After an error the trainer is good for nothing more.
    pub(in crate::train) async fn set_training_state(
        &mut self,
        state: &TrainingState,
    ) -> Result<()> {
        for (id, state) in &state.parameters {
            match &mut self.backend {
                Backend::Gpu(plan) => plan.set_state(*id, state).await?,
                Backend::Cpu(reference) => reference.set_state(*id, state)?,
            }
        }
        self.set_counts(&state.counts).await?;
        self.set_learning_rate(state.learning_rate)?;
        self.session.notes.clone_from(&state.notes);
        self.session.place = state.place.clone();
        Ok(())
    }

    pub(super) async fn counts(&self) -> Result<Counts> {
        match &self.backend {
            Backend::Gpu(plan) => plan.counts().await,
            Backend::Cpu(reference) => Ok(reference.counts()),
        }
    }

    /// Makes a backward pass wait for another forward pass.
    pub(in crate::train) fn forget_forward(&mut self) {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.forget_forward(),
            Backend::Cpu(reference) => reference.forget_forward(),
        }
    }

    pub(super) async fn set_counts(&mut self, counts: &Counts) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_counts(counts).await,
            Backend::Cpu(reference) => reference.set_counts(counts),
        }
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;
    use crate::{Model, Optimizer, TrainerBuilder};

    fn builder() -> TrainerBuilder {
        let model = Model::builder([2, 3, 3]).conv2d(3, 2).batch_norm();
        let model = model.relu().dropout(0.3).flatten().dense(3).build();
        let builder = Trainer::builder(model.unwrap()).batch(4).accumulate(3);
        builder
            .optimizer(Optimizer::adam(0.01).amsgrad(true))
            .seed(5)
    }

    fn step(trainer: &mut Trainer, number: u64) {
        let mut rng = fastrand::Rng::with_seed(number);
        let examples = if number % 4 == 3 { 3 } else { 4 };
        let x: Vec<f32> = (0..18 * examples).map(|_| rng.f32() - 0.5).collect();
        let labels: Vec<u8> = (0..examples).map(|_| rng.u8(0..3)).collect();
        trainer.step(&x, labels).unwrap();
    }

    /// All values, with the losses.
    fn bits(trainer: &Trainer) -> Vec<u32> {
        let state = pollster::block_on(trainer.training_state()).unwrap();
        let values = state.parameters.iter().map(|(_, state)| {
            let slots = state.slots.iter().flatten();
            state.values.iter().chain(slots).map(|v| v.to_bits())
        });
        let values = values
            .flatten()
            .chain(state.counts.losses.iter().map(|l| l.to_bits()));
        values.collect()
    }

    fn goes_on(make: impl Fn() -> Trainer) {
        for stop in 0..8 {
            let mut whole = make();
            (0..8).for_each(|number| step(&mut whole, number));
            let mut begun = make();
            (0..stop).for_each(|number| step(&mut begun, number));
            let state = pollster::block_on(begun.training_state()).unwrap();
            let mut resumed = make();
            pollster::block_on(resumed.set_training_state(&state)).unwrap();
            assert_eq!(bits(&resumed), bits(&begun), "at {stop}");
            (stop..8).for_each(|number| step(&mut resumed, number));
            assert_eq!(bits(&resumed), bits(&whole), "from {stop}");
        }
    }

    #[test]
    fn a_state_taken_out_and_put_in_goes_on_with_the_same_bits() {
        goes_on(|| builder().on_cpu().unwrap());
        if let Some(gpu) = crate::device::plain() {
            goes_on(|| builder().on(gpu).unwrap());
            goes_on(|| builder().max_slab(1 << 8).on(gpu).unwrap());
        }
    }
}
