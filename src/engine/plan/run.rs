//! Running a plan: a step, an update, a prediction.

use std::ops::Range;
use std::time::Duration;

use super::{Plan, PlanOptions, WentBack};
use crate::Result;
use crate::engine::Round;
use crate::engine::check_averages;
use crate::engine::compiled::Bytes;
use crate::engine::lower::{Ranges, Task};
use crate::engine::step::{Setting, Step, loss_step, normalisers};
use crate::gpu::kernels::loss::LossStep;
use crate::gpu::record::{Dispatch, Region};
use crate::gpu::tensor::whole_words;
use crate::gpu::timer::Timer;
use crate::model::{Inputs, Shares};
use crate::op::Target;

/// A batch that has been checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub inputs: &'a Inputs<'a>,
    /// Examples of each.
    pub examples: usize,
    /// In the order of the losses.
    pub targets: &'a [Target],
}

/// What is there of that which follows from the parameters alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Prepared {
    #[default]
    Nothing,
    /// What follows from those that no update changes.
    Fixed,
    All,
}

impl Prepared {
    /// What is there of it once an update, or something else that changes what is learned, has run.
    pub fn updated(self) -> Self {
        self.min(Self::Fixed)
    }
}

/// How far training has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Batches so far.
    pub batches: u64,
    /// Updates so far.
    pub updates: u64,
    /// Examples of all batches so far.
    pub trained: u64,
    /// The updates that had been made when the average began.
    pub average_began: u64,
    /// Batches since the last update.
    pub pending: usize,
    /// The examples of these.
    pub examples: u64,
    /// What the sum of their gradients is to be divided by.
    pub normaliser: f64,
    /// What the sum of the last update's gradients was multiplied by.
    pub gradient_scale: f32,
    pub prepared: Prepared,
    /// Whether the last batch has left its losses, and its gradients.
    pub has_losses: bool,
    pub has_gradients: bool,
    /// The examples whose values a forward pass has left for a backward pass.
    pub forwarded: Option<usize>,
    /// Batches of this rank's own among those that wait for an update.
    pub own: usize,
    /// What the ranks compute at present.
    pub round: Round,
    /// The last way back.
    pub went_back: Option<WentBack>,
    /// Whether the average is in place of the parameters.
    pub averaged: bool,
}

impl Progress {
    /// What makes a mean of the sum of the micro-batches' gradients. Where every row was ignored the
    /// sum is zero and stays so.
    pub fn mean(&self) -> f32 {
        if self.normaliser == 0.0 {
            1.0
        } else {
            (1.0 / self.normaliser) as f32
        }
    }

    /// Counts an update, by the sum of the gradients times a scale.
    pub fn updated(&mut self, scale: f32) {
        (self.pending, self.own, self.examples) = (0, 0, 0);
        self.updates += 1;
        self.gradient_scale = scale;
    }

    /// The examples of the update whose masks come before those of this rank's batch.
    pub fn examples_before(&self) -> u64 {
        self.examples.saturating_add(self.round.before)
    }
}

impl Plan {
    /// Whether the losses of a batch are there.
    pub fn has_losses(&self) -> bool {
        self.progress.has_losses
    }

    /// Whether the gradients of a batch are there.
    pub fn has_gradients(&self) -> bool {
        self.progress.has_gradients
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.progress.updates
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self.groups.set_learning_rate(learning_rate)
    }

    /// Makes the learning rate of each group what a function makes of its own base.
    pub fn set_rates(&mut self, base: f64, rate: impl Fn(f64) -> Result<f64>) -> Result<()> {
        self.groups.set_rates(base, rate)
    }

    /// A batch: its gradients and, with the last of its micro-batches, an update of the parameters.
    pub async fn step(&mut self, batch: &Batch<'_>) -> Result<()> {
        let (ranges, step, after) = self.next(batch)?;
        self.submit(&ranges, batch, (step, after)).await
    }

