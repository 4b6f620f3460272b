//! Values and their gradients, looked at in training.

use super::pass::divided;
use super::predict::numbers;
use super::{Reference, Tape};
use crate::Result;
use crate::cpu::Real;
use crate::engine::wanted::Wanted;
use crate::model::{Inputs, Targets, ValueId};

impl<T: Real> Reference<T> {
    /// A forward pass that leaves the running statistics as they are.
    pub(in crate::engine) fn look_forward(&mut self, inputs: &Inputs<T>) -> Result<()> {
        let graph = &self.model.graph;
        let examples = inputs.examples(graph)?;
        graph.check_training(examples)?;
        let mut tape = std::mem::take(&mut self.tape);
        let done = tape.forward(self.training(examples), &numbers(graph, inputs));
        tape.begin_gradients();
        self.tape = tape;
        self.forwarded = Some(examples);
        done
    }

    /// The loss of the batch, and the wanted gradients.
    pub(in crate::engine) fn look_loss(&mut self, targets: &Targets, wanted: &Wanted) -> Result<T> {
        let examples = self.forwarded()?;
        let (mut total, mut gradients) = (0.0, Vec::new());
        for (loss, target) in self.losses.iter().zip(&targets.0) {
            let output = &self.tape.values[self.model.graph.outputs()[loss.output].0];
            let (value, mut gradient, _) =
                self.output_loss(loss, examples, output, target, divided)?;
            let weight = T::nearest(loss.weight);
            gradient.iter_mut().for_each(|gradient| *gradient *= weight);
            total += loss.weight * value.wide();
            gradients.push(gradient);
        }
        let gradients: Vec<&[T]> = gradients.iter().map(Vec::as_slice).collect();
        self.look_backward(&gradients, wanted)?;
        Ok(T::nearest(total))
    }

    /// The wanted gradients from those of the losses' outputs.
    pub(in crate::engine) fn look_backward(
        &mut self,
        given: &[&[T]],
        wanted: &Wanted,
    ) -> Result<()> {
        let examples = self.forwarded()?;
        let mut tape: Tape<T> = std::mem::take(&mut self.tape);
        tape.begin_gradients();
        for (loss, gradient) in self.losses.iter().zip(given) {
            tape.add_gradient(self.model.graph.outputs()[loss.output], gradient);
        }
        let mut none = vec![Vec::new(); self.parameters.len()];
        let done = tape.backward(self.training(examples), wanted, &mut none);
        self.tape = tape;
        done
    }

    /// A value of the last pass, and its gradient, empty where none has arrived.
    pub(in crate::engine) fn looked(&self, value: ValueId) -> [&[T]; 2] {
        let gradient = self.tape.gradients.get(value.0);
        [
            &self.tape.values[value.0],
            gradient.map_or(&[], Vec::as_slice),
        ]
    }
}
