//! Where the time of a step goes.

use crate::engine::{Profile, profile};
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
    /// update does. [`Profile::steps`] is their number.
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
        let batch = self.check_batch(&inputs, &targets)?;
        let on_cpu = || Error::argument("profile", "needs a trainer on a GPU");
        self.follow_schedule()?;
        let plan = self.plan().ok_or_else(on_cpu)?;
        profile(plan, &batch).await
    }
}
