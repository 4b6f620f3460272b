//! Values of a model and their gradients, looked at on a GPU.

mod host;

use half::f16;

use super::MemoryReport;
use super::lower::{Lowered, PlanOptions, Purpose, Task, lower, lower_planned};
use super::memory::memory_report;
use super::plan::{Setting, Step, check_budget};
use super::wanted::Wanted;
use crate::Result;
use crate::gpu::Gpu;
use crate::gpu::kernel::Format;
use crate::gpu::kernels::loss::LossStep;
use crate::gpu::program::Program;
use crate::gpu::record::{Dispatch, Region};
use crate::gpu::strategy::Choices;
use crate::model::{Groups, Inputs, Model, Node, OutputLoss, ParameterId, ValueId};
use crate::op::{Loss, Target};

pub(crate) use host::HostLook;

/// What is looked at, and how.
#[derive(Debug, Clone)]
pub(crate) struct LookTask {
    /// In which each value that is asked for has a place of its own, and training is what is looked at.
    pub model: Model,
    pub losses: Vec<OutputLoss>,
    pub values: Vec<ValueId>,
    pub gradients: Vec<ValueId>,
    /// By parameter, whether training would change it: in half precision the others are read as they are.
    pub learned: Vec<bool>,
    pub options: PlanOptions,
    pub choices: Choices,
}

impl LookTask {
    fn wanted(&self) -> Wanted {
        let (values, gradients) = (&self.values, &self.gradients);
        Wanted::looked_at(&self.model.graph, &self.losses, values, gradients)
    }

    /// Calls `run` with what is lowered.
    fn with<R>(&self, run: impl FnOnce(&Task) -> R) -> R {
        let groups = Groups::none(&self.model.graph);
        let task = Task {
            purpose: Purpose::Look,
            wanted: self.wanted(),
            choices: Some(&self.choices),
            ..Task::new(&self.model, &self.losses, &groups, self.options)
        };
        run(&task)
    }

    /// Whether training reads a parameter in half precision.
    fn reads_half(&self, id: ParameterId) -> bool {
        let halved = |node: &Node| {
            let mut parameters = node.parameters.iter().enumerate();
            parameters.any(|(at, &own)| own == id && node.op.definition().reads_half(at))
        };
        let nodes = &mut self.model.graph.nodes().iter();
        self.options.half && self.learned[id.0] && nodes.any(halved)
    }

    /// The memory that a look would take. Allocates nothing.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        let lowered = self.with(|task| lower_planned(task, gpu.traits()))?;
        Ok(memory_report(&lowered, 0))
    }

    /// What each of the losses of a batch is divided by.
    fn loss_steps(&self, examples: usize, targets: &[Target]) -> Result<Vec<LossStep>> {
        let graph = &self.model.graph;
        let losses = self.losses.iter().zip(targets);
        let steps = losses.map(|(loss, target)| {
            let shape = graph.shape(graph.outputs()[loss.output]);
            let own: &Loss = loss.function()?;
            let normaliser = own.normaliser(target, &own.geometry(examples, shape)?);
            let scale = (1.0 / normaliser) as f32;
            Ok(LossStep {
                scale,
                gradient_scale: scale,
                weight: loss.weight,
                soft: matches!(target, Target::Values(_)),
            })
        });
        steps.collect()
    }
}

/// A look, compiled. What it keeps is as it was after each.
pub(crate) struct LookPlan {
    gpu: Gpu,
    pub task: LookTask,
    lowered: Lowered,
    program: Program,
    memory: MemoryReport,
    /// The kernels of a smaller batch, the last one used.
    partial: Option<(usize, Vec<Dispatch>)>,
    read_back: wgpu::Buffer,
}

