//! How far a kernel may be from the reference.
//!
//! A sum of K products in f32, in whatever order, is off by about `eps * sqrt(K) * sum|terms|`. K is
//! what the operator [states](crate::engine::operators::Rounding). The terms' magnitude is what the
//! reference gives for absolute values, where the result is a plain sum. Otherwise it is the result
//! itself, and to that comes what the reference in f32, on data that are off by a rounding, is off by
//! from the one in f64. Where functions of the driver have a part, a share of the largest result is
//! added: some drivers are that inexact.
//!
//! On whole numbers plain sums have no rounding at all, and must be equal. Winograd's algorithm and Fourier transforms have
//! some, which they spread over a tile or a block: there the magnitude is the largest of all, and the whole number that is nearest must be right.

use half::f16;

use super::compare::Expected;
use super::data::{Fill, off_by_a_rounding, wide};
use super::operators::{Exact, Sum};
use super::reference::Compute;
use crate::Result;
use crate::cpu;
use crate::gpu::kernel::Format;
use crate::op::Activation;

/// Errors in units of `eps * sqrt(K) * magnitude` that pass.
const FACTOR: f64 = 2.0;
/// Errors in units of the f32 reference's own that pass.
const REFERENCE: f64 = 8.0;
const EPSILON: f64 = f32::EPSILON as f64;
/// What the driver's own functions may be off by, as a part of the largest result.
const DRIVER: f64 = 2e-5;
/// What a fast algorithm's transforms may add, in units of `eps` of the largest magnitude.
const SPREAD: f64 = 16.0;
/// What its results on whole numbers may be off by: there is one such number that is right.
const NEAREST: f64 = 0.4;
/// What underflow may cost.
const ABSOLUTE: f64 = f32::MIN_POSITIVE as f64;
/// Whole numbers up to here are exact in f32.
const WHOLE: f64 = 16_777_216.0;
/// The distance between neighbours in f16, relatively and near zero: devices may round either way.
const EPSILON_HALF: f64 = 1.0 / 1024.0;
const ABSOLUTE_HALF: f64 = 1.0 / 16_777_216.0;

/// What a sum of so many terms, whose magnitudes add up to this, may be off by in f32.
pub fn of_sum(terms: usize, magnitude: f64) -> f64 {
    ABSOLUTE + FACTOR * EPSILON * (terms as f64).sqrt() * magnitude
}

/// A result by the reference: in f64, on absolute values, and in f32 on data off by a rounding.
pub(super) struct Measured {
    pub values: Vec<f64>,
    absolute: Vec<f64>,
    rounded: Vec<f32>,
}

/// Every result on the data, with its magnitudes where sums need them.
pub(super) fn measure(
    what: &impl Compute,
    inputs: &[Vec<f32>],
    magnitudes: bool,
) -> Result<Vec<Measured>> {
    let absolute = |values: &Vec<f32>| values.iter().map(|v| f64::from(v.abs())).collect();
    let exact = what.compute::<f64>(&map(inputs, |values| wide(values)))?;
    let absolute = match magnitudes {
        true => what.compute::<f64>(&map(inputs, absolute))?,
        false => vec![vec![]; exact.len()],
    };
    let rounded = what.compute::<f32>(&map(inputs, |values| off_by_a_rounding(values)))?;
    let results = exact.into_iter().zip(absolute).zip(rounded);
    let results = results.map(|((values, absolute), rounded)| Measured {
        values,
        absolute,
        rounded,
    });
    Ok(results.collect())
}

fn map<T>(inputs: &[Vec<f32>], f: impl Fn(&Vec<f32>) -> Vec<T>) -> Vec<Vec<T>> {
    inputs.iter().map(f).collect()
}

impl Measured {
    /// The result with its tolerances.
    pub fn expect(&self, sum: Sum, fill: Fill) -> Expected {
        let pairs = self.values.iter().zip(&self.rounded);
        let rounded = pairs.map(|(&exact, &rounded)| exact - f64::from(rounded));
        let around = REFERENCE * largest(rounded) + driver(sum, &self.values);
        let most = largest(self.absolute.iter().copied());
        let of_sum = |magnitude: f64| match sum.spread {
            true => of_sum(sum.terms, magnitude.max(most)) + SPREAD * EPSILON * most,
            false => of_sum(sum.terms, magnitude),
        };
        let tolerance = |(at, value): (usize, &f64)| match (sum.exact, self.absolute.get(at)) {
            (Exact::Always, _) => 0.0,
            (Exact::Integers, Some(&own)) if fill == Fill::Integers && own <= WHOLE => {
                match sum.spread {
                    true => of_sum(own).min(NEAREST),
                    false => 0.0,
                }
            }
            (_, Some(&most)) if sum.absolute => of_sum(most),
            _ => of_sum(value.abs()) + around,
        };
        let tolerances = self.values.iter().enumerate().map(tolerance).collect();
        let base = (self.values.len() as f64 * sum.reach) as usize;
        Expected::new(self.values.clone(), tolerances, fill, base)
    }
}

