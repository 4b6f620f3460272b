//! Values inside a model, and gradients with respect to them.

mod builder;

pub use builder::ProbeBuilder;

use super::Trainer;
use super::origin::Origin;
use super::rebuild::check_same;
use super::trainer::Backend;
use crate::engine::{HostLook, LookPlan, MemoryReport, Wanted};
use crate::model::{
    Graph, Inputs, Model, OutputLoss, ParameterId, Targets, ValueId, check_gradients, check_own,
};
use crate::{Error, Gpu, Result};

/// Looks into a model: the values of named layers, and a loss's gradient with respect to them and to the
/// inputs, as saliency maps, Grad-CAM, style transfer and adversarial examples need them. It has
/// parameters of its own, and a look changes none of them; running statistics neither, in either mode.
///
/// Layers have the names that the model [shows](Model); an input is called `input`, a second one `input 1`.
/// A name before a dot that several layers share, such as `layer4`, is the last of them.
///
/// ```
/// use wgpu_cnn::{Loss, Model, Probe};
/// let model = Model::builder([1, 8, 8]).conv2d(4, 3).relu().flatten().dense(3).build()?;
/// let mut probe = Probe::builder(model)
///     .loss(Loss::cross_entropy())
///     .values(["1"])
///     .gradients(["input", "1"])
///     .on_cpu()?;
/// let looked = probe.run(&[0.5; 64], &[2u8])?;
/// assert_eq!(looked.value("1")?.len(), 4 * 6 * 6);
/// assert_eq!(looked.gradient("input")?.len(), 64);
/// println!("loss {:?}", looked.loss);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub struct Probe {
    values: Vec<(String, ValueId)>,
    gradients: Vec<(String, ValueId)>,
    losses: Vec<OutputLoss>,
    batch: usize,
    backend: Engine,
}

enum Engine {
    Gpu(Box<LookPlan>),
    Cpu(Box<HostLook>),
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("values", &self.values)
            .field("gradients", &self.gradients)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// What a [`Probe`] has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The loss of the batch; `None` where the probe computes none.
    pub loss: Option<f32>,
    /// What was asked for, in that order, each `(n, ..)` of its shape.
    pub values: Vec<(String, Vec<f32>)>,
    /// The loss's gradients with respect to what was asked for, in that order, each in its shape.
    pub gradients: Vec<(String, Vec<f32>)>,
}

impl Looked {
    /// The value of a name that was asked for.
    ///
    /// # Errors
    /// [`Error::Argument`] for any other.
    pub fn value(&self, name: &str) -> Result<&[f32]> {
        named(&self.values, name)
    }

    /// The gradient with respect to the value of a name that was asked for.
    ///
    /// # Errors
    /// [`Error::Argument`] for any other.
    pub fn gradient(&self, name: &str) -> Result<&[f32]> {
        named(&self.gradients, name)
    }
}

fn named<'a>(all: &'a [(String, Vec<f32>)], name: &str) -> Result<&'a [f32]> {
    let found = all.iter().find(|(other, _)| other == name);
    let names = || {
        all.iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
    };
    let missing = || Error::argument(format!("{name:?}"), format!("was asked for: {:?}", names()));
    found
        .map(|(_, values)| values.as_slice())
        .ok_or_else(missing)
}

/// What is asked for, by name.
struct Probed {
    values: Vec<(String, ValueId)>,
    gradients: Vec<(String, ValueId)>,
}

impl Probed {
    fn probe(self, losses: Vec<OutputLoss>, batch: usize, backend: Engine) -> Probe {
        let Self { values, gradients } = self;
        Probe {
            values,
            gradients,
            losses,
            batch,
            backend,
        }
    }
}

impl Trainer {
    /// Begins a [`Probe`] with the parameters as they are now, for batches of the trainer's size, with its seed,
    /// in its precision and with its choices. The trainer is not touched by what the probe does.
    ///
    /// ```
    /// use wgpu_cnn::{Loss, Model, Trainer};
    /// let model = Model::builder([4]).dense(3).build()?;
    /// let trainer = Trainer::builder(model).on_cpu()?;
    /// let mut probe = trainer.probe()?.loss(Loss::cross_entropy()).gradients(["input"]).on_cpu()?;
    /// let saliency = probe.run(&[0.5; 4], &[1u8])?;
    /// assert_eq!(saliency.gradient("input")?.len(), 4);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// The device's errors.
    #[cfg(feature = "native")]
    pub fn probe(&self) -> Result<ProbeBuilder> {
        pollster::block_on(self.probe_async())
    }