impl LookPlan {
    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(gpu: &Gpu, task: LookTask) -> Result<Self> {
        let lowered = task.with(|task| lower_planned(task, gpu.traits()))?;
        let memory = memory_report(&lowered, 0);
        check_budget(&memory, &task.options)?;
        let program = Program::compile(gpu, &lowered.recording).await?;
        let looked = lowered.looked.iter();
        let places = looked.flat_map(|looked| [Some(looked.place), looked.gradient]);
        let places = places.flatten().chain(lowered.trained.iter().copied());
        let largest = places.map(|region| region.size).max().unwrap_or(0);
        let plan = Self {
            gpu: gpu.clone(),
            read_back: gpu.read_back_buffer(largest.max(16)).await?,
            partial: None,
            task,
            lowered,
            program,
            memory,
        };
        for (loss, parts) in plan.task.losses.iter().zip(&plan.lowered.losses) {
            let weights = loss.loss.as_ref().and_then(Loss::weights);
            if let (Some(region), Some(weights)) = (parts.loss_weights, weights) {
                plan.write(region, &weights).await?;
            }
        }
        let constants = plan.task.model.graph.constants().iter();
        for (constant, &region) in constants.zip(&plan.lowered.constants) {
            let values = constant.values.repeat(plan.task.options.batch);
            plan.write(region, &values).await?;
        }
        Ok(plan)
    }

    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub fn memory(&self) -> MemoryReport {
        self.memory
    }

    async fn write(&self, region: Region, values: &[f32]) -> Result<()> {
        let bytes = bytemuck::cast_slice(values);
        self.program.write(&self.gpu, region, bytes).await
    }

