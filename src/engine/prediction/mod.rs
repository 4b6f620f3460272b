//! Predictions without a training: a forward pass on a GPU, in which several may be on their way at once.

mod flight;
mod host;
mod loading;

use std::collections::VecDeque;
use std::sync::Arc;

use futures_intrusive::sync::Mutex;

use super::MemoryReport;
use super::compiled::Compiled;
use super::lower::{Lowered, PlanOptions, Predicting, Purpose, Task, lower_planned};
use super::memory::{all_params_size, params_size};
use crate::Result;
use crate::gpu::record::{Dispatch, Region, Storage};
use crate::gpu::strategy::Choices;
use crate::gpu::{Buffer, Gpu, give_way};
use crate::model::{Groups, Inputs, Model};

use super::wanted::Wanted;
use flight::Flight;
pub(crate) use flight::Landing;
pub(crate) use host::HostPrediction;

/// What predictions are made of.
#[derive(Debug, Clone)]
pub(crate) struct PredictionTask {
    pub model: Model,
    /// Sizes of batches, at least one.
    pub batches: Vec<usize>,
    /// By parameter, whether training would change it: in half precision the others are read as they are.
    pub learned: Vec<bool>,
    /// Of which those of a training mean nothing here.
    pub options: PlanOptions,
    pub choices: Choices,
}

impl PredictionTask {
    /// What is lowered. It learns nothing.
    fn lowering<'a>(&'a self, nothing: &'a Groups) -> Task<'a> {
        let mut options = self.options;
        options.batch = self.batches.iter().copied().max().unwrap_or(1);
        Task {
            purpose: Purpose::Prediction(&self.batches),
            wanted: Wanted::nothing(&self.model.graph, |id| self.learned[id.0]),
            choices: Some(&self.choices),
            ..Task::new(&self.model, &[], nothing, options)
        }
    }

    /// The memory that the predictions would take. Allocates nothing.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        let nothing = Groups::none(&self.model.graph);
        let lowered = lower_planned(&self.lowering(&nothing), gpu.traits())?;
        Ok(memory_report(&lowered, self.options.in_flight))
    }
}

/// Predictions, compiled.
pub(crate) struct PredictionPlan {
    compiled: Compiled,
    task: PredictionTask,
    state: Mutex<State>,
}

/// What changes with each prediction.
struct State {
    idle: Vec<Slot>,
    /// The oldest first.
    flying: VecDeque<Flight>,
    /// By size of batch, what the device has the params of.
    current: Vec<Current>,
}

/// The kernels of a size as the device has them.
struct Current {
    /// Examples.
    batch: usize,
    /// All dispatches for so many, where they are not those that were planned.
    dispatches: Option<Vec<Dispatch>>,
}

/// What a prediction goes to the device and comes back through.
struct Slot {
    upload: Buffer,
    /// `None` while it is known to be mapped.
    mapping: Option<(crate::gpu::Mapping, Option<wgpu::SubmissionIndex>)>,
    outputs: Buffer,
}

impl PredictionPlan {
    /// Plans, allocates and compiles. The parameters are undefined until they are set.
    pub async fn compile(gpu: &Gpu, task: PredictionTask) -> Result<Self> {
        let nothing = Groups::none(&task.model.graph);
        let memory = |lowered: &Lowered| memory_report(lowered, task.options.in_flight);
        let compiled = Compiled::new(gpu, &task.lowering(&nothing), memory).await?;
        compiled.program.set_params(gpu, &compiled.params).await?;
        let lowered = &compiled.lowered;
        let mut idle = Vec::new();
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        for _ in 0..task.options.in_flight {
            let upload = gpu.mapped_buffer("upload", upload_size(lowered), usage);
            idle.push(Slot {
                upload: upload.await?,
                mapping: None,
                outputs: gpu.read_back_buffer(outputs_size(lowered)).await?,
            });
        }
        let current = lowered.predictions.iter().map(|prediction| Current {
            batch: prediction.batch,
            dispatches: None,
        });
        let state = State {
            idle,
            flying: VecDeque::new(),
            current: current.collect(),
        };
        Ok(Self {
            state: Mutex::new(state, true),
            compiled,
            task,
        })
    }

    /// Examples of the largest batch.
    fn largest(&self) -> usize {
        self.compiled.lowered.predictions[0].batch
    }

    pub fn gpu(&self) -> &Gpu {
        &self.compiled.gpu
    }

