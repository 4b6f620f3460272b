//! Kernels that prove themselves: every kernel that a model's plan uses, at its real shapes, held
//! against the CPU reference in `f64` on the user's own adapter.
//!
//! A plan is taken apart into its operators, with the activations fused as in the whole, its losses
//! and its optimizers; each part runs alone on known data. What of a plan's dispatches no part ran
//! is itself a failure, so that a new kernel cannot go unchecked.

mod compare;
mod data;
mod epilogue;
mod node;
mod report;
mod rig;
mod task;
#[cfg(all(test, feature = "native"))]
mod tests;
mod tolerance;

pub use report::{Check, VerifyReport};

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::lower::{Lowered, Task, lower, singles};
use crate::gpu::kernel::{Access, PipelineKey};
use crate::gpu::record::{Dispatch, Recording, Region};
use crate::op::{Loss, Optimizer};
use crate::{Error, Gpu, Model, Result, Shape};

use compare::Verdict;
use task::{losses, optimizers};

impl Gpu {
    /// Runs every kernel that a trainer of this model would use, at its real shapes, on random and
    /// on whole numbers, and compares with the CPU reference in `f64`: the forward and backward pass
    /// of every layer in training and in evaluation, every loss that fits the model's output, and
    /// every optimizer with and without clipping. What to run first on a new device, and what
    /// belongs into a report of a defect.
    ///
    /// Storage is `f32`; the kernels of half precision differ in nothing but their loads and stores.
    ///
    /// Takes the memory of one layer at a time, and the time of some steps of training on the CPU.
    ///
    /// ```no_run
    /// use wgpu_cnn::{Gpu, Model};
    /// let model = Model::builder([1, 28, 28]).conv2d(8, 5).relu().flatten().dense(10).build()?;
    /// let report = Gpu::new()?.verify(&model, 16)?;
    /// println!("{report}");
    /// assert!(report.passed());
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a batch of 0 or too large and for a model that has nothing to learn,
    /// [`Error::Shape`] for a batch too small for a batch normalisation, [`Error::Limit`] and
    /// [`Error::OutOfMemory`] for what the device does not have. A kernel that computes something
    /// wrong is no error: the report says so.
    #[cfg(feature = "native")]
    pub fn verify(&self, model: &Model, batch: usize) -> Result<VerifyReport> {
        pollster::block_on(self.verify_async(model, batch))
    }

    /// `verify` for asynchronous programs and the browser.
    pub async fn verify_async(&self, model: &Model, batch: usize) -> Result<VerifyReport> {
        verify(self, model, batch, &|_| {}).await
    }
}

/// Verifies a model's kernels. `tamper` may change every dispatch before it runs: the tests seed
/// faults with it.
async fn verify(
    gpu: &Gpu,
    model: &Model,
    batch: usize,
    tamper: &dyn Fn(&mut Dispatch),
) -> Result<VerifyReport> {
    if batch == 0 {
        return Err(Error::argument("batch", "must not be zero"));
    }
    if model.parameter_count() == 0 {
        return Err(Error::argument("model", "has nothing to learn"));
    }
    let lengths = model
        .graph
        .values()
        .map(|value| model.graph.shape(value).len());
    if lengths
        .max()
        .is_some_and(|len| len.saturating_mul(batch) > u32::MAX as usize / 4)
    {
        return Err(Error::argument(
            "batch",
            "makes a tensor of more than 2^30 elements",
        ));
    }
    let mut verifier = Verifier::new(gpu, model, batch, tamper);
    let planned = verifier.planned()?;
    verifier.nodes().await?;
    verifier.losses().await?;
    verifier.updates().await?;
    verifier.report_missing(planned);
    Ok(VerifyReport {
        adapter: gpu.described(),
        batch,
        checks: verifier.checks,
    })
}

/// A kernel as a plan runs it: its constants, its params as far as they are known beforehand, and
/// its grid.
type Signature = (PipelineKey, Vec<u8>, [u32; 3]);

struct Verifier<'a> {
    gpu: &'a Gpu,
    model: &'a Model,
    batch: usize,
    tamper: &'a dyn Fn(&mut Dispatch),
    /// A number for every kernel as a plan runs it.
    runs: HashMap<Signature, usize>,
    /// The checks of every part so far, by the kernels that it is made of.
    parts: HashMap<Vec<PartKey>, Range<usize>>,
    checks: Vec<Check>,
}

