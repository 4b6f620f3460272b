//! The options of a loader.

use super::mix::Mix;
use super::place::{Layout, Shard};
use super::task::Work;
use super::{Dataset, Loader, Transforms};
use crate::{Error, Result};

/// Sets what a [`Loader`] does.
pub struct LoaderBuilder {
    dataset: Box<dyn Dataset>,
    transforms: Transforms,
    layout: Layout,
    shard: Shard,
    mix: Mix,
    classes: Option<usize>,
    skip_damaged: bool,
    bytes: bool,
    #[cfg(feature = "native")]
    threads: super::ahead::Threads,
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
    pub(super) fn new(dataset: Box<dyn Dataset>) -> Self {
        Self {
            dataset,
            transforms: Transforms::new(),
            layout: Layout {
                examples: 0,
                batch: 32,
                seed: 0,
                shuffle: false,
                drop_last: false,
            },
            shard: Shard { rank: 0, size: 1 },
            mix: Mix::default(),
            classes: None,
            skip_damaged: false,
            bytes: false,
            #[cfg(feature = "native")]
            threads: super::ahead::Threads::default(),
        }
    }

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

    /// Gives the part of one of `size` ranks that train together: batch `rank`, `rank + size`, `rank + 2 * size` and so
    /// on of the same loader without this, with all that is drawn for them. So ranks that take a step with each of
    /// their batches make the updates of one process that [accumulates](crate::TrainerBuilder::accumulate) `size`
    /// batches. Default rank 0 of 1: all.
    ///
    /// Each rank gets equally many, so that none waits for the others for ever: where a last round has no batch left
    /// for a rank, its batch is [empty](super::Batch::is_empty), and so is one whose examples have all been
    /// [skipped](Self::skip_damaged).
    ///
    /// ```
    /// use wgpu_cnn::data::{Array, Loader, Memory};
    /// let memory = || Memory::new(Array::new([5, 1], vec![0.0f32; 5])?, [0u8; 5]);
    /// for (rank, expected) in [(0, [vec![0, 1], vec![4]]), (1, [vec![2, 3], vec![]])] {
    ///     let loader = Loader::builder(memory()?).batch(2).shard(rank, 2).build()?;
    ///     assert_eq!(loader.len(), 2);
    ///     for (batch, expected) in loader.epoch(0).zip(expected) {
    ///         assert_eq!(batch?.indices, expected);
    ///     }
    /// }
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn shard(mut self, rank: usize, size: usize) -> Self {
        self.shard = Shard { rank, size };
        self
    }

    /// Mixes each image and its target with those of the one before in the batch, in a share that is drawn for the
    /// batch from Beta(`alpha`, `alpha`) (Zhang et al. 2018): torchvision's `MixUp`. The batch's targets are a
    /// probability for each class then, for [`Loss::cross_entropy`](crate::Loss::cross_entropy).
    pub fn mixup(mut self, alpha: f64) -> Self {
        self.mix = self.mix.mixup(alpha);
        self
    }

    /// Puts a random rectangle of the image before in each one's place, and mixes targets by its area (Yun et al.
    /// 2019): torchvision's `CutMix`. With [`mixup`](Self::mixup) as well, each batch gets either of them.
    pub fn cutmix(mut self, alpha: f64) -> Self {
        self.mix = self.mix.cutmix(alpha);
        self
    }

    /// The number of classes, which mixing wants. Default those that the data set has names of.
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = Some(classes);
        self
    }

    /// Whether examples whose files cannot be read or decoded are left out of their batches, counted
    /// ([`Loader::skipped`]) and logged. Default false: they are an error that names the file. An epoch in which
    /// nothing can be read is an error in any case, and so is a rank's part of one.
    pub fn skip_damaged(mut self, skip: bool) -> Self {
        self.skip_damaged = skip;
        self
    }

    /// Whether inputs stay the bytes that they are, in [`Batch::bytes`](super::Batch::bytes), for a model that
    /// [takes these](crate::Model::take_bytes): what is normalised or otherwise becomes real numbers on the way is
    /// an error then, and so is mixing. Default false.
    ///
    /// ```
    /// use wgpu_cnn::data::{Array, IMAGENET, Loader, Memory, Transforms};
    /// use wgpu_cnn::{Model, Trainer};
    /// let photos = Array::new([4, 3, 8, 8], vec![128u8; 4 * 3 * 64])?;
    /// let loader = Loader::builder(Memory::new(photos, [0u8, 1, 1, 0])?)
    ///     .transforms(Transforms::new().random_crop(8, 1).flip(0.5))
    ///     .batch(2).bytes(true).build()?;
    /// let model = Model::builder([3, 8, 8]).flatten().dense(2).build()?;
    /// let model = model.take_bytes("input", IMAGENET)?; // in place of `normalise`
    /// let mut trainer = Trainer::builder(model).on_cpu()?;
    /// for batch in loader.epoch(0) {
    ///     let batch = batch?;
    ///     trainer.step(&batch.bytes, batch.targets)?;
    /// }
    /// let loss = trainer.evaluate(loader.epoch(0))?.loss;
    /// # assert!(loss.is_finite());
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn bytes(mut self, bytes: bool) -> Self {
        self.bytes = bytes;
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
        self.shard.check()?;
        if self.bytes && !self.mix.is_none() {
            return Err(Error::argument("bytes", "cannot be mixed with each other"));
        }
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
        let work = Work {
            dataset: self.dataset,
            transforms: self.transforms,
            layout: self.layout,
            shard: self.shard,
            mix: self.mix,
            classes,
            skip_damaged: self.skip_damaged,
            bytes: self.bytes,
        };
        Ok(Loader::new(
            work,
            #[cfg(feature = "native")]
            self.threads,
        ))
    }
}
