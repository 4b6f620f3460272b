//! The training loop's vocabulary.

#[cfg(feature = "native")]
use std::path::Path;

use super::TrainerBuilder;
use super::log::Logged;
use crate::engine::{Batch, MemoryReport, Plan, Reference, Wanted};
use crate::model::{Inputs, Model, OutputLoss, Targets};
#[cfg(feature = "native")]
use crate::model::{Weights, write_weights};
use crate::{Error, Gpu, Result};

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
    pub(super) losses: Vec<OutputLoss>,
    learning_rate: f64,
    pub(super) batch: usize,
    pub(super) backend: Backend,
    pub(super) logged: Logged,
}

pub(super) enum Backend {
    Gpu(Box<Plan>),
    Cpu(Box<Reference<f32>>),
}

impl std::fmt::Debug for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            model,
            losses,
            learning_rate,
            batch,
            ..
        } = self;
        f.debug_struct("Trainer")
            .field("model", model)
            .field("losses", losses)
            .field("learning_rate", learning_rate)
            .field("batch", batch)
            .finish_non_exhaustive()
    }
}

impl Trainer {
    pub(super) fn new(
        model: Model,
        losses: Vec<OutputLoss>,
        learning_rate: f64,
        batch: usize,
        backend: Backend,
    ) -> Self {
        Self {
            model,
            losses,
            learning_rate,
            batch,
            backend,
            logged: Logged::new(),
        }
    }

    /// Begins a trainer for a model.
    pub fn builder(model: Model) -> TrainerBuilder {
        TrainerBuilder::new(model)
    }

    /// One step: forward, loss, backward, update. `inputs` holds up to a batch of examples,
    /// `(n, C, H, W)`; `targets` their labels or values. A model with several inputs takes a list of
    /// them, `[&images[..], &numbers]`, and [several losses](crate::Losses) a list of targets.
    ///
    /// On a GPU this submits the work and returns; it waits only where as many steps as
    /// [`in_flight`](TrainerBuilder::in_flight) allows are still on their way.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a batch that does not fit, in which case nothing
    /// has happened; [`Error::DeviceLost`]. An error of the device may come with a later call.
    #[cfg(feature = "native")]
    pub fn step<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<()> {
        self.step_blocking(inputs.into(), targets.into())
    }

    /// A step that is not generic: a program that uses [`step`](Self::step) compiles no part of the
    /// plan or of the reference a second time.
    #[cfg(feature = "native")]
    fn step_blocking(&mut self, inputs: Inputs<'_>, targets: Targets) -> Result<()> {
        pollster::block_on(self.step_with(inputs, targets))
    }

    /// [`step`](Self::step) for asynchronous programs and the browser.
    pub async fn step_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<()> {
        self.step_with(inputs.into(), targets.into()).await
    }

