//! What a plan keeps on the device, read and written: the loss, parameters, gradients.

use super::{Plan, PlanOptions};
use crate::Result;
use crate::engine::operators::{Piece, Pieces};
use crate::gpu::record::Region;
use crate::gpu::strategy::Choices;
use crate::model::ParameterId;

impl Plan {
    /// The losses of the last batch.
    pub async fn losses(&self) -> Result<Vec<f32>> {
        // A buffer of its own, since several may ask at once.
        let staging = self.gpu.read_back_buffer(16).await?;
        let mut losses = Vec::new();
        for parts in &self.lowered.losses {
            let loss = Region {
                size: 4,
                ..parts.loss
            };
            losses.push(self.read(loss, &staging).await?[0]);
        }
        Ok(losses)
    }

    /// How it was planned, and with which cores.
    pub fn options_and_choices(&self) -> (PlanOptions, Choices) {
        (self.options, self.lowered.recording.choices.clone())
    }

    pub async fn parameter(&self, id: ParameterId) -> Result<Vec<f32>> {
        self.read_pieces(&self.lowered.parameter(id)?).await
    }

    /// The gradient that the last update took; with micro-batches pending, their mean so far.
    pub async fn gradient(&self, id: ParameterId) -> Result<Vec<f32>> {
        let mut gradient = self.read_pieces(&self.lowered.total_gradient(id)?).await?;
        if self.options.accumulate > 1 {
            let scale = self.progress.mean();
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
        }
        Ok(gradient)
    }

    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        self.progress.prepared = false;
        self.forget_forward();
        self.write_pieces(&self.lowered.parameter(id)?, values)
            .await
    }

    /// Writes the values of a parameter, or of as many elements of its gradient or state.
    pub(super) async fn write_pieces(&self, pieces: &Pieces, values: &[f32]) -> Result<()> {
        for (piece, values) in pieces.split(values) {
            self.write(piece.region, values).await?;
            self.flush().await?;
        }
        Ok(())
    }

    /// The copy from which something is uploaded is free again once it is submitted.
    pub(super) async fn flush(&self) -> Result<()> {
        let submit = || self.gpu.queue().submit([]);
        self.gpu.guard("upload", submit).await.map(|_| ())
    }

    pub(super) async fn write(&self, region: Region, values: &[f32]) -> Result<()> {
        let bytes = bytemuck::cast_slice(values);
        self.program.write(&self.gpu, region, bytes).await
    }

    /// The values of a parameter or of its gradient, a stretch at a time, so that a large one is in the
    /// host's memory but once.
    pub(super) async fn read_pieces(&self, pieces: &Pieces) -> Result<Vec<f32>> {
        const STRETCH: u64 = 4 << 20;
        let size = |piece: &Piece| piece.len as u64 * 4;
        let largest = pieces.iter().map(size).max().unwrap_or(0);
        let staging = self.gpu.read_back_buffer(largest.min(STRETCH)).await?;
        let mut values = Vec::with_capacity(pieces.iter().map(|piece| piece.len).sum());
        for piece in pieces.iter() {
            for begin in (0..size(piece)).step_by(STRETCH as usize) {
                let stretch = Region {
                    offset: piece.region.offset + begin,
                    size: (size(piece) - begin).min(STRETCH),
                    ..piece.region
                };
                values.extend(self.read(stretch, &staging).await?);
            }
        }
        Ok(values)
    }

    pub(super) async fn read(&self, region: Region, staging: &wgpu::Buffer) -> Result<Vec<f32>> {
        let bytes = self.program.read_through(&self.gpu, region, staging);
        Ok(bytemuck::pod_collect_to_vec(&bytes.await?))
    }
}
