//! A model in use: no gradients, no optimizer, nothing kept for a way back.

mod builder;

pub use builder::PredictorBuilder;

use std::sync::Arc;

use super::Trainer;
use super::origin::Origin;
use super::trainer::Backend;
use crate::engine::{HostPrediction, Landing, MemoryReport, PredictionPlan};
use crate::model::{Inputs, Model, ParameterId};
use crate::{Gpu, Result};

/// A model that predicts, on a GPU or on the CPU: its weights, and memory for the values that live at
/// once in a forward pass. Several threads may use one at the same time.
///
/// ```no_run
/// use wgpu_cnn::{Gpu, Predictor, zoo};
/// # let images = [[0.0; 3 * 224 * 224]; 3];
/// let predictor = Predictor::builder(zoo::resnet18().build()?)
///     .weights("resnet18.safetensors")
///     .on(&Gpu::new()?)?;
/// let logits = predictor.predict(&images[0])?; // (1, 1000)
/// // Several on their way at once: the device has work while the next image is read.
/// let on_their_way = images.iter().map(|image| predictor.start(image));
/// let on_their_way = on_their_way.collect::<Result<Vec<_>, _>>()?;
/// for prediction in on_their_way {
///     println!("{:?}", prediction.wait()?);
/// }
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub struct Predictor {
    model: Model,
    backend: Engine,
}

enum Engine {
    Gpu(Arc<PredictionPlan>),
    Cpu(Box<HostPrediction>),
}

impl std::fmt::Debug for Predictor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Predictor");
        debug.field("model", &self.model).finish_non_exhaustive()
    }
}

impl Trainer {
    /// Begins a [`Predictor`] with the parameters as they are now: for batches of the trainer's size, in its
    /// precision and with its choices, so that it predicts the same bits as the trainer does.
    ///
    /// ```
    /// use wgpu_cnn::{Model, Trainer};
    /// let model = Model::builder([4]).dense(3).build()?;
    /// let mut trainer = Trainer::builder(model).batch(8).on_cpu()?;
    /// let predictor = trainer.predictor()?.on_cpu()?;
    /// assert_eq!(predictor.predict(&[0.5; 4])?, trainer.predict(&[0.5; 4])?);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// The device's errors.
    #[cfg(feature = "native")]
    pub fn predictor(&self) -> Result<PredictorBuilder> {
        pollster::block_on(self.predictor_async())
    }

    /// [`predictor`](Self::predictor) for asynchronous programs and the browser.
    pub async fn predictor_async(&self) -> Result<PredictorBuilder> {
        let model = self.model().clone();
        let values = self.all_parameters().await?;
        let mut builder = PredictorBuilder::new(model).batch(self.batch);
        for (at, learned) in builder.learned.iter_mut().enumerate() {
            *learned = self.learns(ParameterId(at));
        }
        match &self.backend {
            Backend::Gpu(plan) => {
                (builder.options, builder.choices) = plan.options_and_choices();
                builder.options.memory_budget = u64::MAX;
            }
            Backend::Cpu(reference) => builder.options.direct_only = reference.is_direct_only(),
        }
        builder.origin = Origin::Values(values.into());
        Ok(builder)
    }

    /// Every parameter, with what is fixed among them.
    pub(super) async fn all_parameters(&self) -> Result<Vec<Vec<f32>>> {
        let plan = match &self.backend {
            Backend::Gpu(plan) => plan,
            Backend::Cpu(reference) => return Ok(reference.parameters().to_vec()),
        };
        let mut values = Vec::new();
        for at in 0..self.model().graph.parameters().len() {
            values.push(plan.parameter(ParameterId(at)).await?);
        }
        Ok(values)
    }
}

/// Outputs on their way: what [`Predictor::start`] gives.
#[must_use = "the outputs come with `wait`"]
pub struct PendingPrediction {
    names: Vec<String>,
    arriving: Arriving,
}

enum Arriving {
    Gpu(Arc<PredictionPlan>, Vec<Arc<Landing>>),
    There(Vec<Vec<f32>>),
}

impl std::fmt::Debug for PendingPrediction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("PendingPrediction");
        debug.field("names", &self.names).finish_non_exhaustive()
    }
}

impl PendingPrediction {
    /// Waits for the model's first output, `(n, ..)` of its shape.
    ///
    /// # Errors
    /// The device's errors.
    #[cfg(feature = "native")]
    pub fn wait(self) -> Result<Vec<f32>> {
        pollster::block_on(self.wait_async())
    }

