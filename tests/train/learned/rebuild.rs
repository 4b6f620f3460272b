//! Trainers made anew in the midst of training, with something else frozen.

use std::collections::BTreeMap;

use super::*;
use crate::common::state;
use wgpu_cnn::{Group, Optimizer, cpu};

/// The optimizer's numbers and the count of updates of each parameter, as PyTorch keeps them.
#[derive(Default)]
struct Shadow(BTreeMap<String, (u64, Vec<Vec<f32>>)>);

impl Shadow {
    /// Holds the update of a step to the reference's, by each parameter's own count.
    fn step(&mut self, what: &str, trainer: &mut Trainer, optimizer: &Optimizer, seed: u64) {
        let names = names(trainer).into_iter();
        let names: Vec<String> = names.filter(|name| !name.contains("running")).collect();
        let of = |trainer: &Trainer, name: &str| trainer.parameter(name).unwrap();
        let before: Vec<_> = names.iter().map(|name| of(trainer, name)).collect();
        steps(trainer, seed..seed + 1);
        for (name, mut expected) in names.iter().zip(before) {
            let got = of(trainer, name);
            let Ok(gradient) = trainer.gradient(name) else {
                self.0.remove(name);
                assert_eq!(bits(&got), bits(&expected), "{what}: {name} is frozen");
                continue;
            };
            let slots =
                (0..optimizer.state_slots()).map(|slot| optimizer.initial_state(slot) as f32);
            let (count, kept) = self
                .0
                .entry(name.clone())
                .or_insert_with(|| (0, slots.map(|value| vec![value; got.len()]).collect()));
            *count += 1;
            cpu::optimizer_update(optimizer, *count, &mut expected, &gradient, kept).unwrap();
            let off = got
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(
                off < 4e-6,
                "{what}, update {count} of {name} is off by {off}"
            );
        }
    }
}

/// Each parameter goes on by its own count: what was learned before with the optimizer's numbers, what begins to be
/// learned as in a first update, and what was frozen in between anew.
#[test]
fn each_parameter_has_a_count_of_its_own() {
    let optimizers: [Optimizer; 6] = [
        Optimizer::adam(0.01).amsgrad(true).into(),
        Optimizer::sgd(0.1).momentum(0.9).dampening(0.5).into(),
        Optimizer::rmsprop(0.01).centered(true).momentum(0.5).into(),
        Optimizer::adagrad(0.1)
            .initial_accumulator(0.5)
            .learning_rate_decay(0.1)
            .into(),
        Optimizer::nadam(0.01).into(),
        Optimizer::adadelta(0.5).into(),
    ];
    for (at, optimizer) in optimizers.into_iter().enumerate() {
        let frozen = builder().optimizer(optimizer).freeze("*").unfreeze("fc.*");
        // GPUs differ in their products, of which no count is kept: each has a part of the optimizers.
        let gpus: Vec<_> = poisoned_gpus().collect();
        let one = gpus.into_iter().cycle().skip(at).take(1);
        for (device, mut trainer) in trainers_on(&frozen, one) {
            let what = format!("{device}, {optimizer:?}");
            let mut shadow = Shadow::default();
            (0..3).for_each(|seed| shadow.step(&what, &mut trainer, &optimizer, seed));
            trainer
                .rebuild(|builder| builder.unfreeze("layer2.*"))
                .unwrap();
            (3..5).for_each(|seed| shadow.step(&what, &mut trainer, &optimizer, seed));
            trainer
                .rebuild(|builder| builder.unfreeze("*").freeze("layer2.conv.*"))
                .unwrap();
            (5..7).for_each(|seed| shadow.step(&what, &mut trainer, &optimizer, seed));
            trainer.rebuild(|builder| builder.unfreeze("*")).unwrap();
            (7..9).for_each(|seed| shadow.step(&what, &mut trainer, &optimizer, seed));
            let count = |name: &str| shadow.0[name].0;
            let names = [
                "fc.bias",
                "layer2.bn.weight",
                "stem.bn.bias",
                "layer2.conv.weight",
            ];
            assert_eq!(names.map(count), [9, 6, 4, 2], "{what}");
        }
    }
}

/// Rebuilt without a change, or with the rest unfrozen, a trainer goes on with the same bits: in the midst of an
/// update, with clipping, and with dropout's masks.
#[test]
fn what_was_learned_before_goes_on_with_the_same_bits() {
    let model = || {
        let model = Model::builder([3, 6, 6]).conv2d(4, 3).batch_norm().relu();
        model
            .dropout(0.25)
            .flatten()
            .dense(CLASSES)
            .build()
            .unwrap()
    };
    let usual = Trainer::builder(model())
        .batch(BATCH)
        .optimizer(Optimizer::adam(0.01))
        .accumulate(2);
    for (device, mut whole) in trainers(&usual.clone().clip_norm(0.5)) {
        let mut rebuilt = match whole.gpu() {
            Some(gpu) => usual.clone().clip_norm(0.5).on(gpu).unwrap(),
            None => usual.clone().clip_norm(0.5).on_cpu().unwrap(),
        };
        for at in 0..6 {
            steps(&mut whole, at..at + 1);
            steps(&mut rebuilt, at..at + 1);
            rebuilt.rebuild(|builder| builder).unwrap();
            assert_eq!(state(&rebuilt), state(&whole), "{device}, after step {at}");
            assert_eq!(rebuilt.loss().unwrap(), whole.loss().unwrap(), "{device}");
        }
    }
    let head = usual.freeze("0.*").accumulate(1);
    for ((device, mut frozen), (_, mut thawed)) in trainers(&head).into_iter().zip(trainers(&head))
    {
        for trainer in [&mut frozen, &mut thawed] {
            trainer.set_learning_rate(0.02).unwrap();
            steps(trainer, 0..3);
        }
        let trunk = Group::new("0.*").rate_factor(0.5);
        thawed
            .rebuild(|builder| builder.unfreeze("*").group(trunk))
            .unwrap();
        assert_eq!(thawed.learning_rate(), 0.02);
        for trainer in [&mut frozen, &mut thawed] {
            steps(trainer, 3..4);
        }
        for name in names(&frozen) {
            let [a, b] = [&frozen, &thawed].map(|trainer| bits(&trainer.parameter(&name).unwrap()));
            assert_eq!(a == b, !name.starts_with("0."), "{device}: {name}");
        }
    }
}

