//! What is no checkpoint, or that of another training, is an error and no more.

mod kept;

use serde_json::{Value, json};

use super::*;
use crate::{Conv2d, Linear, Loss, Losses, Model, Optimizer, Target};

fn model() -> Model {
    let model = Model::builder([2, 3, 3]).conv2d(3, 2).batch_norm().relu();
    model.dropout(0.3).flatten().dense(3).build().unwrap()
}

fn builder() -> TrainerBuilder {
    let builder = Trainer::builder(model()).batch(4).accumulate(3);
    builder.optimizer(Optimizer::adam(0.01)).seed(5)
}

fn step(trainer: &mut Trainer) {
    let x: Vec<f32> = (0..72)
        .map(|at| (at * 37 % 19) as f32 / 9.0 - 1.0)
        .collect();
    trainer.step(&x, [0u8, 1, 2, 1]).unwrap();
}

/// A checkpoint within an update.
fn checkpoint() -> Vec<u8> {
    let mut trainer = builder().on_cpu().unwrap();
    (0..5).for_each(|_| step(&mut trainer));
    trainer.set_note("epoch", "3");
    trainer.set_data_place([0u8, 255, 7]);
    trainer.checkpoint_bytes().unwrap()
}

fn header_end(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// The same with another header.
fn edited(bytes: &[u8], edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let end = header_end(bytes);
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    edit(&mut header);
    let header = header.to_string().into_bytes();
    let len = (header.len() as u64).to_le_bytes();
    [&len, &header[..], &bytes[end..]].concat()
}

/// The same with another text in the metadata.
fn saying(bytes: &[u8], name: &str, text: &str) -> Vec<u8> {
    edited(bytes, |header| header["__metadata__"][name] = json!(text))
}

/// The same with other progress.
fn having(bytes: &[u8], name: &str, value: Value) -> Vec<u8> {
    edited(bytes, |header| {
        let text = header["__metadata__"]["progress"].as_str().unwrap();
        let mut progress: Value = serde_json::from_str(text).unwrap();
        progress[name] = value;
        header["__metadata__"]["progress"] = json!(progress.to_string());
    })
}

#[track_caller]
fn refused(builder: TrainerBuilder, bytes: Vec<u8>, words: &[&str]) {
    match builder.resume_bytes(bytes).on_cpu() {
        Err(Error::File { reason, .. }) => {
            for word in words {
                assert!(reason.contains(word), "{word:?} is not in {reason:?}");
            }
        }
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn what_was_kept_comes_back() {
    let bytes = checkpoint();
    let mut resumed = builder()
        .seed(99)
        .resume_bytes(bytes.clone())
        .on_cpu()
        .unwrap();
    assert_eq!((resumed.batches(), resumed.updates()), (5, 1));
    assert_eq!(resumed.note("epoch"), Some("3"));
    assert_eq!(resumed.notes().collect::<Vec<_>>(), [("epoch", "3")]);
    assert_eq!(resumed.data_place(), [0, 255, 7]);
    assert!(resumed.loss().unwrap() > 0.0);
    assert!(
        resumed.gradient("0.weight").is_ok(),
        "that of the pending batches"
    );
    assert!(resumed.checkpoint_bytes().unwrap() == bytes);
    resumed.update().unwrap();
    let mut resumed = builder().resume_bytes(resumed.checkpoint_bytes().unwrap());
    // Between updates their batches may be others.
    resumed = resumed.accumulate(2);
    let mut resumed = resumed.on_cpu().unwrap();
    assert!(resumed.gradient("0.weight").is_err());
    step(&mut resumed);
    // The rate comes from the file, and may be set after that.
    let mut slower = builder().on_cpu().unwrap();
    slower.set_learning_rate(1.0 / 3.0).unwrap();
    let mut resumed = builder()
        .resume_bytes(slower.checkpoint_bytes().unwrap())
        .on_cpu()
        .unwrap();
    assert_eq!(resumed.learning_rate(), 1.0 / 3.0);
    resumed.set_learning_rate(0.5).unwrap();
    assert!(resumed.loss().is_err());
}

#[test]
fn weights_are_a_part_of_it_under_their_names() {
    let bytes = checkpoint();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let resumed = builder().resume_bytes(bytes.clone()).on_cpu().unwrap();
    for (name, shape) in resumed.model().parameters() {
        let tensor = tensors.tensor(name).unwrap();
        assert_eq!(tensor.shape(), &shape[..]);
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data());
        assert_eq!(values, resumed.parameter(name).unwrap());
    }
    let moments = tensors.tensor("optimizer/0.weight/1").unwrap();
    assert!(moments.data().iter().any(|&byte| byte != 0));
    assert!(tensors.tensor("pending/0.weight").is_ok());
    assert!(tensors.tensor("optimizer/1.running_mean/0").is_err());
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let bytes = checkpoint();
    let end = header_end(&bytes);
    for len in (0..end.min(80)).chain((80..bytes.len()).step_by(41)) {
        refused(builder(), bytes[..len].to_vec(), &[]);
    }
    refused(builder(), [&bytes[..], &[0]].concat(), &["header says"]);
    for at in (0..end).step_by(3) {
        for mask in [1, 0x10, 0x80] {
            let mut bytes = bytes.clone();
            bytes[at] ^= mask;
            // What is still a checkpoint of this training can be gone on from.
            if let Ok(mut trainer) = builder().resume_bytes(bytes).on_cpu() {
                step(&mut trainer);
            }
        }
    }
    for len in [u64::MAX, 1 << 40, 100_000_001, bytes.len() as u64] {
        let bytes = [&len.to_le_bytes()[..], &bytes[8..]].concat();
        refused(builder(), bytes, &["header"]);
    }
    let huge = edited(&bytes, |h| {
        h["0.weight"]["shape"] = json!([1u64 << 62, 1u64 << 62])
    });
    refused(builder(), huge, &["0.weight"]);
    let huge = edited(&bytes, |h| h["data/place"]["shape"] = json!([u64::MAX]));
    refused(builder(), huge, &["data/place"]);
}

#[test]
fn tensors_that_are_missing_too_many_or_others_are_named() {
    let bytes = checkpoint();
    let renamed = |from: &str, to: &str| {
        edited(&bytes, |header| {
            let header = header.as_object_mut().unwrap();
            let tensor = header.remove(from).unwrap();
            header.insert(to.into(), tensor);
        })
    };
    for name in [
        "0.weight",
        "optimizer/5.bias/1",
        "pending/1.weight",
        "data/place",
    ] {
        refused(builder(), renamed(name, "other"), &[name, "no tensor"]);
    }
    let added = edited(&bytes, |header| {
        let end = bytes.len() - header_end(&bytes);
        header["other"] = json!({"dtype": "U8", "shape": [0], "data_offsets": [end, end]});
    });
    refused(
        builder(),
        added,
        &["other", "nothing that this training keeps"],
    );
    let as_integers = edited(&bytes, |header| header["0.weight"]["dtype"] = json!("I32"));
    refused(builder(), as_integers, &["0.weight", "I32", "F32"]);
    // Two tensors of one name.
    let end = header_end(&bytes);
    let text = String::from_utf8(bytes[8..end].to_vec()).unwrap();
    let twice = text.replacen("\"0.bias\"", "\"0.weight\"", 1).into_bytes();
    let twice = [
        &(twice.len() as u64).to_le_bytes()[..],
        &twice,
        &bytes[end..],
    ]
    .concat();
    refused(builder(), twice, &["\"0.weight\" is there twice"]);
}

#[test]
fn metadata_that_cannot_be_are_refused() {
    let bytes = checkpoint();
    for (name, text, words) in [
        ("format", "other", &["not a checkpoint"][..]),
        ("version", "2", &["version \"2\"", "reads \"1\""]),
        ("version", "", &["version"]),
        ("learning_rate", "NaN", &["learning rate"]),
        ("learning_rate", "-1.0", &["learning rate"]),
        ("learning_rate", "fast", &["learning_rate", "no number"]),
        ("optimizers", "{}", &["0.bias", "learned here"]),
        ("optimizers", "7", &["optimizers"]),
        ("model", "{}", &["model"]),
        ("notes", "[1]", &["notes"]),
        ("updates", "{\"0.weight\": -3}", &["updates"]),
        ("progress", "null", &["progress"]),
    ] {
        refused(builder(), saying(&bytes, name, text), words);
    }
    let gone = edited(&bytes, |header| {
        header["__metadata__"]
            .as_object_mut()
            .unwrap()
            .remove("progress");
    });
    refused(builder(), gone, &["no \"progress\""]);
    let none = edited(&bytes, |header| {
        drop(header.as_object_mut().unwrap().remove("__metadata__"))
    });
    refused(builder(), none, &["not a checkpoint"]);
    for (name, value) in [
        ("batches", json!(u64::MAX)),
        ("updates", json!(6)),
        ("pending", json!(3)),
        ("pending", json!(9)),
        ("examples", json!(1)),
        ("examples", json!(u64::MAX)),
        ("normaliser", json!("NaN")),
        ("normaliser", json!("inf")),
        ("normaliser", json!(1.5)),
        ("batches", json!(-1)),
        ("batches", json!(2.5)),
        ("seed", json!("x")),
        ("losses", json!([1])),
    ] {
        refused(builder(), having(&bytes, name, value), &[]);
    }
    // Losses are what was measured, numbers or not.
    let nan = having(&bytes, "losses", json!(["NaN"]));
    assert!(
        builder()
            .resume_bytes(nan)
            .on_cpu()
            .unwrap()
            .loss()
            .unwrap()
            .is_nan()
    );
}

#[test]
fn another_training_is_refused_by_what_differs() {
    let bytes = checkpoint();
    let of = |model: Model| {
        let builder = Trainer::builder(model).batch(4).accumulate(3);
        builder.optimizer(Optimizer::adam(0.01))
    };
    let front = || Model::builder([2, 3, 3]);
    let other = front()
        .push(Conv2d::new(3, 2).dilation(2))
        .batch_norm()
        .relu();
    let other = other.dropout(0.3).flatten().dense(3).build().unwrap();
    let differs = ["another model", "5.weight"];
    refused(of(other), bytes.clone(), &differs);
    let like = |dropout: f64, classes: usize| {
        let net = front().conv2d(3, 2).batch_norm().relu();
        let net = net.dropout(dropout).flatten();
        net.push(Linear::new(classes)).build().unwrap()
    };
    refused(of(like(0.3, 4)), bytes.clone(), &differs);
    let more = like(0.5, 3);
    refused(of(more.clone()), bytes.clone(), &["layer 3", "probability"]);
    // Another version may call the same model by other words, but not the same weights.
    let older = saying(&bytes, "library", "0.0.9");
    assert!(of(more).resume_bytes(older.clone()).on_cpu().is_ok());
    refused(of(like(0.3, 4)), older, &["5.weight"]);
    for (optimizer, words) in [
        (
            Optimizer::from(Optimizer::sgd(0.1).momentum(0.9)),
            ["Adam", "Sgd"],
        ),
        (
            Optimizer::adam(0.01).amsgrad(true).into(),
            ["2 x Adam", "3 x Adam"],
        ),
        (
            Optimizer::rmsprop(0.01).momentum(0.5).into(),
            ["Adam", "RmsProp"],
        ),
    ] {
        refused(builder().optimizer(optimizer), bytes.clone(), &words);
    }
    assert!(
        builder()
            .optimizer(Optimizer::adam(0.01).weight_decay(0.5))
            .resume_bytes(bytes.clone())
            .on_cpu()
            .is_ok()
    );
    refused(
        builder().accumulate(4),
        bytes.clone(),
        &["accumulate", "2 of 3"],
    );
    refused(
        builder().accumulate(1),
        bytes.clone(),
        &["accumulate", "2 of 3"],
    );
    let weights = builder().weights("none").resume_bytes(bytes).on_cpu();
    assert!(
        matches!(weights, Err(Error::Argument { .. })),
        "{weights:?}"
    );
}

#[test]
fn a_checkpoint_is_made_between_calls_and_of_names_that_are_free() {
    let own = Trainer::builder(model()).loss(Losses::own_first()).batch(4);
    let mut own = own.on_cpu().unwrap();
    own.forward(&[0.5; 72]).unwrap();
    let error = own.checkpoint_bytes().unwrap_err();
    assert!(error.to_string().contains("backward"), "{error}");
    own.backward([&[0.1; 12][..]]).unwrap();
    assert!(own.checkpoint_bytes().is_ok());
    let mut net = Model::graph();
    let x = net.input([2]);
    let y = net.add("a", Linear::new(2), [x]).unwrap();
    net.rename("a.bias", "optimizer/a.weight/0", [2]).unwrap();
    let builder = Trainer::builder(net.build([y]).unwrap()).loss(Loss::mean_squared_error());
    let trainer = builder.on_cpu().unwrap();
    let error = trainer.checkpoint_bytes().unwrap_err();
    assert!(
        error.to_string().contains("optimizer/a.weight/0"),
        "{error}"
    );
}

#[test]
fn files_are_checkpoints_and_weights_are_none() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-{}-resume", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a");
    let mut trainer = builder().on_cpu().unwrap();
    step(&mut trainer);
    trainer.save(&path).unwrap();
    let refused = |builder: TrainerBuilder| match builder.on_cpu() {
        Err(Error::File { path, reason }) => (path, reason),
        other => panic!("{other:?}"),
    };
    let (at, reason) = refused(builder().resume(&path));
    assert!(
        at == path && reason.contains("not a checkpoint"),
        "{reason}"
    );
    assert_eq!(
        refused(builder().resume(folder.join("none"))).0,
        folder.join("none")
    );
    refused(builder().resume(&folder));
    trainer.checkpoint(&path).unwrap();
    assert!(std::fs::read(&path).unwrap() == trainer.checkpoint_bytes().unwrap());
    let resumed = builder().resume(&path).on_cpu().unwrap();
    assert_eq!(resumed.batches(), 1);
    // What cannot be written leaves what was there.
    let other = Trainer::builder(model()).loss(Losses::own_first()).batch(4);
    let mut other = other.on_cpu().unwrap();
    other.forward(&[0.5; 72]).unwrap();
    assert!(other.checkpoint(&path).is_err());
    assert!(std::fs::read(&path).unwrap() == trainer.checkpoint_bytes().unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_keeps_the_last_and_the_best_and_touches_nothing_else() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-{}-kept", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let kept = Checkpoints::new(folder.join("made")).keep(2).keep_lowest();
    assert_eq!((kept.latest().unwrap(), kept.best().unwrap()), (None, None));
    let mut trainer = builder().accumulate(1).on_cpu().unwrap();
    let mut save = |metric: Option<f64>| {
        step(&mut trainer);
        kept.save(&trainer, metric).unwrap()
    };
    let names = || {
        let files = std::fs::read_dir(folder.join("made")).unwrap();
        let mut names: Vec<String> = files
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let first = save(None);
    assert_eq!(kept.best().unwrap(), None);
    let own = [
        "checkpoint-1.safetensors",
        "checkpoint-000001-0000000x.safetensors",
        "notes",
        "checkpoint-999999-00000001.safetensors.old",
    ];
    own.iter()
        .for_each(|name| std::fs::write(folder.join("made").join(name), "mine").unwrap());
    save(Some(0.5));
    let best = save(Some(0.25));
    save(Some(f64::NAN));
    assert!(!first.exists());
    assert_eq!(kept.best().unwrap().as_ref(), Some(&best));
    save(Some(0.75));
    let last = save(None);
    assert_eq!(kept.best().unwrap().as_ref(), Some(&best));
    let expected = [
        "checkpoint-000003-00000003.safetensors",
        "checkpoint-000005-00000005.safetensors",
        "checkpoint-000006-00000006.safetensors",
    ];
    let mut expected: Vec<String> = expected
        .iter()
        .chain(&own)
        .map(|&name| name.into())
        .collect();
    expected.sort();
    assert_eq!(names(), expected);
    // What a failing disk has left does not count, and takes the place of nothing.
    let bytes = std::fs::read(&last).unwrap();
    let torn = folder.join("made/checkpoint-000007-00000007.safetensors");
    std::fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(kept.latest().unwrap().as_ref(), Some(&last));
    // From the best on anew: what was written last is the latest, whatever its count of updates.
    let mut again = builder().accumulate(1).resume(&best).on_cpu().unwrap();
    step(&mut again);
    let latest = kept.save(&again, 0.6).unwrap();
    assert!(
        latest.ends_with("checkpoint-000008-00000004.safetensors"),
        "{latest:?}"
    );
    assert_eq!(kept.latest().unwrap(), Some(latest));
    assert!(torn.exists() && last.exists() && best.exists());
    let all = Checkpoints::new(folder.join("made")).keep(0).keep_highest();
    all.save(&again, 0.9).unwrap();
    assert!(
        all.best()
            .unwrap()
            .unwrap()
            .ends_with("checkpoint-000009-00000004.safetensors")
    );
    assert_eq!(names().len(), 5 + own.len());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_cpu_keeps_states_and_is_not_recovered() {
    let none = Trainer::builder(model()).checkpoint_every(0).on_cpu();
    assert!(matches!(none, Err(Error::Argument { .. })));
    let path = std::env::temp_dir().join(format!("wgpu-cnn-{}-every", std::process::id()));
    let mut trainer = builder().checkpoint_every_to(2, &path).on_cpu().unwrap();
    (0..5).for_each(|_| step(&mut trainer));
    let resumed = builder().resume(&path).on_cpu().unwrap();
    assert_eq!(resumed.batches(), 4);
    std::fs::remove_file(&path).unwrap();
    // Where there is a wrong batch, nothing is kept.
    trainer.step(&[0.0; 36], Target::from(&[0u8, 1])).unwrap();
    assert!(trainer.step(&[0.0; 5], Target::from(&[0u8])).is_err());
    assert!(!path.exists());
    step(&mut trainer);
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
}
