//! Ranks that are processes of MPI.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use mpi::Threading;
use mpi::environment::Universe;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};

use super::{Reducer, Subnormals, add};
use crate::{Error, Gpu, Result};

/// A rank that is a process of MPI, started by `mpirun` or by what the cluster has for it.
///
/// ```no_run
/// use wgpu_cnn::distributed::{Mpi, Reducer, Subnormals};
/// let mut mpi = Mpi::new()?;
/// let gpu = mpi.gpu()?;
/// let mut values = [mpi.rank() as f32];
/// mpi.sum(&mut values, Subnormals::Kept)?;
/// println!("{} ranks, whose numbers add up to {}", mpi.size(), values[0]);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
///
/// * **Sums** are made by all ranks together. Each adds up a slice of the values, in the order of the ranks, and gives
///   the sum to the others: an exchange of slices (`MPI_Alltoall`), additions, a gathering (`MPI_Allgather`). A rank
///   sends and receives `2 (n - 1) / n` times the values, for `n` ranks, as in a ring, and in pieces of 4 MiB, so that
///   the memory that it takes does not grow with the model.
/// * **Clones** are the same rank. Each trainer of a program takes one; the calls of all of them together are in the
///   same order on each rank.
/// * **A rank that ends** by an error or a panic, or earlier than the others, tells them when its last clone is dropped:
///   their next call is an [`Error::Rank`] with its number. One that is killed, or that calls
///   `std::process::exit`, can tell nobody: there `mpirun` names it and ends the others. A rank that
///   neither ends nor answers is waited for.
/// * **The last clone** is dropped on the thread that called [`Mpi::new`](Self::new), which is that of `MPI_Finalize`:
///   trainers on other threads are dropped before it.
/// * **MPI itself** ends the program, with a message, where the network fails.
#[derive(Clone)]
pub struct Mpi {
    joined: Arc<Mutex<Joined>>,
    rank: usize,
    size: usize,
    local_rank: usize,
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rank,
            size,
            local_rank,
            ..
        } = self;
        f.debug_struct("Mpi")
            .field("rank", rank)
            .field("size", size)
            .field("local_rank", local_rank)
            .finish_non_exhaustive()
    }
}

impl Mpi {
    /// Joins the ranks that `mpirun` has started: a call of all of them, once in a program. A program
    /// that was started without is the only rank.
    ///
    /// # Errors
    /// [`Error::Argument`] where MPI has been initialised before, or can be called from one thread alone.
    pub fn new() -> Result<Self> {
        let universe = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = universe.ok_or_else(|| {
            let reason = "has been initialised already: clone the first `Mpi`";
            Error::argument("MPI", reason)
        })?;
        let world = universe.world();
        if threading < Threading::Serialized {
            let reason = format!("has threads only as {threading:?}, where Serialized is wanted");
            return Err(Error::argument("MPI", reason));
        }
        let [rank, size] = [world.rank(), world.size()].map(|number| number as usize);
        let local_rank = world.split_shared(world.rank()).rank() as usize;
        let joined = Joined {
            universe,
            rank,
            size,
            ended: None,
        };
        Ok(Self {
            joined: Arc::new(Mutex::new(joined)),
            rank,
            size,
            local_rank,
        })
    }

    /// The number of this rank among those of its machine, which share its memory and its adapters.
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// A device for this rank: the ranks of a machine take its fastest adapters in turn
    /// ([`GpuBuilder::in_turn`](crate::GpuBuilder::in_turn)), and share them where there are more ranks.
    ///
    /// # Errors
    /// Those of [`GpuBuilder::build`](crate::GpuBuilder::build).
    pub fn gpu(&self) -> Result<Gpu> {
        Gpu::builder().in_turn(self.local_rank).build()
    }

    /// One call of this process at a time, as MPI wants it.
    fn lock(&self) -> MutexGuard<'_, Joined> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reducer for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()> {
        let call = Call::Sum(subnormals);
        let adding = |sum: &mut [f32], values: &[f32]| add(sum, values, subnormals);
        self.lock().sum(call, values, adding)
    }

    fn sum_f64(&mut self, values: &mut [f64]) -> Result<()> {
        let adding = |sum: &mut [f64], values: &[f64]| {
            let pairs = sum.iter_mut().zip(values);
            pairs.for_each(|(sum, &value)| *sum += value);
        };
        self.lock().sum(Call::SumF64, values, adding)
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()> {
        if root >= self.size {
            let reason = format!("is {root} of {} ranks", self.size);
            return Err(Error::argument("root", reason));
        }
        let joined = &mut *self.lock();
        joined.agree(Call::Broadcast(root), bytes.len())?;
        let world = joined.universe.world();
        for part in bytes.chunks_mut(PIECE) {
            world.process_at_rank(root as i32).broadcast_into(part);
        }
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        self.lock().agree(Call::Barrier, 0)
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.lock().gather(bytes)
    }
}

