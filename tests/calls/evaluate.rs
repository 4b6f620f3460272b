//! What a training is looked at with: evaluation, metrics, the log, the summary.

use pollster::block_on;
use wgpu_cnn::{
    Accuracy, AsInputs, ConfusionMatrix, Error, IntoBatch, Log, LogRow, MeanErrors, Metric,
    Prediction, Predictions, Target, Targets, Trainer,
};

use crate::call::Call;
use crate::cpu::target;
use crate::draw::Draw;
use crate::{model, train};

const EVALUATE: &[&str] = &[
    "Trainer::evaluate",
    "Trainer::evaluate_async",
    "Trainer::evaluate_with",
    "Trainer::evaluate_with_async",
    "Trainer::record",
    "Trainer::log",
    "Trainer::set_log",
    "Evaluation::metric",
    "Evaluation::columns",
    "IntoBatch::into_batch",
    "AsInputs::as_inputs",
];

const METRICS: &[&str] = &[
    "Metric::reset",
    "Metric::update",
    "Metric::values",
    "Prediction::new",
    "Prediction::ignored_label",
    "Prediction::name",
    "Prediction::shape",
    "Prediction::values",
    "Prediction::examples",
    "Prediction::target",
    "Prediction::classes",
    "Prediction::target_values",
    "Prediction::for_each_position",
    "Predictions::first",
    "Predictions::named",
    "Accuracy::new",
    "Accuracy::top",
    "Accuracy::above",
    "Accuracy::of",
    "Accuracy::value",
    "Accuracy::right",
    "Accuracy::counted",
    "ConfusionMatrix::new",
    "ConfusionMatrix::of",
    "ConfusionMatrix::names",
    "ConfusionMatrix::classes",
    "ConfusionMatrix::count",
    "ConfusionMatrix::counted",
    "ConfusionMatrix::accuracy",
    "ConfusionMatrix::precision",
    "ConfusionMatrix::recall",
    "ConfusionMatrix::f1",
    "ConfusionMatrix::intersection_over_union",
    "ConfusionMatrix::mean_f1",
    "ConfusionMatrix::mean_intersection_over_union",
    "ConfusionMatrix::mean_recall",
    "MeanErrors::new",
    "MeanErrors::of",
    "MeanErrors::absolute",
    "MeanErrors::squared",
];

const LOG: &[&str] = &[
    "Log::new",
    "Log::rows",
    "Log::values",
    "Log::push",
    "Log::keep_until",
    "Log::to_csv",
    "Log::from_csv",
    "Log::save",
    "Log::open",
    "LogRow::value",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::medium(EVALUATE, |d| {
            let trainer = train::usual(d).on_cpu();
            trainer
                .and_then(|mut trainer| evaluated(d, &mut trainer))
                .is_ok()
        }),
        Call::quick(METRICS, |d| metrics(d).is_ok()),
        Call::quick(LOG, |d| log(d).is_ok()),
        Call::quick(&["Model::summary", "Summary::total"], |d| {
            model::random(d).is_ok_and(|model| {
                let summary = model.summary();
                let total = summary.total();
                assert_eq!(total.parameters, model.parameter_count() as u64);
                !summary.to_string().is_empty()
            })
        }),
    ]
}

/// Metrics of any options.
fn all(d: &mut Draw) -> (Accuracy, ConfusionMatrix, MeanErrors) {
    let mut accuracy = match d.below(3) {
        0 => Accuracy::new(),
        1 => Accuracy::top(d.number()),
        _ => Accuracy::above(d.single()),
    };
    let (mut confusion, mut errors) = (ConfusionMatrix::new(), MeanErrors::new());
    if d.is_hostile() {
        let name = d.pick(&["output", "0", "", "\0"]);
        (accuracy, confusion, errors) = (accuracy.of(name), confusion.of(name), errors.of(name));
    }
    if d.flag() {
        confusion = confusion.names(["a", "", "\u{301}\n"]);
    }
    (accuracy, confusion, errors)
}

fn evaluated(d: &mut Draw, trainer: &mut Trainer) -> Result<(), Error> {
    let of = |shape: &wgpu_cnn::Shape| shape.len();
    let (inputs, outputs) = (
        of(trainer.model().input_shape()),
        of(trainer.model().output_shape()),
    );
    let mut batches = Vec::new();
    for _ in 0..d.below(4) {
        let rows = d.number();
        let input = d.floats::<f32>(rows.saturating_mul(inputs));
        let target = match d.is_hostile() {
            true => target(d, rows, outputs),
            false => Target::Values(d.floats(rows.saturating_mul(outputs))),
        };
        batches.push((input, target));
    }
    let (mut accuracy, mut confusion, mut errors) = all(d);
    let metrics: &mut [&mut dyn Metric] = match d.below(3) {
        0 => &mut [],
        1 => &mut [&mut errors],
        _ => &mut [&mut accuracy, &mut confusion, &mut errors],
    };
    let evaluation = match d.below(4) {
        0 => trainer.evaluate(&batches)?,
        1 => block_on(trainer.evaluate_async(batches.clone()))?,
        2 => trainer.evaluate_with(batches.iter().map(Ok::<_, Error>), metrics)?,
        _ => block_on(trainer.evaluate_with_async(&batches, metrics))?,
    };
    let _ = (evaluation.metric("accuracy"), evaluation.to_string());
    trainer.record(evaluation.columns(d.pick(&["", "test ", "\"\n"])))?;
    if d.flag() {
        trainer.set_log(Log::from_csv(&trainer.log().to_csv())?);
    }
    let (inputs, _) = batches.remove(0).into_batch()?;
    let _ = inputs.as_inputs();
    let none: Result<(Vec<f32>, Targets), Error> = Err(Error::NoAdapter {
        reason: String::new(),
    });
    assert!(none.into_batch().is_err());
    Ok(())
}

