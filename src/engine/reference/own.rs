//! Training by a loss that the caller computes: forward, backward, update.

use super::{Reference, Tape};
use crate::cpu::Real;
use crate::model::Inputs;
use crate::{Error, Result};

impl<T: Real> Reference<T> {
    /// The outputs of a batch in training. The running statistics are afterwards as the batch makes them.
    pub(crate) fn forward_training(&mut self, inputs: &Inputs<T>) -> Result<Vec<Vec<T>>> {
        let graph = &self.model.graph;
        let examples = inputs.examples(graph)?;
        let mut tape = std::mem::take(&mut self.tape);
        let done = tape.forward(self.training(examples), inputs.slices());
        self.tape = tape;
        self.forwarded = None;
        done?;
        self.tape.update_statistics(&mut self.parameters);
        self.forwarded = Some(examples);
        let outputs = self.model.graph.outputs().iter();
        Ok(outputs.map(|o| self.tape.values[o.0].clone()).collect())
    }

    /// The examples of the forward pass that a backward pass would go back from.
    pub(crate) fn forwarded(&self) -> Result<usize> {
        let reason = "needs a forward pass just before it";
        self.forwarded
            .ok_or_else(|| Error::argument("backward", reason))
    }

    /// The parameters' gradients from those of the outputs of the losses, added to those of batches that
    /// wait for an update.
    pub(crate) fn backward_own(&mut self, given: &[&[T]]) -> Result<()> {
        let examples = self.forwarded()?;
        if self.accumulate == 1 && self.pending.batches > 0 {
            let reason = "an update is due: accumulate(2) or more adds up the gradients of several";
            return Err(Error::argument("backward", reason));
        }
        let mut tape: Tape<T> = std::mem::take(&mut self.tape);
        tape.begin_gradients();
        for (loss, gradient) in self.losses.iter().zip(given) {
            tape.add_gradient(self.model.graph.outputs()[loss.output], gradient);
        }
        let mut gradients = std::mem::take(&mut self.gradients);
        let done = tape.backward(self.training(examples), &self.wanted, &mut gradients);
        (self.gradients, self.tape, self.forwarded) = (gradients, tape, None);
        done?;
        self.has_gradients = true;
        self.steps += 1;
        self.add_pending(1.0);
        Ok(())
    }
}
