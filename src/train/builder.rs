//! How a [`Trainer`] is made.

#[cfg(feature = "native")]
use std::{path::PathBuf, time::Duration};

use super::Schedule;
use super::checkpoint::{self, CheckpointOptions, at_once};
use super::distributed::{Ranks, agreed};
use super::groups::Learned;
use super::origin::Origin;
use super::trainer::{Backend, Trainer};
#[cfg(feature = "native")]
use crate::engine::{ChoiceStore, Found, known_choices};
use crate::engine::{MemoryReport, Plan, PlanOptions, Reference, Rules};
use crate::gpu::strategy::Choices;
use crate::model::{Losses, Model, OutputLoss, ParameterId, Weights};
use crate::op::{Loss, Optimizer, check_clip_norm};
use crate::{Error, Gpu, Result};

/// How a [`Trainer`] is made.
#[derive(Debug, Clone)]
pub struct TrainerBuilder {
    pub(super) model: Model,
    losses: Losses,
    pub(super) optimizer: Optimizer,
    pub(super) learned: Learned,
    pub(super) schedule: Schedule,
    pub(super) origin: Origin,
    /// Where the choices are kept, if the cores are chosen by measurement.
    #[cfg(feature = "native")]
    autotune: Option<ChoiceStore>,
    /// What the trainer that this builder is of runs on.
    #[cfg(feature = "native")]
    found: Option<Found>,
    pub(super) options: PlanOptions,
    pub(super) checkpoint: CheckpointOptions,
    /// Those that it trains with.
    pub(super) ranks: Option<Ranks>,
    /// What these must have in common beside what they are told of, by name and hash.
    pub(super) agreed: Vec<(String, u64)>,
}

impl TrainerBuilder {
    pub(super) fn new(model: Model) -> Self {
        Self {
            model,
            losses: Loss::default().into(),
            optimizer: Optimizer::adam(1e-3).into(),
            learned: Learned::default(),
            schedule: Schedule::constant(),
            origin: Origin::Seed,
            #[cfg(feature = "native")]
            autotune: None,
            #[cfg(feature = "native")]
            found: None,
            options: PlanOptions::new(64),
            checkpoint: CheckpointOptions::default(),
            ranks: None,
            agreed: vec![],
        }
    }

    /// Sets the number of examples per step. The last batch of an epoch may be smaller. Default 64.
    pub fn batch(mut self, batch: usize) -> Self {
        self.options.batch = batch;
        self
    }

