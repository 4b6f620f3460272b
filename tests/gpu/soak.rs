//! The first of the random models that the example `soak` trains by thousands, and that what draws and
//! compares them leaves nothing out.

use std::collections::BTreeSet;
use std::mem::discriminant;

use wgpu_cnn::engine::catalogue::{cases, losses, optimizers};
use wgpu_cnn::{
    Activation, AvgPool2d, BatchNorm, Conv2d, Linear, Loss, MaxPool2d, Model, Op, Optimizer,
    Reduction, Softmax,
};

use crate::common::poisoned_gpus;
use crate::random_models::{self, Batch, Drawn, Fill, Layer, Network, Outcome, Tally, reduce};

/// Models that are trained here.
const FIRST: u64 = 20;
/// Models that are only drawn.
const DRAWN: u64 = 600;

#[test]
fn the_first_random_models_train_on_the_gpu_as_on_the_cpu() {
    // Each model on one of the two sets of cores.
    let gpus: Vec<_> = poisoned_gpus().collect();
    let (mut sum, mut set_aside) = (Tally::default(), Vec::new());
    for (seed, (device, gpu)) in (0..FIRST).zip(gpus.iter().cycle()) {
        let drawn = Drawn::new(seed);
        match random_models::run(&drawn, gpu) {
            Outcome::Equal(tally) => sum.add(&tally),
            Outcome::SetAside(reason) => set_aside.push(reason),
            Outcome::Differs(reason) => panic!("{device}: {reason}\n{drawn}"),
        }
    }
    assert!(set_aside.len() <= 2, "{set_aside:?}");
    let Tally {
        compared,
        not_zero,
        sharp,
        ..
    } = sum;
    assert!(gpus.is_empty() || compared > 500, "{sum:?}");
    assert!(
        2 * not_zero >= compared && 3 * sharp >= 2 * not_zero,
        "{sum:?}"
    );
}

/// A new operator is drawn from its cases; this says so if it is not.
#[test]
fn every_operator_optimizer_loss_and_option_is_drawn() {
    let drawn: Vec<Drawn> = (0..DRAWN).map(Drawn::new).collect();
    let operators = drawn.iter().flat_map(|drawn| drawn.network.operators());
    let operators: BTreeSet<&str> = operators.collect();
    let cases = cases();
    let needed: BTreeSet<&str> = cases.iter().map(|case| case.op.name()).collect();
    let (missing, few): (Vec<_>, _) = (needed.difference(&operators).collect(), drawn.len());
    assert!(missing.is_empty(), "not among {few} models: {missing:?}");
    for (name, optimizer) in optimizers() {
        assert!(
            drawn.iter().any(|drawn| drawn.optimizer == optimizer),
            "{name}"
        );
    }
    let rows = Model::builder([2]).dense(3).build().unwrap();
    for (_, loss) in losses(&rows) {
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::BatchMean] {
            let is_it = |drawn: &&Drawn| {
                discriminant(&drawn.loss) == discriminant(&loss)
                    && drawn.loss == drawn.loss.clone().reduction(reduction)
            };
            assert!(
                drawn.iter().any(|drawn| is_it(&drawn)),
                "{loss:?}, {reduction:?}"
            );
        }
    }
    type Has = fn(&Drawn) -> bool;
    let options: [(&str, Has); 10] = [
        ("accumulate", |drawn| drawn.accumulate > 1),
        ("clip_norm", |drawn| drawn.clip_norm.is_some()),
        ("max_slab", |drawn| drawn.max_slab.is_some()),
        ("in_flight", |drawn| drawn.in_flight == 1),
        ("a batch that is not full", |drawn| {
            drawn.batches.iter().any(|b| b.examples < drawn.batch)
        }),
        ("a learning rate that changes", |drawn| {
            drawn.batches.iter().any(|b| b.learning_rate.is_some())
        }),
        ("probabilities", |drawn| {
            drawn.batches.iter().any(|b| b.soft)
        }),
        (
            "an ignored label",
            |drawn| matches!(&drawn.loss, Loss::CrossEntropy(loss) if loss.ignored_label.is_some()),
        ),
        (
            "class weights",
            |drawn| matches!(&drawn.loss, Loss::CrossEntropy(loss) if loss.class_weights.is_some()),
        ),
        (
            "smoothing",
            |drawn| matches!(&drawn.loss, Loss::CrossEntropy(loss) if loss.label_smoothing > 0.0),
        ),
    ];
    for (name, has) in options {
        assert!(drawn.iter().any(has), "{name}");
    }
    let ranks: BTreeSet<usize> = drawn
        .iter()
        .filter_map(|drawn| Some(drawn.network.model().ok()?.input_shape().rank()))
        .collect();
    assert_eq!(ranks, BTreeSet::from([1, 2, 3]));
}

#[test]
fn a_seed_is_one_model() {
    for seed in 0..FIRST {
        assert_eq!(Drawn::new(seed).to_string(), Drawn::new(seed).to_string());
        assert_ne!(
            Drawn::new(seed).to_string(),
            Drawn::new(seed + 1).to_string()
        );
    }
}

