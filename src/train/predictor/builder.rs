//! How a [`Predictor`] is made.

#[cfg(feature = "native")]
use std::path::PathBuf;
use std::sync::Arc;

use super::{Engine, Predictor};
#[cfg(feature = "native")]
use crate::engine::{ChoiceStore, known_choices};
use crate::engine::{
    HostPrediction, MemoryReport, PlanOptions, PredictionPlan, PredictionTask, Rules,
};
use crate::gpu::strategy::Choices;
use crate::model::{Folded, Model, ParameterId, Weights};
use crate::train::origin::Origin;
use crate::{Error, Gpu, Result};

/// How a [`Predictor`] is made.
#[derive(Debug, Clone)]
pub struct PredictorBuilder {
    model: Model,
    pub(super) origin: Origin,
    batches: Vec<usize>,
    pub(super) learned: Vec<bool>,
    fold: bool,
    pub(super) choices: Choices,
    #[cfg(feature = "native")]
    autotune: Option<ChoiceStore>,
    pub(super) options: PlanOptions,
}

/// What gives the parameters of a model, each when its turn comes.
type Parameters<'a> = Box<dyn FnMut(ParameterId) -> Result<Vec<f32>> + Send + 'a>;

impl PredictorBuilder {
    pub(super) fn new(model: Model) -> Self {
        let parameters = model.graph.parameters().iter();
        Self {
            origin: Origin::Seed,
            batches: vec![1],
            learned: parameters.map(|parameter| parameter.is_learned()).collect(),
            fold: false,
            choices: Choices::new(),
            #[cfg(feature = "native")]
            autotune: None,
            options: PlanOptions::new(1),
            model,
        }
    }

    /// Takes weights from a safetensors file, such as a trainer [saves](crate::Trainer::save) or PyTorch's state
    /// of the same layers, or [`Weights`] of any kind. What they leave as it is starts from the seed.
    pub fn weights(mut self, weights: impl Into<Weights>) -> Self {
        self.origin = Origin::Weights(weights.into());
        self
    }

    /// Sets the seed of weights that are not loaded: those that a trainer of this seed starts from.
    /// Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Sets the number of examples that are computed at once. Default 1; more are predicted in several.
    pub fn batch(self, batch: usize) -> Self {
        self.batches([batch])
    }

    /// Plans batches of several sizes: each has kernels chosen for it, and all of them the same weights and
    /// the same memory. A batch takes the smallest that it fits in.
    pub fn batches(mut self, batches: impl IntoIterator<Item = usize>) -> Self {
        self.batches = batches.into_iter().collect();
        self
    }

    /// Stores values, and the weights of convolutions and dense layers, as `f16`, as a trainer in
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

    /// Makes each batch normalisation part of the convolution or dense layer before it, where it alone reads
    /// that layer's output: so the values between are not there, and an activation behind it is part of the
    /// layer's kernel too. The results are the same within rounding. What cannot be folded stays. Default
    /// false.
    ///
    /// ```
    /// use wgpu_cnn::{Model, Predictor};
    /// let model = Model::builder([1, 8, 8]).conv2d(4, 3).batch_norm().relu().build()?;
    /// let predictor = |fold| Predictor::builder(model.clone()).fold_batch_norm(fold).on_cpu();
    /// let image = [0.5; 64];
    /// let (plain, folded) = (predictor(false)?.predict(&image)?, predictor(true)?.predict(&image)?);
    /// assert!(plain.iter().zip(&folded).all(|(a, b)| (a - b).abs() < 1e-5));
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn fold_batch_norm(mut self, fold: bool) -> Self {
        self.fold = fold;
        self
    }

    /// Sets how many batches may be on their way at once; [`start`](Predictor::start) waits for the oldest
    /// beyond that. Each takes memory for its inputs and outputs. Default 2.
    pub fn in_flight(mut self, batches: usize) -> Self {
        self.options.in_flight = batches;
        self
    }

