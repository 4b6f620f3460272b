//! A lowered model on a device: what plans of every purpose are made of.

use std::borrow::Cow;

use super::MemoryReport;
use super::lower::{Lowered, PlanOptions, Task, lower, lower_planned};
use super::operators::{Piece, Pieces};
use super::step::{Setting, Step};
use crate::gpu::program::Program;
use crate::gpu::record::{Dispatch, Region};
use crate::gpu::verdict::Verdicts;
use crate::gpu::{Buffer, Gpu};
use crate::model::{Inputs, OutputLoss};
use crate::op::{Loss, Target};
use crate::{Error, Result};

/// Bytes, and the region to whose beginning they go.
pub(super) type Bytes<'a> = (Cow<'a, [u8]>, Region);

/// The kernels of a model and the memory that they work on.
pub(super) struct Compiled {
    pub gpu: Gpu,
    pub lowered: Lowered,
    pub program: Program,
    pub memory: MemoryReport,
    /// The params of all dispatches, as the program has them in memory. A step changes what varies.
    pub params: Vec<u8>,
    /// Examples that it is planned for.
    batch: usize,
    /// The same kernels with the params and grids of a smaller batch, the last one used.
    partial: Option<Partial>,
}

/// What differs for a batch that is smaller than planned.
struct Partial {
    batch: usize,
    dispatches: Vec<Dispatch>,
    params: Vec<u8>,
}

impl Compiled {
    /// Lowers, allocates and compiles, unless the memory is more than it may be. Uploads what stays as it is;
    /// the parameters are undefined until they are set.
    pub async fn new(
        gpu: &Gpu,
        task: &Task<'_>,
        memory: impl FnOnce(&Lowered) -> MemoryReport,
    ) -> Result<Self> {
        let lowered = lower_planned(task, gpu.traits())?;
        let memory = memory(&lowered);
        check_budget(&memory, &task.options)?;
        let program = Program::compile(gpu, &lowered.recording).await?;
        let compiled = Self {
            gpu: gpu.clone(),
            params: program.params_block(&lowered.recording.dispatches),
            batch: task.options.batch,
            partial: None,
            lowered,
            program,
            memory,
        };
        compiled.write_constants(task).await?;
        Ok(compiled)
    }

    /// Uploads class weights, and the values that are the same for every example.
    async fn write_constants(&self, task: &Task<'_>) -> Result<()> {
        for (loss, parts) in task.losses.iter().zip(&self.lowered.losses) {
            let weights = loss.loss.as_ref().and_then(Loss::weights);
            if let (Some(region), Some(weights)) = (parts.loss_weights, weights) {
                self.write(region, &weights).await?;
            }
        }
        let constants = task.model.graph.constants().iter();
        for (constant, &region) in constants.zip(&self.lowered.constants) {
            let values = constant.values.repeat(self.batch);
            self.write(region, &values).await?;
        }
        Ok(())
    }

    /// The kernels for a batch of this size as they are recorded: those that are compiled, with other params
    /// and grids.
    pub fn dispatches_for(&self, task: &Task, batch: usize) -> Result<Vec<Dispatch>> {
        let task = Task {
            decisions: &self.lowered.recording.decisions,
            ..task.clone()
        };
        Ok(lower(&task, self.gpu.traits(), batch)?.recording.dispatches)
    }

    /// Whether the params and grids of a batch of this size are at hand.
    pub fn fits(&self, batch: usize) -> bool {
        let partial = self.partial.as_ref().map(|partial| partial.batch);
        batch == 0 || batch == self.batch || partial == Some(batch)
    }

    /// Makes those of a smaller batch.
    pub fn fit(&mut self, task: &Task, batch: usize) -> Result<()> {
        let dispatches = self.dispatches_for(task, batch)?;
        self.partial = Some(Partial {
            batch,
            params: self.program.params_block(&dispatches),
            dispatches,
        });
        Ok(())
    }

    /// The kernels for a batch of this size and their params, once they [fit](Self::fit).
    pub fn kernels(&self, batch: usize) -> (&[Dispatch], &[u8]) {
        match &self.partial {
            Some(partial) if partial.batch == batch => (&partial.dispatches, &partial.params),
            _ => (&self.lowered.recording.dispatches, &self.params),
        }
    }