/// A network with what the faults below are about.
fn sample() -> Drawn {
    let layers: [Op; 8] = [
        Conv2d::new(4, 3)
            .padding([1, 0, 2, 1])
            .stride([1, 2])
            .groups(2)
            .into(),
        BatchNorm::new().into(),
        Activation::LeakyRelu { slope: 0.1 }.into(),
        AvgPool2d::new(3).stride(2).padding(1).into(),
        MaxPool2d::new(2).stride(1).into(),
        wgpu_cnn::Flatten.into(),
        Linear::new(5).into(),
        Softmax::new().log(true).into(),
    ];
    let network = Network::Chain {
        input: [4, 8, 9].into(),
        layers: layers.map(Layer::One).into(),
    };
    let batch = |examples, learning_rate| Batch {
        examples,
        fill: Fill::Uniform,
        soft: false,
        learning_rate,
        update: false,
        predict: 3,
    };
    Drawn {
        seed: 5,
        network,
        batch: 6,
        loss: Loss::cross_entropy()
            .label_smoothing(0.1)
            .ignored_label(2)
            .into(),
        optimizer: Optimizer::sgd(0.1)
            .momentum(0.9)
            .dampening(0.5)
            .weight_decay(0.01)
            .into(),
        accumulate: 1,
        clip_norm: Some(0.5),
        max_slab: None,
        in_flight: 2,
        other_weights: true,
        batches: vec![batch(6, None), batch(2, None), batch(6, Some(0.05))],
    }
}

/// The sample with another layer in place of one.
fn replaced(at: usize, op: impl Into<Op>) -> Drawn {
    let mut other = sample();
    if let Network::Chain { layers, .. } = &mut other.network {
        layers[at] = Layer::One(op.into());
    }
    other
}

fn changed(change: impl Fn(&mut Drawn)) -> Drawn {
    let mut other = sample();
    change(&mut other);
    other
}

/// A GPU that trains a slightly different model stands for one that computes something else.
#[test]
fn every_seeded_fault_is_found() {
    let convolution = || Conv2d::new(4, 3).stride([1, 2]).groups(2);
    let sgd = || {
        Optimizer::sgd(0.1)
            .momentum(0.9)
            .dampening(0.5)
            .weight_decay(0.01)
    };
    let loss = |smoothing, ignored| {
        Loss::from(
            Loss::cross_entropy()
                .label_smoothing(smoothing)
                .ignored_label(ignored),
        )
    };
    let faults = [
        (
            "padding on the other side",
            replaced(0, convolution().padding([0, 1, 2, 1])),
        ),
        (
            "padding on the right side",
            replaced(0, convolution().padding([1, 0, 1, 2])),
        ),
        ("epsilon", replaced(1, BatchNorm::new().epsilon(1e-3))),
        (
            "momentum of statistics",
            replaced(1, BatchNorm::new().momentum(0.101)),
        ),
        ("slope", replaced(2, Activation::LeakyRelu { slope: 0.102 })),
        (
            "padding that counts",
            replaced(
                3,
                AvgPool2d::new(3)
                    .stride(2)
                    .padding(1)
                    .count_include_pad(false),
            ),
        ),
        (
            "a mean for a maximum",
            replaced(4, AvgPool2d::new(2).stride(1)),
        ),
        ("smoothing", changed(|drawn| drawn.loss = loss(0.1001, 2))),
        (
            "the ignored label",
            changed(|drawn| drawn.loss = loss(0.1, 3)),
        ),
        (
            "momentum",
            changed(|drawn| drawn.optimizer = sgd().momentum(0.901).into()),
        ),
        (
            "dampening",
            changed(|drawn| drawn.optimizer = sgd().dampening(0.501).into()),
        ),
        (
            "weight decay",
            changed(|drawn| drawn.optimizer = sgd().weight_decay(0.0101).into()),
        ),
        ("clipping", changed(|drawn| drawn.clip_norm = Some(0.5005))),
        ("accumulation", changed(|drawn| drawn.accumulate = 2)),
        ("initial weights", changed(|drawn| drawn.seed = 6)),
    ];
    let Some((device, gpu)) = poisoned_gpus().next() else {
        return;
    };
    let clean = random_models::run(&sample(), gpu);
    assert!(matches!(clean, Outcome::Equal(_)), "{device}: {clean:?}");
    for (fault, other) in faults {
        let outcome = random_models::run_unlike(&sample(), &other, gpu);
        println!("{fault}: {outcome:?}");
        assert!(
            matches!(outcome, Outcome::Differs(_)),
            "{fault}, {device}: {outcome:?}"
        );
    }
}

#[test]
fn a_model_that_fails_is_made_as_small_as_it_can_be() {
    let has_softmax = |drawn: &Drawn| {
        let mut operators = drawn.network.operators().into_iter();
        drawn.accumulate > 1 && operators.any(|name| name == "softmax")
    };
    let found = (0..DRAWN).map(Drawn::new).find(|drawn| {
        matches!(drawn.network, Network::Chain { .. })
            && drawn.network.operators().len() > 5
            && has_softmax(drawn)
    });
    let smaller = reduce(found.unwrap(), has_softmax);
    assert!(
        smaller.network.operators().len() <= 4 && smaller.accumulate > 1,
        "{smaller}"
    );
    assert!(
        smaller.batch == 1 && smaller.clip_norm.is_none() && smaller.batches.len() == 1,
        "{smaller}"
    );
}