    pub fn memory(&self) -> MemoryReport {
        self.compiled.memory
    }

    /// The place among the predictions of the smallest batch of so many examples or more.
    fn fitting(&self, examples: usize) -> usize {
        let predictions = &self.compiled.lowered.predictions;
        let fits = |prediction: &Predicting| prediction.batch >= examples;
        predictions.iter().rposition(fits).unwrap_or(0)
    }

    /// Sends any number of examples on their way, a batch at a time. Beyond as many batches as may be on
    /// their way at once, it waits for the oldest.
    pub async fn start(&self, inputs: &Inputs<'_>, examples: usize) -> Result<Vec<Arc<Landing>>> {
        let mut landings = Vec::new();
        for begin in (0..examples).step_by(self.largest()) {
            let count = self.largest().min(examples - begin);
            let part = inputs.part(&self.task.model.graph, begin, count);
            let mut state = self.state.lock().await;
            while state.idle.is_empty() {
                drop(state);
                self.land().await?;
                state = self.state.lock().await;
            }
            landings.push(self.send(&mut state, &part, count).await?);
        }
        Ok(landings)
    }

    /// Waits for a batch's outputs.
    pub async fn finish(&self, landing: &Landing) -> Result<Vec<Vec<f32>>> {
        // Others get their turn first: what they have to send is on its way before this thread waits.
        give_way().await;
        while landing.is_open() && self.land().await? {}
        landing.take()
    }

    /// The kernels of a smaller batch than planned.
    fn dispatches_for(&self, batch: usize) -> Result<Vec<Dispatch>> {
        let nothing = Groups::none(&self.task.model.graph);
        let task = self.task.lowering(&nothing);
        self.compiled.dispatches_for(&task, batch)
    }
}

/// Bytes of what goes to the device with a batch.
fn upload_size(lowered: &Lowered) -> u64 {
    let sizes = lowered.predictions.iter().map(|prediction| {
        let inputs = prediction.inputs.iter().map(|input| input.size);
        params_size(&lowered.recording, prediction.range.clone()) + inputs.sum::<u64>()
    });
    sizes.max().unwrap_or(0)
}

/// Bytes of what comes back from it.
fn outputs_size(lowered: &Lowered) -> u64 {
    lowered.outputs.iter().map(|output| output.size).sum()
}

