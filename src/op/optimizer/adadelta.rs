//! Adadelta.

use super::Optimizer;
use crate::Result;
use crate::op::{check_small, within};

/// Adadelta (Zeiler 2012): `g += weight_decay * w; s = rho * s + (1 - rho) * g^2;
/// d = sqrt(a + eps) / sqrt(s + eps) * g; a = rho * a + (1 - rho) * d^2; w -= lr * d`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adadelta {
    /// The learning rate: what the method's own step is multiplied by.
    pub learning_rate: f64,
    /// The decay rate of both mean squares. Default 0.9.
    pub rho: f64,
    /// Begins the steps, and keeps the division finite. Default 1e-6.
    pub epsilon: f64,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
}

setters! {
    Adadelta {
        /// Sets the decay rate of both mean squares.
        rho: f64,
        /// Sets the term that begins the steps and keeps the division finite.
        epsilon: f64,
        /// Sets the L2 penalty's factor.
        weight_decay: f64,
    }
}

impl Adadelta {
    pub(super) fn check(&self) -> Result<()> {
        within("rho", self.rho, 0.0..=1.0)?;
        check_small("epsilon", self.epsilon)?;
        within("weight decay", self.weight_decay, 0.0..f64::INFINITY)
    }
}
