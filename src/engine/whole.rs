//! The losses of a whole set, from the outputs of its batches.

use crate::cpu;
use crate::model::{Graph, OutputLoss};
use crate::op::{Dice, Loss, LossGeometry, Reduction, Target};
use crate::{Error, Result};

/// Losses added up over the batches of a set, so that they are those of all of its examples as one batch:
/// a mean is over all that count, whatever the batches are.
pub(crate) struct WholeLosses {
    examples: u64,
    /// In the order of the losses.
    totals: Vec<Total>,
    /// Where gradients go, that nobody asks for.
    gradient: Vec<f32>,
}

/// A loss so far.
#[derive(Debug, Clone, Default)]
struct Total {
    /// Before the division.
    sum: f64,
    /// What the sum is to be divided by.
    normaliser: f64,
    /// Of a Dice loss whose coefficients are those of all examples, the sums of each class.
    dice: Vec<[f64; 2]>,
}

impl WholeLosses {
    pub fn new(losses: &[OutputLoss]) -> Self {
        Self {
            examples: 0,
            totals: vec![Total::default(); losses.len()],
            gradient: vec![],
        }
    }

    /// Adds a batch, with each of the outputs that have a loss, and targets that have been checked. A loss of
    /// the caller's counts for nothing.
    pub fn add(
        &mut self,
        graph: &Graph,
        losses: &[OutputLoss],
        examples: usize,
        outputs: &[Vec<f32>],
        targets: &[Target],
    ) -> Result<()> {
        for ((loss, target), total) in losses.iter().zip(targets).zip(&mut self.totals) {
            let Some(function) = &loss.loss else { continue };
            let shape = graph.shape(graph.outputs()[loss.output]);
            let geometry = function.geometry(examples, shape)?;
            let output = &outputs[loss.output];
            if let Loss::Dice(dice) = function
                && dice.over_batch
            {
                total.add_dice(dice, &geometry, output, target);
                continue;
            }
            let normaliser = function.normaliser(target, &geometry);
            if normaliser == 0.0 {
                continue; // nothing of it counts
            }
            self.gradient.resize(output.len(), 0.0);
            // Divided at once: the sum may be more than 32 bits hold.
            let value = cpu::loss_forward_backward(
                function,
                &geometry,
                normaliser,
                output,
                target,
                &mut self.gradient,
            )?;
            total.sum += f64::from(value) * normaliser;
            total.normaliser += normaliser;
        }
        self.examples += examples as u64;
        Ok(())
    }

    /// The examples so far.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// Each of the losses, before its weight; NaN where nothing counted, and where it is the caller's.
    pub fn finish(self, losses: &[OutputLoss]) -> Result<Vec<f64>> {
        if self.examples == 0 {
            return Err(Error::argument("batches", "there is none"));
        }
        let examples = self.examples as f64;
        let finish = |(loss, total): (&OutputLoss, Total)| match &loss.loss {
            None => f64::NAN,
            Some(Loss::Dice(dice)) if dice.over_batch => total.dice_loss(dice, examples),
            Some(function) if function.is_sum() => total.sum,
            Some(_) => total.sum / total.normaliser,
        };
        Ok(losses.iter().zip(self.totals).map(finish).collect())
    }
}

impl Total {
    fn add_dice(&mut self, loss: &Dice, geometry: &LossGeometry, output: &[f32], target: &Target) {
        let of_batch = cpu::dice_sums(loss, geometry, output, target);
        self.dice.resize(of_batch.len(), [0.0; 2]);
        for (sums, of_batch) in self.dice.iter_mut().zip(of_batch) {
            sums.iter_mut()
                .zip(of_batch)
                .for_each(|(sum, term)| *sum += term);
        }
    }

    fn dice_loss(&self, loss: &Dice, examples: f64) -> f64 {
        let of_class = |[both, all]: &[f64; 2]| (all - both - both) / (all + loss.smoothing);
        let sum: f64 = self.dice.iter().map(of_class).sum();
        match loss.reduction {
            Reduction::Sum => sum,
            Reduction::Mean => sum / self.dice.len() as f64,
            Reduction::BatchMean => sum / examples,
        }
    }
}