/// What predictions take, with so many on their way at once.
fn memory_report(lowered: &Lowered, in_flight: usize) -> MemoryReport {
    let recording = &lowered.recording;
    let assignment = recording.assign();
    let shared = assignment.sizes.iter().zip(&assignment.transient);
    let activations = shared.filter(|(_, transient)| **transient);
    let is_kept = |region: &&Region| {
        let storage = &recording.buffers[region.buffer.0].storage;
        matches!(storage, Storage::Persistent)
    };
    let inputs = lowered.predictions.iter().flat_map(|of| &of.inputs);
    let of_batch = inputs.chain(&lowered.constants).chain(&lowered.outputs);
    let batch: u64 = of_batch.filter(is_kept).map(|region| region.size).sum();
    let stored = |kept: bool| -> u64 {
        let buffers = recording.buffers.iter().zip(&assignment.slots);
        let there = buffers.filter(|(_, slot)| slot.is_some());
        let of_kind = there.filter(|(buffer, _)| match buffer.storage {
            Storage::Persistent | Storage::Constant(_) => kept,
            Storage::Transient => !kept,
            Storage::Bound(_) => false,
        });
        of_kind.map(|(buffer, _)| buffer.size).sum()
    };
    let each = upload_size(lowered) + outputs_size(lowered);
    MemoryReport {
        parameters: stored(true) - batch,
        gradients: 0,
        optimizer_state: 0,
        average: 0,
        activations: activations.map(|(size, _)| size).sum(),
        activations_unshared: stored(false),
        batch,
        staging: all_params_size(recording) + in_flight as u64 * each,
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;
    use crate::gpu::kernels::shader_models::adapters;
    use crate::gpu::strategy::{Core, Traits};
    use crate::zoo;

    fn task(model: &Model, batches: &[usize], half: bool) -> PredictionTask {
        let parameters = model.graph.parameters().iter();
        PredictionTask {
            model: model.clone(),
            batches: batches.to_vec(),
            learned: parameters.map(|parameter| parameter.is_learned()).collect(),
            options: PlanOptions {
                half,
                ..PlanOptions::new(1)
            },
            choices: Choices::new(),
        }
    }

    fn report(model: &Model, batches: &[usize], half: bool, traits: Traits) -> MemoryReport {
        let (task, nothing) = (task(model, batches, half), Groups::none(&model.graph));
        let lowered = lower_planned(&task.lowering(&nothing), traits);
        memory_report(&lowered.unwrap(), 1)
    }

    /// Bytes of the values that are there at once, as long as something reads them, where an activation
    /// takes no value of its own.
    fn living(model: &Model) -> u64 {
        let graph = &model.graph;
        let wanted = Wanted::nothing(graph, |_| false);
        let fusion = crate::engine::lower::Fusion::of(graph, &wanted);
        let mut last = vec![0; graph.values().count()];
        for (at, node) in graph.nodes().iter().enumerate() {
            let roots = node.inputs.iter().map(|&input| fusion.root(input));
            roots.for_each(|root| last[root.0] = at);
        }
        let (mut living, mut most) = (Vec::new(), 0);
        living.extend(graph.inputs().iter().copied());
        for (at, node) in graph.nodes().iter().enumerate() {
            let written = fusion.written(node.output);
            let fused = fusion.activation(node.output).is_some();
            if !node.op.definition().is_view() && !fused {
                living.push(written);
            }
            let bytes = living
                .iter()
                .map(|&value| graph.shape(value).len() as u64 * 4);
            most = most.max(bytes.sum());
            living.retain(|value| last[value.0] > at);
        }
        most
    }

    #[test]
    fn a_predictor_takes_its_weights_and_little_more_than_what_lives_at_once() {
        let networks = [
            zoo::resnet18().build().unwrap(),
            zoo::mobilenet_v2().build().unwrap(),
        ];
        for model in &networks {
            let kept = model.graph.parameters().iter();
            let weights: u64 = kept.map(|parameter| parameter.shape.len() as u64 * 4).sum();
            // A block for each filter of a pixel, or large images unfolded, is what nobody takes who does not prefer it.
            let large = [Some(Core::Fft), Some(Core::Unfolded)];
            let sensible = |traits: &Traits| !large.contains(&traits.preferred);
            for traits in adapters().into_iter().filter(sensible) {
                for direct_only in [true, false] {
                    let traits = Traits {
                        direct_only,
                        ..traits
                    };
                    let report = report(model, &[1], false, traits);
                    let others = report.total() - report.parameters;
                    let living = living(model);
                    // Sums in parts, and tiles at Winograd's points: 4 MiB, or 64 on a GPU, and whole chunks of 64 tiles. Who
                    // prefers the algorithm takes it where it has little to share, too.
                    let scratch = match (direct_only, traits.preferred) {
                        (true, _) => 1 << 20,
                        (_, Some(Core::WinogradSubgroup | Core::WinogradTiled)) => 128 << 20,
                        _ => 72 << 20,
                    };
                    let most = living + living / 4 + scratch;
                    assert!(others <= most, "{report}, {living} at once");
                    // What is rearranged takes whole tiles; filters of 9 taps have 36 points.
                    let (times, tiles) = if direct_only { (1, 16) } else { (4, 2) };
                    let most = times * weights + weights / tiles;
                    assert!(report.parameters <= most, "{report}, {weights} of weights");
                    assert_eq!([report.gradients, report.optimizer_state], [0; 2]);
                }
            }
        }
    }

    #[test]
    fn several_sizes_share_weights_and_memory_and_half_precision_takes_half() {
        let model = zoo::resnet18().input([3, 64, 64]).build().unwrap();
        // Images that are unfolded are so in single precision.
        let stores = |traits: &Traits| traits.preferred != Some(Core::Unfolded);
        for traits in adapters().into_iter().filter(stores) {
            // Which sizes take Winograd's algorithm differs, and so does what is kept of the weights for it.
            let traits = Traits {
                direct_only: true,
                ..traits
            };
            let [one, two] =
                [&[8][..], &[8, 1, 4]].map(|sizes| report(&model, sizes, false, traits));
            assert!(
                two.parameters <= one.parameters + one.parameters / 8,
                "{one}\n{two}"
            );
            assert!(
                two.activations <= one.activations + one.activations / 8,
                "{one}\n{two}"
            );
            let half = report(&model, &[8], true, traits);
            assert!(
                half.activations <= one.activations * 9 / 16,
                "{one}\n{half}"
            );
            assert!(half.parameters <= one.parameters * 17 / 16, "{one}\n{half}");
        }
    }
}
