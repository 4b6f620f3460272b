//! A trainer on a GPU and one on the CPU, step by step, beside the reference in f64.
//!
//! After each step all that follow take over the parameters of the GPU, so that one step's roundings are
//! not the next one's.

use std::collections::HashMap;

use fastrand::Rng;
use wgpu_cnn::engine::Reference;
use wgpu_cnn::{
    Error, Gpu, Loss, Optimizer, Reduction, Result, Shape, Target, Trainer, TrainerBuilder,
};

use super::data::{Labels, noised, other, values};
use super::draw::{Batch, Drawn, Fill, one_in};
use super::driver::has_driver;
use super::tolerance::{Likely, Tally};
use super::{Outcome, RUNS};

/// What inputs and parameters are off by in runs with noise, relatively: some roundings.
const ROUNDING: f64 = 8.0 * f32::EPSILON as f64;
/// The same where functions of the driver, such as `exp`, have a part in a model.
const DRIVER: f64 = 2e-5;
/// Numbers beyond this are set aside.
const LARGEST: f64 = 1e15;

/// Why a race ends early.
enum Stop {
    SetAside(String),
    Differs(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Differs(error.to_string())
    }
}

/// Trains a model with so many runs of the reference with noise. The trainer on the GPU is that of
/// `on_gpu`, the same model but where a fault is to be found.
pub fn race(drawn: &Drawn, on_gpu: &Drawn, gpu: &Gpu, runs: usize) -> Outcome {
    let race = Race::new(drawn, on_gpu, gpu, runs).and_then(|mut race| {
        let steps = drawn.batches.iter().enumerate();
        steps
            .map(|(at, batch)| race.step(at, batch))
            .collect::<std::result::Result<Vec<()>, Stop>>()?;
        Ok(race.tally)
    });
    match race {
        Ok(tally) => Outcome::Equal(tally),
        Err(Stop::SetAside(reason)) => Outcome::SetAside(reason),
        Err(Stop::Differs(reason)) => Outcome::Differs(reason),
    }
}

