//! The losses and the optimizers, each on its own.

use super::compare::{Expected, Verdict};
use super::data::{Data, Fill, wide};
use super::rig::Rig;
use super::tolerance::{Bound, FORMULA, largest};
use super::{Outcome, Verifier, makers, task};
use crate::cpu;
use crate::engine::lower::{Lowered, Slab, Task, loss_alone, update_alone};
use crate::gpu::kernels::loss::{LossStep, set_step, set_total_step};
use crate::gpu::kernels::optimizer::{params, set_clip_step};
use crate::gpu::record::{Dispatch, Region, Varies};
use crate::op::Reduction;
use crate::{Loss, Model, Optimizer, Result, Target};

/// What gradients are multiplied by on their way into an optimizer.
const GRADIENT_SCALE: f32 = 0.5;

/// A loss of every kind of kernel that fits a model's output.
pub(super) fn losses(model: &Model) -> Vec<(&'static str, Loss)> {
    let classes = model.output_shape().len();
    let weights: Vec<f32> = (0..classes)
        .map(|class| 0.5 + (class % 4) as f32 / 2.0)
        .collect();
    let weighted = Loss::cross_entropy()
        .class_weights(weights)
        .label_smoothing(0.1);
    let all = [
        (
            "cross-entropy",
            Loss::cross_entropy().ignored_label(-1).into(),
        ),
        ("weighted cross-entropy", weighted.into()),
        ("squared error", Loss::MeanSquaredError(Reduction::Mean)),
        (
            "binary cross-entropy",
            Loss::BinaryCrossEntropy(Reduction::Mean),
        ),
    ];
    let fits = |(_, loss): &(_, Loss)| loss.geometry(1, model.output_shape()).is_ok();
    all.into_iter().filter(fits).collect()
}

