//! What of a model is learned, and how: names by pattern, frozen parameters, groups.

use pollster::block_on;
use wgpu_cnn::{Group, Pattern, TrainerBuilder};

use crate::call::Call;
use crate::draw::Draw;
use crate::{op, train};

const GROUPS: &[&str] = &[
    "TrainerBuilder::freeze",
    "TrainerBuilder::unfreeze",
    "TrainerBuilder::freeze_statistics",
    "TrainerBuilder::unfreeze_statistics",
    "TrainerBuilder::group",
    "TrainerBuilder::no_decay_on_biases_and_norms",
    "Trainer::rebuild",
    "Trainer::rebuild_async",
    "Group::new",
    "Group::learning_rate",
    "Group::rate_factor",
    "Group::weight_decay",
    "Group::momentum",
    "Group::betas",
    "Group::epsilon",
    "Group::optimizer",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(&["Pattern::matches"], |d| {
            let (text, name) = (text(d), text(d));
            let pattern = Pattern::from(&text);
            assert!(text != name || pattern.matches(&name));
            !format!("{pattern} {pattern:?}").is_empty() && pattern.matches(&name)
        }),
        Call::medium(GROUPS, |d| {
            let builder = match d.is_hostile() {
                true => train::builder(d),
                false => train::usual(d),
            };
            let trainer = grouped(d, builder).on_cpu();
            let used = trainer.and_then(|mut trainer| {
                train::used(d, &mut trainer)?;
                match d.flag() {
                    true => trainer.rebuild(|builder| grouped(d, builder))?,
                    false => block_on(trainer.rebuild_async(|builder| grouped(d, builder)))?,
                }
                train::used(d, &mut trainer)
            });
            used.is_ok()
        }),
    ]
}

/// A builder with some more of what is learned.
pub fn grouped(d: &mut Draw, mut builder: TrainerBuilder) -> TrainerBuilder {
    for _ in 0..d.below(4) {
        builder = match d.below(6) {
            0 => builder.freeze(pattern(d)),
            1 => builder.unfreeze(pattern(d)),
            2 if d.is_hostile() => builder.freeze_statistics(pattern(d)),
            2 => builder.unfreeze_statistics("*.running_mean"),
            3 => builder.no_decay_on_biases_and_norms(),
            _ => builder.group(group(d)),
        };
    }
    builder
}

fn group(d: &mut Draw) -> Group {
    let mut group = Group::new(pattern(d));
    for _ in 0..d.below(3) {
        group = match d.below(7) {
            0 => group.learning_rate(d.real()),
            1 => group.rate_factor(d.real()),
            2 => group.weight_decay(d.real()),
            3 => group.momentum(d.real()),
            4 => group.betas([d.real(), d.real()]),
            5 => group.epsilon(d.real()),
            _ => group.optimizer(op::optimizer(d)),
        };
    }
    group
}

/// A pattern that mostly means something.
fn pattern(d: &mut Draw) -> Pattern {
    match d.below(6) {
        _ if d.is_hostile() => text(d).into(),
        0 => "0.weight".into(),
        1 => "*.bias".into(),
        2 => "0.*".into(),
        3 => (|name: &str| name.ends_with('t')).into(),
        _ => "*".into(),
    }
}

/// A pattern, or a name.
fn text(d: &mut Draw) -> String {
    let letter = |d: &mut Draw| d.pick(&['a', '0', '.', '*', 'é', '\0']);
    let len = if d.is_hostile() { 1000 } else { d.below(6) };
    (0..len).map(|_| letter(d)).collect()
}
