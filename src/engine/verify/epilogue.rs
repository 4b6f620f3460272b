//! What a kernel does to a result on its way to memory, done to what is expected of it: the twin of
//! `core/epilogue.wgsl`.

use super::compare::Expected;
use super::data::Fill;
use super::tolerance::{DRIVER, EPSILON, WHOLE, largest};
use crate::Result;
use crate::cpu;
use crate::op::Activation;

impl Expected {
    /// Through an activation that is part of the kernel: errors pass it by at most its steepest
    /// slope, and it adds its own.
    pub fn activated(self, activation: Activation) -> Result<Self> {
        let mut values = vec![0.0; self.values.len()];
        cpu::activation_forward(activation, &self.values, &mut values)?;
        let (steepest, all) = match activation {
            Activation::Sigmoid => (0.25, DRIVER * largest(&values)),
            Activation::Tanh => (1.0, DRIVER * largest(&values)),
            Activation::LeakyRelu { slope } => (f64::from(slope).max(1.0), 0.0),
            _ => (1.0, 0.0),
        };
        let own = |value: f64| match activation {
            Activation::LeakyRelu { .. } if value < 0.0 => EPSILON * value.abs(),
            _ => all,
        };
        let tolerances = self.tolerances.iter().zip(&values);
        let tolerances = tolerances
            .map(|(&t, &value)| steepest * t + own(value))
            .collect();
        Ok(Self {
            values,
            tolerances,
            ..self
        }
        .judged_for_trust())
    }

    /// A gradient with respect to a value as one with respect to the argument of the activation
    /// that made the value.
    pub fn through(self, activation: Activation, value: &[f64]) -> Result<Self> {
        let mut values = vec![0.0; self.values.len()];
        let mut tolerances = values.clone();
        let gradient =
            |gy: &[f64], gx: &mut [f64]| cpu::activation_backward(activation, value, value, gy, gx);
        gradient(&self.values, &mut values)?;
        gradient(&self.tolerances, &mut tolerances)?;
        for (at, tolerance) in tolerances.iter_mut().enumerate() {
            let own = match activation {
                Activation::Relu => 0.0,
                Activation::LeakyRelu { .. } if value[at] > 0.0 => 0.0,
                Activation::LeakyRelu { .. } => values[at].abs(),
                _ => 4.0 * (1.0 + value[at] * value[at]) * self.values[at].abs(),
            };
            *tolerance = tolerance.abs() + EPSILON * own;
        }
        Ok(Self {
            values,
            tolerances,
            ..self
        }
        .judged_for_trust())
    }

    /// The sum with what was there before, or with the gradient by another way.
    pub fn plus(mut self, other: &Self) -> Self {
        for (at, value) in self.values.iter_mut().enumerate() {
            let magnitude = value.abs() + other.values[at].abs();
            *value += other.values[at];
            let tolerance = &mut self.tolerances[at];
            *tolerance += other.tolerances[at];
            let whole = self.fill == Fill::Integers && *tolerance == 0.0 && magnitude <= WHOLE;
            *tolerance += if whole { 0.0 } else { EPSILON * magnitude };
        }
        self.trusted &= other.trusted;
        self
    }
}
