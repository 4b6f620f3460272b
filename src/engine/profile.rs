//! How long each kernel of a training step takes, and what that is of the adapter's peaks.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Result;
use crate::gpu::record::Dispatch;
use crate::gpu::timer::{Timer, now, since};
use crate::gpu::{Clock, Peaks};

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
    /// An ordinary step by the host's clock, from the upload of the batch to the end of the last
    /// kernel; the median of several. `None` in the browser.
    pub step: Option<Duration>,
    /// Steps of training that the profile made, each with an update.
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

/// Steps of each kind that are timed.
const ROUNDS: usize = 5;

/// Trains a plan on a batch that has been checked, and times that.
pub(crate) async fn profile(plan: &mut Plan, of: &Batch<'_>) -> Result<Profile> {
    let batch = of.examples;
    let gpu = plan.gpu().clone();
    let peaks = gpu.peaks_async().await?;
    update(plan, of).await?;
    let bytes = bytes(plan, batch)?;
    let timer = Timer::new(&gpu, bytes.len()).await?;
    let (mut steps, mut rounds) = (Vec::new(), Vec::new());
    // The dispatches in the order in which a step first runs them.
    let mut order = Vec::new();
    for _ in 0..ROUNDS {
        gpu.wait(None)?;
        let begin = now();
        update(plan, of).await?;
        gpu.wait(None)?;
        steps.extend(since(begin));
        let mut times = BTreeMap::<usize, (usize, Duration)>::new();
        loop {
            for (at, time) in plan.timed_step(&timer, of).await? {
                let (runs, sum) = times.entry(at).or_default();
                if rounds.is_empty() && *runs == 0 {
                    order.push(at);
                }
                *runs += 1;
                *sum += time;
            }
            if !plan.is_pending() {
                break;
            }
        }
        rounds.push(times);
    }
    let dispatches = plan.dispatches(batch);
    let entry = |at: usize| {
        let dispatch = &dispatches[at];
        let runs = rounds[0].get(&at).map_or(0, |(runs, _)| *runs);
        let times = rounds.iter().filter_map(|times| Some(times.get(&at)?.1));
        ProfileEntry {
            layer: dispatch.label.clone(),
            kernel: dispatch.kernel.name,
            runs,
            time: median(times.collect()).unwrap_or_default(),
            flops: dispatch.flops * runs as u64,
            bytes: bytes[at] * runs as u64,
        }
    };
    Ok(Profile {
        adapter: gpu.described(),
        batch,
        clock: timer.clock(),
        peaks,
        entries: order.into_iter().map(entry).collect(),
        step: median(steps),
        steps: 1 + 2 * ROUNDS,
    })
}

/// Steps until the parameters are updated.
async fn update(plan: &mut Plan, of: &Batch<'_>) -> Result<()> {
    plan.step(of).await?;
    while plan.is_pending() {
        plan.step(of).await?;
    }
    Ok(())
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