    /// Sets a parameter: to what kernels of a training read of it, of which there is no other copy here.
    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        let rounded: Vec<f32>;
        let values = match self.task.reads_half(id) {
            true => {
                let halves = values.iter().map(|&value| f16::from_f32(value).to_f32());
                rounded = halves.collect();
                &rounded
            }
            false => values,
        };
        for (piece, values) in self.lowered.parameter(id)?.split(values) {
            self.write(piece.region, values).await?;
            // The copy from which it is uploaded is free again once it is submitted.
            let submit = || self.gpu.queue().submit([]);
            self.gpu.guard("upload", submit).await?;
        }
        Ok(())
    }

    /// The forward pass of a batch, and its losses where there are targets: what a way back needs is there
    /// afterwards.
    pub async fn forward(
        &mut self,
        inputs: &Inputs<'_>,
        examples: usize,
        targets: &[Target],
    ) -> Result<()> {
        self.task.model.graph.check_training(examples)?;
        self.prepare(examples)?;
        let inputs = inputs.slices().iter().zip(&self.lowered.inputs);
        for (&input, &region) in inputs {
            self.write(region, input).await?;
        }
        let losses = self.task.losses.iter().zip(&self.lowered.losses);
        for ((loss, parts), target) in losses.zip(targets) {
            match target {
                Target::Values(values) => self.write(parts.values, values).await?,
                Target::Labels(_) | Target::WideLabels(_) => {
                    let codes = target.codes(loss.function()?);
                    let bytes = bytemuck::cast_slice(&codes);
                    self.program.write(&self.gpu, parts.labels, bytes).await?;
                }
            }
        }
        let step = Step {
            losses: self.task.loss_steps(examples, targets)?,
            ..Step::FIRST
        };
        let ranges = &self.lowered.ranges;
        let mut run = vec![ranges.prepare.clone(), ranges.forward.clone()];
        if !targets.is_empty() {
            run.extend([ranges.loss.clone(), ranges.backward.clone()]);
        }
        self.run(examples, &run, &step).await
    }

    /// The way back from gradients that the caller has computed.
    pub async fn backward(&mut self, examples: usize, gradients: &[&[f32]]) -> Result<()> {
        for (parts, gradient) in self.lowered.losses.iter().zip(gradients) {
            self.write(parts.logits[1], gradient).await?;
        }
        let ranges = &self.lowered.ranges;
        let run = [ranges.loss.clone(), ranges.backward.clone()];
        self.run(examples, &run, &Step::FIRST).await
    }

    async fn run(
        &self,
        examples: usize,
        ranges: &[std::ops::Range<usize>],
        step: &Step,
    ) -> Result<()> {
        let dispatches = self.dispatches(examples);
        let mut params = self.program.params_block(dispatches);
        let groups = Groups::none(&self.task.model.graph);
        let setting = Setting {
            losses: &self.task.losses,
            parts: &self.lowered.losses,
            groups: &groups,
            options: &self.task.options,
        };
        for (at, dispatch) in dispatches.iter().enumerate() {
            let params = &mut params[self.program.params_offset(at)..];
            step.fill((at, dispatch), params, &setting);
        }
        let run = self
            .program
            .run_once(&self.gpu, dispatches, ranges, &params);
        run.await
    }

    fn dispatches(&self, examples: usize) -> &[Dispatch] {
        match &self.partial {
            Some((batch, dispatches)) if *batch == examples => dispatches,
            _ => &self.lowered.recording.dispatches,
        }
    }

    /// Makes the kernels of a smaller batch, if they are not at hand.
    fn prepare(&mut self, examples: usize) -> Result<()> {
        let known = self.partial.as_ref().map(|(batch, _)| *batch);
        if examples == self.task.options.batch || known == Some(examples) {
            return Ok(());
        }
        let lowered = self.task.with(|task| {
            let task = Task {
                decisions: &self.lowered.recording.decisions,
                ..task.clone()
            };
            lower(&task, self.gpu.traits(), examples)
        });
        self.partial = Some((examples, lowered?.recording.dispatches));
        Ok(())
    }

    async fn read(&self, region: Region, len: usize) -> Result<Vec<f32>> {
        let size = len as u64 * region.format.size();
        let whole = Region {
            size: size.next_multiple_of(4),
            ..region
        };
        let bytes = self.program.read_through(&self.gpu, whole, &self.read_back);
        let bytes = &bytes.await?[..size as usize];
        Ok(match region.format {
            Format::F16 => {
                let halves = bytes.as_chunks().0.iter();
                halves
                    .map(|&half| f16::from_le_bytes(half).to_f32())
                    .collect()
            }
            Format::F32 => bytemuck::pod_collect_to_vec(bytes),
        })
    }

    /// The losses of the last batch.
    pub async fn losses(&self) -> Result<Vec<f32>> {
        let mut losses = Vec::new();
        for parts in &self.lowered.losses {
            losses.push(self.read(parts.loss, 1).await?[0]);
        }
        Ok(losses)
    }

    /// The outputs of the last batch.
    pub async fn outputs(&self, examples: usize) -> Result<Vec<Vec<f32>>> {
        let graph = &self.task.model.graph;
        let mut outputs = Vec::new();
        for (&output, &region) in graph.outputs().iter().zip(&self.lowered.trained) {
            let len = examples * graph.shape(output).len();
            outputs.push(self.read(region, len).await?);
        }
        Ok(outputs)
    }

    /// A value of the last batch.
    pub async fn value(&self, value: ValueId, examples: usize) -> Result<Vec<f32>> {
        let looked = self.looked(value)?;
        let len = examples * self.task.model.graph.shape(value).len();
        self.read(looked.place, len).await
    }

    /// The gradient of a value of the last batch; zero where no loss depends on it.
    pub async fn gradient(&self, value: ValueId, examples: usize) -> Result<Vec<f32>> {
        let len = examples * self.task.model.graph.shape(value).len();
        match self.looked(value)?.gradient {
            Some(region) => self.read(region, len).await,
            None => Ok(vec![0.0; len]),
        }
    }

    fn looked(&self, value: ValueId) -> Result<&super::lower::Looked> {
        let mut looked = self.lowered.looked.iter();
        let found = looked.find(|looked| looked.value == value);
        found.ok_or_else(|| super::internal("a value is not looked at"))
    }
}