    /// [`wait`](Self::wait) for asynchronous programs and the browser.
    pub async fn wait_async(self) -> Result<Vec<f32>> {
        Ok(self.outputs().await?.1.swap_remove(0))
    }

    /// Waits for all of the model's outputs, by name, in the order of [`Model::outputs`].
    ///
    /// # Errors
    /// The device's errors.
    #[cfg(feature = "native")]
    pub fn wait_all(self) -> Result<Vec<(String, Vec<f32>)>> {
        pollster::block_on(self.wait_all_async())
    }

    /// [`wait_all`](Self::wait_all) for asynchronous programs and the browser.
    pub async fn wait_all_async(self) -> Result<Vec<(String, Vec<f32>)>> {
        let (names, outputs) = self.outputs().await?;
        Ok(names.into_iter().zip(outputs).collect())
    }

    async fn outputs(self) -> Result<(Vec<String>, Vec<Vec<f32>>)> {
        let (plan, landings) = match self.arriving {
            Arriving::There(outputs) => return Ok((self.names, outputs)),
            Arriving::Gpu(plan, landings) => (plan, landings),
        };
        let mut outputs = vec![Vec::new(); self.names.len()];
        for landing in landings {
            let parts = plan.finish(&landing).await?;
            for (output, part) in outputs.iter_mut().zip(parts) {
                match output.is_empty() {
                    true => *output = part,
                    false => output.extend(part),
                }
            }
        }
        Ok((self.names, outputs))
    }
}

impl Predictor {
    /// Begins a predictor for a model.
    pub fn builder(model: Model) -> PredictorBuilder {
        PredictorBuilder::new(model)
    }

    /// The model's first output for any number of examples, row after row: `(n, ..)` of the output's shape.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) where the inputs hold no whole examples, none, or not as many each; the device's
    /// errors.
    #[cfg(feature = "native")]
    pub fn predict<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Vec<f32>> {
        self.start(inputs)?.wait()
    }

    /// [`predict`](Self::predict) for asynchronous programs and the browser. Of several calls that are
    /// polled together, each is sent on its way before the first is waited for.
    pub async fn predict_async<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<Vec<f32>> {
        self.start_with(inputs.into()).await?.wait_async().await
    }

    /// Each of the model's outputs for any number of examples, by name, in the order of
    /// [`Model::outputs`].
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict).
    #[cfg(feature = "native")]
    pub fn predict_all<'a>(
        &self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        self.start(inputs)?.wait_all()
    }

    /// [`predict_all`](Self::predict_all) for asynchronous programs and the browser.
    pub async fn predict_all_async<'a>(
        &self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        self.start_with(inputs.into()).await?.wait_all_async().await
    }

    /// Sends examples on their way, and returns once they are: the outputs come with
    /// [`PendingPrediction::wait`]. Where more are on their way than [`in_flight`](PredictorBuilder::in_flight)
    /// allows, it waits for the oldest, whose outputs are kept. On the CPU all is done when it returns.
    ///
    /// # Errors
    /// Those of [`predict`](Self::predict). An error of the device may come with `wait`.
    #[cfg(feature = "native")]
    pub fn start<'a>(&self, inputs: impl Into<Inputs<'a>>) -> Result<PendingPrediction> {
        pollster::block_on(self.start_with(inputs.into()))
    }

    /// [`start`](Self::start) for asynchronous programs and the browser.
    pub async fn start_async<'a>(
        &self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<PendingPrediction> {
        self.start_with(inputs.into()).await
    }

    async fn start_with(&self, inputs: Inputs<'_>) -> Result<PendingPrediction> {
        let examples = inputs.examples(&self.model.graph)?;
        let arriving = match &self.backend {
            Engine::Gpu(plan) => Arriving::Gpu(plan.clone(), plan.start(&inputs, examples).await?),
            Engine::Cpu(host) => Arriving::There(host.run(&inputs, examples)?),
        };
        let names = self.model.outputs().map(|(name, _)| name).collect();
        Ok(PendingPrediction { names, arriving })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The GPU, unless this predictor is on the CPU.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &self.backend {
            Engine::Gpu(plan) => Some(plan.gpu()),
            Engine::Cpu(_) => None,
        }
    }

    /// The device memory that the predictor takes, or `None` on the CPU.
    pub fn memory(&self) -> Option<MemoryReport> {
        match &self.backend {
            Engine::Gpu(plan) => Some(plan.memory()),
            Engine::Cpu(_) => None,
        }
    }
}