struct Race<'a> {
    drawn: &'a Drawn,
    /// The trainers that are held to the reference: the GPU's, then the CPU's.
    trainers: [(&'static str, Trainer); 2],
    exact: Reference<f64>,
    noisy: Vec<Reference<f32>>,
    /// The parameters at the beginning of a step: of the GPU, and of each run with noise.
    before: Vec<Vec<f64>>,
    noisy_before: Vec<Vec<Vec<f64>>>,
    names: Vec<(String, Shape)>,
    /// What the last gradient of each parameter may be off by, beside itself.
    gradients_off: HashMap<String, f64>,
    noise: f64,
    /// For the data, whatever the number of runs.
    rng: Rng,
    noise_rng: Rng,
    tally: Tally,
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

impl<'a> Race<'a> {
    fn new(
        drawn: &'a Drawn,
        on_gpu: &Drawn,
        gpu: &Gpu,
        runs: usize,
    ) -> std::result::Result<Self, Stop> {
        let model = drawn.network.model()?;
        let (loss, optimizer, seed) = (&drawn.loss, drawn.optimizer, drawn.seed);
        let on_gpu = match drawn.max_slab {
            Some(bytes) => builder(on_gpu)?.max_slab(bytes),
            None => builder(on_gpu)?,
        };
        let trainers = match (on_gpu.on(gpu), builder(drawn)?.on_cpu()) {
            (Ok(gpu), Ok(cpu)) => [("GPU", gpu), ("CPU", cpu)],
            (Err(gpu), Err(cpu)) if gpu.to_string() == cpu.to_string() => {
                return Err(Stop::SetAside(format!("refused: {gpu}")));
            }
            (gpu, cpu) => {
                let [gpu, cpu] = [gpu.err(), cpu.err()];
                let reason = format!("made on the GPU: {gpu:?}; on the CPU: {cpu:?}");
                return Err(Stop::Differs(reason));
            }
        };
        let exact = prepared(
            Reference::<f64>::new(&model, loss.clone(), optimizer, seed)?,
            drawn,
        )?;
        let noisy = Reference::<f32>::new(&model, loss.clone(), optimizer, seed)?;
        let noisy = vec![prepared(noisy, drawn)?; runs];
        let names: Vec<_> = model
            .parameters()
            .map(|(name, shape)| (name.to_string(), shape.clone()))
            .collect();
        let mut race = Self {
            drawn,
            trainers,
            exact,
            noisy,
            names,
            gradients_off: HashMap::new(),
            before: vec![],
            noisy_before: vec![],
            noise: if has_driver(drawn) { DRIVER } else { ROUNDING },
            rng: Rng::with_seed(drawn.seed ^ 0xda7a),
            noise_rng: Rng::with_seed(drawn.seed ^ 0x0ff),
            tally: Tally::default(),
        };
        race.initial()?;
        race.follow()?;
        Ok(race)
    }

    /// The parameters that training starts from.
    fn initial(&mut self) -> std::result::Result<(), Stop> {
        for (name, shape) in &self.names {
            let [gpu, cpu] = self
                .trainers
                .each_ref()
                .map(|(_, trainer)| trainer.parameter(name));
            let (gpu, cpu) = (gpu?, cpu?);
            if gpu
                .iter()
                .zip(&cpu)
                .any(|(a, b)| a.to_bits() != b.to_bits())
            {
                return Err(Stop::Differs(format!("{name} starts elsewhere")));
            }
            if let Some(values) = self
                .drawn
                .other_weights
                .then(|| other(&mut self.rng, name, shape))
                .flatten()
            {
                for (_, trainer) in &mut self.trainers {
                    trainer.set_parameter(name, &values)?;
                }
            }
        }
        Ok(())
    }

    /// All take over the parameters of the GPU, some with noise.
    fn follow(&mut self) -> Result<()> {
        self.before.clear();
        self.noisy_before.resize(self.noisy.len(), vec![]);
        self.noisy_before.iter_mut().for_each(Vec::clear);
        for (name, _) in &self.names {
            let values = self.trainers[0].1.parameter(name)?;
            self.trainers[1].1.set_parameter(name, &values)?;
            let exact = wide(&values);
            self.exact.set_parameter(name, &exact)?;
            self.before.push(exact);
            for (run, before) in self.noisy.iter_mut().zip(&mut self.noisy_before) {
                let values = noised(&mut self.noise_rng, self.noise, &values);
                run.set_parameter(name, &values)?;
                before.push(wide(&values));
            }
        }
        Ok(())
    }

    fn step(&mut self, at: usize, batch: &Batch) -> std::result::Result<(), Stop> {
        if let Some(rate) = batch.learning_rate {
            self.trainers
                .iter_mut()
                .try_for_each(|(_, trainer)| trainer.set_learning_rate(rate))?;
            self.exact.set_learning_rate(rate)?;
            self.noisy
                .iter_mut()
                .try_for_each(|run| run.set_learning_rate(rate))?;
        }
        let shape = self.exact.model().input_shape().clone();
        let x = values(&mut self.rng, batch.fill, batch.examples * shape.len());
        let target = self.target(batch);
        let exact = self.exact.step(&wide(&x), &target);
        for (name, trainer) in &mut self.trainers {
            match (trainer.step(&x, target.clone()), &exact) {
                (Ok(()), Ok(_)) => {}
                (Err(got), Err(expected)) if got.to_string() == expected.to_string() => {
                    return Err(Stop::SetAside(format!("step {at}: refused: {got}")));
                }
                (got, expected) => {
                    return Err(Stop::Differs(format!(
                        "step {at}: {name} says {got:?}, the reference {expected:?}"
                    )));
                }
            }
        }
        let exact = exact?;
        let mut losses = Vec::new();
        for run in &mut self.noisy {
            let x = noised(&mut self.noise_rng, self.noise, &x);
            losses.push([f64::from(run.step(&x, &target)?)]);
        }
        self.compare_losses(at, batch, exact, &losses)?;
        self.compare_gradients(at)?;
        self.compare_parameters(&format!("after step {at}"))?;
        self.follow()?;
        if batch.update {
            self.trainers
                .iter_mut()
                .try_for_each(|(_, trainer)| trainer.update())?;
            self.exact.update_now()?;
            self.noisy.iter_mut().try_for_each(Reference::update_now)?;
            self.compare_parameters(&format!("after the update behind step {at}"))?;
            self.follow()?;
        }
        self.compare_predictions(at, batch.predict)
    }

    fn target(&mut self, batch: &Batch) -> Target {
        let (loss, output) = (&self.drawn.loss, self.exact.model().output_shape());
        let len = batch.examples * output.len();
        let Some(of) = Labels::of(loss) else {
            return match loss {
                Loss::BinaryCrossEntropy(_) | Loss::KlDivergence(_) => shares(&mut self.rng, len),
                _ => Target::Values(values(&mut self.rng, Fill::Uniform, len)),
            };
        };
        if batch.soft && !matches!(loss, Loss::NegativeLogLikelihood(_)) {
            return shares(&mut self.rng, len);
        }
        let classes = output[0];
        let rng = &mut self.rng;
        let labels = (0..len / classes).map(|_| match of.ignored {
            Some(ignored) if one_in(rng, 4) => ignored,
            _ => rng.i64(0..classes as i64),
        });
        let mut labels: Vec<i64> = labels.collect();
        // A mean over nothing is no number: rarely.
        if let Some(counts) = of.counted(classes).filter(|_| !one_in(rng, 32)) {
            labels[0] = counts;
        }
        Target::from(labels)
    }

    fn compare_losses(
        &mut self,
        at: usize,
        batch: &Batch,
        exact: f64,
        noisy: &[[f64; 1]],
    ) -> std::result::Result<(), Stop> {
        let noisy = noisy.iter().map(|loss| &loss[..]);
        let got = self.trainers.each_ref().map(|(_, trainer)| trainer.loss());
        let [gpu, cpu] = got;
        let (gpu, cpu) = (gpu?, cpu?);
        let Some(likely) = Likely::new(vec![exact], noisy) else {
            return Err(match [gpu, cpu].map(f32::is_finite) {
                [false, false] => Stop::SetAside(format!("step {at}: the loss is {exact}")),
                _ => Stop::Differs(format!(
                    "step {at}: the loss is {exact}, on the GPU {gpu}, on the CPU {cpu}"
                )),
            });
        };
        // A logarithm of a sum near one is off by what `exp` is off by, whatever is left of it.
        let loss = &self.drawn.loss;
        let output = self.exact.model().output_shape();
        let plane = loss.geometry(batch.examples, output)?.plane;
        let rows = match () {
            () if is(loss, Reduction::Sum) => batch.examples * plane,
            () if is(loss, Reduction::BatchMean) => plane,
            () => 1,
        };
        let likely = likely.and(self.noise * (exact.abs() + rows as f64));
        self.held(&likely, &format!("step {at}, the loss"), |_, which| {
            Ok(vec![[gpu, cpu][which].into()])
        })
    }

    fn compare_gradients(&mut self, at: usize) -> std::result::Result<(), Stop> {
        let mut all = Vec::new();
        for (name, _) in &self.names {
            let Ok(exact) = self.exact.gradient(name) else {
                continue;
            }; // a statistic
            let noisy: Vec<Vec<f64>> = self
                .noisy
                .iter()
                .map(|run| Ok(wide(run.gradient(name)?)))
                .collect::<Result<_>>()?;
            let Some(likely) = Likely::new(exact.to_vec(), noisy.iter().map(Vec::as_slice)) else {
                return Err(Stop::SetAside(format!(
                    "step {at}: a gradient that is not finite"
                )));
            };
            all.push((name.clone(), likely));
        }
        // Where a gradient is what is left of larger ones, roundings of these are in it.
        let largest = all
            .iter()
            .map(|(_, likely)| likely.largest())
            .fold(0.0, f64::max);
        if largest > LARGEST {
            return Err(Stop::SetAside(format!(
                "step {at}: a gradient of {largest:e}"
            )));
        }
        self.gradients_off.clear();
        for (name, likely) in all {
            let own = self.noise * likely.largest();
            let off = likely.clone().and(own).loosest();
            self.gradients_off.insert(name.clone(), off);
            let likely = likely.and(self.noise * largest);
            let what = format!("step {at}, gradient of {name}");
            self.held(&likely, &what, |trainer, _| {
                Ok(wide(&trainer.gradient(&name)?))
            })?;
        }
        Ok(())
    }

    /// What has become of the parameters and statistics: by how much each has changed.
    fn compare_parameters(&mut self, when: &str) -> std::result::Result<(), Stop> {
        let change = |after: &[f64], before: &[f64]| -> Vec<f64> {
            after
                .iter()
                .zip(before)
                .map(|(after, before)| after - before)
                .collect()
        };
        for (at, (name, _)) in self.names.clone().iter().enumerate() {
            let before = self.before[at].clone();
            let exact = change(self.exact.parameter(name)?, &before);
            let runs = self.noisy.iter().zip(&self.noisy_before);
            let noisy: Vec<Vec<f64>> = runs
                .map(|(run, before)| Ok(change(&wide(run.parameter(name)?), &before[at])))
                .collect::<Result<_>>()?;
            let largest = before.iter().map(|value| value.abs()).fold(0.0, f64::max);
            let likely = Likely::new(exact, noisy.iter().map(Vec::as_slice));
            let likely = likely.filter(|likely| likely.largest().max(largest) <= LARGEST);
            let Some(likely) = likely else {
                return Err(Stop::SetAside(format!(
                    "{when}: {name} is not finite or huge"
                )));
            };
            let own = self.noise * likely.largest()
                + f64::from(f32::EPSILON) * (largest + likely.largest());
            let likely = self.relatively(name, likely.and(own));
            self.held(
                &likely,
                &format!("{when}, change of {name}"),
                |trainer, _| Ok(change(&wide(&trainer.parameter(name)?), &before)),
            )?;
        }
        Ok(())
    }

    /// The change of a parameter, by an optimizer that divides a gradient by its own size: the relative
    /// error of a small gradient is then that of a large change.
    fn relatively(&self, name: &str, change: Likely) -> Likely {
        // Most models do without, and are held more tightly.
        let again = self.noisy.len() > RUNS[0];
        let divides = again && !matches!(self.drawn.optimizer, Optimizer::Sgd(_));
        match (self.gradients_off.get(name), self.exact.gradient(name)) {
            (Some(off), Ok(gradient)) if divides => {
                // A step of Lion's goes either way, and all of it.
                let lion = matches!(self.drawn.optimizer, Optimizer::Lion(_));
                let largest = change.largest() * if lion { 2.0 } else { 1.0 };
                change.and_each(|at| largest * (off / gradient[at].abs()).min(1.0))
            }
            _ => change,
        }
    }

    fn compare_predictions(&mut self, at: usize, examples: usize) -> std::result::Result<(), Stop> {
        let len = examples * self.exact.model().input_shape().len();
        let x = values(&mut self.rng, Fill::Uniform, len);
        let exact = self.exact.forward(&wide(&x))?;
        let mut noisy = Vec::new();
        for run in &self.noisy {
            noisy.push(wide(&run.forward(&noised(
                &mut self.rng,
                self.noise,
                &x,
            ))?));
        }
        let Some(likely) = Likely::new(exact, noisy.iter().map(Vec::as_slice)) else {
            return Err(Stop::SetAside(format!(
                "behind step {at}: a prediction that is not finite"
            )));
        };
        let own = self.noise * likely.largest();
        self.held(
            &likely.and(own),
            &format!("behind step {at}, prediction of {examples}"),
            |trainer, _| Ok(wide(&trainer.predict(&x)?)),
        )
    }

    /// Compares what each trainer has.
    fn held(
        &mut self,
        likely: &Likely,
        what: &str,
        got: impl Fn(&mut Trainer, usize) -> Result<Vec<f64>>,
    ) -> std::result::Result<(), Stop> {
        likely.count(&mut self.tally);
        for (which, (name, trainer)) in self.trainers.iter_mut().enumerate() {
            let got = got(trainer, which)?;
            likely
                .check(&got)
                .map_err(|wrong| Stop::Differs(format!("{what} on the {name}: {wrong}")))?;
        }
        Ok(())
    }
}

/// Numbers within 0..1.
fn shares(rng: &mut Rng, len: usize) -> Target {
    Target::Values((0..len).map(|_| rng.f32()).collect())
}

/// What both kinds of trainers are made with.
fn builder(drawn: &Drawn) -> Result<TrainerBuilder> {
    let builder = Trainer::builder(drawn.network.model()?)
        .batch(drawn.batch)
        .loss(drawn.loss.clone())
        .optimizer(drawn.optimizer)
        .seed(drawn.seed)
        .accumulate(drawn.accumulate)
        .in_flight(drawn.in_flight);
    Ok(match drawn.clip_norm {
        Some(norm) => builder.clip_norm(norm),
        None => builder,
    })
}

/// A reference with the options of the training.
fn prepared<T: wgpu_cnn::cpu::Real>(
    mut reference: Reference<T>,
    drawn: &Drawn,
) -> Result<Reference<T>> {
    reference.set_clip_norm(drawn.clip_norm)?;
    reference.set_accumulate(drawn.accumulate)?;
    Ok(reference)
}

fn is(loss: &Loss, reduction: Reduction) -> bool {
    *loss == loss.clone().reduction(reduction)
}
