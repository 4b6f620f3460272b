//! What of a model is learned, and how: frozen parameters, and groups of parameters with hyper-parameters
//! of their own.

use std::sync::Arc;

use super::TrainerBuilder;
use super::checkpoint::TrainingState;
use crate::model::{Graph, Groups, Model, Parameter, ParameterId, Pattern, Rate};
use crate::op::{Hyper, Optimizer};
use crate::{Error, Result};

/// Parameters, by their names, with hyper-parameters of their own: what it does not set is the
/// trainer's [optimizer](TrainerBuilder::optimizer)'s.
///
/// ```
/// use wgpu_cnn::{Group, Model, Optimizer, Trainer};
/// let mut net = Model::graph();
/// let x = net.input([4]);
/// let y = net.add("trunk", wgpu_cnn::Linear::new(8), [x])?;
/// let y = net.add("head", wgpu_cnn::Linear::new(2), [y])?;
/// let trainer = Trainer::builder(net.build([y])?)
///     .optimizer(Optimizer::adamw(1e-3))
///     .group(Group::new("trunk.*").rate_factor(0.1)) // a tenth of the base, whatever that is
///     .group(Group::new("head.*").learning_rate(0.01)) // whatever the base is
///     .no_decay_on_biases_and_norms();
/// let mut trainer = trainer.on_cpu()?;
/// trainer.set_learning_rate(5e-4)?; // the base: the trunk's rate is 5e-5 from here on
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Group {
    of: Of,
    changes: Vec<Change>,
}

/// Which parameters a group takes.
#[derive(Debug, Clone)]
enum Of {
    Names(Pattern),
    /// Those of one axis, or of none.
    OneAxis,
}

#[derive(Debug, Clone)]
enum Change {
    Rate(Rate),
    Hyper(Hyper),
    Optimizer(Optimizer),
}

impl Group {
    /// The parameters whose names a pattern means, as yet without anything of their own.
    pub fn new(names: impl Into<Pattern>) -> Self {
        Self {
            of: Of::Names(names.into()),
            changes: vec![],
        }
    }

    fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Sets the learning rate as a number: [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate)
    /// leaves it as it is. 0 is allowed: the parameters stay, and what the optimizer keeps of their
    /// gradients goes on.
    pub fn learning_rate(self, rate: f64) -> Self {
        self.with(Change::Rate(Rate::Number(rate)))
    }

    /// Sets the learning rate as a factor of the base, which is that of the trainer's optimizer and is set
    /// by [`Trainer::set_learning_rate`](crate::Trainer::set_learning_rate). 0 is allowed.
    pub fn rate_factor(self, factor: f64) -> Self {
        self.with(Change::Rate(Rate::Factor(factor)))
    }

    /// Sets the weight decay.
    pub fn weight_decay(self, decay: f64) -> Self {
        self.with(Change::Hyper(Hyper::WeightDecay(decay)))
    }

    /// Sets the momentum, of an optimizer that has one.
    pub fn momentum(self, momentum: f64) -> Self {
        self.with(Change::Hyper(Hyper::Momentum(momentum)))
    }

    /// Sets the decay rates of the moments, of an optimizer that has them.
    pub fn betas(self, betas: [f64; 2]) -> Self {
        self.with(Change::Hyper(Hyper::Betas(betas)))
    }

    /// Sets the term that keeps the division finite, of an optimizer that has one.
    pub fn epsilon(self, epsilon: f64) -> Self {
        self.with(Change::Hyper(Hyper::Epsilon(epsilon)))
    }

    /// Sets every hyper-parameter at once, its learning rate as a number. It may also be an optimizer of
    /// another kind.
    pub fn optimizer(self, optimizer: impl Into<Optimizer>) -> Self {
        let optimizer = optimizer.into();
        let rate = Rate::Number(optimizer.learning_rate());
        self.with(Change::Optimizer(optimizer))
            .with(Change::Rate(rate))
    }

    fn takes(&self, parameter: &Parameter) -> bool {
        match &self.of {
            Of::Names(names) => names.matches(&parameter.name),
            Of::OneAxis => parameter.shape.rank() <= 1,
        }
    }

    /// What becomes of a parameter's settings in this group.
    fn change(&self, (optimizer, rate): &mut (Optimizer, Rate)) -> Result<()> {
        self.changes.iter().try_for_each(|change| {
            match change {
                Change::Rate(own) => *rate = *own,
                Change::Optimizer(own) => *optimizer = *own,
                Change::Hyper(hyper) => optimizer.set(*hyper)?,
            }
            Ok(())
        })
    }
}

