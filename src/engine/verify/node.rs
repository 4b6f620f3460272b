//! One operator, forward and backward, on its own.

use std::collections::HashMap;

use super::compare::{Expected, Verdict, judge_indices};
use super::data::{Data, Fill, wide};
use super::rig::Rig;
use super::tolerance::{self, Bound};
use super::{Outcome, Verifier, makers};
use crate::engine::lower::{Form, Single};
use crate::engine::reference::{Masks, SingleReference};
use crate::gpu::kernels::dropout;
use crate::gpu::record::Region;
use crate::model::{Node, ValueId};
use crate::op::{GlobalPool, Op};
use crate::{Result, Shape};

/// Seeds that are tried until the data can show an error.
const ATTEMPTS: u32 = 4;
/// What dropout's masks are made from.
const MASKS: Masks = Masks {
    seed: 0x5eed_0000_0007,
    step: 3,
};

/// A result of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Output,
    Argmax,
    /// Mean or variance.
    Running(usize),
    /// The gradient of a parameter.
    Parameter(usize),
    /// The gradient of an input.
    Input(usize),
}

/// What a result should be.
enum Wanted {
    Values(Expected),
    Indices(Vec<u32>),
}

/// The data that an operator runs on.
struct Inputs {
    values: Vec<Vec<f32>>,
    parameters: Vec<Vec<f32>>,
    output_gradient: Vec<f32>,
    /// What the gradients of values that are used again are added to.
    before: Vec<Vec<f32>>,
}

