//! Values that stay where a trainer computes, on their way from one trainer to another.

use std::sync::Arc;

use super::Trainer;
use super::trainer::Backend;
use crate::engine::loss_by_itself;
use crate::model::{Inputs, check_gradients, check_own};
use crate::op::{Loss, Target};
use crate::{Error, Result, Shape, Tensor};

/// Values that lie where a [`Trainer`] computes: in its device's memory, or in the host's for a trainer on
/// the CPU. Nothing changes them; clones share them.
#[derive(Debug, Clone)]
pub struct Held(Place);

#[derive(Debug, Clone)]
enum Place {
    Device(Tensor),
    Host(Shape, Arc<[f32]>),
}

impl From<Tensor> for Held {
    fn from(tensor: Tensor) -> Self {
        Self(Place::Device(tensor))
    }
}

impl Held {
    fn on_host(shape: Shape, values: &[f32]) -> Self {
        Self(Place::Host(shape, values.into()))
    }

    /// The extents, the batch first.
    pub fn shape(&self) -> &Shape {
        match &self.0 {
            Place::Device(tensor) => tensor.shape(),
            Place::Host(shape, _) => shape,
        }
    }

    /// The values as a tensor of the device, for [`ops`](crate::ops) and programs of one's own; `None` on
    /// the CPU.
    pub fn tensor(&self) -> Option<&Tensor> {
        match &self.0 {
            Place::Device(tensor) => Some(tensor),
            Place::Host(..) => None,
        }
    }

    /// Copies the values to the caller.
    ///
    /// # Errors
    /// The device's errors.
    #[cfg(feature = "native")]
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        pollster::block_on(self.to_vec_async())
    }

    /// [`to_vec`](Self::to_vec) for asynchronous programs and the browser.
    pub async fn to_vec_async(&self) -> Result<Vec<f32>> {
        match &self.0 {
            Place::Device(tensor) => tensor.to_vec_async().await,
            Place::Host(_, values) => Ok(values.to_vec()),
        }
    }

    /// A loss of these values, which are a model's outputs `(n, ..)`, and its gradient with respect to them: a
    /// value of one element and one of the outputs' shape, both where the outputs are. For trainers with
    /// [losses of one's own](crate::Losses::own) where such a loss is one of the library's, and its targets or
    /// what it is a loss of are not known beforehand.
    ///
    /// ```
    /// use wgpu_cnn::{Loss, Losses, Model, Trainer};
    /// let model = Model::builder([2]).dense(1).build()?;
    /// let mut trainer = Trainer::builder(model).loss(Losses::own_first()).batch(3).on_cpu()?;
    /// let x = trainer.hold([3, 2], &[0.5; 6])?;
    /// let verdict = trainer.forward_held(&[&x])?.swap_remove(0).1;
    /// let (loss, gradient) = verdict.loss(vec![1.0; 3], Loss::binary_cross_entropy())?;
    /// trainer.backward_held(&[&gradient])?;
    /// trainer.update()?;
    /// println!("loss {}", loss.to_vec()?[0]);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for a target of another length and for a loss that does not fit the outputs,
    /// [`Error::Argument`] for a label or an option out of range; the device's errors.
    #[cfg(feature = "native")]
    pub fn loss(&self, target: impl Into<Target>, loss: impl Into<Loss>) -> Result<(Self, Self)> {
        pollster::block_on(self.loss_async(target, loss))
    }

    /// [`loss`](Self::loss) for asynchronous programs and the browser.
    pub async fn loss_async(
        &self,
        target: impl Into<Target>,
        loss: impl Into<Loss>,
    ) -> Result<(Self, Self)> {
        let (shape, values) = match &self.0 {
            Place::Device(outputs) => {
                let (loss, gradient) = crate::ops::loss_async(outputs, target, loss).await?;
                return Ok((loss.into(), gradient.into()));
            }
            Place::Host(shape, values) => (shape, values),
        };
        let (value, gradient) = loss_by_itself(shape, values, target.into(), &loss.into())?;
        let gradient = Self::on_host(shape.clone(), &gradient);
        Ok((Self::on_host([1].into(), &[value]), gradient))
    }

    /// The device's, of that of a plan.
    fn on(&self, gpu: &crate::Gpu) -> Result<&Tensor> {
        let reason = "lies elsewhere than the trainer computes";
        match &self.0 {
            Place::Device(tensor) if tensor.gpu().is_same(gpu) => Ok(tensor),
            Place::Device(_) | Place::Host(..) => Err(Error::argument("held value", reason)),
        }
    }

    fn values(&self) -> Result<&[f32]> {
        let reason = "lies elsewhere than the trainer computes";
        match &self.0 {
            Place::Host(_, values) => Ok(values),
            Place::Device(_) => Err(Error::argument("held value", reason)),
        }
    }
}

