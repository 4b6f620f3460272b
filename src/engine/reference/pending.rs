//! The batches that wait for an update.

use super::Reference;
use crate::cpu::Real;
use crate::engine::Round;
use crate::model::OutputLoss;

/// The batches since the last update, where an update takes several.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    pub batches: usize,
    /// The examples of these.
    pub examples: u64,
    /// The sums of their gradients, in `f64` since they may be many.
    pub gradients: Vec<Vec<f64>>,
    /// What the sums are to be divided by.
    pub normaliser: f64,
}

impl<T: Real> Reference<T> {
    /// Counts the batches of a round.
    pub(super) fn count(&mut self, round: Round) {
        self.steps += round.batches;
        self.trained = self.trained.saturating_add(round.examples);
    }

    /// Adds the gradients, where a batch of this rank has left any, to those that wait for an update. Those of a
    /// mean are multiplied with what the batch counts for.
    pub(super) fn add_pending(&mut self, round: Round, shares: &[f64], own: Option<f64>) {
        let pending = &mut self.pending;
        if pending.batches == 0 {
            (pending.examples, pending.normaliser) = (0, 0.0);
            pending.gradients.clear();
            let zeros = self.gradients.iter().map(|like| vec![0.0; like.len()]);
            pending.gradients.extend(zeros);
        }
        if let Some(share) = own {
            add_times(&mut pending.gradients, &self.gradients, divisor(share));
        }
        pending.batches += 1;
        pending.examples = pending.examples.saturating_add(round.examples);
        // A sum of losses is not divided, however many batches it is over.
        let sums = self.losses.iter().all(OutputLoss::is_sum);
        for share in shares {
            pending.normaliser = if sums {
                1.0
            } else {
                pending.normaliser + share
            };
        }
        self.divide_pending();
    }

    /// Makes the gradients those of all pending batches together.
    pub(super) fn divide_pending(&mut self) {
        let divisor = divisor(self.pending.normaliser);
        for (gradient, sum) in self.gradients.iter_mut().zip(&self.pending.gradients) {
            gradient
                .iter_mut()
                .zip(sum)
                .for_each(|(gradient, sum)| *gradient = T::nearest(sum / divisor));
        }
    }
}

/// Adds gradients times a factor to sums of them.
pub(super) fn add_times<T: Real>(sums: &mut [Vec<f64>], gradients: &[Vec<T>], factor: f64) {
    for (sums, gradient) in sums.iter_mut().zip(gradients) {
        let pairs = sums.iter_mut().zip(gradient);
        pairs.for_each(|(sum, gradient)| *sum += gradient.wide() * factor);
    }
}

/// What gradients that are added up are divided by. Where every row was ignored or has no weight they
/// are zero, and stay so.
pub(super) fn divisor(normaliser: f64) -> f64 {
    match normaliser {
        0.0 => 1.0,
        normaliser => normaliser,
    }
}
