//! A model on a GPU: everything that a step needs is made here, once.

use std::ops::Range;
#[cfg(feature = "native")]
use std::path::Path;
use std::time::Duration;

use crate::gpu::kernels::loss::LossStep;
use crate::gpu::program::Program;
use crate::gpu::record::{BufferId, Dispatch, Region};
use crate::gpu::strategy::Choices;
use crate::gpu::timer::Timer;
use crate::gpu::{Gpu, Mapping};
use crate::model::{Model, ParameterId};
use crate::op::{Loss, Op, Optimizer, Target};
use crate::{Error, Result};

use super::MemoryReport;
#[cfg(feature = "native")]
use super::autotune;
use super::lower::{Lowered, Task, lower};
use super::memory::{memory_report, upload_size};
use super::step::Step;

/// How a plan is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanOptions {
    /// Examples per step at most.
    pub batch: usize,
    /// Steps that may be on their way at once.
    pub in_flight: usize,
    /// Bytes that the plan may take.
    pub memory_budget: u64,
    /// The largest slab of parameters in bytes.
    pub max_slab: u64,
    /// What dropout's masks are made from.
    pub seed: u64,
    /// The largest global norm of the gradients.
    pub clip_norm: Option<f64>,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Whether activations, and the weights that products read, are stored as f16.
    pub half: bool,
}

/// A compiled model. A step creates no buffer, bind group or pipeline: it writes into a staging
/// buffer that is mapped already, encodes the dispatches and submits them once.
pub(crate) struct Plan {
    gpu: Gpu,
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    options: PlanOptions,
    lowered: Lowered,
    /// The params of all dispatches, as the program has them in memory. A step changes what varies.
    params: Vec<u8>,
    /// The same kernels with the params and grids of a smaller batch, the last one used.
    partial: Option<Partial>,
    program: Program,
    memory: MemoryReport,
    uploads: Vec<Upload>,
    /// The upload that the next submission takes.
    next_upload: usize,
    /// For outputs and losses.
    read_back: wgpu::Buffer,
    progress: Progress,
}

/// What differs for a batch that is smaller than planned.
struct Partial {
    batch: usize,
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
}

/// How far training has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// Batches so far.
    batches: u64,
    /// Updates so far.
    updates: u64,
    /// Batches since the last update.
    pending: usize,
    /// What the sums of their losses and gradients are to be divided by.
    normaliser: f64,
    /// What the sum of the last update's gradients was multiplied by.
    gradient_scale: f32,
}

/// A staging buffer: the params of all dispatches, then the input, then the target.
struct Upload {
    buffer: wgpu::Buffer,
    /// `None` while it is known to be mapped.
    mapping: Option<(Mapping, Option<wgpu::SubmissionIndex>)>,
}

impl Progress {
    /// What makes a mean of the sum of the micro-batches' gradients. Where every row was ignored the
    /// sum is zero and stays so.
    fn mean(&self) -> f32 {
        if self.normaliser == 0.0 {
            1.0
        } else {
            (1.0 / self.normaliser) as f32
        }
    }
}

impl Plan {
    /// The fastest cores for a plan, from a file of measurements; what is not there is measured.
    #[cfg(feature = "native")]
    pub async fn tune(
        gpu: &Gpu,
        model: &Model,
        loss: &Loss,
        optimizer: &Optimizer,
        options: PlanOptions,
        path: &Path,
    ) -> Result<Choices> {
        autotune::choices(gpu, &task(model, loss, optimizer, options), path).await
    }

