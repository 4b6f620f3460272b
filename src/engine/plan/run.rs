//! Running a plan: a step, an update, a prediction.

use std::ops::Range;
use std::time::Duration;

use super::params::Step;
use super::{Partial, Plan, PlanOptions};
use crate::Result;
use crate::engine::lower::{Ranges, Task, lower};
use crate::gpu::kernels::loss::LossStep;
use crate::gpu::record::{Dispatch, Region};
use crate::gpu::timer::Timer;
use crate::op::Target;

/// How far training has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Batches so far.
    batches: u64,
    /// Updates so far.
    updates: u64,
    /// Batches since the last update.
    pending: usize,
    /// What the sum of their gradients is to be divided by.
    normaliser: f64,
    /// What the sum of the last update's gradients was multiplied by.
    gradient_scale: f32,
    /// Whether what follows from the parameters alone follows from these.
    pub prepared: bool,
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
}

impl Plan {
    /// Batches so far.
    pub fn steps(&self) -> u64 {
        self.progress.batches
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let mut optimizer = self.optimizer;
        optimizer.set_learning_rate(learning_rate);
        optimizer.check()?;
        self.optimizer = optimizer;
        Ok(())
    }

    /// A batch that has been checked: its gradients and, with the last of its micro-batches, an
    /// update of the parameters.
    pub async fn step(&mut self, input: &[f32], target: &Target) -> Result<()> {
        let (ranges, step, progress) = self.next(input, target)?;
        // Should this never come back, the parameters may have changed all the same.
        self.progress.prepared &= progress.prepared;
        self.submit(&ranges, input, Some(target), step).await?;
        self.progress = progress;
        Ok(())
    }

    /// The same step, kernel by kernel: the dispatches in their order, and how long each took.
    pub async fn timed_step(
        &mut self,
        timer: &Timer,
        input: &[f32],
        target: &Target,
    ) -> Result<Vec<(usize, Duration)>> {
        let (ranges, step, progress) = self.next(input, target)?;
        self.progress.prepared &= progress.prepared;
        self.submit(&[], input, Some(target), step).await?;
        let batch = input.len() / self.model.input_shape().len();
        let order: Vec<usize> = ranges.into_iter().flatten().collect();
        let passes: Vec<_> = order.iter().map(|&at| vec![at..at + 1; 1]).collect();
        let times = timer
            .time(&self.program, self.dispatches(batch), &passes)
            .await;
        self.progress = progress; // the kernels ran, whether or not their times could be read
        self.progress.prepared &= times.is_ok();
        Ok(order.into_iter().zip(times?).collect())
    }

    /// The dispatches that the next batch runs, what it says to them, and how far it comes.
    fn next(&self, input: &[f32], target: &Target) -> Result<(Vec<Range<usize>>, Step, Progress)> {
        let batch = input.len() / self.model.input_shape().len();
        let geometry = self.loss.geometry(batch, self.model.output_shape())?;
        self.model.graph.check_training(batch)?;
        let micro = self.options.accumulate > 1;
        let mut progress = self.progress;
        if progress.pending == 0 {
            progress.normaliser = 0.0;
        }
        let normaliser = self.loss.normaliser(target, &geometry);
        // A sum is not divided; the means of micro-batches are summed up first and divided at last.
        progress.normaliser = match self.loss.is_sum() {
            true => 1.0,
            false => progress.normaliser + normaliser,
        };
        let begins = progress.pending == 0;
        progress.batches += 1;
        progress.pending += 1;
        let updates = progress.pending >= self.options.accumulate;
        let Ranges {
            begin_sum,
            add_to_sum,
            update,
            ..
        } = &self.lowered.ranges;
        let mut ranges = self.preparation();
        ranges.extend(self.lowered.ranges.gradients());
        if micro {
            let sum = if begins { begin_sum } else { add_to_sum };
            ranges.push(sum.clone());
        }
        progress.prepared = !updates;
        if updates {
            ranges.push(update.clone());
            progress.pending = 0;
            progress.updates += 1;
            progress.gradient_scale = if micro { progress.mean() } else { 1.0 };
        }
        let scale = (1.0 / normaliser) as f32;
        let step = Step {
            loss: LossStep {
                scale,
                gradient_scale: if micro { 1.0 } else { scale },
                weight: 1.0,
                soft: matches!(target, Target::Values(_)),
            },
            batch: progress.batches - 1,
            update: progress.updates,
            gradient_scale: progress.gradient_scale,
        };
        Ok((ranges, step, progress))
    }

