//! What is kept beside the weights, and what of a training may be another afterwards.

use super::*;
use crate::Average;

#[test]
fn an_average_of_a_file_that_does_not_say_when_it_began_began_with_the_training() {
    let builder = || builder().accumulate(1).average(Average::equal());
    let mut trainer = builder().on_cpu().unwrap();
    (0..3).for_each(|_| step(&mut trainer));
    let bytes = trainer.checkpoint_bytes().unwrap();
    let older = edited(&bytes, |header| {
        let text = header["__metadata__"]["progress"].as_str().unwrap();
        let mut progress: Value = serde_json::from_str(text).unwrap();
        let began = progress.as_object_mut().unwrap().remove("average_began");
        assert_eq!(began, Some(json!(0)));
        header["__metadata__"]["progress"] = json!(progress.to_string());
    });
    let mut resumed = builder().resume_bytes(older).on_cpu().unwrap();
    assert!(resumed.checkpoint_bytes().unwrap() == bytes);
    [&mut trainer, &mut resumed].into_iter().for_each(step);
    assert!(resumed.checkpoint_bytes().unwrap() == trainer.checkpoint_bytes().unwrap());
    for (value, word) in [(json!(4), "4 of at most 3"), (json!("0"), "average_began")] {
        refused(builder(), having(&bytes, "average_began", value), &[word]);
    }
}

#[test]
fn a_log_that_is_none_is_refused_and_an_older_file_has_none() {
    let mut trainer = builder().on_cpu().unwrap();
    step(&mut trainer);
    let without = trainer.checkpoint_bytes().unwrap();
    trainer.record([("loss", 0.5)]).unwrap();
    let bytes = trainer.checkpoint_bytes().unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let text = tensors.tensor("log/csv").unwrap().data().to_vec();
    assert_eq!(
        String::from_utf8(text.clone()).unwrap(),
        trainer.log().to_csv()
    );
    let at = bytes
        .windows(text.len())
        .position(|part| part == text)
        .unwrap();
    for (byte, word) in [(b'x', "the log"), (0xff, "the log")] {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        refused(builder(), bytes, &[word]);
    }
    let wrong = edited(&bytes, |header| header["log/csv"]["dtype"] = json!("I8"));
    refused(builder(), wrong, &["log/csv", "I8"]);
    refused(
        builder(),
        having(&bytes, "trained", json!(-1)),
        &["trained"],
    );
    let most = json!(u64::MAX);
    refused(builder(), having(&bytes, "trained", most), &["examples"]);
    let older = edited(&without, |header| {
        let text = header["__metadata__"]["progress"].as_str().unwrap();
        let mut progress: Value = serde_json::from_str(text).unwrap();
        progress.as_object_mut().unwrap().remove("trained").unwrap();
        header["__metadata__"]["progress"] = json!(progress.to_string());
    });
    let mut resumed = builder().resume_bytes(older).on_cpu().unwrap();
    assert!(resumed.log().rows().is_empty());
    step(&mut resumed);
    resumed.record([("loss", 0.5)]).unwrap();
    assert_eq!(resumed.log().rows()[0].examples, 4);
}

#[test]
fn a_state_is_kept_once_and_a_file_is_written_when_it_is_due() {
    let path = std::env::temp_dir().join(format!("wgpu-cnn-{}-due", std::process::id()));
    std::fs::write(&path, "an earlier training's").unwrap();
    let untouched = || std::fs::read(&path).unwrap() == b"an earlier training's";
    let of = |trainer: &Trainer| trainer.session.recovery.as_ref().unwrap().kept_of();
    let builder = || builder().accumulate(1).checkpoint_every_to(2, &path);
    let mut trainer = builder().on_cpu().unwrap();
    assert_eq!(of(&trainer), (0, true));
    // What the program says before the first batch is part of its state, and so are weights that it sets.
    trainer.set_note("run", "first");
    trainer.set_parameter("0.bias", &[0.5; 3]).unwrap();
    step(&mut trainer);
    step(&mut trainer);
    assert!(of(&trainer) == (0, true) && untouched());
    step(&mut trainer);
    assert!(of(&trainer) == (2, false) && !untouched());
    let kept = builder().resume(&path).on_cpu().unwrap();
    assert_eq!((kept.batches(), kept.note("run")), (2, Some("first")));
    step(&mut trainer);
    std::fs::remove_file(&path).unwrap();
    trainer.keep_next();
    assert!(path.exists() && of(&trainer) == (4, false));
    std::fs::remove_file(&path).unwrap();
    trainer.keep_next();
    assert!(!path.exists(), "written twice at a batch");
    trainer.set_note("run", "first");
    trainer.keep_next();
    assert!(!path.exists(), "nothing new was said");
    for told in [
        |trainer: &mut Trainer| trainer.set_note("run", "second"),
        |trainer: &mut Trainer| trainer.set_data_place([7u8]),
        |trainer: &mut Trainer| trainer.set_learning_rate(0.5).unwrap(),
        |trainer: &mut Trainer| trainer.record([("a", 1.0)]).unwrap(),
        |trainer: &mut Trainer| trainer.set_log(crate::Log::new()),
        |trainer: &mut Trainer| trainer.set_parameter("0.bias", &[0.25; 3]).unwrap(),
    ] {
        told(&mut trainer);
        trainer.keep_next();
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
    }
    // One that goes on from a file does not write it again at once.
    trainer.checkpoint(&path).unwrap();
    let mut resumed = builder().resume(&path).on_cpu().unwrap();
    std::fs::remove_file(&path).unwrap();
    step(&mut resumed);
    assert!(!path.exists() && of(&resumed) == (4, true));
    step(&mut resumed);
    step(&mut resumed);
    assert!(path.exists() && of(&resumed) == (6, false));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_program_is_handed_each_state_that_is_due() {
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = heard.clone();
    let keep = move |bytes: &[u8]| told.lock().unwrap().push(bytes.to_vec());
    let builder = builder().accumulate(1).checkpoint_every_with(2, keep);
    let mut trainer = builder.clone().on_cpu().unwrap();
    let mut expected = Vec::new();
    for batch in 0..5 {
        if batch == 2 || batch == 4 {
            expected.push(trainer.checkpoint_bytes().unwrap());
        }
        step(&mut trainer);
        assert!(*heard.lock().unwrap() == expected, "before batch {batch}");
    }
    let zero = builder.checkpoint_every_with(0, |_| {}).on_cpu();
    assert!(zero.unwrap_err().to_string().contains("must not be zero"));
}

/// What is logged, by thread.
struct Heard;

thread_local! {
    static HEARD: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(vec![]) };
}

