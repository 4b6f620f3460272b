//! Which optimizer each parameter has, if any.

use super::{Graph, ParameterId};
use crate::op::Optimizer;
use crate::{Error, Result};

/// How the learning rate of a group follows from the base, which is the optimizer's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rate {
    Factor(f64),
    Number(f64),
}

impl Rate {
    /// The base leaves it alone.
    fn from(self, base: f64) -> f64 {
        match self {
            Self::Factor(factor) => base * factor,
            Self::Number(rate) => rate,
        }
    }
}

/// Parameters that are updated alike.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LearnedGroup {
    /// With the learning rate of the moment.
    pub optimizer: Optimizer,
    pub rate: Rate,
    /// The updates that had been made when these parameters began to learn.
    pub began: u64,
}

impl LearnedGroup {
    /// A group's own count of updates after so many altogether. It decides what an optimizer does at first:
    /// Adam's corrections, and SGD's first velocity.
    pub fn updates(&self, altogether: u64) -> u64 {
        altogether.saturating_sub(self.began)
    }
}

/// What is learned, and how: parameters by groups. Those of a group lie together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Groups {
    /// The optimizer of what no group says anything else of.
    base: Optimizer,
    list: Vec<LearnedGroup>,
    /// The group of each parameter; none of what is not learned.
    of: Vec<Option<usize>>,
}

impl Groups {
    /// All that a graph learns, in one group.
    pub fn single(graph: &Graph, optimizer: Optimizer) -> Self {
        let parameters = graph.parameters().iter();
        let learned = parameters.map(|p| p.is_learned().then_some((optimizer, Rate::Factor(1.0))));
        Self::from_each(optimizer, learned)
    }

    /// Nothing is learned.
    pub fn none(graph: &Graph) -> Self {
        let parameters = graph.parameters().iter();
        Self::from_each(Optimizer::sgd(0.0).into(), parameters.map(|_| None))
    }

    /// From what each parameter has, in their order: an optimizer and the rule for its rate, or none where it
    /// is not learned. Parameters that have the same make a group.
    pub fn from_each(
        base: Optimizer,
        each: impl IntoIterator<Item = Option<(Optimizer, Rate)>>,
    ) -> Self {
        let mut groups = Self {
            base,
            list: vec![],
            of: vec![],
        };
        for settings in each {
            let group = settings.map(|(mut optimizer, rate)| {
                optimizer.set_learning_rate(rate.from(base.learning_rate()));
                LearnedGroup {
                    optimizer,
                    rate,
                    began: 0,
                }
            });
            let at = group.map(|group| groups.place(group));
            groups.of.push(at);
        }
        groups
    }

    /// The place of a group in the list.
    fn place(&mut self, group: LearnedGroup) -> usize {
        let known = self.list.iter().position(|other| *other == group);
        known.unwrap_or_else(|| {
            self.list.push(group);
            self.list.len() - 1
        })
    }

    /// The same, where each parameter has been updated so many times of so many altogether. Those that have
    /// learned for longer than others make a group of their own.
    pub fn after(&self, altogether: u64, updates: impl Fn(ParameterId) -> u64) -> Self {
        let mut groups = Self {
            base: self.base,
            list: vec![],
            of: vec![],
        };
        for (at, group) in self.of.iter().enumerate() {
            let group = group.map(|group| LearnedGroup {
                began: altogether.saturating_sub(updates(ParameterId(at))),
                ..self.list[group].clone()
            });
            let at = group.map(|group| groups.place(group));
            groups.of.push(at);
        }
        groups
    }

    /// The groups, in the order of the first parameter of each.
    pub fn list(&self) -> &[LearnedGroup] {
        &self.list
    }

    /// The place of a parameter's group; none where it is not learned.
    pub fn of(&self, id: ParameterId) -> Option<usize> {
        self.of.get(id.0).copied().flatten()
    }

    /// The group of a parameter.
    pub fn group(&self, id: ParameterId) -> Option<&LearnedGroup> {
        self.of(id).map(|at| &self.list[at])
    }

    /// The numbers that a parameter's optimizer keeps for each of its values.
    pub fn state_slots(&self, id: ParameterId) -> usize {
        let group = self.group(id);
        group.map_or(0, |group| group.optimizer.state_slots())
    }

