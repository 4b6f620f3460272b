//! Frozen parameters and statistics.

use super::*;
use wgpu_cnn::Optimizer;

/// What is frozen stays to the bit, statistics move, all else is as it is where all of it is learned: in the
/// first step the gradients of what is learned are those of a trainer that learns everything.
#[test]
fn what_is_frozen_stays_and_the_rest_learns_as_ever() {
    let usual = builder().optimizer(Optimizer::adamw(0.05).weight_decay(0.1));
    for pattern in ["layer2.*", "stem.*", "layer1.conv.weight", "*.bn.*"] {
        let frozen = usual.clone().freeze(pattern);
        for ((device, mut all), (_, mut some)) in
            trainers(&usual).into_iter().zip(trainers(&frozen))
        {
            let what = format!("{device}, {pattern}");
            let start = usual.clone().on_cpu().unwrap();
            steps(&mut all, 0..1);
            steps(&mut some, 0..1);
            let pattern = wgpu_cnn::Pattern::from(pattern);
            for name in names(&all) {
                let of = format!("{what}: {name}");
                if name.contains("running") {
                    assert_ne!(
                        some.parameter(&name).unwrap(),
                        start.parameter(&name).unwrap(),
                        "{of}"
                    );
                    continue;
                }
                if !pattern.matches(&name) {
                    let [a, b] = [&all, &some].map(|trainer| trainer.gradient(&name).unwrap());
                    assert!(a.iter().any(|&g| g != 0.0), "{of}");
                    let largest = a.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
                    let off = a
                        .iter()
                        .zip(&b)
                        .map(|(a, b)| (a - b).abs())
                        .fold(0.0, f32::max);
                    assert!(off <= 1e-5 * largest, "{of} is off by {off} of {largest}");
                    assert!(super::off(&some, &all, &name) < 1e-4, "{of}");
                    continue;
                }
                assert_eq!(
                    some.parameter(&name).unwrap(),
                    start.parameter(&name).unwrap(),
                    "{of}"
                );
                assert_error(some.gradient(&name), "argument", &["is frozen"]);
            }
        }
    }
}

/// The memory of a trainer whose trunk is frozen has no gradient and no state for it, and nothing is
/// computed backwards for it.
#[test]
fn a_frozen_trunk_takes_no_memory_and_no_kernels() {
    let Some(gpu) = plain_gpu() else { return };
    let usual = builder().optimizer(Optimizer::adam(0.1));
    let frozen = usual.clone().freeze("*").unfreeze("fc.*");
    let [all, head] = [&usual, &frozen].map(|builder| builder.memory(gpu).unwrap());
    let bytes = |memory: wgpu_cnn::MemoryReport| (memory.gradients, memory.optimizer_state);
    let fc = 4 * (CLASSES as u64 * 5 + CLASSES as u64);
    let (gradients, state) = bytes(head);
    assert!(
        gradients >= fc && gradients < fc + 512 && state == 2 * gradients,
        "{head}"
    );
    assert!(
        bytes(all).0 > 2 * gradients && head.activations < all.activations,
        "{head}, {all}"
    );
    let mut trainer = frozen.on(gpu).unwrap();
    let (x, y) = batch(0);
    let profile = trainer.profile(&x, &y[..]).unwrap();
    let entries = profile.entries.iter();
    let backward = entries.filter(|entry| entry.kernel.contains("backward"));
    let layers: Vec<&str> = backward.map(|entry| entry.layer.as_str()).collect();
    assert_eq!(layers, [""; 0], "{profile}");
}

/// A frozen batch norm normalises with its running statistics, leaves them, and hands on the gradient of
/// that affine map: as the layer with the option, to the bit.
#[test]
fn frozen_statistics_are_those_of_the_layer_that_has_the_option() {
    let by_layer = || -> Result<Model> {
        let mut net = Model::graph();
        let x = net.input([2, 4, 4]);
        let y = net.add("conv", Conv2d::new(4, 3), [x])?;
        let y = net.add("bn", BatchNorm::new().frozen(true), [y])?;
        let y = net.apply(Flatten, [y])?;
        let y = net.add("fc", Linear::new(2), [y])?;
        net.build([y])
    };
    let layer = by_layer().unwrap();
    let of = |model: Model| {
        Trainer::builder(model)
            .batch(3)
            .optimizer(Optimizer::sgd(0.1).momentum(0.9))
    };
    let expected = of(layer.clone());
    let moving = expected.clone().unfreeze_statistics("bn.*");
    let frozen = moving.clone().freeze_statistics("bn.*");
    let x = uniform(&mut random(2), 3 * 32);
    let run = |trainer: &mut Trainer| {
        trainer
            .set_parameter("bn.running_mean", &[0.5, -0.25, 0.125, 1.0])
            .unwrap();
        trainer
            .set_parameter("bn.running_var", &[0.5, 2.0, 1.5, 0.25])
            .unwrap();
        for _ in 0..3 {
            trainer.step(&x, &[0u8, 1, 1]).unwrap();
        }
        crate::common::state(trainer)
    };
    let all = trainers(&expected)
        .into_iter()
        .zip(trainers(&frozen))
        .zip(trainers(&moving));
    for (((device, mut expected), (_, mut frozen)), (_, mut moving)) in all {
        assert_eq!(run(&mut expected), run(&mut frozen), "{device}");
        assert_ne!(run(&mut expected), run(&mut moving), "{device}");
        let mean = frozen.parameter("bn.running_mean").unwrap();
        assert_eq!(mean, [0.5, -0.25, 0.125, 1.0], "{device}");
    }
}

#[test]
fn what_cannot_be_meant_is_said() {
    let on_cpu = |builder: TrainerBuilder| builder.on_cpu().map(|_| ());
    assert_error(
        on_cpu(builder().freeze("layer3.*")),
        "argument",
        &[
            "freeze(\"layer3.*\")",
            "means no parameter to be learned",
            "layer1.conv.weight",
        ],
    );
    assert_error(
        on_cpu(builder().freeze("*.running_mean")),
        "argument",
        &["means no parameter to be learned"],
    );
    assert_error(
        on_cpu(builder().unfreeze(|name: &str| name.is_empty())),
        "argument",
        &["unfreeze(a function of names)"],
    );
    assert_error(
        on_cpu(builder().freeze_statistics("fc.*")),
        "argument",
        &[
            "freeze_statistics(\"fc.*\")",
            "means no running statistic",
            "stem.bn.running_var",
        ],
    );
    assert_error(
        on_cpu(builder().freeze("*")),
        "argument",
        &["every parameter is frozen"],
    );
    if let Some(gpu) = plain_gpu() {
        let all = builder().freeze("*");
        assert_error(all.memory(gpu), "argument", &["every parameter is frozen"]);
        assert_error(builder().freeze("?").memory(gpu), "argument", &["freeze"]);
    }
}