    /// [`probe`](Self::probe) for asynchronous programs and the browser.
    pub async fn probe_async(&self) -> Result<ProbeBuilder> {
        let mut builder = ProbeBuilder::new(self.model().clone()).batch(self.batch);
        builder.origin = Origin::Values(self.all_parameters().await?.into());
        let wanted = Wanted::learned(&self.model().graph, &self.losses, self.groups());
        for (at, learned) in builder.learned.iter_mut().enumerate() {
            *learned = wanted.parameter(ParameterId(at));
        }
        match &self.backend {
            Backend::Gpu(plan) => {
                let (options, choices) = plan.options_and_choices();
                builder.choices = choices;
                builder.options.max_slab = options.max_slab;
                builder.options.seed = options.seed;
                builder.options.half = options.half;
                builder.options.direct_only = options.direct_only;
            }
            Backend::Cpu(reference) => {
                builder.options.seed = reference.seed();
                builder.options.direct_only = reference.is_direct_only();
            }
        }
        Ok(builder)
    }
}

impl Probe {
    /// Begins a probe for a model.
    pub fn builder(model: Model) -> ProbeBuilder {
        ProbeBuilder::new(model)
    }

    /// Takes the parameters of a trainer of the same model as they are now, as one that was just made by
    /// [`Trainer::probe`] has them: a training is looked into as it goes on, and nothing is made anew.
    ///
    /// ```
    /// use wgpu_cnn::{Model, Trainer};
    /// let model = Model::builder([4]).dense(3).relu().dense(2).build()?;
    /// let mut trainer = Trainer::builder(model).on_cpu()?;
    /// let mut probe = trainer.probe()?.values(["1"]).on_cpu()?;
    /// for _ in 0..3 {
    ///     trainer.step(&[0.5; 4], &[1u8])?;
    ///     probe.follow(&trainer)?;
    ///     println!("{:?}", probe.look(&[0.5; 4])?.value("1")?);
    /// }
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a trainer of another model; the device's errors.
    #[cfg(feature = "native")]
    pub fn follow(&mut self, trainer: &Trainer) -> Result<()> {
        pollster::block_on(self.follow_async(trainer))
    }

    /// [`follow`](Self::follow) for asynchronous programs and the browser. Await it to its end: dropped in the middle,
    /// it leaves some of the parameters as they were.
    pub async fn follow_async(&mut self, trainer: &Trainer) -> Result<()> {
        check_same("follow", &trainer.model().graph, self.graph())?;
        let parameters = trainer.all_parameters().await?;
        match &mut self.backend {
            Engine::Gpu(plan) => {
                for (at, values) in parameters.iter().enumerate() {
                    plan.set_parameter(ParameterId(at), values).await?;
                }
            }
            Engine::Cpu(look) => look.set_parameters(parameters),
        }
        Ok(())
    }

    fn graph(&self) -> &Graph {
        match &self.backend {
            Engine::Gpu(plan) => &plan.task.model.graph,
            Engine::Cpu(look) => &look.task.model.graph,
        }
    }

