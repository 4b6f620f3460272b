//! A pass of training: forward, the losses, backward.

use super::predict::numbers;
use super::{Reference, Tape, Walk, divisor};
use crate::Result;
use crate::cpu::{self, Real};
use crate::engine::operators::Masks;
use crate::engine::wanted::Wanted;
use crate::model::{Inputs, OutputLoss, Shares, Targets};
use crate::op::Target;

/// Whether a batch makes an update by itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Among {
    Alone,
    /// Its gradients are added to those of others.
    Several,
}

/// What a gradient is divided by: all that its loss is, NaN where every row was ignored.
pub(super) fn divided(normaliser: f64) -> f64 {
    normaliser
}

impl<T: Real> Reference<T> {
    /// A walk over the graph for a batch in training.
    pub(super) fn training(&self, batch: usize) -> Walk<'_, T> {
        Walk {
            rules: self.rules,
            graph: &self.model.graph,
            parameters: &self.parameters,
            batch,
            training: Some(Masks {
                seed: self.seed,
                updates: self.updates,
                examples: self.pending.examples.saturating_add(self.round.before),
            }),
            folds_later: self.ranks > 1,
            direct_only: self.direct_only,
        }
    }

    /// The loss of an output, the gradient with respect to it, divided by what `by` makes of the
    /// normaliser, and the normaliser.
    pub(super) fn output_loss(
        &self,
        loss: &OutputLoss,
        examples: usize,
        output: &[T],
        target: &Target,
        by: fn(f64) -> f64,
    ) -> Result<(T, Vec<T>, f64)> {
        let graph = &self.model.graph;
        let function = loss.function()?;
        let shape = graph.shape(graph.outputs()[loss.output]);
        let geometry = function.geometry(examples, shape)?;
        let normaliser = function.normaliser(target, &geometry);
        let mut gradient = vec![T::zero(); output.len()];
        let mut value = cpu::loss_forward_backward(
            function,
            &geometry,
            by(normaliser),
            output,
            target,
            &mut gradient,
        )?;
        if by(normaliser) != normaliser {
            value = value / T::nearest(normaliser);
        }
        Ok((value, gradient, normaliser))
    }

    /// A pass of training. Gives the loss, and what the batch counts for among several.
    pub(super) fn backward_pass(
        &mut self,
        inputs: &Inputs<T>,
        targets: &Targets,
        among: Among,
        input_gradient: bool,
    ) -> Result<(T, f64)> {
        let examples = inputs.examples(&self.model.graph)?;
        targets.check(&self.model.graph, &self.losses, examples)?;
        let mut tape = std::mem::take(&mut self.tape);
        let result = self.pass(
            &mut tape,
            inputs,
            targets,
            (examples, among),
            input_gradient,
        );
        self.tape = tape;
        self.forwarded = None;
        result
    }

    fn pass(
        &mut self,
        tape: &mut Tape<T>,
        inputs: &Inputs<T>,
        targets: &Targets,
        (examples, among): (usize, Among),
        input_gradient: bool,
    ) -> Result<(T, f64)> {
        let graph = &self.model.graph;
        tape.forward(self.training(examples), &numbers(graph, inputs))?;
        tape.begin_gradients();
        // Divided at once also among several batches: their sums may be more than `T` holds.
        let by = match among {
            Among::Alone => divided,
            Among::Several => divisor,
        };
        let (mut total, mut normalisers, mut losses) = (0.0, Vec::new(), Vec::new());
        for (loss, target) in self.losses.iter().zip(&targets.0) {
            let output = graph.outputs()[loss.output];
            let (value, mut gradient, normaliser) =
                self.output_loss(loss, examples, &tape.values[output.0], target, by)?;
            if loss.weight != 1.0 {
                let weight = T::nearest(loss.weight);
                gradient.iter_mut().for_each(|gradient| *gradient *= weight);
            }
            tape.add_gradient(output, &gradient);
            normalisers.push(normaliser);
            losses.push(value);
            total += loss.weight * value.wide();
        }
        let asked = input_gradient
            .then(|| Wanted::with_values(graph, &self.losses, &self.groups, &[graph.input()]));
        let mut gradients = std::mem::take(&mut self.gradients);
        let wanted = asked.as_ref().unwrap_or(&self.wanted);
        let done = tape.backward(self.training(examples), wanted, &mut gradients);
        self.gradients = gradients;
        done?;
        self.has_gradients = true;
        let share = Shares::of(&self.losses, &normalisers, examples).batch;
        let total = match losses[..] {
            [only] if self.losses[0].weight == 1.0 => only,
            _ => T::nearest(total),
        };
        self.last_losses = losses;
        Ok((total, share))
    }
}
