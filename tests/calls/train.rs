//! Training on the CPU: the trainer and the reference.

use std::path::PathBuf;

use pollster::block_on;
use wgpu_cnn::{
    Error, Loss, MemoryReport, Model, Reference, SaveOptions, Target, Trainer, TrainerBuilder,
};

use crate::call::Call;
use crate::cpu::target;
use crate::draw::Draw;
use crate::op;
use crate::schedule::schedule;

const REFERENCE: &[&str] = &[
    "Reference::new",
    "Reference::set_clip_norm",
    "Reference::set_accumulate",
    "Reference::set_average",
    "Reference::swap_average",
    "Reference::forward",
    "Reference::loss",
    "Reference::loss_and_gradients",
    "Reference::loss_and_input_gradient",
    "Reference::step",
    "Reference::update_now",
    "Reference::steps",
    "Reference::updates",
    "Reference::last_losses",
    "Reference::model",
    "Reference::parameters",
    "Reference::parameter",
    "Reference::parameter_mut",
    "Reference::set_parameter",
    "Reference::set_direct_only",
    "Reference::gradient",
    "Reference::optimizer",
    "Reference::set_learning_rate",
];

const BUILDER: &[&str] = &[
    "Trainer::builder",
    "TrainerBuilder::batch",
    "TrainerBuilder::loss",
    "TrainerBuilder::optimizer",
    "TrainerBuilder::seed",
    "TrainerBuilder::clip_norm",
    "TrainerBuilder::accumulate",
    "TrainerBuilder::half_precision",
    "TrainerBuilder::direct_only",
    "TrainerBuilder::weights",
    "TrainerBuilder::average",
    "TrainerBuilder::in_flight",
    "TrainerBuilder::memory_budget",
    "TrainerBuilder::max_slab",
    "TrainerBuilder::on_cpu",
];

const TRAINER: &[&str] = &[
    "Trainer::step",
    "Trainer::step_async",
    "Trainer::update",
    "Trainer::update_async",
    "Trainer::loss",
    "Trainer::loss_async",
    "Trainer::is_finite",
    "Trainer::is_finite_async",
    "Trainer::predict",
    "Trainer::predict_async",
    "Trainer::parameter",
    "Trainer::parameter_async",
    "Trainer::set_parameter",
    "Trainer::set_parameter_async",
    "Trainer::gradient",
    "Trainer::gradient_async",
    "Trainer::learning_rate",
    "Trainer::updates",
    "Trainer::with_average",
    "Trainer::with_average_async",
    "Trainer::save_average",
    "Trainer::save_average_async",
    "Trainer::average_bytes",
    "Trainer::average_bytes_async",
    "Trainer::swap_average",
    "Trainer::swap_average_async",
    "Trainer::is_averaged",
    "Trainer::set_learning_rate",
    "Trainer::is_finite",
    "Trainer::is_finite_async",
    "Trainer::save",
    "Trainer::load",
    "Trainer::model",
    "Trainer::gpu",
    "Trainer::memory",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::medium(REFERENCE, |d| reference(d).is_ok()),
        Call::medium(BUILDER, |d| {
            let trainer = builder(d).on_cpu();
            trainer
                .and_then(|mut trainer| used(d, &mut trainer))
                .is_ok()
        }),
        Call::medium(TRAINER, |d| {
            let trainer = usual(d).on_cpu();
            trainer
                .and_then(|mut trainer| used(d, &mut trainer))
                .is_ok()
        }),
        Call::quick(&["MemoryReport::total"], |d| {
            let [parameters, gradients, optimizer_state] =
                d.numbers().map(|bytes: usize| bytes as u64);
            let [average, activations, batch, staging] =
                d.numbers().map(|bytes: usize| bytes as u64);
            let report = MemoryReport {
                parameters,
                gradients,
                optimizer_state,
                average,
                activations,
                batch,
                staging,
                ..MemoryReport::default()
            };
            report.total() >= parameters && !report.to_string().is_empty()
        }),
    ]
}

/// A small model.
pub fn model(d: &mut Draw) -> Model {
    let builder = match d.below(3) {
        0 => Model::builder([1, 4, 4])
            .conv2d(2, 3)
            .relu()
            .flatten()
            .dense(3),
        1 => Model::builder([4])
            .dense(4)
            .batch_norm()
            .dropout(0.5)
            .dense(3),
        _ => Model::builder([2, 6])
            .conv1d(2, 3)
            .max_pool1d(2)
            .residual(|body| body.tanh()),
    };
    builder.build().expect("a model")
}

/// A trainer's options, whatever they are.
pub fn builder(d: &mut Draw) -> TrainerBuilder {
    let model = model(d);
    let (loss, optimizer) = (op::loss(d, model.output_shape().len()), op::optimizer(d));
    let mut builder = Trainer::builder(model).loss(loss).optimizer(optimizer);
    builder = builder.batch(d.number()).seed(d.number() as u64);
    if d.flag() {
        builder = builder.clip_norm(d.real());
    }
    if d.flag() {
        builder = builder.accumulate(d.number()).in_flight(d.number());
    }
    if d.is_hostile() {
        builder = builder.weights(path(d));
    }
    if d.flag() {
        builder = builder.schedule(schedule(d));
    }
    if d.flag() {
        builder = builder.average(op::average(d));
    }
    if d.is_hostile() {
        builder = builder.half_precision(d.flag());
    }
    builder = builder.direct_only(d.flag());
    if d.is_hostile() {
        builder = builder.memory_budget(d.number() as u64);
    }
    if d.is_hostile() {
        builder = builder.max_slab(d.number() as u64);
    }
    builder
}

