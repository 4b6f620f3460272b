//! The learning rate of the next update.

use super::trainer::Backend;
use super::{Schedule, Trainer, TrainerBuilder};
use crate::Result;

impl TrainerBuilder {
    /// Sets how the learning rate goes on: before each update it becomes what the schedule makes of the
    /// optimizer's, which is the base; the rate of a [group](Self::group) what it makes of the group's own. The first update is number 0; of several batches that
    /// [make an update](Self::accumulate) all are of the same number. Default
    /// [`Schedule::constant`].
    ///
    /// ```
    /// use wgpu_cnn::{Model, Optimizer, Schedule, Trainer};
    /// let model = Model::builder([4]).dense(3).build()?;
    /// let trainer = Trainer::builder(model).optimizer(Optimizer::sgd(0.1).momentum(0.9));
    /// let mut trainer = trainer.schedule(Schedule::step(1, 0.5)).on_cpu()?;
    /// assert_eq!(trainer.learning_rate(), 0.1);
    /// trainer.step(&[1.0, 0.5, -1.0, 0.0], &[2u8])?;
    /// assert_eq!(trainer.learning_rate(), 0.05);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn schedule(mut self, schedule: impl Into<Schedule>) -> Self {
        self.schedule = schedule.into();
        self
    }
}

impl Trainer {
    /// The learning rate of the next update: by the [schedule](TrainerBuilder::schedule), if there is one.
    pub fn learning_rate(&self) -> f64 {
        self.schedule.rate(self.base_rate, self.updates())
    }

    /// Sets the learning rate from the next update on. Rebuilds nothing. With a
    /// [schedule](TrainerBuilder::schedule) it is the base that is set: the schedule goes on, with what it
    /// makes of that.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where it is negative, infinite or NaN.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_learning_rate(learning_rate)?,
            Backend::Cpu(reference) => reference.set_learning_rate(learning_rate)?,
        }
        if self.base_rate != learning_rate {
            self.base_rate = learning_rate;
            self.session.told += 1;
        }
        Ok(())
    }

    /// The updates of the parameters so far.
    pub fn updates(&self) -> u64 {
        match &self.backend {
            Backend::Gpu(plan) => plan.updates(),
            Backend::Cpu(reference) => reference.updates(),
        }
    }

    /// Makes the learning rate of each group that of the next update, where there may be one.
    pub(super) fn follow_schedule(&mut self) -> Result<()> {
        self.check_not_averaged()?;
        if self.schedule.is_constant() {
            return Ok(());
        }
        let (schedule, update) = (&self.schedule, self.updates());
        let rate = |own| schedule.checked_rate(own, update);
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_rates(self.base_rate, rate),
            Backend::Cpu(reference) => reference.set_rates(self.base_rate, rate),
        }
    }
}