    /// The memory that a plan would take. Allocates nothing.
    pub fn memory_of(
        gpu: &Gpu,
        model: &Model,
        loss: &Loss,
        optimizer: &Optimizer,
        options: PlanOptions,
        choices: &Choices,
    ) -> Result<MemoryReport> {
        let task = Task {
            choices: Some(choices),
            ..task(model, loss, optimizer, options)
        };
        let lowered = lower(&task, gpu.traits(), options.batch)?;
        Ok(memory_report(&lowered, options.in_flight))
    }

    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(
        gpu: &Gpu,
        model: &Model,
        loss: Loss,
        optimizer: Optimizer,
        options: PlanOptions,
        choices: &Choices,
    ) -> Result<Self> {
        let task = Task {
            choices: Some(choices),
            ..task(model, &loss, &optimizer, options)
        };
        let lowered = lower(&task, gpu.traits(), options.batch)?;
        let memory = memory_report(&lowered, options.in_flight);
        if memory.total() > options.memory_budget {
            return Err(Error::OutOfMemory {
                what: format!("a batch of {}: {memory}", options.batch),
                needed: memory.total(),
                available: Some(options.memory_budget),
            });
        }
        let program = Program::compile(gpu, &lowered.recording).await?;
        let size = upload_size(&lowered, program.uniforms().size());
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let mut uploads = Vec::new();
        for _ in 0..options.in_flight {
            let buffer = gpu.mapped_buffer("upload", size, usage).await?;
            uploads.push(Upload {
                buffer,
                mapping: None,
            });
        }
        let read_back = gpu.read_back_buffer(lowered.output.size).await?;
        log::debug!(
            "{} kernels for a training step, {} for a prediction, {memory}",
            lowered.gradients.len() + lowered.update.len(),
            lowered.predict.len()
        );
        let plan = Self {
            gpu: gpu.clone(),
            model: model.clone(),
            loss,
            optimizer,
            options,
            params: program.params_block(&lowered.recording.dispatches),
            lowered,
            partial: None,
            program,
            memory,
            uploads,
            next_upload: 0,
            read_back,
            progress: Progress::default(),
        };
        plan.clear_slabs().await?;
        if let (Some(region), Loss::CrossEntropy(loss)) = (plan.lowered.class_weights, &plan.loss) {
            plan.write(region, loss.class_weights.as_deref().unwrap_or_default())
                .await?;
        }
        Ok(plan)
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    /// Makes the gaps between parameters zero in the gradients, whose norm is that of whole slabs.
    async fn clear_slabs(&self) -> Result<()> {
        let mut regions = Vec::new();
        for slab in &self.lowered.slabs {
            for region in [Some(slab.gradient), slab.sum].into_iter().flatten() {
                regions.push((self.buffer(region.buffer)?, region.size));
            }
        }
        let clear = || {
            let mut encoder = self
                .gpu
                .device()
                .create_command_encoder(&Default::default());
            for (buffer, size) in regions {
                encoder.clear_buffer(buffer, self.gpu.margin(), Some(size));
            }
            self.gpu.queue().submit([encoder.finish()]);
        };
        self.gpu.guard("gradients", clear).await
    }

    /// Batches so far.
    pub fn steps(&self) -> u64 {
        self.progress.batches
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// A batch that has been checked: its gradients and, with the last of its micro-batches, an
    /// update of the parameters.
    pub async fn step(&mut self, input: &[f32], target: &Target) -> Result<()> {
        let (ranges, step, progress) = self.next(input, target)?;
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
        self.submit(&[], input, Some(target), step).await?;
        let batch = input.len() / self.model.input_shape().len();
        let order: Vec<usize> = ranges.into_iter().flatten().collect();
        let passes: Vec<_> = order.iter().map(|&at| vec![at..at + 1; 1]).collect();
        let times = timer
            .time(&self.program, self.dispatches(batch), &passes)
            .await?;
        self.progress = progress;
        Ok(order.into_iter().zip(times).collect())
    }

    /// The dispatches that the next batch runs, what it says to them, and how far it comes.
    fn next(&self, input: &[f32], target: &Target) -> Result<(Vec<Range<usize>>, Step, Progress)> {
        let batch = input.len() / self.model.input_shape().len();
        let geometry = self.loss.geometry(batch, self.model.output_shape())?;
        for node in self.model.graph.nodes() {
            if let Op::BatchNorm(norm) = &node.op {
                let shape = self.model.graph.shape(node.inputs[0]);
                norm.geometry(batch, shape)?.check_training()?;
            }
        }
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
        let mut ranges = vec![self.lowered.gradients.clone()];
        if micro {
            let Lowered {
                begin_sum,
                add_to_sum,
                ..
            } = &self.lowered;
            ranges.push(if begins {
                begin_sum.clone()
            } else {
                add_to_sum.clone()
            });
        }
        if updates {
            ranges.push(self.lowered.update.clone());
            progress.pending = 0;
            progress.updates += 1;
            progress.gradient_scale = if micro { progress.mean() } else { 1.0 };
        }
        let step = Step {
            loss: LossStep {
                scale: if micro {
                    1.0
                } else {
                    (1.0 / normaliser) as f32
                },
                soft: matches!(target, Target::Values(_)),
                accumulate: !begins,
            },
            batch: progress.batches - 1,
            update: progress.updates,
            gradient_scale: progress.gradient_scale,
        };
        Ok((ranges, step, progress))
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
            ..task(&self.model, &self.loss, &self.optimizer, options)
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
            return Ok(());
        }
        let mut progress = self.progress;
        progress.pending = 0;
        progress.updates += 1;
        progress.gradient_scale = progress.mean();
        let step = Step {
            update: progress.updates,
            gradient_scale: progress.gradient_scale,
            ..Step::default()
        };
        let ranges = [self.lowered.update.clone()];
        self.submit(&ranges, &[], None, step).await?;
        self.progress = progress;
        Ok(())
    }

    /// The loss of the last step: with micro-batches, of those since the last update.
    pub async fn loss(&self) -> Result<f32> {
        let loss = Region {
            size: 4,
            ..self.lowered.loss
        };
        // A buffer of its own, since several may ask at once.
        let staging = self.gpu.read_back_buffer(16).await?;
        let loss = self.read(loss, &staging).await?[0];
        match self.options.accumulate {
            1 => Ok(loss),
            _ => Ok((f64::from(loss) / self.progress.normaliser) as f32),
        }
    }

    /// The outputs for any number of examples, in batches.
    pub async fn predict(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let (example, outputs) = (
            self.model.input_shape().len(),
            self.model.output_shape().len(),
        );
        let mut output = Vec::with_capacity(input.len() / example * outputs);
        for chunk in input.chunks(self.options.batch * example) {
            let range = self.lowered.predict.clone();
            self.submit(&[range], chunk, None, Step::default()).await?;
            let size = (chunk.len() / example * outputs * 4) as u64;
            let region = Region {
                size,
                ..self.lowered.output
            };
            output.extend(self.read(region, &self.read_back).await?);
        }
        Ok(output)
    }

    pub async fn parameter(&self, id: ParameterId) -> Result<Vec<f32>> {
        self.read_parameter(id, self.lowered.parameter(id)?).await
    }

    /// The gradient that the last update took; with micro-batches pending, their mean so far.
    pub async fn gradient(&self, id: ParameterId) -> Result<Vec<f32>> {
        let mut gradient = self
            .read_parameter(id, self.lowered.total_gradient(id)?)
            .await?;
        if self.options.accumulate > 1 {
            let scale = self.progress.mean();
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
        }
        Ok(gradient)
    }

    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        self.write(self.lowered.parameter(id)?, values).await
    }