/// Bytes that go to or come from the ranks at once: enough that their latency is nothing beside it, little
/// beside a model, and far from the 2^31 that MPI counts to.
const PIECE: usize = 4 << 20;

/// What a rank calls. Ranks that do not call the same are told so, before any of their values are mixed.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// Nothing any more.
    End,
    Sum(Subnormals),
    SumF64,
    Broadcast(usize),
    Barrier,
    Gather,
}

impl Call {
    /// What stands for it in a message.
    fn code(self) -> u64 {
        match self {
            Self::End => 0,
            Self::Sum(Subnormals::Kept) => 1,
            Self::Sum(Subnormals::Zero) => 2,
            Self::SumF64 => 3,
            Self::Barrier => 4,
            Self::Gather => 5,
            Self::Broadcast(root) => 6 + root as u64,
        }
    }
}

/// This process in the world of MPI. It leaves it when it is dropped.
struct Joined {
    universe: Universe,
    rank: usize,
    size: usize,
    /// The rank that has ended or was out of step, and how: after that nothing is sent any more.
    ended: Option<(usize, String)>,
}

impl Joined {
    /// Tells the others what is called, of how much, and holds it against what they call. Returns once all have
    /// called something.
    fn agree(&mut self, call: Call, length: usize) -> Result<()> {
        self.check()?;
        let own = [call.code(), length as u64];
        let mut all = vec![0; own.len() * self.size];
        self.universe.world().all_gather_into(&own, &mut all[..]);
        let calls: Vec<_> = all.chunks_exact(own.len()).collect();
        let ends = calls.iter().position(|call| call[0] == Call::End.code());
        if let Some(rank) = ends {
            self.ended = Some((rank, "has ended, before the others".into()));
        } else if let Some(rank) = calls.iter().position(|call| *call != calls[0]) {
            let reason = "calls something else than rank 0, or with another number of values";
            self.ended = Some((rank, reason.into()));
        }
        self.check()
    }

    /// Refuses to go on where the ranks are not in step.
    fn check(&self) -> Result<()> {
        let ended = self.ended.clone();
        ended.map_or(Ok(()), |(rank, reason)| Err(Error::rank(rank, reason)))
    }

    /// Sums in the order of the ranks: each rank makes those of a slice.
    fn sum<T: Pod + Equivalence>(
        &mut self,
        call: Call,
        values: &mut [T],
        add: impl Fn(&mut [T], &[T]),
    ) -> Result<()> {
        self.agree(call, values.len())?;
        let (size, world) = (self.size, self.universe.world());
        if size == 1 {
            return Ok(());
        }
        // Slices of equal lengths, one for each rank.
        let most = (PIECE / size_of::<T>() / size).max(1);
        let most = most.min(values.len().div_ceil(size));
        let mut theirs = vec![T::zeroed(); most * size];
        let mut padded = Vec::new();
        for piece in values.chunks_mut((most * size).max(1)) {
            let slice = piece.len().div_ceil(size);
            let theirs = &mut theirs[..slice * size];
            let is_whole = piece.len() == theirs.len();
            if !is_whole {
                padded.clear();
                padded.extend_from_slice(piece);
                padded.resize(theirs.len(), T::zeroed());
            }
            let piece_or_padded = match is_whole {
                true => &mut *piece,
                false => &mut padded[..],
            };
            world.all_to_all_into(piece_or_padded, theirs);
            let (sum, others) = theirs.split_at_mut(slice);
            others.chunks_exact(slice).for_each(|other| add(sum, other));
            world.all_gather_into(sum, piece_or_padded);
            if !is_whole {
                piece.copy_from_slice(&padded[..piece.len()]);
            }
        }
        Ok(())
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.agree(Call::Gather, bytes.len())?;
        let (size, world) = (self.size, self.universe.world());
        let mut all = vec![Vec::with_capacity(bytes.len()); size];
        let most = (PIECE / size).max(1);
        let mut theirs = vec![0u8; most.min(bytes.len()) * size];
        for part in bytes.chunks(most) {
            let theirs = &mut theirs[..part.len() * size];
            world.all_gather_into(part, theirs);
            let parts = theirs.chunks_exact(part.len());
            all.iter_mut()
                .zip(parts)
                .for_each(|(all, part)| all.extend(part));
        }
        Ok(all)
    }
}

impl Drop for Joined {
    /// Tells the others, who may wait for this rank, before `Universe` waits for them.
    fn drop(&mut self) {
        if self.agree(Call::End, 0).is_err() {
            log::debug!("rank {} has ended", self.rank);
        }
    }
}
