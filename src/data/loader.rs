//! Batches of examples, in order or shuffled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mix::Mix;
use super::place::{Layout, Place};
use super::random::{Purpose, Random};
use super::{Array, Dataset, Example, Transforms};
use crate::op::Target;
use crate::{Error, Result, Shape};

/// Examples that go through a network together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The inputs, one after the other: images `(N, C, H, W)`.
    pub images: Vec<f32>,
    /// What the network should make of them.
    pub targets: Target,
    /// The shape of [`images`](Self::images), `(N, ..)`.
    pub shape: Shape,
    /// Each example's number in the data set.
    pub indices: Vec<usize>,
}

impl Batch {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is none, which a loader never gives.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// Makes batches of the examples of a [`Dataset`]: in its order or shuffled, transformed, decoded ahead on
/// threads. What a batch holds follows from the data set, the loader's options and the numbers of epoch and
/// batch; neither the number of threads nor what was read before has a part in it.
///
/// ```
/// use wgpu_cnn::data::{Array, Loader, Memory};
/// let images = Array::new([100, 1, 8, 8], vec![0u8; 6400])?;
/// let memory = Memory::new(images, vec![0u8; 100])?;
/// let loader = Loader::builder(memory).batch(32).shuffle(true).seed(7).build()?;
/// assert_eq!(loader.len(), 4);
/// for batch in loader.epoch(0) {
///     let batch = batch?; // trainer.step(&batch.images, batch.targets)?
///     assert!(batch.len() == 32 || batch.len() == 4);
/// }
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub struct Loader {
    work: Arc<Work>,
    progress: Arc<Progress>,
    #[cfg(feature = "native")]
    threads: super::ahead::Threads,
}

/// Sets what a [`Loader`] does.
pub struct LoaderBuilder {
    dataset: Box<dyn Dataset>,
    transforms: Transforms,
    layout: Layout,
    mix: Mix,
    classes: Option<usize>,
    skip_damaged: bool,
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

impl std::fmt::Debug for LoaderBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoaderBuilder")
            .field("layout", &self.layout)
            .field("transforms", &self.transforms)
            .finish_non_exhaustive()
    }
}

impl LoaderBuilder {
    /// What happens to each example. Default nothing: bytes are divided by 255.
    pub fn transforms(mut self, transforms: Transforms) -> Self {
        self.transforms = transforms;
        self
    }

    /// Examples in a batch. Default 32.
    pub fn batch(mut self, examples: usize) -> Self {
        self.layout.batch = examples;
        self
    }