    /// What has to run before the parameters are used, since they have changed.
    fn preparation(&self) -> Vec<Range<usize>> {
        match self.progress.prepared {
            true => vec![],
            false => vec![self.lowered.ranges.prepare.clone()],
        }
    }

    /// The kernels as they are for a batch of this size, once it has been prepared.
    pub fn dispatches(&self, batch: usize) -> &[Dispatch] {
        match &self.partial {
            Some(partial) if partial.batch == batch => &partial.dispatches,
            _ => &self.lowered.recording.dispatches,
        }
    }

    /// The kernels of a plan that was made for batches of this size: they bind no more than such a
    /// batch needs.
    pub fn dispatches_planned_for(&self, batch: usize) -> Result<Vec<Dispatch>> {
        let options = PlanOptions {
            batch,
            ..self.options
        };
        let task = Task {
            decisions: &self.lowered.recording.decisions,
            ..Task::new(&self.model, &self.loss, &self.optimizer, options)
        };
        Ok(lower(&task, self.gpu.traits(), batch)?.recording.dispatches)
    }

    /// Whether batches wait for an update.
    pub fn is_pending(&self) -> bool {
        self.progress.pending > 0
    }

    /// Updates the parameters from the micro-batches since the last update, if there are any.
    pub async fn update(&mut self) -> Result<()> {
        if self.progress.pending == 0 {
            return self.gpu.check_lost();
        }
        self.progress.prepared = false; // should this never come back
        let mut progress = self.progress;
        progress.pending = 0;
        progress.updates += 1;
        progress.gradient_scale = progress.mean();
        let step = Step {
            update: progress.updates,
            gradient_scale: progress.gradient_scale,
            ..Step::FIRST
        };
        let ranges = [self.lowered.ranges.update.clone()];
        self.submit(&ranges, &[], None, step).await?;
        self.progress = progress;
        Ok(())
    }

    /// The outputs for any number of examples, in batches.
    pub async fn predict(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let (example, outputs) = (
            self.model.input_shape().len(),
            self.model.output_shape().len(),
        );
        let mut output = Vec::with_capacity(input.len() / example * outputs);
        for chunk in input.chunks(self.options.batch * example) {
            let mut ranges = self.preparation();
            ranges.push(self.lowered.ranges.predict.clone());
            self.submit(&ranges, chunk, None, Step::FIRST).await?;
            self.progress.prepared = true;
            let size = (chunk.len() / example * outputs * 4) as u64;
            let region = Region {
                size,
                ..self.lowered.output
            };
            output.extend(self.read(region, &self.read_back).await?);
        }
        Ok(output)
    }

