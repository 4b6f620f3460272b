//! What of a step belongs to no operator: copies in half precision and in evaluation, the loss, sums
//! over micro-batches, the optimizer.

use super::Verifier;
use super::fold::folds;
use super::rig::{Outcome, Rig, STEP, Trial, makers};
use crate::cpu::bytes_to_numbers;
use crate::engine::catalogue::{loss_name, optimizer_name};
use crate::engine::compare::{Expected, Verdict};
use crate::engine::data::{Data, Fill, wide};
use crate::engine::internal;
use crate::engine::lower::{Part, Slab};
use crate::engine::operators::{FORMULA, Pieces, Sum, chain};
use crate::engine::reference::{AveragePass, LossPass, UpdatePass};
use crate::engine::step::Step;
use crate::engine::tolerance::{copied, measure};
use crate::gpu::kernels::Output;
use crate::gpu::kernels::loss::{LossStep, MOST_CLASSES};
use crate::gpu::record::Region;
use crate::model::ValueId;
use crate::{Loss, Optimizer, Result, Shape, Target};

/// What gradients are multiplied by on their way into an optimizer.
const GRADIENT_SCALE: f32 = 0.5;

impl Verifier {
    /// Checks what of a plan's step belongs to no operator, as far as the plan has it.
    pub(super) async fn step(&mut self, rig: &Rig<'_>) -> Result<()> {
        let ranges = &rig.lowered.ranges;
        let outcomes = numbers(rig).await?;
        self.conclude(rig, "inputs of bytes", outcomes);
        let outcomes = copies(rig).await?;
        self.conclude(rig, "copies", outcomes);
        for (at, of) in rig.task.losses.iter().enumerate() {
            let parts = &rig.lowered.losses[at];
            let Some(function) = of.loss.as_ref().filter(|_| !parts.range.is_empty()) else {
                continue;
            };
            let kinds = [
                (function.takes_labels(), false),
                (function.takes_values(), true),
            ];
            let shape = rig.output_shape(of.output);
            for (_, soft) in kinds.into_iter().filter(|(takes, _)| *takes) {
                let name = loss_name(function, &shape[1..].into(), soft);
                let outcomes = loss_outcomes(rig, (at, function), soft).await?;
                self.conclude(rig, &name, outcomes);
            }
            if let Some(sum) = &parts.sum {
                let outcomes = added(rig, parts.logits[1], sum, shape.len()).await?;
                self.conclude(rig, "gradients of losses", outcomes);
            }
        }
        for node in &rig.lowered.nodes {
            for sum in &node.sums {
                let outcomes = added_pieces(rig, sum).await?;
                self.conclude(rig, "gradients of shared parameters", outcomes);
            }
        }
        let outcomes = sums(rig).await?;
        self.conclude(rig, "gradients of micro-batches", outcomes);
        if !ranges.update.is_empty() {
            let clipped = rig.task.options.clip_norm.is_some();
            for (group, outcome) in update(rig).await? {
                let optimizer = &rig.task.groups.list()[group].optimizer;
                self.conclude(rig, &optimizer_name(optimizer, clipped), vec![outcome]);
            }
        }
        let outcomes = averages(rig).await?;
        self.conclude(rig, "average", outcomes);
        let outcomes = folds(rig).await?;
        self.conclude(rig, "statistics of a rank's batch", outcomes);
        Ok(())
    }
}

/// The numbers that bytes become.
async fn numbers(rig: &Rig<'_>) -> Result<Vec<Outcome>> {
    let (graph, mut outcomes) = (&rig.task.model.graph, Vec::new());
    for part in &rig.lowered.unpacked {
        let place = |&(at, _): &(usize, &ValueId)| rig.lowered.inputs[at] == part.places[0];
        let found = graph.inputs().iter().enumerate().find(place);
        let of = found.and_then(|(_, &input)| Some((input, graph.bytes(input)?)));
        let (input, of) = of.ok_or_else(|| internal("bytes of no input"))?;
        let shape = graph.shape(input).batched(rig.task.options.batch);
        // Every byte, in an order that no plane repeats.
        let bytes = (0..shape.len()).map(|at| (at * 89 + at / 256) as u8);
        let bytes: Vec<u8> = bytes.collect();
        let values: Vec<f32> = bytes_to_numbers(of, graph.shape(input).len(), &bytes);
        let mut trial = Trial::new(&part.range);
        trial.write_bytes(part.places[0], &bytes);
        let expected = copied(wide(&values), Fill::Uniform);
        trial.awaits("numbers", part.places[1], &shape, expected);
        outcomes.extend(rig.run(trial, STEP).await?);
    }
    Ok(outcomes)
}

