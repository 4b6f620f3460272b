//! How long each kernel of a training step takes, and what that is of the adapter's peaks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Result;
use crate::gpu::record::Dispatch;
use crate::gpu::timer::{Timer, now, since};
use crate::gpu::{Clock, Gpu, Peaks};

use super::{Batch, Plan};

/// Where the time of a training step goes: what [`Trainer::profile`](crate::Trainer::profile)
/// found. Displays as a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// The adapter by name, back end and driver.
    pub adapter: String,
    /// Examples in a batch.
    pub batch: usize,
    /// What the kernels were timed with.
    pub clock: Clock,
    /// What the adapter can do at best.
    pub peaks: Peaks,
    /// A step's kernels in the order of their execution.
    pub entries: Vec<ProfileEntry>,
    /// Dispatches that have to wait for those before them, in an ordinary step: the driver is told so with a
    /// barrier. A small network's kernels are short beside these.
    pub barriers: usize,
    /// An ordinary step by the host's clock, from the upload of the batch to the end of the last
    /// kernel; the median of several. `None` in the browser.
    pub step: Option<Duration>,
    /// Updates of training that the profile made.
    pub steps: usize,
}

/// A kernel of a step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProfileEntry {
    /// The layer that it works for, as in error messages.
    pub layer: String,
    /// The kernel.
    pub kernel: &'static str,
    /// How often a step runs it: once, or with each of the batches of an update.
    pub runs: usize,
    /// Time of all runs of a step, the median of several steps.
    pub time: Duration,
    /// Additions and multiplications of these runs, where the kernel is made of little else; 0 for
    /// kernels that memory bounds.
    pub flops: u64,
    /// The additions and multiplications of the sums that define the results, where a fast algorithm makes fewer of
    /// them; 0 for all other kernels, and for those of such an algorithm but the last.
    pub direct_flops: u64,
    /// The bytes of what these runs read and write, each counted once. What memory moves may be
    /// more, where a kernel reads something again, or less, where a cache still holds it.
    pub bytes: u64,
}

impl ProfileEntry {
    /// Additions and multiplications in thousands of millions per second.
    pub fn gflops(&self) -> f64 {
        per_nanosecond(self.flops, self.time)
    }

    /// [`bytes`](Self::bytes) in thousands of millions per second.
    pub fn gigabytes_per_second(&self) -> f64 {
        per_nanosecond(self.bytes, self.time)
    }

    /// The part of the adapter's peak of arithmetic.
    pub fn share_of_arithmetic(&self, peaks: &Peaks) -> f64 {
        self.gflops() / peaks.gflops
    }

    /// The part of the adapter's peak of bandwidth. It may be above 1 where a cache holds what the
    /// kernel reads.
    pub fn share_of_bandwidth(&self, peaks: &Peaks) -> f64 {
        self.gigabytes_per_second() / peaks.gigabytes_per_second
    }

    /// Adds another entry to this one, saturating: a program may have changed either.
    fn add(&mut self, other: &Self) {
        self.runs = self.runs.saturating_add(other.runs);
        self.time = self.time.saturating_add(other.time);
        self.flops = self.flops.saturating_add(other.flops);
        self.direct_flops = self.direct_flops.saturating_add(other.direct_flops);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl Profile {
    /// The sum over all kernels. Its `layer` is empty and its `kernel` is `all`.
    pub fn total(&self) -> ProfileEntry {
        let mut total = ProfileEntry {
            layer: String::new(),
            kernel: "all",
            runs: 0,
            time: Duration::ZERO,
            flops: 0,
            direct_flops: 0,
            bytes: 0,
        };
        self.entries.iter().for_each(|entry| total.add(entry));
        total
    }

    /// The sum for each kernel over the layers that it works for, the longest first. `layer` is
    /// empty.
    pub fn by_kernel(&self) -> Vec<ProfileEntry> {
        let mut sums: Vec<ProfileEntry> = Vec::new();
        for entry in &self.entries {
            match sums.iter_mut().find(|sum| sum.kernel == entry.kernel) {
                Some(sum) => sum.add(entry),
                None => sums.push(ProfileEntry {
                    layer: String::new(),
                    ..entry.clone()
                }),
            }
        }
        sums.sort_by_key(|sum| std::cmp::Reverse(sum.time));
        sums
    }
}

fn per_nanosecond(count: u64, time: Duration) -> f64 {
    match time.as_nanos() {
        0 => 0.0,
        nanoseconds => count as f64 / nanoseconds as f64,
    }
}

/// Updates of each kind that are timed.
const ROUNDS: usize = 5;

/// A profile on its way. Whoever trains makes the steps, in the order of [`Profiling::next`].
pub(crate) struct Profiling {
    timer: Timer,
    peaks: Peaks,
    /// Of each kernel.
    bytes: Vec<u64>,
    examples: usize,
    /// Updates that have been begun.
    updates: usize,
    began: Option<Instant>,
    /// Of ordinary updates.
    steps: Vec<Duration>,
    /// The dispatches in the order in which a timed update first runs them.
    order: Vec<usize>,
    /// All that a timed update runs.
    sequence: Vec<usize>,
    /// Of each timed update, how often each dispatch ran, and how long that took.
    rounds: Vec<BTreeMap<usize, (usize, Duration)>>,
}

/// How the batches of an update are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As ever.
    Ordinary,
    /// Kernel by kernel.
    Timed,
}

impl Profiling {
    /// Measures what a profile is held against.
    pub async fn begin(plan: &Plan, examples: usize) -> Result<Self> {
        let gpu = plan.gpu();
        let peaks = gpu.peaks_async().await?;
        let bytes = bytes(plan, examples)?;
        Ok(Self {
            timer: Timer::new(gpu, bytes.len()).await?,
            peaks,
            bytes,
            examples,
            updates: 0,
            began: None,
            steps: vec![],
            order: vec![],
            sequence: vec![],
            rounds: vec![],
        })
    }

