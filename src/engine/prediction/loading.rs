//! Parameters on their way to the device, and into the form in which predictions read them.

use std::ops::Range;

use super::PredictionPlan;
use crate::Result;
use crate::gpu::program::Program;
use crate::gpu::record::{BufferId, Dispatch, Recording, Region, Storage};
use crate::model::ParameterId;

impl PredictionPlan {
    /// Sets all parameters, each from what `values` gives for it. On the way that takes memory for those that
    /// predictions do not read as they are, the largest of them at a time.
    pub async fn set_parameters(
        &self,
        mut values: impl FnMut(ParameterId) -> Result<Vec<f32>>,
    ) -> Result<()> {
        let loader = Program::compile(&self.compiled.gpu, &self.loading()).await?;
        let dispatches = &self.compiled.lowered.loading;
        let params = loader.params_block(dispatches);
        for at in 0..self.task.model.graph.parameters().len() {
            let id = ParameterId(at);
            let values = values(id)?;
            for (piece, values) in self.compiled.lowered.parameter(id)?.split(&values) {
                if loader.buffer(piece.region.buffer).is_none() {
                    continue; // nothing reads it
                }
                let bytes = bytemuck::cast_slice(values);
                loader
                    .write(&self.compiled.gpu, piece.region, bytes)
                    .await?;
                // Its memory may be the next one's. Where nothing follows from it, this still submits the
                // copy from which it was uploaded, so that it is free again.
                let ranges = following(dispatches, piece.region);
                let run = loader.run_once(&self.compiled.gpu, dispatches, &ranges, &params);
                run.await?;
            }
        }
        Ok(())
    }

    /// What loads parameters: it writes where the predictions read, and has memory of its own for the rest.
    fn loading(&self) -> Recording {
        let planned = &self.compiled.lowered.recording;
        let mut recording = Recording::new(planned.traits);
        recording.buffers.clone_from(&planned.buffers);
        for (at, info) in recording.buffers.iter_mut().enumerate() {
            info.storage = match self.compiled.program.buffer(BufferId(at)) {
                Some(buffer) => Storage::Bound(buffer.clone()),
                None => Storage::Transient,
            };
        }
        recording
            .dispatches
            .clone_from(&self.compiled.lowered.loading);
        recording
    }
}

/// The dispatches that follow from what lies in a region.
fn following(dispatches: &[Dispatch], from: Region) -> Vec<Range<usize>> {
    let (mut touched, mut ranges) = (vec![from.buffer], Vec::new());
    for (at, dispatch) in dispatches.iter().enumerate() {
        if dispatch
            .regions()
            .any(|region| touched.contains(&region.buffer))
        {
            touched.extend(dispatch.regions().map(|region| region.buffer));
            ranges.push(at..at + 1);
        }
    }
    ranges
}