/// The copies of the parameters in half precision, and that of the output in evaluation.
async fn copies(rig: &Rig<'_>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut prepare = Trial::new(&rig.lowered.ranges.prepare);
    for slab in &rig.lowered.slabs {
        if let Some(copy) = slab.copy {
            let values = Data::new(Fill::Uniform, false, 0).values(len(slab), 1.0);
            prepare.write(slab.parameter, &values);
            let expected = copied(wide(&values), Fill::Uniform);
            prepare.awaits("half precision", copy, &[len(slab)].into(), expected);
        }
    }
    outcomes.extend(rig.run(prepare, STEP).await?);
    let copies = rig.lowered.copies.iter().enumerate();
    for (at, part) in copies.filter_map(|(at, part)| Some((at, part.as_ref()?))) {
        let shape = rig.output_shape(at);
        let values = Data::new(Fill::Uniform, rig.task.options.half, 0).values(shape.len(), 1.0);
        let mut trial = Trial::new(&part.range);
        trial.write(part.places.inputs[0], &values);
        let expected = copied(wide(&values), Fill::Uniform);
        let to = part.places.output.region;
        trial.awaits("copy in evaluation", to, &shape, expected);
        outcomes.extend(rig.run(trial, STEP).await?);
    }
    Ok(outcomes)
}

/// The sum of two gradients of a value, each of another loss.
async fn added(
    rig: &Rig<'_>,
    from: Region,
    sum: &Part<Output>,
    len: usize,
) -> Result<Vec<Outcome>> {
    let mut data = Data::new(Fill::Uniform, false, 0);
    let [gradient, before] = [(); 2].map(|()| data.values(len, 1.0));
    let mut trial = Trial::new(&sum.range);
    trial.write(from, &gradient);
    trial.write(sum.places.region, &before);
    let [gradient, before] = [gradient, before].map(|v| copied(wide(&v), Fill::Uniform));
    let expected = gradient.plus(&before, 1);
    trial.awaits("sum", sum.places.region, &[len].into(), expected);
    rig.run(trial, STEP).await
}

/// The sum of two gradients of a parameter, each of another layer.
async fn added_pieces(rig: &Rig<'_>, sum: &Part<[Pieces; 2]>) -> Result<Vec<Outcome>> {
    let mut data = Data::new(Fill::Uniform, false, 0);
    let [from, to] = &sum.places;
    let len = to.iter().map(|piece| piece.len).sum();
    let values = [from, to].map(|_| data.values(len, 1.0));
    let mut trial = Trial::new(&sum.range);
    for (pieces, values) in [from, to].into_iter().zip(&values) {
        trial.write_parameters(std::slice::from_ref(pieces), std::slice::from_ref(values));
    }
    let [gradient, before] = values.map(|values| copied(wide(&values), Fill::Uniform));
    let expected = gradient.plus(&before, 1);
    trial.awaits_pieces("sum", Some(to), &[len].into(), expected);
    rig.run(trial, STEP).await
}

