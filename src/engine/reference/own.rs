//! Training by a loss that the caller computes: forward, backward, update.

use super::predict::numbers;
use super::{Reference, Tape};
use crate::cpu::Real;
use crate::engine::Round;
use crate::engine::wanted::Wanted;
use crate::model::{Inputs, check_forwarded, check_gradients, check_not_due, check_own};
use crate::{Error, Result};

impl<T: Real> Reference<T> {
    /// The first half of a step by a [loss of one's own](crate::Losses::own): each of the model's outputs
    /// in training, in the order of [`Model::outputs`](crate::Model::outputs). The running statistics are
    /// afterwards as the batch makes them.
    ///
    /// ```
    /// use wgpu_cnn::engine::Reference;
    /// use wgpu_cnn::{Losses, Model, Optimizer};
    /// let model = Model::builder([2]).dense(1).build()?;
    /// let sgd = Optimizer::sgd(0.1);
    /// let mut reference = Reference::<f64>::new(&model, Losses::own_first(), sgd, 0)?;
    /// let y = reference.forward_training(&[1.0, 2.0])?.swap_remove(0);
    /// // The gradient of (y - 3)^2.
    /// reference.backward(&[2.0 * (y[0] - 3.0)])?;
    /// reference.update_now()?;
    /// let after = reference.forward(&[1.0, 2.0])?;
    /// assert!((after[0] - 3.0).abs() < (y[0] - 3.0).abs());
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the losses are not the caller's, [`Error::Shape`] for a batch that does
    /// not fit.
    pub fn forward_training<'a>(&mut self, inputs: impl Into<Inputs<'a, T>>) -> Result<Vec<Vec<T>>>
    where
        T: 'a,
    {
        check_own(&self.losses, "forward_training")?;
        let (graph, inputs) = (&self.model.graph, inputs.into());
        let examples = inputs.examples(graph)?;
        graph.check_training(examples)?;
        let mut tape = std::mem::take(&mut self.tape);
        let done = tape.forward(self.training(examples), &numbers(graph, &inputs));
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
        check_forwarded(self.forwarded)
    }

    /// Sets whether a way back leaves the losses' gradients with respect to the inputs.
    pub(crate) fn set_input_gradients(&mut self, asked: bool) {
        let (graph, losses, groups) = (&self.model.graph, &self.losses, &self.groups);
        self.wanted = match asked {
            true => Wanted::with_values(graph, losses, groups, graph.inputs()),
            false => Wanted::learned(graph, losses, groups),
        };
    }

    /// The gradients of the inputs from those of the outputs, and nothing else: the forward pass is there
    /// afterwards.
    pub(crate) fn backward_inputs(&mut self, given: &[&[T]]) -> Result<()> {
        self.check_input_gradients()?;
        let graph = &self.model.graph;
        let wanted = Wanted::looked_at(graph, &self.losses, &[], graph.inputs());
        self.look_backward(given, &wanted)
    }

    /// The gradient of an input after the last way back, and its value; empty where none has arrived.
    pub(crate) fn input_gradient(&self, input: usize) -> Result<[&[T]; 2]> {
        self.check_input_gradients()?;
        if self.tape.gradients.is_empty() {
            return Err(Error::argument(
                "input_gradient",
                "no way back has been gone",
            ));
        }
        let [value, gradient] = self.looked(self.model.graph.inputs()[input]);
        Ok([gradient, value])
    }

    fn check_input_gradients(&self) -> Result<()> {
        match self.wanted.value(self.model.graph.input()) {
            true => Ok(()),
            false => {
                let reason = "needs a trainer that was made with input_gradients(true)";
                Err(Error::argument("gradient of an input", reason))
            }
        }
    }

    /// Makes a backward pass wait for another forward pass.
    pub(crate) fn forget_forward(&mut self) {
        self.forwarded = None;
    }

    /// The second half: the parameters' gradients from those of the caller's losses with respect to the
    /// outputs of the last [`forward_training`](Self::forward_training), in the order of the losses. They
    /// are added to those of batches that wait for an update, which
    /// [`update_now`](Self::update_now) makes.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] without a forward pass just before, and where an update is due;
    /// [`Error::Shape`] for a gradient of another length than its output.
    pub fn backward<'a>(&mut self, gradients: impl Into<Inputs<'a, T>>) -> Result<()>
    where
        T: 'a,
    {
        let gradients = gradients.into();
        self.backward_slices(&gradients.numbers("gradients")?)
    }

    /// The same, not generic over the gradients.
    pub(crate) fn backward_slices(&mut self, given: &[&[T]]) -> Result<()> {
        check_own(&self.losses, "backward")?;
        let examples = self.forwarded()?;
        let lengths = given.iter().map(|gradient| gradient.len());
        check_gradients(&self.model.graph, &self.losses, examples, lengths)?;
        check_not_due(self.accumulate, self.pending.batches)?;
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
        let round = match self.ranks {
            1 => Round::alone(examples),
            _ => std::mem::take(&mut self.round),
        };
        self.count(round);
        self.add_pending(round, &vec![1.0; round.batches as usize], Some(1.0));
        Ok(())
    }
}