/// What a builder has been told of what is learned.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    /// The places of the parameters that are not.
    frozen: Vec<usize>,
    groups: Vec<Group>,
    /// The updates that there have been, and those of each parameter, where the trainer goes on from others.
    updates: Option<(u64, Vec<u64>)>,
    /// The first pattern that meant nothing: whose it was, and what there is.
    refused: Option<(String, String)>,
}

impl Learned {
    fn refuse<'a>(&mut self, what: String, kind: &str, names: impl Iterator<Item = &'a str>) {
        let names: Vec<&str> = names.collect();
        let reason = format!("means no {kind}: the model has {names:?}");
        self.refused.get_or_insert((what, reason));
    }

    /// Has the groups go on from a training: those of other counts of updates are groups of their own.
    pub fn go_on_from(&mut self, state: &TrainingState) {
        let last = state.parameters.iter().map(|(id, _)| id.0).max();
        let mut each = vec![0; last.map_or(0, |last| last + 1)];
        for (id, state) in &state.parameters {
            each[id.0] = state.updates;
        }
        self.updates = Some((state.counts.updates, each));
    }

    /// The groups that follow for a graph.
    pub fn groups(&self, graph: &Graph, base: Optimizer) -> Result<Groups> {
        if let Some((argument, reason)) = &self.refused {
            return Err(Error::argument(argument.as_str(), reason.as_str()));
        }
        let each = graph.parameters().iter().enumerate();
        let each = each.map(|(at, parameter)| {
            if !parameter.is_learned() || self.frozen.contains(&at) {
                return Ok(None);
            }
            let mut settings = (base, Rate::Factor(1.0));
            let mut groups = self.groups.iter().filter(|group| group.takes(parameter));
            let changed = groups.try_for_each(|group| group.change(&mut settings));
            changed.map_err(|error| of_parameter(error, parameter))?;
            Ok(Some(settings))
        });
        let each: Vec<_> = each.collect::<Result<_>>()?;
        let groups = Groups::from_each(base, each);
        groups.check()?;
        Ok(match &self.updates {
            Some((altogether, each)) => {
                let own = |id: ParameterId| each.get(id.0).copied().unwrap_or(0);
                groups.after(*altogether, own)
            }
            None => groups,
        })
    }
}

/// An error of a parameter's hyper-parameters, with its name.
fn of_parameter(error: Error, parameter: &Parameter) -> Error {
    match error {
        Error::Argument { argument, reason } => {
            Error::argument(format!("{argument} of {}", parameter.name), reason)
        }
        other => other,
    }
}

/// The names of what can be learned.
fn learned(model: &Model) -> impl Iterator<Item = (usize, &str)> {
    let parameters = model.graph.parameters().iter().enumerate();
    let learned = parameters.filter(|(_, parameter)| parameter.is_learned());
    learned.map(|(at, parameter)| (at, parameter.name.as_str()))
}

