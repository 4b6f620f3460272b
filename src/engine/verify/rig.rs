//! A plan's buffers and dispatches, at the verifier's command.

use std::ops::Range;

use half::f16;

use crate::engine::compare::{Expected, Verdict};
use crate::engine::lower::{Lowered, Task};
use crate::engine::operators::Pieces;
use crate::engine::step::{Setting, Step};
use crate::gpu::kernel::{Access, Format};
use crate::gpu::program::Program;
use crate::gpu::record::{Recording, Region};
use crate::{Gpu, Result, Shape};

/// Any step, some way into training.
pub(super) const STEP: Step = Step {
    losses: Vec::new(),
    made: 3,
    examples: 5,
    update: 1,
    average_began: 0,
    gradient_scale: 1.0,
};

/// A plan under examination: what was to be lowered, and what came of it.
pub(in crate::engine) struct Rig<'a> {
    pub gpu: &'a Gpu,
    pub task: &'a Task<'a>,
    pub lowered: &'a Lowered,
    pub program: &'a Program,
}

/// A range of the dispatches on known data, and what it should write.
#[derive(Clone)]
pub(super) struct Trial {
    pub range: Range<usize>,
    writes: Vec<(Region, Vec<u8>)>,
    awaited: Vec<Awaited>,
}

#[derive(Clone)]
struct Awaited {
    result: String,
    /// Where its pieces are and how many elements each has; none where the plan has no place for it.
    regions: Vec<(Region, usize)>,
    shape: Shape,
    expected: Expected,
}

/// A result that was checked: what it is called, which dispatches computed it, and how.
pub(super) struct Outcome {
    pub result: String,
    pub shape: Shape,
    pub dispatches: Vec<usize>,
    pub verdict: Verdict,
    /// What the kernels wrote.
    pub got: Vec<f64>,
}

impl Outcome {
    /// A result that nothing in the plan writes.
    pub fn missing(result: &str) -> Self {
        let reason = format!("no kernel writes the {result}");
        Self {
            result: result.into(),
            shape: Shape::default(),
            dispatches: vec![],
            verdict: Verdict::none().wrong(reason),
            got: vec![],
        }
    }
}

impl Trial {
    pub fn new(range: &Range<usize>) -> Self {
        Self {
            range: range.clone(),
            writes: vec![],
            awaited: vec![],
        }
    }

    /// Numbers for the beginning of a region, in its format.
    pub fn write(&mut self, region: Region, values: &[f32]) {
        let bytes = match region.format {
            Format::F32 => bytemuck::cast_slice(values).to_vec(),
            Format::F16 => {
                let halves = values
                    .iter()
                    .map(|&value| f16::from_f32(value).to_le_bytes());
                let mut bytes: Vec<u8> = halves.flatten().collect();
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                bytes
            }
        };
        self.writes.push((region, bytes));
    }

    /// Numbers for regions.
    pub fn write_all(&mut self, regions: &[Region], values: &[Vec<f32>]) {
        let pairs = regions.iter().zip(values);
        pairs.for_each(|(&region, values)| self.write(region, values));
    }

    /// Numbers for parameters.
    pub fn write_parameters(&mut self, parameters: &[Pieces], values: &[Vec<f32>]) {
        for (pieces, values) in parameters.iter().zip(values) {
            for (piece, values) in pieces.split(values) {
                self.write(piece.region, values);
            }
        }
    }

    /// Bytes for the beginning of a region.
    pub fn write_bytes(&mut self, region: Region, bytes: &[u8]) {
        self.writes.push((region, bytes.to_vec()));
    }

    /// A result that the dispatches should write.
    pub fn awaits(
        &mut self,
        result: impl Into<String>,
        region: impl Into<Option<Region>>,
        shape: &Shape,
        expected: Expected,
    ) {
        let region: Option<Region> = region.into();
        let regions = region.map(|region| (region, shape.len()));
        self.awaited.push(Awaited {
            result: result.into(),
            regions: regions.into_iter().collect(),
            shape: shape.clone(),
            expected,
        });
    }

    /// A parameter, or its gradient, that the dispatches should write.
    pub fn awaits_pieces(
        &mut self,
        result: impl Into<String>,
        pieces: Option<&Pieces>,
        shape: &Shape,
        expected: Expected,
    ) {
        let pieces = pieces.into_iter().flat_map(Pieces::iter);
        self.awaited.push(Awaited {
            result: result.into(),
            regions: pieces.map(|piece| (piece.region, piece.len)).collect(),
            shape: shape.clone(),
            expected,
        });
    }
}

