//! Going on after a device is lost.

use std::path::PathBuf;
use std::sync::Arc;

use super::{BTreeMap, Source, TrainingState};
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
    last: Option<Kept>,
}

/// A state that was kept.
#[derive(Debug)]
enum Kept {
    Memory(Box<TrainingState>, BTreeMap<String, String>, Arc<[u8]>),
    File,
}

impl TrainerBuilder {
    /// Keeps a state of the training in memory before each `batches`-th batch, the first among them, so that
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
    pub(in crate::train) async fn begin(&self, trainer: &mut Trainer) -> Result<()> {
        if let Some(resume) = &self.checkpoint.resume {
            resume.resume(trainer).await?;
        }
        if let Some(every) = &self.checkpoint.every {
            trainer.session.recovery = Some(Box::new(Recovery {
                every: every.clone(),
                builder: self.clone(),
                last: None,
            }));
        }
        Ok(())
    }
}

impl Trainer {
    /// Goes on after the device of this trainer is lost, on another or on a new one of the same adapter, from
    /// the last state that [`checkpoint_every`](TrainerBuilder::checkpoint_every) has kept. Gives the number of
    /// the batch to go on from, as [`batches`](Self::batches) counts them: what has been called since then is to
    /// be called again, with the same batches, and on the same kind of device the bits are those of a
    /// training without a loss. Where nothing was kept yet, that is the beginning.
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
        match (&recovery.last, &recovery.every.path) {
            (None, _) => {}
            (Some(Kept::File), Some(path)) => {
                builder.drop_weights();
                builder.checkpoint.resume = Some(Source::File(path.clone()));
            }
            (Some(_), _) => {
                builder.drop_weights();
                builder.checkpoint.resume = None;
            }
        }
        let mut fresh = builder.on_async(gpu).await?;
        if let Some(Kept::Memory(state, notes, place)) = &recovery.last {
            fresh.set_training_state(state).await?;
            (fresh.session.notes, fresh.session.place) = (notes.clone(), place.clone());
        }
        // Made as this one was, so that the next loss goes back to the same.
        fresh.session.recovery = self.session.recovery.take();
        *self = fresh;
        Ok(self.batches())
    }

    /// Keeps a state where it is time, just before a batch.
    pub(in crate::train) async fn keep_if_due(&mut self) -> Result<()> {
        let batches = self.batches();
        let Some(recovery) = &self.session.recovery else {
            return Ok(());
        };
        if !batches.is_multiple_of(recovery.every.batches) {
            return Ok(());
        }
        self.forget_forward();
        let path = recovery_path(self);
        let kept = match path {
            Some(path) => {
                self.write_checkpoint(&path, None).await?;
                Kept::File
            }
            None => {
                let state = Box::new(self.training_state().await?);
                let Self { session, .. } = &*self;
                Kept::Memory(state, session.notes.clone(), session.place.clone())
            }
        };
        if let Some(recovery) = &mut self.session.recovery {
            recovery.last = Some(kept);
        }
        Ok(())
    }
}

fn recovery_path(trainer: &Trainer) -> Option<PathBuf> {
    let recovery = trainer.session.recovery.as_ref();
    recovery.and_then(|recovery| recovery.every.path.clone())
}
