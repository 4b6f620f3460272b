//! Going on after a device is lost.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Opened, TrainingState};
use crate::train::distributed::agreed;
use crate::train::{Trainer, TrainerBuilder};
use crate::{Error, Gpu, Result};

/// How often a state is kept, and where.
#[derive(Debug, Clone)]
pub(in crate::train) struct Every {
    batches: u64,
    to: To,
}

/// Where states are kept. That of the beginning is in memory anyway.
#[derive(Clone)]
enum To {
    Memory,
    File(PathBuf),
    /// Bytes, which the program is handed.
    Program(Arc<dyn Keeper>),
}

/// Who is handed the bytes of a state.
trait Keeper: Fn(&[u8]) + wgpu::WasmNotSendSync {}
impl<F: Fn(&[u8]) + wgpu::WasmNotSendSync> Keeper for F {}

impl fmt::Debug for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("Memory"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Program(_) => f.write_str("Program"),
        }
    }
}

/// What a trainer keeps to go on from.
#[derive(Debug)]
pub(super) struct Recovery {
    every: Every,
    /// Batches at the beginning, of which the state is kept in memory.
    begin: u64,
    last: Kept,
    /// Of what the last one is, and how often the program had told something by then.
    at: Moment,
    told: u64,
}

/// What a state is of. A second one of the same moment differs in nothing but what the program has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    batches: u64,
    updates: u64,
    /// What has changed values otherwise.
    changes: u64,
}

/// A state that was kept.
#[derive(Debug)]
enum Kept {
    Memory(Box<TrainingState>),
    File(PathBuf),
    Bytes(Arc<Vec<u8>>),
}

/// A state that it is time for.
pub(in crate::train) struct Due {
    to: To,
    now: Moment,
    told: u64,
    /// Whether there is one of this moment, but for what the program has told since.
    there: bool,
}

/// One that was made, and is not kept yet; none where that of this moment is there.
pub(in crate::train) struct State(Option<Kept>);

impl Recovery {
    /// Whether it is time for a state. Several ranks make several batches at once.
    fn is_due(&self, now: Moment, ranks: usize) -> bool {
        let every = self.every.batches;
        match ranks {
            1 => now.batches.is_multiple_of(every),
            _ => now.batches / every > self.at.batches / every,
        }
    }
}

impl TrainerBuilder {
    /// Keeps a state of the training in memory when it begins and before each `batches`-th batch, so that
    /// [`Trainer::recover`] can go on from it when the device is lost. It takes the host's memory for
    /// parameters and the optimizer's numbers, and the time to read them back. That it cannot be read is an
    /// error of the step before which it is due.
    pub fn checkpoint_every(mut self, batches: u64) -> Self {
        let to = To::Memory;
        self.checkpoint.every = Some(Every { batches, to });
        self
    }

    /// The same in a file, a [checkpoint](Trainer::checkpoint) as any other. The state of the beginning is in memory
    /// here too: the file is written before the first `batches`-th batch that comes after it, and what is there
    /// stays until then. That it cannot be written is an [`Error::File`] of the step before which it is due.
    ///
    /// Of [several ranks](Self::distributed) rank 0 writes it, before the first step that begins with an update and
    /// with that many more batches of all ranks, and the others wait until it is there. All read it to
    /// [recover](Trainer::recover).
    ///
    /// A browser has no files: [`checkpoint_every_with`](Self::checkpoint_every_with) gives what would be in one.
    pub fn checkpoint_every_to(mut self, batches: u64, path: impl Into<PathBuf>) -> Self {
        let to = To::File(path.into());
        self.checkpoint.every = Some(Every { batches, to });
        self
    }

    /// The same as bytes, which `keep` is handed: those of [`Trainer::checkpoint_bytes`], for a browser's storage or a
    /// connection. The last ones are in memory too, for [`Trainer::recover`]. `keep` is called within the step before
    /// which a state is due, and had better not take long. Of [several ranks](Self::distributed) that of rank 0 alone is
    /// called.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use wgpu_cnn::{Model, Trainer};
    /// let model = || Model::builder([2]).dense(2).build();
    /// let kept = Arc::new(Mutex::new(vec![]));
    /// let last = kept.clone();
    /// let builder = Trainer::builder(model()?)
    ///     .checkpoint_every_with(2, move |bytes| *last.lock().unwrap() = bytes.to_vec());
    /// let mut trainer = builder.on_cpu()?;
    /// for _ in 0..3 {
    ///     trainer.step(&[0.5, 1.0], &[1u8])?;
    /// }
    /// let bytes = kept.lock().unwrap().clone();
    /// assert_eq!(Trainer::builder(model()?).resume_bytes(bytes).on_cpu()?.batches(), 2);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn checkpoint_every_with(
        mut self,
        batches: u64,
        keep: impl Fn(&[u8]) + wgpu::WasmNotSendSync + 'static,
    ) -> Self {
        let to = To::Program(Arc::new(keep));
        self.checkpoint.every = Some(Every { batches, to });
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
        trainer.keep_states().await
    }
}