/// The loss at a place among the task's.
async fn loss_outcomes(
    rig: &Rig<'_>,
    (at, loss): (usize, &Loss),
    soft: bool,
) -> Result<Vec<Outcome>> {
    let (of, parts) = (&rig.task.losses[at], &rig.lowered.losses[at]);
    let ([output, gradient], batch) = (parts.logits, rig.task.options.batch);
    let shape = rig.output_shape(of.output);
    let example = Shape::from(&shape[1..]);
    let geometry = loss.geometry(batch, &example)?;
    let mut data = Data::new(Fill::Uniform, rig.task.options.half, 0);
    let values = data.values(shape.len(), 4.0);
    let target = match soft {
        true => Target::Values(data.shares(shape.len())),
        false => data.labels(loss, &geometry).into(),
    };
    let scale = (1.0 / loss.normaliser(&target, &geometry)) as f32;
    let pass = LossPass {
        loss,
        shape: &example,
        batch,
        target,
    };
    let data = [values];
    let measured = measure(&pass, &data, false)?;
    let expect = |at: usize, terms: usize| -> Expected {
        let sum = Sum::formula(terms);
        let sum = match loss {
            Loss::MeanSquaredError(_)
            | Loss::L1(_)
            | Loss::SmoothL1 { .. }
            | Loss::Huber { .. } => sum,
            // A gradient at the label alone, and none at those that are ignored.
            Loss::NegativeLogLikelihood(_) => sum.reach(0.5 / geometry.classes.max(1) as f64),
            Loss::CrossEntropy(_)
            | Loss::BinaryCrossEntropy(_)
            | Loss::KlDivergence(_)
            | Loss::Dice(_) => sum.driver(),
        };
        measured[at].expect(sum, Fill::Uniform)
    };
    // A few classes to an invocation, and then the examples' losses.
    let classes = MOST_CLASSES / 64;
    let total = expect(0, classes + chain(shape.len()));
    // Every gradient of the Dice loss follows from sums over pixels.
    let of_gradient = match loss {
        Loss::Dice(_) => classes + chain(geometry.positions()),
        Loss::CrossEntropy(_)
        | Loss::NegativeLogLikelihood(_)
        | Loss::MeanSquaredError(_)
        | Loss::L1(_)
        | Loss::SmoothL1 { .. }
        | Loss::Huber { .. }
        | Loss::BinaryCrossEntropy(_)
        | Loss::KlDivergence(_) => classes + FORMULA,
    };
    let mut trial = Trial::new(&parts.range);
    trial.write(output, &data[0]);
    match &pass.target {
        Target::Labels(_) | Target::WideLabels(_) => {
            let codes = pass.target.codes(loss);
            trial.write_bytes(parts.labels, bytemuck::cast_slice(&codes));
        }
        Target::Values(values) => trial.write(parts.values, values),
    }
    if let (Some(region), Some(weights)) = (parts.loss_weights, loss.weights()) {
        trial.write(region, &weights);
    }
    trial.awaits("loss", parts.loss, &[1].into(), total);
    trial.awaits("gradient", gradient, &shape, expect(1, of_gradient));
    let step = LossStep {
        scale,
        gradient_scale: scale,
        weight: 1.0,
        soft,
    };
    let losses = vec![step; at + 1];
    rig.run(trial, Step { losses, ..STEP }).await
}

/// The sum that a first micro-batch begins, and a second adds to.
async fn sums(rig: &Rig<'_>) -> Result<Vec<Outcome>> {
    let (mut data, ranges) = (Data::new(Fill::Uniform, false, 0), &rig.lowered.ranges);
    let mut outcomes = Vec::new();
    for (name, range, adds) in [
        ("sum begun", &ranges.begin_sum, false),
        ("sum added to", &ranges.add_to_sum, true),
    ] {
        let mut trial = Trial::new(range);
        for slab in rig.lowered.slabs.iter().filter(|_| !range.is_empty()) {
            let [gradient, before] = [(); 2].map(|()| data.values(len(slab), 1.0));
            trial.write(slab.gradient, &gradient);
            let mut expected = copied(wide(&gradient), Fill::Uniform);
            if adds {
                trial.write(slab.total(), &before);
                expected = expected.plus(&copied(wide(&before), Fill::Uniform), 1);
            }
            trial.awaits(name, slab.total(), &[len(slab)].into(), expected);
        }
        outcomes.extend(rig.run(trial, STEP).await?);
    }
    Ok(outcomes)
}

/// The optimizer's first update, and a later one, of each group.
async fn update(rig: &Rig<'_>) -> Result<Vec<(usize, Outcome)>> {
    let (groups, range) = (rig.task.groups.list(), &rig.lowered.ranges.update);
    let (slabs, clip_norm) = (&rig.lowered.slabs, rig.task.options.clip_norm);
    let elements: usize = slabs.iter().map(len).sum();
    // The norm's sums: 16 vectors to an invocation, and then those of the workgroups.
    let clipping = clip_norm.map_or(0, |_| 64 + chain(elements / 4096));
    let sum = Sum::formula(FORMULA + clipping);
    let optimizer = |slab: &Slab| &groups[slab.group].optimizer;
    let mut verdicts = vec![Verdict::none(); groups.len()];
    for step in [1, 9] {
        let mut data = Data::new(Fill::Uniform, false, step as u32);
        let contents = slabs
            .iter()
            .map(|slab| contents(optimizer(slab), slab, &mut data, step));
        let contents: Vec<Vec<f32>> = contents.flatten().collect();
        let pass = UpdatePass {
            optimizers: slabs.iter().map(optimizer).collect(),
            clip_norm,
            step,
            gradient_scale: GRADIENT_SCALE,
        };
        let measured = measure(&pass, &contents, false)?;
        let mut trial = Trial::new(range);
        let regions = slabs.iter().flat_map(|slab| {
            let own = [slab.total(), slab.parameter].into_iter();
            let own = own.chain(slab.state.iter().copied()).enumerate();
            // A slab's gradient stays as it is.
            own.map(|(at, region)| (region, (at > 0).then_some(slab.group)))
        });
        let mut awaited = Vec::new();
        for (at, ((region, changed), values)) in regions.zip(&contents).enumerate() {
            trial.write(region, values);
            if let Some(group) = changed {
                let expected = measured[at].expect(sum, Fill::Uniform);
                trial.awaits("parameters", region, &[values.len()].into(), expected);
                awaited.push(group);
            }
        }
        let this = Step {
            update: step,
            gradient_scale: GRADIENT_SCALE,
            ..STEP
        };
        for (group, outcome) in awaited.into_iter().zip(rig.run(trial, this).await?) {
            let before = std::mem::replace(&mut verdicts[group], Verdict::none());
            verdicts[group] = before.and(outcome.verdict);
        }
    }
    let order: Vec<usize> = range.clone().collect();
    // A group may have nothing that a loss depends on.
    let updated = |group: &usize| slabs.iter().any(|slab| slab.group == *group);
    let verdicts = verdicts.into_iter().enumerate();
    let verdicts = verdicts.filter(|(group, _)| updated(group));
    let outcomes = verdicts.map(|(group, verdict)| {
        let own = || slabs.iter().filter(move |slab| slab.group == group);
        let of = |slab: &Slab| makers(rig.recording(), &order, &[slab.parameter]);
        let mut dispatches: Vec<usize> = own().flat_map(of).collect();
        dispatches.sort_unstable();
        dispatches.dedup();
        let outcome = Outcome {
            result: "parameters".into(),
            shape: [own().map(len).sum::<usize>()].into(),
            dispatches,
            verdict,
            got: vec![],
        };
        (group, outcome)
    });
    Ok(outcomes.collect())
}

