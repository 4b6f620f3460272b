//! Cores chosen by measurement, and the file that keeps the choices.

use std::path::{Path, PathBuf};

use serde_json::Value;
use wgpu_cnn::{Conv2d, Error, Gpu, Model, Trainer, TrainerBuilder};

use crate::common::{bits, plain_gpu, random, uniform};

const BATCH: usize = 3;

fn model() -> Model {
    Model::builder([2, 9, 9])
        .push(Conv2d::new(5, 3).padding(1))
        .relu()
        .push(Conv2d::new(6, 3).stride(2))
        .flatten()
        .dense(4)
        .build()
        .unwrap()
}

/// A file of this test's own, absent at first.
fn file(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-autotune-{}", std::process::id()));
    let path = folder.join(format!("{name}.json"));
    let _ = std::fs::remove_file(&path);
    path
}

fn builder(path: &Path) -> TrainerBuilder {
    Trainer::builder(model())
        .batch(BATCH)
        .seed(3)
        .autotune_file(path)
}

/// The gradients of a step, as bits.
fn gradients(mut trainer: Trainer) -> Vec<Vec<u32>> {
    let mut rng = random(1);
    let images = uniform(&mut rng, BATCH * 2 * 81);
    trainer.step(&images, &[0u8, 1, 2]).unwrap();
    let names = trainer
        .model()
        .parameters()
        .map(|(name, _)| name.to_string());
    names
        .map(|name| bits(&trainer.gradient(&name).unwrap()))
        .collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The entries of the file's only adapter.
fn entries(file: &mut Value) -> &mut serde_json::Map<String, Value> {
    let adapters = file.as_object_mut().unwrap();
    assert_eq!(adapters.len(), 1);
    adapters
        .values_mut()
        .next()
        .unwrap()
        .as_object_mut()
        .unwrap()
}

fn named(gpu: &Gpu, file: &Value) -> bool {
    file.as_object()
        .unwrap()
        .keys()
        .any(|adapter| adapter.contains(&gpu.info().name))
}

#[test]
fn every_shape_is_measured_once_and_the_fastest_core_wins() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("measured");
    let tuned = gradients(builder(&path).on(gpu).unwrap());
    let mut contents = read(&path);
    assert!(named(gpu, &contents), "{contents}");
    let measured = entries(&mut contents);
    // Two convolutions and a dense layer, forward, and backward to the weights, and to the input of
    // all but the first.
    let count = |name: &str| measured.keys().filter(|key| key.starts_with(name)).count();
    assert_eq!(count("conv2d_forward 3x2x9x9 5x3x3"), 1);
    assert_eq!(count("conv2d_forward 3x5x9x9 6x3x3 stride 2x2"), 1);
    assert_eq!(
        [
            count("conv2d_backward_weight"),
            count("conv2d_backward_input")
        ],
        [2, 1]
    );
    assert_eq!(count("matmul"), 3);
    for (work, entry) in measured.iter() {
        let times = entry["milliseconds"].as_object().unwrap();
        assert!(times.len() >= 3, "{work}: {times:?}");
        let best = times
            .iter()
            .min_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap()));
        let core = entry["core"].as_str().unwrap();
        assert_eq!(times[core], *best.unwrap().1, "{work}");
        assert!(
            times.values().all(|time| time.as_f64().unwrap() > 0.0),
            "{work}"
        );
    }

    // Nothing is measured again, and the bits are the same.
    let before = std::fs::read(&path).unwrap();
    let again = gradients(builder(&path).on(gpu).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(again, tuned);

    let expected = gradients(
        Trainer::builder(model())
            .batch(BATCH)
            .seed(3)
            .on_cpu()
            .unwrap(),
    );
    for (got, expected) in tuned.iter().zip(&expected) {
        for (&got, &expected) in got.iter().zip(expected) {
            let (got, expected) = (f32::from_bits(got), f32::from_bits(expected));
            assert!((got - expected).abs() <= 1e-5, "{got} and {expected}");
        }
    }
}

#[test]
fn the_bits_are_those_of_the_cores_in_the_file() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("edited");
    drop(builder(&path).on(gpu).unwrap());
    for core in ["tiled-32", "tiled-128"] {
        let mut contents = read(&path);
        entries(&mut contents)
            .values_mut()
            .for_each(|entry| entry["core"] = core.into());
        std::fs::write(&path, contents.to_string()).unwrap();
        let from_file = gradients(builder(&path).on(gpu).unwrap());
        let preferring = Gpu::builder().prefer_core(core).build().unwrap();
        let untuned = Trainer::builder(model()).batch(BATCH).seed(3);
        assert_eq!(
            from_file,
            gradients(untuned.on(&preferring).unwrap()),
            "{core}"
        );
    }
}

#[test]
fn a_smaller_batch_runs_on_the_cores_of_the_planned_one() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("smaller");
    let mut trainer = builder(&path).on(gpu).unwrap();
    let before = std::fs::read(&path).unwrap();
    let images = uniform(&mut random(2), 2 * 81);
    trainer.step(&images, &[1u8]).unwrap();
    assert!(trainer.loss().unwrap().is_finite());
    assert_eq!(trainer.predict(&images).unwrap().len(), 4);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn files_that_cannot_be_used_are_errors_and_stay_as_they_are() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("broken");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    drop(builder(&path).on(gpu).unwrap());
    let mut unknown = read(&path);
    entries(&mut unknown)
        .values_mut()
        .for_each(|entry| entry["core"] = "fastest".into());
    let mut flat = read(&path);
    flat.as_object_mut()
        .unwrap()
        .values_mut()
        .for_each(|adapter| *adapter = 1.into());
    for contents in ["{", "[]", &unknown.to_string(), &flat.to_string()] {
        std::fs::write(&path, contents).unwrap();
        for error in [
            builder(&path).on(gpu).unwrap_err(),
            builder(&path).memory(gpu).unwrap_err(),
        ] {
            assert!(matches!(error, Error::File { .. }), "{contents}: {error}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), contents);
    }
    // A folder of a file's name cannot be written to.
    std::fs::remove_file(&path).unwrap();
    let beneath = path.join("choices.json");
    std::fs::write(&path, "").unwrap();
    let error = builder(&beneath).on(gpu).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error}");
}

#[test]
fn an_unknown_core_is_refused() {
    let error = Gpu::builder().prefer_core("warp").build().unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}