    /// The values that a batch has, without a loss and without gradients.
    ///
    /// # Errors
    /// [`Error::Shape`] for a batch that does not fit; the device's errors.
    #[cfg(feature = "native")]
    pub fn look<'a>(&mut self, inputs: impl Into<Inputs<'a>>) -> Result<Looked> {
        pollster::block_on(self.look_async(inputs))
    }

    /// [`look`](Self::look) for asynchronous programs and the browser.
    pub async fn look_async<'a>(&mut self, inputs: impl Into<Inputs<'a>>) -> Result<Looked> {
        let inputs = inputs.into();
        let examples = self.examples(&inputs)?;
        self.forward(&inputs, examples, &Targets(vec![])).await?;
        self.looked(None, examples, &[]).await
    }

    /// The loss of a batch, with the values and the gradients that are asked for.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Argument`] for a batch that does not fit, for losses of the caller's,
    /// and where no gradient is asked for ([`look`](Self::look) gives the values); the device's errors.
    #[cfg(feature = "native")]
    pub fn run<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<Looked> {
        pollster::block_on(self.run_async(inputs, targets))
    }

    /// [`run`](Self::run) for asynchronous programs and the browser.
    pub async fn run_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        targets: impl Into<Targets>,
    ) -> Result<Looked> {
        let (inputs, targets) = (inputs.into(), targets.into());
        let examples = self.examples(&inputs)?;
        self.check_losses()?;
        targets.check(self.graph(), &self.losses, examples)?;
        let loss = self.forward(&inputs, examples, &targets).await?;
        self.looked(loss, examples, &self.gradients).await
    }

    /// The same for [losses of one's own](crate::Losses::own): `gradients` gets the model's outputs by name and
    /// gives, for each of the losses in their order, its gradient with respect to its output. For Grad-CAM
    /// of a class that is 1 at its logit and 0 elsewhere.
    ///
    /// ```
    /// use wgpu_cnn::{Losses, Model, Probe};
    /// let model = Model::builder([1, 8, 8]).conv2d(4, 3).relu().flatten().dense(3).build()?;
    /// let builder = Probe::builder(model).loss(Losses::own_first()).values(["1"]);
    /// let mut probe = builder.gradients(["1"]).on_cpu()?;
    /// let looked = probe.run_with(&[0.5; 64], |_logits| vec![vec![0.0, 1.0, 0.0]])?;
    /// // The weight of each channel is the mean of its gradient.
    /// let weights = looked.gradient("1")?.chunks(36).map(|channel| channel.iter().sum::<f32>() / 36.0);
    /// let mut map = vec![0.0; 36];
    /// for (weight, channel) in weights.zip(looked.value("1")?.chunks(36)) {
    ///     map.iter_mut().zip(channel).for_each(|(sum, value)| *sum += weight * value);
    /// }
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and [`Error::Shape`] for gradients of other lengths than their outputs.
    #[cfg(feature = "native")]
    pub fn run_with<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        gradients: impl FnOnce(&[(String, Vec<f32>)]) -> Vec<Vec<f32>>,
    ) -> Result<Looked> {
        pollster::block_on(self.run_with_async(inputs, gradients))
    }

    /// [`run_with`](Self::run_with) for asynchronous programs and the browser.
    pub async fn run_with_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
        gradients: impl FnOnce(&[(String, Vec<f32>)]) -> Vec<Vec<f32>>,
    ) -> Result<Looked> {
        let inputs = inputs.into();
        let examples = self.examples(&inputs)?;
        self.check_losses()?;
        check_own(&self.losses, "run_with")?;
        self.forward(&inputs, examples, &Targets(vec![])).await?;
        let outputs = match &self.backend {
            Engine::Gpu(plan) => plan.outputs(examples).await?,
            Engine::Cpu(look) => look.outputs(),
        };
        let graph = self.graph();
        let names = graph
            .outputs()
            .iter()
            .map(|&output| graph.value_name(output));
        let outputs: Vec<(String, Vec<f32>)> = names.zip(outputs).collect();
        let gradients = gradients(&outputs);
        let gradients: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        let lengths = gradients.iter().map(|gradient| gradient.len());
        check_gradients(graph, &self.losses, examples, lengths)?;
        match &mut self.backend {
            Engine::Gpu(plan) => plan.backward(examples, &gradients).await?,
            Engine::Cpu(look) => look.backward(&gradients)?,
        }
        self.looked(None, examples, &self.gradients).await
    }

    fn check_losses(&self) -> Result<()> {
        match self.losses.is_empty() {
            true => Err(Error::argument(
                "gradients",
                "none is asked for: look gives values",
            )),
            false => Ok(()),
        }
    }

    fn examples(&self, inputs: &Inputs<'_>) -> Result<usize> {
        let examples = inputs.examples(self.graph())?;
        match examples > self.batch {
            true => {
                let expected = format!("at most {} examples", self.batch);
                Err(Error::shape("input", expected, examples))
            }
            false => Ok(examples),
        }
    }

    /// The forward pass, and with targets the way back. Gives the loss where there is one.
    async fn forward(
        &mut self,
        inputs: &Inputs<'_>,
        examples: usize,
        targets: &Targets,
    ) -> Result<Option<f32>> {
        let plan = match &mut self.backend {
            Engine::Gpu(plan) => plan,
            Engine::Cpu(look) => return look.forward(inputs, targets),
        };
        plan.forward(inputs, examples, &targets.0).await?;
        if targets.0.is_empty() {
            return Ok(None);
        }
        let each = plan.losses().await?;
        let weighted = each.iter().zip(&self.losses);
        let weighted = weighted.map(|(&value, loss)| loss.weight * f64::from(value));
        Ok(Some(weighted.sum::<f64>() as f32))
    }

    /// What is seen: all values that are asked for, and these gradients.
    async fn looked(
        &self,
        loss: Option<f32>,
        examples: usize,
        with: &[(String, ValueId)],
    ) -> Result<Looked> {
        let (mut values, mut gradients) = (Vec::new(), Vec::new());
        for (name, id) in &self.values {
            let value = match &self.backend {
                Engine::Gpu(plan) => plan.value(*id, examples).await?,
                Engine::Cpu(look) => look.value(*id),
            };
            values.push((name.clone(), value));
        }
        for (name, id) in with {
            let gradient = match &self.backend {
                Engine::Gpu(plan) => plan.gradient(*id, examples).await?,
                Engine::Cpu(look) => look.gradient(*id),
            };
            gradients.push((name.clone(), gradient));
        }
        Ok(Looked {
            loss,
            values,
            gradients,
        })
    }

    /// The GPU, unless this probe is on the CPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.backend {
            Engine::Gpu(plan) => Some(plan.gpu()),
            Engine::Cpu(_) => None,
        }
    }

    /// The device memory that the probe takes, or `None` on the CPU.
    pub fn memory(&self) -> Option<MemoryReport> {
        match &self.backend {
            Engine::Gpu(plan) => Some(plan.memory()),
            Engine::Cpu(_) => None,
        }
    }
}
