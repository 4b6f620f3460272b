//! How a [`Probe`] is made.

use super::{Engine, Probe, Probed};
use crate::engine::{HostLook, LookPlan, LookTask, MemoryReport, PlanOptions};
use crate::gpu::strategy::Choices;
use crate::model::{Losses, Model, ParameterId, ValueId, Weights};
use crate::op::Loss;
use crate::train::origin::Origin;
use crate::{Error, Gpu, Result};

/// How a [`Probe`] is made.
#[derive(Debug, Clone)]
pub struct ProbeBuilder {
    model: Model,
    losses: Losses,
    pub(super) origin: Origin,
    values: Vec<String>,
    gradients: Vec<String>,
    training: bool,
    pub(super) learned: Vec<bool>,
    pub(super) choices: Choices,
    pub(super) options: PlanOptions,
}

impl ProbeBuilder {
    pub(super) fn new(model: Model) -> Self {
        let parameters = model.graph.parameters().iter();
        Self {
            learned: parameters.map(|parameter| parameter.is_learned()).collect(),
            choices: Choices::new(),
            model,
            losses: Loss::default().into(),
            origin: Origin::Seed,
            values: vec![],
            gradients: vec![],
            training: false,
            options: PlanOptions::new(1),
        }
    }

    /// Sets the loss of the first output, or the [`Losses`] of several, of which the gradients are. With
    /// [`Losses::own`] the gradients come from those that the caller computes
    /// ([`run_with`](Probe::run_with)). Default mean cross-entropy of the first.
    pub fn loss(mut self, losses: impl Into<Losses>) -> Self {
        self.losses = losses.into();
        self
    }

    /// Asks for the values of these layers, inputs and constants.
    pub fn values<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.values = names.into_iter().map(Into::into).collect();
        self
    }

    /// Asks for the loss's gradients with respect to the values of these.
    pub fn gradients<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.gradients = names.into_iter().map(Into::into).collect();
        self
    }

    /// Looks at the model as it is in training: with dropout, and normalised by the batch's own statistics.
    /// Default as it is in evaluation.
    pub fn training(mut self, training: bool) -> Self {
        self.training = training;
        self
    }

    /// Sets the number of examples at most. Default 1.
    pub fn batch(mut self, batch: usize) -> Self {
        self.options.batch = batch;
        self
    }

    /// Takes weights from a safetensors file, or [`Weights`] of any kind. What they leave as it is starts from
    /// the seed.
    pub fn weights(mut self, weights: impl Into<Weights>) -> Self {
        self.origin = Origin::Weights(weights.into());
        self
    }

    /// Sets the seed of the first parameters, unless they are loaded, and of dropout's masks. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Stores values, and the weights of convolutions and dense layers, as a trainer in
    /// [half precision](crate::TrainerBuilder::half_precision) does. Default false.
    pub fn half_precision(mut self, half: bool) -> Self {
        self.options.half = half;
        self
    }

    /// Computes convolutions by the sums that define them alone, as that of a
    /// [trainer](crate::TrainerBuilder::direct_only). Default false.
    pub fn direct_only(mut self, direct: bool) -> Self {
        self.options.direct_only = direct;
        self
    }

    /// Sets the bytes of device memory that the probe may take, as that of a
    /// [trainer](crate::TrainerBuilder::memory_budget).
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.options.memory_budget = bytes;
        self
    }

    /// The memory that [`on`](Self::on) would take, without allocating any.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) but for the weights'.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        self.check_half(gpu)?;
        self.task()?.0.memory(gpu)
    }

    fn check_half(&self, gpu: &Gpu) -> Result<()> {
        match self.options.half && !gpu.has_half_precision() {
            true => {
                let reason = "needs a device with SHADER_F16, which this one was made without";
                Err(Error::argument("half_precision", reason))
            }
            false => Ok(()),
        }
    }

    /// What is looked at, with the names of values and gradients.
    fn task(&self) -> Result<(LookTask, Probed)> {
        if self.options.batch == 0 {
            return Err(Error::argument("batch", "must not be zero"));
        }
        let graph = &self.model.graph;
        let [values, gradients] = [&self.values, &self.gradients].map(|names| {
            let named = names
                .iter()
                .map(|name| Ok((name.clone(), graph.value_named(name)?)));
            named.collect::<Result<Vec<_>>>()
        });
        let (values, gradients) = (values?, gradients?);
        let losses = match gradients.is_empty() {
            true => vec![],
            false => self.losses.resolve(graph)?,
        };
        let ids = |named: &[(String, ValueId)]| named.iter().map(|(_, id)| *id).collect();
        let (value_ids, gradient_ids): (Vec<_>, Vec<_>) = (ids(&values), ids(&gradients));
        let asked = [value_ids.clone(), gradient_ids.clone()].concat();
        let task = LookTask {
            model: graph.with_own_places(&asked, !self.training).into(),
            losses,
            values: value_ids,
            gradients: gradient_ids,
            learned: self.learned.clone(),
            options: self.options,
            choices: self.choices.clone(),
        };
        Ok((task, Probed { values, gradients }))
    }

    /// Makes the probe on a GPU.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that the model does not have, a batch of 0 and half precision on a device
    /// without it, [`Error::Shape`] for a loss that does not fit, [`Error::Limit`] and [`Error::OutOfMemory`] for what the device does not
    /// have, [`Error::File`] for weights that do not fit.
    #[cfg(feature = "native")]
    pub fn on(self, gpu: &Gpu) -> Result<Probe> {
        pollster::block_on(self.on_async(gpu))
    }

    /// [`on`](Self::on) for asynchronous programs and the browser.
    pub async fn on_async(self, gpu: &Gpu) -> Result<Probe> {
        self.check_half(gpu)?;
        let (task, probed) = self.task()?;
        let (losses, graph) = (task.losses.clone(), &self.model.graph);
        let mut parameters = self.origin.open(graph, self.options.seed)?;
        let mut plan = LookPlan::compile(gpu, task).await?;
        for at in 0..graph.parameters().len() {
            let id = ParameterId(at);
            plan.set_parameter(id, &parameters(id)?).await?;
        }
        let backend = Engine::Gpu(Box::new(plan));
        Ok(probed.probe(losses, self.options.batch, backend))
    }

    /// Makes the probe on the CPU reference: the same within rounding.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) that are no device's, and [`Error::Argument`] for a
    /// [`memory_budget`](Self::memory_budget) and [`half_precision`](Self::half_precision), which only a GPU could
    /// keep.
    pub fn on_cpu(self) -> Result<Probe> {
        if self.options.half {
            return Err(Error::argument("half_precision", "is for GPUs"));
        }
        if self.options.memory_budget != u64::MAX {
            return Err(Error::argument("memory_budget", "is for GPUs"));
        }
        let (task, probed) = self.task()?;
        let losses = task.losses.clone();
        let parameters = self.origin.read(&self.model.graph, self.options.seed)?;
        let look = HostLook::new(task, parameters)?;
        let backend = Engine::Cpu(Box::new(look));
        Ok(probed.probe(losses, self.options.batch, backend))
    }
}
