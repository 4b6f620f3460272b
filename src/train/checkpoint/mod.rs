//! Training that is interrupted and goes on with the same bits: in a file, in bytes, or in memory for the
//! day that the device is lost.

mod describe;
#[cfg(feature = "native")]
mod folder;
mod read;
mod recover;
mod state;
#[cfg(all(test, feature = "native"))]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use describe::hash_of;
#[cfg(feature = "native")]
pub use folder::Checkpoints;
pub(super) use read::Opened;
use recover::{Every, Recovery};
pub(super) use state::{TrainingState, at_once};

use super::trainer::Backend;
use super::{Trainer, TrainerBuilder};
use crate::file::Replacement;
use crate::file::safetensors::Source;
use crate::model::ParameterId;
use crate::{Error, Result};

/// What the metadata of a checkpoint says that it is.
const FORMAT: &str = "wgpu-cnn checkpoint";
/// The only version so far.
const VERSION: &str = "1";
/// The tensor in which the data set's place stands.
const PLACE: &str = "data/place";
/// The tensor in which the log stands, as CSV, where anything was recorded.
const LOG: &str = "log/csv";
/// Bytes in messages.
const BYTES: &str = "checkpoint";

/// What a tensor of a checkpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Values(ParameterId),
    Slot(ParameterId, usize),
    /// The sum of gradients that wait for an update.
    Sum(ParameterId),
    /// The average over the updates.
    Average(ParameterId),
    Place,
    Log,
}

/// How a [`TrainerBuilder`] was told to begin, and to take care.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckpointOptions {
    pub resume: Option<Source>,
    pub(in crate::train) every: Option<Every>,
}

/// What a [`Trainer`] keeps for its checkpoints beside what is trained.
#[derive(Debug, Default)]
pub(super) struct Session {
    notes: BTreeMap<String, String>,
    place: Arc<[u8]>,
    recovery: Option<Box<Recovery>>,
    /// How often the program has written parameters, or a forward pass of its own has moved statistics.
    pub(super) changes: u64,
    /// How often it has told something else that goes into a checkpoint.
    pub(super) told: u64,
}

impl TrainerBuilder {
    /// Goes on from a [checkpoint](Trainer::checkpoint): the trainer is then as the one that wrote it was, and
    /// makes the same bits from there on, on the same device and with the same options. On another device, or
    /// on the CPU, it goes on within rounding.
    ///
    /// Model and optimizer must be those of the checkpoint; so must be the
    /// [batches of an update](Self::accumulate) where it was written within one. What the checkpoint has comes
    /// from there: parameters, statistics, the optimizer's state, counts, the seed, and the learning rate,
    /// which [`Trainer::set_learning_rate`] may change afterwards. The optimizer's other hyper-parameters,
    /// losses, clipping, the schedule, the average's decay, the rules of groups, the precision and the size of a
    /// batch are those of this builder, as a program may have changed its mind; each that is another than in the
    /// checkpoint is logged as a warning.
    ///
    /// [Several ranks](Self::distributed) go on from any checkpoint that was not written within an update, also from
    /// that of another number of ranks, or of one trainer: within rounding where ranks times the
    /// [batches of an update](Self::accumulate) stay what they were, and else as another training, with larger or
    /// smaller updates. Either is logged as a warning.
    ///
    /// That the checkpoint cannot be read, is damaged, or is of another model or optimizer is an
    /// [`Error::File`] of [`on`](Self::on) and its like.
    pub fn resume(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint.resume = Some(Source::File(path.into()));
        self
    }

    /// [`resume`](Self::resume) from the bytes that [`Trainer::checkpoint_bytes`] gave.
    pub fn resume_bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.resume_shared(&Arc::new(bytes.into()))
    }

    fn resume_shared(mut self, bytes: &Arc<Vec<u8>>) -> Self {
        self.checkpoint.resume = Some(Source::Bytes(bytes.clone()));
        self
    }
}

