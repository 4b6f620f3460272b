//! A step that several ranks make together.

use super::Ranks;
use super::frame::{Call, Done, Head};
use crate::engine::Round;
use crate::model::{Inputs, Targets, check_not_due};
use crate::train::Trainer;
use crate::train::trainer::Backend;
use crate::{Error, Result};

/// The sums of a rank's gradients, and then of those of all.
enum Sums {
    Gpu(Vec<f32>),
    Cpu(Vec<f64>),
}

/// What a rank has of a round.
struct Own {
    /// What its batch counts for, if it has one.
    share: Option<f64>,
    statistics: Vec<f32>,
    /// Where an update is due.
    sums: Option<Sums>,
}

/// What a rank's last batch counts for among those of all: nothing where it had none, and where the last step
/// has failed.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::train) struct LastShare(Option<f64>);

impl Trainer {
    /// The ranks, where there are several.
    pub(in crate::train) fn several(&self) -> Option<Ranks> {
        self.made.ranks.clone().filter(|ranks| ranks.size() > 1)
    }

    /// This trainer's rank among those that [train together](crate::TrainerBuilder::distributed), from 0 on.
    pub fn rank(&self) -> usize {
        self.made.ranks.as_ref().map_or(0, Ranks::rank)
    }

    /// How many trainers [train together](crate::TrainerBuilder::distributed): 1 for one by itself.
    pub fn ranks(&self) -> usize {
        self.made.ranks.as_ref().map_or(1, Ranks::size)
    }

    /// Whether files are this rank's to write.
    pub(in crate::train) fn writes(&self) -> bool {
        self.rank() == 0
    }

