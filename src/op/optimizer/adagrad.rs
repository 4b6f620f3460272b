//! Adagrad.

use super::Optimizer;
use crate::Result;
use crate::op::{check_small, within};

/// Adagrad (Duchi et al. 2011): `g += weight_decay * w; s += g^2;
/// w -= lr / (1 + t * lr_decay) * g / (sqrt(s) + eps)`, where `t` counts from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adagrad {
    /// The learning rate.
    pub learning_rate: f64,
    /// How fast the learning rate falls. Default 0.
    pub learning_rate_decay: f64,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
    /// What the sum of squares begins with. Default 0.
    pub initial_accumulator: f64,
    /// Keeps the division finite. Default 1e-10.
    pub epsilon: f64,
}

setters! {
    Adagrad {
        /// Sets how fast the learning rate falls.
        learning_rate_decay: f64,
        /// Sets the L2 penalty's factor.
        weight_decay: f64,
        /// Sets what the sum of squares begins with.
        initial_accumulator: f64,
        /// Sets the term that keeps the division finite.
        epsilon: f64,
    }
}

impl Adagrad {
    /// The learning rate of an update, counted from 1.
    pub(crate) fn rate(&self, step: u64) -> f64 {
        self.learning_rate / (1.0 + step.saturating_sub(1) as f64 * self.learning_rate_decay)
    }

    pub(super) fn check(&self) -> Result<()> {
        let positive = || 0.0..f64::INFINITY;
        within("learning rate decay", self.learning_rate_decay, positive())?;
        within("weight decay", self.weight_decay, positive())?;
        within("initial accumulator", self.initial_accumulator, positive())?;
        check_small("epsilon", self.epsilon)
    }
}