impl Trainer {
    /// Writes all that this training has come to into a safetensors file, from which
    /// [`TrainerBuilder::resume`] goes on with the same bits: parameters and running statistics under their
    /// names, the optimizer's numbers under `optimizer/<parameter>/<number>`, the sums of gradients that wait for
    /// an update under `pending/<parameter>`, an average under `average/<parameter>`, and in the header's metadata the counts of batches, updates and
    /// examples, the learning rate, the seed, a description of model and optimizer, and the
    /// [notes](Self::set_note). The [place in the data](Self::set_data_place) goes with it, and the
    /// [log](Self::log) as CSV under `log/csv`.
    ///
    /// ```
    /// use wgpu_cnn::{Model, Optimizer, Trainer};
    /// let builder = || {
    ///     let model = Model::builder([2]).dense(8).tanh().dropout(0.2).dense(2).build()?;
    ///     Ok::<_, wgpu_cnn::Error>(Trainer::builder(model).optimizer(Optimizer::adam(0.01)))
    /// };
    /// let (x, labels) = ([0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0u8, 1, 1, 0]);
    /// let mut trainer = builder()?.on_cpu()?;
    /// for _ in 0..5 {
    ///     trainer.step(&x, &labels)?;
    /// }
    /// let path = std::env::temp_dir().join(format!("checkpoint-{}.safetensors", std::process::id()));
    /// trainer.checkpoint(&path)?;
    /// let mut resumed = builder()?.resume(&path).on_cpu()?;
    /// # std::fs::remove_file(&path).unwrap();
    /// assert_eq!(resumed.batches(), 5);
    /// for trainer in [&mut trainer, &mut resumed] {
    ///     trainer.step(&x, &labels)?;
    /// }
    /// assert_eq!(trainer.parameter("0.weight")?, resumed.parameter("0.weight")?);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// Until all is on the disk, what was under that name before stays there. A tensor at a time is in memory.
    ///
    /// Of [several ranks](TrainerBuilder::distributed) rank 0 alone writes, and not while batches wait for an
    /// update. The others write nothing and do not wait for it: [`wait_for_ranks`](Self::wait_for_ranks) does.
    ///
    /// # Errors
    /// Those of [`save`](Self::save); [`Error::Argument`] between a [`forward`](Self::forward) and its
    /// backward pass, while an average is [in place](Self::swap_average), and for a parameter that is called as a part of a checkpoint is.
    #[cfg(feature = "native")]
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        pollster::block_on(self.write_checkpoint(path.as_ref(), None))
    }

    /// [`checkpoint`](Self::checkpoint) for asynchronous programs. A browser has no files:
    /// [`checkpoint_bytes_async`](Self::checkpoint_bytes_async) gives what would be in one.
    pub async fn checkpoint_async(&self, path: impl AsRef<Path>) -> Result<()> {
        self.write_checkpoint(path.as_ref(), None).await
    }

    /// The bytes of a [`checkpoint`](Self::checkpoint), for [`TrainerBuilder::resume_bytes`].
    ///
    /// # Errors
    /// Those of [`checkpoint`](Self::checkpoint) that are no file's.
    #[cfg(feature = "native")]
    pub fn checkpoint_bytes(&self) -> Result<Vec<u8>> {
        pollster::block_on(self.checkpoint_bytes_async())
    }

    /// [`checkpoint_bytes`](Self::checkpoint_bytes) for asynchronous programs and the browser.
    pub async fn checkpoint_bytes_async(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_state(None, &mut bytes).await?;
        Ok(bytes)
    }

    async fn write_checkpoint(&self, path: &Path, metric: Option<f64>) -> Result<()> {
        if !self.writes() {
            return self.check_between_steps();
        }
        let mut file = Replacement::begin(path)?;
        self.write_state(metric, &mut file).await?;
        file.finish()
    }

    /// Batches trained on so far: the number of the next one.
    pub fn batches(&self) -> u64 {
        match &self.backend {
            Backend::Gpu(plan) => plan.batches(),
            Backend::Cpu(reference) => reference.steps(),
        }
    }

    /// Notes a text of one's own under a name, which [checkpoints](Self::checkpoint) keep: an epoch, the
    /// command line. What was noted under that name before is forgotten.
    pub fn set_note(&mut self, name: impl Into<String>, text: impl Into<String>) {
        let (name, text) = (name.into(), text.into());
        if self.note(&name) != Some(&*text) {
            self.session.notes.insert(name, text);
            self.session.told += 1;
        }
    }

    /// What was [noted](Self::set_note) under a name.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.session.notes.get(name).map(String::as_str)
    }

    /// All notes, by name.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &str)> {
        let notes = self.session.notes.iter();
        notes.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Keeps the place at which the data are, in whatever form they give it, for
    /// [checkpoints](Self::checkpoint). It is never looked into.
    pub fn set_data_place(&mut self, place: impl Into<Vec<u8>>) {
        let place = place.into();
        if *self.session.place != *place {
            self.session.place = place.into();
            self.session.told += 1;
        }
    }

    /// The place in the data that was last [set](Self::set_data_place), or that of the checkpoint that the
    /// training has gone on from; empty where there is none.
    pub fn data_place(&self) -> &[u8] {
        &self.session.place
    }

    /// Whether batches wait for an update.
    pub(super) fn has_pending(&self) -> bool {
        match &self.backend {
            Backend::Gpu(plan) => plan.is_pending(),
            Backend::Cpu(reference) => reference.is_pending(),
        }
    }

    /// Refuses a state from which the next call could not be made.
    fn check_between_steps(&self) -> Result<()> {
        self.check_not_averaged()?;
        if self.ranks() > 1 && self.has_pending() {
            let reason = "batches wait for an update, and each rank has the sum of its own: update comes first";
            return Err(Error::argument("checkpoint", reason));
        }
        let forwarded = match &self.backend {
            Backend::Gpu(plan) => plan.forwarded(),
            Backend::Cpu(reference) => reference.forwarded(),
        };
        match forwarded {
            Ok(_) => {
                let reason = "a forward pass waits for its backward pass";
                Err(Error::argument("checkpoint", reason))
            }
            Err(_) => Ok(()),
        }
    }
}
