//! Training on several devices: what ranks say to each other.
//!
//! A *rank* is one of several trainers of the same model that train together, each on its own part of every
//! batch, in a thread or in a process of its own. They meet in a [`Reducer`], which
//! [`TrainerBuilder::distributed`](crate::TrainerBuilder::distributed) is given.

mod agree;
mod builder;
mod frame;
#[cfg(feature = "mpi")]
mod mpi;
mod ranks;
mod solo;
mod step;
#[cfg(feature = "native")]
mod team;

pub(in crate::train) use agree::agreed;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub(in crate::train) use ranks::Ranks;
pub use solo::Solo;
pub(in crate::train) use step::LastShare;
#[cfg(feature = "native")]
pub use team::{Member, Team};

use crate::{Error, Result};

/// What joins the ranks of a training: an existing engine, such as MPI, or threads of one process.
///
/// # Contract
///
/// * Every method but [`rank`](Self::rank) and [`size`](Self::size) is a call of all ranks, in the same order on
///   each, with slices of the same lengths. It returns on each once all have called it.
/// * The same call gives the same bits on every rank, and the same bits every time: sums are made in the order
///   of the ranks, `((v0 + v1) + v2) + ...`, never in that of arrival.
/// * Where a rank is gone, answers nothing for too long or calls something else, the others get an
///   [`Error::Rank`] that names it. After any error the ranks are out of step, and each later call is an error,
///   too.
/// * No method panics.
pub trait Reducer: Send {
    /// This rank, from 0 to one below [`size`](Self::size).
    fn rank(&self) -> usize;

    /// How many ranks there are, at least 1.
    fn size(&self) -> usize;

    /// Replaces the values by their sums over all ranks, of each place by itself, in the order of the ranks:
    /// [`add`] of the values of rank 1 to those of rank 0, then of those of rank 2, and so on.
    ///
    /// # Errors
    /// [`Error::Rank`] with the rank that is to blame.
    fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()>;

    /// Gives every rank the bytes of `root`.
    ///
    /// # Errors
    /// [`Error::Rank`] with the rank that is to blame, [`Error::Argument`] where there is no rank `root`.
    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()>;

    /// Returns once all ranks have called it.
    ///
    /// # Errors
    /// [`Error::Rank`] with the rank that is to blame.
    fn barrier(&mut self) -> Result<()>;

    /// Gives every rank the bytes of all, in the order of the ranks. A training makes at least one small one of
    /// these with each step, which waits for the slowest rank.
    ///
    /// # Errors
    /// [`Error::Rank`] with the rank that is to blame.
    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (rank, mut all) = (self.rank(), Vec::new());
        for root in 0..self.size() {
            let mut part = match root == rank {
                true => bytes.to_vec(),
                false => vec![0; bytes.len()],
            };
            self.broadcast(&mut part, root)?;
            all.push(part);
        }
        Ok(all)
    }

    /// As [`sum`](Self::sum) for the CPU reference, which adds gradients up in `f64`, and keeps subnormal numbers.
    ///
    /// # Errors
    /// [`Error::Rank`] with the rank that is to blame.
    fn sum_f64(&mut self, values: &mut [f64]) -> Result<()> {
        for part in values.chunks_mut(1 << 16) {
            let all = self.gather(bytemuck::cast_slice(part))?;
            for (rank, bytes) in all.iter().enumerate() {
                let theirs = bytes.chunks_exact(8).map(f64_of);
                if bytes.len() != size_of_val(part) {
                    return Err(Error::rank(rank, "gave another number of values"));
                }
                let pairs = part.iter_mut().zip(theirs);
                match rank {
                    0 => pairs.for_each(|(sum, value)| *sum = value),
                    _ => pairs.for_each(|(sum, value)| *sum += value),
                }
            }
        }
        Ok(())
    }
}

fn f64_of(bytes: &[u8]) -> f64 {
    let mut value = [0; 8];
    value.copy_from_slice(bytes);
    f64::from_ne_bytes(value)
}

/// What becomes of numbers below the smallest normal one, 1.2e-38, in a sum.
///
/// A shader may keep them or take them for zero, as its device does. A sum over ranks does as the device's own
/// sum over batches, so that the bits are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subnormals {
    /// They are kept, as on every CPU.
    Kept,
    /// They are zero, with their sign, wherever one is added and where one would be the sum.
    Zero,
}

impl Subnormals {
    /// The number that stands for this one.
    fn of(self, value: f32) -> f32 {
        match self {
            Self::Zero if value.is_subnormal() => 0.0_f32.copysign(value),
            Self::Zero | Self::Kept => value,
        }
    }
}

/// Adds a rank's values to the sum of those before it: what every [`Reducer`] adds with.
///
/// ```
/// use wgpu_cnn::distributed::{Subnormals, add};
/// let mut sum = [1.0, 1e-40, 3.0];
/// add(&mut sum, &[0.5, 0.0, -1.0], Subnormals::Zero);
/// assert_eq!(sum, [1.5, 0.0, 2.0]);
/// ```
///
/// The longer slice's last values stay as they are.
pub fn add(sum: &mut [f32], values: &[f32], subnormals: Subnormals) {
    let pairs = sum.iter_mut().zip(values);
    match subnormals {
        Subnormals::Kept => pairs.for_each(|(sum, &value)| *sum += value),
        Subnormals::Zero => pairs.for_each(|(sum, &value)| {
            *sum = subnormals.of(subnormals.of(*sum) + subnormals.of(value));
        }),
    }
}
