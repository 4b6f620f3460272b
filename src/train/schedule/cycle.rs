//! Rates that rise and fall.

use super::{Kind, Schedule, check_factor, check_length};
use crate::op::within;
use crate::{Error, Result};

/// `OneCycleLR` (Smith and Topin 2018): up from `max / div` to `max` and down to
/// `max / (div * final_div)`, made by [`Schedule::one_cycle`].
///
/// The maximum is the base, and so each parameter group's own, unless it is
/// [given](Self::max_rate). The momentum stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OneCycle {
    updates: u64,
    max_rate: Option<f64>,
    rising: f64,
    linear: bool,
    div: f64,
    final_div: f64,
    three_phases: bool,
}

impl OneCycle {
    pub(super) fn new(updates: u64) -> Self {
        Self {
            updates,
            max_rate: None,
            rising: 0.3,
            linear: false,
            div: 25.0,
            final_div: 1e4,
            three_phases: false,
        }
    }

    /// Sets the largest rate, whatever the base is.
    pub fn max_rate(mut self, rate: f64) -> Self {
        self.max_rate = Some(rate);
        self
    }

    /// Sets the share of the updates in which the rate rises. Default 0.3.
    pub fn rising(mut self, share: f64) -> Self {
        self.rising = share;
        self
    }

    /// Sets whether it goes in lines rather than in halves of a cosine. Default false.
    pub fn linear(mut self, linear: bool) -> Self {
        self.linear = linear;
        self
    }

    /// Sets what the largest rate is divided by for the first. Default 25.
    pub fn div_factor(mut self, factor: f64) -> Self {
        self.div = factor;
        self
    }

    /// Sets what the first rate is divided by for the last. Default 10,000.
    pub fn final_div_factor(mut self, factor: f64) -> Self {
        self.final_div = factor;
        self
    }

    /// Sets whether the rate falls to the first as fast as it has risen, and to the last in what remains.
    /// Default false: in one go.
    pub fn three_phases(mut self, three: bool) -> Self {
        self.three_phases = three;
        self
    }

    pub(super) fn rate(&self, base: f64, update: u64) -> f64 {
        let max = self.max_rate.unwrap_or(base);
        let first = max / self.div;
        let last = first / self.final_div;
        // As PyTorch has it: a phase ends at a number of an update, which may be a fraction.
        let updates = self.updates.max(1) as f64;
        let rising = self.rising * updates;
        let phases = match self.three_phases {
            true => vec![
                (rising - 1.0, first, max),
                (2.0 * rising - 2.0, max, first),
                (updates - 1.0, first, last),
            ],
            false => vec![(rising - 1.0, first, max), (updates - 1.0, max, last)],
        };
        // What comes after the last update stays with it.
        let update = (update as f64).min(updates - 1.0);
        let (mut begin, mut rate) = (0.0, last);
        for (at, &(end, from, to)) in phases.iter().enumerate() {
            if update <= end || at + 1 == phases.len() {
                let over = match end == begin {
                    true => 1.0,
                    false => (update - begin) / (end - begin),
                };
                rate = self.between(from, to, over);
                break;
            }
            begin = end;
        }
        rate
    }

    fn between(&self, from: f64, to: f64, over: f64) -> f64 {
        match self.linear {
            true => (to - from) * over + from,
            false => to + (from - to) / 2.0 * ((std::f64::consts::PI * over).cos() + 1.0),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_length(self.updates)?;
        if let Some(rate) = self.max_rate {
            check_factor("max_rate", rate)?;
        }
        within("schedule: rising", self.rising, 0.0..=1.0)?;
        check_divisor("div_factor", self.div)?;
        check_divisor("final_div_factor", self.final_div)
    }
}

impl From<OneCycle> for Schedule {
    fn from(cycle: OneCycle) -> Self {
        Self(Kind::OneCycle(cycle))
    }
}

/// `CyclicLR` (Smith 2017): from the base up to a rate and down again, over and over, in lines, made by
/// [`Schedule::cyclic`]. The momentum stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cyclic {
    max_rate: f64,
    up: u64,
    down: u64,
    heights: Heights,
}

/// How high the cycles are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Heights {
    Equal,
    Halved,
    /// Times this after every update.
    Falling(f64),
}

impl Cyclic {
    pub(super) fn new(max_rate: f64, up: u64) -> Self {
        Self {
            max_rate,
            up,
            down: up,
            heights: Heights::Equal,
        }
    }

    /// Sets the updates in which the rate falls. Default as many as it rises in.
    pub fn updates_down(mut self, updates: u64) -> Self {
        self.down = updates;
        self
    }

    /// Makes each cycle half as high as the one before: the mode `triangular2`.
    pub fn halved(mut self) -> Self {
        self.heights = Heights::Halved;
        self
    }

    /// Makes the height above the base fall by a factor with every update: the mode `exp_range`.
    pub fn falling(mut self, factor: f64) -> Self {
        self.heights = Heights::Falling(factor);
        self
    }

    pub(super) fn rate(&self, base: f64, update: u64) -> f64 {
        let (up, down) = (self.up.max(1), self.down);
        let length = u128::from(up) + u128::from(down);
        let (cycle, within) = (u128::from(update) / length, u128::from(update) % length);
        let risen = match within <= u128::from(up) {
            true => within as f64 / up as f64,
            false => (length - within) as f64 / down as f64,
        };
        let height = match self.heights {
            Heights::Equal => 1.0,
            Heights::Halved => 0.5f64.powf(cycle as f64),
            Heights::Falling(factor) => factor.powf(update as f64),
        };
        base + (self.max_rate - base) * risen * height
    }

    pub(super) fn check(&self) -> Result<()> {
        check_length(self.up)?;
        check_factor("max_rate", self.max_rate)?;
        match self.heights {
            Heights::Equal | Heights::Halved => Ok(()),
            Heights::Falling(factor) => check_factor("factor", factor),
        }
    }
}

impl From<Cyclic> for Schedule {
    fn from(cyclic: Cyclic) -> Self {
        Self(Kind::Cyclic(cyclic))
    }
}

fn check_divisor(name: &str, value: f64) -> Result<()> {
    match value > 0.0 {
        true => check_factor(name, value),
        false => {
            let reason = format!("{name} is {value}, which nothing is divided by");
            Err(Error::argument("schedule", reason))
        }
    }
}
