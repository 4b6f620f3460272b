use super::*;
use crate::{Loss, Model};

/// A name is no two columns, and no value is lost.
#[test]
fn a_text_gives_back_the_log() {
    let mut log = Log::new();
    let names = [
        "loss",
        "top 5, \"right\"",
        "in two\nlines\r\n",
        "",
        "été",
        " ",
    ];
    let numbers = [
        0.1,
        -0.0,
        1e300,
        f64::MIN_POSITIVE / 3.0,
        f64::INFINITY,
        1.0 / 3.0,
    ];
    for at in 0..12usize {
        let values =
            (0..at % 7).map(|of| (names[(of + at) % 6].to_string(), numbers[(of * at) % 6]));
        let row = LogRow {
            update: u64::MAX - at as u64,
            batch: at as u64,
            examples: 1 << at,
            learning_rate: numbers[at % 6],
            seconds: at as f64 * 0.1,
            values: values.collect(),
        };
        log.push(row).unwrap();
    }
    let text = log.to_csv();
    let sorted = |log: &Log| {
        let mut log = log.clone();
        for row in &mut log.rows {
            row.values.sort_by(|a, b| a.0.cmp(&b.0));
        }
        log
    };
    let again = Log::from_csv(&text).unwrap();
    assert_eq!(sorted(&again), sorted(&log));
    assert_eq!(
        again.to_csv(),
        Log::from_csv(&again.to_csv()).unwrap().to_csv()
    );
    // As spreadsheets leave it: other line ends, a mark of the byte order, no end of the last line.
    let other = format!("\u{feff}{}", text.trim_end().replace('\n', "\r\n"));
    let other = Log::from_csv(&other).unwrap();
    assert_eq!(other.rows.len(), 12);
    assert_eq!(Log::from_csv(&Log::new().to_csv()).unwrap(), Log::new());
    let nan = "update,batch,examples,learning_rate,seconds\n1,2,3,NaN,inf\n\n";
    assert!(Log::from_csv(nan).unwrap().rows[0].learning_rate.is_nan());
}

#[test]
fn columns_may_be_in_any_order_and_come_later() {
    let text =
        "loss,seconds,learning_rate,examples,batch,update\n,1.5,0.1,8,2,1\n0.5,2,0.1,16,4,2\n";
    let mut log = Log::from_csv(text).unwrap();
    assert_eq!(log.values("loss"), [(2, 0.5)]);
    assert_eq!(
        (log.rows()[0].examples, log.rows()[0].value("loss")),
        (8, None)
    );
    let expected =
        "update,batch,examples,learning_rate,seconds,loss\n1,2,8,0.1,1.5,\n2,4,16,0.1,2.0,0.5\n";
    assert_eq!(log.to_csv(), expected);
    log.keep_until(1);
    assert_eq!(log.rows().len(), 1);
}

#[test]
fn what_is_no_log_is_an_error_that_names_the_line() {
    let head = "update,batch,examples,learning_rate,seconds,a";
    for (text, reason) in [
        (String::new(), "there is no header"),
        ("update,batch".into(), "there is no column \"examples\""),
        (format!("{head},a\n"), "two columns are called \"a\""),
        (
            format!("{head}\n1,2,3,4,5,6\n1,2,3,4,5\n"),
            "line 3: 5 cells for 6 columns",
        ),
        (
            format!("{head}\n1,2,3,4,5,6,7"),
            "line 2: 7 cells for 6 columns",
        ),
        (
            format!("{head}\n-1,2,3,4,5,6"),
            "line 2: \"-1\" is no update",
        ),
        (
            format!("{head}\n1,2.5,3,4,5,6"),
            "line 2: \"2.5\" is no batch",
        ),
        (
            format!("{head}\n1,2,3,,5,6"),
            "line 2: \"\" is no learning_rate",
        ),
        (format!("{head}\n1,2,3,4,5,x"), "line 2: \"x\" is no a"),
        (
            format!("{head}\n1,2,3,4,5,\"6\n\n"),
            "line 2: a quote is not closed",
        ),
        (
            format!("{head}\n1,2,3,4,5,\"6\"7"),
            "line 2: a quote is in the midst of a cell",
        ),
        (
            format!("{head}\n1,2,3,4,5,6\"7\""),
            "line 2: a quote is in the midst of a cell",
        ),
        (format!("\"{head}"), "line 1: a quote is not closed"),
    ] {
        let error = Log::from_csv(&text).unwrap_err();
        assert_eq!(error, Error::argument("CSV", reason), "{text:?}");
    }
    let mut log = Log::new();
    for names in [&["seconds"][..], &["a", "b", "a"]] {
        let values = names.iter().map(|name| (name.to_string(), 1.0)).collect();
        let row = LogRow {
            values,
            ..LogRow::default()
        };
        assert!(log.push(row).is_err());
    }
    assert_eq!(log, Log::new());
}