impl Rig<'_> {
    pub(super) fn recording(&self) -> &Recording {
        &self.lowered.recording
    }

    /// The shape of one of the model's outputs, batch and all.
    pub(super) fn output_shape(&self, output: usize) -> Shape {
        let (graph, batch) = (&self.task.model.graph, self.task.options.batch);
        graph.shape(graph.outputs()[output]).batched(batch)
    }

    /// Runs a trial as a part of this step. Everything that its dispatches bind, constants apart, is NaN
    /// at first, so that it shows where a kernel wrote nothing or read what it should not.
    pub(super) async fn run(&self, trial: Trial, step: Step) -> Result<Vec<Outcome>> {
        if trial.awaited.is_empty() {
            return Ok(vec![]);
        }
        let dispatches = &self.recording().dispatches;
        let given: Vec<Region> = trial.writes.iter().map(|(region, _)| *region).collect();
        let order = self.order(&trial.range, &given);
        let bound = self.bound(&order);
        let constant = |region: &&Region| self.recording().is_constant(region.buffer);
        for region in bound.iter().filter(|region| !constant(region)) {
            let nan = match region.format {
                Format::F32 => f32::NAN.to_le_bytes().repeat(region.size as usize / 4),
                Format::F16 => f16::NAN.to_le_bytes().repeat(region.size as usize / 2),
            };
            self.program.write(self.gpu, *region, &nan).await?;
        }
        self.gpu.queue().submit([]); // so that what the uploads took is free again
        for (region, bytes) in &trial.writes {
            // The memory of a buffer that the dispatches do not bind may be another's by now.
            if bound.iter().any(|bound| bound.overlaps(region)) {
                self.program.write(self.gpu, *region, bytes).await?;
            }
        }
        let mut params = self.program.params_block(dispatches);
        let Task {
            losses,
            groups,
            options,
            ..
        } = self.task;
        let setting = Setting {
            losses,
            groups,
            options,
        };
        for &at in &order {
            let params = &mut params[self.program.params_offset(at)..];
            step.fill(
                (at, &dispatches[at]),
                params,
                &self.lowered.losses,
                &setting,
            );
        }
        let ranges: Vec<_> = order.iter().map(|&at| at..at + 1).collect();
        let run = self
            .program
            .run_once(self.gpu, dispatches, &ranges, &params);
        run.await?;
        let mut outcomes = Vec::new();
        for awaited in trial.awaited {
            outcomes.push(self.outcome(&order, awaited).await?);
        }
        Ok(outcomes)
    }

    /// The dispatches of a range, and before them those that prepare what they read, but for what is
    /// given.
    pub(super) fn order(&self, range: &Range<usize>, given: &[Region]) -> Vec<usize> {
        let read = self.bound(&range.clone().collect::<Vec<_>>());
        let prepares = |at: &usize| {
            let made = self.recording().dispatches[*at].bindings.last();
            let made = made.copied().flatten();
            made.is_some_and(|made| read.contains(&made) && !given.contains(&made))
        };
        let prepare = self.lowered.ranges.prepare.clone();
        let before = prepare.filter(|at| !range.contains(at)).filter(prepares);
        before.chain(range.clone()).collect()
    }

    /// The regions that dispatches bind, each once.
    fn bound(&self, order: &[usize]) -> Vec<Region> {
        let mut bound: Vec<Region> = Vec::new();
        for region in order
            .iter()
            .flat_map(|&at| self.recording().dispatches[at].regions())
        {
            if !bound.contains(region) {
                bound.push(*region);
            }
        }
        bound
    }

    async fn outcome(&self, order: &[usize], awaited: Awaited) -> Result<Outcome> {
        let (result, shape) = (awaited.result, awaited.shape);
        let (mut dispatches, mut verdict) = (vec![], Verdict::none());
        let mut got = Vec::new();
        for &(region, len) in &awaited.regions {
            let bytes = self.program.read(self.gpu, region).await?;
            let numbers = numbers(region.format, awaited.expected.positions, &bytes);
            got.extend(numbers.into_iter().take(len));
        }
        if let Some((region, _)) = awaited.regions.first() {
            let regions: Vec<Region> = awaited.regions.iter().map(|(region, _)| *region).collect();
            dispatches = makers(self.recording(), order, &regions);
            verdict = awaited.expected.stored(region.format).judge(&got);
        }
        if dispatches.is_empty() {
            verdict = verdict.wrong(format!("no kernel writes the {result}"));
        }
        Ok(Outcome {
            result,
            shape,
            dispatches,
            verdict,
            got,
        })
    }
}

/// What bytes say in a format, or as positions.
fn numbers(format: Format, positions: bool, bytes: &[u8]) -> Vec<f64> {
    let words = bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    match (format, positions) {
        (_, true) => words.map(|word| u32::from_le_bytes(word).into()).collect(),
        (Format::F32, _) => words.map(|word| f32::from_le_bytes(word).into()).collect(),
        (Format::F16, _) => {
            let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
            halves
                .map(|half| f16::from_le_bytes(half).to_f64())
                .collect()
        }
    }
}

/// The dispatches that computed regions, in their order: those that wrote them, and those that wrote what
/// they read.
pub(super) fn makers(recording: &Recording, order: &[usize], regions: &[Region]) -> Vec<usize> {
    let (mut wanted, mut makers) = (regions.to_vec(), Vec::new());
    for &at in order.iter().rev() {
        let dispatch = &recording.dispatches[at];
        let mut written = dispatch.written();
        if written.any(|written| wanted.iter().any(|wanted| wanted.overlaps(written))) {
            makers.push(at);
            let read = dispatch.accesses();
            let read = read.filter(|&(_, access)| access == Access::Read);
            wanted.extend(read.map(|(region, _)| *region));
        }
    }
    makers.reverse();
    makers
}