    /// The same step, kernel by kernel: the dispatches in their order, and how long each took.
    pub async fn timed_step(
        &mut self,
        timer: &Timer,
        batch: &Batch<'_>,
    ) -> Result<Vec<(usize, Duration)>> {
        let (ranges, step, after) = self.next(batch)?;
        self.submit(&[], batch, (step, self.now())).await?;
        let order: Vec<usize> = ranges.into_iter().flatten().collect();
        let passes: Vec<_> = order.iter().map(|&at| vec![at..at + 1; 1]).collect();
        // With timestamps the kernels run, whether or not anybody waits for their times.
        let prepared = Prepared::Nothing;
        let before = std::mem::replace(&mut self.progress, Progress { prepared, ..after });
        let dispatches = self.dispatches(batch.examples);
        let times = timer
            .time(&self.compiled.program, dispatches, &passes)
            .await;
        self.progress = match &times {
            Ok(_) => after,
            Err(_) => Progress { prepared, ..before },
        };
        let times = times?;
        Ok(order.into_iter().zip(times).collect())
    }

    /// How far training has come, where no forward pass waits any more.
    pub(super) fn now(&self) -> Progress {
        Progress {
            forwarded: None,
            ..self.progress
        }
    }

    /// The dispatches that the next batch runs, what it says to them, and how far it comes.
    fn next(&self, batch: &Batch) -> Result<(Vec<Range<usize>>, Step, Progress)> {
        self.model.graph.check_training(batch.examples)?;
        let micro = self.options.is_of_several();
        let (losses, share) = self.loss_steps(batch, micro)?;
        let (begins, mut progress) = (self.progress.pending == 0, self.now());
        self.count(&mut progress, Round::alone(batch.examples), &[share]);
        progress.went_back = Some(WentBack {
            examples: batch.examples,
            alone: false,
        });
        let updates = progress.pending >= self.options.accumulate;
        let mut ranges = self.preparation();
        ranges.extend(self.compiled.lowered.ranges.gradients());
        if micro {
            ranges.push(self.sum(begins));
        }
        progress.prepared = match updates {
            true => Prepared::Fixed,
            false => Prepared::All,
        };
        if updates {
            ranges.extend(self.update_ranges());
            progress.updated(if micro { progress.mean() } else { 1.0 });
        }
        let step = Step {
            losses,
            made: self.progress.updates,
            examples: self.progress.examples,
            update: progress.updates,
            average_began: progress.average_began,
            gradient_scale: progress.gradient_scale,
        };
        Ok((ranges, step, progress))
    }

    /// What the losses' kernels are told of a batch, and what it counts for among several.
    pub(super) fn loss_steps(&self, batch: &Batch, micro: bool) -> Result<(Vec<LossStep>, f64)> {
        let graph = &self.model.graph;
        let normalisers = normalisers(graph, &self.losses, batch.examples, batch.targets)?;
        let shares = Shares::of(&self.losses, &normalisers, batch.examples);
        let losses = self.losses.iter().zip(batch.targets).enumerate();
        let losses = losses.map(|(at, (of, target))| {
            let scale = 1.0 / normalisers[at];
            let gradient = if micro {
                1.0 / shares.divisors[at]
            } else {
                scale
            };
            loss_step(of, target, [scale, gradient])
        });
        Ok((losses.collect(), shares.batch))
    }

    /// Counts a round, of whose batches one is this rank's own, and what each counts for in the sum of the
    /// gradients. A sum is not divided; the means of micro-batches are summed up first and divided at last.
    pub(super) fn count(&self, progress: &mut Progress, round: Round, shares: &[f64]) {
        self.count_others(progress, round, shares);
        progress.own += 1;
        (progress.has_losses, progress.has_gradients) = (true, true);
    }

    /// The same where this rank has none.
    pub(super) fn count_others(&self, progress: &mut Progress, round: Round, shares: &[f64]) {
        if progress.pending == 0 {
            (progress.examples, progress.normaliser) = (0, 0.0);
        }
        let sums = self.losses.iter().all(|loss| loss.is_sum());
        for share in shares {
            progress.normaliser = if sums {
                1.0
            } else {
                progress.normaliser + share
            };
        }
        progress.batches += round.batches;
        progress.pending += 1;
        progress.examples = progress.examples.saturating_add(round.examples);
        progress.trained = progress.trained.saturating_add(round.examples);
        progress.round = Round::default();
    }

    /// What an update runs.
    pub(super) fn update_ranges(&self) -> [Range<usize>; 2] {
        let Ranges {
            update, average, ..
        } = &self.compiled.lowered.ranges;
        [update.clone(), average.clone()]
    }