/// An optimizer of every kind of kernel.
pub(super) fn optimizers() -> [(&'static str, Optimizer); 9] {
    let sgd = Optimizer::sgd(0.1).weight_decay(0.01);
    let rmsprop = Optimizer::rmsprop(0.01).weight_decay(0.01);
    [
        ("sgd", sgd.into()),
        ("sgd, momentum", sgd.momentum(0.9).dampening(0.5).into()),
        ("sgd, nesterov", sgd.momentum(0.9).nesterov(true).into()),
        ("adam", Optimizer::adam(0.01).weight_decay(0.01).into()),
        (
            "adamw, amsgrad",
            Optimizer::adamw(0.01).amsgrad(true).into(),
        ),
        ("rmsprop", rmsprop.into()),
        ("rmsprop, centered", rmsprop.centered(true).into()),
        ("rmsprop, momentum", rmsprop.momentum(0.9).into()),
        (
            "rmsprop, centered, momentum",
            rmsprop.centered(true).momentum(0.9).into(),
        ),
    ]
}

impl Verifier<'_> {
    /// Checks the kernels of every loss.
    pub(super) async fn losses(&mut self) -> Result<()> {
        let optimizer = Optimizer::sgd(0.1).into();
        for (name, loss) in losses(self.model) {
            let max_slab = self.largest_parameter();
            let task = Task {
                max_slab,
                ..task(self.model, self.batch, &loss, &optimizer)
            };
            let (mut lowered, regions) = loss_alone(&task, self.gpu.traits())?;
            let dispatches = self.dispatches(&mut lowered);
            let kinds: &[bool] = match loss {
                Loss::CrossEntropy(_) => &[false, true],
                _ => &[true],
            };
            for &soft in kinds {
                let layer = match (&loss, soft) {
                    (Loss::CrossEntropy(_), true) => format!("loss ({name}, probabilities)"),
                    (Loss::CrossEntropy(_), false) => format!("loss ({name}, labels)"),
                    _ => format!("loss ({name})"),
                };
                let outcomes = self.loss(&loss, &lowered, regions, soft).await?;
                self.conclude(&layer, &dispatches, outcomes);
            }
        }
        Ok(())
    }

    async fn loss(
        &self,
        loss: &Loss,
        lowered: &Lowered,
        [output, gradient]: [Region; 2],
        soft: bool,
    ) -> Result<Vec<Outcome>> {
        let shape = self.model.output_shape().batched(self.batch);
        let geometry = loss.geometry(self.batch, self.model.output_shape())?;
        let mut data = Data::new(Fill::Uniform, 0);
        let values = data.values(shape.len(), 4.0);
        let target = match soft {
            true => Target::Values(
                data.values(shape.len(), 1.0)
                    .iter()
                    .map(|v| v.abs())
                    .collect(),
            ),
            false => Target::Labels(labels(loss, &mut data, [geometry.rows, geometry.classes])),
        };
        let rig = Rig::new(self.gpu, &lowered.recording).await?;
        rig.clear().await?;
        rig.write(output, &values).await?;
        match &target {
            Target::Labels(labels) => rig.write(lowered.labels, labels).await?,
            Target::Values(values) => rig.write(lowered.values, values).await?,
        }
        if let (Some(region), Loss::CrossEntropy(loss)) = (lowered.class_weights, loss) {
            rig.write(region, loss.class_weights.as_deref().unwrap_or_default())
                .await?;
        }

        let normaliser = loss.normaliser(&target, &geometry);
        let mut gradients = vec![0.0; shape.len()];
        let total = cpu::loss_forward_backward(
            loss,
            &geometry,
            normaliser,
            &wide(&values),
            &target,
            &mut gradients,
        )?;
        let range = 0..lowered.recording.dispatches.len();
        let mut verdicts = [Verdict::none(), Verdict::none()];
        // The loss of a batch, and the sum with that of a second one.
        for (accumulate, total) in [(false, total), (true, 2.0 * total)] {
            let scale = (1.0 / normaliser) as f32;
            let step = LossStep {
                scale,
                soft,
                accumulate,
            };
            let fill = |dispatch: &Dispatch, params: &mut [u8]| match dispatch.varies {
                Varies::Loss => set_step(loss, params, step),
                _ => set_total_step(params, step),
            };
            rig.run(std::slice::from_ref(&range), fill).await?;
            let got = [
                rig.read(lowered.loss, 1).await?,
                rig.read(gradient, shape.len()).await?,
            ];
            let expected = expected_loss(loss, total, &gradients, &values);
            for ((verdict, expected), got) in verdicts.iter_mut().zip(expected).zip(got) {
                *verdict = std::mem::replace(verdict, Verdict::none()).and(expected.judge(&got));
            }
        }
        let parts = [
            ("loss", [1].into(), lowered.loss),
            ("gradient", shape, gradient),
        ];
        let outcomes = parts
            .into_iter()
            .zip(verdicts)
            .map(|((result, shape, region), verdict)| {
                let dispatches = makers(&lowered.recording, &range, region);
                Outcome {
                    result: result.into(),
                    shape,
                    dispatches,
                    verdict,
                }
            });
        Ok(outcomes.collect())
    }

    /// Checks every optimizer with and without clipping, and the sums of micro-batches' gradients.
    pub(super) async fn updates(&mut self) -> Result<()> {
        let loss = self.any_loss();
        for (name, optimizer) in optimizers() {
            for clip_norm in [None, Some(self.clip_norm())] {
                let task = Task {
                    clip_norm,
                    ..task(self.model, self.batch, &loss, &optimizer)
                };
                let mut lowered = update_alone(&task, self.gpu.traits())?;
                let dispatches = self.dispatches(&mut lowered);
                let layer = match clip_norm {
                    Some(_) => format!("optimizer ({name}, clipped)"),
                    None => format!("optimizer ({name})"),
                };
                let outcome = self.update(&optimizer, clip_norm, &lowered).await?;
                self.conclude(&layer, &dispatches, vec![outcome]);
            }
        }
        let optimizer = Optimizer::sgd(0.1).into();
        let task = Task {
            accumulate: 2,
            ..task(self.model, self.batch, &loss, &optimizer)
        };
        let mut lowered = update_alone(&task, self.gpu.traits())?;
        let dispatches = self.dispatches(&mut lowered);
        let outcomes = self.sums(&lowered).await?;
        self.conclude("gradients of micro-batches", &dispatches, outcomes);
        Ok(())
    }

    /// An optimizer's first update, and a later one.
    async fn update(
        &self,
        optimizer: &Optimizer,
        clip_norm: Option<f64>,
        lowered: &Lowered,
    ) -> Result<Outcome> {
        let rig = Rig::new(self.gpu, &lowered.recording).await?;
        let elements: usize = lowered.slabs.iter().map(len).sum();
        // The norm's sums: 16 vectors and 6 levels in a workgroup, then those of the workgroups.
        let terms = FORMULA + clip_norm.map_or(0, |_| 128 + elements / (64 * 64 * 64));
        let mut verdict = Verdict::none();
        for step in [1, 9] {
            let data = self.update_data(&rig, optimizer, lowered, step).await?;
            let fill = |dispatch: &Dispatch, bytes: &mut [u8]| match dispatch.varies {
                Varies::Optimizer { vectors } => {
                    let values = params(optimizer, step, vectors, GRADIENT_SCALE);
                    bytes[..values.len()].copy_from_slice(&values);
                }
                _ => set_clip_step(bytes, GRADIENT_SCALE),
            };
            rig.run(std::slice::from_ref(&lowered.update), fill).await?;
            let norm = cpu::global_norm(data.iter().map(|slab| &slab.gradient[..]));
            let clip = clip_norm.map_or(1.0, |most| cpu::clip_scale(most, norm));
            for (
                slab,
                SlabData {
                    gradient,
                    parameter,
                    mut state,
                },
            ) in lowered.slabs.iter().zip(data)
            {
                let gradient: Vec<f64> = gradient.iter().map(|g| clip * g).collect();
                let mut updated = parameter.clone();
                cpu::optimizer_update(optimizer, step, &mut updated, &gradient, &mut state)?;
                let change = parameter.iter().zip(&updated).map(|(a, b)| a - b);
                let change = largest(&change.collect::<Vec<_>>());
                let magnitude = parameter.iter().zip(&updated);
                let magnitude = magnitude.map(|(a, b)| a.abs() + b.abs() + change).collect();
                let expected = Bound::new(terms, magnitude).expect(updated, Fill::Uniform);
                verdict = verdict.and(expected.judge(&rig.read(slab.parameter, len(slab)).await?));
                for (region, state) in slab.state.iter().zip(state) {
                    let bound = Bound::even(terms, largest(&state), state.len());
                    let expected = bound.expect(state, Fill::Uniform);
                    verdict = verdict.and(expected.judge(&rig.read(*region, len(slab)).await?));
                }
            }
        }
        let made = |slab: &Slab| makers(&lowered.recording, &lowered.update, slab.parameter);
        let mut dispatches: Vec<usize> = lowered.slabs.iter().flat_map(made).collect();
        dispatches.sort_unstable();
        dispatches.dedup();
        Ok(Outcome {
            result: "parameters".into(),
            shape: [elements].into(),
            dispatches,
            verdict,
        })
    }

    /// Writes slabs full of gradients, parameters and state, the state zero before the first step.
    async fn update_data(
        &self,
        rig: &Rig<'_>,
        optimizer: &Optimizer,
        lowered: &Lowered,
        step: u64,
    ) -> Result<Vec<SlabData>> {
        rig.clear().await?;
        let mut data = Data::new(Fill::Uniform, step as u32);
        let mut slabs = Vec::new();
        for slab in &lowered.slabs {
            // Away from zero, where the direction of a first step hangs on the sign.
            let mut gradient = data.values(len(slab), 1.0);
            gradient.iter_mut().for_each(|g| *g += 0.25f32.copysign(*g));
            let parameter = data.values(len(slab), 1.0);
            rig.write(slab.gradient, &gradient).await?;
            rig.write(slab.parameter, &parameter).await?;
            let mut state = Vec::new();
            for (slot, &region) in slab.state.iter().enumerate() {
                let values = match (step, is_square(optimizer, slot)) {
                    (1, _) => vec![0.0; len(slab)],
                    (_, true) => data.positive(len(slab)),
                    (_, false) => data.values(len(slab), 0.5),
                };
                rig.write(region, &values).await?;
                state.push(wide(&values));
            }
            let scale = f64::from(GRADIENT_SCALE);
            let gradient = gradient.iter().map(|&g| scale * f64::from(g)).collect();
            slabs.push(SlabData {
                gradient,
                parameter: wide(&parameter),
                state,
            });
        }
        Ok(slabs)
    }

    /// The sum that a first micro-batch begins, and a second adds to.
    async fn sums(&self, lowered: &Lowered) -> Result<Vec<Outcome>> {
        let rig = Rig::new(self.gpu, &lowered.recording).await?;
        rig.clear().await?;
        let mut data = Data::new(Fill::Uniform, 0);
        let ranges = [&lowered.begin_sum, &lowered.add_to_sum];
        let (mut sums, mut outcomes) = (Vec::<Expected>::new(), Vec::new());
        for (name, range) in ["sum begun", "sum added to"].into_iter().zip(ranges) {
            for (at, slab) in lowered.slabs.iter().enumerate() {
                let gradient = data.values(len(slab), 1.0);
                rig.write(slab.gradient, &gradient).await?;
                let expected = Bound::copy(len(slab)).expect(wide(&gradient), Fill::Uniform);
                match sums.get_mut(at) {
                    Some(sum) => *sum = expected.plus(sum),
                    None => sums.push(expected),
                }
            }
            rig.run(std::slice::from_ref(range), |_, _| {}).await?;
            for (slab, expected) in lowered.slabs.iter().zip(&sums) {
                let region = slab.sum.unwrap_or(slab.gradient);
                outcomes.push(Outcome {
                    result: name.into(),
                    shape: [len(slab)].into(),
                    dispatches: makers(&lowered.recording, range, region),
                    verdict: expected.judge(&rig.read(region, len(slab)).await?),
                });
            }
        }
        Ok(outcomes)
    }
}

