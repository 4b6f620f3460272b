//! Ranks in threads of one process, which meet in its memory.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Reducer, Subnormals, add};
use crate::error::words_of_panic;
use crate::{Error, Gpu, Result};

/// Ranks in threads of one process: several devices of one machine, without MPI.
///
/// ```
/// use wgpu_cnn::distributed::{Reducer, Subnormals, Team};
/// let sums = Team::new(3)?.run(|mut member, rank| {
///     let mut values = [rank as f32, 1.0];
///     member.sum(&mut values, Subnormals::Kept)?;
///     Ok(values)
/// })?;
/// assert_eq!(sums, [[3.0, 3.0]; 3]);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
///
/// A member that is dropped, as by a trainer that is, or by a panic, is gone: whoever waits for it, or comes to
/// do so, gets an [`Error::Rank`] at once. One that only does not come is given up after the
/// [`timeout`](Self::timeout).
#[derive(Debug)]
pub struct Team {
    size: usize,
    timeout: Duration,
}

/// A rank of a [`Team`].
#[derive(Debug)]
pub struct Member {
    rank: usize,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    timeout: Duration,
    meeting: Mutex<Meeting>,
    changed: Condvar,
}

/// Where all ranks hand something in, and take what all have handed in.
#[derive(Debug)]
struct Meeting {
    /// How many there have been.
    number: u64,
    /// What each rank has handed in to this one.
    given: Vec<Option<Given>>,
    /// What all had handed in to the last one.
    last: Result<Arc<[Given]>>,
    /// Why a rank will not come any more.
    gone: Vec<Option<String>>,
    /// Why there is no further one: a rank, and what is wrong with it.
    broken: Option<(usize, String)>,
}

#[derive(Debug, Clone)]
struct Given {
    call: Call,
    values: Values,
}

/// What is called. All ranks call the same.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Sum(Subnormals),
    /// The sums of so many places, of which each rank has made some.
    Parts(usize),
    SumF64,
    Broadcast {
        root: usize,
    },
    Gather,
    Barrier,
}

impl Call {
    fn name(self) -> String {
        match self {
            Self::Sum(subnormals) => format!("sum, of subnormal numbers {subnormals:?}"),
            Self::Parts(places) => format!("the end of a sum of {places}"),
            Self::SumF64 => "sum_f64".into(),
            Self::Broadcast { root } => format!("broadcast, from rank {root}"),
            Self::Gather => "gather".into(),
            Self::Barrier => "barrier".into(),
        }
    }
}

#[derive(Debug, Clone)]
enum Values {
    None,
    Bytes(Arc<[u8]>),
    Singles(Arc<[f32]>),
    /// Of a length that is the rank's own.
    Part(Arc<[f32]>),
    Doubles(Arc<[f64]>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::None | Self::Part(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Singles(values) => values.len(),
            Self::Doubles(values) => values.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::None | Self::Singles(_) | Self::Part(_) | Self::Doubles(_) => &[],
        }
    }

    fn singles(&self) -> &[f32] {
        match self {
            Self::Singles(values) | Self::Part(values) => values,
            Self::None | Self::Bytes(_) | Self::Doubles(_) => &[],
        }
    }

    fn doubles(&self) -> &[f64] {
        match self {
            Self::Doubles(values) => values,
            Self::None | Self::Bytes(_) | Self::Singles(_) | Self::Part(_) => &[],
        }
    }
}

impl Team {
    /// A team of so many ranks, 1 to 1024: each has a thread.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of them.
    pub fn new(size: usize) -> Result<Self> {
        if !(1..=1024).contains(&size) {
            let reason = format!("is of {size} ranks: 1 to 1024 are possible");
            return Err(Error::argument("team", reason));
        }
        let timeout = Duration::from_secs(300);
        Ok(Self { size, timeout })
    }

    /// Sets how long a rank waits for another one, which may be at work, before it is given up. A device that
    /// compiles its kernels, or measures them, takes its time. Default 5 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The ranks in their order, for threads of one's own.
    pub fn members(self) -> Vec<Member> {
        let shared = Arc::new(Shared {
            size: self.size,
            timeout: self.timeout,
            meeting: Mutex::new(Meeting {
                number: 0,
                given: (0..self.size).map(|_| None).collect(),
                last: Ok(Arc::new([])),
                gone: vec![None; self.size],
                broken: None,
            }),
            changed: Condvar::new(),
        });
        let members = (0..self.size).map(|rank| Member {
            rank,
            shared: shared.clone(),
        });
        members.collect()
    }

