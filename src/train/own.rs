//! A loss of one's own: the caller is given the outputs, and gives back their gradient.

use super::Trainer;
use super::distributed::Ranks;
use super::trainer::Backend;
use crate::Result;
use crate::engine::Batch;
use crate::model::{Inputs, check_gradients, check_own};

impl Trainer {
    /// The first half of a step by a [loss of one's own](crate::Losses::own): each of the model's outputs
    /// in training, by name, with dropout and the batch's own statistics. The running statistics are
    /// afterwards as the batch makes them.
    ///
    /// ```
    /// use wgpu_cnn::{Losses, Model, Optimizer, Trainer};
    /// let model = Model::builder([2]).dense(1).build()?;
    /// let trainer = Trainer::builder(model).loss(Losses::own_first()).batch(3);
    /// let mut trainer = trainer.optimizer(Optimizer::sgd(0.1)).on_cpu()?;
    /// let (x, targets) = ([0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [1.0, -1.0, 0.0]);
    /// for _ in 0..100 {
    ///     let outputs = trainer.forward(&x)?;
    ///     // The gradient of the mean of log(cosh(y - t)).
    ///     let pairs = outputs[0].1.iter().zip(targets);
    ///     let gradient: Vec<f32> = pairs.map(|(y, t)| (y - t).tanh() / 3.0).collect();
    ///     trainer.backward([&gradient])?;
    ///     trainer.update()?;
    /// }
    /// let learned = trainer.predict(&[0.0, 1.0])?;
    /// assert!((learned[0] - 1.0).abs() < 0.1, "{learned:?}");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) where the losses are not the caller's, [`Error::Shape`](crate::Error::Shape) for a batch that does
    /// not fit, [`Error::DeviceLost`](crate::Error::DeviceLost), and [`Error::File`](crate::Error::File) where
    /// [a file of states](crate::TrainerBuilder::checkpoint_every_to) is due and cannot be written.
    #[cfg(feature = "native")]
    pub fn forward<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        pollster::block_on(self.forward_with(inputs.into()))
    }

    /// [`forward`](Self::forward) for asynchronous programs and the browser.
    pub async fn forward_async<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a>>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        self.forward_with(inputs.into()).await
    }

    async fn forward_with(&mut self, inputs: Inputs<'_>) -> Result<Vec<(String, Vec<f32>)>> {
        if let Some(ranks) = self.several() {
            return self.forward_with_ranks(&ranks, inputs).await;
        }
        let examples = self.before_forward(&inputs)?;
        self.keep_if_due().await?;
        self.session.changes += 1;
        let batch = Batch {
            inputs: &inputs,
            examples,
            targets: &[],
        };
        let outputs = match &mut self.backend {
            Backend::Gpu(plan) => plan.forward(&batch).await?,
            Backend::Cpu(reference) => reference.forward_training(inputs)?,
        };
        Ok(self.named(outputs))
    }

    /// What comes before a forward pass. Gives the examples.
    fn before_forward(&self, inputs: &Inputs<'_>) -> Result<usize> {
        check_own(&self.losses, "forward")?;
        self.check_not_averaged()?;
        let examples = self.check_inputs(inputs)?;
        self.model().graph.check_training(examples)?;
        Ok(examples)
    }

    /// The same where a rank has no batch.
    pub(super) fn before_none(&self, what: &str) -> Result<usize> {
        check_own(&self.losses, what)?;
        self.check_not_averaged()?;
        Ok(0)
    }

    /// The same as one of several ranks, each on its own batch or on none.
    async fn forward_with_ranks(
        &mut self,
        ranks: &Ranks,
        inputs: Inputs<'_>,
    ) -> Result<Vec<(String, Vec<f32>)>> {
        let ready = match inputs.is_empty() {
            true => self.before_none("forward"),
            false => self.before_forward(&inputs),
        };
        self.meet(ranks, true, &ready).await?;
        let examples = ready?;
        self.session.changes += 1;
        let batch = Batch {
            inputs: &inputs,
            examples,
            targets: &[],
        };
        if examples == 0 {
            self.forget_forward();
        }
        let outputs = match (examples, &mut self.backend) {
            (0, _) => Ok(vec![vec![]; self.model().outputs().len()]),
            (_, Backend::Gpu(plan)) => plan.forward(&batch).await,
            (_, Backend::Cpu(reference)) => reference.forward_training(inputs),
        };
        let done = outputs.as_ref().map(drop).map_err(Clone::clone);
        self.forwarded_together(ranks, examples, done).await?;
        Ok(self.named(outputs?))
    }

    /// The second half: the gradients of the parameters, from those of the caller's losses with respect to
    /// the outputs of the last [`forward`](Self::forward), one in each output's shape, in the order of the
    /// [`Losses`](crate::Losses). Nothing else must run between the two.
    ///
    /// The parameters change with the next [`update`](Self::update). With
    /// [`accumulate`](crate::TrainerBuilder::accumulate) of more than 1 the gradients of any number of
    /// batches add up before it; they are not divided.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) without a forward pass just before, and where an update is due;
    /// [`Error::Shape`](crate::Error::Shape) for a gradient of another length than its output; [`Error::DeviceLost`](crate::Error::DeviceLost).
    #[cfg(feature = "native")]
    pub fn backward<'a>(&mut self, gradients: impl Into<Inputs<'a>>) -> Result<()> {
        pollster::block_on(self.backward_with(gradients.into()))
    }

    /// [`backward`](Self::backward) for asynchronous programs and the browser.
    pub async fn backward_async<'a>(&mut self, gradients: impl Into<Inputs<'a>>) -> Result<()> {
        self.backward_with(gradients.into()).await
    }

    async fn backward_with(&mut self, gradients: Inputs<'_>) -> Result<()> {
        check_own(&self.losses, "backward")?;
        self.check_not_averaged()?;
        if self.skips_backward(gradients.is_empty())? {
            return Ok(());
        }
        let examples = match &self.backend {
            Backend::Gpu(plan) => plan.forwarded()?,
            Backend::Cpu(reference) => reference.forwarded()?,
        };
        let given = &gradients.numbers("gradients")?[..];
        let lengths = given.iter().map(|gradient| gradient.len());
        check_gradients(&self.model().graph, &self.losses, examples, lengths)?;
        match &mut self.backend {
            Backend::Gpu(plan) => plan.backward(given).await,
            Backend::Cpu(reference) => reference.backward_slices(given),
        }
    }
}
