//! The optimizer, and its learning rate.

use super::Reference;
use crate::Result;
use crate::cpu::Real;
use crate::model::Groups;
use crate::op::Optimizer;

impl<T: Real> Reference<T> {
    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The optimizer and its hyper-parameters.
    pub fn optimizer(&self) -> &Optimizer {
        self.groups.base()
    }

    /// Changes the learning rate, from the next step on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) where it is negative, infinite or NaN.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        self.groups.set_learning_rate(learning_rate)
    }

    /// Makes the learning rate of each group what a function makes of its own base.
    pub(crate) fn set_rates(&mut self, base: f64, rate: impl Fn(f64) -> Result<f64>) -> Result<()> {
        self.groups.set_rates(base, rate)
    }
}
