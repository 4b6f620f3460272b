//! Models in use and looked into, and steps whose values stay where they are.

use pollster::block_on;
use wgpu_cnn::{
    Error, Gpu, Held, Loss, Losses, Predictor, PredictorBuilder, Probe, ProbeBuilder, Tensor,
    Trainer, TrainerBuilder,
};

use crate::call::Call;
use crate::cpu::target;
use crate::draw::Draw;
use crate::op;
use crate::ops::gpu;
use crate::train::{model, path, usual};

const PREDICTOR: &[&str] = &[
    "Predictor::builder",
    "PredictorBuilder::weights",
    "PredictorBuilder::seed",
    "PredictorBuilder::batch",
    "PredictorBuilder::batches",
    "PredictorBuilder::half_precision",
    "PredictorBuilder::direct_only",
    "PredictorBuilder::fold_batch_norm",
    "PredictorBuilder::in_flight",
    "PredictorBuilder::memory_budget",
    "PredictorBuilder::max_slab",
    "PredictorBuilder::autotune_file",
    "PredictorBuilder::on_cpu",
    "Predictor::predict",
    "Predictor::predict_async",
    "Predictor::predict_all",
    "Predictor::predict_all_async",
    "Predictor::start",
    "Predictor::start_async",
    "Predictor::model",
    "Predictor::gpu",
    "Predictor::memory",
    "PendingPrediction::wait",
    "PendingPrediction::wait_async",
    "PendingPrediction::wait_all",
    "PendingPrediction::wait_all_async",
    "Trainer::predictor",
    "Trainer::predictor_async",
];

const PROBE: &[&str] = &[
    "Probe::builder",
    "ProbeBuilder::loss",
    "ProbeBuilder::values",
    "ProbeBuilder::gradients",
    "ProbeBuilder::training",
    "ProbeBuilder::batch",
    "ProbeBuilder::weights",
    "ProbeBuilder::seed",
    "ProbeBuilder::half_precision",
    "ProbeBuilder::direct_only",
    "ProbeBuilder::memory_budget",
    "ProbeBuilder::on_cpu",
    "Probe::follow",
    "Probe::follow_async",
    "Probe::look",
    "Probe::look_async",
    "Probe::run",
    "Probe::run_async",
    "Probe::run_with",
    "Probe::run_with_async",
    "Probe::gpu",
    "Probe::memory",
    "Looked::value",
    "Looked::gradient",
    "Trainer::probe",
    "Trainer::probe_async",
];

const HELD: &[&str] = &[
    "TrainerBuilder::input_gradients",
    "Trainer::hold",
    "Trainer::hold_async",
    "Trainer::forward_held",
    "Trainer::forward_held_async",
    "Trainer::backward_held",
    "Trainer::backward_held_async",
    "Trainer::backward_inputs",
    "Trainer::backward_inputs_async",
    "Trainer::input_gradient",
    "Trainer::input_gradient_async",
    "Held::shape",
    "Held::tensor",
    "Held::to_vec",
    "Held::to_vec_async",
    "Held::loss",
    "Held::loss_async",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::medium(PREDICTOR, |d| predicted(d, None).is_ok()),
        Call::medium(PROBE, |d| probed(d, None).is_ok()),
        Call::medium(HELD, |d| held(d, None).is_ok()),
    ]
}

/// The same on a device.
pub fn on_device() -> Vec<Call> {
    vec![
        Call::on_device(
            &["PredictorBuilder::on", "PredictorBuilder::on_async"],
            |d| predicted(d, Some(gpu())).is_ok(),
        ),
        Call::on_device(&["ProbeBuilder::on", "ProbeBuilder::on_async"], |d| {
            probed(d, Some(gpu())).is_ok()
        }),
        Call::on_device(&["Trainer::hold"], |d| held(d, Some(gpu())).is_ok()),
        Call::medium(&["PredictorBuilder::memory", "ProbeBuilder::memory"], |d| {
            let predictor = predictor(d).memory(gpu()).is_ok();
            probe(d).memory(gpu()).is_ok() && predictor
        }),
    ]
}

