//! A model on the CPU: the graph, walked operator by operator.

mod average;
mod look;
mod own;
mod pass;
mod pending;
mod predict;
mod ranks;
mod rates;
mod rules;
mod single;
mod state;
#[cfg(test)]
mod tests;
mod walk;

use average::Averages;
use pass::{Among, divided};
use pending::{Pending, divisor};
pub(super) use predict::predict;
pub(crate) use rules::Rules;
pub(crate) use single::loss_by_itself;
pub(super) use single::{AveragePass, BackwardPass, Compute, ForwardPass, LossPass, UpdatePass};
use walk::{Tape, Walk};

use crate::cpu::{self, Real};
use crate::engine::Round;
use crate::engine::wanted::Wanted;
use crate::model::{Groups, Inputs, Losses, OutputLoss, ParameterId, Targets, check_accumulate};
use crate::op::{Optimizer, check_clip_norm};
use crate::{Error, Model, Result};

/// A model trained by the CPU reference, in `f32` or `f64`: what the GPU is held to, and what trains
/// where there is none.
///
/// ```
/// use wgpu_cnn::engine::Reference;
/// use wgpu_cnn::{Loss, Model, Optimizer, Target};
/// let model = Model::builder([2]).dense(8).tanh().dense(2).build()?;
/// let mut reference = Reference::<f32>::new(&model, Loss::default(), Optimizer::adam(0.05), 7)?;
/// let images = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let labels = Target::from(&[0u8, 1, 1, 0]);
/// for _ in 0..100 {
///     reference.step(&images, &labels)?;
/// }
/// assert!(reference.loss(&images, &labels)? < 0.1);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reference<T> {
    rules: Rules<T>,
    model: Model,
    losses: Vec<OutputLoss>,
    /// What they depend on: the parameters that are learned here.
    wanted: Wanted,
    groups: Groups,
    seed: u64,
    /// The largest global norm of the gradients.
    clip_norm: Option<f64>,
    /// Whether convolutions are computed by the sums that define them alone.
    direct_only: bool,
    /// Batches per update.
    accumulate: usize,
    /// Trainers that train together.
    ranks: usize,
    /// What they compute at present.
    round: Round,
    parameters: Vec<Vec<T>>,
    /// Of the last step, each as long as its parameter; empty for what is not learned.
    gradients: Vec<Vec<T>>,
    /// Whether a batch has left any.
    has_gradients: bool,
    /// Of each parameter, the optimizer's slots; none for statistics.
    state: Vec<Vec<Vec<T>>>,
    average: Option<Averages<T>>,
    /// Batches so far.
    steps: u64,
    /// Examples of these.
    trained: u64,
    updates: u64,
    pending: Pending,
    tape: Tape<T>,
    /// The examples of which the tape has a forward pass of the caller's.
    forwarded: Option<usize>,
    /// The last batch's losses, in their order.
    last_losses: Vec<T>,
}

impl<T: Real> Reference<T> {
    /// A model with its initial parameters, which depend on the model and the seed alone.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where a hyper-parameter is out of its domain or the model has no output of a
    /// loss's name, [`Error::Shape`] where a loss does not fit its output.
    pub fn new(
        model: &Model,
        losses: impl Into<Losses>,
        optimizer: impl Into<Optimizer>,
        seed: u64,
    ) -> Result<Self> {
        let losses = losses.into().resolve(&model.graph)?;
        let groups = Groups::single(&model.graph, optimizer.into());
        let parameters = model.graph.initial_values(seed);
        Self::with(model, losses, groups, seed, parameters, Rules::ALL)
    }

    /// The same with these parameters, of which each is as long as the model's. The seed is that of dropout's
    /// masks.
    pub(crate) fn with(
        model: &Model,
        losses: Vec<OutputLoss>,
        groups: Groups,
        seed: u64,
        parameters: Vec<Vec<f32>>,
        rules: Rules<T>,
    ) -> Result<Self> {
        groups.check()?;
        let wanted = Wanted::learned(&model.graph, &losses, &groups);
        let parameters: Vec<Vec<T>> = parameters
            .into_iter()
            .map(|values| values.into_iter().map(T::nearest).collect())
            .collect();
        let learned = (0..parameters.len()).map(|at| wanted.parameter(ParameterId(at)));
        let lengths = parameters.iter().map(Vec::len).zip(learned);
        let gradients: Vec<Vec<T>> = lengths
            .map(|(len, learned)| vec![T::zero(); if learned { len } else { 0 }])
            .collect();
        let state = gradients.iter().enumerate().map(|(at, of)| {
            let id = ParameterId(at);
            let slots = (0..groups.state_slots(id)).map(|slot| groups.initial_state(id, slot));
            slots
                .map(|value| vec![T::nearest(value); of.len()])
                .collect()
        });
        let state = state.collect();
        Ok(Self {
            rules,
            model: model.clone(),
            losses,
            wanted,
            groups,
            seed,
            clip_norm: None,
            direct_only: false,
            accumulate: 1,
            ranks: 1,
            round: Round::default(),
            parameters,
            gradients,
            has_gradients: false,
            state,
            average: None,
            steps: 0,
            trained: 0,
            updates: 0,
            pending: Pending::default(),
            tape: Tape::default(),
            forwarded: None,
            last_losses: vec![],
        })
    }

