//! Everything that there is to test, in one place: what tests, benches and the verifier share, so that
//! none of them keeps a list of its own.

mod models;

pub use super::compare::{Worst, meaningful, off, worst};
pub use super::operators::{Case, cases};
pub use super::tolerance::of_sum;
pub use models::{ModelCase, models};

use crate::op::Reduction;
use crate::{Loss, Model, Optimizer, Shape};

/// A loss of every kind of kernel that fits a model's output.
pub fn losses(model: &Model) -> Vec<(&'static str, Loss)> {
    losses_of(model.output_shape())
}

/// The same for an output of this shape.
pub(super) fn losses_of(output: &Shape) -> Vec<(&'static str, Loss)> {
    let classes = output.len();
    let weights = (0..classes).map(|class| 0.5 + (class % 4) as f32 / 2.0);
    let weighted = Loss::cross_entropy()
        .class_weights(weights.collect::<Vec<f32>>())
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
    let fits = |(_, loss): &(_, Loss)| {
        let is_zero = classes == 1 && matches!(loss, Loss::CrossEntropy(_));
        !is_zero && loss.geometry(1, output).is_ok()
    };
    all.into_iter().filter(fits).collect()
}

/// An optimizer of every kind of kernel.
pub fn optimizers() -> [(&'static str, Optimizer); 9] {
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

/// A loss in reports: on probabilities or values if `soft`, else on labels.
pub(super) fn loss_name(loss: &Loss, output: &Shape, soft: bool) -> String {
    let losses = losses_of(output);
    let known = losses.iter().find(|(_, other)| other == loss);
    let name = known.map_or("the trainer's own", |(name, _)| name);
    match (loss, soft) {
        (Loss::CrossEntropy(_), true) => format!("loss ({name}, probabilities)"),
        (Loss::CrossEntropy(_), false) => format!("loss ({name}, labels)"),
        (Loss::MeanSquaredError(_) | Loss::BinaryCrossEntropy(_), _) => format!("loss ({name})"),
    }
}

/// An optimizer in reports.
pub(super) fn optimizer_name(optimizer: &Optimizer, clipped: bool) -> String {
    let optimizers = optimizers();
    let known = optimizers.iter().find(|(_, other)| other == optimizer);
    let name = known.map_or("the trainer's own", |(name, _)| name);
    let clipped = if clipped { ", clipped" } else { "" };
    format!("optimizer ({name}{clipped})")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::operators::{Gradients, Kept, Mode, Saved, Site, operator};
    use crate::op::{Activation, GlobalPool};

    fn names<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        names.collect()
    }

    #[test]
    fn every_operator_has_cases_that_build() {
        for (operator, cases) in crate::engine::operators::cases_by_operator() {
            assert!(!cases.is_empty(), "{operator} has no case");
            for case in cases {
                let model = case.model();
                assert!(model.is_ok(), "{operator}, {}: {model:?}", case.name);
            }
        }
    }

    #[test]
    fn every_function_and_every_kind_of_pool_has_a_case() {
        let cases = cases();
        let of_cases = names(cases.iter().map(|case| case.op.name()));
        let functions = Activation::ALL.iter().map(|function| function.name());
        let pools = GlobalPool::ALL.map(crate::Op::from);
        let needed: BTreeSet<&str> = functions.chain(pools.iter().map(|p| p.name())).collect();
        assert!(needed.is_subset(&of_cases), "{:?}", &needed - &of_cases);
    }

    /// What is handed on as it is has no kernel, and so no check of its own.
    #[test]
    fn what_is_handed_on_is_what_the_reference_computes() {
        for case in cases() {
            let model = case.model().unwrap();
            let (graph, op) = (&model.graph, operator::<f64>(&case.op));
            let mut nodes = graph.nodes().iter();
            let node = nodes.find(|node| node.name == "operator").unwrap();
            let values = |len: usize, by: usize| -> Vec<f64> {
                (0..len)
                    .map(|i| ((i * by) % 23) as f64 / 8.0 - 1.3)
                    .collect()
            };
            let lens = |shapes: Vec<&crate::Shape>| -> Vec<usize> {
                shapes
                    .iter()
                    .map(|shape| case.batch * shape.len())
                    .collect()
            };
            let x: Vec<_> = lens(graph.input_shapes(node))
                .into_iter()
                .map(|len| values(len, 7))
                .collect();
            let of = node
                .parameters
                .iter()
                .map(|&id| graph.parameter(id).shape.len());
            let parameters: Vec<_> = of.map(|len| vec![0.5; len]).collect();
            let x: Vec<&[f64]> = x.iter().map(Vec::as_slice).collect();
            let parameters: Vec<&[f64]> = parameters.iter().map(Vec::as_slice).collect();
            let name = format!("{}, {}", case.op.name(), case.name);
            let run = |mode: Mode| {
                let site = Site::new(graph, node, case.batch, mode);
                let (mut y, mut kept) = (vec![f64::NAN; site.len()], Kept::default());
                op.forward(&site, &x, &parameters, &mut y, &mut kept)
                    .unwrap();
                (site, y, kept)
            };
            let definition = case.op.definition();
            if definition.is_identity_in_evaluation() || definition.is_view() {
                assert_eq!(
                    run(Mode::Evaluation).1,
                    x[0],
                    "{name}: the input is not handed on"
                );
            }
            let (site, y, kept) = run(Mode::Training);
            let handed_on: Vec<bool> = (0..x.len())
                .map(|input| op.hands_gradient_on(&site, input))
                .collect();
            if !handed_on.contains(&true) {
                continue;
            }
            let gy = values(y.len(), 5);
            let mut gx: Vec<_> = x.iter().map(|x| vec![f64::NAN; x.len()]).collect();
            let mut places = Gradients {
                inputs: gx.iter_mut().map(|gx| Some(&mut gx[..])).collect(),
                parameters: parameters.iter().map(|_| None).collect(),
            };
            let saved = Saved {
                x: x.clone(),
                parameters: parameters.clone(),
                y: &y,
                kept: &kept,
            };
            op.backward(&site, &saved, &gy, &mut places).unwrap();
            for (gx, _) in gx.iter().zip(handed_on).filter(|&(_, handed_on)| handed_on) {
                assert_eq!(*gx, gy, "{name}: the gradient is not handed on");
            }
        }
    }
}
