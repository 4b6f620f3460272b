//! The training loop's vocabulary.

#[cfg(feature = "native")]
use std::path::Path;
use std::path::PathBuf;

use crate::engine::{MemoryReport, Plan, PlanOptions, Reference};
#[cfg(feature = "native")]
use crate::model::write_weights;
use crate::model::{Model, ParameterId, read_weights};
use crate::op::{Loss, Optimizer, Target};
use crate::{Error, Gpu, Result};

/// How a [`Trainer`] is made.
#[derive(Debug, Clone)]
pub struct TrainerBuilder {
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    weights: Option<PathBuf>,
    options: PlanOptions,
}

impl TrainerBuilder {
    /// Sets the number of examples per step. The last batch of an epoch may be smaller. Default 64.
    pub fn batch(mut self, batch: usize) -> Self {
        self.options.batch = batch;
        self
    }

    /// Sets the loss. Default mean cross-entropy.
    pub fn loss(mut self, loss: impl Into<Loss>) -> Self {
        self.loss = loss.into();
        self
    }

    /// Sets the optimizer. Default Adam at 1e-3.
    pub fn optimizer(mut self, optimizer: impl Into<Optimizer>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    /// Sets the seed that the parameters start from and that dropout's masks are made from.
    /// Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Scales the gradients down where the norm of all of them together is larger than `norm`, as
    /// PyTorch's `clip_grad_norm_` (Pascanu et al. 2013). Default not at all.
    pub fn clip_norm(mut self, norm: f64) -> Self {
        self.options.clip_norm = Some(norm);
        self
    }

    /// Sets how many batches make an update. Their losses are averaged as if they were one large
    /// batch, so that memory is that of a small one. Default 1.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.options.accumulate = batches;
        self
    }

    /// Starts from saved weights rather than from the seed.
    pub fn weights(mut self, path: impl Into<PathBuf>) -> Self {
        self.weights = Some(path.into());
        self
    }

    /// Sets how many steps may be on their way at once; `step` waits for the oldest beyond that.
    /// Default 2.
    pub fn in_flight(mut self, steps: usize) -> Self {
        self.options.in_flight = steps;
        self
    }