    /// Runs the same on all ranks, each in a thread of its own, and gives what each of them gives. What runs is
    /// given its rank's member and the rank.
    ///
    /// # Errors
    /// The first error, in the order of the ranks, that is not about another rank; a panic is an
    /// [`Error::Rank`].
    pub fn run<T: Send>(self, work: impl Fn(Member, usize) -> Result<T> + Sync) -> Result<Vec<T>> {
        let work = |member: Member| {
            let rank = member.rank;
            let done = catch_unwind(AssertUnwindSafe(|| work(member, rank)));
            done.unwrap_or_else(|panic| {
                let reason = format!("has panicked: {}", words_of_panic(&*panic));
                Err(Error::rank(rank, reason))
            })
        };
        let results: Vec<(usize, Result<T>)> = thread::scope(|scope| {
            let threads = self.members().into_iter().map(|member| {
                let rank = member.rank;
                let named = thread::Builder::new().name(format!("rank {rank}"));
                (rank, named.spawn_scoped(scope, || work(member)))
            });
            // All are there before any is waited for.
            let threads: Vec<_> = threads.collect();
            let results = threads.into_iter().map(|(rank, thread)| {
                let result = match thread {
                    Ok(thread) => thread
                        .join()
                        .unwrap_or_else(|_| Err(Error::rank(rank, "has panicked"))),
                    Err(error) => Err(Error::rank(rank, format!("has no thread: {error}"))),
                };
                (rank, result)
            });
            results.collect()
        });
        let about_others = |rank: usize, error: &Error| match error {
            Error::Rank { rank: other, .. } => *other != rank,
            #[allow(clippy::wildcard_enum_match_arm)] // none of them is about ranks
            _ => false,
        };
        let mut first: Option<(usize, Error)> = None;
        let mut all = Vec::new();
        for (rank, result) in results {
            match result {
                Ok(value) => all.push(value),
                Err(error) => {
                    let replaces = first.as_ref().is_none_or(|(at, first)| {
                        about_others(*at, first) && !about_others(rank, &error)
                    });
                    if replaces {
                        first = Some((rank, error));
                    }
                }
            }
        }
        first.map_or(Ok(all), |(_, error)| Err(error))
    }

