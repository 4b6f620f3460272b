//! Any sequence of a trainer's calls means the same on a GPU and on the CPU: the same values within
//! rounding, the same refusals, and after those the same state as before.

use std::path::{Path, PathBuf};

use wgpu_cnn::{
    Error, Gpu, Linear, Loss, Model, Optimizer, Reduction, Shape, Target, Trainer, TrainerBuilder,
};

use crate::common::{poisoned_gpus, random, uniform};

/// A call with its arguments.
#[derive(Debug, Clone)]
enum Call {
    Step(Vec<f32>, Target),
    Update,
    Loss,
    Predict(Vec<f32>),
    Parameter(String),
    SetParameter(String, Vec<f32>),
    Gradient(String),
    SetLearningRate(f64),
    LearningRate,
    Save(&'static str),
    Load(&'static str),
}

/// What is trained, and what targets it takes.
struct Setting {
    name: &'static str,
    builder: TrainerBuilder,
    model: Model,
    batch: usize,
    /// The label that the loss ignores, if it takes labels.
    labels: Option<i64>,
}

fn settings() -> Vec<Setting> {
    let image = Model::builder([2, 6, 5])
        .residual(|body| body.conv2d(2, 1).tanh())
        .conv2d(3, 3)
        .batch_norm()
        .silu()
        .avg_pool2d(2)
        .flatten()
        .dropout(0.3)
        .dense(3);
    // Before the normalisation a bias would have a gradient of nothing but rounding.
    let rows = Model::builder([5])
        .push(Linear::new(6).bias(false))
        .batch_norm()
        .tanh()
        .dense(3);
    let short = Model::builder([4]).dense(5).layer_norm().sigmoid().dense(2);
    let [image, rows, short] = [image, rows, short].map(|model| model.build().unwrap());
    let entropy = || Loss::cross_entropy().class_weights([0.5, 2.0, 1.0]);
    let with = |name, model: &Model, batch, labels, loss: Loss, optimizer: Optimizer| Setting {
        name,
        builder: Trainer::builder(model.clone())
            .batch(batch)
            .loss(loss)
            .optimizer(optimizer),
        model: model.clone(),
        batch,
        labels,
    };
    let momentum = Optimizer::sgd(0.02).momentum(0.9);
    let ignoring = entropy().ignored_label(-100).into();
    let smooth = Loss::cross_entropy().label_smoothing(0.1).into();
    let sum = Loss::mean_squared_error().reduction(Reduction::Sum);
    let binary = Loss::binary_cross_entropy().into();
    let adam = Optimizer::adam(1e-3).into();
    let mut settings = vec![
        with("image", &image, 4, Some(-100), ignoring, momentum.into()),
        with("rows", &rows, 3, Some(7), smooth, momentum.into()),
        with("summed", &short, 5, None, sum, Optimizer::sgd(0.01).into()),
        with("binary", &short, 2, None, binary, adam),
    ];
    for (setting, (accumulate, clip)) in
        settings
            .iter_mut()
            .zip([(1, None), (3, Some(0.05)), (2, None), (4, Some(1.0))])
    {
        let builder = setting.builder.clone().accumulate(accumulate).seed(11);
        setting.builder = match clip {
            Some(norm) => builder.clip_norm(norm),
            None => builder,
        };
    }
    settings
}

impl Setting {
    fn input(&self, rng: &mut fastrand::Rng) -> (Vec<f32>, usize) {
        let example = self.model.input_shape().len();
        // Mostly a whole batch, else a part of one, nothing, or too many.
        let examples = match rng.u32(0..8) {
            0 => rng.usize(0..2 * self.batch + 2),
            1..4 => rng.usize(1..self.batch + 1),
            _ => self.batch,
        };
        let ragged = rng.u32(0..24) == 0;
        let len = examples * example + usize::from(ragged);
        (uniform(rng, len), examples)
    }

    fn target(&self, rng: &mut fastrand::Rng, examples: usize) -> Target {
        let outputs = self.model.output_shape().len();
        let rows = match rng.u32(0..24) {
            0 => examples + 1,
            _ => examples,
        };
        let wrong_kind = rng.u32(0..24) == 0;
        let values = |rng: &mut fastrand::Rng| -> Target {
            (0..rows * outputs)
                .map(|_| rng.f32())
                .collect::<Vec<_>>()
                .into()
        };
        match self.labels {
            Some(_) if rng.u32(0..4) == 0 => values(rng),
            None if !wrong_kind => values(rng),
            ignored => {
                let label = |_| match rng.u32(0..40) {
                    0 => [-1, 3, 255, 1 << 32, i64::MIN, u32::MAX.into()][rng.usize(0..6)],
                    1..6 => ignored.unwrap_or(0),
                    _ => rng.i64(0..3),
                };
                (0..rows).map(label).collect::<Vec<i64>>().into()
            }
        }
    }

    /// A parameter's name, seldom one that the model does not have.
    fn name(&self, rng: &mut fastrand::Rng) -> (String, Shape) {
        let parameters: Vec<_> = self.model.parameters().collect();
        match parameters.get(rng.usize(0..parameters.len() + 1)) {
            Some(&(name, shape)) => (name.into(), shape.clone()),
            None => ("9.weight".into(), [3].into()),
        }
    }

    fn call(&self, rng: &mut fastrand::Rng) -> Call {
        match rng.u32(0..40) {
            0..16 => {
                let (input, examples) = self.input(rng);
                Call::Step(input, self.target(rng, examples))
            }
            16..18 => Call::Update,
            18..22 => Call::Loss,
            22..26 => Call::Predict(self.input(rng).0),
            26..28 => Call::Parameter(self.name(rng).0),
            28..30 => {
                let (name, shape) = self.name(rng);
                let len = shape.len() + usize::from(rng.u32(0..5) == 0);
                let values = uniform(rng, len).into_iter();
                // A running variance is above zero.
                Call::SetParameter(name, values.map(|value| value.abs() + 0.1).collect())
            }
            30..34 => Call::Gradient(self.name(rng).0),
            34 => Call::SetLearningRate([0.01, 0.002, 0.0, -1.0, f64::NAN][rng.usize(0..5)]),
            35 => Call::LearningRate,
            36 => Call::Save(["kept", "."][usize::from(rng.u32(0..4) == 0)]),
            _ => Call::Load(["kept", "other", "missing"][rng.usize(0..3)]),
        }
    }
}

fn apply(
    trainer: &mut Trainer,
    call: &Call,
    folder: &Path,
    writes: bool,
) -> Result<Vec<f32>, Error> {
    match call {
        Call::Step(input, target) => trainer.step(input, target.clone()).map(|()| vec![]),
        Call::Update => trainer.update().map(|()| vec![]),
        Call::Loss => trainer.loss().map(|loss| vec![loss]),
        Call::Predict(input) => trainer.predict(input),
        Call::Parameter(name) => trainer.parameter(name),
        Call::SetParameter(name, values) => trainer.set_parameter(name, values).map(|()| vec![]),
        Call::Gradient(name) => trainer.gradient(name),
        Call::SetLearningRate(rate) => trainer.set_learning_rate(*rate).map(|()| vec![]),
        Call::LearningRate => Ok(vec![trainer.learning_rate() as f32]),
        // Both load what one of them has saved.
        Call::Save(name) if writes || *name == "." => {
            trainer.save(folder.join(name)).map(|()| vec![])
        }
        Call::Save(_) => Ok(vec![]),
        Call::Load(name) => trainer.load(folder.join(name)).map(|_| vec![]),
    }
}

/// Whether outcomes are the same: values within rounding, errors to the letter.
fn same(gpu: &Result<Vec<f32>, Error>, cpu: &Result<Vec<f32>, Error>) -> bool {
    match (gpu, cpu) {
        (Ok(gpu), Ok(cpu)) => {
            let largest = cpu
                .iter()
                .fold(1e-2, |most: f32, value| most.max(value.abs()));
            let near = |(a, b): (&f32, &f32)| {
                a == b || (a - b).abs() < 1e-3 * largest || (a.is_nan() && b.is_nan())
            };
            gpu.len() == cpu.len() && gpu.iter().zip(cpu).all(near)
        }
        (Err(gpu), Err(cpu)) => gpu == cpu,
        _ => false,
    }
}

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Walks a sequence, and counts the calls that went well and those that were refused.
fn walk(setting: &Setting, gpu: &Gpu, device: &str, seed: u64) -> [usize; 2] {
    let name = format!("wgpu-cnn-calls-{}-{seed}-{device}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&folder.0).unwrap();
    // Another model's file.
    let other = Model::builder([2]).push(Linear::new(1).bias(false));
    let other = other.build().unwrap();
    let other = Trainer::builder(other).loss(Loss::mean_squared_error());
    other
        .on_cpu()
        .unwrap()
        .save(folder.0.join("other"))
        .unwrap();
    let mut on_gpu = setting.builder.clone().on(gpu).unwrap();
    let mut on_cpu = setting.builder.clone().on_cpu().unwrap();
    let mut rng = random(seed);
    let (mut counts, mut past) = ([0; 2], Vec::new());
    let mut check = |call: Call| {
        let outcomes = [
            apply(&mut on_gpu, &call, &folder.0, false),
            apply(&mut on_cpu, &call, &folder.0, true),
        ];
        let short = format!("{call:?}").chars().take(60).collect::<String>();
        past.push(format!(
            "{short} {}",
            if outcomes[1].is_ok() { "" } else { "(refused)" }
        ));
        let recent = &past[past.len().saturating_sub(12)..];
        assert!(
            same(&outcomes[0], &outcomes[1]),
            "{} on {device}, seed {seed}, call {}: {call:?}\nGPU {:?}\nCPU {:?}\nafter {recent:#?}",
            setting.name,
            past.len(),
            outcomes[0],
            outcomes[1]
        );
        counts[usize::from(outcomes[1].is_err())] += 1;
    };
    for _ in 0..150 {
        check(setting.call(&mut rng));
    }
    for (name, _) in setting.model.parameters() {
        check(Call::Parameter(name.into()));
    }
    counts
}

#[test]
fn any_sequence_of_calls_has_the_same_outcome_on_gpu_and_cpu() {
    // More of them: WGPU_CNN_WALKS=100.
    let walks = std::env::var("WGPU_CNN_WALKS").map_or(1, |walks| walks.parse().unwrap());
    for (device, gpu) in poisoned_gpus() {
        let mut counts = [0; 2];
        for (at, setting) in settings().iter().enumerate() {
            for seed in 0..walks {
                let walked = walk(setting, gpu, device, 1000 * at as u64 + seed);
                counts = [counts[0] + walked[0], counts[1] + walked[1]];
            }
        }
        assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
    }
}