/// A dispatch by its number, and which of its bindings are one and the same as which.
type PartKey = (usize, Vec<Option<usize>>);

/// A result to be checked: what it is called, where it lies, and which dispatches computed it.
struct Outcome {
    result: String,
    shape: Shape,
    dispatches: Vec<usize>,
    verdict: Verdict,
}

impl<'a> Verifier<'a> {
    fn new(
        gpu: &'a Gpu,
        model: &'a Model,
        batch: usize,
        tamper: &'a dyn Fn(&mut Dispatch),
    ) -> Self {
        let (runs, parts, checks) = Default::default();
        Self {
            gpu,
            model,
            batch,
            tamper,
            runs,
            parts,
            checks,
        }
    }

    /// Every kernel of every plan for the model, with the layer it works for.
    fn planned(&mut self) -> Result<Vec<(usize, &'static str, String)>> {
        let (any_loss, any_optimizer) = (self.any_loss(), Optimizer::adam(1e-3).into());
        let (model, batch, traits) = (self.model, self.batch, self.gpu.traits());
        let mut recordings = Vec::new();
        for (_, loss) in losses(model) {
            let task = task(model, batch, &loss, &any_optimizer);
            recordings.push(
                lower(
                    &Task {
                        accumulate: 2,
                        ..task
                    },
                    traits,
                    batch,
                )?
                .recording,
            );
        }
        for (_, optimizer) in optimizers() {
            for clip_norm in [None, Some(self.clip_norm())] {
                let task = task(model, batch, &any_loss, &optimizer);
                recordings.push(lower(&Task { clip_norm, ..task }, traits, batch)?.recording);
            }
        }
        let mut planned = Vec::new();
        let mut known = HashSet::new();
        for dispatch in recordings
            .iter()
            .flat_map(|recording| &recording.dispatches)
        {
            let run = self.number(dispatch);
            if known.insert(run) {
                planned.push((run, dispatch.kernel.name, dispatch.label.clone()));
            }
        }
        Ok(planned)
    }

    /// The number of a kernel as a plan runs it.
    fn number(&mut self, dispatch: &Dispatch) -> usize {
        let signature = (dispatch.key(), dispatch.params.clone(), dispatch.workgroups);
        let next = self.runs.len();
        *self.runs.entry(signature).or_insert(next)
    }

    /// What the part of a plan that this records is made of.
    fn part_key(&mut self, recording: &Recording) -> Vec<PartKey> {
        let mut regions: Vec<Region> = Vec::new();
        let mut key = Vec::new();
        for dispatch in &recording.dispatches {
            let bindings = dispatch.bindings.iter().map(|binding| {
                let region = (*binding)?;
                let known = regions.iter().position(|&other| other == region);
                Some(known.unwrap_or_else(|| {
                    regions.push(region);
                    regions.len() - 1
                }))
            });
            let bindings = bindings.collect();
            key.push((self.number(dispatch), bindings));
        }
        key
    }

    /// Checks every operator, those of equal kernels once.
    async fn nodes(&mut self) -> Result<()> {
        let (loss, optimizer) = (self.any_loss(), Optimizer::sgd(0.1).into());
        // Slabs as small as they may be: an operator's own parameters and few others.
        let max_slab = self.largest_parameter();
        let task = Task {
            max_slab,
            ..task(self.model, self.batch, &loss, &optimizer)
        };
        for mut single in singles(&task, self.gpu.traits())? {
            let key = self.part_key(&single.lowered.recording);
            if let Some(checks) = self.parts.get(&key) {
                self.checks[checks.clone()]
                    .iter_mut()
                    .for_each(|check| check.repeats += 1);
                continue;
            }
            let mut layer = self.model.graph.nodes()[single.index].label();
            if let Some(activation) = single.activation {
                layer = format!("{layer} + {}", activation.name());
            }
            let dispatches = self.dispatches(&mut single.lowered);
            let outcomes = self.operator(&single).await?;
            let first = self.checks.len();
            self.conclude(&layer, &dispatches, outcomes);
            self.parts.insert(key, first..self.checks.len());
        }
        Ok(())
    }

