//! A checkpoint of one device goes on on another, within rounding.

use super::*;

fn values(trainer: &Trainer) -> Vec<(String, Vec<f32>)> {
    let names = trainer
        .model()
        .parameters()
        .map(|(name, _)| name.to_owned());
    names
        .map(|name| (name.clone(), trainer.parameter(&name).unwrap()))
        .collect()
}

#[track_caller]
fn assert_near(what: &str, got: &Trainer, expected: &Trainer) {
    for ((name, got), (_, expected)) in values(got).iter().zip(&values(expected)) {
        for (got, expected) in got.iter().zip(expected) {
            let within = 2e-4 * (1.0 + expected.abs());
            assert!(
                (got - expected).abs() < within,
                "{what}, {name}: {got} for {expected}"
            );
        }
    }
}

/// Adam divides by what may be next to nothing: SGD's numbers say more.
fn setup() -> Setup {
    Setup::of(&[
        Feature::Momentum,
        Feature::Dropout,
        Feature::StochasticDepth,
        Feature::Accumulate,
        Feature::PartialBatch,
        Feature::SeveralLosses,
        Feature::Clip,
        Feature::BatchNorm,
    ])
}

#[test]
fn a_checkpoint_goes_on_on_other_devices_and_layouts() {
    const BEFORE: usize = 5; // within an update
    let setup = setup();
    let mut places: Vec<(&str, Place, u64)> = vec![("the CPU", Place::Cpu, u64::MAX)];
    for (name, place) in gpu_places() {
        places.push((name, place, u64::MAX));
        places.push((name, place, 400));
    }
    let make = |(_, place, slab): (&str, Place, u64), builder: TrainerBuilder| {
        place.make(builder.max_slab(slab)).unwrap()
    };
    let froms = places.iter().take(2).copied();
    for from in froms {
        let mut begun = make(from, setup.builder());
        (0..BEFORE).for_each(|step| setup.step(&mut begun, step));
        let bytes = begun.checkpoint_bytes().unwrap();
        (BEFORE..STEPS).for_each(|step| setup.step(&mut begun, step));
        for &to in &places {
            let what = format!("{} to {}, {}", from.0, to.0, to.2);
            let mut resumed = make(to, setup.builder().resume_bytes(bytes.clone()));
            assert_eq!(resumed.batches(), BEFORE as u64, "{what}");
            assert_eq!(
                resumed.checkpoint_bytes().unwrap().len(),
                bytes.len(),
                "{what}"
            );
            (BEFORE..STEPS).for_each(|step| setup.step(&mut resumed, step));
            assert_near(&what, &resumed, &begun);
        }
    }
}
