//! The average of the weights over the updates.

#[cfg(feature = "native")]
use std::path::Path;

use super::trainer::Backend;
use super::{Trainer, TrainerBuilder};
use crate::op::Average;
use crate::{Error, Result};

impl TrainerBuilder {
    /// Keeps an average of what is learned over the updates, beside it in memory: one more number for each
    /// ([`MemoryReport::average`](crate::MemoryReport::average)) and a dispatch per slab with every update.
    /// Default none.
    ///
    /// Running statistics are not averaged, as in PyTorch's `AveragedModel`: where the average is
    /// evaluated or saved, they are those of the training. What is frozen is its own average.
    ///
    /// Each parameter's average is of all updates since it is kept, whatever becomes of its optimizer, as in
    /// `AveragedModel`: where it begins in the midst of a training, by [`rebuild`](Trainer::rebuild) or on a
    /// [checkpoint](Trainer::checkpoint) that holds none, the next update is its first. It goes on over a
    /// `rebuild` and a checkpoint; another decay counts from there on. What is learned only from then on has
    /// counted with the value at which it was frozen.
    ///
    /// ```
    /// use wgpu_cnn::{Average, Model, Trainer};
    /// let model = Model::builder([4]).dense(3).build()?;
    /// let trainer = Trainer::builder(model).average(Average::ema(0.999));
    /// let mut trainer = trainer.on_cpu()?;
    /// let x = [1.0, 0.5, -1.0, 0.0];
    /// for _ in 0..10 {
    ///     trainer.step(&x, &[2u8])?;
    /// }
    /// let now = trainer.predict(&x)?;
    /// let averaged = trainer.with_average(|trainer| trainer.predict(&x))?;
    /// assert_ne!(now, averaged);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn average(mut self, average: Average) -> Self {
        self.options.average = Some(average);
        self
    }
}

impl Trainer {
    /// Does something with the [average](TrainerBuilder::average) in place of the weights: predicts,
    /// evaluates, saves. They are back in their place afterwards, also after an error.
    ///
    /// # Errors
    /// [`Error::Argument`] where no average is kept or it is in place already, those of `then`, and the
    /// device's errors.
    #[cfg(feature = "native")]
    pub fn with_average<R>(&mut self, then: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        if self.is_averaged() {
            return Err(self.in_place());
        }
        self.swap_average()?;
        let result = then(self);
        let back = match self.is_averaged() {
            true => self.swap_average(),
            false => Ok(()),
        };
        // What failed first is what is told.
        let value = result?;
        back.map(|()| value)
    }

    /// Writes all parameters to a file as [`save`](Self::save) does, with the
    /// [average](TrainerBuilder::average) in place of what is learned.
    ///
    /// # Errors
    /// Those of [`save`](Self::save) and of [`with_average`](Self::with_average).
    #[cfg(feature = "native")]
    pub fn save_average(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.with_average(|trainer| trainer.save(path))
    }

    /// Exchanges the weights with their [average](TrainerBuilder::average), and back with the next call.
    /// While the average is in place, a step, an update, and setting or loading parameters are errors; predictions, files and
    /// [`parameter`](Self::parameter) are those of the average. Before the first update since it is kept it is the weights.
    ///
    /// # Errors
    /// [`Error::Argument`] where no average is kept, and the device's errors.
    #[cfg(feature = "native")]
    pub fn swap_average(&mut self) -> Result<()> {
        pollster::block_on(self.swap_average_async())
    }

    /// [`swap_average`](Self::swap_average) for asynchronous programs and the browser. Where the future is dropped,
    /// [`is_averaged`](Self::is_averaged) tells whether they are exchanged.
    pub async fn swap_average_async(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.swap_average().await,
            Backend::Cpu(reference) => reference.swap_average(),
        }
    }

    /// Whether the average is in place of the weights, by [`swap_average`](Self::swap_average).
    pub fn is_averaged(&self) -> bool {
        match &self.backend {
            Backend::Gpu(plan) => plan.is_averaged(),
            Backend::Cpu(reference) => reference.is_averaged(),
        }
    }

    /// Refuses to train while the average is in place.
    pub(super) fn check_not_averaged(&self) -> Result<()> {
        match self.is_averaged() {
            true => Err(self.in_place()),
            false => Ok(()),
        }
    }

    fn in_place(&self) -> Error {
        let reason = "is in place of the weights: swap_average puts them back";
        Error::argument("average", reason)
    }
}
