//! A model on a GPU: everything that a step needs is made here, once.

mod access;
mod held;
mod own;
mod params;
mod run;
mod state;

use super::MemoryReport;
#[cfg(feature = "native")]
use super::autotune::{self, Found, Place};
use super::lower::{Lowered, PlanOptions, Task, lower_planned};
use super::memory::{largest_output, memory_report, upload_size};
use super::verify::{Rig, VerifyReport, verify_plan};
use crate::gpu::program::Program;
use crate::gpu::record::Dispatch;
use crate::gpu::strategy::Choices;
use crate::gpu::{Gpu, Mapping};
use crate::model::{Groups, Model, OutputLoss};
use crate::op::Loss;
use crate::{Error, Result};

pub(super) use params::{Setting, Step};
pub(crate) use run::Batch;
use run::Progress;

/// A compiled model. A step creates no buffer, bind group or pipeline: it writes into a staging
/// buffer that is mapped already, encodes the dispatches and submits them once.
pub(crate) struct Plan {
    gpu: Gpu,
    model: Model,
    losses: Vec<OutputLoss>,
    groups: Groups,
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

/// A way back that has left the gradients of inputs.
#[derive(Debug, Clone, Copy)]
struct WentBack {
    examples: usize,
    /// Whether it went to the inputs alone.
    alone: bool,
}

/// What differs for a batch that is smaller than planned.
struct Partial {
    batch: usize,
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
}

/// A staging buffer: the params of all dispatches, then the input, then the target.
struct Upload {
    buffer: wgpu::Buffer,
    /// `None` while it is known to be mapped.
    mapping: Option<(Mapping, Option<wgpu::SubmissionIndex>)>,
}

impl Plan {
    /// The fastest cores for a plan: those that were found before, or from a file of measurements; what is in
    /// neither is measured.
    #[cfg(feature = "native")]
    pub async fn tune(
        gpu: &Gpu,
        model: &Model,
        losses: &[OutputLoss],
        groups: &Groups,
        options: PlanOptions,
        (place, found): (&Place, Option<&Found>),
    ) -> Result<Choices> {
        let known = autotune::known_choices(gpu, place, found)?;
        let memory = Self::memory_of(gpu, model, losses, groups, options, &known)?;
        check_budget(&memory, &options)?;
        let task = Task::new(model, losses, groups, options);
        autotune::choices(gpu, &task, (place, found)).await
    }

    /// Refuses what cannot be trained, on whatever device.
    pub fn check(
        model: &Model,
        losses: &[OutputLoss],
        groups: &Groups,
        options: PlanOptions,
    ) -> Result<()> {
        Task::new(model, losses, groups, options).check()
    }

    /// The memory that a plan would take. Allocates nothing.
    pub fn memory_of(
        gpu: &Gpu,
        model: &Model,
        losses: &[OutputLoss],
        groups: &Groups,
        options: PlanOptions,
        choices: &Choices,
    ) -> Result<MemoryReport> {
        let task = Task {
            choices: Some(choices),
            ..Task::new(model, losses, groups, options)
        };
        let lowered = lower_planned(&task, gpu.traits())?;
        Ok(memory_report(&lowered, options.in_flight))
    }

    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(
        gpu: &Gpu,
        model: &Model,
        losses: Vec<OutputLoss>,
        groups: Groups,
        options: PlanOptions,
        choices: &Choices,
    ) -> Result<Self> {
        let task = Task {
            choices: Some(choices),
            ..Task::new(model, &losses, &groups, options)
        };
        let lowered = lower_planned(&task, gpu.traits())?;
        let memory = memory_report(&lowered, options.in_flight);
        check_budget(&memory, &options)?;
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
        let read_back = gpu.read_back_buffer(largest_output(&lowered)).await?;
        log::debug!(
            "{} kernels for a training step, {} for a prediction, {memory}",
            lowered.ranges.update.end - lowered.ranges.begin_sum.len(),
            lowered.ranges.predict.len()
        );
        let plan = Self {
            gpu: gpu.clone(),
            model: model.clone(),
            losses,
            groups,
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
        plan.write_constants().await?;
        Ok(plan)
    }

    /// Uploads what stays as it is: class weights, and the values that are the same for every example.
    async fn write_constants(&self) -> Result<()> {
        for (loss, parts) in self.losses.iter().zip(&self.lowered.losses) {
            let weights = loss.loss.as_ref().and_then(Loss::weights);
            if let (Some(region), Some(weights)) = (parts.loss_weights, weights) {
                self.write(region, &weights).await?;
            }
        }
        let constants = self.model.graph.constants().iter();
        for (constant, &region) in constants.zip(&self.lowered.constants) {
            let values = constant.values.repeat(self.options.batch);
            self.write(region, &values).await?;
        }
        Ok(())
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    /// Checks the kernels that the plan runs. What it keeps is afterwards as before.
    pub async fn verify(&mut self) -> Result<VerifyReport> {
        // At the rate of the moment an update may be too small to be seen.
        let groups = self.groups.at_rate(0.1);
        let task = Task::new(&self.model, &self.losses, &groups, self.options);
        self.progress.prepared = false;
        self.progress.forwarded = None;
        let rig = Rig {
            gpu: &self.gpu,
            task: &task,
            lowered: &self.lowered,
            program: &self.program,
        };
        verify_plan(&rig).await
    }

    /// Makes the gaps between parameters zero in the gradients, whose norm is that of whole slabs.
    async fn clear_slabs(&self) -> Result<()> {
        let mut regions = Vec::new();
        for slab in &self.lowered.slabs {
            for region in [Some(slab.gradient), slab.sum].into_iter().flatten() {
                regions.push((self.program.memory(region)?, region.size));
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
}

/// Whether a plan may take so much.
pub(super) fn check_budget(memory: &MemoryReport, options: &PlanOptions) -> Result<()> {
    if memory.total() <= options.memory_budget {
        return Ok(());
    }
    Err(Error::OutOfMemory {
        what: format!("a batch of {}: {memory}", options.batch),
        needed: memory.total(),
        available: Some(options.memory_budget),
    })
}
