//! The graph walked forwards and backwards, with what the way back needs of the way there.

use std::borrow::Cow;

use super::Rules;
use crate::Result;
use crate::cpu::{Real, among_workers};
use crate::engine::operators::{Gradients, Kept, Masks, Mode, Saved, Site};
use crate::engine::wanted::Wanted;
use crate::model::{Graph, Node, ValueId};

/// One walk over the graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a, T> {
    pub rules: Rules<T>,
    pub graph: &'a Graph,
    pub parameters: &'a [Vec<T>],
    pub batch: usize,
    /// `None` in evaluation: no dropout, and normalisation with the running statistics.
    pub training: Option<Masks>,
    /// Whether a batch's own mean and variance are folded into the running ones later.
    pub folds_later: bool,
    /// Whether convolutions are computed by the sums that define them alone.
    pub direct_only: bool,
}

impl<'a, T: Real> Walk<'a, T> {
    fn site(&self, node: &Node) -> Site<'a> {
        let mode = match self.training {
            Some(_) => Mode::Training,
            None => Mode::Evaluation,
        };
        Site {
            masks: self.training.unwrap_or_default(),
            folds_later: self.folds_later,
            direct_only: self.direct_only,
            ..Site::new(self.graph, node, self.batch, mode)
        }
    }

    /// The parameters of a node, the running statistics as the layers before it have made them.
    fn parameters<'b>(&self, node: &Node, statistics: &'b [Vec<T>]) -> Vec<&'b [T]>
    where
        'a: 'b,
    {
        let ids = node.parameters.iter();
        let values = ids.map(|id| match statistics.get(id.0) {
            Some(made) if !made.is_empty() => &made[..],
            _ => &self.parameters[id.0][..],
        });
        values.collect()
    }
}

/// What a forward pass leaves for the backward pass, and the backward pass's own memory. Kept
/// between steps for its memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape<T> {
    /// Each value of the graph, `(N, ..)`.
    pub values: Vec<Vec<T>>,
    /// The loss's gradient with respect to each value; empty where none is needed or has arrived.
    pub gradients: Vec<Vec<T>>,
    /// What each node keeps beside its output.
    kept: Vec<Kept<T>>,
    /// The running statistics as the batch makes them, by parameter; empty where it leaves them alone.
    statistics: Vec<Vec<T>>,
    /// Memory for further gradients of values that are used more than once.
    spare: Vec<Vec<T>>,
}

