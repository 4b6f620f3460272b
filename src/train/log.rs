//! What has been noted during a training.

mod csv;

#[cfg(feature = "native")]
use std::path::Path;
use std::time::Instant;

use super::Trainer;
use super::trainer::Backend;
use crate::gpu::timer::{now, since};
use crate::{Error, Result};

/// What a trainer was asked to [`record`](Trainer::record): rows of values by name, and as CSV.
///
/// ```
/// use wgpu_cnn::{Log, Model, Trainer};
/// let model = Model::builder([2]).dense(3).build()?;
/// let mut trainer = Trainer::builder(model).on_cpu()?;
/// for _ in 0..3 {
///     trainer.step(&[0.5, 1.0], [1u8])?;
///     trainer.record([("loss", trainer.loss()?.into())])?;
/// }
/// let log = trainer.log();
/// assert_eq!(log.rows()[2].update, 3);
/// let losses = log.values("loss"); // with the update of each
/// assert!(losses[2].1 < losses[0].1);
/// let text = log.to_csv();
/// assert!(text.starts_with("update,batch,examples,learning_rate,seconds,loss\n1,1,1,"));
/// assert_eq!(Log::from_csv(&text)?, *log);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    rows: Vec<LogRow>,
}

/// A row of a [`Log`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogRow {
    /// Updates of the parameters so far.
    pub update: u64,
    /// Batches so far.
    pub batch: u64,
    /// Examples of all batches so far.
    pub examples: u64,
    /// The learning rate of the next update.
    pub learning_rate: f64,
    /// Seconds since the trainer was made; NaN in the browser.
    pub seconds: f64,
    /// What was recorded, by name.
    pub values: Vec<(String, f64)>,
}

/// The columns that every row has.
const OWN: [&str; 5] = ["update", "batch", "examples", "learning_rate", "seconds"];

impl LogRow {
    /// A value by its name.
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.values.iter().find(|(other, _)| other == name);
        found.map(|&(_, value)| value)
    }
}

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows, in the order in which they were recorded.
    pub fn rows(&self) -> &[LogRow] {
        &self.rows
    }

    /// A value of all rows that have it, with the update of each: what a curve is drawn from.
    pub fn values(&self, name: &str) -> Vec<(u64, f64)> {
        let rows = self.rows.iter();
        rows.filter_map(|row| Some((row.update, row.value(name)?)))
            .collect()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that the row has twice, or that is one of `update`, `batch`, `examples`,
    /// `learning_rate` and `seconds`.
    pub fn push(&mut self, row: LogRow) -> Result<()> {
        for (at, (name, _)) in row.values.iter().enumerate() {
            let before = row.values[..at].iter().map(|(name, _)| &name[..]);
            if OWN.into_iter().chain(before).any(|other| other == name) {
                return Err(Error::argument(
                    format!("{name:?}"),
                    "is in the row already",
                ));
            }
        }
        self.rows.push(row);
        Ok(())
    }

    /// Forgets the rows of later updates: of a training that goes on from an earlier one.
    pub fn keep_until(&mut self, update: u64) {
        self.rows.retain(|row| row.update <= update);
    }

    /// The log as CSV with a header: a column for each name, in the order in which they came up, empty where a
    /// row has none. Numbers are written so that they are read back exactly; names with commas, quotes or
    /// line breaks are in quotes, as RFC 4180 says. Lines end in `\n`.
    pub fn to_csv(&self) -> String {
        csv::write(self)
    }

    /// Reads what [`to_csv`](Self::to_csv) has written. Columns may be in another order and lines may end in
    /// `\r\n`, as a spreadsheet may leave them.
    ///
    /// # Errors
    /// [`Error::Argument`] with the line, where it is not such a text.
    pub fn from_csv(text: &str) -> Result<Self> {
        csv::read(text).map_err(|reason| Error::argument("CSV", reason))
    }

    /// Writes the log [as CSV](Self::to_csv) to a file, which it replaces as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be written.
    #[cfg(feature = "native")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        crate::file::replace(path.as_ref(), self.to_csv().as_bytes())
    }

    /// Reads a [saved](Self::save) log.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, or is no such file.
    #[cfg(feature = "native")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::file::read(path).map_err(|error| Error::file(path, error))?;
        let text = String::from_utf8(bytes).map_err(|error| Error::file(path, error))?;
        csv::read(&text).map_err(|reason| Error::file(path, reason))
    }
}

