//! One operator of a plan: its forward and backward pass in training, its forward pass in evaluation.

use std::ops::Range;

use super::rig::{Outcome, Rig, STEP, Trial};
use crate::engine::compare::Expected;
use crate::engine::data::{Data, Fill, wide};
use crate::engine::internal;
use crate::engine::lower::{Fusion, NodeParts, Part};
use crate::engine::operators::{self, Backward, Forward, Masks, Mode, Pieces, Site, Sum};
use crate::engine::reference::{BackwardPass, ForwardPass};
use crate::engine::step::Step;
use crate::engine::tolerance::{Measured, copied, measure};
use crate::gpu::record::Region;
use crate::model::{Graph, Node, ValueId};
use crate::{Result, Shape};

/// Seeds that are tried until the data can show an error.
const ATTEMPTS: u32 = 4;

/// A node of a plan.
pub(super) struct NodeTrial<'a> {
    pub rig: &'a Rig<'a>,
    pub fusion: &'a Fusion,
    pub node: &'a Node,
    pub parts: &'a NodeParts,
}

/// Data for a node, those that are one value the same.
struct Inputs {
    x: Vec<Vec<f32>>,
    parameters: Vec<Vec<f32>>,
    gy: Vec<f32>,
    /// The argument of the activation that the gradient goes through, if it does.
    argument: Vec<f32>,
    /// What is added to the output, if anything is.
    addend: Vec<f32>,
    /// What gradients of values that are used again are added to, by input.
    before: Vec<Vec<f32>>,
    fill: Fill,
    seed: u32,
}

/// The step of training that data are for: dropout's masks change with it.
fn step(seed: u32) -> Step {
    Step {
        made: STEP.made + u64::from(seed),
        ..STEP
    }
}