impl<T: Real> Tape<T> {
    /// Computes every value from the inputs.
    pub fn forward(&mut self, walk: Walk<T>, given: &[Cow<'_, [T]>]) -> Result<()> {
        among_workers(|| self.forward_keeping(walk, given, |_, _| true))
    }

    /// Computes the outputs from the inputs; other values are there only while something reads them.
    pub fn forward_alone(&mut self, walk: Walk<T>, given: &[Cow<'_, [T]>]) -> Result<()> {
        let graph = walk.graph;
        let mut last = vec![0; graph.values().count()];
        for (at, node) in graph.nodes().iter().enumerate() {
            node.inputs.iter().for_each(|input| last[input.0] = at);
        }
        let outputs = graph.outputs().iter();
        outputs.for_each(|output| last[output.0] = usize::MAX);
        among_workers(|| self.forward_keeping(walk, given, |value, at| last[value.0] > at))
    }

    /// Computes the values, and gives back the memory of a node's inputs, and of what it keeps for a way
    /// back, unless `keeps` says of an input and the node's place that it stays.
    fn forward_keeping(
        &mut self,
        walk: Walk<T>,
        given: &[Cow<'_, [T]>],
        keeps: impl Fn(ValueId, usize) -> bool,
    ) -> Result<()> {
        let graph = walk.graph;
        self.statistics.resize(graph.parameters().len(), Vec::new());
        self.statistics.iter_mut().for_each(Vec::clear);
        self.values.resize(graph.values().count(), Vec::new());
        self.kept.resize_with(graph.nodes().len(), Kept::default);
        for (input, given) in graph.inputs().iter().zip(given) {
            let value = &mut self.values[input.0];
            value.clear();
            value.extend_from_slice(given);
        }
        for constant in graph.constants() {
            let value = &mut self.values[constant.value.0];
            value.clear();
            let examples = (0..walk.batch).flat_map(|_| constant.values.iter());
            value.extend(examples.map(|&value| T::nearest(value)));
        }
        for (at, (node, kept)) in graph.nodes().iter().zip(&mut self.kept).enumerate() {
            let mut y = std::mem::take(&mut self.values[node.output.0]);
            y.resize(walk.batch * graph.shape(node.output).len(), T::zero());
            let (site, x) = (walk.site(node), inputs(&self.values, node));
            let parameters = walk.parameters(node, &self.statistics);
            (walk.rules.forward)(&node.op, &site, &x, &parameters, &mut y, kept)?;
            let ids = node.parameters.iter();
            let statistics = ids.filter(|&&id| graph.parameter(id).is_statistic());
            let statistics = statistics.filter(|_| !walk.folds_later);
            for (id, running) in statistics.zip(&kept.running) {
                self.statistics[id.0].clone_from(running);
            }
            self.values[node.output.0] = y;
            for &input in &node.inputs {
                if !keeps(input, at) {
                    self.values[input.0] = Vec::new();
                    *kept = Kept::default();
                }
            }
        }
        Ok(())
    }

    /// Makes way for the gradients of another pass.
    pub fn begin_gradients(&mut self) {
        self.gradients.resize(self.values.len(), Vec::new());
        self.gradients.iter_mut().for_each(Vec::clear);
    }

    /// Adds the gradient that a loss has with respect to an output.
    pub fn add_gradient(&mut self, output: ValueId, gradient: &[T]) {
        let sum = &mut self.gradients[output.0];
        match sum.is_empty() {
            true => sum.extend_from_slice(gradient),
            false => add(sum, gradient),
        }
    }

    /// Computes the wanted gradients from the outputs': of parameters into `gradients`, of values
    /// into the tape.
    pub fn backward(
        &mut self,
        walk: Walk<T>,
        wanted: &Wanted,
        gradients: &mut [Vec<T>],
    ) -> Result<()> {
        among_workers(|| self.backward_here(walk, wanted, gradients))
    }

    fn backward_here(
        &mut self,
        walk: Walk<T>,
        wanted: &Wanted,
        gradients: &mut [Vec<T>],
    ) -> Result<()> {
        let mut begun = vec![false; gradients.len()];
        for (index, node) in walk.graph.nodes().iter().enumerate().rev() {
            let gy = std::mem::take(&mut self.gradients[node.output.0]);
            if !gy.is_empty() && wanted.needs(node.output) {
                let places = (&mut *gradients, &mut begun[..]);
                self.node_backward(walk, wanted, (index, node), &gy, places)?;
            }
            self.gradients[node.output.0] = gy;
        }
        Ok(())
    }

    fn node_backward(
        &mut self,
        walk: Walk<T>,
        wanted: &Wanted,
        (index, node): (usize, &Node),
        gy: &[T],
        (gradients, begun): (&mut [Vec<T>], &mut [bool]),
    ) -> Result<()> {
        // The first gradient of a value is written in place, further ones add up.
        let mut to_inputs = Vec::new();
        for (position, &input) in node.inputs.iter().enumerate() {
            let ValueId(at) = input;
            let again = node.inputs[..position].contains(&input);
            let first = self.gradients[at].is_empty() && !again;
            let place = wanted.needs(input).then(|| {
                let mut place = match first {
                    true => std::mem::take(&mut self.gradients[at]),
                    false => self.spare.pop().unwrap_or_default(),
                };
                place.resize(self.values[at].len(), T::zero());
                place
            });
            to_inputs.push((at, first, place));
        }
        let ids = || node.parameters.iter().copied();
        let mut to_parameters: Vec<_> = ids()
            .map(|id| {
                wanted.parameter(id).then(|| match begun[id.0] {
                    // Another layer has the same parameter.
                    true => vec![T::zero(); gradients[id.0].len()],
                    false => std::mem::take(&mut gradients[id.0]),
                })
            })
            .collect();
        let saved = Saved {
            x: inputs(&self.values, node),
            parameters: walk.parameters(node, &[]),
            y: &self.values[node.output.0],
            kept: &self.kept[index],
        };
        let inputs = to_inputs.iter_mut();
        let mut places = Gradients {
            inputs: inputs.map(|(.., place)| place.as_deref_mut()).collect(),
            parameters: to_parameters.iter_mut().map(|p| p.as_deref_mut()).collect(),
        };
        let backward = walk.rules.backward;
        let done = backward(&node.op, &walk.site(node), &saved, gy, &mut places);
        for (id, place) in ids().zip(to_parameters) {
            let Some(place) = place else { continue };
            match std::mem::replace(&mut begun[id.0], true) {
                true => add(&mut gradients[id.0], &place),
                false => gradients[id.0] = place,
            }
        }
        for (at, first, place) in to_inputs {
            let Some(place) = place else { continue };
            if first {
                self.gradients[at] = place;
            } else {
                add(&mut self.gradients[at], &place);
                self.spare.push(place);
            }
        }
        done
    }

    /// A batch's own means and unbiased variances, layer by layer, where they are folded later.
    pub fn own_statistics(&self) -> impl Iterator<Item = &[Vec<T>]> {
        let kept = self.kept.iter().map(|kept| &kept.running[..]);
        kept.filter(|own| !own.is_empty())
    }

    /// Makes the running statistics those that the last forward pass of training made.
    pub fn update_statistics(&self, parameters: &mut [Vec<T>]) {
        let made = self.statistics.iter().zip(parameters);
        for (made, parameter) in made.filter(|(made, _)| !made.is_empty()) {
            parameter.copy_from_slice(made);
        }
    }
}

/// A node's inputs among the values.
fn inputs<'a, T>(values: &'a [Vec<T>], node: &Node) -> Vec<&'a [T]> {
    let inputs = node.inputs.iter();
    inputs.map(|input| &values[input.0][..]).collect()
}

fn add<T: Real>(sum: &mut [T], term: &[T]) {
    let pairs = sum.iter_mut().zip(term);
    pairs.for_each(|(sum, &term)| *sum += term);
}
