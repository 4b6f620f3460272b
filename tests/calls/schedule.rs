//! Schedules of the learning rate.

use wgpu_cnn::{Schedule, Trainer};

use crate::call::Call;
use crate::draw::Draw;
use crate::train::model;

const SCHEDULE: &[&str] = &[
    "Schedule::constant",
    "Schedule::held",
    "Schedule::linear",
    "Schedule::step",
    "Schedule::multi_step",
    "Schedule::exponential",
    "Schedule::polynomial",
    "Schedule::cosine",
    "Schedule::warm_restarts",
    "Schedule::one_cycle",
    "Schedule::cyclic",
    "Schedule::function",
    "Schedule::then",
    "Schedule::times",
    "Schedule::warm_up",
    "Schedule::rate",
    "OneCycle::max_rate",
    "OneCycle::rising",
    "OneCycle::linear",
    "OneCycle::div_factor",
    "OneCycle::final_div_factor",
    "OneCycle::three_phases",
    "Cyclic::updates_down",
    "Cyclic::halved",
    "Cyclic::falling",
    "TrainerBuilder::schedule",
];

pub fn calls() -> Vec<Call> {
    vec![Call::medium(SCHEDULE, |d| {
        let schedule = schedule(d);
        let updates = [0, 1, 2, 3, d.number() as u64, u64::MAX];
        let base = d.real();
        let rates = updates.map(|update| schedule.rate(base, update));
        let trainer = Trainer::builder(model(d)).schedule(schedule.clone());
        // What can be made of numbers within their domain are numbers.
        trainer.on_cpu().is_ok() && rates[..4].iter().all(|rate| !rate.is_nan())
    })]
}

/// A schedule, of whatever numbers.
pub fn schedule(d: &mut Draw) -> Schedule {
    let updates = |d: &mut Draw| d.number() as u64;
    let mut schedule = match d.below(12) {
        0 => Schedule::constant(),
        1 => Schedule::held(d.real(), updates(d)),
        2 => Schedule::linear(d.real(), d.real(), updates(d)),
        3 => Schedule::step(updates(d), d.real()),
        4 => Schedule::multi_step([updates(d), updates(d)], d.real()),
        5 => Schedule::exponential(d.real()),
        6 => Schedule::polynomial(updates(d), d.real()),
        7 => Schedule::cosine(updates(d), d.real()),
        8 => Schedule::warm_restarts(updates(d), updates(d), d.real()),
        9 => {
            let mut cycle = Schedule::one_cycle(updates(d)).rising(d.real());
            if d.flag() {
                cycle = cycle
                    .max_rate(d.real())
                    .div_factor(d.real())
                    .final_div_factor(d.real());
            }
            cycle.linear(d.flag()).three_phases(d.flag()).into()
        }
        10 => {
            let cyclic = Schedule::cyclic(d.real(), updates(d)).updates_down(updates(d));
            match d.below(3) {
                0 => cyclic.into(),
                1 => cyclic.halved().into(),
                _ => cyclic.falling(d.real()).into(),
            }
        }
        _ => {
            let factor = d.real();
            Schedule::function(move |update| factor * update as f64)
        }
    };
    if d.below(4) == 0 {
        schedule = schedule.warm_up(updates(d));
    }
    match d.below(6) {
        0 => schedule.then(updates(d), self::schedule(d)),
        1 => schedule.times(self::schedule(d)),
        _ => schedule,
    }
}
