//! A step in three calls whose values stay on the device.

use super::run::Progress;
use super::{Plan, WentBack};
use crate::engine::step::Step;
use crate::gpu::Tensor;
use crate::gpu::record::Region;
use crate::model::ValueId;
use crate::{Error, Result};

impl Plan {
    /// [`forward`](Self::forward) from tensors to tensors: the outputs' own, which nothing changes.
    pub async fn forward_held(
        &mut self,
        inputs: &[&Tensor],
        examples: usize,
    ) -> Result<Vec<Tensor>> {
        let (ranges, step) = self.forward_of(examples)?;
        self.forget_forward();
        let places = inputs.iter().zip(&self.compiled.lowered.inputs);
        let places: Vec<_> = places.map(|(&input, &place)| (input, place)).collect();
        self.take_in(&places).await?;
        let after = self.forwarded_to(examples);
        self.upload(&ranges, examples, &[], (step, after)).await?;
        let mut outputs = Vec::new();
        let graph = &self.model.graph;
        for (&output, &place) in graph.outputs().iter().zip(&self.compiled.lowered.trained) {
            outputs.push(self.hand_out(output, place, examples).await?);
        }
        Ok(outputs)
    }

    /// [`backward`](Self::backward) from tensors.
    pub async fn backward_held(&mut self, gradients: &[&Tensor]) -> Result<()> {
        self.forwarded()?;
        // A gradient that is refused takes the place of none.
        self.check_not_due()?;
        self.take_gradients(gradients).await?;
        self.go_back(&[]).await
    }

    /// The gradients of the inputs from those of the outputs, and nothing else: the forward pass is there
    /// afterwards.
    pub async fn backward_inputs(&mut self, gradients: &[&Tensor]) -> Result<()> {
        let examples = self.forwarded()?;
        self.check_input_gradients()?;
        self.take_gradients(gradients).await?;
        let step = Step {
            made: self.progress.updates,
            examples: self.progress.examples_before(),
            ..Step::FIRST
        };
        let ranges = &self.compiled.lowered.ranges;
        let ranges = [ranges.loss.clone(), ranges.to_inputs.clone()];
        let alone = true;
        let after = Progress {
            went_back: Some(WentBack { examples, alone }),
            ..self.progress
        };
        self.upload(&ranges, examples, &[], (step, after)).await
    }

    /// The gradient of an input after the last way back; zero where no loss depends on it.
    pub async fn input_gradient(&self, input: usize) -> Result<Tensor> {
        self.check_input_gradients()?;
        let reason = "no way back has been gone";
        let went = self.progress.went_back;
        let went = went.ok_or_else(|| Error::argument("input_gradient", reason))?;
        let value = self.model.graph.inputs()[input];
        let asked = match went.alone {
            true => &self.compiled.lowered.asked_alone,
            false => &self.compiled.lowered.asked,
        };
        let asked = asked.iter().find(|asked| asked.value == value);
        match asked.and_then(|asked| asked.gradient) {
            Some(place) => self.hand_out(value, place, went.examples).await,
            None => {
                let shape = self.model.graph.shape(value).batched(went.examples);
                let zeros = vec![0.0; shape.len()];
                Tensor::from_slice_async(&self.compiled.gpu, shape, &zeros).await
            }
        }
    }

    fn check_input_gradients(&self) -> Result<()> {
        match self.options.input_gradients {
            true => Ok(()),
            false => {
                let reason = "needs a trainer that was made with input_gradients(true)";
                Err(Error::argument("gradient of an input", reason))
            }
        }
    }

    async fn take_gradients(&self, gradients: &[&Tensor]) -> Result<()> {
        let losses = self.compiled.lowered.losses.iter();
        let places = gradients.iter().zip(losses);
        let places: Vec<_> = places
            .map(|(&gradient, loss)| (gradient, loss.logits[1]))
            .collect();
        self.take_in(&places).await
    }

    /// Copies tensors to the beginnings of regions.
    async fn take_in(&self, from: &[(&Tensor, Region)]) -> Result<()> {
        let margin = self.compiled.gpu.margin();
        let mut to = Vec::new();
        for &(tensor, region) in from {
            let size = tensor.shape().len() as u64 * 4;
            to.push((
                tensor,
                self.compiled.program.memory(region)?,
                region.offset,
                size,
            ));
        }
        let copy = || {
            let device = self.compiled.gpu.device();
            let mut encoder = device.create_command_encoder(&Default::default());
            for (tensor, buffer, offset, size) in to {
                let from = tensor.buffer();
                encoder.copy_buffer_to_buffer(from, margin, buffer, margin + offset, size);
            }
            self.compiled.gpu.queue().submit([encoder.finish()]);
        };
        self.compiled.gpu.guard("copy of tensors", copy).await
    }

    /// A tensor of a value's size with what lies in a region.
    async fn hand_out(&self, value: ValueId, place: Region, examples: usize) -> Result<Tensor> {
        let shape = self.model.graph.shape(value).batched(examples);
        let size = shape.len() as u64 * 4;
        let tensor = Tensor::uninitialised(&self.compiled.gpu, shape).await?;
        let (from, margin) = (
            self.compiled.program.memory(place)?,
            self.compiled.gpu.margin(),
        );
        let copy = || {
            let device = self.compiled.gpu.device();
            let mut encoder = device.create_command_encoder(&Default::default());
            let at = margin + place.offset;
            encoder.copy_buffer_to_buffer(from, at, tensor.buffer(), margin, size);
            self.compiled.gpu.queue().submit([encoder.finish()]);
        };
        self.compiled.gpu.guard("copy of a tensor", copy).await?;
        Ok(tensor)
    }
}