    /// Sets the bytes of device memory that the predictor may take: more is an [`Error::OutOfMemory`]
    /// before anything is allocated. Default no bound but the device's. On the CPU, whose memory is not
    /// counted, an [`Error::Argument`].
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.options.memory_budget = bytes;
        self
    }

    /// Sets the largest buffer for parameters in bytes, as that of a
    /// [trainer](crate::TrainerBuilder::max_slab).
    pub fn max_slab(mut self, bytes: u64) -> Self {
        self.options.max_slab = bytes;
        self
    }

    /// Takes what a trainer's [autotuning](crate::TrainerBuilder::autotune) has measured on this adapter,
    /// from this file. Nothing is measured: of what is not there, a built-in table chooses.
    #[cfg(feature = "native")]
    pub fn autotune_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.autotune = Some(ChoiceStore::File(path.into()));
        self
    }

    /// The memory that [`on`](Self::on) would take, without allocating any.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) but for the weights'.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        self.task(gpu)?.memory(gpu)
    }

    fn task(&self, gpu: &Gpu) -> Result<PredictionTask> {
        self.check()?;
        if self.options.half && !gpu.has_half_precision() {
            let reason = "needs a device with SHADER_F16, which this one was made without";
            return Err(Error::argument("half_precision", reason));
        }
        #[cfg(not(feature = "native"))]
        let choices = self.choices.clone();
        #[cfg(feature = "native")]
        let choices = match &self.autotune {
            Some(store) => known_choices(gpu, store, None)?,
            None => self.choices.clone(),
        };
        let model = self.computing()?;
        let mut learned = self.learned.clone();
        learned.resize(model.graph.parameters().len(), true);
        Ok(PredictionTask {
            model,
            batches: self.batches.clone(),
            learned,
            options: self.options,
            choices,
        })
    }

    fn check(&self) -> Result<()> {
        if self.batches.is_empty() {
            return Err(Error::argument("batches", "needs a size at least"));
        }
        if self.batches.contains(&0) {
            return Err(Error::argument("batch", "must not be zero"));
        }
        if !(1..=64).contains(&self.options.in_flight) {
            return Err(Error::argument("in_flight", "must be between 1 and 64"));
        }
        Ok(())
    }

    /// What becomes of the model where batch normalisations are folded.
    fn folded(&self) -> Result<Option<Folded>> {
        let graph = &self.model.graph;
        self.fold.then(|| graph.fold_batch_norm()).transpose()
    }

    /// What is computed.
    fn computing(&self) -> Result<Model> {
        Ok(match self.folded()? {
            Some(Folded { graph, .. }) => graph.into(),
            None => self.model.clone(),
        })
    }

    /// The parameters of what is computed, one by one.
    fn computed(&self) -> Result<Parameters<'_>> {
        let (graph, seed) = (&self.model.graph, self.options.seed);
        let Some(folded) = self.folded()? else {
            return Ok(Box::new(self.origin.open(graph, seed)?));
        };
        let mut values = folded.parameters(self.origin.read(graph, seed)?)?;
        Ok(Box::new(move |id| Ok(std::mem::take(&mut values[id.0]))))
    }

    /// Makes the predictor on a GPU.
    ///
    /// # Errors
    /// [`Error::Argument`] for options out of range and for half precision on a device without it,
    /// [`Error::Limit`] and [`Error::OutOfMemory`] for what the device does not have, [`Error::File`] for
    /// weights that do not fit and for measurements that cannot be read.
    #[cfg(feature = "native")]
    pub fn on(self, gpu: &Gpu) -> Result<Predictor> {
        pollster::block_on(self.on_async(gpu))
    }

    /// [`on`](Self::on) for asynchronous programs and the browser.
    pub async fn on_async(self, gpu: &Gpu) -> Result<Predictor> {
        let task = self.task(gpu)?;
        let parameters = self.computed()?;
        let plan = PredictionPlan::compile(gpu, task).await?;
        plan.set_parameters(parameters).await?;
        Ok(Predictor {
            backend: Engine::Gpu(Arc::new(plan)),
            model: self.model,
        })
    }

    /// Makes the predictor on the CPU reference: the same results within rounding, without a GPU.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) that are no device's, and [`Error::Argument`] for what only a GPU could
    /// keep: [`half_precision`](Self::half_precision), a [`memory_budget`](Self::memory_budget) and an
    /// [`autotune_file`](Self::autotune_file).
    pub fn on_cpu(self) -> Result<Predictor> {
        self.check()?;
        let for_gpus = |what: &str| Err(Error::argument(what, "is for GPUs"));
        if self.options.half {
            return for_gpus("half_precision");
        }
        if self.options.memory_budget != u64::MAX {
            return for_gpus("memory_budget");
        }
        #[cfg(feature = "native")]
        if self.autotune.is_some() {
            return for_gpus("autotune_file");
        }
        let model = self.computing()?;
        let ids = (0..model.graph.parameters().len()).map(ParameterId);
        let parameters = ids.map(self.computed()?).collect::<Result<_>>()?;
        let host = HostPrediction {
            rules: Rules::ALL,
            model,
            parameters,
            batch: self.batches.iter().copied().max().unwrap_or(1),
            direct_only: self.options.direct_only,
        };
        Ok(Predictor {
            backend: Engine::Cpu(Box::new(host)),
            model: self.model,
        })
    }
}
