//! Where the time of a step goes.

use crate::engine::{Profile, profile};
use crate::op::Target;
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
    pub fn profile(&mut self, input: &[f32], target: impl Into<Target>) -> Result<Profile> {
        self.profile_blocking(input, target.into())
    }

    #[cfg(feature = "native")]
    fn profile_blocking(&mut self, input: &[f32], target: Target) -> Result<Profile> {
        pollster::block_on(self.profile_with(input, target))
    }

    /// [`profile`](Self::profile) for asynchronous programs and the browser.
    pub async fn profile_async(
        &mut self,
        input: &[f32],
        target: impl Into<Target>,
    ) -> Result<Profile> {
        self.profile_with(input, target.into()).await
    }

    async fn profile_with(&mut self, input: &[f32], target: Target) -> Result<Profile> {
        self.check_batch(input, &target)?;
        let examples = input.len() / self.model().input_shape().len();
        let on_cpu = || Error::argument("profile", "needs a trainer on a GPU");
        let plan = self.plan().ok_or_else(on_cpu)?;
        profile(plan, input, &target, examples).await
    }
}