/// A slab's contents; the gradient is that after scaling.
struct SlabData {
    gradient: Vec<f64>,
    parameter: Vec<f64>,
    state: Vec<Vec<f64>>,
}

fn len(slab: &Slab) -> usize {
    slab.parameter.size as usize / 4
}

/// Whether a slot of an optimizer's state is a mean of squares.
fn is_square(optimizer: &Optimizer, slot: usize) -> bool {
    match optimizer {
        Optimizer::Sgd(_) => false,
        Optimizer::Adam(_) => slot >= 1,
        Optimizer::RmsProp(_) => slot == 0,
    }
}

/// A label for each row, some of them the ignored one.
fn labels(loss: &Loss, data: &mut Data, [rows, classes]: [usize; 2]) -> Vec<u32> {
    let ignored = match loss {
        Loss::CrossEntropy(loss) => loss.ignored_label,
        _ => None,
    };
    let label = |(row, word): (usize, u32)| match ignored {
        Some(ignored) if row % 5 == 4 => ignored,
        _ => word % classes as u32,
    };
    data.words(rows)
        .into_iter()
        .enumerate()
        .map(label)
        .collect()
}

/// A loss and its gradient with their tolerances, of this `output`.
fn expected_loss(loss: &Loss, total: f64, gradient: &[f64], output: &[f32]) -> [Expected; 2] {
    let len = gradient.len();
    let total_bound = Bound::even(len + FORMULA, total, 1);
    let bounds = match loss {
        // 2 * (output - target) / len
        Loss::MeanSquaredError(_) => {
            let magnitude = output
                .iter()
                .map(|&o| 2.0 * (f64::from(o.abs()) + 1.0) / len as f64);
            [total_bound, Bound::new(FORMULA, magnitude.collect())]
        }
        Loss::CrossEntropy(_) | Loss::BinaryCrossEntropy(_) => {
            let bound = Bound::even(FORMULA, largest(gradient), len);
            [total_bound.driver(), bound.driver()]
        }
    };
    let mut values = [vec![total], gradient.to_vec()].into_iter();
    bounds.map(|bound| bound.expect(values.next().unwrap_or_default(), Fill::Uniform))
}