impl Trainer {
    /// Puts values where this trainer computes.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not as many as the shape has, and the errors of allocation.
    #[cfg(feature = "native")]
    pub fn hold(&self, shape: impl Into<Shape>, values: &[f32]) -> Result<Held> {
        pollster::block_on(self.hold_async(shape, values))
    }

    /// [`hold`](Self::hold) for asynchronous programs and the browser.
    pub async fn hold_async(&self, shape: impl Into<Shape>, values: &[f32]) -> Result<Held> {
        let shape = shape.into();
        if shape.is_empty() || shape.len() != values.len() {
            return Err(Error::length("held value", &shape, values.len()));
        }
        match self.gpu() {
            Some(gpu) => Ok(Tensor::from_slice_async(gpu, shape, values).await?.into()),
            None => Ok(Held::on_host(shape, values)),
        }
    }

    /// [`forward`](Self::forward) with inputs that are held already, to outputs that stay where they are: the
    /// way from one trainer to another without the host. The outputs are copies that later steps leave alone:
    /// tensors that are made with each call, whose memory is free again once they and their clones are dropped.
    ///
    /// A generator that learns through a discriminator, both with [losses of one's
    /// own](crate::Losses::own):
    ///
    /// ```
    /// use wgpu_cnn::{Loss, Losses, Model, Optimizer, Trainer};
    /// let dense = |inputs: usize, outputs: usize| Model::builder([inputs]).dense(outputs).build();
    /// let own = |model| Trainer::builder(model).loss(Losses::own_first()).batch(4);
    /// let mut generator = own(dense(3, 5)?).optimizer(Optimizer::sgd(0.1)).on_cpu()?;
    /// let mut discriminator = own(dense(5, 1)?).input_gradients(true).on_cpu()?;
    /// let noise = generator.hold([4, 3], &[0.5; 12])?;
    /// let images = generator.forward_held(&[&noise])?.swap_remove(0).1;
    /// let verdict = discriminator.forward_held(&[&images])?.swap_remove(0).1;
    /// // The generator wants its images taken for real ones; the discriminator learns nothing from this.
    /// let (_, fooled) = verdict.loss(vec![1.0; 4], Loss::binary_cross_entropy())?;
    /// discriminator.backward_inputs(&[&fooled])?;
    /// generator.backward_held(&[&discriminator.input_gradient(0)?])?;
    /// generator.update()?;
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward), and [`Error::Argument`] for what is held elsewhere.
    #[cfg(feature = "native")]
    pub fn forward_held(&mut self, inputs: &[&Held]) -> Result<Vec<(String, Held)>> {
        pollster::block_on(self.forward_held_async(inputs))
    }

    /// [`forward_held`](Self::forward_held) for asynchronous programs and the browser.
    pub async fn forward_held_async(&mut self, inputs: &[&Held]) -> Result<Vec<(String, Held)>> {
        let ranks = self.several();
        // A rank without a batch holds nothing.
        let ready = match ranks.is_some() && inputs.is_empty() {
            true => self.before_none("forward_held"),
            false => self.before_forward_held(inputs),
        };
        match &ranks {
            Some(ranks) => self.meet(ranks, true, &ready).await.map(drop)?,
            None if ready.is_ok() => self.keep_if_due().await?,
            None => {}
        }
        let examples = ready?;
        self.session.changes += 1;
        let graph = &self.model().graph;
        let shapes = graph.outputs().iter();
        let shapes: Vec<Shape> = shapes.map(|&o| graph.shape(o).batched(examples)).collect();
        let outputs = match examples {
            0 => {
                self.forget_forward();
                Ok(vec![])
            }
            _ => self.forward_on(inputs, examples, shapes).await,
        };
        if let Some(ranks) = &ranks {
            let done = outputs.as_ref().map(drop).map_err(Clone::clone);
            self.forwarded_together(ranks, examples, done).await?;
        }
        let names = self.model().outputs().map(|(name, _)| name);
        Ok(names.zip(outputs?).collect())
    }

    /// What comes before a forward pass. Gives the examples.
    fn before_forward_held(&self, inputs: &[&Held]) -> Result<usize> {
        check_own(&self.losses, "forward_held")?;
        self.check_not_averaged()?;
        self.held_examples(inputs)
    }

    async fn forward_on(
        &mut self,
        inputs: &[&Held],
        examples: usize,
        shapes: Vec<Shape>,
    ) -> Result<Vec<Held>> {
        Ok(match &mut self.backend {
            Backend::Gpu(plan) => {
                let gpu = plan.gpu().clone();
                let tensors = inputs.iter().map(|input| input.on(&gpu));
                let tensors = tensors.collect::<Result<Vec<_>>>()?;
                let outputs = plan.forward_held(&tensors, examples).await?;
                outputs.into_iter().map(Held::from).collect()
            }
            Backend::Cpu(reference) => {
                let slices = inputs.iter().map(|input| input.values());
                let slices = slices.collect::<Result<Vec<_>>>()?;
                let outputs = reference.forward_training(Inputs::from(slices))?;
                let outputs = outputs.iter().zip(shapes);
                outputs
                    .map(|(values, shape)| Held::on_host(shape, values))
                    .collect()
            }
        })
    }

    /// [`backward`](Self::backward) from gradients that are held already.
    ///
    /// # Errors
    /// Those of [`backward`](Self::backward), and [`Error::Argument`] for what is held elsewhere.
    #[cfg(feature = "native")]
    pub fn backward_held(&mut self, gradients: &[&Held]) -> Result<()> {
        pollster::block_on(self.backward_held_async(gradients))
    }

    /// [`backward_held`](Self::backward_held) for asynchronous programs and the browser.
    pub async fn backward_held_async(&mut self, gradients: &[&Held]) -> Result<()> {
        check_own(&self.losses, "backward_held")?;
        if self.skips_backward(gradients.is_empty())? {
            return Ok(());
        }
        self.check_held_gradients(gradients, "backward_held")?;
        match &mut self.backend {
            Backend::Gpu(plan) => {
                let gpu = plan.gpu().clone();
                let tensors = gradients.iter().map(|gradient| gradient.on(&gpu));
                let tensors = tensors.collect::<Result<Vec<_>>>()?;
                plan.backward_held(&tensors).await
            }
            Backend::Cpu(reference) => {
                let slices = gradients.iter().map(|gradient| gradient.values());
                reference.backward_slices(&slices.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    /// The gradients of the inputs from those of the outputs of the last forward pass, and nothing else: no
    /// gradient of a parameter, no batch that is counted. The forward pass is there afterwards, so that a
    /// [`backward`](Self::backward) may follow. Needs
    /// [`input_gradients`](super::TrainerBuilder::input_gradients).
    ///
    /// # Errors
    /// Those of [`backward_held`](Self::backward_held), and [`Error::Argument`] for a trainer that was made
    /// without gradients of its inputs.
    #[cfg(feature = "native")]
    pub fn backward_inputs(&mut self, gradients: &[&Held]) -> Result<()> {
        pollster::block_on(self.backward_inputs_async(gradients))
    }

    /// [`backward_inputs`](Self::backward_inputs) for asynchronous programs and the browser.
    pub async fn backward_inputs_async(&mut self, gradients: &[&Held]) -> Result<()> {
        self.check_held_gradients(gradients, "backward_inputs")?;
        match &mut self.backend {
            Backend::Gpu(plan) => {
                let gpu = plan.gpu().clone();
                let tensors = gradients.iter().map(|gradient| gradient.on(&gpu));
                let tensors = tensors.collect::<Result<Vec<_>>>()?;
                plan.backward_inputs(&tensors).await
            }
            Backend::Cpu(reference) => {
                let slices = gradients.iter().map(|gradient| gradient.values());
                reference.backward_inputs(&slices.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    /// The gradient with respect to an input, by its place among them, that the last step or way back has
    /// left: `(n, ..)` of the input's shape, zero where no loss depends on it; a copy as the outputs of
    /// [`forward_held`](Self::forward_held). Needs [`input_gradients`](super::TrainerBuilder::input_gradients).
    ///
    /// # Errors
    /// [`Error::Argument`] for a place beyond the inputs, for a trainer that was made without, and before the
    /// first way back; the device's errors.
    #[cfg(feature = "native")]
    pub fn input_gradient(&self, input: usize) -> Result<Held> {
        pollster::block_on(self.input_gradient_async(input))
    }

    /// [`input_gradient`](Self::input_gradient) for asynchronous programs and the browser.
    pub async fn input_gradient_async(&self, input: usize) -> Result<Held> {
        let graph = &self.model().graph;
        let Some(&value) = graph.inputs().get(input) else {
            let reason = format!("the model has {}", graph.inputs().len());
            return Err(Error::argument(format!("input {input}"), reason));
        };
        match &self.backend {
            Backend::Gpu(plan) => Ok(plan.input_gradient(input).await?.into()),
            Backend::Cpu(reference) => {
                let [gradient, values] = reference.input_gradient(input)?;
                let one = graph.shape(value);
                let shape = |len: usize| one.batched(len / one.len());
                match gradient.is_empty() {
                    true => Ok(Held::on_host(shape(values.len()), &vec![0.0; values.len()])),
                    false => Ok(Held::on_host(shape(gradient.len()), gradient)),
                }
            }
        }
    }

    /// The examples of inputs, where each is a batch of its shape.
    fn held_examples(&self, inputs: &[&Held]) -> Result<usize> {
        let graph = &self.model().graph;
        let expected = graph.inputs().len();
        if inputs.len() != expected {
            return Err(Error::shape(
                "inputs",
                format!("{expected} of them"),
                inputs.len(),
            ));
        }
        let examples = inputs[0].shape().first().copied().unwrap_or(0);
        for (&value, held) in graph.inputs().iter().zip(inputs) {
            if graph.bytes(value).is_some() {
                let reason = "are held as real numbers, where the model takes bytes";
                return Err(Error::argument(
                    format!("values of {}", graph.value_name(value)),
                    reason,
                ));
            }
            let shape = graph.shape(value).batched(examples);
            if held.shape().len() != shape.len() {
                return Err(Error::shape(
                    graph.value_name(value),
                    shape.to_string(),
                    held.shape(),
                ));
            }
        }
        if examples == 0 || examples > self.batch {
            let expected = format!("1 to {} examples", self.batch);
            return Err(Error::shape("input", expected, examples));
        }
        Ok(examples)
    }

    /// Refuses gradients that do not fit the forward pass.
    fn check_held_gradients(&self, gradients: &[&Held], what: &str) -> Result<()> {
        check_own(&self.losses, what)?;
        let examples = match &self.backend {
            Backend::Gpu(plan) => plan.forwarded()?,
            Backend::Cpu(reference) => reference.forwarded()?,
        };
        let lengths = gradients.iter().map(|gradient| gradient.shape().len());
        check_gradients(&self.model().graph, &self.losses, examples, lengths)
    }
}