    /// Sets the bytes of device memory that the trainer may take: more is an
    /// [`Error::OutOfMemory`] before anything is allocated. Default no bound but the device's.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.options.memory_budget = bytes;
        self
    }

    /// Sets the largest buffer for parameters in bytes; more of them are kept in several. Default
    /// the device's limit of a binding.
    pub fn max_slab(mut self, bytes: u64) -> Self {
        self.options.max_slab = bytes;
        self
    }

    /// The memory that [`on`](Self::on) would take, without allocating any.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        self.check()?;
        Plan::memory_of(gpu, &self.model, &self.loss, &self.optimizer, self.options)
    }

    /// Makes the trainer on a GPU: buffers, pipelines and bind groups, all of them.
    ///
    /// # Errors
    /// [`Error::Argument`] for hyper-parameters out of range, [`Error::Shape`] for a loss that does
    /// not fit the model's output, [`Error::Limit`] and [`Error::OutOfMemory`] for what the device
    /// does not have, [`Error::File`] for weights that do not fit.
    #[cfg(feature = "native")]
    pub fn on(self, gpu: &Gpu) -> Result<Trainer> {
        pollster::block_on(self.on_async(gpu))
    }

    /// [`on`](Self::on) for asynchronous programs and the browser.
    pub async fn on_async(self, gpu: &Gpu) -> Result<Trainer> {
        self.check()?;
        let values = self.initial_values()?;
        let mut plan = Plan::compile(
            gpu,
            &self.model,
            self.loss.clone(),
            self.optimizer,
            self.options,
        )
        .await?;
        for (id, values) in values.iter().enumerate() {
            plan.set_parameter(ParameterId(id), values).await?;
        }
        Ok(self.trainer(Backend::Gpu(Box::new(plan))))
    }

    /// Makes the trainer on the CPU reference: the same results within rounding, without a GPU.
    pub fn on_cpu(self) -> Result<Trainer> {
        self.check()?;
        let (loss, options) = (self.loss.clone(), self.options);
        let mut reference = Reference::new(&self.model, loss, self.optimizer, options.seed)?;
        reference.set_clip_norm(options.clip_norm)?;
        reference.set_accumulate(options.accumulate)?;
        if self.weights.is_some() {
            for (parameter, values) in self.model.parameters().zip(self.initial_values()?) {
                reference.set_parameter(parameter.0, &values)?;
            }
        }
        Ok(self.trainer(Backend::Cpu(Box::new(reference))))
    }

    fn trainer(self, backend: Backend) -> Trainer {
        let Self {
            model,
            loss,
            optimizer,
            options,
            ..
        } = self;
        let learning_rate = optimizer.learning_rate();
        Trainer {
            model,
            loss,
            learning_rate,
            batch: options.batch,
            last_loss: None,
            backend,
        }
    }

    fn initial_values(&self) -> Result<Vec<Vec<f32>>> {
        match &self.weights {
            Some(path) => read_weights(&self.model.graph, path),
            None => Ok(self.model.graph.initial_values(self.options.seed)),
        }
    }

    fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        if self.options.batch == 0 {
            return Err(Error::argument("batch", "must not be zero"));
        }
        if !(1..=64).contains(&self.options.in_flight) {
            return Err(Error::argument("in_flight", "must be between 1 and 64"));
        }
        if self.options.accumulate == 0 {
            return Err(Error::argument("accumulate", "must not be zero"));
        }
        if self
            .options
            .clip_norm
            .is_some_and(|norm| norm.is_nan() || norm <= 0.0)
        {
            return Err(Error::argument("clip_norm", "must be above zero"));
        }
        if self.model.parameter_count() == 0 {
            return Err(Error::argument("model", "has nothing to learn"));
        }
        self.loss
            .geometry(self.options.batch, self.model.output_shape())?;
        let shapes = self
            .model
            .graph
            .values()
            .map(|value| self.model.graph.shape(value));
        let largest = shapes
            .map(|shape| shape.len().saturating_mul(self.options.batch))
            .max();
        if largest.is_some_and(|len| len > u32::MAX as usize / 4) {
            let reason = "makes a tensor of more than 2^30 elements";
            return Err(Error::argument("batch", reason));
        }
        Ok(())
    }
}

/// A model in training, on a GPU or on the CPU.
///
/// ```no_run
/// use wgpu_cnn::{Gpu, Model, Optimizer, Trainer};
/// # let (images, labels) = (vec![0.0; 64 * 784], vec![0u8; 64]);
/// let model = Model::builder([1, 28, 28]).conv2d(8, 5).relu().flatten().dense(10).build()?;
/// let gpu = Gpu::new()?;
/// let mut trainer = Trainer::builder(model).optimizer(Optimizer::adam(1e-3)).on(&gpu)?;
/// trainer.step(&images, &labels)?;
/// println!("loss {}", trainer.loss()?);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub struct Trainer {
    model: Model,
    loss: Loss,
    learning_rate: f64,
    batch: usize,
    /// The loss of the last step on the CPU, where it costs nothing.
    last_loss: Option<f32>,
    backend: Backend,
}

enum Backend {
    Gpu(Box<Plan>),
    Cpu(Box<Reference<f32>>),
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            model,
            loss,
            learning_rate,
            batch,
            ..
        } = self;
        f.debug_struct("Trainer")
            .field("model", model)
            .field("loss", loss)
            .field("learning_rate", learning_rate)
            .field("batch", batch)
            .finish_non_exhaustive()
    }
}