fn metrics(d: &mut Draw) -> Result<(), Error> {
    let (shape, rows) = (d.image(), d.number());
    let values = d.floats::<f32>(rows.saturating_mul(shape.len()));
    let classes = shape.first().copied().unwrap_or(1);
    let positions = shape.len() / classes.max(1);
    let target = match d.flag() {
        true => target(d, rows.saturating_mul(positions), classes),
        false => target(d, rows, shape.len()),
    };
    let given = (!d.is_hostile()).then_some(&target);
    let mut prediction = Prediction::new(&shape, &values, given)?;
    if d.flag() {
        prediction = prediction.ignored_label((d.number() as i64).wrapping_sub(1));
    }
    let _ = (prediction.name(), prediction.shape(), prediction.values());
    let (_, _) = (prediction.examples(), prediction.classes());
    let _ = (prediction.target(), prediction.target_values());
    let mut counted = 0;
    let each = prediction.for_each_position(|numbers, label| {
        counted += usize::from(numbers.len() == classes && label < classes);
    });
    let predictions = Predictions::from(prediction);
    let _ = (predictions.first()?, predictions.named("output")?);
    let (mut accuracy, mut confusion, mut errors) = all(d);
    let mut results = Vec::new();
    let metrics: [&mut dyn Metric; 3] = [&mut accuracy, &mut confusion, &mut errors];
    for metric in metrics {
        results.push(metric.update(&predictions));
        if d.is_hostile() {
            metric.reset();
        }
        let _ = metric.values();
    }
    let class = d.number();
    let of_class = [
        ConfusionMatrix::precision,
        ConfusionMatrix::recall,
        ConfusionMatrix::f1,
        ConfusionMatrix::intersection_over_union,
    ];
    let whole = [
        ConfusionMatrix::accuracy,
        ConfusionMatrix::mean_f1,
        ConfusionMatrix::mean_intersection_over_union,
        ConfusionMatrix::mean_recall,
    ];
    let mut shares: Vec<f64> = of_class.iter().map(|of| of(&confusion, class)).collect();
    shares.extend(whole.iter().map(|of| of(&confusion)));
    shares.push(accuracy.value());
    assert!(
        shares
            .iter()
            .all(|share| share.is_nan() || (0.0..=1.0).contains(share))
    );
    assert!(accuracy.right() <= accuracy.counted());
    let _ = (confusion.count(class, d.number()), confusion.to_string());
    assert!(confusion.classes() == 0 || confusion.counted() <= counted as u64);
    let _ = (errors.absolute(), errors.squared());
    each?;
    results.into_iter().collect()
}

fn log(d: &mut Draw) -> Result<(), Error> {
    let parts = [
        "update,batch,examples,learning_rate,seconds",
        "\n",
        "\r\n",
        "\r",
        ",",
        "\"",
        "\"\"",
        "loss",
        "1",
        "-1",
        "1e9",
        "NaN",
        "",
        " ",
        "18446744073709551616",
        "\u{feff}",
        "é",
        "1,2,3,4,5",
        "\0",
    ];
    let count = d.below(12);
    let mut text: String = (0..count).map(|_| d.pick(&parts)).collect();
    if !d.is_hostile() {
        text = format!("{},{text}", parts[0]);
    }
    let read = Log::from_csv(&text);
    if let Ok(log) = &read {
        let again = Log::from_csv(&log.to_csv())?;
        assert_eq!(again.rows().len(), log.rows().len(), "{text:?}");
    }
    let mut log = Log::new();
    for _ in 0..d.below(3) {
        let names = (0..d.below(4)).map(|_| (d.pick(&parts).to_string(), d.real()));
        let row = LogRow {
            values: names.collect(),
            update: d.number() as u64,
            seconds: d.real(),
            ..LogRow::default()
        };
        let _ = row.value("loss");
        log.push(row)?;
    }
    let again = Log::from_csv(&log.to_csv())?;
    assert_eq!(again.rows().len(), log.rows().len());
    let _ = (log.values("loss"), log.keep_until(d.number() as u64));
    if d.is_hostile() {
        log.save(train::path(d))?;
        let _ = Log::open(train::path(d));
    }
    read.map(drop)
}
