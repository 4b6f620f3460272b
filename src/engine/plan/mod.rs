//! A model on a GPU: everything that a step needs is made here, once.

mod access;
mod held;
mod own;
mod ranks;
mod run;
mod state;

use super::MemoryReport;
#[cfg(feature = "native")]
use super::autotune::{self, ChoiceStore, Found};
use super::compiled::Compiled;
#[cfg(feature = "native")]
use super::compiled::check_budget;
use super::lower::{Lowered, PlanOptions, Task, lower_planned};
use super::memory::{largest_output, memory_report, upload_size};
use super::verify::{Rig, VerifyReport, verify_plan};
use crate::Result;
use crate::gpu::strategy::Choices;
use crate::gpu::{Buffer, Gpu, Mapping};
use crate::model::{Groups, Model, OutputLoss};

pub(crate) use ranks::subnormals;
pub(crate) use run::Batch;
use run::{Prepared, Progress};

/// A compiled model. A step creates no buffer, bind group or pipeline: it writes into a staging
/// buffer that is mapped already, encodes the dispatches and submits them once.
pub(crate) struct Plan {
    compiled: Compiled,
    model: Model,
    losses: Vec<OutputLoss>,
    groups: Groups,
    options: PlanOptions,
    uploads: Vec<Upload>,
    /// The upload that the next submission takes.
    next_upload: usize,
    /// For outputs and losses.
    read_back: Buffer,
    progress: Progress,
    /// The slabs of gradients in the host's memory, where several ranks train.
    on_host: Vec<Vec<f32>>,
}

/// A way back that has left the gradients of inputs.
#[derive(Debug, Clone, Copy)]
struct WentBack {
    examples: usize,
    /// Whether it went to the inputs alone.
    alone: bool,
}

/// A staging buffer: the params of all dispatches, then the input, then the target.
struct Upload {
    buffer: Buffer,
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
        (store, found): (&ChoiceStore, Option<&Found>),
    ) -> Result<Choices> {
        let known = autotune::known_choices(gpu, store, found)?;
        let memory = Self::memory_of(gpu, model, losses, groups, options, &known)?;
        check_budget(&memory, &options)?;
        let task = Task::new(model, losses, groups, options);
        autotune::choices(gpu, &task, (store, found), options.autotune_budget).await
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
        let memory = |lowered: &Lowered| memory_report(lowered, options.in_flight);
        let compiled = Compiled::new(gpu, &task, memory).await?;
        let (lowered, memory) = (&compiled.lowered, compiled.memory);
        let size = upload_size(lowered, compiled.program.uniforms().size());
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let mut uploads = Vec::new();
        for _ in 0..options.in_flight {
            let buffer = gpu.mapped_buffer("upload", size, usage).await?;
            uploads.push(Upload {
                buffer,
                mapping: None,
            });
        }
        let read_back = gpu.read_back_buffer(largest_output(lowered)).await?;
        log::debug!(
            "{} kernels for a training step, {} for a prediction, {memory}",
            lowered.ranges.update.end - lowered.ranges.begin_sum.len(),
            lowered.ranges.predict.len()
        );
        let plan = Self {
            compiled,
            model: model.clone(),
            losses,
            groups,
            options,
            uploads,
            next_upload: 0,
            read_back,
            progress: Progress::default(),
            on_host: vec![],
        };
        plan.clear_slabs().await?;
        Ok(plan)
    }

    pub fn gpu(&self) -> &Gpu {
        &self.compiled.gpu
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    pub fn memory(&self) -> MemoryReport {
        self.compiled.memory
    }

    /// Checks the kernels that the plan runs. What it keeps is afterwards as before.
    pub async fn verify(&mut self) -> Result<VerifyReport> {
        // At the rate of the moment an update may be too small to be seen.
        let groups = self.groups.at_rate(0.1);
        self.progress.prepared = Prepared::Nothing;
        self.forget_forward();
        let task = Task::new(&self.model, &self.losses, &groups, self.options);
        let rig = Rig {
            gpu: &self.compiled.gpu,
            task: &task,
            lowered: &self.compiled.lowered,
            program: &self.compiled.program,
        };
        verify_plan(&rig).await
    }

    /// Makes the gaps between parameters zero in the gradients, whose norm is that of whole slabs.
    async fn clear_slabs(&self) -> Result<()> {
        let mut regions = Vec::new();
        for slab in &self.compiled.lowered.slabs {
            for region in [Some(slab.gradient), slab.sum].into_iter().flatten() {
                regions.push((self.compiled.program.memory(region)?, region.size));
            }
        }
        let clear = || {
            let mut encoder = self
                .compiled
                .gpu
                .device()
                .create_command_encoder(&Default::default());
            for (buffer, size) in regions {
                encoder.clear_buffer(buffer, self.compiled.gpu.margin(), Some(size));
            }
            self.compiled.gpu.queue().submit([encoder.finish()]);
        };
        self.compiled.gpu.guard("gradients", clear).await
    }
}
