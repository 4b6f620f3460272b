//! Everything that there is to test, in one place: what tests, benches and the verifier share, so that
//! none of them keeps a list of its own.

mod models;

pub use super::compare::{Worst, meaningful, off, worst};
pub use super::operators::{Case, cases};
pub use super::pipelines::{Pipeline, pipelines};
pub use super::tolerance::of_sum;
pub use models::{ModelCase, models};

use crate::gpu::strategy::Core;
use crate::{Loss, Model, Optimizer, Shape};

/// The names that [`GpuBuilder::prefer_core`](crate::GpuBuilder::prefer_core) takes.
pub fn cores() -> impl Iterator<Item = &'static str> {
    Core::ALL.into_iter().map(Core::name)
}

/// A loss of every kind of kernel that fits a model's output.
pub fn losses(model: &Model) -> Vec<(&'static str, Loss)> {
    losses_of(model.output_shape())
}

/// The same for an output of this shape.
pub(super) fn losses_of(output: &Shape) -> Vec<(&'static str, Loss)> {
    // Of other than rows, the classes lie along the first axis.
    let classes = output.first().copied().unwrap_or(1);
    let factors = |len: usize| -> Vec<f32> {
        let factors = (0..len).map(|at| 0.5 + (at % 4) as f32 / 2.0);
        factors.collect()
    };
    let of_channels: Vec<usize> = [&[classes][..], &vec![1; output.rank().max(1) - 1]].concat();
    let all: [(_, Loss); 13] = [
        (
            "cross-entropy",
            Loss::cross_entropy().ignored_label(-1).into(),
        ),
        (
            "weighted cross-entropy",
            Loss::cross_entropy()
                .class_weights(factors(classes))
                .label_smoothing(0.1)
                .into(),
        ),
        ("squared error", Loss::mean_squared_error()),
        ("binary cross-entropy", Loss::binary_cross_entropy().into()),
        (
            "weighted binary cross-entropy",
            Loss::binary_cross_entropy()
                .positive_weights(of_channels, factors(classes))
                .weights(output, factors(output.len()))
                .into(),
        ),
        (
            "negative log-likelihood",
            Loss::nll()
                .ignored_label(-1)
                .class_weights(factors(classes))
                .into(),
        ),
        ("l1", Loss::l1()),
        ("smooth l1", Loss::smooth_l1(0.5)),
        ("huber", Loss::huber(0.5)),
        ("kl divergence", Loss::kl_divergence()),
        ("dice", Loss::dice().ignored_label(-1).into()),
        ("dice, sigmoid", Loss::dice().sigmoid().into()),
        ("dice over the batch", Loss::dice().over_batch(true).into()),
    ];
    let fits = |(_, loss): &(_, Loss)| {
        // The softmax of a single class is 1, whatever its logit.
        let is_zero = classes == 1 && loss.has_softmax();
        !is_zero && loss.geometry(1, output).is_ok()
    };
    all.into_iter().filter(fits).collect()
}

/// An optimizer of every kind of kernel.
pub fn optimizers() -> [(&'static str, Optimizer); 14] {
    let sgd = Optimizer::sgd(0.1).weight_decay(0.01);
    let rmsprop = Optimizer::rmsprop(0.01).weight_decay(0.01);
    let adagrad = Optimizer::adagrad(0.01)
        .weight_decay(0.01)
        .learning_rate_decay(0.1);
    let nadam = Optimizer::nadam(0.01).weight_decay(0.01);
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
        ("adagrad", adagrad.initial_accumulator(0.1).into()),
        (
            "adadelta",
            Optimizer::adadelta(1.0).weight_decay(0.01).into(),
        ),
        ("nadam", nadam.into()),
        ("nadam, decoupled", nadam.decoupled(true).into()),
        ("lion", Optimizer::lion(0.001).weight_decay(0.01).into()),
    ]
}

/// A loss in reports: on probabilities or values if `soft`, else on labels.
pub(super) fn loss_name(loss: &Loss, output: &Shape, soft: bool) -> String {
    let losses = losses_of(output);
    let known = losses.iter().find(|(_, other)| other == loss);
    let name = known.map_or("the trainer's own", |(name, _)| name);
    match (loss.takes_labels() && loss.takes_values(), soft) {
        (true, true) => format!("loss ({name}, probabilities)"),
        (true, false) => format!("loss ({name}, labels)"),
        (false, _) => format!("loss ({name})"),
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
    use crate::engine::operators::{
        Gradients, Kept, Mode, Saved, Site, backward, forward, kernels,
    };
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
            let (graph, op) = (&model.graph, &case.op);
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
                forward(op, &site, &x, &parameters, &mut y, &mut kept).unwrap();
                (site, y, kept)
            };
            let definition = op.definition();
            if definition.is_identity_in_evaluation() || definition.is_view() {
                assert_eq!(
                    run(Mode::Evaluation).1,
                    x[0],
                    "{name}: the input is not handed on"
                );
            }
            let (site, y, kept) = run(Mode::Training);
            let handed_on: Vec<bool> = (0..x.len())
                .map(|input| kernels(op).hands_gradient_on(&site, input))
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
            backward(op, &site, &saved, &gy, &mut places).unwrap();
            for (gx, _) in gx.iter().zip(handed_on).filter(|&(_, handed_on)| handed_on) {
                assert_eq!(*gx, gy, "{name}: the gradient is not handed on");
            }
        }
    }
}
