//! What the reference computes by.

use super::Reference;
use crate::Result;
use crate::cpu::{self, Real};
use crate::engine::operators::{self, Gradients, Kept, Saved, Site};
use crate::op::{Op, Optimizer};

/// What the reference computes by. Who makes a reference brings them along, and walks have them from there: so a
/// program that makes none, a page for one, has none of what they lead to in it, though a trainer may go through one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<T> {
    pub(super) forward: Forward<T>,
    pub(super) backward: Backward<T>,
    pub(super) update: Update<T>,
}

type Forward<T> = fn(&Op, &Site, &[&[T]], &[&[T]], &mut [T], &mut Kept<T>) -> Result<()>;
type Backward<T> = fn(&Op, &Site, &Saved<T>, &[T], &mut Gradients<T>) -> Result<()>;
type Update<T> = fn(&Optimizer, u64, &mut [T], &[T], &mut [Vec<T>]) -> Result<()>;

impl<T: Real> Rules<T> {
    /// Those of all operators and optimizers.
    pub const ALL: Self = Self {
        forward: operators::forward,
        backward: operators::backward,
        update: cpu::optimizer_update,
    };
}

impl<T: Real> Reference<T> {
    /// What it computes by.
    pub(crate) fn rules(&self) -> Rules<T> {
        self.rules
    }
}
