//! What the reference keeps between steps, taken out and put in by parameter.

use super::Reference;
use crate::Result;
use crate::engine::state::{Counts, ParameterState};
use crate::model::ParameterId;
use crate::op::Average;

impl Reference<f32> {
    /// Whether the optimizer changes a parameter.
    pub(crate) fn learns(&self, id: ParameterId) -> bool {
        self.wanted.parameter(id)
    }

    /// What dropout's masks are made from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether batches wait for an update.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.batches > 0
    }

    /// Examples of all batches so far.
    pub(crate) fn trained(&self) -> u64 {
        self.trained
    }

    /// Counts examples from here on.
    pub(crate) fn set_trained(&mut self, examples: u64) {
        self.trained = examples;
    }

    /// The updates that a parameter has had.
    pub(crate) fn updates_of(&self, id: ParameterId) -> u64 {
        match self.learns(id) {
            true => self.groups.updates(id, self.updates),
            false => 0,
        }
    }

    /// All that is kept of a parameter.
    pub(crate) fn state(&self, id: ParameterId) -> ParameterState {
        let mut state = ParameterState {
            values: self.parameters[id.0].clone(),
            updates: self.updates_of(id),
            ..ParameterState::default()
        };
        if self.learns(id) {
            state.slots.clone_from(&self.state[id.0]);
            state.sum = self.pending_sum(id).map(<[f64]>::to_vec);
            state.average = self.average(id).map(<[f32]>::to_vec);
        }
        state
    }

    /// Takes all over that is kept of a parameter, but for the count of its updates. What is not learned
    /// here has but values; what begins to be learned has the optimizer's state as it is at first.
    pub(crate) fn set_state(&mut self, id: ParameterId, state: &ParameterState) -> Result<()> {
        let (len, kept) = (state.values.len(), self.groups.state_slots(id));
        state.check(self.model.graph.parameter(id), kept)?;
        self.forget_forward();
        self.parameters[id.0].clone_from(&state.values);
        if !self.learns(id) {
            return Ok(());
        }
        for slot in 0..kept {
            let initial = || vec![self.groups.initial_state(id, slot) as f32; len];
            let values = state.slots.get(slot).cloned().unwrap_or_else(initial);
            self.state[id.0][slot] = values;
        }
        let average = state.average.as_ref().unwrap_or(&state.values);
        self.go_on_from_average(id, average);
        let none = || vec![0.0; len];
        self.set_pending_sum(id, state.sum.clone().unwrap_or_else(none));
        Ok(())
    }

    /// The average that is kept, if one is.
    pub(crate) fn averages(&self) -> Option<Average> {
        self.average.as_ref().map(|averages| averages.average)
    }

    /// What the optimizer keeps of a learned parameter in a slot.
    pub(crate) fn slot(&self, id: ParameterId, slot: usize) -> &[f32] {
        &self.state[id.0][slot]
    }

    /// The sum of a learned parameter's gradients over the batches that wait for an update.
    pub(crate) fn pending_sum(&self, id: ParameterId) -> Option<&[f64]> {
        match self.pending.batches {
            0 => None,
            _ => self.pending.gradients.get(id.0).map(Vec::as_slice),
        }
    }

    fn set_pending_sum(&mut self, id: ParameterId, sum: Vec<f64>) {
        let sums = &mut self.pending.gradients;
        sums.resize(self.parameters.len(), Vec::new());
        sums[id.0] = sum;
    }

    /// How far training has come.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            batches: self.steps,
            updates: self.updates,
            trained: self.trained,
            accumulate: self.accumulate as u64,
            pending: self.pending.batches as u64,
            examples: self.pending.examples,
            normaliser: self.pending.normaliser,
            losses: self.last_losses.clone(),
            seed: self.seed,
            average_began: self.average_began(),
        }
    }

    /// Refuses what this training could not go on from.
    pub(crate) fn check_counts(&self, counts: &Counts) -> Result<()> {
        let own = self.losses.iter().any(|loss| loss.loss.is_none());
        counts.check(self.accumulate, own)
    }

    /// Goes on from where a training has come to, once the state of the parameters is taken over.
    pub(crate) fn set_counts(&mut self, counts: &Counts) -> Result<()> {
        self.check_counts(counts)?;
        self.forget_forward();
        (self.steps, self.updates) = (counts.batches, counts.updates);
        self.trained = counts.trained;
        self.seed = counts.seed;
        self.set_average_began(counts.average_began.unwrap_or(counts.updates));
        self.last_losses = match counts.losses.len() == self.losses.len() {
            true => counts.losses.clone(),
            false => vec![],
        };
        self.pending.batches = usize::try_from(counts.pending).unwrap_or(usize::MAX);
        self.pending.examples = counts.examples;
        self.pending.normaliser = counts.normaliser;
        self.has_gradients = self.pending.batches > 0;
        if self.has_gradients {
            // Of what nothing is known, as of what has just begun to be learned, the sum is zero.
            self.pending
                .gradients
                .resize(self.gradients.len(), Vec::new());
            let sums = self.pending.gradients.iter_mut().zip(&self.gradients);
            sums.for_each(|(sum, gradient)| sum.resize(gradient.len(), 0.0));
            self.divide_pending();
        }
        Ok(())
    }

    /// Replaces all parameters by others of the same lengths.
    pub(in crate::engine) fn set_parameters(&mut self, parameters: Vec<Vec<f32>>) {
        self.forget_forward();
        self.parameters = parameters;
    }
}
