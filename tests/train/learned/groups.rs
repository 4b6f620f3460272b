//! Groups of parameters with hyper-parameters of their own.

use super::*;
use wgpu_cnn::{Group, Optimizer, Pattern, cpu};

/// What each parameter's optimizer is, by the first pattern that means it.
type Settings = Vec<(&'static str, Optimizer)>;

/// Trains some steps, and holds each update to that of the reference with the same gradient.
fn hold(what: &str, trainer: &mut Trainer, settings: &Settings, exact: bool) {
    let own = |name: &str| {
        let mut meant = settings
            .iter()
            .filter(|(names, _)| Pattern::from(*names).matches(name));
        meant
            .next()
            .unwrap_or_else(|| panic!("{name} has no optimizer"))
            .1
    };
    let learned: Vec<String> = names(trainer)
        .into_iter()
        .filter(|name| !name.contains("running"))
        .collect();
    let mut states: Vec<Vec<Vec<f32>>> = Vec::new();
    for name in &learned {
        let len = trainer.parameter(name).unwrap().len();
        states.push(vec![vec![0.0; len]; own(name).state_slots()]);
    }
    for step in 1..5 {
        let before: Vec<_> = learned
            .iter()
            .map(|name| trainer.parameter(name).unwrap())
            .collect();
        steps(trainer, step..step + 1);
        for ((name, mut expected), state) in learned.iter().zip(before).zip(&mut states) {
            let gradient = trainer.gradient(name).unwrap();
            cpu::optimizer_update(&own(name), step, &mut expected, &gradient, state).unwrap();
            let got = trainer.parameter(name).unwrap();
            let of = format!("{what}, step {step}: {name}");
            if exact {
                assert_eq!(bits(&got), bits(&expected), "{of}");
            }
            let off = got
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(off < 2e-6, "{of} is off by {off}");
        }
    }
}

#[test]
fn every_parameter_is_updated_by_its_own_hyper_parameters() {
    let sgd = Optimizer::sgd(0.1).momentum(0.9).weight_decay(0.01);
    let by_hyper = builder()
        .optimizer(sgd)
        .group(Group::new("layer1.*").rate_factor(0.5))
        .group(Group::new("fc.*").learning_rate(0.25).momentum(0.0))
        .group(Group::new("stem.*").learning_rate(0.0))
        .no_decay_on_biases_and_norms();
    let no_decay = |optimizer: wgpu_cnn::Sgd| Optimizer::from(optimizer.weight_decay(0.0));
    let rate = |learning_rate| wgpu_cnn::Sgd {
        learning_rate,
        ..sgd
    };
    let of_hyper: Settings = vec![
        ("layer1.conv.weight", rate(0.05).into()),
        ("layer1.*", no_decay(rate(0.05))),
        ("fc.weight", rate(0.25).momentum(0.0).into()),
        ("fc.bias", no_decay(rate(0.25).momentum(0.0))),
        ("stem.conv.weight", rate(0.0).into()),
        ("stem.*", no_decay(rate(0.0))),
        ("layer2.conv.weight", sgd.into()),
        ("*", no_decay(sgd)),
    ];
    let adam = Optimizer::adamw(0.01);
    let by_kind = builder()
        .optimizer(adam)
        .group(Group::new("*.bn.*").betas([0.5, 0.75]).epsilon(1e-3))
        .group(Group::new("fc.*").optimizer(Optimizer::rmsprop(0.02).centered(true).momentum(0.5)))
        .group(Group::new(|name: &str| name == "fc.bias").rate_factor(2.0));
    let rms = Optimizer::rmsprop(0.02).centered(true).momentum(0.5);
    let of_kind: Settings = vec![
        ("*.bn.*", adam.betas([0.5, 0.75]).epsilon(1e-3).into()),
        ("fc.weight", rms.into()),
        ("fc.bias", rms.into()),
        ("*", adam.into()),
    ];
    for (builder, settings) in [(by_hyper, of_hyper), (by_kind, of_kind)] {
        for (device, mut trainer) in trainers(&builder) {
            hold(device, &mut trainer, &settings, device == "cpu");
        }
    }
}

/// The base moves what has a factor of it, and nothing else.
#[test]
fn the_learning_rate_is_the_base_of_factors() {
    let builder = builder()
        .optimizer(Optimizer::sgd(1.0))
        .group(Group::new("layer1.*").rate_factor(0.5))
        .group(Group::new("fc.*").learning_rate(0.25));
    for (device, mut trainer) in trainers(&builder) {
        trainer.set_learning_rate(0.5).unwrap();
        assert_eq!(trainer.learning_rate(), 0.5);
        let settings = vec![
            ("layer1.*", Optimizer::sgd(0.25).into()),
            ("fc.*", Optimizer::sgd(0.25).into()),
            ("*", Optimizer::sgd(0.5).into()),
        ];
        hold(device, &mut trainer, &settings, device == "cpu");
        assert_error(
            trainer.set_learning_rate(f64::INFINITY),
            "argument",
            &["learning rate"],
        );
        assert_eq!(trainer.learning_rate(), 0.5);
        hold_nothing_moved(&mut trainer);
    }
}

fn hold_nothing_moved(trainer: &mut Trainer) {
    trainer.set_learning_rate(0.0).unwrap();
    let of = |trainer: &Trainer, name| trainer.parameter(name).unwrap();
    let before = ["stem.conv.weight", "layer1.conv.weight", "fc.weight"]
        .map(|name| (name, of(trainer, name)));
    steps(trainer, 9..10);
    for (name, before) in before {
        assert_eq!(of(trainer, name) == before, name != "fc.weight", "{name}");
    }
}

/// Groups that change nothing are no groups: the same bits, and the same dispatches.
#[test]
fn parameters_of_equal_settings_lie_together() {
    let Some(gpu) = plain_gpu() else { return };
    let usual = builder()
        .optimizer(Optimizer::sgd(0.1).momentum(0.9))
        .clip_norm(0.5);
    let same = usual
        .clone()
        .group(Group::new("layer1.*").rate_factor(1.0).momentum(0.9))
        .group(Group::new("fc.*").rate_factor(0.5).rate_factor(1.0))
        .no_decay_on_biases_and_norms();
    let other = usual
        .clone()
        .group(Group::new("layer1.*").rate_factor(0.5))
        .group(Group::new("fc.*").rate_factor(0.5))
        .group(Group::new("stem.*").weight_decay(0.5));
    let run = |builder: &TrainerBuilder| {
        let mut trainer = builder.clone().on(gpu).unwrap();
        steps(&mut trainer, 0..3);
        let (x, y) = batch(0);
        let profile = trainer.profile(&x, &y[..]).unwrap();
        let updates = profile.entries.iter();
        let updates = updates.filter(|entry| entry.kernel == "optimizer_sgd");
        (crate::common::state(&trainer), updates.count())
    };
    let (expected, updates) = run(&usual);
    assert_eq!((run(&same), updates), ((expected, 1), 1));
    assert_eq!(run(&other).1, 3);
}

/// Everything that changes how parameters lie and are updated, together; the kernels are held to the
/// reference by `verify`, and the training to the CPU.
#[test]
fn groups_with_all_that_changes_how_parameters_lie() {
    let full = builder()
        .optimizer(Optimizer::sgd(0.1).momentum(0.9).weight_decay(0.1))
        .clip_norm(0.5)
        .accumulate(2)
        .freeze("layer1.bn.*")
        .freeze("stem.conv.*")
        .freeze_statistics("layer2.*")
        .group(Group::new("fc.*").learning_rate(0.05))
        .no_decay_on_biases_and_norms();
    let expected = &mut full.clone().on_cpu().unwrap();
    steps(expected, 0..6);
    for (device, gpu) in poisoned_gpus() {
        for (half, slab) in [(false, 480), (true, u64::MAX)] {
            if half && !gpu.has_half_precision() {
                continue;
            }
            let what = format!("{device}, half {half}, slabs of {slab}");
            let builder = full.clone().max_slab(slab).half_precision(half);
            let trainer = &mut builder.on(gpu).unwrap();
            let report = trainer.verify().unwrap();
            assert!(report.passed(), "{what}: {report}");
            steps(trainer, 0..6);
            for name in names(trainer) {
                let most = if half { 2e-2 } else { 1e-4 };
                let off = off(trainer, expected, &name);
                assert!(off < most, "{what}: {name} is off by {off}");
            }
        }
    }
}

#[test]
fn groups_that_cannot_be_are_refused() {
    let on_cpu = |group: Group| builder().group(group).on_cpu().map(|_| ());
    let refused = [
        (Group::new("head.*"), &["group \"head.*\"", "fc.weight"][..]),
        (
            Group::new("fc.*").momentum(0.5),
            &["momentum of fc.weight", "none of this optimizer's"],
        ),
        (Group::new("fc.*").learning_rate(-1.0), &["learning rate"]),
        (Group::new("fc.*").rate_factor(-1.0), &["rate_factor"]),
        (Group::new("fc.*").rate_factor(f64::NAN), &["rate_factor"]),
        (Group::new("fc.*").rate_factor(1e300), &["learning rate"]),
        (
            Group::new("fc.*").weight_decay(f64::INFINITY),
            &["weight decay"],
        ),
        (Group::new("fc.*").betas([0.5, 1.0]), &["beta 2"]),
        (Group::new("fc.*").epsilon(-1.0), &["epsilon"]),
    ];
    for (group, words) in refused {
        assert_error(on_cpu(group), "argument", words);
    }
    // Of the same hyper-parameter the last one counts.
    on_cpu(Group::new("fc.*").rate_factor(f64::NAN).learning_rate(1.0)).unwrap();
}
