//! What a plan keeps on the device, read and written: the loss, parameters, gradients.

use super::{Plan, PlanOptions, Prepared};
use crate::Result;
use crate::gpu::strategy::Choices;
use crate::model::ParameterId;

impl Plan {
    /// The losses of the last batch.
    pub async fn losses(&self) -> Result<Vec<f32>> {
        self.compiled.losses().await
    }

    /// How it was planned, and with which cores.
    pub fn options_and_choices(&self) -> (PlanOptions, Choices) {
        (
            self.options,
            self.compiled.lowered.recording.choices.clone(),
        )
    }

    pub async fn parameter(&self, id: ParameterId) -> Result<Vec<f32>> {
        self.compiled
            .read_pieces(&self.compiled.lowered.parameter(id)?)
            .await
    }

    /// The gradient that the last update took; with micro-batches pending, their mean so far.
    pub async fn gradient(&self, id: ParameterId) -> Result<Vec<f32>> {
        if self.progress.pending > 0 && self.progress.own == 0 {
            // Of the batches of several ranks that wait for an update none is this one's, and what is there is older.
            return Ok(vec![0.0; self.model.graph.parameter(id).shape.len()]);
        }
        let mut gradient = self
            .compiled
            .read_pieces(&self.compiled.lowered.total_gradient(id)?)
            .await?;
        if self.options.is_of_several() {
            let scale = self.progress.mean();
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
        }
        Ok(gradient)
    }

    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        self.progress.prepared = match self.compiled.lowered.learns(id) {
            true => self.progress.prepared.updated(),
            false => Prepared::Nothing,
        };
        self.forget_forward();
        self.compiled
            .write_pieces(&self.compiled.lowered.parameter(id)?, values)
            .await
    }
}