    /// Sets the largest global norm of the gradients: larger ones are scaled down before the update,
    /// as by `torch.nn.utils.clip_grad_norm_`. Default none.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where it is not above zero, or infinite.
    pub fn set_clip_norm(&mut self, max_norm: Option<f64>) -> Result<()> {
        max_norm.map_or(Ok(()), check_clip_norm)?;
        self.clip_norm = max_norm;
        Ok(())
    }

    /// Sets how many batches make one update. The update is that of one batch with all of their
    /// examples, up to rounding, but for batch normalisation, dropout of whole batches and a Dice loss of the whole batch.
    /// Of several losses each batch's means count by its examples, also where labels are ignored. Default 1.
    ///
    /// Losses of [one's own](crate::Losses::own) are updated by [`update_now`](Self::update_now) alone:
    /// here more than 1 allows several batches before it.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for 0, and for more than 1 where losses are partly sums and partly means.
    pub fn set_accumulate(&mut self, batches: usize) -> Result<()> {
        if batches == 0 {
            return Err(Error::argument("accumulate", "must not be zero"));
        }
        check_accumulate(&self.losses, batches.saturating_mul(self.ranks))?;
        self.accumulate = batches;
        Ok(())
    }

    /// Computes convolutions by the sums that define them alone, as
    /// [`TrainerBuilder::direct_only`](crate::TrainerBuilder::direct_only) does. Default false. In `f64` there is
    /// no other way.
    pub fn set_direct_only(&mut self, direct: bool) {
        self.direct_only = direct;
    }

    /// Whether it does so.
    pub(crate) fn is_direct_only(&self) -> bool {
        self.direct_only
    }

