//! Cores chosen by measurement, and the file that keeps the choices.

use std::path::{Path, PathBuf};
use std::time::Duration;

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
fn gradients(trainer: Trainer) -> Vec<Vec<u32>> {
    gradients_of(trainer, BATCH)
}

fn gradients_of(mut trainer: Trainer, batch: usize) -> Vec<Vec<u32>> {
    let images = uniform(&mut random(1), batch * 2 * 81);
    trainer.step(&images, &[0u8, 1, 2][..batch]).unwrap();
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
        choose(&path, core);
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
    drop(builder(&path).on(gpu).unwrap());
    let core = "tiled-32"; // which the table takes for none of these on an adapter of subgroups of 8
    choose(&path, core);
    let preferring = Gpu::builder().prefer_core(core).build().unwrap();
    let untuned = Trainer::builder(model()).batch(BATCH).seed(3);
    let expected = gradients_of(untuned.on(&preferring).unwrap(), 2);
    assert_eq!(gradients_of(builder(&path).on(gpu).unwrap(), 2), expected);
}

/// Puts one core in place of all choices in a file.
fn choose(path: &Path, core: &str) {
    let mut contents = read(path);
    entries(&mut contents)
        .values_mut()
        .for_each(|entry| entry["core"] = core.into());
    std::fs::write(path, contents.to_string()).unwrap();
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

#[test]
fn several_trainings_share_a_file() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("shared");
    std::thread::scope(|scope| {
        let models = [3, 5, 7].map(|channels| {
            let model = Model::builder([1, 6, 6])
                .conv2d(channels, 3)
                .flatten()
                .dense(2);
            model.build().unwrap()
        });
        for model in models {
            let path = &path;
            let tuned = Trainer::builder(model).batch(2).autotune_file(path);
            scope.spawn(move || drop(tuned.on(gpu).unwrap()));
        }
    });
    // Nobody found half a file, and what was written last is a whole one.
    assert!(!entries(&mut read(&path)).is_empty());
}

#[test]
fn a_budget_is_refused_before_anything_is_measured() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("budget");
    let error = builder(&path).memory_budget(1000).on(gpu).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(!path.exists());
}

#[test]
fn what_no_time_is_left_for_is_left_to_the_table_and_measured_later() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("time");
    let at_once = || builder(&path).autotune_budget(Duration::ZERO);
    let untuned = Trainer::builder(model()).batch(BATCH).seed(3);
    let expected = gradients(untuned.on(gpu).unwrap());
    assert_eq!(gradients(at_once().on(gpu).unwrap()), expected);
    assert!(!path.exists(), "something was measured");
    drop(builder(&path).on(gpu).unwrap());
    let mut contents = read(&path);
    assert!(entries(&mut contents).len() >= 8);
    // What is known takes no time.
    choose(&path, "tiled-32");
    let preferring = Gpu::builder().prefer_core("tiled-32").build().unwrap();
    let untuned = Trainer::builder(model()).batch(BATCH).seed(3);
    let expected = gradients(untuned.on(&preferring).unwrap());
    assert_eq!(gradients(at_once().on(gpu).unwrap()), expected);
}

#[test]
fn half_precision_is_measured_with_what_is_stored_so() {
    let Some(gpu) = plain_gpu().filter(|gpu| gpu.has_half_precision()) else {
        return;
    };
    let path = file("half");
    let half = || builder(&path).half_precision(true);
    drop(half().on(gpu).unwrap());
    let mut contents = read(&path);
    let measured = entries(&mut contents);
    let count = |begin: &str, end: &str| {
        let fits = |key: &&String| key.starts_with(begin) && key.ends_with(end);
        measured.keys().filter(fits).count()
    };
    assert_eq!(count("conv2d_forward", "in f16, f16 to f16"), 1);
    assert_eq!(count("conv2d_forward", "in f32, f16 to f16"), 1); // of the images
    assert_eq!(count("conv2d_backward_input", "in f32, f16 to f32"), 1);
    assert_eq!(count("conv2d_backward_weight", "in f16, f32 to f32"), 1);
    assert_eq!(count("matmul", "in f16, f16 to f32"), 1);
    // Each has its core, and those that store f32 have their own.
    choose(&path, "tiled-32");
    let preferring = Gpu::builder().prefer_core("tiled-32").build().unwrap();
    let untuned = Trainer::builder(model()).batch(BATCH).seed(3);
    let expected = gradients(untuned.half_precision(true).on(&preferring).unwrap());
    assert_eq!(gradients(half().on(gpu).unwrap()), expected);
    drop(builder(&path).on(gpu).unwrap());
    assert!(entries(&mut read(&path)).len() > measured.len());
}

#[test]
fn a_trainer_that_is_made_anew_keeps_its_choices() {
    let Some(gpu) = plain_gpu() else { return };
    let path = file("anew");
    let images = uniform(&mut random(1), BATCH * 2 * 81);
    let every = || builder(&path).checkpoint_every(1);
    let mut trainer = every().on(gpu).unwrap();
    let mut contents = read(&path);
    // Other choices than those that it has: they count for what is measured later, and for other trainers.
    let measured = entries(&mut contents);
    let changed = |entry: &mut Value| {
        let core = entry["core"].as_str().unwrap();
        let others = entry["milliseconds"].as_object().unwrap().keys();
        let other = others.into_iter().find(|name| *name != core).unwrap();
        entry["core"] = other.clone().into();
    };
    measured.values_mut().for_each(changed);
    std::fs::write(&path, contents.to_string()).unwrap();
    trainer.step(&images, &[0u8, 1, 2]).unwrap();
    trainer.rebuild(|builder| builder.freeze("0.bias")).unwrap();
    trainer.step(&images, &[0u8, 1, 2]).unwrap();
    trainer.recover(gpu).unwrap();
    assert_eq!(read(&path), contents, "something was measured again");
    // Without a file, nothing is known of the choices: all would be measured.
    std::fs::remove_file(&path).unwrap();
    trainer.rebuild(|builder| builder.unfreeze("*")).unwrap();
    trainer.recover(gpu).unwrap();
    assert!(!path.exists(), "something was measured again");
    trainer.rebuild(|builder| builder.batch(BATCH - 1)).unwrap();
    let mut contents = read(&path);
    let new = entries(&mut contents)
        .keys()
        .filter(|key| key.contains(" 2x"));
    assert!(new.count() > 0, "another batch has shapes of its own");
    trainer
        .rebuild(|builder| builder.autotune_file(&path))
        .unwrap();
}
