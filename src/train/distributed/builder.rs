//! How a [`Trainer`](crate::Trainer) becomes one of several.

use super::{Ranks, Reducer};
use crate::TrainerBuilder;
use crate::train::checkpoint::hash_of;

impl TrainerBuilder {
    /// Makes the trainer one of several that train together, each on its own batches: with every update they
    /// add up their gradients and change their parameters by the same sums, so that all hold the same bits.
    ///
    /// K ranks with a batch each make the bits, on one device and driver, that one trainer makes with
    /// [`accumulate(K)`](Self::accumulate) on the same batches in the order of the ranks: parameters, the
    /// optimizer's numbers, running statistics, dropout's masks. Losses are means over the batches of all ranks
    /// as over those of an update, ignored labels and class weights included, and the
    /// [clipped norm](Self::clip_norm) is that of all. One rank makes the bits that it makes without this.
    ///
    /// | | |
    /// |---|---|
    /// | with [`accumulate`](Self::accumulate) | a rank adds its own batches up first, then come the sums in the order of the ranks; masks and statistics are those of batches dealt out one by one: the first of each rank, then the second |
    /// | batch normalisation | by the statistics of a rank's own batch; the running ones take those of all batches in that order |
    /// | a rank without a batch | takes part by a [`step`](crate::Trainer::step) on none, empty inputs and targets, as at the end of an epoch; so it does by a [`forward`](crate::Trainer::forward) and a [`backward`](crate::Trainer::backward), of nothing, too, where values are held |
    /// | [`Trainer::loss`](crate::Trainer::loss) | is that of the rank's own batch; [`loss_of_all_ranks`](crate::Trainer::loss_of_all_ranks) that of all |
    /// | [`Trainer::evaluate`](crate::Trainer::evaluate) and predictions | are the rank's own, without the others |
    /// | files | are written by rank 0 alone: on the others [`checkpoint`](crate::Trainer::checkpoint) and [`save`](crate::Trainer::save) write nothing, and wait for nothing |
    ///
    /// All ranks make the same calls in the same order: of a [`step`](crate::Trainer::step) or the
    /// [`forward`](crate::Trainer::forward) of a loss of one's own, an [`update`](crate::Trainer::update), the
    /// making of a trainer, a [`rebuild`](crate::Trainer::rebuild), a [`recover`](crate::Trainer::recover).
    /// They are held to each other when a trainer is made: library, model, options, optimizer, seed, weights,
    /// and what the program adds by [`ranks_agree_on`](Self::ranks_agree_on). What differs is an
    /// [`Error::Rank`](crate::Error::Rank) with the rank and the name of it, and so it is for the others where one cannot
    /// make its trainer.
    ///
    /// Where a rank's batch is refused, its device is lost or it is gone, the step is an
    /// [`Error::Rank`](crate::Error::Rank) on the others, and every trainer is as it was before, but that the losses and
    /// gradients of the last batch may be those of the one that did not count. What a rank meets alone, once all have
    /// told what they have computed, the others hear in their next call: a loss of its device, that is. After a
    /// device is lost all ranks go on by [`recover`](crate::Trainer::recover), with states of the same moment;
    /// after a rank is gone by new trainers that [resume](Self::resume) the last checkpoint. With as many ranks
    /// as before it goes on with the same bits. With others it does within rounding where ranks times
    /// [`accumulate`](Self::accumulate) stay what they were: two ranks and `accumulate(2)` for four. Else updates are of
    /// more or fewer batches, another training. A warning is logged.
    ///
    /// Ranks wait for each other within these calls, and hold their thread meanwhile: so does each of their `_async`
    /// forms, which a program with an executor had better await on a thread of its own.
    ///
    /// Two ranks in threads of one process:
    ///
    /// ```
    /// use wgpu_cnn::distributed::Team;
    /// use wgpu_cnn::{Model, Optimizer, Trainer};
    /// let model = Model::builder([2]).dense(8).tanh().dense(2).build()?;
    /// let batches = [([0.0, 0.0, 1.0, 1.0], [0u8, 0]), ([0.0, 1.0, 1.0, 0.0], [1, 1])];
    /// let trained = Team::new(2)?.run(|member, rank| {
    ///     let trainer = Trainer::builder(model.clone()).optimizer(Optimizer::adam(0.05));
    ///     let mut trainer = trainer.batch(2).distributed(member).on_cpu()?;
    ///     for _ in 0..100 {
    ///         trainer.step(&batches[rank].0, &batches[rank].1)?;
    ///     }
    ///     assert!(trainer.loss_of_all_ranks()? < 0.1);
    ///     trainer.parameter("0.weight")
    /// })?;
    /// assert_eq!(trained[0], trained[1]);
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn distributed(mut self, reducer: impl Reducer + 'static) -> Self {
        let ranks = Ranks::new(Box::new(reducer));
        self.options.ranks = ranks.size();
        self.ranks = Some(ranks);
        self
    }

    /// Adds something that must be the same on all ranks, under a name: the order of the data, the command
    /// line. It is compared when the trainer is made, and what differs is an
    /// [`Error::Rank`](crate::Error::Rank). Means nothing on one rank.
    ///
    /// ```
    /// use wgpu_cnn::distributed::Team;
    /// use wgpu_cnn::{Model, Trainer};
    /// let model = Model::builder([2]).dense(2).build()?;
    /// let refused = Team::new(2)?.run(|member, rank| {
    ///     let trainer = Trainer::builder(model.clone()).distributed(member);
    ///     trainer.ranks_agree_on("data order", format!("shuffled by seed {rank}")).on_cpu()
    /// });
    /// let refused = refused.unwrap_err().to_string();
    /// assert_eq!(refused, "rank 1: its data order is not that of rank 0");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn ranks_agree_on(mut self, what: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().iter().copied();
        self.agreed.push((what.into(), hash_of(value)));
        self
    }
}
