//! A model on a GPU: everything that a step needs is made here, once.

use crate::gpu::kernels::{loss, optimizer};
use crate::gpu::program::Program;
use crate::gpu::record::{Dispatch, Region, Storage};
use crate::gpu::{Gpu, Mapping};
use crate::model::{Model, ParameterId};
use crate::op::{Loss, Optimizer, Target};
use crate::{Error, Result};

use super::MemoryReport;
use super::lower::{Lowered, Task, lower};

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
    /// Updates so far.
    steps: u64,
}

/// A staging buffer: the params of all dispatches, then the input, then the target.
struct Upload {
    buffer: wgpu::Buffer,
    /// `None` once it is known to be mapped.
    mapping: Option<(Mapping, Option<wgpu::SubmissionIndex>)>,
}

/// Which dispatches run.
#[derive(Clone, Copy, PartialEq)]
enum Run {
    Train,
    Predict,
}

impl Plan {
    /// The memory that a plan would take. Allocates nothing.
    pub fn memory_of(
        gpu: &Gpu,
        model: &Model,
        loss: Loss,
        optimizer: &Optimizer,
        options: PlanOptions,
    ) -> Result<MemoryReport> {
        let lowered = lower(
            &task(model, loss, optimizer, options),
            gpu.traits(),
            options.batch,
        )?;
        Ok(memory_report(&lowered, model, options))
    }

    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(
        gpu: &Gpu,
        model: &Model,
        loss: Loss,
        optimizer: Optimizer,
        options: PlanOptions,
    ) -> Result<Self> {
        let lowered = lower(
            &task(model, loss, &optimizer, options),
            gpu.traits(),
            options.batch,
        )?;
        let memory = memory_report(&lowered, model, options);
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
            let buffer = gpu.buffer("upload", size, usage).await?;
            let mapping = Some((gpu.map(&buffer, wgpu::MapMode::Write), None));
            uploads.push(Upload { buffer, mapping });
        }
        let read_back = gpu.read_back_buffer(lowered.output.size.max(16)).await?;
        log::debug!(
            "{} kernels for a training step, {} for a prediction, {memory}",
            lowered.train.len(),
            lowered.predict.len()
        );
        Ok(Self {
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
            steps: 0,
        })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }

    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.optimizer.set_learning_rate(learning_rate);
    }

    /// One update of the parameters from a batch that has been checked.
    pub async fn step(&mut self, input: &[f32], target: &Target) -> Result<()> {
        self.submit(Run::Train, input, Some(target)).await?;
        self.steps += 1;
        Ok(())
    }

    /// The loss of the last step.
    pub async fn loss(&self) -> Result<f32> {
        let loss = Region {
            size: 4,
            ..self.lowered.loss
        };
        Ok(self.read(loss, &self.read_back).await?[0])
    }

    /// The outputs for any number of examples, in batches.
    pub async fn predict(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        let (example, outputs) = (
            self.model.input_shape().len(),
            self.model.output_shape().len(),
        );
        let mut output = Vec::with_capacity(input.len() / example * outputs);
        for chunk in input.chunks(self.options.batch * example) {
            self.submit(Run::Predict, chunk, None).await?;
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
        self.read_parameter(id, self.lowered.parameter(id)).await
    }

    pub async fn gradient(&self, id: ParameterId) -> Result<Vec<f32>> {
        self.read_parameter(id, self.lowered.gradient(id)).await
    }

    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        let Region { buffer, offset, .. } = self.lowered.parameter(id);
        let buffer = self.buffer(buffer)?;
        let offset = self.gpu.margin() + offset;
        let write = || {
            self.gpu
                .queue()
                .write_buffer(buffer, offset, bytemuck::cast_slice(values))
        };
        self.gpu.guard("parameter upload", write).await
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
        } = region;
        self.program.check_margins(&self.gpu).await?;
        let offset = self.gpu.margin() + offset;
        let bytes = self
            .gpu
            .read(self.buffer(buffer)?, offset, size, staging)
            .await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    fn buffer(&self, id: crate::gpu::record::BufferId) -> Result<&wgpu::Buffer> {
        let missing = || Error::Gpu {
            message: "a buffer of the plan has no memory".into(),
        };
        self.program.buffer(id).ok_or_else(missing)
    }

    /// Uploads a batch and submits its kernels.
    async fn submit(&mut self, run: Run, input: &[f32], target: Option<&Target>) -> Result<()> {
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
        let params = self.params(run, dispatches, target);
        let (target, target_region): (&[u8], Region) = match target {
            Some(Target::Labels(labels)) => (bytemuck::cast_slice(labels), self.lowered.labels),
            Some(Target::Values(values)) => (bytemuck::cast_slice(values), self.lowered.values),
            None => (&[], self.lowered.values),
        };
        let range = match run {
            Run::Train => self.lowered.train.clone(),
            Run::Predict => self.lowered.predict.clone(),
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
            self.program.encode(&mut encoder, dispatches, range);
            Ok(self.gpu.queue().submit([encoder.finish()]))
        };
        let submission = self.gpu.guard("step", encode).await.and_then(|submission| {
            // The buffer was mapped: only the loss of its device can have changed that.
            submission.map_err(|error| Error::DeviceLost {
                reason: error.to_string(),
            })
        });
        // Mapped again in any case, so that the next step finds the buffer as this one did.
        let mapping = self.gpu.map(&self.uploads[at].buffer, wgpu::MapMode::Write);
        let submission = submission.inspect(|_| self.next_upload = (at + 1) % self.uploads.len());
        self.uploads[at].mapping = Some((mapping, submission.clone().ok()));
        submission.map(|_| ())
    }

    /// Makes the params and grids of a smaller batch, if they are not at hand.
    fn prepare(&mut self, batch: usize) -> Result<()> {
        if batch == self.options.batch || self.partial.as_ref().is_some_and(|p| p.0 == batch) {
            return Ok(());
        }
        let task = task(&self.model, self.loss, &self.optimizer, self.options);
        let lowered = lower(&task, self.gpu.traits(), batch)?;
        self.partial = Some((batch, lowered.recording.dispatches));
        Ok(())
    }

    /// The params of all dispatches, those that change from step to step among them.
    fn params(&self, run: Run, dispatches: &[Dispatch], target: Option<&Target>) -> Vec<u8> {
        let mut block = self.program.params_block(dispatches);
        if run == Run::Train {
            for (slab, dispatch) in self.lowered.slabs.iter().zip(self.lowered.update.clone()) {
                let vectors = (slab.parameter.size / 16) as u32;
                let params = optimizer::params(&self.optimizer, self.steps + 1, vectors);
                let offset = self.program.params_offset(dispatch);
                block[offset..offset + params.len()].copy_from_slice(&params);
            }
            let soft = matches!(target, Some(Target::Values(_)));
            for dispatch in self.lowered.train.clone() {
                if dispatches[dispatch].kernel.name == loss::CROSS_ENTROPY.name {
                    loss::set_soft(&mut block[self.program.params_offset(dispatch)..], soft);
                }
            }
        }
        block
    }
}