    /// Whether each epoch has an order of its own, drawn from the seed. Default false: the data set's order.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.layout.shuffle = shuffle;
        self
    }

    /// What order, transforms and mixing are drawn from, together with the epoch. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.layout.seed = seed;
        self
    }

    /// Whether the examples that are left at the end of an epoch and fill no batch are left out. Default false:
    /// the last batch is smaller.
    pub fn drop_last(mut self, drop_last: bool) -> Self {
        self.layout.drop_last = drop_last;
        self
    }

    /// Mixes each image and its target with those of the one before in the batch, in a share that is drawn for the
    /// batch from Beta(`alpha`, `alpha`) (Zhang et al. 2018): torchvision's `MixUp`. The batch's targets are a
    /// probability for each class then, for [`Loss::cross_entropy`](crate::Loss::cross_entropy).
    pub fn mixup(mut self, alpha: f64) -> Self {
        self.mix.mixup = Some(alpha);
        self
    }

    /// Puts a random rectangle of the image before in each one's place, and mixes targets by its area (Yun et al.
    /// 2019): torchvision's `CutMix`. With [`mixup`](Self::mixup) as well, each batch gets either of them.
    pub fn cutmix(mut self, alpha: f64) -> Self {
        self.mix.cutmix = Some(alpha);
        self
    }

    /// The number of classes, which mixing wants. Default those that the data set has names of.
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = Some(classes);
        self
    }

    /// Whether examples whose files cannot be read or decoded are left out of their batches, counted
    /// ([`Loader::skipped`]) and logged. Default false: they are an error that names the file. An epoch in which
    /// nothing can be read is an error in any case.
    pub fn skip_damaged(mut self, skip: bool) -> Self {
        self.skip_damaged = skip;
        self
    }

    /// Threads that make batches ahead. Default 0: they are made where they are asked for. The batches are the same
    /// with any number.
    #[cfg(feature = "native")]
    pub fn workers(mut self, threads: usize) -> Self {
        self.threads.count = threads;
        self
    }

    /// Batches that lie ready or are being made, at most. Default two for each thread.
    #[cfg(feature = "native")]
    pub fn ahead(mut self, batches: usize) -> Self {
        self.threads.ahead = Some(batches);
        self
    }

    /// Makes the loader. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Argument`] for an option outside its domain, a data set without examples, or fewer than a batch of
    /// them where the last is dropped.
    pub fn build(mut self) -> Result<Loader> {
        self.layout.examples = self.dataset.len();
        self.transforms.check()?;
        self.mix.check()?;
        if self.layout.batch == 0 {
            return Err(Error::argument("batch", "must not be 0"));
        }
        if self.layout.examples == 0 {
            return Err(Error::argument("data set", "has no examples"));
        }
        if self.layout.batches() == 0 {
            let Layout {
                examples, batch, ..
            } = self.layout;
            let reason = format!("{batch}, of {examples} examples, and the last is dropped");
            return Err(Error::argument("batch", reason));
        }
        let classes = self.classes.unwrap_or(self.dataset.classes().len());
        if !self.mix.is_none() && !(1..=super::array::MOST).contains(&classes) {
            let reason = format!("{classes}, where mixing wants the number of classes");
            return Err(Error::argument("classes", reason));
        }
        #[cfg(feature = "native")]
        self.threads.check()?;
        Ok(Loader {
            progress: Arc::new(Progress::new(self.layout)),
            #[cfg(feature = "native")]
            threads: self.threads,
            work: Arc::new(Work {
                dataset: self.dataset,
                transforms: self.transforms,
                layout: self.layout,
                mix: self.mix,
                classes,
                skip_damaged: self.skip_damaged,
            }),
        })
    }
}

impl Loader {
    /// Begins a loader for the examples of a data set.
    pub fn builder(dataset: impl Dataset + 'static) -> LoaderBuilder {
        LoaderBuilder {
            dataset: Box::new(dataset),
            transforms: Transforms::new(),
            layout: Layout {
                examples: 0,
                batch: 32,
                seed: 0,
                shuffle: false,
                drop_last: false,
            },
            mix: Mix::default(),
            classes: None,
            skip_damaged: false,
            #[cfg(feature = "native")]
            threads: super::ahead::Threads::default(),
        }
    }

