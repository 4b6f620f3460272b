//! What a plan keeps between steps, taken out and put in by parameter.

use super::Plan;
use crate::Result;
use crate::engine::state::{Counts, ParameterState};
use crate::model::ParameterId;
use crate::op::Average;

impl Plan {
    /// Whether the optimizer changes a parameter.
    pub fn learns(&self, id: ParameterId) -> bool {
        self.compiled.lowered.learns(id)
    }

    /// Batches so far.
    pub fn batches(&self) -> u64 {
        self.progress.batches
    }

    /// Examples of all batches so far.
    pub fn trained(&self) -> u64 {
        self.progress.trained
    }

    /// Counts examples from here on.
    pub fn set_trained(&mut self, examples: u64) {
        self.progress.trained = examples;
    }

    /// The updates that a parameter has had.
    pub fn updates_of(&self, id: ParameterId) -> u64 {
        match self.learns(id) {
            true => self.groups.updates(id, self.progress.updates),
            false => 0,
        }
    }

    /// All that is kept of a parameter.
    pub async fn state(&self, id: ParameterId) -> Result<ParameterState> {
        let mut state = ParameterState {
            values: self.parameter(id).await?,
            updates: self.updates_of(id),
            ..ParameterState::default()
        };
        if self.learns(id) {
            for slot in 0..self.groups.state_slots(id) {
                state.slots.push(self.slot(id, slot).await?);
            }
            state.sum = self.pending_sum(id).await?;
            state.average = self.average(id).await?;
        }
        Ok(state)
    }

    /// Takes all over that is kept of a parameter, but for the count of its updates. What is not learned
    /// here has but values; what begins to be learned has the optimizer's state as it is at first.
    pub async fn set_state(&mut self, id: ParameterId, state: &ParameterState) -> Result<()> {
        let (len, kept) = (state.values.len(), self.groups.state_slots(id));
        state.check(self.model.graph.parameter(id), kept)?;
        self.set_parameter(id, &state.values).await?;
        if !self.learns(id) {
            return Ok(());
        }
        for slot in 0..kept {
            let initial = || vec![self.groups.initial_state(id, slot) as f32; len];
            let values = state.slots.get(slot).cloned().unwrap_or_else(initial);
            self.set_slot(id, slot, &values).await?;
        }
        let average = state.average.as_ref().unwrap_or(&state.values);
        self.set_average(id, average).await?;
        match &state.sum {
            Some(sum) => self.set_pending_sum(id, sum).await,
            None => self.set_pending_sum(id, &vec![0.0; len]).await,
        }
    }

    /// The average of a learned parameter, once there is one.
    pub async fn average(&self, id: ParameterId) -> Result<Option<Vec<f32>>> {
        match self.has_average() {
            true => self
                .compiled
                .read_pieces(&self.compiled.lowered.average(id)?)
                .await
                .map(Some),
            false => Ok(None),
        }
    }

    /// Whether an update has been made since an average is kept.
    pub fn has_average(&self) -> bool {
        let progress = &self.progress;
        self.options.average.is_some() && progress.updates > progress.average_began
    }

    /// The average that is kept, if one is.
    pub fn averages(&self) -> Option<Average> {
        self.options.average
    }

    /// Goes on from an average of a learned parameter, where one is kept.
    pub async fn set_average(&self, id: ParameterId, values: &[f32]) -> Result<()> {
        match self.options.average {
            None => Ok(()),
            Some(_) => {
                self.compiled
                    .write_pieces(&self.compiled.lowered.average(id)?, values)
                    .await
            }
        }
    }

    /// What the optimizer keeps of a learned parameter in a slot.
    pub async fn slot(&self, id: ParameterId, slot: usize) -> Result<Vec<f32>> {
        if self.groups.updates(id, self.progress.updates) == 0 {
            // What is in its memory does not matter before the first update, nor to kernels there.
            let len = self.model.graph.parameter(id).shape.len();
            return Ok(vec![self.groups.initial_state(id, slot) as f32; len]);
        }
        self.compiled
            .read_pieces(&self.compiled.lowered.state(id, slot)?)
            .await
    }

    pub async fn set_slot(&self, id: ParameterId, slot: usize, values: &[f32]) -> Result<()> {
        self.compiled
            .write_pieces(&self.compiled.lowered.state(id, slot)?, values)
            .await
    }

    /// The sum of a learned parameter's gradients over the batches that wait for an update.
    pub async fn pending_sum(&self, id: ParameterId) -> Result<Option<Vec<f64>>> {
        if self.progress.pending == 0 {
            return Ok(None);
        }
        let sum = self
            .compiled
            .read_pieces(&self.compiled.lowered.total_gradient(id)?)
            .await?;
        Ok(Some(sum.into_iter().map(f64::from).collect()))
    }

    pub async fn set_pending_sum(&self, id: ParameterId, sum: &[f64]) -> Result<()> {
        let sum: Vec<f32> = sum.iter().map(|&sum| sum as f32).collect();
        self.compiled
            .write_pieces(&self.compiled.lowered.total_gradient(id)?, &sum)
            .await
    }

    /// How far training has come.
    pub async fn counts(&self) -> Result<Counts> {
        let own = self.losses.iter().any(|loss| loss.loss.is_none());
        let losses = match self.progress.has_losses && !own {
            true => self.losses().await?,
            false => vec![],
        };
        let progress = &self.progress;
        Ok(Counts {
            batches: progress.batches,
            updates: progress.updates,
            trained: progress.trained,
            accumulate: self.options.accumulate as u64,
            pending: progress.pending as u64,
            examples: progress.examples,
            normaliser: progress.normaliser,
            losses,
            seed: self.options.seed,
            average_began: self.options.average.map(|_| progress.average_began),
        })
    }

    /// Refuses what this plan could not go on from.
    pub fn check_counts(&self, counts: &Counts) -> Result<()> {
        let own = self.losses.iter().any(|loss| loss.loss.is_none());
        counts.check(self.options.accumulate, own)
    }

    /// Goes on from where a training has come to. The state of the parameters is taken over besides.
    pub async fn set_counts(&mut self, counts: &Counts) -> Result<()> {
        self.check_counts(counts)?;
        let known = counts.losses.len() == self.losses.len();
        if known {
            for (parts, &loss) in self.compiled.lowered.losses.iter().zip(&counts.losses) {
                self.compiled.write(parts.loss, &[loss]).await?;
            }
            self.compiled.flush().await?;
        }
        self.options.seed = counts.seed;
        let pending = usize::try_from(counts.pending).unwrap_or(usize::MAX);
        self.progress = super::Progress {
            batches: counts.batches,
            updates: counts.updates,
            trained: counts.trained,
            pending,
            own: pending,
            examples: counts.examples,
            normaliser: counts.normaliser,
            average_began: counts.average_began.unwrap_or(counts.updates),
            has_losses: known,
            has_gradients: pending > 0,
            ..super::Progress::default()
        };
        Ok(())
    }
}
