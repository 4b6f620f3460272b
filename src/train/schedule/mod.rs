//! Learning rates that change from update to update, as values.

mod cycle;

use std::fmt;
use std::sync::Arc;

use crate::op::within;
use crate::{Error, Result};
pub use cycle::{Cyclic, OneCycle};

/// The learning rate of each update, from a base: the rate of the optimizer. PyTorch's schedulers with
/// their numbers, and what they are put together with.
///
/// A schedule is a function of the update's number and of nothing else. A
/// [trainer](crate::TrainerBuilder::schedule) sets the rate before each update, the first of which is
/// number 0.
///
/// ```
/// use wgpu_cnn::Schedule;
/// // 5 updates of warming up, then half a cosine down to a hundredth.
/// let schedule = Schedule::cosine(95, 1e-3).warm_up(5);
/// assert_eq!(schedule.rate(0.1, 5), 0.1);
/// assert!(schedule.rate(0.1, 0) < 0.02 && schedule.rate(0.1, 99) < 2e-3);
/// // As torch.optim.lr_scheduler.SequentialLR.
/// let sequence = Schedule::linear(0.1, 1.0, 5).then(5, Schedule::step(30, 0.1));
/// assert_eq!(sequence.rate(0.1, 35), 0.1 * 0.1);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule(Kind);

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Constant,
    Held {
        factor: f64,
        updates: u64,
    },
    Linear {
        from: f64,
        to: f64,
        updates: u64,
    },
    Step {
        updates: u64,
        factor: f64,
    },
    MultiStep {
        milestones: Vec<u64>,
        factor: f64,
    },
    Exponential {
        factor: f64,
    },
    Polynomial {
        updates: u64,
        power: f64,
    },
    Cosine {
        updates: u64,
        minimum: f64,
    },
    WarmRestarts {
        updates: u64,
        longer: u64,
        minimum: f64,
    },
    OneCycle(OneCycle),
    Cyclic(Cyclic),
    /// Each begins at an update, with its own number 0.
    Sequence {
        first: Box<Schedule>,
        others: Vec<(u64, Schedule)>,
    },
    /// The rate of each is the base of the next.
    Chain(Vec<Schedule>),
    WarmUp {
        updates: u64,
        then: Box<Schedule>,
    },
    Function(Function),
}

