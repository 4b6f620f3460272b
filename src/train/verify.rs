//! A trainer's own kernels, checked.

use super::Trainer;
use crate::engine::VerifyReport;
use crate::{Error, Result};

impl Trainer {
    /// Checks the very kernels that this trainer runs, its half precision and its autotuned choices
    /// included, as [`Gpu::verify`](crate::Gpu::verify) does those of a model: each on known data at
    /// its real shapes, against the CPU reference in `f64`. Parameters, statistics and the optimizer's
    /// state are afterwards what they were, to the bit.
    ///
    /// Takes no further memory of the device but what uploads of one layer take, and on the host up to
    /// forty times the memory of the parameters, or of one layer. The optimizer is checked at a rate of
    /// 0.1, at which an update can be seen.
    ///
    /// ```no_run
    /// use wgpu_cnn::{Gpu, Model, Trainer};
    /// let model = Model::builder([1, 28, 28]).conv2d(8, 5).relu().flatten().dense(10).build()?;
    /// let mut trainer = Trainer::builder(model).half_precision(true).on(&Gpu::new()?)?;
    /// let report = trainer.verify()?;
    /// assert!(report.passed(), "{report}");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] on the CPU, and for a model that has nothing to learn; [`Error::Shape`] for
    /// a batch too small for a batch normalisation; [`Error::DeviceLost`]. A kernel that computes
    /// something wrong is no error: the report says so.
    #[cfg(feature = "native")]
    pub fn verify(&mut self) -> Result<VerifyReport> {
        pollster::block_on(self.verify_async())
    }

    /// `verify` for asynchronous programs and the browser. Await it to its end: dropped in the middle, it
    /// leaves data of its own in place of the parameters.
    pub async fn verify_async(&mut self) -> Result<VerifyReport> {
        let on_cpu = || Error::argument("verify", "needs a trainer on a GPU");
        self.plan().ok_or_else(on_cpu)?.verify().await
    }
}