/// A trainer's log, and the time that goes on in it.
#[derive(Debug)]
pub(super) struct Logged {
    log: Log,
    /// Seconds of trainings that this one goes on from.
    seconds: f64,
    since: Option<Instant>,
}

impl Logged {
    pub fn new() -> Self {
        Self {
            log: Log::new(),
            seconds: 0.0,
            since: now(),
        }
    }

    /// The rows so far.
    pub fn rows(&self) -> usize {
        self.log.rows.len()
    }

    /// Forgets what was recorded after the first rows: it is made again.
    pub fn rewind(&mut self, rows: usize) {
        self.log.rows.truncate(rows);
    }

    /// It, where nothing more is recorded.
    pub fn take(&mut self) -> Self {
        Self {
            log: std::mem::take(&mut self.log),
            ..*self
        }
    }

    /// The same with another log, in which the time of this one goes on.
    pub fn replaced(&self, other: Self) -> Self {
        Self {
            log: other.log,
            ..*self
        }
    }

    /// Goes on from the last row of a log.
    pub fn after(log: Log) -> Self {
        // In a browser there may be none.
        let mut seconds = log.rows.iter().rev().map(|row| row.seconds);
        Self {
            seconds: seconds.find(|seconds| seconds.is_finite()).unwrap_or(0.0),
            since: now(),
            log,
        }
    }
}

impl Trainer {
    /// Adds a row to the [`log`](Self::log): the updates, batches, examples and seconds so far, the learning rate of the
    /// next update, and these values, by name. `record` reads nothing back from the device.
    ///
    /// ```
    /// use wgpu_cnn::{Accuracy, Model, Trainer};
    /// let model = Model::builder([2]).dense(3).build()?;
    /// let mut trainer = Trainer::builder(model).on_cpu()?;
    /// trainer.step(&[0.5, 1.0], [1u8])?;
    /// let test = [([0.5f32, 1.0], [1u8])];
    /// let evaluation = trainer.evaluate_with(&test, &mut [&mut Accuracy::new()])?;
    /// trainer.record(evaluation.columns("test "))?; // "test loss" and "test accuracy"
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Log::push`].
    pub fn record<N: Into<String>>(
        &mut self,
        values: impl IntoIterator<Item = (N, f64)>,
    ) -> Result<()> {
        let values = values.into_iter();
        let values = values.map(|(name, value)| (name.into(), value));
        self.record_row(values.collect())
    }

    /// The examples that training has seen.
    pub(super) fn trained(&self) -> u64 {
        match &self.backend {
            Backend::Gpu(plan) => plan.trained(),
            Backend::Cpu(reference) => reference.trained(),
        }
    }

    fn record_row(&mut self, values: Vec<(String, f64)>) -> Result<()> {
        let examples = self.trained();
        let (update, batch) = (self.updates(), self.batches());
        let learning_rate = self.learning_rate();
        let logged = &mut self.logged;
        let seconds = since(logged.since).map_or(f64::NAN, |time| time.as_secs_f64());
        logged.log.push(LogRow {
            update,
            batch,
            examples,
            learning_rate,
            seconds: logged.seconds + seconds,
            values,
        })?;
        self.session.told += 1;
        Ok(())
    }

    /// What has been [recorded](Self::record). A [checkpoint](Self::checkpoint) holds it: a training that goes on
    /// from one has the rows that were recorded by then, and records those that follow again, so that the log
    /// that it [saves](Log::save) in place of an earlier file is that of a training without an interruption,
    /// but for the seconds, which go on from the last row. So does one that [recovers](Self::recover).
    pub fn log(&self) -> &Log {
        &self.logged.log
    }

    /// Goes on with another log, as that of a training whose weights this one starts from: examples and seconds are
    /// counted from its last row on. After a [`resume`](super::TrainerBuilder::resume) there is that of the
    /// checkpoint, and nothing to set; a file may hold rows of later updates, which would come twice
    /// ([`Log::keep_until`]).
    pub fn set_log(&mut self, log: Log) {
        let examples = log.rows.last().map_or(0, |row| row.examples);
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_trained(examples),
            Backend::Cpu(reference) => reference.set_trained(examples),
        }
        self.logged = Logged::after(log);
        self.session.told += 1;
    }
}

#[cfg(all(test, feature = "native"))]
mod tests;