impl Verifier<'_> {
    /// Runs an operator on both kinds of data.
    pub(super) async fn operator(&self, single: &Single) -> Result<Vec<Outcome>> {
        let parts = self.parts_of(single)?;
        let rig = Rig::new(self.gpu, &single.lowered.recording).await?;
        let mut verdicts = vec![Verdict::none(); parts.len()];
        for fill in [Fill::Uniform, Fill::Integers] {
            let mut latest = Vec::new();
            for seed in 0..ATTEMPTS {
                let inputs = self.inputs(single, Data::new(fill, seed));
                latest = self.attempt(single, &rig, &parts, inputs, fill).await?;
                if latest.iter().all(|verdict| verdict.trusted) {
                    break;
                }
            }
            let both = verdicts.into_iter().zip(latest);
            verdicts = both.map(|(verdict, latest)| verdict.and(latest)).collect();
        }
        let recording = &single.lowered.recording;
        let outcomes = parts
            .into_iter()
            .zip(verdicts)
            .map(|((part, region, shape), verdict)| {
                let range = match part {
                    Part::Output | Part::Argmax | Part::Running(_) => &single.forward,
                    Part::Parameter(_) | Part::Input(_) => &single.backward,
                };
                let dispatches = makers(recording, range, region);
                Outcome {
                    result: self.name(single, part),
                    shape,
                    dispatches,
                    verdict,
                }
            });
        Ok(outcomes.collect())
    }

    fn node(&self, single: &Single) -> &Node {
        &self.model.graph.nodes()[single.index]
    }

    /// The results of an operator, with their places and shapes.
    fn parts_of(&self, single: &Single) -> Result<Vec<(Part, Region, Shape)>> {
        let (graph, node) = (&self.model.graph, self.node(single));
        let shape = |value: ValueId| graph.shape(value).batched(self.batch);
        let mut parts = vec![(Part::Output, single.output, shape(node.output))];
        if let (true, Some(kept)) = (is_max(&node.op), single.kept) {
            parts.push((Part::Argmax, kept, shape(node.output)));
        }
        if let (Form::Training, Some(running)) = (single.form, node.statistics()) {
            for (at, id) in running.into_iter().enumerate() {
                let shape = graph.parameter(id).shape.clone();
                parts.push((Part::Running(at), single.lowered.parameter(id)?, shape));
            }
        }
        if single.output_gradient.is_some() {
            for (at, &id) in node.parameters.iter().enumerate() {
                let parameter = graph.parameter(id);
                if parameter.is_learned() {
                    let region = single.lowered.gradient(id)?;
                    parts.push((Part::Parameter(at), region, parameter.shape.clone()));
                }
            }
        }
        for (at, gradient) in single.input_gradients.iter().enumerate() {
            parts.push((Part::Input(at), gradient.region, shape(gradient.value)));
        }
        Ok(parts)
    }

    fn name(&self, single: &Single, part: Part) -> String {
        match part {
            Part::Output if single.form == Form::Evaluation => "output in evaluation".into(),
            Part::Output if single.form == Form::Copy => "copy in evaluation".into(),
            Part::Output => "output".into(),
            Part::Argmax => "argmax".into(),
            Part::Running(0) => "running mean".into(),
            Part::Running(_) => "running variance".into(),
            Part::Parameter(at) => {
                let id = self.node(single).parameters[at];
                format!("{} gradient", self.model.graph.parameter(id).spec.name)
            }
            Part::Input(at) => {
                let gradient = single.input_gradients[at];
                let number = match single.input_gradients.len() {
                    1 => String::new(),
                    _ => format!(" {}", at + 1),
                };
                let through = gradient
                    .gradient_of
                    .map_or("", |activation| activation.name());
                let through = if through.is_empty() {
                    ""
                } else {
                    &format!(" of {through}")
                };
                let added = if gradient.accumulates { ", added" } else { "" };
                format!("input{number} gradient{through}{added}")
            }
        }
    }

    /// Data of the right sizes: weights scaled with their number, so that sums stay near 1.
    fn inputs(&self, single: &Single, mut data: Data) -> Inputs {
        let (graph, node) = (&self.model.graph, self.node(single));
        let product = matches!(
            node.op,
            Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::Linear(_)
        );
        let bound = if product { 1.0 } else { 4.0 };
        let len = |value: ValueId| self.batch * graph.shape(value).len();
        let values = single
            .inputs
            .iter()
            .map(|&(value, _)| data.values(len(value), bound));
        let values = values.collect();
        let variance = node.statistics().map(|[_, variance]| variance);
        let parameters = node.parameters.iter().map(|&id| {
            let parameter = graph.parameter(id);
            let bound = (3.0 / parameter.spec.fan_in.max(3) as f32).sqrt();
            let len = parameter.shape.len();
            if variance == Some(id) {
                data.positive(len)
            } else {
                data.values(len, bound)
            }
        });
        let parameters = parameters.collect();
        let output_gradient = data.values(len(node.output), 1.0);
        let before = single
            .input_gradients
            .iter()
            .map(|gradient| match gradient.accumulates {
                true => data.values(len(gradient.value), 1.0),
                false => Vec::new(),
            });
        Inputs {
            values,
            parameters,
            output_gradient,
            before: before.collect(),
        }
    }

    /// Runs an operator on these data and judges its results.
    async fn attempt(
        &self,
        single: &Single,
        rig: &Rig<'_>,
        parts: &[(Part, Region, Shape)],
        inputs: Inputs,
        fill: Fill,
    ) -> Result<Vec<Verdict>> {
        rig.clear().await?;
        for ((_, region), values) in single.inputs.iter().zip(&inputs.values) {
            rig.write(*region, values).await?;
        }
        for (&id, values) in self.node(single).parameters.iter().zip(&inputs.parameters) {
            rig.write(single.lowered.parameter(id)?, values).await?;
        }
        if let Some(region) = single.output_gradient {
            rig.write(region, &inputs.output_gradient).await?;
        }
        for (gradient, values) in single.input_gradients.iter().zip(&inputs.before) {
            rig.write(gradient.region, values).await?;
        }
        let ranges = [single.forward.clone(), single.backward.clone()];
        // Only dropout varies.
        rig.run(&ranges, |_, params| {
            dropout::set_step(params, MASKS.seed, MASKS.step)
        })
        .await?;

        let len = self.batch * self.model.graph.shape(self.node(single).output).len();
        let output: Vec<f32> = rig.read(single.output, len).await?;
        let wanted = self.wanted(single, inputs, &output, fill)?;
        let mut verdicts = Vec::new();
        for (part, region, shape) in parts {
            verdicts.push(match wanted.get(part) {
                Some(Wanted::Values(expected)) => {
                    expected.judge(&rig.read(*region, shape.len()).await?)
                }
                Some(Wanted::Indices(indices)) => {
                    judge_indices(indices, &rig.read(*region, shape.len()).await?)
                }
                None => judge_indices(&[], &[]), // fails: nothing to hold the result against
            });
        }
        Ok(verdicts)
    }

    /// What each result should be. The backward pass of the reference starts from the kernel's own
    /// `output`, as the kernels' does.
    fn wanted(
        &self,
        single: &Single,
        inputs: Inputs,
        output: &[f32],
        fill: Fill,
    ) -> Result<HashMap<Part, Wanted>> {
        let (graph, node, batch) = (&self.model.graph, self.node(single), self.batch);
        let shape = graph.shape(node.inputs[0]);
        let values: Vec<Vec<f64>> = inputs.values.iter().map(|values| wide(values)).collect();
        let parameters: Vec<Vec<f64>> = inputs.parameters.iter().map(|p| wide(p)).collect();
        let ids = single.inputs.iter().map(|&(value, _)| value);
        let values: HashMap<ValueId, Vec<f64>> = ids.zip(values).collect();
        let positions = single.positions(graph);
        let by_position: Vec<&[f64]> = positions.iter().map(|id| &values[id][..]).collect();
        let masks = (single.form == Form::Training).then_some(MASKS);
        let mut reference =
            SingleReference::new(graph, single.index, batch, masks, &by_position, &parameters);
        let mut wanted = HashMap::new();

        let result = reference.forward()?.to_vec();
        let bound = match single.form {
            Form::Copy => Bound::copy(result.len()),
            _ => tolerance::output(&reference, shape, batch)?,
        };
        let mut expected = bound.expect(result, fill);
        match single.activation {
            Some(activation) => expected = expected.activated(activation)?,
            None => reference.set_output(wide(output)),
        }
        wanted.insert(Part::Output, Wanted::Values(expected));
        if is_max(&node.op) {
            wanted.insert(Part::Argmax, Wanted::Indices(reference.argmax().to_vec()));
        }
        if let Some([mean, variance]) = reference.running()? {
            let bounds = tolerance::running(&reference, shape, batch, [&mean, &variance])?;
            for (at, (bound, values)) in bounds.into_iter().zip([mean, variance]).enumerate() {
                wanted.insert(
                    Part::Running(at),
                    Wanted::Values(bound.expect(values, fill)),
                );
            }
        }
        if single.output_gradient.is_none() {
            return Ok(wanted);
        }

        let gy = wide(&inputs.output_gradient);
        let asked = |id: &ValueId| single.input_gradients.iter().any(|g| g.value == *id);
        let asked: Vec<bool> = positions.iter().map(asked).collect();
        let gradients = reference.backward(&gy, &asked)?;
        let bounds = tolerance::gradients(&reference, (shape, batch), &gy, &asked, &gradients)?;
        for (at, (bound, values)) in bounds
            .parameters
            .into_iter()
            .zip(gradients.parameters)
            .enumerate()
        {
            wanted.insert(
                Part::Parameter(at),
                Wanted::Values(bound.expect(values, fill)),
            );
        }
        // Each input's gradient, and for a value that is read twice the sum.
        let ways = bounds.inputs.into_iter().zip(gradients.inputs);
        for ((bound, values_of_way), id) in ways.zip(&positions) {
            let at = single.input_gradients.iter().position(|g| g.value == *id);
            let Some(at) = at else { continue };
            let gradient = single.input_gradients[at];
            let mut expected = bound.expect(values_of_way, fill);
            if let Some(activation) = gradient.gradient_of {
                expected = expected.through(activation, &values[id])?;
            }
            let before = match wanted.remove(&Part::Input(at)) {
                Some(Wanted::Values(before)) => Some(before),
                _ if gradient.accumulates => {
                    let before = &inputs.before[at];
                    Some(Bound::copy(before.len()).expect(wide(before), fill))
                }
                _ => None,
            };
            if let Some(before) = before {
                expected = expected.plus(&before);
            }
            wanted.insert(Part::Input(at), Wanted::Values(expected));
        }
        Ok(wanted)
    }
}

fn is_max(op: &Op) -> bool {
    matches!(op, Op::MaxPool2d(_) | Op::GlobalPool(GlobalPool::Max))
}