/// A trainer that can be made.
pub fn usual(d: &mut Draw) -> TrainerBuilder {
    Trainer::builder(model(d))
        .batch(3)
        .loss(Loss::mean_squared_error())
}

/// A file that may be there.
pub fn path(d: &mut Draw) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-calls-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&folder);
    let name = d.pick(&[
        "weights",
        "others",
        "",
        "no folder/weights",
        "weights.json",
        "\0",
        "a\u{301}",
    ]);
    folder.join(name)
}

fn name(d: &mut Draw) -> &'static str {
    d.pick(&[
        "0.weight",
        "0.bias",
        "1.running_mean",
        "",
        "0",
        "0.weight.",
        "\0",
    ])
}

/// Some calls of a trainer; the first error ends them.
pub fn used(d: &mut Draw, trainer: &mut Trainer) -> Result<(), Error> {
    let model = trainer.model();
    let (inputs, outputs) = (model.input_shape().len(), model.output_shape().len());
    for _ in 0..d.below(8) {
        let rows = d.number();
        match d.below(10) {
            0..3 => {
                let input = d.floats::<f32>(rows.saturating_mul(inputs));
                let target = match d.is_hostile() {
                    true => target(d, rows, outputs),
                    false => Target::Values(d.floats(rows.saturating_mul(outputs))),
                };
                match d.flag() {
                    true => trainer.step(&input, target)?,
                    false => block_on(trainer.step_async(&input, target))?,
                }
            }
            3 => {
                let input = d.floats::<f32>(rows.saturating_mul(inputs));
                match d.flag() {
                    true => trainer.predict(&input)?,
                    false => block_on(trainer.predict_async(&input))?,
                };
            }
            4 => {
                let name = name(d);
                let values = d.floats(trainer.parameter(name)?.len());
                match d.flag() {
                    true => trainer.set_parameter(name, &values)?,
                    false => block_on(trainer.set_parameter_async(name, &values))?,
                }
                block_on(trainer.parameter_async(name))?;
            }
            5 => {
                let name = name(d);
                match d.flag() {
                    true => trainer.gradient(name)?,
                    false => block_on(trainer.gradient_async(name))?,
                };
            }
            6 => trainer.set_learning_rate(d.real())?,
            7 => match d.flag() {
                true => trainer.save(path(d))?,
                false => drop(trainer.load(path(d))?),
            },
            8 => match d.below(8) {
                0 => trainer.swap_average()?,
                1 => block_on(trainer.swap_average_async())?,
                2 => trainer.save_average(path(d))?,
                3 => block_on(trainer.save_average_async(path(d), &SaveOptions::new()))?,
                4 => drop(trainer.average_bytes(&SaveOptions::new())?),
                5 => drop(block_on(trainer.average_bytes_async(&SaveOptions::new()))?),
                6 => {
                    let then = async |trainer: &mut Trainer| Ok(trainer.is_averaged());
                    assert!(block_on(trainer.with_average_async(then))?);
                }
                _ => {
                    let averaged = trainer.with_average(|trainer| Ok(trainer.is_averaged()));
                    assert!(averaged?);
                }
            },
            _ => match d.flag() {
                true => trainer.update()?,
                false => block_on(trainer.update_async())?,
            },
        }
        let _ = (
            trainer.loss(),
            block_on(trainer.loss_async()),
            trainer.is_finite(),
            block_on(trainer.is_finite_async()),
            trainer.memory(),
        );
        let _ = (trainer.learning_rate(), trainer.updates());
        let _ = trainer.gpu().is_some();
    }
    Ok(())
}

fn reference(d: &mut Draw) -> Result<(), Error> {
    let model = model(d);
    let (inputs, outputs) = (model.input_shape().len(), model.output_shape().len());
    let (loss, optimizer) = match d.flag() {
        true => (op::loss(d, outputs), op::optimizer(d)),
        false => (
            Loss::mean_squared_error(),
            wgpu_cnn::Optimizer::adam(0.1).into(),
        ),
    };
    let mut reference = Reference::<f64>::new(&model, loss, optimizer, d.number() as u64)?;
    for _ in 0..d.below(6) {
        let rows = d.number();
        let input = d.floats(rows.saturating_mul(inputs));
        let target = target(d, rows, outputs);
        reference.set_direct_only(d.flag());
        match d.below(10) {
            0 => reference.set_clip_norm(d.flag().then_some(d.real()))?,
            1 => reference.set_accumulate(d.number())?,
            2 => drop(reference.forward(&input)?),
            3 => drop(reference.loss(&input, &target)?),
            4 => drop(reference.loss_and_gradients(&input, &target)?),
            5 => drop(reference.loss_and_input_gradient(&input, &target)?),
            6 => reference.set_learning_rate(d.real())?,
            8 => {
                reference.set_average(d.flag().then(|| op::average(d)))?;
                reference.swap_average()?;
            }
            7 => {
                let name = name(d);
                let values = d.floats(reference.parameter(name)?.len());
                reference.set_parameter(name, &values)?;
                reference.parameter_mut(name)?.fill(d.real());
                let _ = reference.gradient(name)?;
            }
            _ => drop(reference.step(&input, &target)?),
        }
        reference.update_now()?;
        let _ = (
            reference.steps(),
            reference.updates(),
            reference.last_losses().len(),
            reference.optimizer(),
        );
        assert_eq!(
            reference.model().parameters().count(),
            reference.parameters().len()
        );
    }
    Ok(())
}

/// Removes what the calls have written.
pub fn clean_up() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-calls-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(folder);
}
