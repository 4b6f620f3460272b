//! How long the device takes over its work: by its own timestamps, or by the wall clock.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::program::Program;
use super::record::Dispatch;
use super::{Buffer, Gpu};
use crate::{Error, Result};

/// What times of the device were measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// The device's own timestamps, at the beginning and the end of each kernel.
    Timestamps,
    /// The host's clock, around a submission of each kernel alone and the wait for its end: some
    /// microseconds too much.
    Wall,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timestamps => "timestamps",
            Self::Wall => "wall clock",
        })
    }
}

/// Passes that a query set has room for, with a query for the beginning and the end of each.
const PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// Times passes. The query sets and buffers that it takes for that are its own.
pub(crate) struct Timer {
    gpu: Gpu,
    /// `None` for the wall clock.
    queries: Option<Queries>,
}

struct Queries {
    sets: Vec<wgpu::QuerySet>,
    resolved: Buffer,
    read_back: Buffer,
}

impl Timer {
    /// A timer of up to so many passes at once.
    pub async fn new(gpu: &Gpu, passes: usize) -> Result<Self> {
        let timestamps = gpu
            .device()
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY);
        let queries = match timestamps {
            true => Some(Queries::new(gpu, passes).await?),
            false => None,
        };
        if queries.is_none() && now().is_none() {
            let reason = "the device has no timestamps, and the browser no clock";
            return Err(Error::argument("time", reason));
        }
        let gpu = gpu.clone();
        Ok(Self { gpu, queries })
    }

    pub fn clock(&self) -> Clock {
        match self.queries {
            Some(_) => Clock::Timestamps,
            None => Clock::Wall,
        }
    }

    /// Runs passes one after the other, each some ranges of the dispatches, and says how long each
    /// of them took.
    pub async fn time(
        &self,
        program: &Program,
        dispatches: &[Dispatch],
        passes: &[Vec<Range<usize>>],
    ) -> Result<Vec<Duration>> {
        match &self.queries {
            Some(queries) => queries.time(&self.gpu, program, dispatches, passes).await,
            None => self.by_wall_clock(program, dispatches, passes).await,
        }
    }

    async fn by_wall_clock(
        &self,
        program: &Program,
        dispatches: &[Dispatch],
        passes: &[Vec<Range<usize>>],
    ) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(passes.len());
        for ranges in passes {
            let encode = || {
                let mut encoder = self
                    .gpu
                    .device()
                    .create_command_encoder(&Default::default());
                program.encode(&mut encoder, dispatches, ranges);
                encoder.finish()
            };
            let commands = self.gpu.guard("timed kernels", encode).await?;
            self.gpu.wait(None)?;
            let begin = now();
            let submit = || self.gpu.queue().submit([commands]);
            self.gpu.guard("timed kernels", submit).await?;
            self.gpu.wait(None)?;
            times.push(since(begin).unwrap_or_default());
        }
        Ok(times)
    }
}

impl Queries {
    async fn new(gpu: &Gpu, passes: usize) -> Result<Self> {
        let device = gpu.device();
        let create = || {
            let counts = (0..passes.max(1))
                .step_by(PASSES)
                .map(|first| 2 * PASSES.min(passes.max(1) - first) as u32);
            let set = |count| {
                device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some("timestamps"),
                    ty: wgpu::QueryType::Timestamp,
                    count,
                })
            };
            counts.map(set).collect()
        };
        let sets = gpu.guard("timestamps", create).await?;
        let size = passes.max(1) as u64 * 16;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        Ok(Self {
            sets,
            resolved: gpu.buffer("timestamps", size, usage).await?,
            read_back: gpu.read_back_buffer(size).await?,
        })
    }

    async fn time(
        &self,
        gpu: &Gpu,
        program: &Program,
        dispatches: &[Dispatch],
        passes: &[Vec<Range<usize>>],
    ) -> Result<Vec<Duration>> {
        let run = || {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            for (set, passes) in self.sets.iter().zip(passes.chunks(PASSES)) {
                for (at, ranges) in (0..).step_by(2).zip(passes) {
                    let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
                        query_set: set,
                        beginning_of_pass_write_index: Some(at),
                        end_of_pass_write_index: Some(at + 1),
                    });
                    let descriptor = wgpu::ComputePassDescriptor {
                        label: None,
                        timestamp_writes,
                    };
                    program.encode_as(&descriptor, &mut encoder, dispatches, ranges);
                }
            }
            let mut offset = 0;
            for (set, passes) in self.sets.iter().zip(passes.chunks(PASSES)) {
                let count = 2 * passes.len() as u32;
                encoder.resolve_query_set(set, 0..count, &self.resolved, offset);
                offset += u64::from(count) * 8;
            }
            gpu.queue().submit([encoder.finish()]);
        };
        gpu.guard("timed kernels", run).await?;
        let size = passes.len() as u64 * 16;
        let bytes = gpu.read(&self.resolved, 0, size, &self.read_back).await?;
        let ticks: Vec<[u64; 2]> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(gpu.queue().get_timestamp_period());
        let time = |[begin, end]: [u64; 2]| {
            let nanoseconds = end.saturating_sub(begin) as f64 * period;
            Duration::try_from_secs_f64(nanoseconds * 1e-9).unwrap_or_default()
        };
        Ok(ticks.into_iter().map(time).collect())
    }
}

/// This moment by the host's clock. The browser has none for this crate.
pub(crate) fn now() -> Option<Instant> {
    (!cfg!(target_arch = "wasm32")).then(Instant::now)
}

/// The time since then.
pub(crate) fn since(moment: Option<Instant>) -> Option<Duration> {
    moment.map(|begin| begin.elapsed())
}