/// The average at the first update and at a later one, and its exchange with the parameters.
async fn averages(rig: &Rig<'_>) -> Result<Vec<Outcome>> {
    let (mut data, ranges) = (Data::new(Fill::Uniform, false, 0), &rig.lowered.ranges);
    let mut outcomes = Vec::new();
    let Some(own) = &rig.task.options.average else {
        return Ok(outcomes);
    };
    let slabs = || {
        let slabs = rig.lowered.slabs.iter();
        slabs.filter_map(|slab| Some((slab, slab.average?)))
    };
    // Past the updates after which an average begins.
    for (name, update) in [("first average", 1), ("average", 1 << 62)] {
        let mut trial = Trial::new(&ranges.average);
        for (slab, average) in slabs() {
            let values = [(); 2].map(|()| data.values(len(slab), 1.0));
            trial.write(slab.parameter, &values[0]);
            if own.shares(update)[0] != 0.0 {
                trial.write(average, &values[1]);
            }
            let measured = measure(&AveragePass { own, update }, &values, false)?;
            let expected = measured[0].expect(Sum::formula(3), Fill::Uniform);
            trial.awaits(name, average, &[len(slab)].into(), expected);
        }
        let step = Step { update, ..STEP };
        outcomes.extend(rig.run(trial, step).await?);
    }
    let mut trial = Trial::new(&ranges.swap);
    for (slab, average) in slabs() {
        let [one, other] = [(); 2].map(|()| data.values(len(slab), 1.0));
        for (region, before, after) in [(slab.parameter, &one, &other), (average, &other, &one)] {
            trial.write(region, before);
            let expected = copied(wide(after), Fill::Uniform);
            trial.awaits("average in place", region, &[len(slab)].into(), expected);
        }
    }
    outcomes.extend(rig.run(trial, STEP).await?);
    Ok(outcomes)
}

/// Gradient, parameter and state of a slab, the state as it is before the first step.
fn contents(optimizer: &Optimizer, slab: &Slab, data: &mut Data, step: u64) -> Vec<Vec<f32>> {
    // Away from zero, where the direction of a first step hangs on the sign.
    let mut gradient = data.values(len(slab), 1.0);
    gradient.iter_mut().for_each(|g| *g += 0.25f32.copysign(*g));
    let mut contents = vec![gradient, data.values(len(slab), 1.0)];
    contents.extend((0..slab.state.len()).map(|slot| {
        match (step, optimizer.state_is_square(slot)) {
            (1, _) => vec![optimizer.initial_state(slot) as f32; len(slab)],
            (_, true) => data.positive(len(slab)),
            (_, false) => data.values(len(slab), 0.5),
        }
    }));
    if let (Optimizer::Lion(_), 2..) = (optimizer, step) {
        // A sum of which the sign alone counts: either gradient or mean is too small to turn it.
        let means = contents[2].iter_mut().enumerate();
        means.for_each(|(at, mean)| match at % 2 {
            0 => *mean *= 1e-3,
            _ => *mean += 0.25f32.copysign(*mean),
        });
    }
    contents
}

fn len(slab: &Slab) -> usize {
    slab.parameter.size as usize / 4
}