    /// What adds a batch's gradients to the sum over micro-batches.
    pub(super) fn sum(&self, begins: bool) -> Range<usize> {
        let Ranges {
            begin_sum,
            add_to_sum,
            ..
        } = &self.compiled.lowered.ranges;
        if begins { begin_sum } else { add_to_sum }.clone()
    }

    /// What has to run before the parameters are used, since they have changed.
    pub(super) fn preparation(&self) -> Vec<Range<usize>> {
        let ranges = &self.compiled.lowered.ranges;
        match self.progress.prepared {
            Prepared::Nothing => vec![ranges.prepare.clone()],
            Prepared::Fixed => vec![ranges.prepare_again.clone()],
            Prepared::All => vec![],
        }
    }

    /// The kernels as they are for a batch of this size, once it has been prepared.
    pub fn dispatches(&self, batch: usize) -> &[Dispatch] {
        self.compiled.kernels(batch).0
    }

    /// How many of some dispatches, one after the other, wait for those before them.
    pub fn barriers(&self, order: &[usize]) -> usize {
        let recording = &self.compiled.lowered.recording;
        recording.barriers(order.iter().copied())
    }

    /// The kernels of a plan that was made for batches of this size: they bind no more than such a
    /// batch needs.
    pub fn dispatches_planned_for(&self, batch: usize) -> Result<Vec<Dispatch>> {
        let options = PlanOptions {
            batch,
            ..self.options
        };
        let task = Task::new(&self.model, &self.losses, &self.groups, options);
        self.compiled.dispatches_for(&task, batch)
    }

    /// Whether batches wait for an update.
    pub fn is_pending(&self) -> bool {
        self.progress.pending > 0
    }

    /// Updates the parameters from the micro-batches since the last update, if there are any.
    pub async fn update(&mut self) -> Result<()> {
        if self.progress.pending == 0 {
            return self.compiled.gpu.check_lost();
        }
        let mut progress = self.now();
        progress.prepared = progress.prepared.updated();
        progress.updated(progress.mean());
        let step = Step {
            update: progress.updates,
            average_began: progress.average_began,
            gradient_scale: progress.gradient_scale,
            ..Step::FIRST
        };
        let ranges = self.update_ranges();
        self.upload(&ranges, 0, &[], (step, progress)).await
    }

    /// Exchanges the parameters with their average.
    pub async fn swap_average(&mut self) -> Result<()> {
        check_averages(self.options.average)?;
        // The memory of an average holds nothing before its first update, which the first step here copies.
        let copy = match self.has_average() {
            true => 0..0,
            false => self.compiled.lowered.ranges.average.clone(),
        };
        let ranges = [copy, self.compiled.lowered.ranges.swap.clone()];
        let after = Progress {
            prepared: self.progress.prepared.updated(),
            averaged: !self.progress.averaged,
            ..self.now()
        };
        self.upload(&ranges, 0, &[], (Step::FIRST, after)).await
    }

    /// Whether the average is in place of the parameters.
    pub fn is_averaged(&self) -> bool {
        self.progress.averaged
    }

    /// The outputs for any number of examples, in batches: those at these places among the model's.
    pub async fn predict(
        &mut self,
        inputs: &Inputs<'_>,
        examples: usize,
        which: Range<usize>,
    ) -> Result<Vec<Vec<f32>>> {
        let mut outputs = vec![Vec::new(); which.len()];
        for begin in (0..examples).step_by(self.options.batch) {
            let examples = self.options.batch.min(examples - begin);
            let batch = Batch {
                inputs: &inputs.part(&self.model.graph, begin, examples),
                examples,
                targets: &[],
            };
            let mut ranges = self.preparation();
            ranges.push(self.compiled.lowered.ranges.predict.clone());
            let after = Progress {
                prepared: Prepared::All,
                ..self.now()
            };
            self.submit(&ranges, &batch, (Step::FIRST, after)).await?;
            for (output, at) in outputs.iter_mut().zip(which.clone()) {
                let region = self.compiled.lowered.outputs[at];
                output.extend(self.read_output(at, region, examples).await?);
            }
        }
        Ok(outputs)
    }