    /// Sets the loss of the first output, or the [`Losses`] of several. Default mean cross-entropy of the
    /// first. An output without a loss is there to be [predicted](Trainer::predict_all); what no loss
    /// depends on stays as it is.
    pub fn loss(mut self, losses: impl Into<Losses>) -> Self {
        self.losses = losses.into();
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

    /// Sets how many batches make an update. Their gradients become those of one large batch, in the
    /// memory of a small one: a mean is that over all of their examples. [`Trainer::loss`] stays that
    /// of the last batch. Default 1.
    ///
    /// It is not that of one large batch where a batch counts as a whole: batch normalisation, stochastic depth
    /// of whole batches and a Dice loss of the whole batch see one at a time. Of several losses each batch's means count by its
    /// examples, also where labels are ignored or weighted.
    ///
    /// With losses of [one's own](Losses::own) it sets no count, since [`Trainer::update`] alone updates:
    /// more than 1 allows several batches before it.
    pub fn accumulate(mut self, batches: usize) -> Self {
        self.options.accumulate = batches;
        self
    }

    /// Stores activations as `f16`, and the weights of convolutions and dense layers a second time,
    /// for the forward and the backward pass. That halves the memory of each and the traffic for both;
    /// gradients and the places of maxima take what they took. All arithmetic is in `f32`, and so are parameters, gradients, optimizer, loss, and
    /// the model's input and output: there is no loss to scale, and weights are saved and loaded as
    /// ever. Default false.
    ///
    /// A stored value has 11 binary digits and is at most 65,504; larger ones become infinite on
    /// most devices. Making the trainer is an [`Error::Argument`] on a device without
    /// `Features::SHADER_F16` (see [`Gpu::has_half_precision`]) and on the CPU reference.
    pub fn half_precision(mut self, half: bool) -> Self {
        self.options.half = half;
        self
    }

    /// Computes convolutions by the sums that define them alone, and by no fast algorithm. Default false: a 3x3
    /// convolution may be computed by Winograd's algorithm (Lavin and Gray 2016; F(4x4, 3x3), its weight gradient
    /// F(3x3, 4x4)), with a quarter of the multiplications, one of 1x3, as signals have them, by F(4, 3), with half, on the CPU
    /// one of 5x5 too (F(2x2, 5x5) and F(5x5, 2x2), with 36 multiplications in place of 100), and one with a large filter, on a
    /// GPU, by fast Fourier transforms of blocks (overlap-save, Stockham 1966), where that is faster.
    ///
    /// | | `false` | `true` |
    /// |---|---|---|
    /// | the same bits in every run on one device and driver | yes | yes |
    /// | NaN and infinity where the definition has them | yes | yes, but see below |
    /// | results on whole numbers, whose sums are exact | within rounding | exact |
    /// | largest error of a 3x3, 1x3 or 5x5 convolution, as a share of its largest result | about 2e-6 | about 1e-6 |
    /// | the same of one with 1,024 taps | about 6e-7 | about 4e-6 |
    ///
    /// Direct sums by blocked products on a GPU multiply the zeros beyond an image's edge: where a weight is not finite, an
    /// input gradient at the edge is NaN.
    ///
    /// It holds on a GPU and on the CPU, for autotuning and over
    /// [`Gpu::builder().prefer_core(..)`](crate::GpuBuilder::prefer_core).
    pub fn direct_only(mut self, direct: bool) -> Self {
        self.options.direct_only = direct;
        self
    }

    /// Keeps the losses' gradients with respect to the inputs, for
    /// [`Trainer::input_gradient`]. Takes memory, and a little time where nothing else would go back as far.
    /// Default false.
    pub fn input_gradients(mut self, asked: bool) -> Self {
        self.options.input_gradients = asked;
        self
    }

    /// Starts from saved weights rather than from the seed: those of a file, or [`Weights`] of any kind. What
    /// they leave as it is starts from the seed.
    pub fn weights(mut self, weights: impl Into<Weights>) -> Self {
        self.origin = Origin::Weights(weights.into());
        self
    }

    /// Sets how many steps may be on their way at once; `step` waits for the oldest beyond that.
    /// Default 2. Means nothing on the CPU, where each step is done when it returns.
    pub fn in_flight(mut self, steps: usize) -> Self {
        self.options.in_flight = steps;
        self
    }

    /// Sets the bytes of device memory that the trainer may take: more is an
    /// [`Error::OutOfMemory`] before anything is allocated. Default no bound but the device's.
    /// [Autotuning](Self::autotune) takes the tensors of one layer at a time besides, before the
    /// trainer's own. On the CPU, whose memory is not counted, an [`Error::Argument`].
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.options.memory_budget = bytes;
        self
    }

    /// Sets the largest buffer for parameters in bytes; more of them are kept in several, and the weights
    /// of a dense layer or a convolution that are larger in pieces, rows of their first axis. A
    /// normalisation's parameters, or a row that is larger, are an [`Error::Limit`]. Default
    /// the device's limit of a binding. Means nothing on the CPU.
    pub fn max_slab(mut self, bytes: u64) -> Self {
        self.options.max_slab = bytes;
        self
    }

    /// Chooses how each product and convolution is computed by measuring, when the trainer is made
    /// on a GPU, every way there is at the model's own shapes and batch. A way whose result is not
    /// exactly the CPU reference's, on data whose sums are exact, never wins; of fast algorithms, whose nearest whole
    /// numbers are not.
    ///
    /// What was measured is kept in a JSON file that can be read and edited, by adapter and driver,
    /// and is not measured again: `wgpu-cnn/autotune.json` in the user's cache folder (where that
    /// cannot be used, a warning is logged and nothing is kept), or a
    /// [file of your own](Self::autotune_file). A trainer that is [rebuilt](Trainer::rebuild), or
    /// [recovered](Trainer::recover) on the same adapter, keeps its choices, and measures shapes that are
    /// new. The ways differ in the order of their sums, so with autotuning the bits of a training are a
    /// function of that file too. In [half precision](Self::half_precision) it is measured with what is stored so. Default off: a built-in
    /// table chooses. Means nothing on the CPU, where there is one way.
    #[cfg(feature = "native")]
    pub fn autotune(mut self, autotune: bool) -> Self {
        let store = self.autotune.take().unwrap_or(ChoiceStore::Cache);
        self.autotune = autotune.then_some(store);
        self
    }