/// What the driver's functions may do to results.
fn driver(sum: Sum, values: &[f64]) -> f64 {
    let share = if sum.driver { DRIVER } else { 0.0 };
    share * largest(values.iter().copied())
}

/// A copy of values, exactly.
pub(super) fn copied(values: Vec<f64>, fill: Fill) -> Expected {
    let (len, tolerances) = (values.len(), vec![0.0; values.len()]);
    Expected::new(values, tolerances, fill, len)
}

/// What a kernel does to a result on its way to memory, done to what is expected of it.
impl Expected {
    /// Through an activation that is part of the kernel: what the errors become, and its own.
    pub fn activated(mut self, activation: Activation) -> Result<Self> {
        let own = activation.own_rounding().output;
        let apply = |x: &[f64]| -> Result<Vec<f64>> {
            let mut y = vec![0.0; x.len()];
            cpu::activation_forward(activation, x, &mut y)?;
            Ok(y)
        };
        let shifted = |sign: f64| -> Vec<f64> {
            let pairs = self.values.iter().zip(&self.tolerances);
            pairs
                .map(|(value, tolerance)| value + sign * tolerance)
                .collect()
        };
        let (values, above, below) = (
            apply(&self.values)?,
            apply(&shifted(1.0))?,
            apply(&shifted(-1.0))?,
        );
        let driver = driver(own, &values);
        let unit = FACTOR * EPSILON * (own.terms as f64).sqrt();
        for (at, tolerance) in self.tolerances.iter_mut().enumerate() {
            let value = values[at];
            let passed_on = (above[at] - value).abs().max((below[at] - value).abs());
            let unchanged = own.exact == Exact::Always || value == self.values[at];
            *tolerance = passed_on
                + if unchanged {
                    0.0
                } else {
                    unit * value.abs() + driver
                };
        }
        self.values = values;
        Ok(self)
    }

    /// A gradient with respect to a value as one with respect to the argument of the activation that
    /// made it; `saved` is what the kernel reads for that.
    pub fn through(mut self, activation: Activation, saved: &[f64]) -> Result<Self> {
        let gradient = |saved: &[f64], gy: &[f64]| -> Result<Vec<f64>> {
            let mut gx = vec![0.0; gy.len()];
            cpu::activation_backward(activation, saved, saved, gy, &mut gx)?;
            Ok(gx)
        };
        let nearby: Vec<f64> = saved.iter().map(|v| v * (1.0 + EPSILON)).collect();
        let (values, tolerances) = (
            gradient(saved, &self.values)?,
            gradient(saved, &self.tolerances)?,
        );
        let nearby = gradient(&nearby, &self.values)?;
        for (at, tolerance) in tolerances.iter().enumerate() {
            let (value, before) = (values[at], self.values[at]);
            let own = match value == before || value == 0.0 {
                true => 0.0, // handed on, or stopped
                false => REFERENCE * (nearby[at] - value).abs() + 4.0 * EPSILON * before.abs(),
            };
            self.tolerances[at] = tolerance.abs() + own;
        }
        self.values = values;
        Ok(self)
    }

    /// The sum with what was there before, or with the gradient by another way, made in so many additions.
    pub fn plus(mut self, other: &Self, additions: usize) -> Self {
        for (at, value) in self.values.iter_mut().enumerate() {
            let magnitude = value.abs() + other.values[at].abs();
            *value += other.values[at];
            let tolerance = &mut self.tolerances[at];
            *tolerance += other.tolerances[at];
            let whole = self.fill == Fill::Integers && *tolerance == 0.0 && magnitude <= WHOLE;
            let rounding = EPSILON * magnitude * additions as f64;
            *tolerance += if whole { 0.0 } else { rounding };
        }
        self
    }

    /// A gradient that follows from a value as it is stored in a format, at most in proportion.
    pub fn with_value_stored(mut self, format: Format, value: &[f32], gy: &[f32]) -> Self {
        if format == Format::F16 {
            let largest = |values: &[f32]| largest(values.iter().map(|&v| v.into()));
            let off = EPSILON_HALF * largest(value) * largest(gy);
            self.tolerances
                .iter_mut()
                .for_each(|tolerance| *tolerance += off);
        }
        self
    }

    /// As it is stored in a format. What is exact in f16 stays so.
    pub fn stored(mut self, format: Format) -> Self {
        if format == Format::F16 {
            let pairs = self.tolerances.iter_mut().zip(&self.values);
            for (tolerance, &value) in pairs {
                let exact = *tolerance == 0.0 && f16::from_f64(value).to_f64() == value;
                let rounding = EPSILON_HALF * value.abs() + ABSOLUTE_HALF;
                *tolerance += if exact { 0.0 } else { rounding };
            }
        }
        self
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, value| value.abs().max(most))
}