    /// Uploads a batch and submits ranges of the dispatches on it.
    async fn submit(
        &mut self,
        ranges: &[Range<usize>],
        input: &[f32],
        target: Option<&Target>,
        step: Step,
    ) -> Result<()> {
        let batch = input.len() / self.model.input_shape().len();
        self.prepare(batch)?;
        let at = self.next_upload;
        self.reclaim(at).await?;
        self.fill(batch, step);
        let (dispatches, params) = match &self.partial {
            Some(partial) if partial.batch == batch => (&partial.dispatches, &partial.params),
            _ => (&self.lowered.recording.dispatches, &self.params),
        };
        let codes = target.map_or_else(Default::default, |target| target.codes(&self.loss));
        let (target, target_region): (&[u8], Region) = match target {
            Some(Target::Labels(_) | Target::WideLabels(_)) => {
                (bytemuck::cast_slice(&codes), self.lowered.labels)
            }
            Some(Target::Values(values)) => (bytemuck::cast_slice(values), self.lowered.values),
            None => (&[], self.lowered.values),
        };
        let margin = self.gpu.margin();
        let destinations = [
            (params.as_slice(), self.program.uniforms(), 0),
            (
                bytemuck::cast_slice(input),
                self.program.memory(self.lowered.input)?,
                margin,
            ),
            (target, self.program.memory(target_region)?, margin),
        ];

        let upload = &self.uploads[at];
        let encode = || -> std::result::Result<wgpu::SubmissionIndex, wgpu::MapRangeError> {
            let mut view = upload.buffer.get_mapped_range_mut(..)?;
            let mut encoder = self
                .gpu
                .device()
                .create_command_encoder(&Default::default());
            let mut offset = 0;
            for (bytes, destination, to) in destinations {
                if bytes.is_empty() {
                    continue;
                }
                view.slice(offset..offset + bytes.len())
                    .copy_from_slice(bytes);
                let (from, size) = (offset as u64, bytes.len() as u64);
                encoder.copy_buffer_to_buffer(&upload.buffer, from, destination, to, size);
                offset += bytes.len();
            }
            drop(view);
            upload.buffer.unmap();
            self.program.encode(&mut encoder, dispatches, ranges);
            Ok(self.gpu.queue().submit([encoder.finish()]))
        };
        let scopes = self.gpu.scopes();
        let submission = encode();
        let verdict = scopes.close("step");
        // Mapped again whatever became of the commands, and before anything is waited for, so that the
        // next step finds the buffer as this one did.
        let mapping = self.gpu.map(&upload.buffer, wgpu::MapMode::Write);
        self.uploads[at].mapping = Some((mapping, submission.clone().ok()));
        verdict.await.map_err(|error| self.gpu.lost_or(error))?;
        // The buffer was mapped: only the loss of its device can have changed that.
        submission.map_err(|error| self.gpu.not_mapped(error))?;
        // A lost device takes the commands as any other does.
        self.gpu.check_lost()?;
        self.next_upload = (at + 1) % self.uploads.len();
        Ok(())
    }

    /// Writes what varies from step to step into the params.
    fn fill(&mut self, batch: usize, step: Step) {
        let (dispatches, params) = match &mut self.partial {
            Some(partial) if partial.batch == batch => (&partial.dispatches, &mut partial.params),
            _ => (&self.lowered.recording.dispatches, &mut self.params),
        };
        for (at, dispatch) in dispatches.iter().enumerate() {
            let params = &mut params[self.program.params_offset(at)..];
            step.fill(dispatch, params, &self.loss, &self.optimizer, &self.options);
        }
    }

    /// Waits until an upload is mapped. After this, the device is there as far as one knows.
    async fn reclaim(&mut self, at: usize) -> Result<()> {
        let Some((mapping, submission)) = &self.uploads[at].mapping else {
            return self.gpu.check();
        };
        let result = self.gpu.mapped(mapping, submission.clone()).await;
        self.uploads[at].mapping = None;
        result
    }

    /// Makes the params and grids of a smaller batch, if they are not at hand.
    fn prepare(&mut self, batch: usize) -> Result<()> {
        if batch == 0
            || batch == self.options.batch
            || self.partial.as_ref().is_some_and(|p| p.batch == batch)
        {
            return Ok(());
        }
        let task = Task {
            decisions: &self.lowered.recording.decisions,
            ..Task::new(&self.model, &self.loss, &self.optimizer, self.options)
        };
        let lowered = lower(&task, self.gpu.traits(), batch)?;
        let dispatches = lowered.recording.dispatches;
        self.partial = Some(Partial {
            batch,
            params: self.program.params_block(&dispatches),
            dispatches,
        });
        Ok(())
    }
}