    /// Batches of an epoch.
    pub fn len(&self) -> usize {
        self.work.layout.batches()
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
        let task = Arc::new(Task {
            order: self.work.order(epoch),
            work: self.work.clone(),
            epoch,
            stop: AtomicBool::new(false),
        });
        Epoch {
            #[cfg(feature = "native")]
            threads: self.threads.start(&task, first),
            progress: self.progress.clone(),
            next: first,
            count: self.len(),
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

/// What batches are made from.
struct Work {
    dataset: Box<dyn Dataset>,
    transforms: Transforms,
    layout: Layout,
    mix: Mix,
    classes: usize,
    skip_damaged: bool,
}

impl Work {
    /// The examples of an epoch in their order: of all ranks, should there be several one day, who would then
    /// take parts of it.
    fn order(&self, epoch: u64) -> Option<Vec<usize>> {
        let Layout {
            shuffle,
            seed,
            examples,
            ..
        } = self.layout;
        shuffle.then(|| Random::of(Purpose::Order, seed, epoch, 0).order(examples))
    }
}

/// An epoch's batches to be made, by any thread.
pub(super) struct Task {
    work: Arc<Work>,
    /// `None` where it is the data set's.
    order: Option<Vec<usize>>,
    epoch: u64,
    /// Whether nobody wants them any more.
    pub stop: AtomicBool,
}

/// What became of a batch.
pub(super) struct Made {
    /// None where every example was damaged.
    batch: Option<Batch>,
    skipped: u64,
    /// The error of the last that was.
    damage: Option<Error>,
}

impl Task {
    #[cfg(feature = "native")]
    pub fn batches(&self) -> usize {
        self.work.layout.batches()
    }

    /// Makes a batch. A panic in a data set or in a function of the user's is an error.
    pub fn make(&self, batch: usize) -> Result<Made> {
        let made = catch_unwind(AssertUnwindSafe(|| self.try_make(batch)));
        made.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_default();
            let reason = format!("panicked in batch {batch} of epoch {}: {text}", self.epoch);
            Err(Error::argument("data set", reason))
        })
    }

    fn try_make(&self, number: usize) -> Result<Made> {
        let Work {
            dataset, layout, ..
        } = &*self.work;
        let begin = number * layout.batch;
        let mut stack = Stack::default();
        let (mut skipped, mut damage) = (0, None);
        for at in begin..layout.examples.min(begin.saturating_add(layout.batch)) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let index = self.order.as_ref().map_or(at, |order| order[at]);
            match dataset.get(index) {
                Ok(Example { input, target }) => {
                    let mut random = Random::new(layout.seed, self.epoch, index as u64);
                    let input = self.work.transforms.apply(input, &mut random)?;
                    stack.push(index, input, target)?;
                }
                Err(error @ Error::File { .. }) if self.work.skip_damaged => {
                    log::warn!("example {index} is left out: {error}");
                    skipped += 1;
                    damage = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let mut batch = stack.finish();
        if let Some(batch) = &mut batch {
            let number = number as u64;
            let mut random = Random::of(Purpose::Batch, layout.seed, self.epoch, number);
            self.work.mix.apply(batch, self.work.classes, &mut random)?;
        }
        Ok(Made {
            batch,
            skipped,
            damage,
        })
    }
}

/// Examples that become a batch.
#[derive(Default)]
struct Stack {
    indices: Vec<usize>,
    shape: Shape,
    images: Vec<f32>,
    targets: Option<Target>,
}

impl Stack {
    fn push(&mut self, index: usize, input: Array, target: Target) -> Result<()> {
        if self.indices.is_empty() {
            self.shape = input.shape().clone();
        } else if *input.shape() != self.shape {
            let expected = format!(
                "{}, as of the batch's first: resize or crop to one size",
                self.shape
            );
            return Err(Error::shape(
                format!("example {index}"),
                expected,
                input.shape(),
            ));
        }
        self.images.append(&mut input.into_floats());
        match (&mut self.targets, target) {
            (None, target) => self.targets = Some(target),
            (Some(Target::Labels(all)), Target::Labels(more)) => all.extend(more),
            (Some(Target::WideLabels(all)), Target::WideLabels(more)) => all.extend(more),
            (Some(Target::Values(all)), Target::Values(more)) => all.extend(more),
            (Some(all), more) => join(all, more, index)?,
        }
        self.indices.push(index);
        Ok(())
    }

    fn finish(self) -> Option<Batch> {
        let shape = self.shape.batched(self.indices.len());
        let targets = self.targets?;
        Some(Batch {
            images: self.images,
            targets,
            shape,
            indices: self.indices,
        })
    }
}

/// Labels that fit into 32 bits and labels that do not, in one list; values are no labels.
fn join(all: &mut Target, more: Target, index: usize) -> Result<()> {
    let wide = |target: &Target| match target {
        Target::Labels(labels) => Some(
            labels
                .iter()
                .map(|&label| label.into())
                .collect::<Vec<i128>>(),
        ),
        Target::WideLabels(labels) => Some(labels.clone()),
        Target::Values(_) => None,
    };
    let (Some(mut labels), Some(more)) = (wide(all), wide(&more)) else {
        let reason = "some are labels and some are values in one batch";
        return Err(Error::argument(
            format!("target of example {index}"),
            reason,
        ));
    };
    labels.extend(more);
    *all = Target::WideLabels(labels);
    Ok(())
}

/// The batches of an epoch: an iterator. Dropping it ends its threads.
pub struct Epoch {
    task: Arc<Task>,
    progress: Arc<Progress>,
    #[cfg(feature = "native")]
    threads: Option<super::ahead::Ahead>,
    next: usize,
    count: usize,
    /// Whether there was a batch.
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
            self.progress.at(self.task.epoch, self.next);
            self.damage = made.damage.or(self.damage.take());
            if let Some(batch) = made.batch {
                self.given = true;
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
