//! A batch on its way to the device and back.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Current, PredictionPlan, Slot, State};
use crate::Result;
use crate::engine::compiled::Compiled;
use crate::engine::memory::params_size;
use crate::gpu::Mapping;
use crate::gpu::tensor::whole_words;
use crate::model::Inputs;

/// Where the outputs of a batch arrive.
#[derive(Debug, Default)]
pub(crate) struct Landing(Mutex<Option<Result<Vec<Vec<f32>>>>>);

impl Landing {
    fn set(&self, outputs: Result<Vec<Vec<f32>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outputs);
    }

    /// Whether nothing has arrived yet.
    pub fn is_open(&self) -> bool {
        let arrived = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.is_none()
    }

    /// What has arrived.
    pub fn take(&self) -> Result<Vec<Vec<f32>>> {
        let mut arrived = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || crate::engine::internal("a prediction never came back");
        arrived.take().ok_or_else(missing)?
    }
}

/// A batch whose outputs are on their way.
pub(super) struct Flight {
    slot: Slot,
    mapping: Mapping,
    submission: Option<wgpu::SubmissionIndex>,
    /// Elements of each output.
    lens: Vec<usize>,
    landing: Arc<Landing>,
}

impl PredictionPlan {
    /// Uploads a batch and submits its kernels, with the copy of what they give. A buffer must be idle.
    /// Dropped in the middle, it leaves nothing behind but a batch that nobody waits for.
    pub(super) async fn send(
        &self,
        state: &mut State,
        inputs: &Inputs<'_>,
        examples: usize,
    ) -> Result<Arc<Landing>> {
        let gpu = &self.compiled.gpu;
        let gone = || crate::engine::internal("a prediction's buffers are gone");
        if let Some((mapping, submission)) = &state.idle.last().ok_or_else(gone)?.mapping {
            gpu.mapped(mapping, submission.clone()).await?;
        }
        let at = self.fitting(examples);
        let params = self.params_for(state, at, examples)?;
        let mut slot = state.idle.pop().ok_or_else(gone)?;
        slot.mapping = None;
        let graph = &self.task.model.graph;
        let outputs = graph.outputs().iter();
        let lens = outputs.map(|&output| examples * graph.shape(output).len());
        let lens: Vec<usize> = lens.collect();
        let scopes = gpu.scopes();
        let submission = self.submit(&slot, (at, &state.current[at]), params, inputs, &lens);
        let verdict = scopes.close("prediction", 0);
        // Until the device has said so it is not known what it has of the params.
        state.current[at].batch = 0;
        let (done, failed) = match submission {
            Ok(submission) => (Some(submission), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Mapped again whatever became of the commands, so that the next one finds it as this one did.
        let mapping = gpu.map(&slot.upload, wgpu::MapMode::Write);
        slot.mapping = Some((mapping, done.clone()));
        let landing = Arc::new(Landing::default());
        state.flying.push_back(Flight {
            mapping: gpu.map(&slot.outputs, wgpu::MapMode::Read),
            slot,
            submission: done,
            lens,
            landing: landing.clone(),
        });
        let verdict = verdict.await.map_err(|error| gpu.lost_or(error));
        let sent = verdict.and(failed).and_then(|()| gpu.check_lost());
        if sent.is_ok() {
            state.current[at].batch = examples;
        }
        sent.map(|()| landing)
    }

    /// Submits the copies of what is uploaded through a slot, the kernels of the size of batch at a place, and
    /// the copies of their outputs, which are so long.
    fn submit(
        &self,
        slot: &Slot,
        (at, current): (usize, &Current),
        params: Option<(Vec<u8>, u64)>,
        inputs: &Inputs<'_>,
        lens: &[usize],
    ) -> Result<wgpu::SubmissionIndex> {
        let Compiled {
            gpu,
            lowered,
            program,
            ..
        } = &self.compiled;
        let prediction = &lowered.predictions[at];
        let planned = &lowered.recording.dispatches;
        let dispatches = current.dispatches.as_ref().unwrap_or(planned);
        let view = slot.upload.get_mapped_range_mut(..);
        let mut view = view.map_err(|error| gpu.not_mapped(error))?;
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let (mut offset, margin) = (0, gpu.margin());
        let mut copy = |bytes: &[u8], to: &wgpu::Buffer, at: u64| {
            view.slice(offset..offset + bytes.len())
                .copy_from_slice(bytes);
            let size = whole_words(bytes.len());
            encoder.copy_buffer_to_buffer(&slot.upload, offset as u64, to, at, size);
            offset += size as usize;
        };
        if let Some((params, at)) = &params {
            copy(params, program.uniforms(), *at);
        }
        for (input, &region) in inputs.list().iter().zip(&prediction.inputs) {
            copy(input.raw(), program.memory(region)?, margin);
        }
        drop(view);
        slot.upload.unmap();
        let ranges = std::slice::from_ref(&prediction.range);
        program.encode(&mut encoder, dispatches, ranges);
        let mut offset = 0;
        for (&region, len) in prediction.outputs.iter().zip(lens) {
            let (from, size) = (program.memory(region)?, *len as u64 * 4);
            encoder.copy_buffer_to_buffer(from, margin, &slot.outputs, offset, size);
            offset += size;
        }
        Ok(gpu.queue().submit([encoder.finish()]))
    }

    /// The params of a batch's kernels, and where they go, unless the device has them.
    fn params_for(
        &self,
        state: &mut State,
        at: usize,
        examples: usize,
    ) -> Result<Option<(Vec<u8>, u64)>> {
        let prediction = &self.compiled.lowered.predictions[at];
        let current = &mut state.current[at];
        if current.batch == examples {
            return Ok(None);
        }
        let dispatches = match examples == prediction.batch {
            true => None,
            false => Some(self.dispatches_for(examples)?),
        };
        let block = match &dispatches {
            Some(dispatches) => &self.compiled.program.params_block(dispatches),
            None => &self.compiled.params,
        };
        let range = &prediction.range;
        let begin = match range.is_empty() {
            true => 0,
            false => self.compiled.program.params_offset(range.start),
        };
        let end = begin + params_size(&self.compiled.lowered.recording, range.clone()) as usize;
        let params = block[begin..end].to_vec();
        (current.batch, current.dispatches) = (examples, dispatches);
        Ok(Some((params, begin as u64)))
    }

    /// Waits for the oldest batch that is on its way, if there is one. While it waits, others send theirs, and wait
    /// for this one too: whoever comes first takes in what it has brought.
    pub(super) async fn land(&self) -> Result<bool> {
        let oldest = self.state.lock().await.flying.front().map(|flight| {
            let landing = flight.landing.clone();
            (flight.mapping.clone(), flight.submission.clone(), landing)
        });
        let Some((mapping, submission, landing)) = oldest else {
            return Ok(false);
        };
        let arrived = self.compiled.gpu.mapped(&mapping, submission).await;
        let mut state = self.state.lock().await;
        let oldest = state.flying.front();
        let there = oldest.is_some_and(|flight| Arc::ptr_eq(&flight.landing, &landing));
        let Some(flight) = there.then(|| state.flying.pop_front()).flatten() else {
            // What the device says once is said by whoever hears it.
            return arrived.map(|()| true);
        };
        let outputs = arrived.and_then(|()| self.outputs(&flight));
        let scopes = self.compiled.gpu.scopes();
        flight.slot.outputs.unmap(); // where mapping it has failed, there is nothing to unmap
        drop(scopes.close("unmap", 0));
        flight.landing.set(outputs);
        state.idle.push(flight.slot);
        Ok(true)
    }

    /// What a flight has brought.
    fn outputs(&self, flight: &Flight) -> Result<Vec<Vec<f32>>> {
        let size = flight.lens.iter().sum::<usize>() as u64 * 4;
        let view = flight.slot.outputs.get_mapped_range(..size);
        let view = view.map_err(|error| self.compiled.gpu.not_mapped(error))?;
        let mut begin = 0;
        let outputs = flight.lens.iter().map(|len| {
            let bytes = &view[begin..begin + len * 4];
            begin += len * 4;
            bytemuck::pod_collect_to_vec(bytes)
        });
        Ok(outputs.collect())
    }
}
