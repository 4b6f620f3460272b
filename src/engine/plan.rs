//! A model on a GPU: everything that a step needs is made here, once.

use std::ops::Range;
#[cfg(feature = "native")]
use std::path::Path;

use crate::gpu::kernels::loss::LossStep;
use crate::gpu::kernels::{dropout, loss, optimizer};
use crate::gpu::program::Program;
use crate::gpu::record::{BufferId, Dispatch, Region, Varies};
use crate::gpu::strategy::Choices;
use crate::gpu::{Gpu, Mapping};
use crate::model::{Model, ParameterId};
use crate::op::{Loss, Op, Optimizer, Target};
use crate::{Error, Result};

use super::MemoryReport;
#[cfg(feature = "native")]
use super::autotune;
use super::lower::{Lowered, Task, lower};
use super::memory::{memory_report, upload_size};

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
    /// The same kernels with the params and grids of a smaller batch, the last one used.
    partial: Option<(usize, Vec<Dispatch>)>,
    program: Program,
    memory: MemoryReport,
    uploads: Vec<Upload>,
    /// The upload that the next submission takes.
    next_upload: usize,
    /// For outputs and losses.
    read_back: wgpu::Buffer,
    progress: Progress,
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
        self.submit(&ranges, input, Some(target), step).await?;
        self.progress = progress;
        Ok(())
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
        if let Some((mapping, submission)) = self.uploads[at].mapping.take() {
            self.gpu.mapped(mapping, submission).await?;
        }
        let dispatches = match &self.partial {
            Some((size, dispatches)) if *size == batch => dispatches,
            _ => &self.lowered.recording.dispatches,
        };
        let params = self.params(dispatches, step);
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
        self.gpu.check()?;
        let submission = self.gpu.guard("step", encode).await.and_then(|submission| {
            // The buffer was mapped: only the loss of its device can have changed that.
            submission.map_err(|error| Error::DeviceLost {
                reason: error.to_string(),
            })
        });
        // Mapped again whatever became of the commands, so that the next step finds the buffer as this one did.
        let mapping = self.gpu.map(&self.uploads[at].buffer, wgpu::MapMode::Write);
        let submission = submission.inspect(|_| self.next_upload = (at + 1) % self.uploads.len());
        self.uploads[at].mapping = Some((mapping, submission.clone().ok()));
        submission.map(|_| ())
    }

    /// Makes the params and grids of a smaller batch, if they are not at hand.
    fn prepare(&mut self, batch: usize) -> Result<()> {
        if batch == 0
            || batch == self.options.batch
            || self.partial.as_ref().is_some_and(|p| p.0 == batch)
        {
            return Ok(());
        }
        let task = Task {
            decisions: &self.lowered.recording.decisions,
            ..task(&self.model, &self.loss, &self.optimizer, self.options)
        };
        let lowered = lower(&task, self.gpu.traits(), batch)?;
        self.partial = Some((batch, lowered.recording.dispatches));
        Ok(())
    }

    /// The params of all dispatches, those that change from step to step among them.
    fn params(&self, dispatches: &[Dispatch], step: Step) -> Vec<u8> {
        let mut block = self.program.params_block(dispatches);
        for (at, dispatch) in dispatches.iter().enumerate() {
            let params = &mut block[self.program.params_offset(at)..];
            match dispatch.varies {
                Varies::Nothing => {}
                Varies::Loss => loss::set_step(&self.loss, params, step.loss),
                Varies::LossTotal => loss::set_total_step(params, step.loss),
                Varies::Dropout => dropout::set_step(params, self.options.seed, step.batch),
                Varies::Clip => optimizer::set_clip_step(params, step.gradient_scale),
                Varies::Optimizer { vectors } => {
                    let (update, scale) = (step.update.max(1), step.gradient_scale);
                    let values = optimizer::params(&self.optimizer, update, vectors, scale);
                    params[..values.len()].copy_from_slice(&values);
                }
            }
        }
        block
    }
}

/// What a submission says to the kernels whose params vary.
#[derive(Debug, Clone, Copy)]
struct Step {
    loss: LossStep,
    /// Batches before this one.
    batch: u64,
    /// The update that this submission makes, counted from 1.
    update: u64,
    gradient_scale: f32,
}

impl Default for Step {
    fn default() -> Self {
        let loss = LossStep {
            scale: 1.0,
            soft: false,
            accumulate: false,
        };
        Self {
            loss,
            batch: 0,
            update: 1,
            gradient_scale: 1.0,
        }
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