fn predictor(d: &mut Draw) -> PredictorBuilder {
    let mut builder = Predictor::builder(model(d)).seed(d.number() as u64);
    builder = builder.fold_batch_norm(d.flag()).direct_only(d.flag());
    match d.is_hostile() {
        true => builder = builder.batches(d.numbers::<3>()),
        false => builder = builder.batches([3, 1]).batch(2),
    }
    if d.is_hostile() {
        builder = builder.weights(path(d)).half_precision(d.flag());
    }
    if d.is_hostile() {
        builder = builder.in_flight(d.number()).max_slab(d.number() as u64);
    }
    if d.is_hostile() {
        builder = builder.memory_budget(d.number() as u64);
    }
    if d.is_hostile() {
        builder = builder.autotune_file(path(d));
    }
    builder
}

fn predicted(d: &mut Draw, gpu: Option<&Gpu>) -> Result<(), Error> {
    let builder = match d.flag() {
        true => predictor(d),
        false => {
            let trainer = usual(d).on_cpu()?;
            match d.flag() {
                true => trainer.predictor()?,
                false => block_on(trainer.predictor_async())?,
            }
        }
    };
    let predictor = match (gpu, d.flag()) {
        (Some(gpu), true) => builder.on(gpu)?,
        (Some(gpu), false) => block_on(builder.on_async(gpu))?,
        (None, _) => builder.on_cpu()?,
    };
    let len = predictor.model().input_shape().len();
    let mut waiting = Vec::new();
    for _ in 0..d.below(5) {
        let rows = d.number();
        let input = d.floats::<f32>(rows.saturating_mul(len));
        match d.below(4) {
            0 => drop(predictor.predict(&input)?),
            1 => drop(block_on(predictor.predict_async(&input))?),
            2 => drop(predictor.predict_all(&input)?),
            _ => drop(block_on(predictor.predict_all_async(&input))?),
        }
        waiting.push(predictor.start(&input)?);
        waiting.push(block_on(predictor.start_async(&input))?);
    }
    let _ = (predictor.memory(), predictor.gpu().is_some());
    drop(predictor);
    for prediction in waiting {
        match d.below(5) {
            0 => drop(prediction.wait()?),
            1 => drop(block_on(prediction.wait_async())?),
            2 => drop(prediction.wait_all()?),
            3 => drop(block_on(prediction.wait_all_async())?),
            _ => drop(prediction),
        }
    }
    Ok(())
}

fn probe(d: &mut Draw) -> ProbeBuilder {
    let names = ["0", "1", "2", "3", "input", "0.weight", "", "input 1"];
    let some = |d: &mut Draw| -> Vec<&'static str> {
        let count = d.below(4);
        (0..count).map(|_| d.pick(&names)).collect()
    };
    let (values, gradients) = (some(d), some(d));
    let mut builder = Probe::builder(model(d)).values(values).gradients(gradients);
    builder = builder.training(d.flag()).seed(d.number() as u64).batch(3);
    builder = builder.direct_only(d.flag());
    builder = match d.flag() {
        true => builder.loss(Losses::own_first()),
        false => builder.loss(Loss::mean_squared_error()),
    };
    if d.is_hostile() {
        builder = builder.batch(d.number()).memory_budget(d.number() as u64);
    }
    if d.is_hostile() {
        builder = builder.half_precision(d.flag());
    }
    if d.is_hostile() {
        builder = builder.weights(path(d));
    }
    builder
}

