//! Batches of examples, in order or shuffled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place::{Layout, Place};
use super::task::{Batch, Made, Task, Work};
use super::{Dataset, LoaderBuilder};
use crate::{Error, Result};

/// Makes batches of the examples of a [`Dataset`]: in its order or shuffled, transformed, decoded ahead on
/// threads. What a batch holds follows from the data set, the loader's options and the numbers of epoch and
/// batch; neither the number of threads nor what was read before has a part in it.
///
/// ```
/// use wgpu_cnn::data::{Array, Loader, Memory};
/// use wgpu_cnn::{Model, Trainer};
/// let images = Array::new([100, 1, 8, 8], vec![0u8; 6400])?;
/// let memory = Memory::new(images, vec![0u8; 100])?;
/// let loader = Loader::builder(memory).batch(32).shuffle(true).seed(7).build()?;
/// assert_eq!(loader.len(), 4);
/// let model = Model::builder([1, 8, 8]).flatten().dense(2).build()?;
/// let mut trainer = Trainer::builder(model).batch(32).on_cpu()?;
/// for batch in loader.epoch(0) {
///     let batch = batch?;
///     assert!(batch.len() == 32 || batch.len() == 4);
///     trainer.step(&batch.images, batch.targets)?;
/// }
/// // Batches as they come, errors of reading among them.
/// assert_eq!(trainer.evaluate(loader.epoch(0))?.examples, 100);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub struct Loader {
    work: Arc<Work>,
    progress: Arc<Progress>,
    #[cfg(feature = "native")]
    threads: super::ahead::Threads,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("layout", &self.work.layout)
            .field("transforms", &self.work.transforms)
            .finish_non_exhaustive()
    }
}

impl Loader {
    pub(super) fn new(
        work: Work,
        #[cfg(feature = "native")] threads: super::ahead::Threads,
    ) -> Self {
        Self {
            progress: Arc::new(Progress::new(work.layout)),
            #[cfg(feature = "native")]
            threads,
            work: Arc::new(work),
        }
    }

    /// Begins a loader for the examples of a data set.
    pub fn builder(dataset: impl Dataset + 'static) -> LoaderBuilder {
        LoaderBuilder::new(Box::new(dataset))
    }

    /// Batches of an epoch: of a [rank's part](LoaderBuilder::shard) of it, as many for each rank.
    pub fn len(&self) -> usize {
        self.work.shard.rounds(self.work.layout.batches())
    }

    /// Whether there are none, which never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the batches are made of.
    pub fn dataset(&self) -> &dyn Dataset {
        &*self.work.dataset
    }

    /// The batches of an epoch: all of them, or those from the place on that was [resumed](Self::resume), if it is
    /// in this epoch. Threads live as long as what this returns. After an error the next batch can be asked
    /// for.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        let first = self.progress.begin(epoch);
        let task = Arc::new(Task::new(self.work.clone(), epoch, first));
        Epoch {
            #[cfg(feature = "native")]
            threads: self.threads.start(&task),
            progress: self.progress.clone(),
            next: 0,
            count: task.rounds(),
            given: false,
            damage: None,
            task,
        }
    }

    /// Where the loader is: before the batch that comes after the last one given.
    pub fn place(&self) -> Place {
        self.progress.lock().place
    }

    /// Goes to a place: the next call of [`epoch`](Self::epoch) for its epoch begins there. A loop over epochs
    /// goes on as `for epoch in place.epoch()..epochs`.
    ///
    /// # Errors
    /// [`Error::Argument`] for the place of a loader with another number of examples, batch size, seed or order;
    /// it says which. Then the loader stays where it is.
    pub fn resume(&self, place: &Place) -> Result<()> {
        place.check(&self.work.layout)?;
        let mut state = self.progress.lock();
        state.place = *place;
        state.resumed = true;
        Ok(())
    }

    /// Examples that have been left out of the batches given so far, since they were damaged.
    pub fn skipped(&self) -> u64 {
        self.progress.skipped.load(Ordering::Relaxed)
    }
}

/// How far the batches have been given.
struct Progress {
    state: Mutex<State>,
    skipped: AtomicU64,
}

struct State {
    place: Place,
    /// Whether the place is where the next epoch begins.
    resumed: bool,
}

impl Progress {
    fn new(layout: Layout) -> Self {
        let place = Place {
            epoch: 0,
            batch: 0,
            layout,
        };
        Self {
            state: Mutex::new(State {
                place,
                resumed: false,
            }),
            skipped: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The batch that an epoch begins with.
    fn begin(&self, epoch: u64) -> usize {
        let mut state = self.lock();
        let resumed = std::mem::take(&mut state.resumed) && state.place.epoch == epoch;
        if !resumed {
            (state.place.epoch, state.place.batch) = (epoch, 0);
        }
        state.place.batch
    }

    /// Notes that the next batch is this one.
    fn at(&self, epoch: u64, batch: usize) {
        let mut state = self.lock();
        let place = &mut state.place;
        (place.epoch, place.batch) = match batch < place.layout.batches() {
            true => (epoch, batch),
            false => (epoch.saturating_add(1), 0),
        };
    }
}

/// The batches of an epoch: an iterator. Dropping it ends its threads.
pub struct Epoch {
    task: Arc<Task>,
    progress: Arc<Progress>,
    #[cfg(feature = "native")]
    threads: Option<super::ahead::Ahead>,
    /// Rounds that are behind, and all of them.
    next: usize,
    count: usize,
    /// Whether there was a batch with examples.
    given: bool,
    damage: Option<Error>,
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch")
            .field("epoch", &self.task.epoch)
            .field("next", &self.next)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Epoch {
    fn make(&mut self) -> Result<Made> {
        #[cfg(feature = "native")]
        if let Some(threads) = &self.threads {
            return threads.take();
        }
        self.task.make(self.next)
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        while self.next < self.count {
            let made = self.make();
            self.next += 1;
            let made = match made {
                Ok(made) => made,
                Err(error) => return Some(Err(error)),
            };
            self.progress
                .skipped
                .fetch_add(made.skipped, Ordering::Relaxed);
            self.progress
                .at(self.task.epoch, self.task.begin(self.next));
            self.damage = made.damage.or(self.damage.take());
            if let Some(batch) = made.batch {
                self.given |= !batch.is_empty();
                return Some(Ok(batch));
            }
        }
        // An epoch of nothing but damaged images would look like one that is done.
        self.damage.take().filter(|_| !self.given).map(Err)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.count - self.next + 1))
    }
}
