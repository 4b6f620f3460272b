//! A training that was interrupted goes on with the bits of one that was not.

mod elsewhere;
pub mod setup;

use wgpu_cnn::{Gpu, Result, Trainer, TrainerBuilder};

use crate::common::{child, digest, poisoned_gpus, random};
use setup::{Feature, STEPS, Setup};

/// Where a trainer is made.
#[derive(Clone, Copy)]
enum Place {
    Cpu,
    Gpu(&'static Gpu),
}

impl Place {
    fn make(self, builder: TrainerBuilder) -> Result<Trainer> {
        match self {
            Self::Cpu => builder.on_cpu(),
            Self::Gpu(gpu) => builder.on(gpu),
        }
    }
}

fn gpu_places() -> impl Iterator<Item = (&'static str, Place)> {
    poisoned_gpus().map(|(name, gpu)| (name, Place::Gpu(gpu)))
}

/// Trains whole, and beside it a training that is interrupted before every step: what a checkpoint has is
/// compared after each.
fn goes_on_from_every_step(setup: &Setup, place: Place) {
    let new = || place.make(setup.builder());
    let mut whole = new().unwrap();
    let mut last = new().unwrap().checkpoint_bytes().unwrap();
    for step in 0..STEPS {
        let resumed = setup.builder().resume_bytes(last.clone());
        let mut resumed = place.make(resumed).unwrap();
        let again = resumed.checkpoint_bytes().unwrap();
        assert!(
            again == last,
            "{setup:?}: other bytes at once, before step {step}"
        );
        setup.step(&mut whole, step);
        setup.step(&mut resumed, step);
        last = resumed.checkpoint_bytes().unwrap();
        let expected = whole.checkpoint_bytes().unwrap();
        assert!(last == expected, "{setup:?}: other bytes after step {step}");
        assert_eq!(resumed.batches(), whole.batches());
    }
    assert!(whole.updates() > 1);
}

/// The features that a place has.
fn features(place: Place) -> impl Iterator<Item = Feature> {
    let on_gpu = matches!(place, Place::Gpu(_));
    Feature::ALL
        .into_iter()
        .filter(move |feature| on_gpu || !feature.is_for_gpus())
}

#[test]
fn every_feature_by_itself() {
    let places = [("the CPU", Place::Cpu)]
        .into_iter()
        .chain(gpu_places().take(1));
    for (_, place) in places {
        for feature in features(place) {
            goes_on_from_every_step(&Setup::of(&[feature]), place);
        }
    }
}

#[test]
fn pairs_of_features() {
    let mut rng = random(41);
    let gpus = gpu_places().zip([6, 3]);
    let gpus = gpus.map(|((_, place), count)| (place, count));
    for (place, count) in [(Place::Cpu, 40)].into_iter().chain(gpus) {
        let features: Vec<Feature> = features(place).collect();
        for _ in 0..count {
            let pair = [(); 2].map(|()| features[rng.usize(0..features.len())]);
            goes_on_from_every_step(&Setup::of(&pair), place);
        }
    }
}

/// Almost everything at once.
fn everything() -> Setup {
    Setup::of(&[
        Feature::AmsGrad,
        Feature::Dropout,
        Feature::StochasticDepth,
        Feature::Accumulate,
        Feature::PartialBatch,
        Feature::SeveralLosses,
        Feature::Clip,
        Feature::BatchNorm,
        Feature::Rate,
        Feature::Average,
    ])
}

const FILE: &str = "WGPU_CNN_TEST_CHECKPOINT";

/// A process of its own goes on from a file, on the CPU and on a GPU.
#[test]
fn another_process_goes_on_with_the_same_bits() {
    const BEFORE: usize = 5;
    let setup = everything();
    let places = || {
        [("cpu", Place::Cpu)]
            .into_iter()
            .chain(gpu_places().take(1).map(|(_, p)| ("gpu", p)))
    };
    let state = |trainer: &Trainer| {
        digest(&[trainer
            .checkpoint_bytes()
            .unwrap()
            .into_iter()
            .map(u32::from)
            .collect()])
    };
    if let Ok(stem) = std::env::var(FILE) {
        for (name, place) in places() {
            let builder = setup.builder().resume(format!("{stem}-{name}"));
            let mut trainer = place.make(builder).unwrap();
            (BEFORE..STEPS).for_each(|step| setup.step(&mut trainer, step));
            println!("{name} {}", state(&trainer));
        }
        return;
    }
    let stem = std::env::temp_dir().join(format!("wgpu-cnn-{}-checkpoint", std::process::id()));
    let stem = stem.display().to_string();
    let mut expected = Vec::new();
    for (name, place) in places() {
        let mut trainer = place.make(setup.builder()).unwrap();
        (0..BEFORE).for_each(|step| setup.step(&mut trainer, step));
        trainer.checkpoint(format!("{stem}-{name}")).unwrap();
        (BEFORE..STEPS).for_each(|step| setup.step(&mut trainer, step));
        expected.push(format!("{name} {}", state(&trainer)));
    }
    let test = "checkpoint::another_process_goes_on_with_the_same_bits";
    let output = child(test, &[(FILE, &stem)]);
    let said = String::from_utf8_lossy(&output.stdout);
    for (name, _) in places() {
        std::fs::remove_file(format!("{stem}-{name}")).unwrap();
    }
    for line in expected {
        assert!(
            said.lines().any(|said| said.contains(&line)),
            "{line} in {said}"
        );
    }
}