fn task<'a>(
    model: &'a Model,
    loss: Loss,
    optimizer: &'a Optimizer,
    options: PlanOptions,
) -> Task<'a> {
    let PlanOptions {
        batch: planned_batch,
        max_slab,
        ..
    } = options;
    Task {
        model,
        loss,
        optimizer,
        planned_batch,
        max_slab,
    }
}

/// Bytes of a staging buffer.
fn upload_size(lowered: &Lowered, params: u64) -> u64 {
    params + lowered.input.size + lowered.values.size.max(lowered.labels.size)
}

fn memory_report(lowered: &Lowered, model: &Model, options: PlanOptions) -> MemoryReport {
    let recording = &lowered.recording;
    let sum = |region: fn(&super::lower::Slab) -> u64| lowered.slabs.iter().map(region).sum();
    let assignment = recording.assign();
    let shared = assignment.sizes.iter().zip(&assignment.transient);
    let transient = recording
        .buffers
        .iter()
        .filter(|b| matches!(b.storage, Storage::Transient));
    let alignment = recording.traits.uniform_alignment;
    let params = recording.dispatches.iter();
    let params: u64 = params
        .map(|dispatch| (dispatch.params.len() as u64).next_multiple_of(alignment))
        .sum();
    debug_assert_eq!(
        model.graph.parameters().is_empty(),
        lowered.slabs.is_empty()
    );
    let Lowered {
        input,
        labels,
        values,
        loss,
        output,
        ..
    } = lowered;
    MemoryReport {
        parameters: sum(|slab| slab.parameter.size),
        gradients: sum(|slab| slab.gradient.size),
        optimizer_state: sum(|slab| slab.state.iter().map(|state| state.size).sum()),
        activations: shared
            .filter(|(_, transient)| **transient)
            .map(|(size, _)| size)
            .sum(),
        activations_unshared: transient.map(|buffer| buffer.size).sum(),
        batch: [input, labels, values, loss, output]
            .iter()
            .map(|region| region.size)
            .sum(),
        staging: params
            + options.in_flight as u64 * upload_size(lowered, params)
            + output.size.max(16),
    }
}