impl log::Log for Heard {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            HEARD.with_borrow_mut(|heard| heard.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

#[test]
fn what_is_chosen_otherwise_is_told() {
    let _ = log::set_logger(&Heard);
    log::set_max_level(log::LevelFilter::Warn);
    let builder = || builder().accumulate(1).average(Average::ema(0.5));
    let mut trainer = builder().on_cpu().unwrap();
    step(&mut trainer);
    let bytes = trainer.checkpoint_bytes().unwrap();
    let heard = |builder: TrainerBuilder, bytes: &[u8]| {
        HEARD.take();
        builder.resume_bytes(bytes).on_cpu().unwrap();
        HEARD.take()
    };
    assert_eq!(heard(builder(), &bytes), Vec::<String>::new());
    let rate = |names: &str| crate::Group::new(names).rate_factor(0.5);
    let many = Loss::cross_entropy().label_smoothing(0.25);
    for (other, words) in [
        (builder().batch(5), &["\"batch\"", "5", "4"][..]),
        (builder().accumulate(2), &["batches of an update", "2", "1"]),
        (
            builder().clip_norm(0.5),
            &["clip_norm", "Some(0.5)", "None"],
        ),
        (builder().loss(many), &["losses", "0.25"]),
        (
            builder().schedule(crate::Schedule::step(3, 0.5)),
            &["schedule", "Step", "Constant"],
        ),
        (
            builder().average(Average::ema(0.75)),
            &["average", "0.75", "0.5"],
        ),
        (
            builder().group(rate("0.*")),
            &["2 parameters", "0.bias", "Factor(0.5)", "none"],
        ),
        (
            builder().optimizer(Optimizer::adam(0.01).weight_decay(0.5)),
            &["hyper-parameters", "0.5"],
        ),
    ] {
        let said = heard(other, &bytes);
        assert_eq!(said.len(), 1, "{said:?}");
        for word in words {
            assert!(said[0].contains(word), "{word:?} is not in {said:?}");
        }
    }
    // The rate that was set is the checkpoint's, whatever the builder says; older files say nothing of choices.
    let fast = builder().optimizer(Optimizer::adam(0.5));
    assert_eq!(heard(fast, &bytes), Vec::<String>::new());
    let older = edited(&bytes, |header| {
        let metadata = header["__metadata__"].as_object_mut().unwrap();
        for name in ["choices", "rates"] {
            metadata.remove(name).unwrap();
        }
    });
    let other = builder().batch(5).group(rate("*"));
    assert_eq!(heard(other, &older), Vec::<String>::new());
    for name in ["choices", "rates"] {
        refused(builder(), saying(&bytes, name, "[1]"), &[name]);
    }
}

#[test]
fn what_is_refused_leaves_no_folder() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-{}-refused", std::process::id()));
    let kept = Checkpoints::new(folder.join("made"));
    let own = Trainer::builder(model()).loss(Losses::own_first()).batch(4);
    let mut own = own.on_cpu().unwrap();
    own.forward(&[0.5; 72]).unwrap();
    assert!(kept.save(&own, None).is_err() && !folder.exists());
    let mut net = Model::graph();
    let x = net.input([2]);
    let y = net.add("a", Linear::new(2), [x]).unwrap();
    net.rename("a.bias", "data/place", [2]).unwrap();
    let builder = Trainer::builder(net.build([y]).unwrap()).loss(Loss::mean_squared_error());
    let error = kept.save(&builder.on_cpu().unwrap(), 0.5).unwrap_err();
    assert!(error.to_string().contains("data/place"), "{error}");
    assert!(!folder.exists());
    own.predict(&[0.5; 18]).unwrap();
    kept.save(&own, 0.5).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_memory_of_a_resumed_training_is_that_of_its_groups() {
    let Some(gpu) = crate::device::plain() else {
        return;
    };
    let builder = || builder().accumulate(1);
    let mut trainer = builder().freeze("0.*").on(gpu).unwrap();
    step(&mut trainer);
    trainer.rebuild(|builder| builder.unfreeze("*")).unwrap();
    step(&mut trainer);
    let bytes = trainer.checkpoint_bytes().unwrap();
    let resumed = builder().resume_bytes(bytes.clone());
    let report = resumed.memory(gpu).unwrap();
    assert_eq!(Some(report), resumed.on(gpu).unwrap().memory());
    assert_ne!(report, builder().memory(gpu).unwrap());
    let damaged = builder()
        .resume_bytes(&bytes[..bytes.len() - 1])
        .memory(gpu);
    assert!(matches!(damaged, Err(Error::File { .. })), "{damaged:?}");
}