    /// Whether another update is to be made.
    pub fn goes_on(&self) -> bool {
        self.updates <= 2 * ROUNDS
    }

    /// How the next update is to be made: one to warm up, then ordinary and timed ones in turns.
    pub fn next(&mut self, gpu: &Gpu) -> Result<Pace> {
        let pace = match self.updates {
            0 => Pace::Ordinary,
            update if update % 2 == 1 => Pace::Ordinary,
            _ => Pace::Timed,
        };
        self.updates += 1;
        match pace {
            Pace::Ordinary => {
                gpu.wait(None)?;
                self.began = now();
            }
            Pace::Timed => self.rounds.push(BTreeMap::new()),
        }
        Ok(pace)
    }

    /// A batch of the update that [`next`](Self::next) has begun.
    pub async fn step(&mut self, pace: Pace, plan: &mut Plan, batch: &Batch<'_>) -> Result<()> {
        if pace == Pace::Ordinary {
            return plan.step(batch).await;
        }
        let first = self.rounds.len() == 1;
        for (at, time) in plan.timed_step(&self.timer, batch).await? {
            let Some(round) = self.rounds.last_mut() else {
                break;
            };
            let (runs, sum) = round.entry(at).or_default();
            if first && *runs == 0 {
                self.order.push(at);
            }
            if first {
                self.sequence.push(at);
            }
            *runs += 1;
            *sum += time;
        }
        Ok(())
    }

    /// The end of an update.
    pub fn end(&mut self, pace: Pace, gpu: &Gpu) -> Result<()> {
        if pace == Pace::Ordinary {
            gpu.wait(None)?;
            // The first one warms up.
            let time = since(self.began.take()).filter(|_| self.updates > 1);
            self.steps.extend(time);
        }
        Ok(())
    }

    /// What has been found, once no further update is to be made.
    pub fn finish(self, plan: &Plan) -> Profile {
        let dispatches = plan.dispatches(self.examples);
        let entry = |&at: &usize| {
            let dispatch = &dispatches[at];
            let first = self.rounds.first().and_then(|times| times.get(&at));
            let runs = first.map_or(0, |(runs, _)| *runs);
            let times = self.rounds.iter();
            let times = times.filter_map(|times| Some(times.get(&at)?.1));
            ProfileEntry {
                layer: dispatch.label.clone(),
                kernel: dispatch.kernel.name,
                runs,
                time: median(times.collect()).unwrap_or_default(),
                flops: dispatch.flops * runs as u64,
                direct_flops: dispatch.stands_for * runs as u64,
                bytes: self.bytes[at] * runs as u64,
            }
        };
        // Chunks of one piece of work are one entry: they differ in nothing but their params, and have the same regions,
        // whose bytes count once.
        let mut entries: Vec<(&Dispatch, ProfileEntry)> = Vec::new();
        for at in &self.order {
            let dispatch = &dispatches[*at];
            let same = |(other, _): &&mut (&Dispatch, ProfileEntry)| {
                let kernel = other.kernel.name == dispatch.kernel.name;
                kernel && other.label == dispatch.label && other.bindings == dispatch.bindings
            };
            match entries.iter_mut().find(same) {
                Some((_, known)) => {
                    let bytes = known.bytes;
                    known.add(&entry(at));
                    known.bytes = bytes;
                }
                None => entries.push((dispatch, entry(at))),
            }
        }
        Profile {
            adapter: plan.gpu().described(),
            batch: self.examples,
            clock: self.timer.clock(),
            peaks: self.peaks,
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
            barriers: plan.barriers(&self.sequence),
            step: median(self.steps),
            steps: self.updates,
        }
    }
}

/// The bytes of the buffers that each of a plan's kernels has to do with for a batch of this size.
fn bytes(plan: &Plan, batch: usize) -> Result<Vec<u64>> {
    // The plan's own regions are those of a whole batch.
    let fitting = plan.dispatches_planned_for(batch)?;
    Ok(fitting.iter().map(bound).collect())
}

/// Bytes of the regions that a kernel has bound, each counted once.
fn bound(dispatch: &Dispatch) -> u64 {
    let mut regions = Vec::new();
    for region in dispatch.regions() {
        if !regions.contains(region) {
            regions.push(*region);
        }
    }
    regions.iter().map(|region| region.size).sum()
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}
