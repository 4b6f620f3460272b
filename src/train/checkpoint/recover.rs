//! Going on after a device is lost.

use std::path::PathBuf;

use super::{Opened, TrainingState};
use crate::train::{Trainer, TrainerBuilder};
use crate::{Error, Gpu, Result};

/// How often a state is kept, and where.
#[derive(Debug, Clone)]
pub(in crate::train) struct Every {
    batches: u64,
    /// In memory where there is none.
    path: Option<PathBuf>,
}

/// What a trainer keeps to go on from.
#[derive(Debug)]
pub(super) struct Recovery {
    every: Every,
    /// How the trainer was made.
    builder: TrainerBuilder,
    last: Kept,
}

/// A state that was kept.
#[derive(Debug)]
enum Kept {
    Memory(Box<TrainingState>),
    File(PathBuf),
}

impl TrainerBuilder {
    /// Keeps a state of the training in memory when it begins and before each `batches`-th batch, so that
    /// [`Trainer::recover`] can go on from it when the device is lost. It takes the host's memory for
    /// parameters and the optimizer's numbers, and the time to read them back.
    pub fn checkpoint_every(mut self, batches: u64) -> Self {
        let path = None;
        self.checkpoint.every = Some(Every { batches, path });
        self
    }

    /// The same in a file, a [checkpoint](Trainer::checkpoint) as any other.
    #[cfg(feature = "native")]
    pub fn checkpoint_every_to(mut self, batches: u64, path: impl Into<PathBuf>) -> Self {
        let path = Some(path.into());
        self.checkpoint.every = Some(Every { batches, path });
        self
    }

    pub(in crate::train) fn check_checkpoint(&self) -> Result<()> {
        if self.checkpoint.resume.is_some() && self.has_weights() {
            let reason = "goes on from a checkpoint, which has weights of its own";
            return Err(Error::argument("weights", reason));
        }
        match &self.checkpoint.every {
            Some(Every { batches: 0, .. }) => {
                Err(Error::argument("checkpoint_every", "must not be zero"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What is to be done with a trainer that was just made.
    pub(in crate::train) async fn begin(
        self,
        trainer: &mut Trainer,
        checkpoint: Option<Opened>,
    ) -> Result<()> {
        if let Some(checkpoint) = checkpoint {
            checkpoint.resume(trainer).await?;
        }
        trainer.keep_states(self).await
    }
}

impl Trainer {
    /// Keeps states from here on, where the builder says so.
    pub(in crate::train) async fn keep_states(&mut self, builder: TrainerBuilder) -> Result<()> {
        if let Some(every) = builder.checkpoint.every.clone() {
            let last = self.kept(&every).await?;
            self.session.recovery = Some(Box::new(Recovery {
                every,
                builder,
                last,
            }));
        }
        Ok(())
    }

    /// Goes on after the device of this trainer is lost, on another or on a new one of the same adapter, from
    /// the last state that [`checkpoint_every`](TrainerBuilder::checkpoint_every) has kept. Gives the number of
    /// the batch to go on from, as [`batches`](Self::batches) counts them: what has been called since then is to
    /// be called again, with the same batches, and on the same kind of device the bits are those of a
    /// training without a loss.
    ///
    /// ```no_run
    /// use wgpu_cnn::{Error, Gpu, Model, Trainer};
    /// # let batches = [(vec![0.0f32; 8], vec![0u8; 4])];
    /// let model = Model::builder([2]).dense(8).tanh().dense(2).build()?;
    /// let mut gpu = Gpu::new()?;
    /// let mut trainer = Trainer::builder(model).checkpoint_every(100).on(&gpu)?;
    /// let mut number = 0;
    /// while number < batches.len() {
    ///     let (images, labels) = &batches[number];
    ///     match trainer.step(images, labels) {
    ///         Err(Error::DeviceLost { .. }) => {
    ///             gpu = Gpu::new()?;
    ///             number = trainer.recover(&gpu)? as usize;
    ///         }
    ///         done => {
    ///             done?;
    ///             number += 1;
    ///         }
    ///     }
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a trainer that keeps no states, and one on the CPU; those of
    /// [`on`](TrainerBuilder::on) and, from a file, of [`resume`](TrainerBuilder::resume). The trainer is then
    /// as it was, and the call can be made again.
    #[cfg(feature = "native")]
    pub fn recover(&mut self, gpu: &Gpu) -> Result<u64> {
        pollster::block_on(self.recover_async(gpu))
    }

    /// [`recover`](Self::recover) for asynchronous programs and the browser.
    pub async fn recover_async(&mut self, gpu: &Gpu) -> Result<u64> {
        let Some(recovery) = &self.session.recovery else {
            let reason = "needs checkpoint_every, and what it has kept";
            return Err(Error::argument("recover", reason));
        };
        if self.gpu().is_none() {
            let reason = "is for GPUs: the CPU is not lost";
            return Err(Error::argument("recover", reason));
        }
        let mut builder = recovery.builder.clone();
        // The one that keeps what there is, until the new trainer is there.
        let every = builder.checkpoint.every.take();
        let mut fresh = match &recovery.last {
            Kept::File(path) => builder.resume(path).on_async(gpu).await?,
            Kept::Memory(state) => {
                builder.go_on_from(state);
                let mut fresh = builder.on_async(gpu).await?;
                fresh.set_training_state(state).await?;
                fresh
            }
        };
        fresh.made.checkpoint.every.clone_from(&every);
        fresh.session.recovery = self.session.recovery.take();
        if let Some(recovery) = &mut fresh.session.recovery {
            recovery.builder.checkpoint.every = every;
        }
        std::mem::swap(&mut fresh.logged, &mut self.logged);
        *self = fresh;
        self.logged.rewind(self.updates());
        Ok(self.batches())
    }

    /// Keeps a state where it is time, just before a batch.
    pub(in crate::train) async fn keep_if_due(&mut self) -> Result<()> {
        let recovery = self.session.recovery.as_ref();
        let due = recovery.is_some_and(|of| self.batches().is_multiple_of(of.every.batches));
        match due {
            true => self.keep_state().await,
            false => Ok(()),
        }
    }

    /// Keeps a state, where any is kept.
    pub(super) async fn keep_state(&mut self) -> Result<()> {
        let Some(recovery) = &self.session.recovery else {
            return Ok(());
        };
        let every = recovery.every.clone();
        self.forget_forward();
        let last = self.kept(&every).await?;
        if let Some(recovery) = &mut self.session.recovery {
            recovery.last = last;
        }
        Ok(())
    }

    async fn kept(&self, every: &Every) -> Result<Kept> {
        match &every.path {
            Some(path) => {
                self.write_checkpoint(path, None).await?;
                Ok(Kept::File(path.clone()))
            }
            None => Ok(Kept::Memory(Box::new(self.training_state().await?))),
        }
    }
}