    /// What one of these is before the first update.
    pub fn initial_state(&self, id: ParameterId, slot: usize) -> f64 {
        let group = self.group(id);
        group.map_or(0.0, |group| group.optimizer.initial_state(slot))
    }

    /// A parameter's own count of updates after so many altogether.
    pub fn updates(&self, id: ParameterId, altogether: u64) -> u64 {
        self.group(id).map_or(0, |group| group.updates(altogether))
    }

    /// The optimizer of what no group says anything else of.
    pub fn base(&self) -> &Optimizer {
        &self.base
    }

    /// Refuses hyper-parameters out of their domain.
    pub fn check(&self) -> Result<()> {
        self.base.check()?;
        self.list.iter().try_for_each(|group| match group.rate {
            Rate::Factor(factor) if factor.is_nan() || factor < 0.0 => {
                let reason = format!("must not be below 0, and is {factor}");
                Err(Error::argument("rate_factor", reason))
            }
            Rate::Factor(_) | Rate::Number(_) => group.optimizer.check(),
        })
    }

    /// The same at the beginning, all at this learning rate.
    pub fn at_rate(&self, rate: f64) -> Self {
        let mut groups = self.clone();
        groups.base.set_learning_rate(rate);
        for group in &mut groups.list {
            group.optimizer.set_learning_rate(rate);
            (group.rate, group.began) = (Rate::Number(rate), 0);
        }
        groups
    }

    /// Changes the base of the learning rates: factors follow it, numbers stay. On an error nothing has
    /// changed.
    pub fn set_learning_rate(&mut self, base: f64) -> Result<()> {
        let mut changed = self.clone();
        changed.base.set_learning_rate(base);
        for group in &mut changed.list {
            group.optimizer.set_learning_rate(group.rate.from(base));
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Makes the learning rate of each group what a function makes of its own base, which is a number of its
    /// own or its factor of `base`. On an error nothing has changed.
    pub fn set_rates(&mut self, base: f64, rate: impl Fn(f64) -> Result<f64>) -> Result<()> {
        let mut changed = self.clone();
        changed.base.set_learning_rate(rate(base)?);
        for group in &mut changed.list {
            let rate = rate(group.rate.from(base))?;
            group.optimizer.set_learning_rate(rate);
        }
        changed.check()?;
        *self = changed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(groups: &Groups) -> Vec<f64> {
        let optimizers = groups.list.iter().map(|group| group.optimizer);
        optimizers
            .map(|optimizer| optimizer.learning_rate())
            .collect()
    }

    #[test]
    fn factors_follow_the_base_and_numbers_stay() {
        let sgd = Optimizer::from(Optimizer::sgd(0.5));
        let each = [Rate::Factor(0.5), Rate::Number(0.125), Rate::Factor(0.5)]
            .map(|rate| Some((sgd, rate)));
        let mut groups = Groups::from_each(sgd, each.into_iter().chain([None]));
        assert_eq!(groups.of, [Some(0), Some(1), Some(0), None]);
        assert_eq!(rates(&groups), [0.25, 0.125]);
        groups.set_learning_rate(2.0).unwrap();
        assert_eq!(rates(&groups), [1.0, 0.125]);
        groups.set_rates(2.0, |own| Ok(own * 0.5)).unwrap();
        assert_eq!(rates(&groups), [0.5, 0.0625]);
        let before = groups.clone();
        assert!(groups.set_learning_rate(f64::NAN).is_err());
        assert!(groups.set_rates(1.0, |own| Ok(-own)).is_err());
        assert_eq!(groups, before);
    }

    #[test]
    fn those_that_have_learned_for_longer_are_a_group_of_their_own() {
        let adam = Optimizer::from(Optimizer::adam(0.5));
        let groups = Groups::from_each(adam, [Some((adam, Rate::Factor(1.0))); 3]);
        let later = groups.after(7, |id| [7, 0, 7][id.0]);
        assert_eq!(later.of, [Some(0), Some(1), Some(0)]);
        let own = [0, 1].map(|at| later.list[at].updates(9));
        assert_eq!(own, [9, 2]);
        assert_eq!(groups.after(7, |_| 7), groups);
    }
}
