//! The ranks as a trainer knows them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{Done, Frame, Head};
use super::{Reducer, Subnormals};
use crate::{Error, Result};

/// A reducer that the trainers of a rank share.
#[derive(Clone)]
pub(in crate::train) struct Ranks {
    reducer: Arc<Mutex<Box<dyn Reducer>>>,
    rank: usize,
    size: usize,
    /// What the devices' own sums do.
    pub subnormals: Subnormals,
}

impl std::fmt::Debug for Ranks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.size)
    }
}

impl Ranks {
    pub fn new(reducer: Box<dyn Reducer>) -> Self {
        Self {
            rank: reducer.rank(),
            size: reducer.size(),
            reducer: Arc::new(Mutex::new(reducer)),
            subnormals: Subnormals::Kept,
        }
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// Refuses what are no ranks.
    pub fn check(&self) -> Result<()> {
        const MOST: usize = 1 << 16;
        let (rank, size) = (self.rank, self.size);
        match rank < size && size <= MOST {
            true => Ok(()),
            false => {
                let reason =
                    format!("is of rank {rank} of {size}: counted from 0, of at most {MOST}");
                Err(Error::argument("reducer", reason))
            }
        }
    }

    fn reducer(&self) -> MutexGuard<'_, Box<dyn Reducer>> {
        // What is behind it keeps its own order.
        self.reducer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of all ranks, as many of each.
    pub fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.reducer().gather(bytes)?;
        if all.len() != self.size {
            let reason = format!(
                "gathers of {} ranks, where there are {}",
                all.len(),
                self.size
            );
            return Err(Error::argument("reducer", reason));
        }
        match all.iter().position(|part| part.len() != bytes.len()) {
            None => Ok(all),
            Some(rank) => {
                let (theirs, own) = (all[rank].len(), bytes.len());
                let reason = format!("tells {theirs} bytes, where rank {} tells {own}", self.rank);
                Err(Error::rank(rank, reason))
            }
        }
    }

    pub fn sum(&self, values: &mut [f32]) -> Result<()> {
        self.reducer().sum(values, self.subnormals)
    }

    pub fn sum_f64(&self, values: &mut [f64]) -> Result<()> {
        self.reducer().sum_f64(values)
    }

    /// What all ranks are about to do, once it is the same.
    pub(super) fn meet(&self, own: &Head) -> Result<Vec<Head>> {
        let all = self.gather(own.frame().bytes())?;
        let all = all.iter().enumerate();
        let all = all.map(|(rank, bytes)| Head::read(rank, bytes));
        let all: Vec<Head> = all.collect::<Result<_>>()?;
        for (rank, other) in all.iter().enumerate() {
            if other.call != own.call {
                let (theirs, here) = (other.call.name(), own.call.name());
                let reason = format!("calls {theirs}, where rank {} calls {here}", self.rank);
                return Err(Error::rank(rank, reason));
            }
        }
        self.check_failed(all.iter().map(|head| head.failed.as_deref()))?;
        for (rank, other) in all.iter().enumerate() {
            let places = [
                ("updates", other.updates, own.updates),
                ("batches", other.batches, own.batches),
                ("batches of an update", other.pending, own.pending),
            ];
            let differs = places.iter().find(|(_, theirs, here)| theirs != here);
            if let Some((what, theirs, here)) = differs {
                let reason = format!(
                    "has made {theirs} {what}, where rank {} has made {here}",
                    self.rank
                );
                return Err(Error::rank(rank, reason));
            }
            let [theirs, here] = [other, own].map(|head| head.learning_rate);
            if theirs.to_bits() != here.to_bits() {
                let reason = format!(
                    "has a learning rate of {theirs}, where that of rank {} is {here}",
                    self.rank
                );
                return Err(Error::rank(rank, reason));
            }
        }
        Ok(all)
    }

    /// What all ranks have computed, once all of them have.
    pub(super) fn tell(&self, own: &Done, statistics: usize) -> Result<Vec<Done>> {
        let all = self.gather(own.frame(statistics).bytes())?;
        let all: Vec<Done> = all.iter().map(|bytes| Done::read(bytes)).collect();
        self.check_failed(all.iter().map(|done| done.failed.as_deref()))?;
        Ok(all)
    }

    /// Numbers of all ranks, as many of each.
    pub fn gather_numbers(&self, own: &[u64]) -> Result<Vec<Vec<u64>>> {
        let frame = own
            .iter()
            .fold(Frame::default(), |frame, &number| frame.number(number));
        let all = self.gather(frame.bytes())?;
        let numbers = all.iter().map(|bytes| {
            let mut read = super::frame::Read(bytes);
            own.iter().map(|_| read.number()).collect()
        });
        Ok(numbers.collect())
    }

    /// The first rank that cannot go on.
    fn check_failed<'a>(&self, all: impl Iterator<Item = Option<&'a str>>) -> Result<()> {
        for (rank, failed) in all.enumerate() {
            if let Some(reason) = failed {
                return Err(Error::rank(rank, reason));
            }
        }
        Ok(())
    }

    /// An error of this rank, which says so where it is the device that is lost.
    pub fn own(&self, error: Error) -> Error {
        match error {
            Error::DeviceLost { reason } => Error::DeviceLost {
                reason: format!("that of rank {}: {reason}", self.rank),
            },
            other => other,
        }
    }
}
