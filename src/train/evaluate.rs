//! What a model is worth on data that it does not learn from.

use std::fmt;

use super::Trainer;
use super::metrics::{Metric, Prediction, Predictions};
use crate::Result;
use crate::engine::WholeLosses;
use crate::model::{AsInputs, Inputs, IntoBatch, Targets};
use crate::op::Loss;

/// A batch of a loader.
#[cfg(feature = "data")]
impl IntoBatch for crate::data::Batch {
    type Inputs = Self;

    fn into_batch(mut self) -> Result<(Self, Targets)> {
        let none = crate::Target::Labels(vec![]);
        let targets = std::mem::replace(&mut self.targets, none);
        Ok((self, targets.into()))
    }
}

/// Its bytes, where it has such, or its images.
#[cfg(feature = "data")]
impl AsInputs for crate::data::Batch {
    fn as_inputs(&self) -> Inputs<'_> {
        match self.bytes.is_empty() {
            true => self.images.as_inputs(),
            false => self.bytes.as_inputs(),
        }
    }
}

/// What [`Trainer::evaluate`] found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// The loss over all examples: of several losses the sum of each times its weight. NaN where nothing
    /// counted, and where the losses are the caller's.
    pub loss: f64,
    /// Each of the losses before its weight, with the name of its output.
    pub losses: Vec<(String, f64)>,
    /// All examples, also those whose labels are ignored.
    pub examples: u64,
    /// The values of the metrics by name, in their order.
    pub metrics: Vec<(String, f64)>,
}

impl Evaluation {
    /// The value of a metric by its name, as [`Metric::values`] gives it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let found = self.metrics.iter().find(|(other, _)| other == name);
        found.map(|&(_, value)| value)
    }

    /// The loss and the metrics, with something before each name: columns for a [`Log`](crate::Log).
    pub fn columns(&self, before: &str) -> Vec<(String, f64)> {
        let loss = ("loss".to_string(), self.loss);
        let all = std::iter::once(&loss).chain(&self.metrics);
        all.map(|(name, value)| (format!("{before}{name}"), *value))
            .collect()
    }
}

impl fmt::Display for Evaluation {
    /// `loss 0.3121, accuracy 0.8720`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        for (name, value) in &self.metrics {
            write!(f, ", {name} {value:.4}")?;
        }
        Ok(())
    }
}

