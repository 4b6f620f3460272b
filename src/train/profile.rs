//! Where the time of a step goes.

use crate::engine::{Plan, Profile, Profiling};
use crate::model::{Inputs, Targets};
use crate::{Error, Result};

use super::Trainer;

impl Trainer {
    /// Times every kernel of a training step on this batch, and holds it against the adapter's
    /// [peaks](crate::Gpu::peaks).
    ///
    /// These are real steps, which train the model like any others: one to warm up, then five
    /// ordinary ones and five that are timed kernel by kernel, in turns. With
    /// [`accumulate`](crate::TrainerBuilder::accumulate) each of them takes the batch as often as an
    /// update does. [`Profile::steps`] is their number. They are counted, follow the
    /// [schedule](crate::TrainerBuilder::schedule), move the
    /// [average](crate::TrainerBuilder::average) and keep states
    /// ([`checkpoint_every`](crate::TrainerBuilder::checkpoint_every)) as so many calls of
    /// [`step`](Self::step) with this batch do: the bits are the same. Where a training must not take them, a
    /// trainer of its own is profiled, which starts from the same weights or
    /// [resumes](crate::TrainerBuilder::resume_bytes) a checkpoint.
    ///
    /// # Errors
    /// Those of [`step`](Self::step), and [`Error::Argument`] on the CPU, where there are no kernels.
    #[cfg(feature = "native")]
    pub fn profile<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<Profile> {
        self.profile_blocking(inputs.into(), targets.into())
    }

    #[cfg(feature = "native")]
    fn profile_blocking(&mut self, inputs: Inputs<'_>, targets: Targets) -> Result<Profile> {
        pollster::block_on(self.profile_with(inputs, targets))
    }

    /// [`profile`](Self::profile) for asynchronous programs and the browser.
    pub async fn profile_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<Profile> {
        self.profile_with(inputs.into(), targets.into()).await
    }

    async fn profile_with(&mut self, inputs: Inputs<'_>, targets: Targets) -> Result<Profile> {
        if self.ranks() > 1 {
            let reason = "is for a trainer by itself, not for one of several ranks";
            return Err(Error::argument("profile", reason));
        }
        let batch = self.check_batch(&inputs, &targets)?;
        self.check_not_averaged()?;
        let mut profiling = Profiling::begin(self.profiled()?, batch.examples).await?;
        while profiling.goes_on() {
            self.before_batch().await?;
            let gpu = self.profiled()?.gpu().clone();
            let pace = profiling.next(&gpu)?;
            loop {
                let plan = self.profiled()?;
                profiling.step(pace, plan, &batch).await?;
                if !plan.is_pending() {
                    break;
                }
                self.before_batch().await?;
            }
            profiling.end(pace, &gpu)?;
        }
        Ok(profiling.finish(self.profiled()?))
    }

    /// What comes before a step's own work.
    async fn before_batch(&mut self) -> Result<()> {
        self.follow_schedule()?;
        self.keep_if_due().await
    }

    fn profiled(&mut self) -> Result<&mut Plan> {
        let on_cpu = || Error::argument("profile", "needs a trainer on a GPU");
        self.plan().ok_or_else(on_cpu)
    }
}
