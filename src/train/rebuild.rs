//! A trainer made anew, which goes on from the state of another.

use super::distributed::agreed;
use super::trainer::{Backend, Trainer};
use super::{TrainerBuilder, checkpoint::TrainingState};
use crate::model::{Graph, Groups};
use crate::{Error, Result};

impl Trainer {
    /// Makes this trainer anew with other options, on the same device, and goes on from where it is: for
    /// [freezing](TrainerBuilder::freeze) and unfreezing in the midst of training, and for other
    /// [groups](TrainerBuilder::group). `change` is given the builder that the trainer was made by, with the
    /// learning rate that was last [set](Self::set_learning_rate).
    ///
    /// Parameters, statistics, what the optimizer keeps, and all counts are taken over, and what is learned
    /// before and after goes on with the same bits. What begins to be learned has a count of updates of its
    /// own, from 0 on, as PyTorch counts for each parameter: Adam's corrections, and the first velocity of
    /// SGD, are those of a first update. What the optimizer keeps of a parameter goes as soon as that is
    /// frozen, and starts anew as well where its optimizer becomes another kind, or keeps other numbers.
    ///
    /// The options of what is learned are no switches between steps, since buffers are laid out by group,
    /// each group updated by one dispatch, and a step creates nothing. The old trainer is there until the new
    /// one is, and so is its memory.
    ///
    /// ```
    /// use wgpu_cnn::{Group, Linear, Model, Optimizer, Trainer};
    /// let mut net = Model::graph();
    /// let x = net.input([4]);
    /// let y = net.add("trunk", Linear::new(8), [x])?;
    /// let y = net.add("head", Linear::new(2), [y])?;
    /// let trainer = Trainer::builder(net.build([y])?).optimizer(Optimizer::adam(0.1));
    /// let mut trainer = trainer.freeze("trunk.*").on_cpu()?;
    /// trainer.step(&[1.0, 2.0, 3.0, 4.0], &[0u8])?;
    /// trainer.rebuild(|builder| {
    ///     let trunk = Group::new("trunk.*").rate_factor(0.1);
    ///     builder.unfreeze("*").group(trunk)
    /// })?;
    /// trainer.step(&[1.0, 2.0, 3.0, 4.0], &[0u8])?;
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`on`](TrainerBuilder::on) and [`on_cpu`](TrainerBuilder::on_cpu); [`Error::Argument`] where
    /// the builder that `change` gives is of a model with other parameters, where it takes another number of
    /// batches for an update that is begun, and while the average is in place of the weights. The trainer is
    /// then as it was, but that a [`backward`](Self::backward) needs another [`forward`](Self::forward).
    #[cfg(feature = "native")]
    pub fn rebuild(&mut self, change: impl FnOnce(TrainerBuilder) -> TrainerBuilder) -> Result<()> {
        pollster::block_on(self.rebuild_async(change))
    }

    /// [`rebuild`](Self::rebuild) for asynchronous programs and the browser.
    pub async fn rebuild_async(
        &mut self,
        change: impl FnOnce(TrainerBuilder) -> TrainerBuilder,
    ) -> Result<()> {
        let mut made = TrainerBuilder::clone(&self.made);
        made.optimizer.set_learning_rate(self.base_rate);
        let builder = change(made);
        self.rebuild_with(builder).await
    }

    async fn rebuild_with(&mut self, builder: TrainerBuilder) -> Result<()> {
        let ranks = builder.ranks.clone();
        let fresh = self.rebuilt(builder).await;
        let mut fresh = agreed(ranks, fresh).await?;
        fresh.logged = self.logged.take();
        fresh.keep_told();
        *self = fresh;
        Ok(())
    }

    /// The new trainer, which is not held to those of other ranks yet.
    async fn rebuilt(&self, mut builder: TrainerBuilder) -> Result<Self> {
        check_same("rebuild", &self.model().graph, &builder.model.graph)?;
        builder.check_checkpoint()?;
        if builder.checkpoint.resume.is_some() || builder.has_weights() {
            let reason =
                "goes on from the state of the trainer: resume and weights are for a new one";
            return Err(Error::argument("rebuild", reason));
        }
        if self.ranks() > 1 && self.has_pending() {
            let reason = "batches wait for an update, and each rank has the sum of its own: update comes first";
            return Err(Error::argument("rebuild", reason));
        }
        let mut state = self.training_state().await?;
        state.learning_rate = builder.optimizer.learning_rate();
        state.fit(self.groups(), &builder.groups()?);
        builder.learned.go_on_from(&state);
        // States are kept once it is where this one is, so that none of its beginning takes the place of one.
        let every = builder.checkpoint.every.take();
        let mut fresh = match &self.backend {
            Backend::Gpu(plan) => builder.made_on(plan.gpu()).await?,
            Backend::Cpu(reference) => builder.made_on_cpu(reference.rules())?,
        };
        fresh.set_training_state(&state).await?;
        fresh.made.checkpoint.every = every;
        fresh.keep_states().await?;
        Ok(fresh)
    }
}

impl TrainingState {
    /// Forgets what the optimizer keeps of parameters of which another one keeps something else.
    fn fit(&mut self, before: &Groups, after: &Groups) {
        for (id, state) in &mut self.parameters {
            let [before, after] = [before, after].map(|groups| groups.group(*id));
            let same = before.zip(after).is_some_and(|(before, after)| {
                let [a, b] = [before, after].map(|group| &group.optimizer);
                let kinds = [a, b].map(std::mem::discriminant);
                kinds[0] == kinds[1] && a.state_slots() == b.state_slots()
            });
            if !same {
                state.slots.clear();
                state.updates = 0;
            }
        }
    }
}

/// Refuses a model of other parameters.
pub(super) fn check_same(what: &str, before: &Graph, after: &Graph) -> Result<()> {
    let [before, after] = [before, after].map(|graph| {
        let parameters = graph.parameters().iter();
        parameters.map(|parameter| (&parameter.name, &parameter.shape, parameter.spec.kind))
    });
    match before.eq(after) {
        true => Ok(()),
        false => {
            let reason = "is for the same model: this one has other parameters";
            Err(Error::argument(what, reason))
        }
    }
}