/// Another kind of optimizer starts anew; the rate that is set in the change is what counts.
#[test]
fn another_optimizer_starts_anew() {
    let adam = Optimizer::adam(0.01);
    let rms = Optimizer::from(Optimizer::rmsprop(0.02).momentum(0.5));
    for (device, mut trainer) in trainers(&builder().optimizer(adam)) {
        let mut shadow = Shadow::default();
        (0..2).for_each(|seed| shadow.step(device, &mut trainer, &adam.into(), seed));
        trainer.rebuild(|builder| builder.optimizer(rms)).unwrap();
        assert_eq!(trainer.learning_rate(), 0.02);
        let mut shadow = Shadow::default();
        (2..4).for_each(|seed| shadow.step(device, &mut trainer, &rms, seed));
    }
}

/// After an error the trainer is as it was.
#[test]
fn what_cannot_be_made_leaves_the_trainer() {
    let usual = builder().optimizer(Optimizer::adam(0.01)).accumulate(2);
    for ((device, mut trainer), (_, mut other)) in
        trainers(&usual).into_iter().zip(trainers(&usual))
    {
        for trainer in [&mut trainer, &mut other] {
            steps(trainer, 0..3);
        }
        let model = Model::builder([3, 6, 6]).flatten().dense(CLASSES).build();
        let elsewhere = Trainer::builder(model.unwrap());
        assert_error(trainer.rebuild(|_| elsewhere), "argument", &["same model"]);
        assert_error(
            trainer.rebuild(|b| b.freeze("*")),
            "argument",
            &["is frozen"],
        );
        assert_error(
            trainer.rebuild(|b| b.freeze("x")),
            "argument",
            &["freeze(\"x\")"],
        );
        let group = Group::new("fc.*").learning_rate(f64::NAN);
        assert_error(
            trainer.rebuild(|b| b.group(group)),
            "argument",
            &["learning rate"],
        );
        // Two batches make an update that is begun.
        assert_error(
            trainer.rebuild(|b| b.accumulate(3)),
            "argument",
            &["accumulate"],
        );
        assert_error(trainer.rebuild(|b| b.batch(0)), "argument", &["batch"]);
        for trainer in [&mut trainer, &mut other] {
            steps(trainer, 3..5);
        }
        assert_eq!(state(&trainer), state(&other), "{device}");
    }
}

/// A checkpoint has each parameter's own count, and what is kept for a loss of the device is the state of the
/// trainer that was made anew.
#[test]
fn a_checkpoint_goes_on_with_each_count() {
    let file = |name: &str| {
        let name = format!("rebuilt-{}-{name}.safetensors", std::process::id());
        std::env::temp_dir().join(name)
    };
    let (kept, written) = (file("kept"), file("written"));
    let all = builder().optimizer(Optimizer::nadam(0.01));
    let head = all.clone().freeze("*").unfreeze("fc.*");
    for (device, mut whole) in trainers(&head.checkpoint_every_to(5, &kept)) {
        steps(&mut whole, 0..3);
        whole
            .rebuild(|builder| builder.unfreeze("layer2.*"))
            .unwrap();
        let gpu = whole.gpu().cloned();
        let resume = |path| {
            let resumed = all
                .clone()
                .freeze("*")
                .unfreeze("fc.*")
                .unfreeze("layer2.*");
            match &gpu {
                Some(gpu) => resumed.resume(path).on(gpu).unwrap(),
                None => resumed.resume(path).on_cpu().unwrap(),
            }
        };
        if let Some(gpu) = &gpu {
            let before = state(&whole);
            assert_eq!(whole.recover(gpu).unwrap(), 3, "{device}");
            assert_eq!(state(&whole), before, "{device}");
        }
        steps(&mut whole, 3..5);
        whole.checkpoint(&written).unwrap();
        let mut resumed = resume(&written);
        let then = state(&resumed);
        for trainer in [&mut whole, &mut resumed] {
            steps(trainer, 5..7);
        }
        assert_eq!(state(&resumed), state(&whole), "{device}");
        // The file is written just before the sixth batch.
        assert_eq!(state(&resume(&kept)), then, "{device}");
    }
    for path in [kept, written] {
        std::fs::remove_file(path).unwrap();
    }
}