impl TrainerBuilder {
    /// Freezes the parameters whose names a pattern means, as `"layer1.*"`: they are not learned. Of
    /// several calls of this and of [`unfreeze`](Self::unfreeze), the last one that means a parameter
    /// counts.
    ///
    /// Nothing is computed backwards for what lies before the first parameter that is learned, and a
    /// frozen layer between learned ones hands its input's gradient on and computes none of its own.
    /// What is frozen has no gradient, and nothing of the optimizer's.
    ///
    /// As in PyTorch, where a parameter's `requires_grad` says nothing of statistics, a batch
    /// normalisation whose weights are frozen still normalises with the batch's own statistics and moves
    /// the running ones: [`freeze_statistics`](Self::freeze_statistics) is for those.
    ///
    /// What is frozen stays so as long as the trainer does, since buffers are laid out by group, and all
    /// of them made before the first step; [`Trainer::rebuild`](crate::Trainer::rebuild) makes another
    /// that goes on from the same state.
    ///
    /// Making the trainer is an [`Error::Argument`] where the pattern means no parameter that the
    /// model could learn, and where all are frozen.
    ///
    /// ```
    /// use wgpu_cnn::{Linear, Model, Trainer};
    /// let mut net = Model::graph();
    /// let x = net.input([4]);
    /// let y = net.add("trunk", Linear::new(8), [x])?;
    /// let y = net.add("head", Linear::new(2), [y])?;
    /// let trainer = Trainer::builder(net.build([y])?).freeze("trunk.*");
    /// let mut trainer = trainer.on_cpu()?;
    /// let before = trainer.parameter("trunk.weight")?;
    /// trainer.step(&[1.0, 2.0, 3.0, 4.0], &[0u8])?;
    /// assert_eq!(trainer.parameter("trunk.weight")?, before);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn freeze(self, names: impl Into<Pattern>) -> Self {
        self.set_frozen(names.into(), true)
    }

    /// Has the parameters that a pattern means learned, which an earlier [`freeze`](Self::freeze) has
    /// frozen: `.freeze("*").unfreeze("fc.*")` learns `fc` alone.
    pub fn unfreeze(self, names: impl Into<Pattern>) -> Self {
        self.set_frozen(names.into(), false)
    }

    fn set_frozen(mut self, names: Pattern, frozen: bool) -> Self {
        let meant = learned(&self.model).filter(|(_, name)| names.matches(name));
        let meant: Vec<usize> = meant.map(|(at, _)| at).collect();
        if meant.is_empty() {
            let what = match frozen {
                true => format!("freeze({names})"),
                false => format!("unfreeze({names})"),
            };
            let all = learned(&self.model).map(|(_, name)| name);
            self.learned.refuse(what, "parameter to be learned", all);
        }
        self.learned.frozen.retain(|at| !meant.contains(at));
        if frozen {
            self.learned.frozen.extend(meant);
        }
        self
    }

    /// Has the batch normalisations evaluate in training too, whose running statistics a pattern means:
    /// `"layer1.*"` means `layer1.0.bn1.running_mean`. They normalise with their running statistics,
    /// leave them as they are, and hand the gradient on as that affine map does
    /// ([`BatchNorm::frozen`](crate::BatchNorm::frozen)); their weights are learned unless they are
    /// [frozen](Self::freeze) as well.
    ///
    /// Making the trainer is an [`Error::Argument`] where the pattern means no running statistic.
    pub fn freeze_statistics(self, names: impl Into<Pattern>) -> Self {
        self.set_frozen_statistics(names.into(), true)
    }

    /// Has batch normalisations take the batch's own statistics in training, which an earlier
    /// [`freeze_statistics`](Self::freeze_statistics) or the layer itself has frozen.
    pub fn unfreeze_statistics(self, names: impl Into<Pattern>) -> Self {
        self.set_frozen_statistics(names.into(), false)
    }

    fn set_frozen_statistics(mut self, names: Pattern, frozen: bool) -> Self {
        let meant = |parameter: &Parameter| names.matches(&parameter.name);
        let graph = Arc::make_mut(&mut self.model.graph);
        if graph.freeze_statistics(meant, frozen) == 0 {
            let what = match frozen {
                true => format!("freeze_statistics({names})"),
                false => format!("unfreeze_statistics({names})"),
            };
            let parameters = self.model.graph.parameters().iter();
            let all = parameters.filter(|parameter| parameter.is_statistic());
            let all = all.map(|parameter| parameter.name.as_str());
            self.learned.refuse(what, "running statistic", all);
        }
        self
    }

    /// Gives parameters hyper-parameters of their own. Every group that means a parameter counts for it, in
    /// the order in which they were added: where two of them set the same hyper-parameter, the last one
    /// does. So a group of rates and one of decays may overlap.
    ///
    /// Parameters with the same settings lie together, and are updated by one dispatch.
    /// [Clipping](Self::clip_norm) is by the norm of all gradients together.
    ///
    /// Making the trainer is an [`Error::Argument`] where the pattern means no parameter that the model
    /// could learn, where a number is out of range, and for a hyper-parameter that the optimizer does not have.
    pub fn group(mut self, group: Group) -> Self {
        let mut parameters = self.model.graph.parameters().iter();
        let meant = parameters.any(|parameter| parameter.is_learned() && group.takes(parameter));
        if let (false, Of::Names(names)) = (meant, &group.of) {
            let what = format!("group {names}");
            let all = learned(&self.model).map(|(_, name)| name);
            self.learned.refuse(what, "parameter to be learned", all);
        }
        self.learned.groups.push(group);
        self
    }

    /// Has no weight decay on parameters of one axis: biases, and the weights of normalisations. A
    /// [`group`](Self::group) like another, but for how it finds its parameters.
    pub fn no_decay_on_biases_and_norms(self) -> Self {
        let group = Group {
            of: Of::OneAxis,
            changes: vec![],
        };
        self.group(group.weight_decay(0.0))
    }

    /// What is learned, and how.
    pub(super) fn groups(&self) -> Result<Groups> {
        self.learned.groups(&self.model.graph, self.optimizer)
    }
}
