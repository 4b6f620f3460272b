//! The training loop's vocabulary.

use super::checkpoint::Session;
use super::distributed::LastShare;
use super::log::Logged;
use super::{Schedule, TrainerBuilder};
use crate::engine::{Batch, MemoryReport, Plan, Reference};
use crate::model::{Groups, Inputs, Model, OutputLoss, Targets};
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
    /// The optimizer's learning rate, before the schedule.
    pub(super) base_rate: f64,
    pub(super) schedule: Schedule,
    pub(super) batch: usize,
    pub(super) backend: Backend,
    /// What it was made by, but for the weights that it started from.
    pub(super) made: Box<TrainerBuilder>,
    pub(super) session: Session,
    pub(super) logged: Logged,
    /// What its last batch counts for among those of several ranks.
    pub(super) last_share: LastShare,
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
            base_rate,
            schedule,
            batch,
            ..
        } = self;
        f.debug_struct("Trainer")
            .field("model", model)
            .field("losses", losses)
            .field("base_rate", base_rate)
            .field("schedule", schedule)
            .field("batch", batch)
            .finish_non_exhaustive()
    }
}

impl Trainer {
    pub(super) fn new(
        model: Model,
        losses: Vec<OutputLoss>,
        (base_rate, schedule): (f64, Schedule),
        batch: usize,
        backend: Backend,
        made: TrainerBuilder,
    ) -> Self {
        Self {
            model,
            losses,
            base_rate,
            schedule,
            batch,
            backend,
            made: Box::new(made),
            session: Session::default(),
            logged: Logged::new(),
            last_share: LastShare::default(),
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
    /// has happened; [`Error::DeviceLost`]. An error of the device may come with a later call. Where
    /// [a file of states](TrainerBuilder::checkpoint_every_to) is due and cannot be written, [`Error::File`];
    /// nothing has happened then either. Of [several ranks](TrainerBuilder::distributed), [`Error::Rank`] with the
    /// one that has failed: nothing has happened on any, but that [`loss`](Self::loss), [`losses`](Self::losses) and
    /// [`gradient`](Self::gradient) may be of the batch that did not count. An [`Error::DeviceLost`] of the last
    /// turn, in which ranks no longer wait for each other, is of this rank alone: the others have made the step, and
    /// hear of it in their next call. All [recover](Self::recover) then.
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
        if let Some(ranks) = self.several() {
            return self.step_together(&ranks, inputs, targets).await;
        }
        self.follow_schedule()?;
        let batch = self.check_batch(&inputs, &targets)?;
        self.keep_if_due().await?;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.step(&batch).await,
            Backend::Cpu(reference) => reference.step(inputs, targets).map(drop),
        }
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
        if let Some(ranks) = self.several() {
            return self.update_together(&ranks).await;
        }
        self.follow_schedule()?;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.update().await,
            Backend::Cpu(reference) => reference.update_now(),
        }
    }

    /// The loss of the last step: the only read-back of a training loop, and it waits for that step.
    /// It is that of the step's own batch before the update, also where an update takes
    /// [several](TrainerBuilder::accumulate). A mean over a batch whose labels are all ignored is NaN,
    /// as in PyTorch. Of several losses it is the sum of each times its weight. Of
    /// [several ranks](TrainerBuilder::distributed) it is each one's own:
    /// [`loss_of_all_ranks`](Self::loss_of_all_ranks) is that of all.
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
            Backend::Gpu(plan) if !plan.has_losses() => vec![],
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
        self.check_not_averaged()?;
        let shape = &self.model.graph.parameter(id).shape;
        if shape.len() != values.len() {
            return Err(Error::length(
                &format!("parameter {name:?}"),
                shape,
                values.len(),
            ));
        }
        self.session.changes += 1;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_parameter(id, values).await,
            Backend::Cpu(reference) => reference.set_parameter(name, values),
        }
    }

    /// The gradient of the last step's loss with respect to a learned parameter, by name, before any
    /// clipping. With [`accumulate`](TrainerBuilder::accumulate) it is that of all batches since the
    /// last update, or, where there are none, of those that it took. Of
    /// [several ranks](TrainerBuilder::distributed) it is that of all once an update has taken it; until then it is
    /// the rank's own part of it.
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
        if self.groups().of(id).is_none() {
            let reason = "is frozen, and has no gradient";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
        if !self.learns(id) {
            let reason = "no loss depends on it";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
        match &self.backend {
            Backend::Gpu(plan) if !plan.has_gradients() => {
                Err(Error::argument("gradient", "no step has been made"))
            }
            Backend::Gpu(plan) => plan.gradient(id).await,
            Backend::Cpu(reference) => Ok(reference.gradient(name)?.to_vec()),
        }
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

    /// What is learned, and how.
    pub(super) fn groups(&self) -> &Groups {
        match &self.backend {
            Backend::Gpu(plan) => plan.groups(),
            Backend::Cpu(reference) => reference.groups(),
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