#[test]
fn a_trainer_counts_what_it_records_and_goes_on_from_a_log() {
    let trainer = || {
        let model = Model::builder([2]).dense(1).build().unwrap();
        let builder = Trainer::builder(model).loss(Loss::mean_squared_error());
        let builder = builder.batch(3).accumulate(2);
        let gpu = crate::device::plain().map(|gpu| builder.clone().on(gpu).unwrap());
        gpu.into_iter().chain([builder.on_cpu().unwrap()])
    };
    for (mut trainer, mut other) in trainer().zip(trainer()) {
        for size in [3, 1, 2] {
            trainer.step(&vec![0.5; 2 * size], vec![1.0; size]).unwrap();
            let loss = trainer.loss().unwrap().into();
            trainer.record([("loss", loss)]).unwrap();
        }
        let rows = trainer.log().rows();
        let counts = rows.iter().map(|row| [row.update, row.batch, row.examples]);
        assert_eq!(
            counts.collect::<Vec<_>>(),
            [[0, 1, 3], [1, 2, 4], [1, 3, 6]]
        );
        assert!(rows[0].seconds >= 0.0 && rows[0].seconds <= rows[2].seconds);
        assert_eq!(rows[0].learning_rate, trainer.learning_rate());
        assert!(trainer.record([("batch", 1.0)]).is_err());

        let mut log = trainer.log().clone();
        log.rows[2].seconds = 1e6;
        other.set_log(log);
        other.step(&[0.5; 4], [1.0; 2]).unwrap();
        other.record(Vec::<(String, f64)>::new()).unwrap();
        let last = other.log().rows().last().unwrap();
        assert_eq!((last.examples, other.log().rows().len()), (8, 4));
        assert!(last.seconds >= 1e6 && last.seconds < 2e6);
    }
}

#[test]
fn a_file_holds_a_log() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-log-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("log.csv");
    let mut log = Log::new();
    log.push(LogRow::default()).unwrap();
    log.save(&path).unwrap();
    assert_eq!(Log::open(&path).unwrap(), log);
    for bytes in [&b"update"[..], b"\xff"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(Log::open(&path), Err(Error::File { .. })));
    }
    assert!(matches!(
        Log::open(folder.join("none")),
        Err(Error::File { .. })
    ));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What a program records before the first step.
fn begin(trainer: &mut Trainer) {
    trainer.record([("begun, \"now\"", -0.0)]).unwrap();
}

/// A step, and what a program records of it, within an update too.
fn recorded_step(trainer: &mut Trainer, at: usize) {
    let size = 1 + at % 3;
    trainer.step(&vec![0.5; 2 * size], vec![1.0; size]).unwrap();
    let loss = trainer.loss().unwrap().into();
    trainer.record([("loss", loss)]).unwrap();
    if at % 3 == 1 {
        trainer.update().unwrap();
        trainer
            .record([("test", at as f64), ("loss", 1.5)])
            .unwrap();
    }
}

/// The text of a log without the time.
fn timeless(log: &Log) -> String {
    let mut log = log.clone();
    log.rows.iter_mut().for_each(|row| row.seconds = 0.0);
    log.to_csv()
}

const STEPS: usize = 9;

fn recording() -> crate::TrainerBuilder {
    let model = Model::builder([2]).dense(1).build().unwrap();
    let builder = Trainer::builder(model).loss(Loss::mean_squared_error());
    builder.batch(3).accumulate(2)
}

#[test]
fn a_resumed_training_has_the_log_of_one_that_was_not_interrupted() {
    let path = std::env::temp_dir().join(format!("wgpu-cnn-{}-resumed.csv", std::process::id()));
    let mut whole = recording().on_cpu().unwrap();
    begin(&mut whole);
    (0..STEPS).for_each(|at| recorded_step(&mut whole, at));
    for stop in 0..STEPS {
        let mut begun = recording().on_cpu().unwrap();
        begin(&mut begun);
        (0..stop).for_each(|at| recorded_step(&mut begun, at));
        let bytes = begun.checkpoint_bytes().unwrap();
        // It goes on for a while, and writes what will be made again.
        (stop..(stop + 2).min(STEPS)).for_each(|at| recorded_step(&mut begun, at));
        begun.log().save(&path).unwrap();
        let mut resumed = recording().resume_bytes(bytes.clone()).on_cpu().unwrap();
        assert!(resumed.checkpoint_bytes().unwrap() == bytes, "at {stop}");
        (stop..STEPS).for_each(|at| recorded_step(&mut resumed, at));
        resumed.log().save(&path).unwrap();
        let text = timeless(&Log::open(&path).unwrap());
        assert_eq!(text, timeless(whole.log()), "from {stop}");
        let rows = resumed.log().rows();
        assert!(rows.is_sorted_by_key(|row| row.seconds));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_recovered_training_has_the_log_of_one_that_was_not_interrupted() {
    let Some(gpu) = crate::device::plain() else {
        return;
    };
    let path = std::env::temp_dir().join(format!("wgpu-cnn-{}-log", std::process::id()));
    let mut whole = recording().on(gpu).unwrap();
    begin(&mut whole);
    (0..STEPS).for_each(|at| recorded_step(&mut whole, at));
    for lost in 0..STEPS {
        let builder = match lost % 2 {
            0 => recording().checkpoint_every(4),
            _ => recording().checkpoint_every_to(4, &path),
        };
        let mut trainer = builder.on(gpu).unwrap();
        begin(&mut trainer);
        (0..lost).for_each(|at| recorded_step(&mut trainer, at));
        let from = trainer.recover(gpu).unwrap() as usize;
        // A state of a batch is kept just before its step.
        assert_eq!(from, lost.saturating_sub(1) / 4 * 4, "{lost}");
        if lost == 0 {
            begin(&mut trainer); // called since the state of the beginning was kept
        }
        (from..STEPS).for_each(|at| recorded_step(&mut trainer, at));
        assert_eq!(timeless(trainer.log()), timeless(whole.log()), "{lost}");
        let rows = trainer.log().rows();
        assert!(rows.is_sorted_by_key(|row| row.seconds));
    }
    std::fs::remove_file(path).unwrap();
}
