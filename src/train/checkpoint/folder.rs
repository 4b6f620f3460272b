//! A folder of checkpoints: the last few, and the best.

use std::fs;
use std::path::{Path, PathBuf};

use super::read::Header;
use crate::file::safetensors::Reader;
use crate::train::Trainer;
use crate::{Error, Result, file};

const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";

/// A folder of [checkpoints](Trainer::checkpoint), of which the last few are kept, and the best if asked.
///
/// A file is called after its place in the order of writing and the number of updates:
/// `checkpoint-000012-00003400.safetensors`. Nothing else in the folder is touched. A file that is no whole
/// checkpoint counts for nothing: none has been left half written by this library, but disks fail.
///
/// ```
/// use wgpu_cnn::{Checkpoints, Model, Trainer};
/// let folder = std::env::temp_dir().join(format!("checkpoints-{}", std::process::id()));
/// let checkpoints = Checkpoints::new(&folder).keep(2).keep_highest();
/// let model = Model::builder([2]).dense(2).build()?;
/// let mut trainer = Trainer::builder(model.clone()).on_cpu()?;
/// for accuracy in [0.5, 0.9, 0.7, 0.8] {
///     trainer.step(&[0.0, 1.0], [0u8])?;
///     checkpoints.save(&trainer, accuracy)?;
/// }
/// let best = checkpoints.best()?.unwrap();
/// assert_eq!(Trainer::builder(model.clone()).resume(best).on_cpu()?.batches(), 2);
/// let latest = checkpoints.latest()?.unwrap();
/// assert_eq!(Trainer::builder(model).resume(latest).on_cpu()?.batches(), 4);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
    best: Option<Best>,
}

/// Which of metrics is the best.
#[derive(Debug, Clone, Copy)]
enum Best {
    Lowest,
    Highest,
}

/// A file by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Its place in the order of writing.
    number: u64,
    path: PathBuf,
}

impl Checkpoints {
    /// Those in a folder, which is made with the first of them. The last three are kept.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            keep: 3,
            best: None,
        }
    }

    /// Sets how many of the last are kept. 0 means all.
    pub fn keep(mut self, last: usize) -> Self {
        self.keep = last;
        self
    }

    /// Keeps the one with the lowest metric besides, as of a loss.
    pub fn keep_lowest(mut self) -> Self {
        self.best = Some(Best::Lowest);
        self
    }

    /// Keeps the one with the highest metric besides, as of an accuracy.
    pub fn keep_highest(mut self) -> Self {
        self.best = Some(Best::Highest);
        self
    }

    /// Writes a checkpoint with its metric, a number or `None`, and removes those that are not to be kept any
    /// more. Gives its path. Of [several ranks](crate::TrainerBuilder::distributed) rank 0 alone writes one; the
    /// others are given that of the folder.
    ///
    /// # Errors
    /// Those of [`Trainer::checkpoint`], in which case none is removed; [`Error::File`] where the folder
    /// cannot be made or read, and for what cannot be removed, once all else is done.
    pub fn save(&self, trainer: &Trainer, metric: impl Into<Option<f64>>) -> Result<PathBuf> {
        self.save_with(trainer, metric.into())
    }

    fn save_with(&self, trainer: &Trainer, metric: Option<f64>) -> Result<PathBuf> {
        // What is refused leaves no folder.
        trainer.check_checkpoint_of(metric)?;
        if !trainer.writes() {
            return Ok(self.folder.clone());
        }
        let made = fs::create_dir_all(&self.folder);
        made.map_err(|error| Error::file(&self.folder, error))?;
        let last = self.entries()?.pop().map_or(0, |entry| entry.number);
        let (number, updates) = (last.saturating_add(1), trainer.updates());
        let name = format!("{PREFIX}{number:06}-{updates:08}{SUFFIX}");
        let path = self.folder.join(name);
        pollster::block_on(trainer.write_checkpoint(&path, metric))?;
        self.clear()?;
        Ok(path)
    }

    /// The checkpoint that was written last, if there is any.
    ///
    /// # Errors
    /// [`Error::File`] where there is a folder that cannot be read.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        let entries = self.entries()?.into_iter().rev();
        let mut paths = entries.map(|entry| entry.path);
        Ok(paths.find(|path| header(path).is_ok()))
    }

    /// The checkpoint with the best metric, the last of those that are equal; none where
    /// [`keep_lowest`](Self::keep_lowest) or [`keep_highest`](Self::keep_highest) was not called, or no
    /// checkpoint has a metric that is a number.
    ///
    /// # Errors
    /// [`Error::File`] where there is a folder that cannot be read.
    pub fn best(&self) -> Result<Option<PathBuf>> {
        let Some(best) = self.best else {
            return Ok(None);
        };
        let mut found: Option<(f64, PathBuf)> = None;
        for Entry { path, .. } in self.entries()? {
            let metric = header(&path).ok().and_then(|header| header.metric);
            let Some(metric) = metric.filter(|metric| !metric.is_nan()) else {
                continue;
            };
            let better = found.as_ref().is_none_or(|&(other, _)| match best {
                Best::Lowest => metric <= other,
                Best::Highest => metric >= other,
            });
            if better {
                found = Some((metric, path));
            }
        }
        Ok(found.map(|(_, path)| path))
    }

    /// Removes what is not to be kept. What is no whole checkpoint takes the place of none that is.
    fn clear(&self) -> Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let best = self.best()?;
        let entries = self.entries()?.into_iter().rev();
        let whole = entries.filter(|entry| header(&entry.path).is_ok());
        let surplus = whole.skip(self.keep).map(|entry| entry.path);
        let mut failed = Ok(());
        for path in surplus.filter(|path| Some(path) != best.as_ref()) {
            if let Err(error) = fs::remove_file(&path) {
                failed = Err(Error::file(&path, error));
            }
        }
        failed
    }

    /// The files of a checkpoint's name, in the order of their writing; none where there is no folder yet.
    fn entries(&self) -> Result<Vec<Entry>> {
        let failed = |error: std::io::Error| Error::file(&self.folder, error);
        let folder = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
            folder => folder.map_err(failed)?,
        };
        let mut entries = Vec::new();
        for file in folder {
            let file = file.map_err(failed)?;
            if let Some(number) = file.file_name().to_str().and_then(number) {
                let path = file.path();
                entries.push(Entry { number, path });
            }
        }
        entries.sort();
        Ok(entries)
    }
}

/// The place in the order of writing, where a name is that of a checkpoint.
fn number(name: &str) -> Option<u64> {
    let digits = |text: &str, least: usize| {
        text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (number, updates) = name.split_once('-')?;
    let own = digits(number, 6) && digits(updates, 8);
    own.then(|| number.parse().ok()).flatten()
}

/// What a file says of itself, where it is a whole checkpoint.
fn header(path: &Path) -> Result<Header> {
    let source = file::open(path).map_err(|error| Error::file(path, error))?;
    let reader = Reader::new(path, source)?;
    Header::of(reader.metadata()).map_err(|reason| Error::file(path, reason))
}
