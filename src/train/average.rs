//! The average of the weights over the updates.

use std::path::Path;

use super::trainer::Backend;
use super::{Trainer, TrainerBuilder};
use crate::model::SaveOptions;
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
        pollster::block_on(self.with_average_async(async |trainer| then(trainer)))
    }

    /// [`with_average`](Self::with_average) for asynchronous programs and the browser, with an asynchronous closure:
    /// `trainer.with_average_async(async |trainer| trainer.predict_async(&x).await)`. Await it to its end: dropped in
    /// the middle, it leaves the average in place, which [`is_averaged`](Self::is_averaged) tells.
    pub async fn with_average_async<R>(
        &mut self,
        then: impl AsyncFnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        if self.is_averaged() {
            return Err(self.in_place());
        }
        self.swap_average_async().await?;
        let result = then(self).await;
        let back = match self.is_averaged() {
            true => self.swap_average_async().await,
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
        pollster::block_on(self.save_average_async(path, &SaveOptions::new()))
    }

    /// [`save_average`](Self::save_average) for asynchronous programs, with names, or numbers, of one's own choice. A
    /// browser has no files: [`average_bytes_async`](Self::average_bytes_async) gives what would be in one.
    pub async fn save_average_async(
        &mut self,
        path: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<()> {
        let path = path.as_ref();
        self.with_average_async(async |trainer| trainer.save_async(path, options).await)
            .await
    }

    /// The bytes of the file that [`save_average`](Self::save_average) writes.
    ///
    /// # Errors
    /// Those of [`weights_bytes`](Self::weights_bytes) and of [`with_average`](Self::with_average).
    #[cfg(feature = "native")]
    pub fn average_bytes(&mut self, options: &SaveOptions) -> Result<Vec<u8>> {
        pollster::block_on(self.average_bytes_async(options))
    }

    /// [`average_bytes`](Self::average_bytes) for asynchronous programs and the browser.
    pub async fn average_bytes_async(&mut self, options: &SaveOptions) -> Result<Vec<u8>> {
        self.with_average_async(async |trainer| trainer.weights_bytes_async(options).await)
            .await
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