impl NodeTrial<'_> {
    fn graph(&self) -> &Graph {
        &self.rig.task.model.graph
    }

    fn pass(&self, mode: Mode, seed: u32) -> ForwardPass<'_> {
        let site = Site::new(self.graph(), self.node, self.rig.task.options.batch, mode);
        let masks = Masks {
            seed: self.rig.task.options.seed,
            updates: step(seed).made,
            examples: step(seed).examples,
        };
        ForwardPass {
            op: &self.node.op,
            site: Site {
                masks,
                folds_later: self.rig.task.options.ranks > 1,
                ..site
            },
        }
    }

    fn shape(&self, shape: &Shape) -> Shape {
        shape.batched(self.rig.task.options.batch)
    }

    /// Runs the node on both kinds of data.
    pub async fn run(&self) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        for fill in [Fill::Uniform, Fill::Integers] {
            let mut settled: Vec<Outcome> = self.attempt(fill, 0).await?;
            for seed in 1..ATTEMPTS {
                if settled
                    .iter()
                    .all(|outcome| !outcome.verdict.is_undecided())
                {
                    break;
                }
                for (settled, latest) in settled.iter_mut().zip(self.attempt(fill, seed).await?) {
                    if settled.verdict.is_undecided() {
                        *settled = latest;
                    }
                }
            }
            if outcomes.is_empty() {
                outcomes = settled;
                continue;
            }
            for (outcome, latest) in outcomes.iter_mut().zip(settled) {
                outcome.verdict = outcome.verdict.clone().and(latest.verdict);
            }
        }
        Ok(outcomes)
    }

    /// Data of the right sizes: weights scaled with their number, so that sums stay near 1.
    fn inputs(&self, fill: Fill, seed: u32) -> Inputs {
        let (graph, node) = (self.graph(), self.node);
        let mut data = Data::new(fill, self.rig.task.options.half, seed);
        let root = |at: usize| self.fusion.root(node.inputs[at]);
        let bound = if node.op.definition().reads_half(0) {
            1.0
        } else {
            4.0
        };
        let mut x: Vec<Vec<f32>> = Vec::new();
        for (at, &input) in node.inputs.iter().enumerate() {
            x.push(match (0..at).find(|&other| root(other) == root(at)) {
                Some(other) => x[other].clone(),
                None => data.values(self.shape(graph.shape(input)).len(), bound),
            });
        }
        let parameters = node.parameters.iter().map(|&id| {
            let parameter = graph.parameter(id);
            let (len, fan_in) = (parameter.shape.len(), parameter.spec.fan_in.max(3));
            match parameter.is_statistic() {
                true => data.positive(len),
                false => data.values(len, (3.0 / fan_in as f32).sqrt()),
            }
        });
        let parameters = parameters.collect();
        let gy = data.values(self.shape(graph.shape(node.output)).len(), 1.0);
        let [argument, addend] = [(); 2].map(|()| data.values(gy.len(), 4.0));
        let before = x.iter().map(|x| data.values(x.len(), 1.0)).collect();
        Inputs {
            x,
            parameters,
            gy,
            argument,
            addend,
            before,
            fill,
            seed,
        }
    }

    /// Whether the reference does nothing in evaluation, so that no kernel has to.
    fn is_identity(&self, inputs: &Inputs) -> Result<bool> {
        let data: Vec<_> = inputs
            .x
            .iter()
            .chain(&inputs.parameters)
            .map(|v| wide(v))
            .collect();
        let (y, _) = self.pass(Mode::Evaluation, inputs.seed).run(&data)?;
        Ok(y == data[0])
    }

    async fn attempt(&self, fill: Fill, seed: u32) -> Result<Vec<Outcome>> {
        let inputs = &self.inputs(fill, seed);
        let mut outcomes = Vec::new();
        let goes_back = self.rig.task.wanted.needs(self.node.output);
        if self.fusion.summand(self.node.output).is_some() {
            // Its forward pass is that of another node.
            if goes_back {
                let y = inputs.gy.clone(); // of no use to the gradients of a sum
                return self.backward(None, inputs, y, vec![]).await;
            }
            return Ok(outcomes);
        }
        if let Some(part) = &self.parts.forward {
            let (found, indices) = self.forward(part, inputs).await?;
            let y: Vec<f32> = found[0].got.iter().map(|&y| y as f32).collect();
            outcomes.extend(found);
            if goes_back {
                let kept = part.places.kept;
                outcomes.extend(self.backward(kept, inputs, y, indices).await?);
            }
        } else {
            outcomes.push(Outcome::missing("output"));
        }
        if let Some(part) = &self.parts.predict {
            outcomes.extend(self.forward(part, inputs).await?.0);
        } else if !self.is_identity(inputs)? {
            outcomes.push(Outcome::missing("output in evaluation"));
        }
        Ok(outcomes)
    }

    /// A forward pass: its results, the output first, and the positions that it should choose.
    async fn forward(
        &self,
        part: &Part<Forward>,
        inputs: &Inputs,
    ) -> Result<(Vec<Outcome>, Vec<u32>)> {
        let pass = self.pass(part.mode, inputs.seed);
        let (graph, places) = (self.graph(), &part.places);
        let when = match part.mode {
            Mode::Training => "",
            Mode::Evaluation => " in evaluation",
        };
        let mut trial = Trial::new(&part.range);
        // In evaluation, values that differ in training may be one.
        let first = |at: usize| {
            places
                .inputs
                .iter()
                .position(|other| *other == places.inputs[at])
        };
        let x = (0..inputs.x.len()).map(|at| inputs.x[first(at).unwrap_or(at)].clone());
        let x: Vec<Vec<f32>> = x.collect();
        trial.write_all(&places.inputs, &x);
        trial.write_parameters(&places.parameters, &inputs.parameters);
        let rounding = operators::rounding(&self.node.op, &pass.site)?;
        let data = [&x[..], &inputs.parameters].concat();
        let measured = measure(&pass, &data, true)?;
        let spread = self.is_spread(&part.range, places.output.region);
        let mut expected = measured[0].expect(rounding.output.spread(spread), inputs.fill);
        let shape = self.shape(graph.shape(self.node.output));
        if let Some(addend) = places.output.addend {
            // It may be what is normalised.
            let same = places.inputs.iter().position(|input| *input == addend);
            let values = same.map_or(&inputs.addend, |at| &x[at]);
            trial.write(addend, values);
            expected = expected.plus(&copied(wide(values), inputs.fill), 1);
        }
        let argument = places.output.argument.map(|to| (to, expected.clone()));
        if let Some(activation) = places.output.activation {
            expected = expected.activated(activation)?;
        }
        trial.awaits(
            format!("output{when}"),
            places.output.region,
            &shape,
            expected,
        );
        if let Some((to, expected)) = argument {
            trial.awaits("argument", to, &shape, expected);
        }
        let mut indices = Vec::new();
        if places.kept.is_some() {
            let data: Vec<Vec<f64>> = data.iter().map(|values| wide(values)).collect();
            indices = pass.run(&data)?.1.indices;
        }
        if let (Some(region), false) = (places.kept, indices.is_empty()) {
            trial.awaits(
                format!("argmax{when}"),
                region,
                &shape,
                Expected::indices(&indices),
            );
        }
        let statistics = self.node.parameters.iter().zip(&places.parameters);
        let statistics = statistics.filter(|(id, _)| graph.parameter(**id).is_statistic());
        for ((&id, pieces), measured) in statistics.zip(&measured[1..]) {
            let parameter = graph.parameter(id);
            let expected = measured.expect(rounding.running, inputs.fill);
            trial.awaits_pieces(
                parameter.spec.name,
                Some(pieces),
                &parameter.shape,
                expected,
            );
        }
        Ok((self.rig.run(trial, step(inputs.seed)).await?, indices))
    }

    /// The backward pass on what the forward pass has left: the gradients that the graph says must be
    /// there.
    async fn backward(
        &self,
        kept: Option<Region>,
        inputs: &Inputs,
        y: Vec<f32>,
        indices: Vec<u32>,
    ) -> Result<Vec<Outcome>> {
        let (graph, node) = (self.graph(), self.node);
        let Some(part) = &self.parts.backward else {
            return Ok(vec![Outcome::missing("gradients")]);
        };
        let pass = self.pass(part.mode, inputs.seed);
        let rounding = operators::rounding(&node.op, &pass.site)?;
        let mut trial = self.backward_trial(kept, part, inputs, &y).await?;
        let through = part.places.through.map(|(activation, _)| activation);
        let saved = through.map(|activation| match activation.gradient_from_value() {
            true => y.clone(),
            false => inputs.argument.clone(),
        });
        let after: Vec<_> = [y, inputs.gy.clone()].into_iter().chain(saved).collect();
        let data = [&inputs.x[..], &inputs.parameters, &after].concat();
        let pass = BackwardPass {
            pass,
            wanted: self.wanted(),
            through,
            indices,
        };
        let measured = measure(&pass, &data, true)?;
        let arriving = |sum: Sum| through.map_or(sum, |activation| sum.after(activation));
        let (of_parameters, of_inputs) = measured.split_at(node.parameters.len());
        let of_parameters = of_parameters.iter().enumerate();
        for (at, measured) in of_parameters.filter(|(at, _)| pass.wanted[*at]) {
            let parameter = graph.parameter(node.parameters[at]);
            let unstated = || internal("a parameter's gradient has no rounding");
            let sum = *rounding.parameters.get(at).ok_or_else(unstated)?;
            let to = part.places.to_parameters[at].as_ref();
            let mut regions = to.into_iter().flat_map(Pieces::regions);
            let spread = regions.any(|region| self.is_spread(&part.range, region));
            let expected = measured.expect(arriving(sum).spread(spread), inputs.fill);
            let name = format!("{} gradient", parameter.spec.name);
            trial.awaits_pieces(name, to, &parameter.shape, expected);
        }
        let additions = additions(&part.places);
        // Each input's gradient, and for a value that is read twice the sum.
        let mut sums: Vec<(usize, Option<Region>, Expected)> = Vec::new();
        for (at, measured) in of_inputs.iter().enumerate() {
            let to = part.places.to_inputs[at];
            let handed_on = self.is_handed_on(self.fusion.root(node.inputs[at]));
            if !pass.wanted[node.parameters.len() + at] || handed_on && to.is_none() {
                continue; // handed on as it is, by no kernel
            }
            let sum = arriving(rounding.input(at));
            let stored = rounding.from_stored_value.then_some(&after[0][..]);
            let mut expected = self.input_gradient(part, inputs, at, (measured, sum), stored)?;
            let region = to.map(|to| to.region);
            match sums.iter_mut().find(|sum| to.is_some() && sum.1 == region) {
                Some((_, _, sum)) => *sum = expected.plus(sum, additions),
                None => {
                    if to.is_some_and(|to| to.accumulate) {
                        let before = copied(wide(&inputs.before[at]), inputs.fill);
                        expected = expected.plus(&before, additions);
                    }
                    sums.push((at, region, expected));
                }
            }
        }
        let several = sums.len() > 1;
        for (at, region, expected) in sums {
            let shape = self.shape(graph.shape(node.inputs[at]));
            trial.awaits(input_name(part, at, several), region, &shape, expected);
        }
        self.rig.run(trial, step(inputs.seed)).await
    }

    /// What is expected of the gradient of one of the inputs, which may depend on a value as it is `stored`.
    fn input_gradient(
        &self,
        part: &Part<Backward>,
        inputs: &Inputs,
        at: usize,
        (measured, sum): (&Measured, Sum),
        stored: Option<&[f32]>,
    ) -> Result<Expected> {
        let to = part.places.to_inputs[at];
        let spread = to.is_some_and(|to| self.is_spread(&part.range, to.region));
        let mut expected = measured.expect(sum.spread(spread), inputs.fill);
        if let Some(y) = stored {
            let format = part.places.output.format;
            expected = expected.with_value_stored(format, y, &inputs.gy);
        }
        // A gradient reaches no more places than it comes from.
        expected.needed = expected.needed.min(inputs.gy.len().div_ceil(50));
        match to.and_then(|to| to.gradient_of) {
            Some((activation, _)) => expected.through(activation, &wide(&inputs.x[at])),
            None => Ok(expected),
        }
    }

    /// Whether kernels of a fast algorithm, which spread roundings, have a part in a result.
    fn is_spread(&self, range: &Range<usize>, region: Region) -> bool {
        self.rig.recording().is_spread(range.clone(), &region)
    }

    /// Which gradients the graph says must be there, of the parameters and of the inputs.
    fn wanted(&self) -> Vec<bool> {
        let (node, wanted) = (self.node, &self.rig.task.wanted);
        let parameters = node.parameters.iter().map(|&id| wanted.parameter(id));
        let values = node.inputs.iter().map(|&input| wanted.needs(input));
        parameters.chain(values).collect()
    }

    /// Whether an input's gradient is that of the output, in its very place.
    fn is_handed_on(&self, input: ValueId) -> bool {
        let takers = [self.parts.heir, self.fusion.summand(self.node.output)];
        takers.contains(&Some(input))
    }

    /// A backward pass on what it finds in memory when it begins: what the forward pass left, the
    /// output's gradient, and what is added to.
    async fn backward_trial(
        &self,
        kept: Option<Region>,
        part: &Part<Backward>,
        inputs: &Inputs,
        y: &[f32],
    ) -> Result<Trial> {
        let (places, mut trial) = (&part.places, Trial::new(&part.range));
        trial.write_all(&places.inputs, &inputs.x);
        trial.write_parameters(&places.parameters, &inputs.parameters);
        trial.write(places.output, y);
        if let Some(kept) = kept {
            let bytes = self.rig.program.read(self.rig.gpu, kept).await?;
            trial.write_bytes(kept, &bytes);
        }
        trial.write(places.gradient, &inputs.gy);
        if let Some((activation, argument)) = places.through
            && !activation.gradient_from_value()
        {
            trial.write(argument, &inputs.argument);
        }
        let mut begun: Vec<Region> = Vec::new();
        for (to, before) in places.to_inputs.iter().zip(&inputs.before) {
            let Some(to) = to else { continue };
            if to.accumulate && !begun.contains(&to.region) {
                trial.write(to.region, before);
            }
            begun.push(to.region);
        }
        Ok(trial)
    }
}

/// The additions that a gradient is made in: weights in pieces add to it one by one.
fn additions(places: &Backward) -> usize {
    let pieces = places.parameters.iter().map(|p| p.iter().count());
    pieces.max().unwrap_or(1).max(1)
}

fn input_name(part: &Part<Backward>, at: usize, several: bool) -> String {
    let to = part.places.to_inputs[at];
    let number = match several {
        true => format!(" {}", at + 1),
        false => String::new(),
    };
    let added = to.filter(|to| to.accumulate).map_or("", |_| ", added");
    match to.and_then(|to| to.gradient_of) {
        Some((f, _)) => format!("input{number} gradient of {}{added}", f.name()),
        None => format!("input{number} gradient{added}"),
    }
}