impl Trainer {
    /// Begins a trainer for a model.
    pub fn builder(model: Model) -> TrainerBuilder {
        let options = PlanOptions {
            batch: 64,
            in_flight: 2,
            memory_budget: u64::MAX,
            max_slab: u64::MAX,
            seed: 0,
            clip_norm: None,
            accumulate: 1,
        };
        TrainerBuilder {
            model,
            loss: Loss::default(),
            optimizer: Optimizer::adam(1e-3).into(),
            weights: None,
            options,
        }
    }

    /// One step: forward, loss, backward, update. `input` holds up to a batch of examples,
    /// `(n, C, H, W)`; `target` their labels or values.
    ///
    /// On a GPU this submits the work and returns; it waits only where as many steps as
    /// [`in_flight`](TrainerBuilder::in_flight) allows are still on their way.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a batch that does not fit, in which case nothing
    /// has happened; [`Error::DeviceLost`]. An error of the device may come with a later call.
    #[cfg(feature = "native")]
    pub fn step(&mut self, input: &[f32], target: impl Into<Target>) -> Result<()> {
        pollster::block_on(self.step_async(input, target))
    }

    /// [`step`](Self::step) for asynchronous programs and the browser.
    pub async fn step_async(&mut self, input: &[f32], target: impl Into<Target>) -> Result<()> {
        let target = target.into();
        self.check_batch(input, &target)?;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.step(input, &target).await,
            Backend::Cpu(reference) => {
                self.last_loss = Some(reference.step(input, &target)?);
                Ok(())
            }
        }
    }

    /// Updates the parameters from the batches since the last update, where an epoch ends between
    /// two of them. Does nothing where there are none, and never where each batch is an update.
    #[cfg(feature = "native")]
    pub fn update(&mut self) -> Result<()> {
        pollster::block_on(self.update_async())
    }

    /// [`update`](Self::update) for asynchronous programs and the browser.
    pub async fn update_async(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.update().await,
            Backend::Cpu(reference) => reference.update_now(),
        }
    }

    /// The loss of the last step: the only read-back of a training loop, and it waits for that step.
    ///
    /// # Errors
    /// [`Error::Argument`] before the first step, and the device's errors.
    #[cfg(feature = "native")]
    pub fn loss(&self) -> Result<f32> {
        pollster::block_on(self.loss_async())
    }

    /// [`loss`](Self::loss) for asynchronous programs and the browser.
    pub async fn loss_async(&self) -> Result<f32> {
        let missing = || Error::argument("loss", "no step has been made");
        match &self.backend {
            Backend::Gpu(plan) if plan.steps() == 0 => Err(missing()),
            Backend::Gpu(plan) => plan.loss().await,
            Backend::Cpu(_) => self.last_loss.ok_or_else(missing),
        }
    }

    /// The model's outputs for any number of examples, row after row.
    #[cfg(feature = "native")]
    pub fn predict(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        pollster::block_on(self.predict_async(input))
    }

    /// [`predict`](Self::predict) for asynchronous programs and the browser.
    pub async fn predict_async(&mut self, input: &[f32]) -> Result<Vec<f32>> {
        self.examples(input)?;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.predict(input).await,
            Backend::Cpu(reference) => reference.forward(input),
        }
    }

    /// A parameter's values by name, for example `0.weight`; [`Model::parameters`] lists them.
    #[cfg(feature = "native")]
    pub fn parameter(&self, name: &str) -> Result<Vec<f32>> {
        pollster::block_on(self.parameter_async(name))
    }

    /// [`parameter`](Self::parameter) for asynchronous programs and the browser.
    pub async fn parameter_async(&self, name: &str) -> Result<Vec<f32>> {
        let id = self.model.graph.parameter_named(name)?;
        match &self.backend {
            Backend::Gpu(plan) => plan.parameter(id).await,
            Backend::Cpu(reference) => Ok(reference.parameter(name)?.to_vec()),
        }
    }

    /// Sets a parameter's values by name.
    #[cfg(feature = "native")]
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        pollster::block_on(self.set_parameter_async(name, values))
    }

    /// [`set_parameter`](Self::set_parameter) for asynchronous programs and the browser.
    pub async fn set_parameter_async(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let id = self.model.graph.parameter_named(name)?;
        let shape = &self.model.graph.parameter(id).shape;
        if shape.len() != values.len() {
            return Err(Error::length(
                &format!("parameter {name:?}"),
                shape,
                values.len(),
            ));
        }
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_parameter(id, values).await,
            Backend::Cpu(reference) => reference.set_parameter(name, values),
        }
    }

    /// The gradient of the last step's loss with respect to a parameter, by name.
    #[cfg(feature = "native")]
    pub fn gradient(&self, name: &str) -> Result<Vec<f32>> {
        pollster::block_on(self.gradient_async(name))
    }

    /// [`gradient`](Self::gradient) for asynchronous programs and the browser.
    pub async fn gradient_async(&self, name: &str) -> Result<Vec<f32>> {
        let id = self.model.graph.parameter_named(name)?;
        match &self.backend {
            Backend::Gpu(plan) if plan.steps() == 0 => {
                Err(Error::argument("gradient", "no step has been made"))
            }
            Backend::Gpu(plan) => plan.gradient(id).await,
            Backend::Cpu(reference) => Ok(reference.gradient(name)?.to_vec()),
        }
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// Sets the learning rate from the next step on. Rebuilds nothing.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        Optimizer::from(Optimizer::sgd(learning_rate)).check()?;
        self.learning_rate = learning_rate;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_learning_rate(learning_rate),
            Backend::Cpu(reference) => reference.set_learning_rate(learning_rate)?,
        }
        Ok(())
    }

    /// Writes all parameters to a safetensors file, under PyTorch's names and in its layouts.
    #[cfg(feature = "native")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let mut values = Vec::new();
        for (name, _) in self.model.parameters() {
            values.push(self.parameter(name)?);
        }
        write_weights(&self.model.graph, &values, path.as_ref())
    }

    /// Reads all parameters from a safetensors file, such as the state of a `torch.nn.Sequential`
    /// of the same layers. The optimizer's state stays as it is. Nothing changes on an error.
    #[cfg(feature = "native")]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let values = read_weights(&self.model.graph, path.as_ref())?;
        let names: Vec<String> = self
            .model
            .parameters()
            .map(|(name, _)| name.into())
            .collect();
        for (name, values) in names.iter().zip(&values) {
            self.set_parameter(name, values)?;
        }
        Ok(())
    }

    /// The model in training.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The GPU, unless this trainer is on the CPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.backend {
            Backend::Gpu(plan) => Some(plan.gpu()),
            Backend::Cpu(_) => None,
        }
    }

    /// The device memory that the trainer takes, or `None` on the CPU.
    pub fn memory(&self) -> Option<MemoryReport> {
        match &self.backend {
            Backend::Gpu(plan) => Some(plan.memory()),
            Backend::Cpu(_) => None,
        }
    }

    /// The plan, unless this trainer is on the CPU.
    pub(super) fn plan(&mut self) -> Option<&mut Plan> {
        match &mut self.backend {
            Backend::Gpu(plan) => Some(plan),
            Backend::Cpu(_) => None,
        }
    }

    /// Whether a batch is one that a step takes.
    pub(super) fn check_batch(&self, input: &[f32], target: &Target) -> Result<()> {
        let examples = self.examples(input)?;
        if examples > self.batch {
            let expected = format!("at most {} examples", self.batch);
            return Err(Error::shape("input", expected, examples));
        }
        target.check(&self.loss, self.model.output_shape().len(), examples)
    }

    /// The number of examples that a slice holds.
    fn examples(&self, input: &[f32]) -> Result<usize> {
        let example = self.model.input_shape().len();
        if input.is_empty() || !input.len().is_multiple_of(example) {
            let expected = format!("whole examples of {}", self.model.input_shape());
            return Err(Error::shape(
                "input",
                expected,
                format!("{} elements", input.len()),
            ));
        }
        Ok(input.len() / example)
    }
}