fn probed(d: &mut Draw, gpu: Option<&Gpu>) -> Result<(), Error> {
    let builder = match d.flag() {
        true => probe(d),
        false => {
            let trainer = usual(d).on_cpu()?;
            let builder = match d.flag() {
                true => trainer.probe()?,
                false => block_on(trainer.probe_async())?,
            };
            builder
                .loss(Loss::mean_squared_error())
                .gradients(["input"])
        }
    };
    let mut probe = match (gpu, d.flag()) {
        (Some(gpu), true) => builder.on(gpu)?,
        (Some(gpu), false) => block_on(builder.on_async(gpu))?,
        (None, _) => builder.on_cpu()?,
    };
    if d.is_hostile() {
        let trainer = usual(d).on_cpu()?;
        match d.flag() {
            true => probe.follow(&trainer)?,
            false => block_on(probe.follow_async(&trainer))?,
        }
    }
    for _ in 0..d.below(5) {
        let rows = d.number().min(1 << 10);
        let (inputs, outputs) = (d.pick(&[4, 12, 16]), d.pick(&[3, 4]));
        let input = d.floats::<f32>(rows * inputs);
        let target = d.floats::<f32>(rows * outputs);
        let looked = match d.below(6) {
            0 => probe.look(&input)?,
            1 => block_on(probe.look_async(&input))?,
            2 => probe.run(&input, &target[..])?,
            3 => block_on(probe.run_async(&input, &target[..]))?,
            4 => probe.run_with(&input, |_| vec![target.clone()])?,
            _ => block_on(probe.run_with_async(&input, |_| vec![target.clone()]))?,
        };
        let _ = (looked.value("0").is_ok(), looked.gradient("").is_ok());
        let _ = (probe.gpu().is_some(), probe.memory());
    }
    Ok(())
}

fn held(d: &mut Draw, gpu: Option<&Gpu>) -> Result<(), Error> {
    let own = || -> TrainerBuilder { Trainer::builder(model_of_rows()).loss(Losses::own_first()) };
    let builder = own().batch(3).input_gradients(d.flag()).accumulate(2);
    let mut trainer = match gpu {
        Some(gpu) => builder.on(gpu)?,
        None => builder.on_cpu()?,
    };
    let hold = |d: &mut Draw, trainer: &Trainer, width: usize| -> Result<Held, Error> {
        let rows = d.number().min(5);
        if d.is_hostile() && gpu.is_some() {
            return Ok(Tensor::from_slice(crate::ops::gpu(), [1, 4], &[0.5; 4])?.into());
        }
        let values = d.floats::<f32>(rows * width);
        match d.flag() {
            true => trainer.hold([rows, width], &values),
            false => block_on(trainer.hold_async([rows, width], &values)),
        }
    };
    for _ in 0..d.below(6) {
        let (x, g) = (hold(d, &trainer, 4)?, hold(d, &trainer, 3)?);
        let outputs = match d.flag() {
            true => trainer.forward_held(&[&x])?,
            false => block_on(trainer.forward_held_async(&[&x]))?,
        };
        let _ = (outputs[0].1.shape().len(), outputs[0].1.tensor().is_some());
        let g = match d.flag() {
            true => {
                let (target, loss) = (target(d, 3, 3), op::loss(d, 3));
                match d.flag() {
                    true => outputs[0].1.loss(target, loss)?.1,
                    false => block_on(outputs[0].1.loss_async(target, loss))?.1,
                }
            }
            false => g,
        };
        match d.below(4) {
            0 => trainer.backward_held(&[&g])?,
            1 => block_on(trainer.backward_held_async(&[&g]))?,
            2 => trainer.backward_inputs(&[&g])?,
            _ => block_on(trainer.backward_inputs_async(&[&g]))?,
        }
        let gradient = match d.flag() {
            true => trainer.input_gradient(d.number())?,
            false => block_on(trainer.input_gradient_async(0))?,
        };
        let _ = (gradient.to_vec()?, block_on(gradient.to_vec_async())?);
        trainer.update()?;
    }
    Ok(())
}

fn model_of_rows() -> wgpu_cnn::Model {
    let model = wgpu_cnn::Model::builder([4])
        .dense(4)
        .tanh()
        .dense(3)
        .build();
    model.expect("a model")
}
