//! Lion.

use super::{Optimizer, check_decay};
use crate::Result;
use crate::op::within;

/// Lion (Chen et al. 2023), a step of the same size for every weight: `c = b1*m + (1-b1)*g;
/// w -= lr * (sign(c) + weight_decay * w); m = b2*m + (1-b2)*g`. Its rates are three to ten times
/// smaller than Adam's, and its weight decay larger by as much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    /// The learning rate.
    pub learning_rate: f64,
    /// The mean's share of the step's direction, and its decay rate. Default `[0.9, 0.99]`.
    pub betas: [f64; 2],
    /// The weight decay, which does not pass through the gradient. Default 0.
    pub weight_decay: f64,
}

setters! {
    Lion {
        /// Sets the mean's share of the step's direction, and its decay rate.
        betas: [f64; 2],
        /// Sets the weight decay.
        weight_decay: f64,
    }
}

impl Lion {
    pub(super) fn check(&self) -> Result<()> {
        within("beta 1", self.betas[0], 0.0..1.0)?;
        within("beta 2", self.betas[1], 0.0..1.0)?;
        check_decay(self.learning_rate, self.weight_decay, true)
    }
}
