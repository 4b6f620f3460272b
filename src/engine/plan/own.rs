//! Training by a loss that the caller computes: forward, backward, update.

use std::borrow::Cow;
use std::ops::Range;

use super::run::{Batch, Progress};
use super::{Plan, Prepared, WentBack};
use crate::Result;
use crate::engine::Round;
use crate::engine::compiled::Bytes;
use crate::engine::step::Step;
use crate::model::{check_forwarded, check_not_due};

impl Plan {
    /// The outputs of a batch in training, each `(N, ..)`. What a backward pass needs stays on the device
    /// until anything else runs.
    pub async fn forward(&mut self, batch: &Batch<'_>) -> Result<Vec<Vec<f32>>> {
        let (ranges, step) = self.forward_of(batch.examples)?;
        let after = self.forwarded_to(batch.examples);
        self.submit(&ranges, batch, (step, after)).await?;
        let mut outputs = Vec::new();
        for at in 0..self.compiled.lowered.trained.len() {
            let region = self.compiled.lowered.trained[at];
            outputs.push(self.read_output(at, region, batch.examples).await?);
        }
        Ok(outputs)
    }

    /// The dispatches of a forward pass, and what it says to them.
    pub(super) fn forward_of(&self, examples: usize) -> Result<(Vec<Range<usize>>, Step)> {
        self.model.graph.check_training(examples)?;
        let mut ranges = self.preparation();
        ranges.push(self.compiled.lowered.ranges.forward.clone());
        let step = Step {
            made: self.progress.updates,
            examples: self.progress.examples_before(),
            ..Step::FIRST
        };
        Ok((ranges, step))
    }

    /// How far training has come after a forward pass.
    pub(super) fn forwarded_to(&self, examples: usize) -> Progress {
        Progress {
            prepared: Prepared::All,
            forwarded: Some(examples),
            ..self.progress
        }
    }

    /// The examples of the forward pass that a backward pass would go back from.
    pub fn forwarded(&self) -> Result<usize> {
        check_forwarded(self.progress.forwarded)
    }

    /// Makes a backward pass wait for another forward pass.
    pub fn forget_forward(&mut self) {
        self.progress.forwarded = None;
    }

    /// The parameters' gradients from those of the caller's losses with respect to their outputs, added to
    /// those of batches that wait for an update.
    pub async fn backward(&mut self, gradients: &[&[f32]]) -> Result<()> {
        let losses = self.compiled.lowered.losses.iter();
        let data = gradients.iter().zip(losses).map(|(&gradient, loss)| {
            let bytes = Cow::Borrowed(bytemuck::cast_slice(gradient));
            (bytes, loss.logits[1])
        });
        let data: Vec<Bytes> = data.collect();
        self.go_back(&data).await
    }

    /// Refuses a second batch where each makes an update.
    pub(super) fn check_not_due(&self) -> Result<()> {
        check_not_due(self.options.accumulate, self.progress.pending)
    }

    /// The same, once the gradients that are not among `data` are in their places.
    pub(super) async fn go_back(&mut self, data: &[Bytes<'_>]) -> Result<()> {
        let examples = self.forwarded()?;
        self.check_not_due()?;
        let micro = self.options.accumulate > 1;
        let (begins, mut progress) = (self.progress.own == 0, self.now());
        let step = Step {
            made: progress.updates,
            examples: progress.examples_before(),
            ..Step::FIRST
        };
        let round = match self.options.ranks {
            1 => Round::alone(examples),
            _ => progress.round,
        };
        self.count(&mut progress, round, &vec![1.0; round.batches as usize]);
        progress.gradient_scale = 1.0;
        progress.went_back = Some(WentBack {
            examples,
            alone: false,
        });
        let mut ranges = vec![
            self.compiled.lowered.ranges.loss.clone(),
            self.compiled.lowered.ranges.backward.clone(),
        ];
        if micro {
            ranges.push(self.sum(begins));
        }
        self.upload(&ranges, examples, data, (step, progress)).await
    }
}
