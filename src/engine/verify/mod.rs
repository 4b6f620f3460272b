//! Kernels that prove themselves: every kernel of a plan, at its real shapes, held against the CPU
//! reference in `f64` on the user's own adapter.
//!
//! It is the plan's own dispatches that run, a node's range at a time, on known data. What must be
//! there the graph says, not the recording: a gradient that no kernel writes is a failure, and so is a
//! dispatch that no check covers.

mod fold;
mod node;
mod report;
mod rig;
mod step;
#[cfg(all(test, feature = "native"))]
mod tests;

pub use report::{Check, VerifyReport};
pub(super) use rig::Rig;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::catalogue::{losses_of, optimizers};
use super::lower::{Fusion, Lowered, NodeParts, PlanOptions, Task, lower_planned, wiring_faults};
use super::operators::Pieces;
use crate::gpu::kernel::PipelineKey;
use crate::gpu::program::Program;
use crate::gpu::record::{Dispatch, Region};
use crate::model::{Groups, Node, OutputLoss};
use crate::op::Average;
use crate::{Gpu, Model, Optimizer, Result, Shape};

use node::NodeTrial;
use rig::Outcome;

impl Gpu {
    /// Runs every kernel that a trainer of this model would use, at its real shapes, on random and
    /// on whole numbers, and compares with the CPU reference in `f64`: the forward and backward pass
    /// of every layer in training, the forward pass in evaluation, every loss that fits the model's
    /// output, and every optimizer with and without clipping. What to run first on a new device, and
    /// what belongs into a report of a defect.
    ///
    /// Storage is `f32`, and the cores are those of the built-in table. What a trainer runs with other
    /// options, [`Trainer::verify`](crate::Trainer::verify) checks.
    ///
    /// Takes the memory of a trainer of the model
    /// ([`TrainerBuilder::memory`](crate::TrainerBuilder::memory) says how much) and what uploads of
    /// one layer take; on the host up to forty times the memory of the parameters, or of one layer,
    /// since the reference computes in `f64`; and the time of some steps of training on the CPU. To
    /// keep to a budget of the device, make a trainer with
    /// [`memory_budget`](crate::TrainerBuilder::memory_budget) and verify that.
    ///
    /// ```no_run
    /// use wgpu_cnn::{Gpu, Model};
    /// let model = Model::builder([1, 28, 28]).conv2d(8, 5).relu().flatten().dense(10).build()?;
    /// let report = Gpu::new()?.verify(&model, 16)?;
    /// println!("{report}");
    /// assert!(report.passed());
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Argument`](crate::Error::Argument) for a batch of 0 and for a model that has
    /// nothing to learn, [`Shape`](crate::Error::Shape) for a batch too small for a batch
    /// normalisation, [`Limit`](crate::Error::Limit) and
    /// [`OutOfMemory`](crate::Error::OutOfMemory) for what the device does not have. A kernel that
    /// computes something wrong is no error: the report says so.
    #[cfg(feature = "native")]
    pub fn verify(&self, model: &Model, batch: usize) -> Result<VerifyReport> {
        pollster::block_on(self.verify_async(model, batch))
    }

    /// `verify` for asynchronous programs and the browser.
    pub async fn verify_async(&self, model: &Model, batch: usize) -> Result<VerifyReport> {
        verify(self, model, batch, &|_| {}).await
    }
}

/// Verifies a model's kernels. `tamper` may change what was lowered before it is compiled: the tests
/// seed faults with it.
async fn verify(
    gpu: &Gpu,
    model: &Model,
    batch: usize,
    tamper: &dyn Fn(&mut Lowered),
) -> Result<VerifyReport> {
    let mut verifier = Verifier::default();
    let all_losses: Vec<_> = model.outputs().map(|(_, o)| losses_of(o)).collect();
    let [(_, optimizer), ..] = &optimizers();
    // One on every output.
    let first = all_losses.iter().enumerate().map(|(output, losses)| {
        let loss = losses.first().map(|(_, loss)| loss.clone());
        OutputLoss {
            output,
            loss: Some(loss.unwrap_or_default()),
            weight: 1.0,
        }
    });
    let first: Vec<OutputLoss> = first.collect();
    let options = PlanOptions::new(batch);
    let lowered = |task: &Task| -> Result<Lowered> {
        let mut lowered = lower_planned(task, gpu.traits())?;
        tamper(&mut lowered);
        Ok(lowered)
    };
    // The whole plan.
    let whole = PlanOptions {
        accumulate: 2,
        average: Some(Average::ema(0.75)),
        ..options
    };
    let groups = |optimizer: &Optimizer| Groups::single(&model.graph, *optimizer);
    let usual = groups(optimizer);
    let task = Task::new(model, &first, &usual, whole);
    task.check()?;
    model.graph.check_training(batch)?;
    verifier.whole(gpu, &task, &lowered(&task)?).await?;
    // The part of plans with other losses and optimizers in which they differ.
    let others = all_losses.iter().enumerate().flat_map(|(output, losses)| {
        let others = losses.iter().skip(1);
        others.map(move |(_, loss)| OutputLoss {
            output,
            ..OutputLoss::first(loss)
        })
    });
    for loss in others {
        let losses = [loss];
        let task = Task::new(model, &losses, &usual, options);
        let part = lowered(&task)?.part(|ranges| &mut ranges.loss);
        verifier.whole(gpu, &task, &part).await?;
    }
    let clip = Some(0.25 * (model.parameter_count() as f64 / 3.0).sqrt());
    for (_, optimizer) in optimizers() {
        for clip_norm in [None, clip] {
            let clipped = PlanOptions {
                clip_norm,
                ..options
            };
            let groups = groups(&optimizer);
            let task = Task::new(model, &first, &groups, clipped);
            let part = lowered(&task)?.part(|ranges| &mut ranges.update);
            verifier.whole(gpu, &task, &part).await?;
        }
    }
    Ok(verifier.report(gpu, batch))
}

/// Verifies the very kernels of a plan, with all of its options. What the plan keeps is afterwards as
/// it was before.
pub(super) async fn verify_plan(rig: &Rig<'_>) -> Result<VerifyReport> {
    let (gpu, program, batch) = (rig.gpu, rig.program, rig.task.options.batch);
    rig.task.model.graph.check_training(batch)?;
    let saved = program.save(gpu, rig.recording()).await?;
    let mut verifier = Verifier::default();
    let verified = verifier.plan(rig).await;
    program.restore(gpu, &saved).await?;
    verified?;
    Ok(verifier.report(gpu, batch))
}

/// A kernel as a plan runs it: its constants, its params as far as they are known beforehand, and
/// its grid.
type Signature = (PipelineKey, Vec<u8>, [u32; 3]);

#[derive(Default)]
struct Verifier {
    /// A number for every kernel as a plan runs it.
    runs: HashMap<Signature, usize>,
    /// The checks of every node so far, by the kernels that it is made of.
    nodes: HashMap<NodeKey, Range<usize>>,
    checks: Vec<Check>,
}

/// What a node is made of: in words its operator, its shapes, which gradients are wanted of it and how many
/// dispatches each of its parts has; and each dispatch by its number, with which of its bindings and places
/// are one and the same as which, those that prepare what it reads among them.
type NodeKey = (String, Vec<(usize, Vec<Option<usize>>)>);

impl Verifier {
    /// Checks everything that a plan runs.
    async fn plan(&mut self, rig: &Rig<'_>) -> Result<()> {
        if !rig.lowered.nodes.is_empty() {
            self.operators(rig).await?;
        }
        self.step(rig).await?;
        self.report_missing(rig);
        Ok(())
    }

    /// Makes a plan, and checks everything that it runs.
    async fn whole(&mut self, gpu: &Gpu, task: &Task<'_>, lowered: &Lowered) -> Result<()> {
        let program = &Program::compile(gpu, &lowered.recording).await?;
        let rig = Rig {
            gpu,
            task,
            lowered,
            program,
        };
        self.plan(&rig).await
    }

    /// Checks every operator, those of equal kernels once.
    async fn operators(&mut self, rig: &Rig<'_>) -> Result<()> {
        let graph = &rig.task.model.graph;
        let fusion = Fusion::of(graph, &rig.task.wanted);
        for (layer, reason) in wiring_faults(rig.task, &fusion, rig.lowered)? {
            self.fail(layer, "places", reason.into(), None);
        }
        for (node, parts) in graph.nodes().iter().zip(&rig.lowered.nodes) {
            // Of a sum that is part of another node, the way back.
            let part_of_another = fusion.activation(node.output).is_some();
            if node.op.definition().is_view() || part_of_another {
                continue;
            }
            let key = self.key(rig, &fusion, node, parts);
            if let Some(checks) = self.nodes.get(&key) {
                let checks = self.checks[checks.clone()].iter_mut();
                checks.for_each(|check| check.repeats += 1);
                continue;
            }
            let trial = NodeTrial {
                rig,
                fusion: &fusion,
                node,
                parts,
            };
            let applied = parts.forward.as_ref();
            let mut layer = node.label();
            if let Some(output) = applied.map(|part| part.places.output) {
                if output.addend.is_some() {
                    layer += " + add";
                }
                if let Some(activation) = output.activation {
                    layer += &format!(" + {}", activation.name());
                }
            }
            let outcomes = trial.run().await?;
            let first = self.checks.len();
            self.conclude(rig, &layer, outcomes);
            self.nodes.insert(key, first..self.checks.len());
        }
        Ok(())
    }

    /// The number of a kernel as a plan runs it.
    fn number(&mut self, dispatch: &Dispatch) -> usize {
        let signature = (dispatch.key(), dispatch.params.clone(), dispatch.workgroups);
        let next = self.runs.len();
        *self.runs.entry(signature).or_insert(next)
    }

    fn key(&mut self, rig: &Rig, fusion: &Fusion, node: &Node, parts: &NodeParts) -> NodeKey {
        let wanted = &rig.task.wanted;
        let mut wants = vec![wanted.needs(node.output)];
        wants.extend(node.parameters.iter().map(|&id| wanted.parameter(id)));
        for &input in &node.inputs {
            let handed_on = parts.heir == Some(fusion.root(input));
            wants.extend([wanted.needs(input), handed_on]);
        }
        let ranges = [
            parts.forward.as_ref().map(|part| &part.range),
            parts.backward.as_ref().map(|part| &part.range),
            parts.predict.as_ref().map(|part| &part.range),
        ];
        let lengths = ranges.map(|range| range.map(ExactSizeIterator::len));
        let mut regions: Vec<Region> = Vec::new();
        for places in [&parts.forward, &parts.predict].into_iter().flatten() {
            regions.extend(&places.places.inputs);
            regions.extend(places.places.parameters.iter().flat_map(Pieces::regions));
        }
        let mut dispatches = Vec::new();
        let orders = ranges
            .into_iter()
            .flatten()
            .map(|range| rig.order(range, &[]));
        for at in orders.flatten() {
            let dispatch = &rig.recording().dispatches[at];
            let bindings = dispatch.bindings.iter().chain([&dispatch.argument]);
            let bindings = bindings.map(|binding| {
                let region = (*binding)?;
                let known = regions.iter().position(|&other| other == region);
                Some(known.unwrap_or_else(|| {
                    regions.push(region);
                    regions.len() - 1
                }))
            });
            let bindings = bindings.collect();
            dispatches.push((self.number(dispatch), bindings));
        }
        let graph = &rig.task.model.graph;
        let applied = fusion.activation(fusion.written(node.output));
        let (op, shapes) = (&node.op, graph.input_shapes(node));
        let what = format!("{op:?} {shapes:?} {applied:?} {wants:?} {lengths:?}");
        (what, dispatches)
    }

    /// Makes checks of results.
    fn conclude(&mut self, rig: &Rig, layer: &str, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            let dispatches = outcome.dispatches.iter();
            let dispatches: Vec<&Dispatch> = dispatches
                .map(|&at| &rig.recording().dispatches[at])
                .collect();
            let mut kernels: Vec<&str> = dispatches.iter().map(|d| d.kernel.name).collect();
            kernels.dedup();
            let verdict = outcome.verdict;
            let runs = dispatches.iter().map(|dispatch| self.number(dispatch));
            let runs = runs.collect();
            self.checks.push(Check {
                layer: layer.into(),
                repeats: 0,
                result: outcome.result,
                kernel: kernels.join(", "),
                shape: outcome.shape,
                worst: verdict.worst,
                exact: verdict.exact,
                passed: verdict.reason.is_none(),
                reason: verdict.reason,
                runs,
            });
        }
    }

    /// Makes a failed check of each kernel of a plan that no check covers.
    fn report_missing(&mut self, rig: &Rig) {
        let runs = self.checks.iter().flat_map(|check| &check.runs);
        let mut covered: HashSet<usize> = runs.copied().collect();
        for dispatch in &rig.recording().dispatches {
            let (run, kernel) = (self.number(dispatch), dispatch.kernel.name);
            if covered.insert(run) {
                let reason = format!("{kernel} was not verified");
                let known = Some((run, kernel));
                self.fail(dispatch.label.clone(), "anything", reason, known);
            }
        }
    }

    /// Makes a failed check of what no trial can show.
    fn fail(
        &mut self,
        layer: String,
        result: &str,
        reason: String,
        kernel: Option<(usize, &'static str)>,
    ) {
        self.checks.push(Check {
            layer,
            repeats: 0,
            result: result.into(),
            kernel: kernel.map_or(String::new(), |(_, name)| name.into()),
            shape: Shape::default(),
            worst: f64::INFINITY,
            exact: false,
            passed: false,
            reason: Some(reason),
            runs: kernel.map(|(run, _)| run).into_iter().collect(),
        });
    }

    fn report(self, gpu: &Gpu, batch: usize) -> VerifyReport {
        VerifyReport {
            adapter: gpu.described(),
            batch,
            checks: self.checks,
        }
    }
}