    async fn step_with(&mut self, inputs: Inputs<'_>, targets: Targets) -> Result<()> {
        let batch = self.check_batch(&inputs, &targets)?;
        let examples = batch.examples;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.step(&batch).await?,
            Backend::Cpu(reference) => drop(reference.step(inputs, targets)?),
        }
        self.logged.count(examples);
        Ok(())
    }

    /// Updates the parameters from the batches since the last update: where an epoch ends between two
    /// updates, and after each [`backward`](Self::backward) of a loss of one's own. Does nothing where no
    /// batch waits, as after a [`step`](Self::step) that is an update by itself.
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
    /// It is that of the step's own batch before the update, also where an update takes
    /// [several](TrainerBuilder::accumulate). A mean over a batch whose labels are all ignored is NaN,
    /// as in PyTorch. Of several losses it is the sum of each times its weight.
    ///
    /// # Errors
    /// [`Error::Argument`] before the first step and where the loss is the caller's, and the device's
    /// errors.
    #[cfg(feature = "native")]
    pub fn loss(&self) -> Result<f32> {
        pollster::block_on(self.loss_async())
    }

    /// [`loss`](Self::loss) for asynchronous programs and the browser.
    pub async fn loss_async(&self) -> Result<f32> {
        let each = self.each_loss().await?;
        if let ([loss], &[value]) = (&self.losses[..], &each[..])
            && loss.weight == 1.0
        {
            return Ok(value);
        }
        let weighted = self.losses.iter().zip(each);
        let weighted = weighted.map(|(loss, value)| loss.weight * f64::from(value));
        Ok(weighted.sum::<f64>() as f32)
    }

    /// Each of the losses of the last step, before its weight, with the name of its output.
    ///
    /// # Errors
    /// Those of [`loss`](Self::loss).
    #[cfg(feature = "native")]
    pub fn losses(&self) -> Result<Vec<(String, f32)>> {
        pollster::block_on(self.losses_async())
    }

    /// [`losses`](Self::losses) for asynchronous programs and the browser.
    pub async fn losses_async(&self) -> Result<Vec<(String, f32)>> {
        let (each, graph) = (self.each_loss().await?, &self.model.graph);
        let named = self.losses.iter().zip(each);
        let named = named.map(|(loss, value)| {
            let output = graph.outputs()[loss.output];
            (graph.value_name(output), value)
        });
        Ok(named.collect())
    }

    async fn each_loss(&self) -> Result<Vec<f32>> {
        if self.losses.iter().any(|loss| loss.loss.is_none()) {
            return Err(Error::argument("loss", "is the caller's"));
        }
        let each = match &self.backend {
            Backend::Gpu(plan) if plan.steps() == 0 => vec![],
            Backend::Gpu(plan) => plan.losses().await?,
            Backend::Cpu(reference) => reference.last_losses().to_vec(),
        };
        match each.len() == self.losses.len() {
            true => Ok(each),
            false => Err(Error::argument("loss", "no step has been made")),
        }
    }

    /// Whether the loss of the last step is a number: a training that has diverged is told by a loss that
    /// is infinite or NaN, and stays so. It costs what reading the [`loss`](Self::loss) does, 4 bytes
    /// and the wait for that step, so that a loop asks every few steps.
    ///
    /// # Errors
    /// [`Error::Argument`] before the first step, and the device's errors.
    #[cfg(feature = "native")]
    pub fn is_finite(&self) -> Result<bool> {
        pollster::block_on(self.is_finite_async())
    }

    /// [`is_finite`](Self::is_finite) for asynchronous programs and the browser.
    pub async fn is_finite_async(&self) -> Result<bool> {
        Ok(self.loss_async().await?.is_finite())
    }

    /// The model's first output for any number of examples, row after row.
    /// It is `(n, ..)` of the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the inputs hold no whole examples, none, or not as many each; the device's errors.
    #[cfg(feature = "native")]
    pub fn predict<'a>(&mut self, inputs: impl Into<Inputs<'a>>) -> Result<Vec<f32>> {
        pollster::block_on(self.predict_with(inputs.into(), 1)).map(first)
    }

    /// [`predict`](Self::predict) for asynchronous programs and the browser.
    pub async fn predict_async<'a>(&mut self, inputs: impl Into<Inputs<'a>>) -> Result<Vec<f32>> {
        self.predict_with(inputs.into(), 1).await.map(first)
    }

    /// Each of the model's outputs for any number of examples, by name, in the order of
    /// [`Model::outputs`].
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    #[cfg(feature = "native")]
    pub fn predict_all<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        let count = self.model.outputs().len();
        let outputs = pollster::block_on(self.predict_with(inputs.into(), count))?;
        Ok(self.named(outputs))
    }

    /// [`predict_all`](Self::predict_all) for asynchronous programs and the browser.
    pub async fn predict_all_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        let count = self.model.outputs().len();
        let outputs = self.predict_with(inputs.into(), count).await?;
        Ok(self.named(outputs))
    }

    /// Outputs with their names.
    pub(super) fn named(&self, outputs: Vec<Vec<f32>>) -> Vec<(String, Vec<f32>)> {
        let names = self.model.outputs().map(|(name, _)| name);
        names.zip(outputs).collect()
    }

    /// The first outputs, so many of them.
    pub(super) async fn predict_with(
        &mut self,
        inputs: Inputs<'_>,
        count: usize,
    ) -> Result<Vec<Vec<f32>>> {
        let examples = inputs.examples(&self.model.graph)?;
        let reference = match &mut self.backend {
            Backend::Gpu(plan) => return plan.predict(&inputs, examples, 0..count).await,
            Backend::Cpu(reference) => reference,
        };
        reference.forget_forward(); // as on a GPU, whose memory this takes
        // A batch at a time here too, so that the activations of more are never there at once.
        let mut outputs = vec![Vec::new(); count];
        for begin in (0..examples).step_by(self.batch) {
            let batch = inputs.part(&self.model.graph, begin, self.batch);
            for (output, part) in outputs.iter_mut().zip(reference.forward_all(batch)?) {
                output.extend(part);
            }
        }
        Ok(outputs)
    }

    /// A parameter's values by name, for example `0.weight`; [`Model::parameters`] lists them.
    ///
    /// # Errors
    /// [`Error::Argument`] where the model has none of this name, and the device's errors.
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
    ///
    /// # Errors
    /// [`Error::Argument`] where the model has none of this name, or it is fixed; [`Error::Shape`] for another number
    /// of values than it has; the device's errors.
    #[cfg(feature = "native")]
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        pollster::block_on(self.set_parameter_async(name, values))
    }

    /// [`set_parameter`](Self::set_parameter) for asynchronous programs and the browser.
    pub async fn set_parameter_async(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let id = self.model.graph.parameter_named(name)?;
        if self.model.graph.parameter(id).is_constant() {
            let reason = "is part of the model, and fixed";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
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

    /// The gradient of the last step's loss with respect to a learned parameter, by name, before any
    /// clipping. With [`accumulate`](TrainerBuilder::accumulate) it is that of all batches since the
    /// last update, or, where there are none, of those that it took.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is none of a learned parameter and before the first step,
    /// and the device's errors.
    #[cfg(feature = "native")]
    pub fn gradient(&self, name: &str) -> Result<Vec<f32>> {
        pollster::block_on(self.gradient_async(name))
    }

    /// [`gradient`](Self::gradient) for asynchronous programs and the browser.
    pub async fn gradient_async(&self, name: &str) -> Result<Vec<f32>> {
        let id = self.model.graph.learned_named(name)?;
        if !Wanted::learned(&self.model.graph, &self.losses).parameter(id) {
            let reason = "no loss depends on it";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
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
    ///
    /// # Errors
    /// [`Error::Argument`] where it is negative, infinite or NaN.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_learning_rate(learning_rate)?,
            Backend::Cpu(reference) => reference.set_learning_rate(learning_rate)?,
        }
        self.learning_rate = learning_rate;
        Ok(())
    }

    /// Writes all parameters to a safetensors file, under PyTorch's names and in its layouts.
    ///
    /// They are read back from the device and written one after the other. Until all of them are on
    /// the disk, what was under that name before stays there. A link is followed, also to a file that
    /// is yet to be made, and a file that is replaced keeps its mode and its owner. Where a file has a
    /// second name (a hard link), that one keeps the old contents.
    ///
    /// # Errors
    /// [`Error::File`] where the path is not that of a file, where the file is read-only or its owner
    /// would not stay, and where its folder is missing or cannot be written in.
    #[cfg(feature = "native")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_to(path.as_ref())
    }

    #[cfg(feature = "native")]
    fn save_to(&self, path: &Path) -> Result<()> {
        write_weights(&self.model.graph, path, |name| self.parameter(name))
    }

    /// Reads all parameters from a safetensors file, such as the state of a `torch.nn.Sequential`
    /// of the same layers. The optimizer's state stays as it is. Nothing changes on an error.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is none, or whose tensors are not the model's; the device's errors.
    #[cfg(feature = "native")]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.load_from(path.as_ref())
    }

    #[cfg(feature = "native")]
    fn load_from(&mut self, path: &Path) -> Result<()> {
        // All are read before the first is set, so that a file that ends early changes nothing.
        let mut values = Weights::open(&self.model.graph, path)?.read_all()?;
        let parameters = self.model.parameters();
        let names: Vec<String> = parameters.map(|(name, _)| name.into()).collect();
        for (at, name) in names.iter().enumerate() {
            if let Err(error) = self.exchange(name, &mut values[at]) {
                for (name, old) in names.iter().zip(&values[..at]) {
                    // What failed first is what is told, also where this fails too.
                    let _ = self.set_parameter(name, old);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sets a parameter, and leaves what it was.
    #[cfg(feature = "native")]
    fn exchange(&mut self, name: &str, values: &mut Vec<f32>) -> Result<()> {
        let old = self.parameter(name)?;
        self.set_parameter(name, values)?;
        *values = old;
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

    /// The batch, where it is one that a step takes.
    pub(super) fn check_batch<'a>(
        &self,
        inputs: &'a Inputs<'a>,
        targets: &'a Targets,
    ) -> Result<Batch<'a>> {
        let examples = self.check_inputs(inputs)?;
        targets.check(&self.model.graph, &self.losses, examples)?;
        Ok(Batch {
            inputs,
            examples,
            targets: &targets.0,
        })
    }

    /// The examples of a batch of inputs, where they are no more than a step takes.
    pub(super) fn check_inputs(&self, inputs: &Inputs) -> Result<usize> {
        let examples = inputs.examples(&self.model.graph)?;
        match examples > self.batch {
            true => {
                let expected = format!("at most {} examples", self.batch);
                Err(Error::shape("input", expected, examples))
            }
            false => Ok(examples),
        }
    }
}

/// The first of outputs.
fn first(mut outputs: Vec<Vec<f32>>) -> Vec<f32> {
    match outputs.is_empty() {
        true => vec![],
        false => outputs.swap_remove(0),
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;

    #[test]
    fn a_batch_beyond_all_inputs_predicts_them_at_once() {
        let model = Model::builder([4]).dense(2).build().unwrap();
        let predicted = |batch| {
            let builder = Trainer::builder(model.clone()).batch(batch);
            builder.on_cpu().unwrap().predict(&[0.5; 12]).unwrap()
        };
        for batch in [usize::MAX, usize::MAX / 2, usize::MAX / 4 + 2] {
            assert_eq!(predicted(batch), predicted(2), "{batch}");
        }
    }
}