    /// Writes what varies from step to step into the params.
    pub fn fill(&mut self, batch: usize, step: &Step, setting: &Setting) {
        let (dispatches, params) = match &mut self.partial {
            Some(partial) if partial.batch == batch => (&partial.dispatches, &mut partial.params),
            _ => (&self.lowered.recording.dispatches, &mut self.params),
        };
        for (at, dispatch) in dispatches.iter().enumerate() {
            let params = &mut params[self.program.params_offset(at)..];
            step.fill((at, dispatch), params, &self.lowered.losses, setting);
        }
    }

    /// What is uploaded of a batch.
    pub fn bytes<'a>(
        &self,
        losses: &[OutputLoss],
        inputs: &'a Inputs<'a>,
        targets: &'a [Target],
    ) -> Vec<Bytes<'a>> {
        let inputs = inputs.list().iter().zip(&self.lowered.inputs);
        let inputs = inputs.map(|(input, &region)| (input.raw().into(), region));
        let losses = losses.iter().zip(&self.lowered.losses);
        let targets = losses.zip(targets).map(|((loss, parts), target)| {
            let codes = || loss.loss.as_ref().map(|own| target.codes(own));
            match target {
                Target::Labels(_) | Target::WideLabels(_) => {
                    let codes = codes().unwrap_or_default();
                    (bytemuck::pod_collect_to_vec(&codes).into(), parts.labels)
                }
                Target::Values(values) => (bytemuck::cast_slice(values).into(), parts.values),
            }
        });
        inputs.chain(targets).collect()
    }

    pub async fn write(&self, region: Region, values: &[f32]) -> Result<()> {
        let bytes = bytemuck::cast_slice(values);
        self.program.write(&self.gpu, region, bytes).await
    }

    /// Writes the values of a parameter, or of as many elements of its gradient or state.
    pub async fn write_pieces(&self, pieces: &Pieces, values: &[f32]) -> Result<()> {
        let (gpu, mut verdicts) = (&self.gpu, Verdicts::of(&self.gpu));
        for (piece, values) in pieces.split(values) {
            let bytes = bytemuck::cast_slice(values);
            (self.program).begin_write(&mut verdicts, gpu, piece.region, bytes)?;
            // As in `flush`.
            verdicts.guard("upload", 0, || gpu.queue().submit([]))?;
        }
        verdicts.known().await
    }

    /// The copy from which something is uploaded is free again once it is submitted.
    pub async fn flush(&self) -> Result<()> {
        let submit = || self.gpu.queue().submit([]);
        self.gpu.guard("upload", submit).await.map(|_| ())
    }

    /// The values of a parameter or of its gradient, a stretch at a time, so that a large one is in the
    /// host's memory but once.
    pub async fn read_pieces(&self, pieces: &Pieces) -> Result<Vec<f32>> {
        const STRETCH: u64 = 4 << 20;
        let size = |piece: &Piece| piece.len as u64 * 4;
        let largest = pieces.iter().map(size).max().unwrap_or(0);
        let staging = self.gpu.read_back_buffer(largest.min(STRETCH)).await?;
        let mut values = Vec::with_capacity(pieces.iter().map(|piece| piece.len).sum());
        for piece in pieces.iter() {
            for begin in (0..size(piece)).step_by(STRETCH as usize) {
                let stretch = Region {
                    offset: piece.region.offset + begin,
                    size: (size(piece) - begin).min(STRETCH),
                    ..piece.region
                };
                values.extend(self.read(stretch, &staging).await?);
            }
        }
        Ok(values)
    }

    pub async fn read(&self, region: Region, staging: &Buffer) -> Result<Vec<f32>> {
        let bytes = self.program.read_through(&self.gpu, region, staging);
        Ok(bytemuck::pod_collect_to_vec(&bytes.await?))
    }

    /// The first elements of a region.
    pub async fn read_first(
        &self,
        len: usize,
        region: Region,
        staging: &Buffer,
    ) -> Result<Vec<f32>> {
        let size = len as u64 * 4;
        self.read(Region { size, ..region }, staging).await
    }

    /// The losses of the last batch.
    pub async fn losses(&self) -> Result<Vec<f32>> {
        // A buffer of its own, since several may ask at once.
        let staging = self.gpu.read_back_buffer(16).await?;
        let mut losses = Vec::new();
        for parts in &self.lowered.losses {
            losses.push(self.read_first(1, parts.loss, &staging).await?[0]);
        }
        Ok(losses)
    }
}

/// Refuses a plan that would take more than it may.
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