/// A factor for each update.
#[derive(Clone)]
struct Function(Arc<dyn Fn(u64) -> f64 + Send + Sync>);

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Schedule {
    /// The base, throughout.
    pub fn constant() -> Self {
        Self(Kind::Constant)
    }

    /// `factor` times the base for so many updates, and then the base: `ConstantLR`.
    pub fn held(factor: f64, updates: u64) -> Self {
        Self(Kind::Held { factor, updates })
    }

    /// From `from` times the base to `to` times the base in so many updates, in a line, and no further:
    /// `LinearLR`.
    pub fn linear(from: f64, to: f64, updates: u64) -> Self {
        Self(Kind::Linear { from, to, updates })
    }

    /// Times `factor` after every so many updates: `StepLR`.
    pub fn step(updates: u64, factor: f64) -> Self {
        Self(Kind::Step { updates, factor })
    }

    /// Times `factor` at each of these updates: `MultiStepLR`. One that is named twice counts twice.
    pub fn multi_step(milestones: impl IntoIterator<Item = u64>, factor: f64) -> Self {
        let mut milestones: Vec<u64> = milestones.into_iter().collect();
        milestones.sort_unstable();
        Self(Kind::MultiStep { milestones, factor })
    }

    /// Times `factor` after every update: `ExponentialLR`.
    pub fn exponential(factor: f64) -> Self {
        Self(Kind::Exponential { factor })
    }

    /// `base * (1 - t / updates)^power`, and 0 from there on: `PolynomialLR`.
    pub fn polynomial(updates: u64, power: f64) -> Self {
        Self(Kind::Polynomial { updates, power })
    }

    /// `minimum + (base - minimum) * (1 + cos(pi * t / updates)) / 2` (Loshchilov and Hutter 2017):
    /// `CosineAnnealingLR`. After so many updates it is at the minimum, and goes up again as it came.
    pub fn cosine(updates: u64, minimum: f64) -> Self {
        Self(Kind::Cosine { updates, minimum })
    }

    /// [`cosine`](Self::cosine), which begins again at the base once it has come down, each time `longer`
    /// times as long as before: `CosineAnnealingWarmRestarts`.
    pub fn warm_restarts(updates: u64, longer: u64, minimum: f64) -> Self {
        Self(Kind::WarmRestarts {
            updates,
            longer,
            minimum,
        })
    }

    /// Up to the base and down to almost nothing in so many updates (Smith and Topin 2018), with
    /// PyTorch's defaults: `OneCycleLR`.
    pub fn one_cycle(updates: u64) -> OneCycle {
        OneCycle::new(updates)
    }

    /// From the base up to a rate in so many updates, down again in as many, and so on (Smith 2017), with
    /// PyTorch's defaults: `CyclicLR`.
    pub fn cyclic(max_rate: f64, updates_up: u64) -> Cyclic {
        Cyclic::new(max_rate, updates_up)
    }

    /// The base times a function of the update's number: `LambdaLR`. It has to be the same function
    /// wherever a training is taken up again.
    pub fn function(factor: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Function(Arc::new(factor))))
    }

    /// From update `from` on another schedule, which counts from 0 there and begins at the base:
    /// `SequentialLR`. Of several, each begins no earlier than the one before.
    pub fn then(self, from: u64, next: impl Into<Schedule>) -> Self {
        let (first, mut others) = match self.0 {
            Kind::Sequence { first, others } => (first, others),
            kind => (Box::new(Self(kind)), vec![]),
        };
        others.push((from, next.into()));
        Self(Kind::Sequence { first, others })
    }

    /// This one's rate as the base of another, which multiplies the factors of both: `ChainedScheduler`,
    /// of schedules that are factors of the base.
    pub fn times(self, other: impl Into<Schedule>) -> Self {
        let mut chain = match self.0 {
            Kind::Chain(chain) => chain,
            kind => vec![Self(kind)],
        };
        chain.push(other.into());
        Self(Kind::Chain(chain))
    }

    /// So many updates before this schedule, which rise in a line to the rate that it begins with (Goyal
    /// et al. 2017): `1/(n+1)` of it, `2/(n+1)` and so on. The schedule counts from 0 after that.
    pub fn warm_up(self, updates: u64) -> Self {
        let then = Box::new(self);
        Self(Kind::WarmUp { updates, then })
    }

    /// The rate of an update, counted from 0, where the optimizer's is `base`.
    pub fn rate(&self, base: f64, update: u64) -> f64 {
        match &self.0 {
            Kind::Constant => base,
            Kind::Held { factor, updates } if update < *updates => base * factor,
            Kind::Held { .. } => base,
            Kind::Linear { from, to, updates } => {
                base * (from + (to - from) * share(update, *updates))
            }
            Kind::Step { updates, factor } => {
                base * factor.powf((update / (*updates).max(1)) as f64)
            }
            Kind::MultiStep { milestones, factor } => {
                let passed = milestones.partition_point(|&milestone| milestone <= update);
                base * factor.powf(passed as f64)
            }
            Kind::Exponential { factor } => base * factor.powf(update as f64),
            Kind::Polynomial { updates, power } => {
                base * (1.0 - share(update, *updates)).powf(*power)
            }
            Kind::Cosine { updates, minimum } => {
                // Reduced where it is exact: up again is down, told from the end.
                let period = 2 * u128::from((*updates).max(1));
                let within = u128::from(update) % period;
                let within = within.min(period - within) as u64;
                cosine(base, *minimum, share(within, *updates))
            }
            Kind::WarmRestarts {
                updates,
                longer,
                minimum,
            } => {
                let (within, period) = restarted(update, (*updates).max(1), *longer);
                cosine(base, *minimum, share(within, period))
            }
            Kind::OneCycle(cycle) => cycle.rate(base, update),
            Kind::Cyclic(cyclic) => cyclic.rate(base, update),
            Kind::Sequence { first, others } => {
                let begun = others.partition_point(|(from, _)| *from <= update);
                match begun.checked_sub(1).map(|last| &others[last]) {
                    Some((from, schedule)) => schedule.rate(base, update - from),
                    None => first.rate(base, update),
                }
            }
            Kind::Chain(chain) => {
                let rates = chain.iter();
                rates.fold(base, |base, schedule| schedule.rate(base, update))
            }
            Kind::WarmUp { updates, then } => match update.checked_sub(*updates) {
                Some(update) => then.rate(base, update),
                None => {
                    let risen = (update as f64 + 1.0) / (*updates as f64 + 1.0);
                    then.rate(base, 0) * risen
                }
            },
            Kind::Function(Function(factor)) => base * factor(update),
        }
    }

    /// Whether it changes nothing.
    pub(crate) fn is_constant(&self) -> bool {
        self.0 == Kind::Constant
    }

    /// The rate of an update, where it is one that an optimizer takes.
    pub(crate) fn checked_rate(&self, base: f64, update: u64) -> Result<f64> {
        let rate = self.rate(base, update);
        within("learning rate", rate, 0.0..f64::INFINITY).map_err(|_| {
            let reason = format!("gives update {update} the learning rate {rate}");
            Error::argument("schedule", reason)
        })?;
        Ok(rate)
    }

    /// Refuses lengths of 0 and numbers out of their domain.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.0 {
            Kind::Constant | Kind::Function(_) => Ok(()),
            Kind::Held { factor, updates } => {
                check_length(*updates)?;
                check_factor("factor", *factor)
            }
            Kind::Linear { from, to, updates } => {
                check_length(*updates)?;
                check_factor("from", *from)?;
                check_factor("to", *to)
            }
            Kind::Step { updates, factor } => {
                check_length(*updates)?;
                check_factor("factor", *factor)
            }
            Kind::MultiStep { factor, .. } | Kind::Exponential { factor } => {
                check_factor("factor", *factor)
            }
            Kind::Polynomial { updates, power } => {
                check_length(*updates)?;
                check_factor("power", *power)
            }
            Kind::Cosine { updates, minimum } => {
                check_length(*updates)?;
                check_factor("minimum", *minimum)
            }
            Kind::WarmRestarts {
                updates,
                longer,
                minimum,
            } => {
                check_length(*updates)?;
                if *longer == 0 {
                    let reason = "longer must not be zero: 1 keeps the length";
                    return Err(Error::argument("schedule", reason));
                }
                check_factor("minimum", *minimum)
            }
            Kind::OneCycle(cycle) => cycle.check(),
            Kind::Cyclic(cyclic) => cyclic.check(),
            Kind::Sequence { first, others } => {
                first.check()?;
                if !others.is_sorted_by_key(|(from, _)| *from) {
                    let reason = "has one that begins before the one before it";
                    return Err(Error::argument("schedule", reason));
                }
                others.iter().try_for_each(|(_, other)| other.check())
            }
            Kind::Chain(chain) => chain.iter().try_for_each(Self::check),
            Kind::WarmUp { updates, then } => {
                check_length(*updates)?;
                then.check()
            }
        }
    }
}

/// How much of so many updates is over, 1 at most.
fn share(update: u64, updates: u64) -> f64 {
    match update < updates {
        true => update as f64 / updates as f64,
        false => 1.0,
    }
}

/// Half a cosine from the base to the minimum, of which this share is over.
fn cosine(base: f64, minimum: f64, over: f64) -> f64 {
    minimum + (base - minimum) * (1.0 + (std::f64::consts::PI * over).cos()) / 2.0
}

/// The place of an update in its period, and the period's length.
fn restarted(update: u64, first: u64, longer: u64) -> (u64, u64) {
    if longer <= 1 {
        return (update % first, first);
    }
    let (mut within, mut period) = (update, first);
    while within >= period {
        within -= period;
        period = period.saturating_mul(longer);
    }
    (within, period)
}

fn check_length(updates: u64) -> Result<()> {
    match updates {
        0 => Err(Error::argument("schedule", "must not take zero updates")),
        _ => Ok(()),
    }
}

fn check_factor(name: &str, value: f64) -> Result<()> {
    within(&format!("schedule: {name}"), value, 0.0..f64::INFINITY)
}

#[cfg(test)]
mod tests;
