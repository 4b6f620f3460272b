//! A step whose batch is one of several that ranks compute at the same time. What is kept between steps changes
//! at last, once all ranks have come as far.

use super::Reference;
use super::pass::Among;
use super::pending::{add_times, divisor};
use crate::Result;
use crate::engine::Round;
use crate::engine::operators::{fold, normalisations};
use crate::model::{Graph, Inputs, Node, Targets, check_accumulate};
use crate::op::BatchNorm;

impl Reference<f32> {
    /// Sets how many trainers train together.
    pub(crate) fn set_ranks(&mut self, ranks: usize) -> Result<()> {
        check_accumulate(&self.losses, self.accumulate.saturating_mul(ranks))?;
        self.ranks = ranks;
        Ok(())
    }

    /// Says what the ranks compute next.
    pub(crate) fn set_round(&mut self, round: Round) {
        self.round = round;
    }

    /// What the ranks compute at present.
    pub(crate) fn round(&self) -> Round {
        self.round
    }

    /// Rounds that wait for an update.
    pub(crate) fn pending(&self) -> usize {
        self.pending.batches
    }

    /// A batch's losses and gradients, which [`end_round`](Self::end_round) makes part of an update. Gives what
    /// it counts for among those of the round.
    pub(crate) fn begin_round(&mut self, inputs: &Inputs, targets: &Targets) -> Result<f64> {
        let (_, share) = self.backward_pass(inputs, targets, Among::Several, false)?;
        Ok(share)
    }

    /// The means and the unbiased variances of the last batch, layer by layer; empty where no layer has any.
    pub(crate) fn own_statistics(&self) -> Vec<f32> {
        self.tape
            .own_statistics()
            .flatten()
            .flatten()
            .copied()
            .collect()
    }

    /// How many numbers those are.
    pub(crate) fn statistics_len(&self) -> usize {
        let graph = &self.model.graph;
        let layers = normalisations(graph);
        layers
            .map(|(_, node, norm)| 2 * channels(graph, node, norm))
            .sum()
    }

    /// Folds the statistics of each batch of a round into the running ones.
    pub(crate) fn fold_all(&mut self, statistics: &[Vec<f32>]) {
        let graph = &self.model.graph;
        for own in statistics {
            let mut rest = &own[..];
            for (_, node, norm) in normalisations(graph) {
                let (first, len) = (norm.first_statistic(), channels(graph, node, norm));
                let [mean, variance] = [(); 2].map(|()| {
                    let (own, others) = rest.split_at(len.min(rest.len()));
                    rest = others;
                    own
                });
                let ids = &node.parameters[first..];
                let running: Vec<&[f32]> =
                    ids.iter().map(|id| &self.parameters[id.0][..]).collect();
                let folded = fold(norm, [mean, variance], &running);
                for (id, values) in ids.iter().zip(folded) {
                    self.parameters[id.0] = values;
                }
            }
        }
    }

    /// The sums of this rank's gradients, parameter by parameter, which an update takes part in: those of the
    /// batches before, and of one that a [round](Self::begin_round) has computed and that counts for so much.
    pub(crate) fn own_sums(&self, computed: Option<f64>) -> Vec<f64> {
        let zeros = || self.gradients.iter().map(|like| vec![0.0; like.len()]);
        let mut sums: Vec<Vec<f64>> = match self.pending.batches {
            0 => zeros().collect(),
            _ => self.pending.gradients.clone(),
        };
        if let Some(share) = computed {
            add_times(&mut sums, &self.gradients, divisor(share));
        }
        sums.concat()
    }

    /// Ends a round: counts it, adds this rank's own batch to those that wait, or updates the parameters by the
    /// sums of all ranks.
    pub(crate) fn end_round(
        &mut self,
        computed: Option<f64>,
        (round, shares): (Round, &[f64]),
        sums: Option<&[f64]>,
    ) -> Result<()> {
        self.round = Round::default();
        self.forget_forward();
        self.count(round);
        self.add_pending(round, shares, computed);
        match sums {
            Some(sums) => self.end_update(sums),
            None => Ok(()),
        }
    }

    /// Counts a round in which this rank has no batch of its own.
    pub(crate) fn skip_round(&mut self, round: Round, shares: &[f64]) {
        self.round = Round::default();
        self.count(round);
        self.add_pending(round, shares, None);
    }

    /// Updates the parameters by the sums of all ranks.
    pub(crate) fn end_update(&mut self, sums: &[f64]) -> Result<()> {
        let mut rest = sums;
        for own in &mut self.pending.gradients {
            let (sums, others) = rest.split_at(own.len().min(rest.len()));
            own.clear();
            own.extend_from_slice(sums);
            rest = others;
        }
        self.has_gradients = true;
        self.divide_pending();
        self.update()
    }
}

fn channels(graph: &Graph, node: &Node, norm: &BatchNorm) -> usize {
    graph
        .parameter(node.parameters[norm.first_statistic()])
        .shape
        .len()
}