impl Trainer {
    /// Keeps states from here on, where the trainer was made so.
    pub(in crate::train) async fn keep_states(&mut self) -> Result<()> {
        if let Some(every) = self.made.checkpoint.every.clone() {
            let last = Kept::Memory(Box::new(self.training_state().await?));
            self.session.recovery = Some(Box::new(Recovery {
                every,
                begin: self.batches(),
                last,
                at: self.moment(),
                told: self.session.told,
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
    /// Of [several ranks](TrainerBuilder::distributed) all call it, those that have heard of the loss by an
    /// [`Error::Rank`] with the GPU that they have, and all go on from a state of the same moment. Where one is ahead, in a step that
    /// the others have not heard of a loss in, it is an [`Error::Rank`] here and there, and is called again: in the loop
    /// above, `Error::DeviceLost { .. } | Error::Rank { .. }` of a step or of this. The number counts the batches of
    /// all ranks, of which a rank may have none in a round, so that what to call again is told by
    /// the [place in the data](Self::set_data_place): set before each step, and given to
    /// `data::Loader::resume`.
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
        let fresh = self.made_as_kept(gpu).await;
        // Held to the others as it goes on, and not as it began.
        let mut fresh = agreed(self.several(), fresh).await?;
        // What there is is kept until the new trainer is there.
        fresh.made.checkpoint.every = self.made.checkpoint.every.take();
        let (at, told) = (fresh.moment(), fresh.session.told);
        if let Some(recovery) = self.session.recovery.take() {
            match &recovery.last {
                Kept::File(_) | Kept::Bytes(_) => {
                    fresh.logged = self.logged.replaced(fresh.logged);
                }
                Kept::Memory(state) => {
                    fresh.logged = self.logged.take();
                    fresh.logged.rewind(state.rows);
                }
            }
            let recovery = Recovery {
                at,
                told,
                ..*recovery
            };
            fresh.session.recovery = Some(Box::new(recovery));
        }
        *self = fresh;
        Ok(self.batches())
    }

    /// A trainer as the last state has this one, which keeps no states yet.
    async fn made_as_kept(&self, gpu: &Gpu) -> Result<Self> {
        let Some(recovery) = &self.session.recovery else {
            let reason = "needs checkpoint_every, and what it has kept";
            return Err(Error::argument("recover", reason));
        };
        if self.gpu().is_none() {
            let reason = "is for GPUs: the CPU is not lost";
            return Err(Error::argument("recover", reason));
        }
        let mut builder = TrainerBuilder::clone(&self.made);
        builder.checkpoint.every = None;
        match &recovery.last {
            Kept::File(path) => builder.resume(path).made_on(gpu).await,
            Kept::Bytes(bytes) => builder.resume_shared(bytes).made_on(gpu).await,
            Kept::Memory(state) => {
                builder.learned.go_on_from(state);
                let mut fresh = builder.made_on(gpu).await?;
                fresh.set_training_state(state).await?;
                Ok(fresh)
            }
        }
    }

    /// Keeps a state where it is time, just before a batch, unless there is one of this moment.
    pub(in crate::train) async fn keep_if_due(&mut self) -> Result<()> {
        if let Some(due) = self.due() {
            let state = self.state_of(&due).await?;
            self.keep(due, state);
        }
        Ok(())
    }

    /// Whether it is time for a state, of which there is none of this moment.
    pub(in crate::train) fn due(&self) -> Option<Due> {
        let (now, told) = (self.moment(), self.session.told);
        let recovery = self.session.recovery.as_ref()?;
        let begins = now.batches == recovery.begin;
        let due = begins || recovery.is_due(now, self.ranks());
        // The sums of gradients that wait are each rank's own.
        let due = due && (self.ranks() == 1 || !self.has_pending());
        if !due || (recovery.at, recovery.told) == (now, told) {
            return None;
        }
        let to = match begins {
            true => To::Memory,
            false => recovery.every.to.clone(),
        };
        let there = recovery.at == now;
        Some(Due {
            to,
            now,
            told,
            there,
        })
    }

    /// A state that is due. Until it is [kept](Self::keep) the one before is what there is to go on from; a file
    /// alone is of this moment already.
    pub(in crate::train) async fn state_of(&mut self, due: &Due) -> Result<State> {
        self.forget_forward();
        let kept = match &due.to {
            To::File(path) => {
                self.write_checkpoint(path, None).await?;
                Some(Kept::File(path.clone()))
            }
            To::Program(_) => {
                let bytes = self.checkpoint_bytes_async().await?;
                Some(Kept::Bytes(Arc::new(bytes)))
            }
            To::Memory if due.there => None,
            To::Memory => Some(Kept::Memory(Box::new(self.training_state().await?))),
        };
        Ok(State(kept))
    }

    /// Keeps a state that was due in place of the one before.
    pub(in crate::train) fn keep(&mut self, due: Due, state: State) {
        if let (To::Program(keep), Some(Kept::Bytes(bytes))) = (&due.to, &state.0)
            && self.writes()
        {
            keep(bytes);
        }
        let Some(recovery) = &mut self.session.recovery else {
            return;
        };
        (recovery.at, recovery.told) = (due.now, due.told);
        match state.0 {
            Some(last) => recovery.last = last,
            None => self.keep_told(),
        }
    }

    /// Makes what the program has told part of the state that is kept in memory.
    pub(in crate::train) fn keep_told(&mut self) {
        let (learning_rate, rows) = (self.base_rate, self.logged.rows());
        let trained = self.trained();
        let session = &mut self.session;
        if let Some(Kept::Memory(state)) = session.recovery.as_mut().map(|of| &mut of.last) {
            (state.learning_rate, state.rows) = (learning_rate, rows);
            state.counts.trained = trained;
            state.notes.clone_from(&session.notes);
            state.place = session.place.clone();
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            batches: self.batches(),
            updates: self.updates(),
            changes: self.session.changes,
        }
    }
}

#[cfg(all(test, feature = "native"))]
impl Recovery {
    /// The batch that the last state is of, and whether it is in memory.
    pub fn kept_of(&self) -> (u64, bool) {
        (self.at.batches, matches!(self.last, Kept::Memory(_)))
    }
}

#[cfg(all(test, feature = "native"))]
impl Trainer {
    /// What comes just before a batch.
    pub(super) fn keep_next(&mut self) {
        pollster::block_on(self.keep_if_due()).unwrap();
    }
}