    /// The values of an output that lie in a region.
    pub(super) async fn read_output(
        &self,
        at: usize,
        region: Region,
        examples: usize,
    ) -> Result<Vec<f32>> {
        let graph = &self.model.graph;
        let len = examples * graph.shape(graph.outputs()[at]).len();
        let (compiled, read_back) = (&self.compiled, &self.read_back);
        compiled.read_first(len, region, read_back).await
    }

    /// Uploads a batch and submits ranges of the dispatches on it, as [`upload`](Self::upload) does.
    pub(super) async fn submit(
        &mut self,
        ranges: &[Range<usize>],
        batch: &Batch<'_>,
        with: (Step, Progress),
    ) -> Result<()> {
        let data = (self.compiled).bytes(&self.losses, batch.inputs, batch.targets);
        self.upload(ranges, batch.examples, &data, with).await
    }

    /// Uploads data to the beginnings of regions, and submits ranges of the dispatches on that. Training has come
    /// to `after` as soon as they are submitted, whether or not anybody waits for what the device says of it.
    pub(super) async fn upload(
        &mut self,
        ranges: &[Range<usize>],
        batch: usize,
        data: &[Bytes<'_>],
        (step, after): (Step, Progress),
    ) -> Result<()> {
        self.forget_forward();
        if !self.compiled.fits(batch) {
            let task = Task::new(&self.model, &self.losses, &self.groups, self.options);
            self.compiled.fit(&task, batch)?;
        }
        let at = self.next_upload;
        self.reclaim(at).await?;
        let setting = Setting {
            losses: &self.losses,
            groups: &self.groups,
            options: &self.options,
        };
        self.compiled.fill(batch, &step, &setting);
        let (gpu, program) = (&self.compiled.gpu, &self.compiled.program);
        let (dispatches, params) = self.compiled.kernels(batch);
        let margin = gpu.margin();
        let mut destinations = vec![(params, program.uniforms(), 0)];
        for (bytes, region) in data {
            destinations.push((bytes, program.memory(*region)?, margin + region.offset));
        }
        let upload = &self.uploads[at];
        let encode = || -> std::result::Result<wgpu::SubmissionIndex, wgpu::MapRangeError> {
            let mut view = upload.buffer.get_mapped_range_mut(..)?;
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let mut offset = 0;
            for &(bytes, destination, to) in &destinations {
                if bytes.is_empty() {
                    continue;
                }
                view.slice(offset..offset + bytes.len())
                    .copy_from_slice(bytes);
                let (from, size) = (offset as u64, whole_words(bytes.len()));
                encoder.copy_buffer_to_buffer(&upload.buffer, from, destination, to, size);
                offset += size as usize;
            }
            drop(view);
            upload.buffer.unmap();
            program.encode(&mut encoder, dispatches, ranges);
            Ok(gpu.queue().submit([encoder.finish()]))
        };
        let scopes = gpu.scopes();
        let submission = encode();
        let verdict = scopes.close("step", 0);
        let before = std::mem::replace(&mut self.progress, after);
        // Mapped again whatever became of the commands, and before anything is waited for, so that the
        // next step finds the buffer as this one did.
        let mapping = gpu.map(&upload.buffer, wgpu::MapMode::Write);
        self.uploads[at].mapping = Some((mapping, submission.clone().ok()));
        self.next_upload = (at + 1) % self.uploads.len();
        let verdict = verdict.await.map_err(|error| gpu.lost_or(error));
        // The buffer was mapped: only the loss of its device can have changed that.
        let submission = submission.map_err(|error| gpu.not_mapped(error));
        // A lost device takes the commands as any other does.
        let done = verdict.and(submission).and_then(|_| gpu.check_lost());
        if done.is_err() {
            // What has run of it is not known.
            let prepared = before.prepared.min(after.prepared);
            self.progress = Progress { prepared, ..before };
        }
        done
    }

    /// Waits until an upload is mapped. After this, the device is there as far as one knows.
    async fn reclaim(&mut self, at: usize) -> Result<()> {
        let Some((mapping, submission)) = &self.uploads[at].mapping else {
            return self.compiled.gpu.check();
        };
        let result = self.compiled.gpu.mapped(mapping, submission.clone()).await;
        self.uploads[at].mapping = None;
        result
    }
}
