//! What a checkpoint says of the model and the optimizer that it is for, and how that is compared.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::Result;
use crate::file::safetensors::quoted;
use crate::model::{Graph, Parameter, Rate};
use crate::op::Optimizer;
use crate::train::Trainer;

/// A line for each input, constant, parameter, layer and output of a model.
pub(super) fn model(graph: &Graph) -> Vec<String> {
    let inputs = graph.inputs().iter();
    let inputs = inputs.map(|&value| format!("input {}", graph.shape(value)));
    let constants = graph.constants().iter().map(|constant| {
        let (name, shape) = (&constant.name, graph.shape(constant.value));
        format!("constant {name}: {shape}, {:016x}", hash(&constant.values))
    });
    let parameters = graph.parameters().iter().map(|parameter| {
        let Parameter { name, shape, .. } = parameter;
        let values = parameter.values.as_ref();
        let fixed = values.filter(|_| parameter.is_constant());
        let fixed = fixed.map(|values| format!(", {:016x}", hash(values)));
        let (kind, fixed) = (parameter.spec.kind, fixed.unwrap_or_default());
        format!("parameter {name}: {shape}, {kind:?}{fixed}")
    });
    let nodes = graph.nodes().iter().map(|node| {
        let names = node.parameters.iter();
        let names: Vec<&str> = names.map(|&id| &*graph.parameter(id).name).collect();
        let inputs: Vec<String> = node.inputs.iter().map(|&v| graph.value_name(v)).collect();
        let (from, with) = (inputs.join(", "), names.join(", "));
        let (name, op, number) = (&node.name, &node.op, node.layer);
        format!("layer {name}: {op:?} of [{from}] with [{with}], number {number}")
    });
    let outputs = graph.outputs().iter();
    let outputs = outputs.map(|&value| format!("output {}", graph.value_name(value)));
    let parts = inputs.chain(constants).chain(parameters);
    parts.chain(nodes).chain(outputs).collect()
}

/// Fowler, Noll and Vo's hash, of the bits of values.
fn hash(values: &[f32]) -> u64 {
    let bits = values.iter().map(|value| value.to_bits());
    hash_of(bits.flat_map(u32::to_le_bytes))
}

pub(in crate::train) fn hash_of(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The first line in which two models differ.
pub(super) fn difference(file: &[String], here: &[String]) -> Option<String> {
    let longer = file.len().max(here.len());
    let at = (0..longer).find(|&at| file.get(at) != here.get(at))?;
    let line = |lines: &[String]| match lines.get(at) {
        Some(line) => quoted(line),
        None => "nothing more".into(),
    };
    let (file, here) = (line(file), line(here));
    Some(format!("{file} in the file, {here} in this model"))
}

/// An optimizer with how many numbers it keeps for each value, and without its learning rate, which may change
/// from step to step.
pub(super) fn optimizer(optimizer: &Optimizer) -> String {
    let mut fixed = *optimizer;
    fixed.set_learning_rate(0.0);
    format!("{} x {fixed:?}", fixed.state_slots())
}

/// The part of an optimizer's description that says what it keeps.
pub(super) fn kept(description: &str) -> &str {
    description.split('(').next().unwrap_or_default()
}

/// What a program may choose otherwise when it goes on from a checkpoint, by name.
pub(super) fn choices(trainer: &Trainer) -> BTreeMap<String, String> {
    let options = &trainer.made.options;
    let choices = [
        ("batch", exact(options.batch)),
        ("batches of an update", exact(options.accumulate)),
        ("clip_norm", exact(options.clip_norm)),
        ("direct_only", exact(options.direct_only)),
        ("half_precision", exact(options.half)),
        ("losses", brief(exact(&trainer.losses))),
        ("schedule", exact(&trainer.schedule)),
    ];
    choices.map(|(name, text)| (name.into(), text)).into()
}

impl Trainer {
    /// What tells this training from others: model, options, optimizer, in words, each with its name.
    pub(in crate::train) fn described(&self) -> Vec<(String, String)> {
        let lines = self.optimizers();
        let own = [
            ("model", model(&self.model().graph).join("\n")),
            ("optimizer", format!("{lines:?}")),
            ("rule for learning rates", format!("{:?}", rates(self))),
        ];
        let own = own.map(|(name, text)| (name.to_string(), text));
        own.into_iter().chain(choices(self)).collect()
    }

    /// Tells all that is trained, and what the optimizer keeps of it, from another state of it.
    pub(in crate::train) async fn state_hash(&self) -> Result<u64> {
        let state = self.training_state().await?;
        let values = state.parameters.iter().flat_map(|(_, state)| {
            let slots = state.slots.iter().flatten();
            let average = state.average.iter().flatten();
            state.values.iter().chain(slots).chain(average)
        });
        let seed = state.counts.seed.to_le_bytes();
        Ok(hash_of(
            values.flat_map(|value| value.to_le_bytes()).chain(seed),
        ))
    }
}

/// A description as it is, or, where a loss's weights make it long, what tells it from others.
fn brief(text: String) -> String {
    const LONGEST: usize = 1000;
    match text.len() <= LONGEST {
        true => text,
        false => format!("{} bytes, {:016x}", text.len(), hash_of(text.bytes())),
    }
}

/// The rule for the learning rate of each parameter that does not take the base.
pub(super) fn rates(trainer: &Trainer) -> BTreeMap<String, String> {
    let learned = trainer.model().graph.kept().filter_map(|(id, parameter)| {
        let rate = trainer.groups().group(id)?.rate;
        let own = rate != Rate::Factor(1.0);
        own.then(|| (parameter.name.clone(), exact(rate)))
    });
    learned.collect()
}

/// What two descriptions say otherwise, in words, each with its name.
pub(super) fn differences(
    there: &BTreeMap<String, String>,
    here: &BTreeMap<String, String>,
) -> Vec<String> {
    let new = here.keys().filter(|name| !there.contains_key(*name));
    let names = there.keys().chain(new);
    let others = names.filter(|&name| there.get(name) != here.get(name));
    let text =
        |of: &BTreeMap<String, String>, name| of.get(name).map_or("none".into(), |t| quoted(t));
    let said = others.map(|name| {
        let (here, there) = (text(here, name), text(there, name));
        format!("{}: {here} for {there}", quoted(name))
    });
    said.collect()
}

/// A number as text that gives the same number again.
pub(super) fn exact(number: impl Debug) -> String {
    format!("{number:?}")
}
