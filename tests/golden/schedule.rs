//! Schedules by the names of PyTorch's classes, and the rates that a trainer takes by them.

use serde_json::Value;
use wgpu_cnn::{Gpu, Loss, Model, Optimizer, Schedule, Trainer};

use crate::Result;
use crate::format::Outputs;
use crate::options::{Options, extent};

pub struct Rates {
    schedule: Schedule,
    base: f64,
    updates: usize,
}

impl Rates {
    pub fn read(options: &Options) -> std::result::Result<Self, String> {
        let base = options.number("base_lr", f64::NAN)?;
        Ok(Self {
            schedule: schedule(options, base)?,
            base,
            updates: options.extent("steps", 30)?,
        })
    }

    /// The rate of each update of a training.
    pub fn run(&self, gpu: Option<&Gpu>) -> Result<Outputs> {
        let model = Model::builder([1]).dense(1).build()?;
        let trainer = Trainer::builder(model).batch(1);
        let trainer = trainer.optimizer(Optimizer::sgd(self.base));
        let trainer = trainer.loss(Loss::mean_squared_error());
        let trainer = trainer.schedule(self.schedule.clone());
        let mut trainer = match gpu {
            Some(gpu) => trainer.on(gpu)?,
            None => trainer.on_cpu()?,
        };
        // A gradient of 2 for the bias alone: what it changes by tells the rate that was taken.
        trainer.set_parameter("0.weight", &[0.0])?;
        let mut rates = Vec::new();
        for update in 0..self.updates {
            let rate = trainer.learning_rate();
            trainer.set_parameter("0.bias", &[0.0])?;
            trainer.step(&[0.0], [-1.0f32])?;
            let taken = f64::from(trainer.parameter("0.bias")?[0]) / -2.0;
            if (taken - rate).abs() > 1e-6 * rate.abs() {
                return Err(format!("update {update} was at {taken}, not {rate}").into());
            }
            rates.push(rate as f32);
        }
        let mut out = Outputs::default();
        out.floats("lr", rates);
        Ok(out)
    }
}

/// A schedule by its class, with all of its options known.
fn schedule(options: &Options, base: f64) -> std::result::Result<Schedule, String> {
    let number = |name: &str, default: f64| options.number(name, default);
    let updates = |name: &str, default: usize| options.extent(name, default).map(|n| n as u64);
    Ok(match options.text("scheduler", "")? {
        "ConstantLR" => Schedule::held(number("factor", 1.0 / 3.0)?, updates("total_iters", 5)?),
        "LinearLR" => Schedule::linear(
            number("start_factor", 1.0 / 3.0)?,
            number("end_factor", 1.0)?,
            updates("total_iters", 5)?,
        ),
        "StepLR" => Schedule::step(updates("step_size", 0)?, number("gamma", 0.1)?),
        "MultiStepLR" => {
            let milestones = options.list("milestones", extent)?.unwrap_or_default();
            let milestones = milestones.into_iter().map(|at| at as u64);
            Schedule::multi_step(milestones, number("gamma", 0.1)?)
        }
        "ExponentialLR" => Schedule::exponential(number("gamma", f64::NAN)?),
        "PolynomialLR" => Schedule::polynomial(updates("total_iters", 5)?, number("power", 1.0)?),
        "CosineAnnealingLR" => Schedule::cosine(updates("T_max", 0)?, number("eta_min", 0.0)?),
        "CosineAnnealingWarmRestarts" => Schedule::warm_restarts(
            updates("T_0", 0)?,
            updates("T_mult", 1)?,
            number("eta_min", 0.0)?,
        ),
        "OneCycleLR" => one_cycle(options)?,
        "CyclicLR" => cyclic(options, base)?,
        "SequentialLR" => {
            let milestones = options.list("milestones", extent)?.unwrap_or_default();
            let mut schedules = schedules(options, base)?.into_iter();
            if milestones.len() + 1 != schedules.len() {
                return Err(format!("milestones are {milestones:?}"));
            }
            let first = schedules.next().ok_or("schedulers are none")?;
            let others = milestones.into_iter().zip(schedules);
            others.fold(first, |first, (from, next)| first.then(from as u64, next))
        }
        "ChainedScheduler" => {
            let schedules = schedules(options, base)?.into_iter();
            schedules
                .reduce(Schedule::times)
                .ok_or("schedulers are none")?
        }
        other => return Err(format!("unknown scheduler {other:?}")),
    })
}

/// The schedules that others are made of.
fn schedules(options: &Options, base: f64) -> std::result::Result<Vec<Schedule>, String> {
    let list = options.get("schedulers").and_then(Value::as_array);
    let list = list.ok_or("schedulers are not a list")?;
    let each = list.iter().map(|one| {
        let one = one.as_object().ok_or(format!("schedulers has {one}"))?;
        let options = Options::new(one);
        let schedule = schedule(&options, base)?;
        options.finish()?;
        Ok(schedule)
    });
    each.collect()
}

fn one_cycle(options: &Options) -> std::result::Result<Schedule, String> {
    let each = options.extent("epochs", 0)? * options.extent("steps_per_epoch", 0)?;
    let updates = options.extent("total_steps", each)?;
    without_momentum(options);
    let linear = match options.text("anneal_strategy", "cos")? {
        "cos" => false,
        "linear" => true,
        other => return Err(format!("unknown anneal_strategy {other:?}")),
    };
    let cycle = Schedule::one_cycle(updates as u64)
        .max_rate(options.number("max_lr", f64::NAN)?)
        .rising(options.number("pct_start", 0.3)?)
        .linear(linear)
        .div_factor(options.number("div_factor", 25.0)?)
        .final_div_factor(options.number("final_div_factor", 1e4)?)
        .three_phases(options.flag("three_phase", false)?);
    Ok(cycle.into())
}

fn cyclic(options: &Options, base: f64) -> std::result::Result<Schedule, String> {
    let up = options.extent("step_size_up", 2000)?;
    let down = options.extent("step_size_down", up)?;
    without_momentum(options);
    let max_rate = options.number("max_lr", f64::NAN)?;
    let cyclic = Schedule::cyclic(max_rate, up as u64).updates_down(down as u64);
    let gamma = options.number("gamma", 1.0)?;
    let cyclic = match options.text("mode", "triangular")? {
        "triangular" => cyclic,
        "triangular2" => cyclic.halved(),
        "exp_range" => cyclic.falling(gamma),
        other => return Err(format!("unknown mode {other:?}")),
    };
    // Among others it may have a base of its own.
    Ok(match options.number("base_lr", base)? / base {
        1.0 => cyclic.into(),
        factor => Schedule::function(move |_| factor).times(cyclic),
    })
}

/// Asks for what says how momenta go along, which rates do not depend on.
fn without_momentum(options: &Options) {
    options.redundant(&["cycle_momentum", "base_momentum", "max_momentum"]);
}