    /// The dispatches of a part by name and number, which are then made ready to run.
    fn dispatches(&mut self, lowered: &mut Lowered) -> Vec<(&'static str, usize)> {
        let dispatches = &mut lowered.recording.dispatches;
        let known = dispatches
            .iter()
            .map(|dispatch| (dispatch.kernel.name, self.number(dispatch)));
        let known = known.collect();
        dispatches.iter_mut().for_each(self.tamper);
        known
    }

    /// Makes checks of the results of one part.
    fn conclude(&mut self, layer: &str, known: &[(&'static str, usize)], outcomes: Vec<Outcome>) {
        for Outcome {
            result,
            shape,
            dispatches,
            verdict,
        } in outcomes
        {
            let mut kernels: Vec<&str> = dispatches.iter().map(|&at| known[at].0).collect();
            kernels.dedup();
            self.checks.push(Check {
                layer: layer.into(),
                repeats: 0,
                result,
                kernel: kernels.join(", "),
                shape,
                worst: verdict.worst,
                exact: verdict.exact,
                passed: verdict.reason.is_none(),
                reason: verdict.reason,
                runs: dispatches.iter().map(|&at| known[at].1).collect(),
            });
        }
    }

    /// Makes a failed check of each planned kernel that no check covers.
    fn report_missing(&mut self, planned: Vec<(usize, &'static str, String)>) {
        let covered: HashSet<usize> = self
            .checks
            .iter()
            .flat_map(|check| check.runs.iter().copied())
            .collect();
        for (run, kernel, layer) in planned
            .into_iter()
            .filter(|(run, ..)| !covered.contains(run))
        {
            self.checks.push(Check {
                layer,
                repeats: 0,
                result: "anything".into(),
                kernel: kernel.into(),
                shape: Shape::default(),
                worst: f64::INFINITY,
                exact: false,
                passed: false,
                reason: Some(format!("{kernel} was not verified")),
                runs: vec![run],
            });
        }
    }

    /// A loss that fits the model's output.
    fn any_loss(&self) -> Loss {
        losses(self.model)
            .into_iter()
            .next()
            .map_or_else(Loss::default, |(_, loss)| loss)
    }

    /// Bytes of the largest parameter.
    fn largest_parameter(&self) -> u64 {
        let parameters = self.model.graph.parameters().iter();
        let sizes = parameters.map(|parameter| parameter.shape.len() as u64 * 4);
        sizes.max().unwrap_or(0).next_multiple_of(16)
    }

    /// A norm that the gradients of the verification exceed by about two times.
    fn clip_norm(&self) -> f64 {
        0.25 * (self.model.parameter_count() as f64 / 3.0).sqrt()
    }
}

fn task<'a>(
    model: &'a Model,
    planned_batch: usize,
    loss: &'a Loss,
    optimizer: &'a Optimizer,
) -> Task<'a> {
    let (max_slab, clip_norm, accumulate) = (u64::MAX, None, 1);
    Task {
        model,
        loss,
        optimizer,
        planned_batch,
        max_slab,
        clip_norm,
        accumulate,
        half: false,
        choices: None,
        decisions: &[],
    }
}

/// The dispatches of a range that computed a region, in their order: those that wrote it, and those
/// that wrote what they read.
fn makers(recording: &Recording, range: &Range<usize>, region: Region) -> Vec<usize> {
    let overlaps = |a: &Region, b: &Region| {
        a.buffer == b.buffer && a.offset < b.offset + b.size && b.offset < a.offset + a.size
    };
    let (mut wanted, mut makers) = (vec![region], Vec::new());
    for at in range.clone().rev() {
        let dispatch = &recording.dispatches[at];
        let bindings = || dispatch.bindings.iter().zip(dispatch.kernel.bindings);
        let of = |access: Access| {
            bindings()
                .filter(move |(_, a)| **a == access)
                .filter_map(|(region, _)| *region)
        };
        if of(Access::ReadWrite).any(|written| wanted.iter().any(|w| overlaps(w, &written))) {
            makers.push(at);
            wanted.extend(of(Access::Read));
        }
    }
    makers.reverse();
    makers
}