    /// [`run`](Self::run) with a device for each rank, in their order.
    ///
    /// ```no_run
    /// use wgpu_cnn::distributed::Team;
    /// use wgpu_cnn::{Gpu, Model, Trainer};
    /// # let batches: Vec<Vec<(Vec<f32>, Vec<u8>)>> = vec![];
    /// let model = Model::builder([1, 28, 28]).conv2d(8, 5).relu().flatten().dense(10).build()?;
    /// let gpus = ["RTX 4090", "RX 7900"].map(|name| Gpu::builder().adapter(name).build());
    /// let gpus = gpus.into_iter().collect::<Result<Vec<_>, _>>()?;
    /// Team::new(gpus.len())?.run_on(&gpus, |member, gpu, rank| {
    ///     let mut trainer = Trainer::builder(model.clone()).distributed(member).on(gpu)?;
    ///     for (images, labels) in &batches[rank] {
    ///         trainer.step(images, labels)?;
    ///     }
    ///     trainer.checkpoint("trained.safetensors") // rank 0 writes it
    /// })?;
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`run`](Self::run), and [`Error::Argument`] for another number of devices than there are ranks.
    pub fn run_on<T: Send>(
        self,
        gpus: &[Gpu],
        work: impl Fn(Member, &Gpu, usize) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        if gpus.len() != self.size {
            let reason = format!("are {} for {} ranks", gpus.len(), self.size);
            return Err(Error::argument("gpus", reason));
        }
        self.run(|member, rank| work(member, &gpus[rank], rank))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Meeting> {
        // Nothing is done under the lock that could leave a meeting half changed.
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meeting {
    fn error(&self) -> Option<Error> {
        let (rank, reason) = self.broken.as_ref()?;
        Some(Error::rank(*rank, reason.clone()))
    }

    /// Finds the first rank that is gone, of those that have not come to this meeting.
    fn find_gone(&mut self) {
        let absent = self.given.iter().zip(&self.gone).enumerate();
        let mut gone = absent.filter(|(_, (given, _))| given.is_none());
        let gone = gone.find_map(|(rank, (_, gone))| Some((rank, gone.clone()?)));
        if self.broken.is_none() {
            self.broken = gone;
        }
    }

    /// Ends a meeting to which all have come.
    fn conclude(&mut self) {
        let all: Vec<Given> = self.given.iter_mut().filter_map(Option::take).collect();
        let first = &all[0];
        let differs = all
            .iter()
            .position(|given| given.call != first.call || given.values.len() != first.values.len());
        self.number += 1;
        if let Some(rank) = differs {
            let words = |given: &Given| format!("{} of {}", given.call.name(), given.values.len());
            let (theirs, others) = (words(&all[rank]), words(first));
            let reason = format!("calls {theirs}, where rank 0 calls {others}");
            self.broken = Some((rank, reason));
        }
        self.last = self.error().map_or(Ok(all.into()), Err);
    }
}

impl Member {
    /// Hands something in, and gives what all ranks have handed in.
    fn meet(&self, call: Call, values: Values) -> Result<Arc<[Given]>> {
        let shared = &*self.shared;
        let mut meeting = shared.lock();
        if let Some(error) = meeting.error() {
            return Err(error);
        }
        let number = meeting.number;
        meeting.given[self.rank] = Some(Given { call, values });
        if meeting.given.iter().all(Option::is_some) {
            meeting.conclude();
            shared.changed.notify_all();
        }
        let begun = Instant::now();
        loop {
            if meeting.number > number {
                // What has come of it is taken, whatever has been said of ranks since.
                return meeting.last.clone();
            }
            meeting.find_gone();
            if let Some(error) = meeting.error() {
                shared.changed.notify_all();
                return Err(error);
            }
            let left = shared.timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let absent = meeting.given.iter().position(Option::is_none);
                let waited = shared.timeout;
                let reason = format!("has not come to {} in {waited:?}", call.name());
                meeting.broken = Some((absent.unwrap_or(self.rank), reason));
                continue;
            }
            let waited = shared.changed.wait_timeout(meeting, left);
            meeting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The places whose sums a rank makes.
    fn part(&self, rank: usize, len: usize) -> Range<usize> {
        let size = self.shared.size as u128;
        let at = |rank: usize| (len as u128 * rank as u128 / size) as usize;
        at(rank)..at(rank + 1)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let reason = match thread::panicking() {
            true => "is gone: its thread has panicked",
            false => "is gone: its trainer has been dropped",
        };
        let mut meeting = self.shared.lock();
        meeting.gone[self.rank] = Some(reason.into());
        drop(meeting);
        self.shared.changed.notify_all();
    }
}

impl Reducer for Member {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.shared.size
    }

    fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()> {
        let call = Call::Sum(subnormals);
        let all = self.meet(call, Values::Singles((&*values).into()))?;
        // Each rank adds up some of the places.
        let part = self.part(self.rank, values.len());
        let mut own = all[0].values.singles()[part.clone()].to_vec();
        for other in &all[1..] {
            add(&mut own, &other.values.singles()[part.clone()], subnormals);
        }
        let parts = self.meet(Call::Parts(values.len()), Values::Part(own.into()))?;
        for (rank, given) in parts.iter().enumerate() {
            let part = self.part(rank, values.len());
            values[part].copy_from_slice(given.values.singles());
        }
        Ok(())
    }

    fn sum_f64(&mut self, values: &mut [f64]) -> Result<()> {
        let all = self.meet(Call::SumF64, Values::Doubles((&*values).into()))?;
        values.copy_from_slice(all[0].values.doubles());
        for other in &all[1..] {
            let pairs = values.iter_mut().zip(other.values.doubles());
            pairs.for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()> {
        let size = self.shared.size;
        if root >= size {
            return Err(Error::argument(
                "root",
                format!("is {root} of {size} ranks"),
            ));
        }
        let all = self.meet(Call::Broadcast { root }, Values::Bytes((&*bytes).into()))?;
        bytes.copy_from_slice(all[root].values.bytes());
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        self.meet(Call::Barrier, Values::None).map(drop)
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.meet(Call::Gather, Values::Bytes(bytes.into()))?;
        Ok(all
            .iter()
            .map(|given| given.values.bytes().to_vec())
            .collect())
    }
}