    /// The model's first output `(N, ..)` in evaluation for inputs of `(N, ..)`, where N follows from
    /// their lengths.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where an input holds no whole number of examples, none at all, or another number
    /// than the first.
    pub fn forward<'a>(&self, inputs: impl Into<Inputs<'a, T>>) -> Result<Vec<T>>
    where
        T: 'a,
    {
        Ok(self.forward_all(inputs)?.swap_remove(0))
    }

    /// All of the model's outputs in evaluation, in the order of [`Model::outputs`].
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn forward_all<'a>(&self, inputs: impl Into<Inputs<'a, T>>) -> Result<Vec<Vec<T>>>
    where
        T: 'a,
    {
        let (graph, inputs) = (&self.model.graph, inputs.into());
        predict(
            self.rules,
            graph,
            &self.parameters,
            &inputs,
            self.direct_only,
        )
    }

    /// The loss of a batch in evaluation, nothing else: the weighted sum where there are several.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss<'a>(
        &self,
        inputs: impl Into<Inputs<'a, T>>,
        targets: impl Into<Targets>,
    ) -> Result<T>
    where
        T: 'a,
    {
        let (inputs, targets) = (inputs.into(), targets.into());
        let examples = inputs.examples(&self.model.graph)?;
        targets.check(&self.model.graph, &self.losses, examples)?;
        let outputs = self.forward_all(inputs)?;
        let mut total = 0.0;
        for (loss, target) in self.losses.iter().zip(&targets.0) {
            let output = &outputs[loss.output];
            let (value, ..) = self.output_loss(loss, examples, output, target, divided)?;
            total += loss.weight * value.wide();
        }
        Ok(T::nearest(total))
    }

    /// The loss of a batch in training; [`gradient`](Self::gradient) then gives that of each
    /// parameter. All else stays as it is: parameters, running statistics, what waits for an update.
    /// Dropout's masks are those of the next step.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss_and_gradients<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a, T>>,
        targets: impl Into<Targets>,
    ) -> Result<T>
    where
        T: 'a,
    {
        Ok(self
            .backward_pass(&inputs.into(), &targets.into(), Among::Alone, false)?
            .0)
    }

    /// As [`loss_and_gradients`](Self::loss_and_gradients), with the loss's gradient with respect to
    /// the first input, in its shape.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss_and_input_gradient<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a, T>>,
        targets: impl Into<Targets>,
    ) -> Result<(T, Vec<T>)>
    where
        T: 'a,
    {
        let (inputs, targets) = (inputs.into(), targets.into());
        let (loss, _) = self.backward_pass(&inputs, &targets, Among::Alone, true)?;
        Ok((
            loss,
            self.tape.gradients[self.model.graph.input().0].clone(),
        ))
    }

    /// One step of training on a batch: loss, gradients, and an update with every
    /// [`accumulate`](Self::set_accumulate)d batch. Gives the loss of this batch, before the update: the
    /// weighted sum where there are several.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input holds no whole number of examples or none, or the target not
    /// as many, or a batch normalisation sees a single value per channel; [`Error::Argument`] where a
    /// label is out of range or the loss takes none, and where a loss is the caller's. Parameters,
    /// gradients and the optimizer's state are then as before.
    pub fn step<'a>(
        &mut self,
        inputs: impl Into<Inputs<'a, T>>,
        targets: impl Into<Targets>,
    ) -> Result<T>
    where
        T: 'a,
    {
        let (inputs, targets) = (inputs.into(), targets.into());
        let alone = self.accumulate == 1 && self.pending.batches == 0;
        let among = if alone { Among::Alone } else { Among::Several };
        let examples = inputs.examples(&self.model.graph)?;
        let (loss, share) = self.backward_pass(&inputs, &targets, among, false)?;
        self.tape.update_statistics(&mut self.parameters);
        let round = Round::alone(examples);
        self.count(round);
        if alone {
            self.update()?;
            return Ok(loss);
        }
        self.add_pending(round, &[share], Some(share));
        if self.pending.batches >= self.accumulate {
            self.update()?;
        }
        Ok(loss)
    }

    /// The losses of the last batch, in their order, each before its weight; none before the first.
    pub fn last_losses(&self) -> &[T] {
        &self.last_losses
    }

    /// Updates the parameters from the batches since the last update, if there are any: for the end
    /// of an epoch that does not fill the last [`accumulate`](Self::set_accumulate)d update, and for losses
    /// of one's own after [`backward`](Self::backward).
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn update_now(&mut self) -> Result<()> {
        if self.pending.batches == 0 {
            return Ok(());
        }
        self.divide_pending();
        self.update()
    }

    /// The steps taken so far: batches trained on.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Every parameter, in the order of [`Model::parameters`], with what is
    /// [fixed](crate::GraphBuilder::fix) in its place among them.
    pub fn parameters(&self) -> &[Vec<T>] {
        &self.parameters
    }

    /// A parameter by its name, for example `0.weight`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name.
    pub fn parameter(&self, name: &str) -> Result<&[T]> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        Ok(&self.parameters[id])
    }

    /// A parameter by its name, to be changed.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name.
    pub fn parameter_mut(&mut self, name: &str) -> Result<&mut [T]> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        self.forget_forward();
        Ok(&mut self.parameters[id])
    }

    /// Replaces a parameter.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name, [`Error::Shape`] where its length
    /// is another.
    pub fn set_parameter(&mut self, name: &str, values: &[T]) -> Result<()> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        let shape = &self.model.graph.parameter(ParameterId(id)).shape;
        if shape.len() != values.len() {
            return Err(Error::length(name, shape, values.len()));
        }
        self.forget_forward();
        self.parameters[id].copy_from_slice(values);
        Ok(())
    }

    /// The last gradient of a parameter, before any clipping; with several batches per update, of
    /// those of the last update, or of all since then where there are any.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name, or it is not learned, and before the
    /// first batch.
    pub fn gradient(&self, name: &str) -> Result<&[T]> {
        let ParameterId(id) = self.model.graph.learned_named(name)?;
        if !self.wanted.parameter(ParameterId(id)) {
            let reason = "no loss depends on it";
            return Err(Error::argument(format!("parameter {name:?}"), reason));
        }
        if !self.has_gradients {
            return Err(Error::argument("gradient", "no step has been made"));
        }
        Ok(&self.gradients[id])
    }

    /// Changes the parameters by the gradients.
    fn update(&mut self) -> Result<()> {
        cpu::among_workers(|| self.update_here())
    }

    fn update_here(&mut self) -> Result<()> {
        (self.pending.batches, self.pending.examples) = (0, 0);
        self.updates += 1;
        self.forget_forward();
        let gradients = || self.gradients.iter().map(Vec::as_slice);
        let scale = self
            .clip_norm
            .map(|most| cpu::clip_scale(most, cpu::global_norm(gradients())));
        let mut clipped = Vec::new();
        let parameters = self
            .parameters
            .iter_mut()
            .zip(gradients())
            .zip(&mut self.state);
        let groups = (0..self.gradients.len()).map(ParameterId);
        let groups = groups.map(|id| self.groups.group(id).filter(|_| self.wanted.parameter(id)));
        for (((parameter, mut gradient), state), group) in parameters.zip(groups) {
            let Some(group) = group else { continue };
            if let Some(scale) = scale {
                clipped.clear();
                clipped.extend(gradient.iter().map(|g| T::nearest(scale * g.wide())));
                gradient = &clipped;
            }
            let updates = group.updates(self.updates);
            let update = self.rules.update;
            update(&group.optimizer, updates, parameter, gradient, state)?;
        }
        self.update_average()
    }
}
