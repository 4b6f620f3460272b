//! How a batch is made, by whichever thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::mix::Mix;
use super::place::{Layout, Shard};
use super::random::{Purpose, Random};
use super::{Array, Dataset, Example, Transforms, Values};
use crate::error::words_of_panic;
use crate::op::Target;
use crate::{Error, Result, Shape};

/// Examples that go through a network together.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The inputs, one after the other: images `(N, C, H, W)`.
    pub images: Vec<f32>,
    /// The inputs as bytes, where the loader gives [these](super::LoaderBuilder::bytes); then there are no
    /// [`images`](Self::images).
    pub bytes: Vec<u8>,
    /// What the network should make of them.
    pub targets: Target,
    /// The shape of the inputs, `(N, ..)`.
    pub shape: Shape,
    /// Each example's number in the data set.
    pub indices: Vec<usize>,
}

impl Batch {
    /// The number of examples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is none, as in the last round of [ranks](super::LoaderBuilder::shard) that have no batch left;
    /// other loaders never give such. A rank that trains with others takes its step with it all the same.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

impl Batch {
    /// Of no example, whose shape is not known.
    fn empty() -> Self {
        Self {
            images: Vec::new(),
            bytes: Vec::new(),
            targets: Target::Labels(Vec::new()),
            shape: Shape::from([0]),
            indices: Vec::new(),
        }
    }
}

/// What batches are made from.
pub(super) struct Work {
    pub dataset: Box<dyn Dataset>,
    pub transforms: Transforms,
    pub layout: Layout,
    pub shard: Shard,
    pub mix: Mix,
    pub classes: usize,
    pub skip_damaged: bool,
    pub bytes: bool,
}

impl Work {
    /// The examples of an epoch in their order: of all ranks, each of which takes its batches of it.
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
    pub epoch: u64,
    /// The batch that the first round begins with.
    first: usize,
    /// Whether nobody wants them any more.
    pub stop: AtomicBool,
}

/// What became of a batch.
pub(super) struct Made {
    /// None where every example was damaged and nobody waits for the batch.
    pub batch: Option<Batch>,
    pub skipped: u64,
    /// The error of the last that was.
    pub damage: Option<Error>,
}

impl Task {
    pub fn new(work: Arc<Work>, epoch: u64, first: usize) -> Self {
        Self {
            order: work.order(epoch),
            work,
            epoch,
            first,
            stop: AtomicBool::new(false),
        }
    }

    /// Rounds to come, in each of which every rank gets a batch.
    pub fn rounds(&self) -> usize {
        let batches = self.work.layout.batches();
        self.work.shard.rounds(batches - self.first)
    }

    /// The batch that a round begins with: of the one after the last, the number of batches or more.
    pub fn begin(&self, round: usize) -> usize {
        let before = round.saturating_mul(self.work.shard.size);
        self.first.saturating_add(before)
    }

    /// Makes the batch of a round. A panic in a data set or in a function of the user's is an error.
    pub fn make(&self, round: usize) -> Result<Made> {
        let Work { layout, shard, .. } = &*self.work;
        let batch = shard.batch(self.begin(round), layout.batches());
        let Some(batch) = batch else {
            return Ok(Made::absent());
        };
        let made = catch_unwind(AssertUnwindSafe(|| self.try_make(batch)));
        made.unwrap_or_else(|panic| {
            let text = words_of_panic(&*panic);
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
                    let transforms = &self.work.transforms;
                    let input = match self.work.bytes {
                        true => transforms.steps(input, &mut random)?,
                        false => transforms.apply(input, &mut random)?,
                    };
                    stack.push(index, input, target, self.work.bytes)?;
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
        // The other ranks take a step of this round, and so must this one.
        if batch.is_none() && self.work.shard.size > 1 {
            batch = Some(Batch::empty());
        }
        Ok(Made {
            batch,
            skipped,
            damage,
        })
    }
}

impl Made {
    /// In place of a batch that the epoch does not have.
    fn absent() -> Self {
        Self {
            batch: Some(Batch::empty()),
            skipped: 0,
            damage: None,
        }
    }
}

/// Examples that become a batch.
#[derive(Default)]
struct Stack {
    indices: Vec<usize>,
    shape: Shape,
    images: Vec<f32>,
    bytes: Vec<u8>,
    targets: Option<Target>,
}

impl Stack {
    /// Adds an example, as bytes or as real numbers.
    fn push(&mut self, index: usize, input: Array, target: Target, bytes: bool) -> Result<()> {
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
        match input.into_parts() {
            (_, Values::Bytes(mut values)) if bytes => self.bytes.append(&mut values),
            (..) if bytes => {
                let reason = "is no bytes any more, for which the loader was asked: a model that takes bytes \
                              normalises them itself";
                return Err(Error::argument(format!("example {index}"), reason));
            }
            (shape, values) => {
                let input = Array::new(shape, values)?;
                self.images.append(&mut input.into_floats());
            }
        }
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
            bytes: self.bytes,
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
