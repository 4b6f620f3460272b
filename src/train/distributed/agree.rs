//! What ranks must have in common, told by hashes when their trainers are made.

use super::frame::{Call, Head};
use super::{Ranks, Subnormals};
use crate::engine::subnormals;
use crate::train::Trainer;
use crate::train::checkpoint::hash_of;
use crate::train::trainer::Backend;
use crate::{Error, Result};

fn hash(text: &str) -> u64 {
    hash_of(text.bytes())
}

/// A trainer that is as those of all ranks are, where there are several. Where it could not be made the others,
/// which wait for it, are told why.
pub(in crate::train) async fn agreed(
    ranks: Option<Ranks>,
    made: Result<Trainer>,
) -> Result<Trainer> {
    match made {
        Ok(mut trainer) => {
            trainer.agree().await?;
            Ok(trainer)
        }
        Err(error) => {
            // What are no ranks is part of what is refused.
            if let Some(ranks) = ranks.filter(|of| of.check().is_ok() && of.size() > 1) {
                let head = Head::of_trainer(Call::Begin, Some(&error));
                // The others' answer changes nothing.
                let _ = ranks.meet(&head);
                return Err(ranks.own(error));
            }
            Err(error)
        }
    }
}

impl Trainer {
    /// Refuses to train with ranks that are not as this one, where there are several.
    async fn agree(&mut self) -> Result<()> {
        let Some(mut ranks) = self.several() else {
            return Ok(());
        };
        let own = match &self.backend {
            Backend::Gpu(plan) => subnormals(plan.gpu()).await,
            Backend::Cpu(_) => Ok(Subnormals::Kept),
        };
        let zero = own == Ok(Subnormals::Zero);
        self.agree_on(&ranks, Call::Begin, own.map(drop)).await?;
        let all = ranks.gather_numbers(&[zero.into()])?;
        ranks.subnormals = match all.iter().any(|zero| zero[0] != 0) {
            true => Subnormals::Zero,
            false => Subnormals::Kept,
        };
        self.made.ranks = Some(ranks);
        Ok(())
    }

    /// Compares what the trainers of all ranks are and hold.
    pub(super) async fn agree_on(
        &self,
        ranks: &Ranks,
        call: Call,
        ready: Result<()>,
    ) -> Result<()> {
        let state = match &ready {
            Ok(()) => self.state_hash().await,
            Err(_) => Ok(0),
        };
        let ready = ready.and(state.clone().map(drop));
        let told = ranks.meet(&Head::of_trainer(call, ready.as_ref().err()));
        ready.map_err(|error| ranks.own(error))?;
        told?;
        let mut topics = self.topics();
        topics.push(("weights".into(), state?));
        // Names first: ranks with other ones tell other numbers of hashes.
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        let library = hash(env!("CARGO_PKG_VERSION"));
        let first = [
            ("version of this library", library),
            ("list of what the ranks agree on", hash(&names.join("\n"))),
        ];
        compare(ranks, &first.map(|(name, hash)| (name.into(), hash)))?;
        compare(ranks, &topics)
    }

    /// What is compared, by name.
    fn topics(&self) -> Vec<(String, u64)> {
        let mut topics: Vec<(String, u64)> = vec![];
        let mut add = |name: &str, text: String| topics.push((name.into(), hash(&text)));
        let kind = match &self.backend {
            Backend::Gpu(_) => "a GPU",
            Backend::Cpu(_) => "the CPU",
        };
        add("kind of device", kind.into());
        for (name, text) in self.described() {
            add(&name, text);
        }
        let options = &self.made.options;
        add("seed", options.seed.to_string());
        add("average", format!("{:?}", options.average));
        add("learning rate", format!("{:?}", self.base_rate));
        let counts = [self.batches(), self.updates(), self.trained()];
        add("place in the training", format!("{counts:?}"));
        topics.extend(self.made.agreed.iter().cloned());
        topics
    }
}

/// Refuses ranks of which a hash is another than that of rank 0.
fn compare(ranks: &Ranks, topics: &[(String, u64)]) -> Result<()> {
    let own: Vec<u64> = topics.iter().map(|(_, hash)| *hash).collect();
    let all = ranks.gather_numbers(&own)?;
    for (rank, theirs) in all.iter().enumerate() {
        let pairs = theirs.iter().zip(&all[0]).zip(topics);
        let mut other = pairs.filter(|((theirs, first), _)| theirs != first);
        if let Some((_, (name, _))) = other.next() {
            let reason = format!("its {name} is not that of rank 0");
            return Err(Error::rank(rank, reason));
        }
    }
    Ok(())
}
