//! What an adapter can do at best, measured.

use std::time::Duration;

use super::Gpu;
use super::kernels::peak;
use super::program::Program;
use super::record::{Dispatch, Recording, Storage};
use super::timer::{Timer, now, since};
use crate::{Error, Result};

/// What an adapter can do at best, measured by [`Gpu::peaks`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Peaks {
    /// Additions and multiplications in `f32`, in thousands of millions per second.
    pub gflops: f64,
    /// Bytes read and written, in thousands of millions per second.
    pub gigabytes_per_second: f64,
}

impl std::fmt::Display for Peaks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (gflops, bandwidth) = (self.gflops, self.gigabytes_per_second);
        write!(f, "{gflops:.1} GFLOP/s, {bandwidth:.1} GB/s")
    }
}

/// A run that is long enough to be timed.
const LONG_ENOUGH: Duration = Duration::from_millis(20);
/// Runs of that length, of which the fastest counts.
const RUNS: usize = 5;
/// Units of work in a run at most, should time seem not to pass.
const MOST_UNITS: usize = 1 << 14;
/// Workgroups in a unit of arithmetic.
const WORKGROUPS: usize = 64;
/// Bytes of the buffers that are copied: well beyond what caches hold.
const COPIED: u64 = 256 << 20;
/// The same on a software adapter, which takes seconds to touch so much memory.
const COPIED_IN_SOFTWARE: u64 = 64 << 20;

impl Gpu {
    /// The adapter's peaks, by a micro-benchmark of multiply-adds in registers and one that copies
    /// memory. They are measured at the first call, which takes about a second and some hundred
    /// megabytes for that time; later calls, and those of clones, give the same numbers.
    ///
    /// # Errors
    /// Those of the device, and [`Error::Argument`] in a browser without timestamps.
    #[cfg(feature = "native")]
    pub fn peaks(&self) -> Result<Peaks> {
        pollster::block_on(self.peaks_async())
    }

    /// [`peaks`](Self::peaks) for asynchronous programs and the browser.
    pub async fn peaks_async(&self) -> Result<Peaks> {
        self.check_lost()?;
        if let Some(peaks) = self.inner.peaks.get() {
            return Ok(*peaks);
        }
        let peaks = Peaks {
            gflops: self.peak_arithmetic().await?,
            gigabytes_per_second: self.peak_bandwidth().await?,
        };
        log::debug!("{peaks:?}");
        Ok(*self.inner.peaks.get_or_init(|| peaks))
    }

    /// Additions and multiplications per nanosecond.
    async fn peak_arithmetic(&self) -> Result<f64> {
        let mut recording = Recording::new(self.traits());
        recording.set_label("peak");
        let unwritten = recording.buffer("unwritten", 4, Storage::Persistent);
        peak::arithmetic(&mut recording, WORKGROUPS, unwritten);
        let flops = recording.dispatches[0].flops;
        // More workgroups rather than longer loops, which llvmpipe would end before their time.
        let grow = |dispatch: &mut Dispatch, units| {
            dispatch.workgroups = peak::grid(WORKGROUPS * units);
            1
        };
        self.rate(&recording.finish()?, flops, grow).await
    }

    /// Bytes per nanosecond.
    async fn peak_bandwidth(&self) -> Result<f64> {
        let traits = self.traits();
        let wanted = match traits.software {
            true => COPIED_IN_SOFTWARE,
            false => COPIED,
        };
        let mut size = wanted.min(traits.max_binding).min(traits.max_buffer);
        loop {
            let mut recording = Recording::new(traits);
            recording.set_label("peak");
            let len = (size / 16 * 4) as usize;
            let buffers = [0; 2].map(|_| recording.buffer("copied", len, Storage::Persistent));
            peak::bandwidth(&mut recording, len, buffers);
            let repeat = |_: &mut Dispatch, units| units;
            match self.rate(&recording.finish()?, 2 * size, repeat).await {
                Err(Error::OutOfMemory { .. }) if size > 1 << 20 => size /= 2,
                rate => return rate,
            }
        }
    }

    /// The work done per nanosecond by the only dispatch of a recording, of which a run makes
    /// several units: `grow` gives it their grid, and says how often it is to run.
    async fn rate(
        &self,
        recording: &Recording,
        work: u64,
        grow: impl Fn(&mut Dispatch, usize) -> usize,
    ) -> Result<f64> {
        let program = Program::compile(self, recording).await?;
        let params = program.params_block(&recording.dispatches);
        program.set_params(self, &params).await?;
        let timer = Timer::new(self, 1).await?;
        let mut dispatches = recording.dispatches.clone();
        let (mut units, mut runs, mut best) = (1, 0, 0.0);
        while runs < RUNS {
            let ranges = vec![0..1; grow(&mut dispatches[0], units)];
            let begin = now();
            let mut time = timer.time(&program, &dispatches, &[ranges]).await?[0];
            let wall = since(begin).unwrap_or_default();
            if time < LONG_ENOUGH && wall < 10 * LONG_ENOUGH && units < MOST_UNITS {
                units *= 2;
                continue;
            }
            if time < LONG_ENOUGH {
                // Timestamps that stand still.
                time = time.max(wall);
            }
            runs += 1;
            best = f64::max(
                best,
                (work * units as u64) as f64 / time.as_nanos().max(1) as f64,
            );
        }
        Ok(best)
    }
}