    async fn write(&self, region: Region, values: &[f32]) -> Result<()> {
        let (buffer, offset) = (
            self.buffer(region.buffer)?,
            self.gpu.margin() + region.offset,
        );
        let write = || {
            self.gpu
                .queue()
                .write_buffer(buffer, offset, bytemuck::cast_slice(values))
        };
        self.gpu.guard("upload", write).await
    }

    async fn read_parameter(&self, id: ParameterId, region: Region) -> Result<Vec<f32>> {
        let size = self.model.graph.parameter(id).shape.len() as u64 * 4;
        let staging = self.gpu.read_back_buffer(size).await?;
        self.read(Region { size, ..region }, &staging).await
    }

    async fn read(&self, region: Region, staging: &wgpu::Buffer) -> Result<Vec<f32>> {
        let Region {
            buffer,
            offset,
            size,
            ..
        } = region;
        self.program.check_margins(&self.gpu).await?;
        let offset = self.gpu.margin() + offset;
        let bytes = self
            .gpu
            .read(self.buffer(buffer)?, offset, size, staging)
            .await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn buffer(&self, id: BufferId) -> Result<&wgpu::Buffer> {
        let missing = || Error::Gpu {
            message: "a buffer of the plan has no memory".into(),
        };
        self.program.buffer(id).ok_or_else(missing)
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
        let (target, target_region): (&[u8], Region) = match target {
            Some(Target::Labels(labels)) => (bytemuck::cast_slice(labels), self.lowered.labels),
            Some(Target::Values(values)) => (bytemuck::cast_slice(values), self.lowered.values),
            None => (&[], self.lowered.values),
        };
        let margin = self.gpu.margin();
        let destinations = [
            (params.as_slice(), self.program.uniforms(), 0),
            (
                bytemuck::cast_slice(input),
                self.buffer(self.lowered.input.buffer)?,
                margin,
            ),
            (target, self.buffer(target_region.buffer)?, margin),
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
        verdict.await?;
        // The buffer was mapped: only the loss of its device can have changed that.
        submission.map_err(|error| Error::DeviceLost {
            reason: error.to_string(),
        })?;
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
            ..task(&self.model, &self.loss, &self.optimizer, self.options)
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

fn task<'a>(
    model: &'a Model,
    loss: &'a Loss,
    optimizer: &'a Optimizer,
    options: PlanOptions,
) -> Task<'a> {
    let PlanOptions {
        batch: planned_batch,
        max_slab,
        clip_norm,
        accumulate,
        half,
        ..
    } = options;
    Task {
        model,
        loss,
        optimizer,
        planned_batch,
        max_slab,
        clip_norm,
        accumulate,
        half,
        choices: None,
        decisions: &[],
    }
}