    /// Waits until all ranks have called it: until rank 0 has written a file, for example. On one rank it does
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Rank`] with a rank that is gone, or calls something else.
    pub fn wait_for_ranks(&mut self) -> Result<()> {
        match self.several() {
            Some(ranks) => ranks.meet(&self.head(Call::Barrier, None)).map(drop),
            None => Ok(()),
        }
    }

    /// Compares all ranks' trainers once more, as when they were made: their options, and every bit of their
    /// weights and of the optimizer's numbers. For programs that [set](Self::set_parameter) parameters in the
    /// midst of training. On one rank it does nothing.
    ///
    /// # Errors
    /// [`Error::Rank`] with the first rank that is not as rank 0, and in what; the device's errors.
    #[cfg(feature = "native")]
    pub fn check_ranks(&mut self) -> Result<()> {
        pollster::block_on(self.check_ranks_async())
    }

    /// [`check_ranks`](Self::check_ranks) for asynchronous programs.
    pub async fn check_ranks_async(&mut self) -> Result<()> {
        let Some(ranks) = self.several() else {
            return Ok(());
        };
        let ready = self.check_not_averaged();
        self.agree_on(&ranks, Call::Check, ready).await
    }

    /// The [loss](Self::loss) of the last step over the batches of all ranks, the same on each: a mean is that
    /// over all of their rows that count, or, of several losses, over all examples. On one rank it is
    /// [`loss`](Self::loss).
    ///
    /// # Errors
    /// Those of [`loss`](Self::loss), and [`Error::Rank`].
    #[cfg(feature = "native")]
    pub fn loss_of_all_ranks(&mut self) -> Result<f32> {
        pollster::block_on(self.loss_of_all_ranks_async())
    }

    /// [`loss_of_all_ranks`](Self::loss_of_all_ranks) for asynchronous programs.
    pub async fn loss_of_all_ranks_async(&mut self) -> Result<f32> {
        let Some(ranks) = self.several() else {
            return self.loss_async().await;
        };
        let own = match (
            self.last_share.0,
            self.losses.iter().any(|of| of.loss.is_none()),
        ) {
            // A rank without a batch has no loss, and counts for nothing.
            (None, false) => Ok(0.0),
            (_, _) => self.loss_async().await,
        };
        let own = own.map_err(|error| ranks.own(error));
        let told = ranks.meet(&self.head(Call::Loss, own.as_ref().err()));
        let own = own?;
        told?;
        let share = self.last_share.0;
        let told = [
            share.is_some().into(),
            share.unwrap_or(0.0).to_bits(),
            f64::from(own).to_bits(),
        ];
        let all = ranks.gather_numbers(&told)?;
        let sums = self.losses.iter().all(|loss| loss.is_sum());
        let (mut sum, mut count) = (0.0, 0.0);
        for told in all.iter().filter(|told| told[0] != 0) {
            let [share, loss] = [told[1], told[2]].map(f64::from_bits);
            // Where every row of a batch is ignored its mean is no number, and counts for nothing.
            if share != 0.0 {
                (sum, count) = (sum + share * loss, count + share);
            }
        }
        match (sums, all.iter().any(|told| told[0] != 0)) {
            (_, false) => {
                let reason = "no step has been made, or the last one has failed";
                Err(Error::argument("loss", reason))
            }
            (true, true) => Ok(sum as f32),
            (false, true) => Ok((sum / count) as f32),
        }
    }

    /// What this rank is about to do.
    pub(super) fn head(&self, call: Call, failed: Option<&Error>) -> Head {
        let pending = match &self.backend {
            Backend::Gpu(plan) => plan.pending(),
            Backend::Cpu(reference) => reference.pending(),
        };
        Head {
            call,
            failed: failed.map(Error::to_string),
            examples: 0,
            batches: self.batches(),
            updates: self.updates(),
            pending: pending as u64,
            keeps: false,
            learning_rate: self.learning_rate(),
        }
    }

    /// Meets the other ranks before each computes on the examples that it has, and keeps a state with them where
    /// one is due. Gives the round.
    pub(in crate::train) async fn meet(
        &mut self,
        ranks: &Ranks,
        forward: bool,
        examples: &Result<usize>,
    ) -> Result<Round> {
        let call = if forward { Call::Forward } else { Call::Step };
        let head = Head {
            examples: *examples.as_ref().unwrap_or(&0) as u64,
            keeps: self.due().is_some(),
            ..self.head(call, examples.as_ref().err())
        };
        let all = ranks.meet(&head);
        if let Err(own) = examples {
            return Err(ranks.own(own.clone()));
        }
        let all = all?;
        let keeps = all.iter().any(|head| head.keeps);
        let all: Vec<u64> = all.iter().map(|head| head.examples).collect();
        if let Some(rank) = all.iter().position(|&own| own > self.batch as u64) {
            let reason = format!("has {} examples in a batch of {}", all[rank], self.batch);
            return Err(Error::rank(rank, reason));
        }
        let sum = |examples: &[u64]| {
            let sum = examples
                .iter()
                .try_fold(0_u64, |sum, &own| sum.checked_add(own));
            sum.ok_or_else(|| Error::argument("batch", "has too many examples on all ranks"))
        };
        let round = Round {
            before: sum(&all[..ranks.rank()])?,
            examples: sum(&all)?,
            batches: all.iter().filter(|&&examples| examples > 0).count() as u64,
            begun: true,
        };
        if keeps {
            self.keep_together(ranks).await?;
        }
        self.set_round(round);
        Ok(round)
    }

    /// Keeps a state: on all ranks, or on none where one of them cannot, so that all go on from the same moment.
    async fn keep_together(&mut self, ranks: &Ranks) -> Result<()> {
        let due = self.due();
        let state = match &due {
            Some(due) => self.state_of(due).await.map(Some),
            None => Ok(None),
        };
        let done = Done {
            failed: state.as_ref().err().map(Error::to_string),
            ..Done::default()
        };
        let told = ranks.tell(&done, 0);
        let state = state.map_err(|error| ranks.own(error))?;
        told?;
        if let (Some(due), Some(state)) = (due, state) {
            self.keep(due, state);
        }
        Ok(())
    }

    fn set_round(&mut self, round: Round) {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_round(round),
            Backend::Cpu(reference) => reference.set_round(round),
        }
    }

    /// A step on this rank's batch, or on none.
    pub(in crate::train) async fn step_together(
        &mut self,
        ranks: &Ranks,
        inputs: Inputs<'_>,
        targets: Targets,
    ) -> Result<()> {
        let ready = self.ready(&inputs, &targets);
        let round = self.meet(ranks, false, &ready).await?;
        let examples = ready?;
        if round.batches == 0 {
            self.set_round(Round::default());
            return Ok(());
        }
        let done = self.compute(ranks, examples, &inputs, &targets).await;
        self.last_share = match &done {
            Ok((own, _)) => LastShare(own.share),
            Err(_) => LastShare(None),
        };
        let ended = match done {
            Ok((own, all)) => self.end(round, own, &all).await,
            Err(error) => Err(error),
        };
        self.set_round(Round::default());
        ended.map_err(|error| ranks.own(error))
    }

    /// What comes before a step. Gives the examples of its batch, 0 for none.
    fn ready(&mut self, inputs: &Inputs<'_>, targets: &Targets) -> Result<usize> {
        self.follow_schedule()?;
        let none = inputs.is_empty() && targets.is_empty();
        for loss in &self.losses {
            loss.function()?;
        }
        let examples = match none {
            true => 0,
            false => self.check_batch(inputs, targets)?.examples,
        };
        if examples > 0 {
            self.model().graph.check_training(examples)?;
        }
        Ok(examples)
    }

    /// Computes this rank's part of a round, and hears what the others have. Where an update is due, the sums
    /// of the gradients are those of all ranks.
    async fn compute(
        &mut self,
        ranks: &Ranks,
        examples: usize,
        inputs: &Inputs<'_>,
        targets: &Targets,
    ) -> Result<(Own, Vec<Done>)> {
        let own = self.compute_own(ranks, examples, inputs, targets).await;
        let (mut own, all) = self.tell(ranks, own)?;
        if let Some(sums) = &mut own.sums {
            sums.add_up(ranks)?;
        }
        Ok((own, all))
    }

    async fn compute_own(
        &mut self,
        ranks: &Ranks,
        examples: usize,
        inputs: &Inputs<'_>,
        targets: &Targets,
    ) -> Result<Own> {
        let due = self.head(Call::Step, None).pending + 1 >= self.made.options.accumulate as u64;
        let batch = crate::engine::Batch {
            inputs,
            examples,
            targets: &targets.0,
        };
        let (mut share, mut statistics) = (None, vec![]);
        if examples > 0 {
            share = Some(match &mut self.backend {
                Backend::Gpu(plan) => plan.begin_round(&batch).await?,
                Backend::Cpu(reference) => reference.begin_round(inputs, targets)?,
            });
            statistics = self.own_statistics().await?;
        }
        let sums = match due {
            true => Some(self.own_sums(ranks, share).await?),
            false => None,
        };
        Ok(Own {
            share,
            statistics,
            sums,
        })
    }

    async fn own_sums(&mut self, ranks: &Ranks, share: Option<f64>) -> Result<Sums> {
        Ok(match &mut self.backend {
            Backend::Gpu(plan) => {
                Sums::Gpu(plan.own_sums(share.is_some(), ranks.subnormals).await?)
            }
            Backend::Cpu(reference) => Sums::Cpu(reference.own_sums(share)),
        })
    }

    async fn own_statistics(&self) -> Result<Vec<f32>> {
        match &self.backend {
            Backend::Gpu(plan) => plan.own_statistics().await,
            Backend::Cpu(reference) => Ok(reference.own_statistics()),
        }
    }

    /// Tells the others what this rank has computed, and hears it of them.
    fn tell(&self, ranks: &Ranks, own: Result<Own>) -> Result<(Own, Vec<Done>)> {
        let statistics = match &self.backend {
            Backend::Gpu(plan) => plan.statistics_len(),
            Backend::Cpu(reference) => reference.statistics_len(),
        };
        let done = match &own {
            Ok(own) => Done {
                failed: None,
                share: own.share,
                statistics: own.statistics.clone(),
            },
            Err(error) => Done {
                failed: Some(error.to_string()),
                ..Done::default()
            },
        };
        let all = ranks.tell(&done, statistics);
        Ok((own?, all?))
    }

    /// Makes a round part of what is kept.
    async fn end(&mut self, round: Round, own: Own, all: &[Done]) -> Result<()> {
        self.fold(all).await?;
        let shares: Vec<f64> = all.iter().filter_map(|done| done.share).collect();
        let (counted, computed) = ((round, &shares[..]), own.share);
        match (&mut self.backend, own.sums) {
            (Backend::Gpu(plan), Some(Sums::Gpu(sums))) => {
                plan.end_round(computed.is_some(), counted, Some(&sums))
                    .await
            }
            (Backend::Cpu(reference), Some(Sums::Cpu(sums))) => {
                reference.end_round(computed, counted, Some(&sums))
            }
            (Backend::Gpu(plan), _) => plan.end_round(computed.is_some(), counted, None).await,
            (Backend::Cpu(reference), _) => reference.end_round(computed, counted, None),
        }
    }

    /// Folds the statistics of the ranks' batches into the running ones, in the order of the ranks.
    async fn fold(&mut self, all: &[Done]) -> Result<()> {
        let batches = all.iter().filter(|done| done.share.is_some());
        let statistics: Vec<Vec<f32>> = batches.map(|done| done.statistics.clone()).collect();
        match &mut self.backend {
            Backend::Gpu(plan) => plan.fold_all(&statistics).await,
            Backend::Cpu(reference) => {
                reference.fold_all(&statistics);
                Ok(())
            }
        }
    }

    /// Ends the forward pass of a loss of one's own: the statistics of all ranks' batches are folded.
    pub(in crate::train) async fn forwarded_together(
        &mut self,
        ranks: &Ranks,
        examples: usize,
        done: Result<()>,
    ) -> Result<()> {
        let own = match done {
            Ok(()) if examples > 0 => self.own_statistics().await.map(|statistics| Own {
                share: Some(1.0),
                statistics,
                sums: None,
            }),
            Ok(()) => Ok(Own {
                share: None,
                statistics: vec![],
                sums: None,
            }),
            Err(error) => Err(error),
        };
        let told = self.tell(ranks, own);
        let folded = match told {
            Ok((_, all)) => self.fold(&all).await,
            Err(error) => Err(error),
        };
        if folded.is_err() {
            // Nothing is there to go back from, on any rank.
            self.forget_forward();
            self.set_round(Round::default());
        }
        folded.map_err(|error| ranks.own(error))
    }

    /// Ends the round of a rank without a batch of its own, where it is one: there is nothing to go back from.
    /// `none` says that the caller has no gradients.
    pub(in crate::train) fn skips_backward(&mut self, none: bool) -> Result<bool> {
        let (round, forwarded) = match &self.backend {
            Backend::Gpu(plan) => (plan.round(), plan.forwarded()),
            Backend::Cpu(reference) => (reference.round(), reference.forwarded()),
        };
        if !round.begun || forwarded.is_ok() || !none {
            return Ok(false);
        }
        if round.batches == 0 {
            self.set_round(Round::default());
            return Ok(true);
        }
        let pending = self.head(Call::Forward, None).pending as usize;
        check_not_due(self.made.options.accumulate, pending)?;
        let shares = vec![1.0; round.batches as usize];
        match &mut self.backend {
            Backend::Gpu(plan) => plan.skip_round(round, &shares),
            Backend::Cpu(reference) => reference.skip_round(round, &shares),
        }
        Ok(true)
    }

    /// An update from the batches of all ranks that wait for one.
    pub(in crate::train) async fn update_together(&mut self, ranks: &Ranks) -> Result<()> {
        let ready = self.follow_schedule();
        let head = self.head(Call::Update, ready.as_ref().err());
        let told = ranks.meet(&head);
        ready?;
        told?;
        if head.pending == 0 {
            return Ok(());
        }
        let sums = self.own_sums(ranks, None).await;
        let own = sums.map(|sums| Own {
            share: None,
            statistics: vec![],
            sums: Some(sums),
        });
        let ended = match self.tell(ranks, own) {
            Ok((own, _)) => self.end_update(ranks, own.sums).await,
            Err(error) => Err(error),
        };
        ended.map_err(|error| ranks.own(error))
    }

    async fn end_update(&mut self, ranks: &Ranks, sums: Option<Sums>) -> Result<()> {
        let Some(mut sums) = sums else {
            return Ok(());
        };
        sums.add_up(ranks)?;
        match (&mut self.backend, sums) {
            (Backend::Gpu(plan), Sums::Gpu(sums)) => plan.end_update(&sums).await,
            (Backend::Cpu(reference), Sums::Cpu(sums)) => reference.end_update(&sums),
            (Backend::Gpu(_), Sums::Cpu(_)) | (Backend::Cpu(_), Sums::Gpu(_)) => Ok(()),
        }
    }
}

impl Sums {
    /// Makes them those of all ranks.
    fn add_up(&mut self, ranks: &Ranks) -> Result<()> {
        match self {
            Self::Gpu(sums) => ranks.sum(sums),
            Self::Cpu(sums) => ranks.sum_f64(sums),
        }
    }
}
