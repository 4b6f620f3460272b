//! Values of a model and their gradients, looked at on a GPU.

mod host;

use half::f16;

use super::MemoryReport;
use super::compiled::Compiled;
use super::lower::{Asked, PlanOptions, Purpose, Task, lower_planned};
use super::memory::memory_report;
use super::step::{Setting, Step, loss_step, normalisers};
use super::wanted::Wanted;
use crate::Result;
use crate::gpu::kernel::Format;
use crate::gpu::record::Region;
use crate::gpu::strategy::Choices;
use crate::gpu::{Buffer, Gpu};
use crate::model::{Groups, Inputs, Model, Node, OutputLoss, ParameterId, ValueId};
use crate::op::Target;

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

    /// What is lowered. It learns nothing.
    fn lowering<'a>(&'a self, nothing: &'a Groups) -> Task<'a> {
        Task {
            purpose: Purpose::Look,
            wanted: self.wanted(),
            choices: Some(&self.choices),
            ..Task::new(&self.model, &self.losses, nothing, self.options)
        }
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
        let nothing = Groups::none(&self.model.graph);
        let lowered = lower_planned(&self.lowering(&nothing), gpu.traits())?;
        Ok(memory_report(&lowered, 0))
    }
}

/// A look, compiled. What it keeps is as it was after each.
pub(crate) struct LookPlan {
    compiled: Compiled,
    pub task: LookTask,
    nothing: Groups,
    /// Whether what follows from the parameters alone follows from these.
    prepared: bool,
    read_back: Buffer,
}

impl LookPlan {
    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(gpu: &Gpu, task: LookTask) -> Result<Self> {
        let nothing = Groups::none(&task.model.graph);
        let memory = |lowered: &_| memory_report(lowered, 0);
        let compiled = Compiled::new(gpu, &task.lowering(&nothing), memory).await?;
        let asked = compiled.lowered.asked.iter();
        let places = asked.flat_map(|asked| [Some(asked.place), asked.gradient]);
        let trained = compiled.lowered.trained.iter().copied();
        let sizes = places.flatten().chain(trained).map(|region| region.size);
        let largest = sizes.max().unwrap_or(0);
        Ok(Self {
            read_back: gpu.read_back_buffer(largest.max(16)).await?,
            prepared: false,
            compiled,
            task,
            nothing,
        })
    }

    pub fn gpu(&self) -> &Gpu {
        &self.compiled.gpu
    }

    pub fn memory(&self) -> MemoryReport {
        self.compiled.memory
    }

    /// Sets a parameter: to what kernels of a training read of it, of which there is no other copy here.
    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        self.prepared = false;
        let rounded: Vec<f32>;
        let values = match self.task.reads_half(id) {
            true => {
                let halves = values.iter().map(|&value| f16::from_f32(value).to_f32());
                rounded = halves.collect();
                &rounded
            }
            false => values,
        };
        let pieces = self.compiled.lowered.parameter(id)?;
        self.compiled.write_pieces(&pieces, values).await
    }

    /// The forward pass of a batch, and its losses where there are targets: what a way back needs is there
    /// afterwards.
    pub async fn forward(
        &mut self,
        inputs: &Inputs<'_>,
        examples: usize,
        targets: &[Target],
    ) -> Result<()> {
        let graph = &self.task.model.graph;
        graph.check_training(examples)?;
        let losses = &self.task.losses;
        let normalisers = normalisers(graph, losses, examples, targets)?;
        let steps = losses.iter().zip(targets).zip(normalisers);
        let steps = steps.map(|((of, target), by)| loss_step(of, target, [1.0 / by; 2]));
        let step = Step {
            losses: steps.collect(),
            ..Step::FIRST
        };
        for (bytes, region) in self.compiled.bytes(losses, inputs, targets) {
            let Compiled { gpu, program, .. } = &self.compiled;
            program.write(gpu, region, &bytes).await?;
        }
        let ranges = &self.compiled.lowered.ranges;
        let mut run = vec![ranges.forward.clone()];
        if !self.prepared {
            run.insert(0, ranges.prepare.clone());
        }
        if !targets.is_empty() {
            run.extend([ranges.loss.clone(), ranges.backward.clone()]);
        }
        self.run(examples, &run, &step).await?;
        self.prepared = true;
        Ok(())
    }

    /// The way back from gradients that the caller has computed.
    pub async fn backward(&mut self, examples: usize, gradients: &[&[f32]]) -> Result<()> {
        for (parts, gradient) in self.compiled.lowered.losses.iter().zip(gradients) {
            self.compiled.write(parts.logits[1], gradient).await?;
        }
        let ranges = &self.compiled.lowered.ranges;
        let run = [ranges.loss.clone(), ranges.backward.clone()];
        self.run(examples, &run, &Step::FIRST).await
    }

    async fn run(
        &mut self,
        examples: usize,
        ranges: &[std::ops::Range<usize>],
        step: &Step,
    ) -> Result<()> {
        if !self.compiled.fits(examples) {
            let task = self.task.lowering(&self.nothing);
            self.compiled.fit(&task, examples)?;
        }
        let setting = Setting {
            losses: &self.task.losses,
            groups: &self.nothing,
            options: &self.task.options,
        };
        self.compiled.fill(examples, step, &setting);
        let (dispatches, params) = self.compiled.kernels(examples);
        let Compiled { gpu, program, .. } = &self.compiled;
        program.run_once(gpu, dispatches, ranges, params).await
    }

    /// The losses of the last batch.
    pub async fn losses(&self) -> Result<Vec<f32>> {
        self.compiled.losses().await
    }

    /// The outputs of the last batch.
    pub async fn outputs(&self, examples: usize) -> Result<Vec<Vec<f32>>> {
        let outputs = self.task.model.graph.outputs().iter();
        let mut values = Vec::new();
        for (&output, &region) in outputs.zip(&self.compiled.lowered.trained) {
            values.push(self.read(output, region, examples).await?);
        }
        Ok(values)
    }

    /// A value of the last batch.
    pub async fn value(&self, value: ValueId, examples: usize) -> Result<Vec<f32>> {
        self.read(value, self.asked(value)?.place, examples).await
    }

    /// The gradient of a value of the last batch; zero where no loss depends on it.
    pub async fn gradient(&self, value: ValueId, examples: usize) -> Result<Vec<f32>> {
        match self.asked(value)?.gradient {
            Some(region) => self.read(value, region, examples).await,
            None => Ok(vec![
                0.0;
                examples * self.task.model.graph.shape(value).len()
            ]),
        }
    }

    /// What lies in a region, as long as a value.
    async fn read(&self, value: ValueId, region: Region, examples: usize) -> Result<Vec<f32>> {
        let len = examples * self.task.model.graph.shape(value).len();
        let size = len as u64 * region.format.size();
        let whole = Region {
            size: size.next_multiple_of(4),
            ..region
        };
        let Compiled { gpu, program, .. } = &self.compiled;
        let bytes = program.read_through(gpu, whole, &self.read_back).await?;
        let bytes = &bytes[..size as usize];
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

    fn asked(&self, value: ValueId) -> Result<&Asked> {
        let mut asked = self.compiled.lowered.asked.iter();
        let found = asked.find(|asked| asked.value == value);
        found.ok_or_else(|| super::internal("a value is not looked at"))
    }
}