impl Trainer {
    /// The loss over a whole set, in evaluation: without dropout, and with the running statistics. `batches` is
    /// any iterator over pairs of inputs and targets, or over `Result`s of them; batches may have any size, and empty
    /// ones count nothing. With the feature `data` an epoch of a loader is one: `trainer.evaluate(loader.epoch(0))`.
    ///
    /// The loss is the one that all examples as one batch have: a mean is over all that counts, by class
    /// weights and without ignored labels, and a sum over all. What is in training stays as it is: parameters,
    /// running statistics, gradients that wait for an update, the [`loss`](Self::loss) of the last step, and
    /// dropout's place; only a [`forward`](Self::forward) pass that waits for its backward pass is over.
    ///
    /// Outputs come back to the host, as by [`predict`](Self::predict), and the losses are computed there. For
    /// the ten or thousand classes of an image that is nothing beside the prediction; outputs of pixels are
    /// four bytes for each class and pixel, 23 MB for an image of 520x520 with 21 classes.
    ///
    /// ```
    /// use wgpu_cnn::{Accuracy, Model, Optimizer, Trainer};
    /// let model = Model::builder([2]).dense(8).tanh().dense(2).build()?;
    /// let mut trainer = Trainer::builder(model).optimizer(Optimizer::adam(0.1)).seed(7).on_cpu()?;
    /// let test = vec![
    ///     (vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0], vec![0u8, 1, 1]),
    ///     (vec![1.0, 1.0], vec![0]),
    /// ];
    /// for _ in 0..50 {
    ///     for (inputs, labels) in &test {
    ///         trainer.step(inputs, labels)?;
    ///     }
    /// }
    /// assert!(trainer.evaluate(&test)?.loss < 0.1);
    ///
    /// let mut accuracy = Accuracy::new();
    /// let evaluation = trainer.evaluate_with(&test, &mut [&mut accuracy])?;
    /// assert_eq!((evaluation.examples, accuracy.value()), (4, 1.0));
    /// println!("{evaluation}"); // loss 0.0123, accuracy 1.0000
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::Argument`](crate::Error::Argument) for a batch that does not fit, and where there is none
    /// with examples; what the iterator gives for errors; the device's.
    #[cfg(feature = "native")]
    pub fn evaluate<B: IntoBatch>(
        &mut self,
        batches: impl IntoIterator<Item = B>,
    ) -> Result<Evaluation> {
        pollster::block_on(self.evaluate_async(batches))
    }

    /// [`evaluate`](Self::evaluate) for asynchronous programs and the browser.
    pub async fn evaluate_async<B: IntoBatch>(
        &mut self,
        batches: impl IntoIterator<Item = B>,
    ) -> Result<Evaluation> {
        self.evaluate_with_async(batches, &mut []).await
    }

    /// [`evaluate`](Self::evaluate), with metrics computed beside the losses. Each of them begins anew; their values
    /// are in the [`Evaluation`], and what else they know they can be asked afterwards. After an error they have
    /// counted the batches before it.
    ///
    /// ```
    /// use wgpu_cnn::{Accuracy, ConfusionMatrix, Model, Trainer};
    /// let model = Model::builder([4]).dense(3).build()?;
    /// let mut trainer = Trainer::builder(model).on_cpu()?;
    /// let test = [([0.5f32; 8], [2u8, 0])];
    /// let (mut top, mut confusion) = (Accuracy::top(2), ConfusionMatrix::new());
    /// let evaluation = trainer.evaluate_with(&test, &mut [&mut top, &mut confusion])?;
    /// assert_eq!(evaluation.metric("accuracy"), Some(confusion.accuracy()));
    /// println!("{confusion}F1 of class 2: {}", confusion.f1(2));
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`evaluate`](Self::evaluate) and of the metrics.
    #[cfg(feature = "native")]
    pub fn evaluate_with<B: IntoBatch>(
        &mut self,
        batches: impl IntoIterator<Item = B>,
        metrics: &mut [&mut dyn Metric],
    ) -> Result<Evaluation> {
        pollster::block_on(self.evaluate_with_async(batches, metrics))
    }

    /// [`evaluate_with`](Self::evaluate_with) for asynchronous programs and the browser.
    pub async fn evaluate_with_async<B: IntoBatch>(
        &mut self,
        batches: impl IntoIterator<Item = B>,
        metrics: &mut [&mut dyn Metric],
    ) -> Result<Evaluation> {
        metrics.iter_mut().for_each(|metric| metric.reset());
        let mut whole = WholeLosses::new(&self.losses);
        for batch in batches {
            let (inputs, targets) = batch.into_batch()?;
            let inputs = inputs.as_inputs();
            // What a loader gives a rank that has no batch left.
            if inputs.is_empty() && targets.is_empty() {
                continue;
            }
            self.count(inputs, &targets, &mut whole, metrics).await?;
        }
        self.evaluated(whole, metrics)
    }

    /// Counts a batch in.
    async fn count(
        &mut self,
        inputs: Inputs<'_>,
        targets: &Targets,
        whole: &mut WholeLosses,
        metrics: &mut [&mut dyn Metric],
    ) -> Result<()> {
        let examples = inputs.examples(&self.model().graph)?;
        targets.check_evaluation(&self.model().graph, &self.losses, examples)?;
        // Without metrics, no outputs but those that have losses.
        let last = self.losses.iter().map(|loss| loss.output + 1).max();
        let count = match metrics.is_empty() {
            true => last.unwrap_or(1),
            false => self.model().outputs().len(),
        };
        let outputs = self.predict_with(inputs, count).await?;
        let graph = &self.model().graph;
        whole.add(graph, &self.losses, examples, &outputs, &targets.0)?;
        if metrics.is_empty() {
            return Ok(());
        }
        let predictions = self.predictions(&outputs, targets)?;
        let mut metrics = metrics.iter_mut();
        metrics.try_for_each(|metric| metric.update(&predictions))
    }

    /// All outputs with their targets: of each the first that a loss has.
    fn predictions<'a>(
        &'a self,
        outputs: &'a [Vec<f32>],
        targets: &'a Targets,
    ) -> Result<Predictions<'a>> {
        let graph = &self.model().graph;
        let mut all = Vec::new();
        for ((at, values), &value) in outputs.iter().enumerate().zip(graph.outputs()) {
            let place = self.losses.iter().position(|loss| loss.output == at);
            let loss = place.and_then(|place| self.losses[place].loss.as_ref());
            let target = place.map(|place| &targets.0[place]);
            let prediction = Prediction::new(graph.shape(value), values, target)?;
            let ignored = loss.and_then(Loss::ignored_label);
            all.push(prediction.called(graph.value_name(value), ignored));
        }
        let first = self.losses.first().map_or(0, |loss| loss.output);
        Ok(Predictions::new(all, first))
    }

    fn evaluated(&self, whole: WholeLosses, metrics: &[&mut dyn Metric]) -> Result<Evaluation> {
        let graph = &self.model().graph;
        let examples = whole.examples();
        let each = whole.finish(&self.losses)?;
        let weighted = self.losses.iter().zip(&each);
        let names = self.losses.iter();
        let names = names.map(|loss| graph.value_name(graph.outputs()[loss.output]));
        Ok(Evaluation {
            loss: weighted.map(|(loss, value)| loss.weight * value).sum(),
            losses: names.zip(each.iter().copied()).collect(),
            examples,
            metrics: metrics.iter().flat_map(|metric| metric.values()).collect(),
        })
    }
}
