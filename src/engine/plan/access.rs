//! What a plan keeps on the device, read and written: the loss, parameters, gradients.

use super::Plan;
use crate::Result;
use crate::gpu::record::Region;
use crate::model::ParameterId;

impl Plan {
    /// The loss of the last batch.
    pub async fn loss(&self) -> Result<f32> {
        let loss = Region {
            size: 4,
            ..self.lowered.loss
        };
        // A buffer of its own, since several may ask at once.
        let staging = self.gpu.read_back_buffer(16).await?;
        Ok(self.read(loss, &staging).await?[0])
    }

    pub async fn parameter(&self, id: ParameterId) -> Result<Vec<f32>> {
        self.read_parameter(id, self.lowered.parameter(id)?).await
    }

    /// The gradient that the last update took; with micro-batches pending, their mean so far.
    pub async fn gradient(&self, id: ParameterId) -> Result<Vec<f32>> {
        let mut gradient = self
            .read_parameter(id, self.lowered.total_gradient(id)?)
            .await?;
        if self.options.accumulate > 1 {
            let scale = self.progress.mean();
            gradient.iter_mut().for_each(|gradient| *gradient *= scale);
        }
        Ok(gradient)
    }

    pub async fn set_parameter(&mut self, id: ParameterId, values: &[f32]) -> Result<()> {
        self.progress.prepared = false;
        self.write(self.lowered.parameter(id)?, values).await
    }

    pub(super) async fn write(&self, region: Region, values: &[f32]) -> Result<()> {
        let bytes = bytemuck::cast_slice(values);
        self.program.write(&self.gpu, region, bytes).await
    }

    async fn read_parameter(&self, id: ParameterId, region: Region) -> Result<Vec<f32>> {
        let size = self.model.graph.parameter(id).shape.len() as u64 * 4;
        let staging = self.gpu.read_back_buffer(size).await?;
        self.read(Region { size, ..region }, &staging).await
    }

    pub(super) async fn read(&self, region: Region, staging: &wgpu::Buffer) -> Result<Vec<f32>> {
        let bytes = self.program.read_through(&self.gpu, region, staging);
        Ok(bytemuck::pod_collect_to_vec(&bytes.await?))
    }
}