    /// Bounds the time that [autotuning](Self::autotune) takes: what is not measured by then is left to the table,
    /// and measured by the next trainer that has time. Which cores run then depends on how fast the measuring went, and so the last bits of
    /// results do, until all is in the file. A core at work is not interrupted, nor is one that has been begun left out; those that take more than twice as
    /// long as the best so far are stopped anyway. Default no bound.
    #[cfg(feature = "native")]
    pub fn autotune_budget(mut self, time: Duration) -> Self {
        self.options.autotune_budget = time;
        self
    }

    /// [Autotunes](Self::autotune) with this file. That it cannot be read or written is an
    /// [`Error::File`], and on the CPU, which would not keep it, any is an [`Error::Argument`].
    #[cfg(feature = "native")]
    pub fn autotune_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.autotune = Some(ChoiceStore::File(path.into()));
        self.found = None;
        self
    }

    /// The memory that [`on`](Self::on) would take, without allocating any. With
    /// [autotuning](Self::autotune) it may be a little more or less once all is measured. Of a checkpoint to
    /// [resume](Self::resume) from the header is read, since what has learned for longer lies apart.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) that are no device's.
    pub fn memory(&self, gpu: &Gpu) -> Result<MemoryReport> {
        self.check_on(gpu)?;
        let choices = self.known_choices(gpu)?;
        let losses = self.losses.resolve(&self.model.graph)?;
        let mut own = self.clone();
        own.open_checkpoint()?;
        let (losses, groups) = (&losses, &own.groups()?);
        Plan::memory_of(gpu, &self.model, losses, groups, self.options, &choices)
    }

    #[cfg(feature = "native")]
    fn known_choices(&self, gpu: &Gpu) -> Result<Choices> {
        match &self.autotune {
            Some(store) => known_choices(gpu, store, self.found.as_ref()),
            None => Ok(Choices::new()),
        }
    }

    #[cfg(feature = "native")]
    async fn choices(&self, gpu: &Gpu) -> Result<Choices> {
        let Some(store) = &self.autotune else {
            return Ok(Choices::new());
        };
        let losses = self.losses.resolve(&self.model.graph)?;
        let (losses, groups) = (&losses, &self.groups()?);
        let known = (store, self.found.as_ref());
        Plan::tune(gpu, &self.model, losses, groups, self.options, known).await
    }

    #[cfg(not(feature = "native"))]
    fn known_choices(&self, _: &Gpu) -> Result<Choices> {
        Ok(Choices::new())
    }

    #[cfg(not(feature = "native"))]
    async fn choices(&self, _: &Gpu) -> Result<Choices> {
        Ok(Choices::new())
    }

    /// Makes the trainer on a GPU: buffers, pipelines and bind groups, all of them.
    ///
    /// # Errors
    /// [`Error::Argument`] for hyper-parameters out of range and for half precision on a device
    /// without it, [`Error::Shape`] for a loss that does
    /// not fit the model's output, [`Error::Limit`] and [`Error::OutOfMemory`] for what the device
    /// does not have (for a batch whose tensors are larger than its buffers, with the layer and the
    /// largest batch that fits: [`accumulate`](Self::accumulate) makes an update of several),
    /// [`Error::File`] for weights that do not fit and for a file of measurements
    /// that cannot be read.
    #[cfg(feature = "native")]
    pub fn on(self, gpu: &Gpu) -> Result<Trainer> {
        pollster::block_on(self.on_async(gpu))
    }

    /// [`on`](Self::on) for asynchronous programs and the browser.
    pub async fn on_async(self, gpu: &Gpu) -> Result<Trainer> {
        let ranks = self.ranks.clone();
        agreed(ranks, self.made_on(gpu).await).await
    }

    /// A trainer on a GPU that is not held to those of other ranks yet.
    pub(super) async fn made_on(mut self, gpu: &Gpu) -> Result<Trainer> {
        self.check_on(gpu)?;
        let checkpoint = self.open_checkpoint()?;
        let (model, seed) = (self.model.clone(), self.options.seed);
        let origin = std::mem::take(&mut self.origin); // another one made by this begins elsewhere
        let mut parameters = origin.open(&model.graph, seed)?;
        let choices = self.choices(gpu).await?;
        let losses = self.losses.resolve(&self.model.graph)?;
        let mut plan = Plan::compile(
            gpu,
            &self.model,
            losses.clone(),
            self.groups()?,
            self.options,
            &choices,
        )
        .await?;
        for at in 0..model.graph.parameters().len() {
            let id = ParameterId(at);
            plan.set_parameter(id, &parameters(id)?).await?;
        }
        #[cfg(feature = "native")]
        {
            let tuned = self.autotune.is_some();
            self.found = tuned.then(|| Found::on(gpu, &choices));
        }
        let backend = Backend::Gpu(Box::new(plan));
        self.trainer(losses, backend, checkpoint).await
    }

    /// Makes the trainer on the CPU reference: the same results within rounding, without a GPU. Its work is done by the threads
    /// of [rayon](https://docs.rs/rayon)'s pool, all of a step's but the loss: that in which it is called, or the global one, whose size
    /// `RAYON_NUM_THREADS` says. Bits do not depend on how many there are.
    /// [`in_flight`](Self::in_flight), [`max_slab`](Self::max_slab) and [`autotune`](Self::autotune)
    /// say how a GPU goes about its work, and mean nothing here.
    ///
    /// # Errors
    /// Those of [`on`](Self::on) that are no device's, and [`Error::Argument`] for what only a GPU
    /// could keep: [`half_precision`](Self::half_precision), a
    /// [`memory_budget`](Self::memory_budget) and an [`autotune_file`](Self::autotune_file).
    pub fn on_cpu(self) -> Result<Trainer> {
        let ranks = self.ranks.clone();
        at_once(agreed(ranks, self.made_on_cpu(Rules::ALL)))
    }

    /// One by the rules of a reference that is there, and that is not held to those of other ranks yet.
    pub(super) fn made_on_cpu(mut self, rules: Rules<f32>) -> Result<Trainer> {
        self.check()?;
        self.check_on_cpu()?;
        let checkpoint = self.open_checkpoint()?;
        let parameters = std::mem::take(&mut self.origin); // another one made by this begins elsewhere
        let parameters = parameters.read(&self.model.graph, self.options.seed)?;
        let (losses, options) = (self.losses.resolve(&self.model.graph)?, self.options);
        let (own, groups) = (losses.clone(), self.groups()?);
        let mut reference =
            Reference::with(&self.model, own, groups, options.seed, parameters, rules)?;
        reference.set_clip_norm(options.clip_norm)?;
        reference.set_accumulate(options.accumulate)?;
        reference.set_ranks(options.ranks)?;
        reference.set_input_gradients(options.input_gradients);
        reference.set_average(options.average)?;
        reference.set_direct_only(options.direct_only);
        let backend = Backend::Cpu(Box::new(reference));
        at_once(self.trainer(losses, backend, checkpoint))
    }

    async fn trainer(
        mut self,
        losses: Vec<OutputLoss>,
        backend: Backend,
        checkpoint: Option<checkpoint::Opened>,
    ) -> Result<Trainer> {
        self.checkpoint.resume = None;
        let mut trainer = Trainer::new(
            self.model.clone(),
            losses,
            (self.optimizer.learning_rate(), self.schedule.clone()),
            self.options.batch,
            backend,
            self.clone(),
        );
        self.begin(&mut trainer, checkpoint).await?;
        Ok(trainer)
    }

    pub(super) fn has_weights(&self) -> bool {
        matches!(self.origin, Origin::Weights(_))
    }

    fn check_on(&self, gpu: &Gpu) -> Result<()> {
        if self.options.half && !gpu.has_half_precision() {
            let reason = "needs a device with SHADER_F16, which this one was made without";
            return Err(Error::argument("half_precision", reason));
        }
        self.check()
    }

    /// Refuses options whose promise the reference does not keep.
    fn check_on_cpu(&self) -> Result<()> {
        if self.options.half {
            let reason = "is for GPUs: the CPU reference computes and stores in f32";
            return Err(Error::argument("half_precision", reason));
        }
        if self.options.memory_budget != u64::MAX {
            let reason = "is for GPUs: the memory of the CPU reference is not counted";
            return Err(Error::argument("memory_budget", reason));
        }
        #[cfg(feature = "native")]
        if let Some(ChoiceStore::File(_)) = &self.autotune {
            let reason = "is for GPUs: the CPU reference has nothing to choose";
            return Err(Error::argument("autotune_file", reason));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let groups = self.groups()?;
        self.schedule.check()?;
        self.check_checkpoint()?;
        self.ranks.as_ref().map_or(Ok(()), Ranks::check)?;
        (self.options.average).map_or(Ok(()), |average| average.check())?;
        if !(1..=64).contains(&self.options.in_flight) {
            return Err(Error::argument("in_flight", "must be between 1 and 64"));
        }
        if self.options.accumulate == 0 {
            return Err(Error::argument("accumulate", "must not be zero"));
        }
        if let Some(norm) = self.options.clip_norm {
            check_clip_norm(norm)?;
        }
        let losses = self.losses.resolve(&self.model.graph)?;
        Plan::check(&self.model, &losses, &groups, self.options)
    }
}
