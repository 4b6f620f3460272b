//! Where a loader is.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// What decides which examples a batch has: two loaders that agree in it give the same batches. How many ranks
/// share them is no part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Layout {
    pub examples: usize,
    pub batch: usize,
    pub seed: u64,
    pub shuffle: bool,
    pub drop_last: bool,
}

impl Layout {
    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.examples / self.batch,
            false => self.examples.div_ceil(self.batch),
        }
    }
}

/// The ranks that share the batches of an epoch: one after the other, a batch each, round after round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shard {
    pub rank: usize,
    pub size: usize,
}

impl Shard {
    /// Refuses a rank that is none of so many.
    pub fn check(self) -> Result<()> {
        let Self { rank, size } = self;
        if rank < size {
            return Ok(());
        }
        let reason = format!("rank {rank} of {size}: ranks are 0 to size - 1");
        Err(Error::argument("shard", reason))
    }

    /// Rounds that take so many batches.
    pub fn rounds(self, batches: usize) -> usize {
        batches.div_ceil(self.size)
    }

    /// The batch of this rank in a round that begins with the batch `begin`, of `batches`. `None` where the batches
    /// have been taken by the ranks before.
    pub fn batch(self, begin: usize, batches: usize) -> Option<usize> {
        let batch = begin.checked_add(self.rank);
        batch.filter(|&batch| batch < batches)
    }
}

/// Where a [`Loader`](super::Loader) is: what a checkpoint keeps, so that a run goes on with the batch that would
/// have come next. Each rank of a [shared](super::LoaderBuilder::shard) loader has the same, and any number of ranks
/// goes on from it. It has a text form, by `to_string` and `parse`, and that has the loader's seed, batch size and
/// number of examples, too: a loader that differs in them refuses it. The text's bytes are what a trainer
/// [keeps](crate::Trainer::set_data_place): `trainer.set_data_place(loader.place())`, and after a resumption
/// `loader.resume(&trainer.data_place().try_into()?)`.
///
/// ```
/// use wgpu_cnn::data::{Array, Loader, Memory, Place};
/// let memory = Memory::new(Array::new([5, 1], vec![0.0f32; 5])?, [0u8, 1, 2, 3, 4])?;
/// let loader = Loader::builder(memory).batch(2).shuffle(true).build()?;
/// let mut batches = loader.epoch(3);
/// let first = batches.next();
/// let place: String = loader.place().to_string();
/// let second = batches.next().transpose()?;
///
/// let place: Place = place.parse()?;
/// assert_eq!((place.epoch(), place.batch()), (3, 1));
/// loader.resume(&place)?;
/// assert_eq!(loader.epoch(3).next().transpose()?, second);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub(super) epoch: u64,
    pub(super) batch: usize,
    pub(super) layout: Layout,
}

/// What a text form begins with.
const NAME: &str = "loader-1";

impl Place {
    /// The epoch of the next batch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The number of the next batch in its epoch. Where ranks share the batches, it counts those of all.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Refuses the place of a loader that gives other batches.
    pub(super) fn check(&self, own: &Layout) -> Result<()> {
        let Layout {
            examples,
            batch,
            seed,
            shuffle,
            drop_last,
        } = self.layout;
        let refuse = |what: &str, there: &dyn fmt::Display, here: &dyn fmt::Display| {
            let reason = format!("is of a loader with {what} {there}; this one has {here}");
            Err(Error::argument("place", reason))
        };
        if examples != own.examples {
            return refuse("a number of examples of", &examples, &own.examples);
        }
        if batch != own.batch {
            return refuse("a batch size of", &batch, &own.batch);
        }
        if shuffle != own.shuffle {
            return refuse("shuffle", &shuffle, &own.shuffle);
        }
        if seed != own.seed {
            return refuse("the seed", &seed, &own.seed);
        }
        if drop_last != own.drop_last {
            return refuse("drop_last", &drop_last, &own.drop_last);
        }
        if self.batch >= own.batches() {
            let reason = format!("is at batch {} of {}", self.batch, own.batches());
            return Err(Error::argument("place", reason));
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            epoch,
            batch,
            layout,
        } = self;
        let Layout {
            examples,
            batch: size,
            seed,
            shuffle,
            drop_last,
        } = layout;
        write!(
            f,
            "{NAME} epoch={epoch} batch={batch} examples={examples} size={size} seed={seed} \
             shuffle={shuffle} drop_last={drop_last}"
        )
    }
}

impl From<Place> for Vec<u8> {
    fn from(place: Place) -> Self {
        place.to_string().into_bytes()
    }
}

impl TryFrom<&[u8]> for Place {
    type Error = Error;

    fn try_from(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text);
        text.map_err(|_| no_place())?.parse()
    }
}

fn no_place() -> Error {
    Error::argument("place", "is not the place of a loader in its text form")
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split(' ');
        let known = words.next() == Some(NAME);
        let mut next = |name: &str| {
            let word = words.next()?;
            word.strip_prefix(name)?.strip_prefix('=')
        };
        let mut read = || {
            let epoch = next("epoch")?.parse().ok()?;
            let batch = next("batch")?.parse().ok()?;
            let layout = Layout {
                examples: next("examples")?.parse().ok()?,
                batch: next("size")?.parse().ok()?,
                seed: next("seed")?.parse().ok()?,
                shuffle: next("shuffle")?.parse().ok()?,
                drop_last: next("drop_last")?.parse().ok()?,
            };
            Some(Self {
                epoch,
                batch,
                layout,
            })
        };
        let place = read().filter(|_| known && words.next().is_none());
        place.ok_or_else(no_place)
    }
}
