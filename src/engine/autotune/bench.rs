//! A piece of work on one core, and how long it takes: no longer than it must be known.

use crate::gpu::kernel::Format;
use crate::gpu::kernels::matmul::Factor;
use crate::gpu::kernels::{conv2d, matmul};
use crate::gpu::program::Program;
use crate::gpu::record::{Dispatch, Recording, Region, Storage};
use crate::gpu::strategy::{Core, Stored, Traits, Work};
use crate::gpu::timer::Timer;
use crate::{Gpu, Result};

use super::lengths;

/// What is timed.
pub(super) trait Timed {
    /// Seconds of so many runs, each of one of `share` of the workgroups.
    async fn time(&self, runs: usize, share: u32) -> Result<f64>;
}

/// Seconds of a run: the best of several. Of a core that takes more than twice as long as `best`, the best one so
/// far, what one run took, or `None` where a part of its workgroups took that long already.
pub(super) async fn seconds(timed: &impl Timed, best: Option<f64>) -> Result<Option<f64>> {
    /// What a clock can tell apart from a pass's own cost.
    const ENOUGH: f64 = 0.02;
    let hopeless = |seconds: f64, runs: usize| {
        let twice = best.is_some_and(|best| seconds > 2.0 * best * runs as f64);
        twice && seconds > ENOUGH / 4.0
    };
    // What a first run does beside its work is not timed.
    timed.time(1, 64).await?;
    if best.is_some() {
        for share in [64, 16, 4] {
            if hopeless(timed.time(1, share).await?, 1) {
                return Ok(None);
            }
        }
    }
    let mut runs = 1;
    loop {
        let first = timed.time(runs, 1).await?;
        if hopeless(first, runs) {
            return Ok(Some(first / runs as f64));
        }
        if first >= ENOUGH || runs >= 256 {
            let second = timed.time(runs, 1).await?;
            let third = timed.time(runs, 1).await?;
            return Ok(Some(first.min(second).min(third) / runs as f64));
        }
        runs *= 2;
    }
}

/// A piece of work on one core, ready to run.
pub(super) struct Bench<'a> {
    gpu: &'a Gpu,
    recording: Recording,
    program: Program,
    timer: Timer,
    output: Region,
    len: usize,
}

impl<'a> Bench<'a> {
    pub async fn new(
        gpu: &'a Gpu,
        Stored { work, formats }: &Stored,
        core: Core,
        inputs: &[Vec<f32>; 2],
    ) -> Result<Self> {
        let mut recording = Recording::new(Traits {
            preferred: Some(core),
            ..gpu.traits()
        });
        recording.set_label(work.to_string());
        let lengths = lengths(work);
        let places = [0, 1, 2]
            .map(|at| recording.buffer_of(formats[at], "", lengths[at], Storage::Persistent));
        let [a, b, output] = places;
        record(&mut recording, work, [a, b], output);
        let recording = recording.finish()?;
        let program = Program::compile(gpu, &recording).await?;
        let params = program.params_block(&recording.dispatches);
        program.set_params(gpu, &params).await?;
        for (region, values) in [a, b].into_iter().zip(inputs) {
            let bytes = stored(values, region.format);
            program.write(gpu, region, &bytes).await?;
        }
        Ok(Self {
            gpu,
            recording,
            program,
            timer: Timer::new(gpu, 1).await?,
            output,
            len: lengths[2],
        })
    }

    /// Whether it is a fast algorithm, whose results are near those of direct sums.
    pub fn spreads(&self) -> bool {
        let mut dispatches = self.recording.dispatches.iter();
        dispatches.any(|dispatch| dispatch.stands_for > 0)
    }

    /// What the last run has left, one of all workgroups.
    pub async fn result(&self) -> Result<Vec<f32>> {
        let bytes = self.program.read(self.gpu, self.output).await?;
        let mut values: Vec<f32> = match self.output.format {
            Format::F32 => bytemuck::pod_collect_to_vec(&bytes),
            Format::F16 => bytemuck::pod_collect_to_vec::<_, u16>(&bytes)
                .into_iter()
                .map(|bits| half::f16::from_bits(bits).to_f32())
                .collect(),
        };
        values.truncate(self.len); // the buffer may be longer
        Ok(values)
    }
}

impl Timed for Bench<'_> {
    async fn time(&self, runs: usize, share: u32) -> Result<f64> {
        let part = |dispatch: &Dispatch| Dispatch {
            workgroups: part(dispatch.workgroups, share),
            ..dispatch.clone()
        };
        let dispatches: Vec<Dispatch> = self.recording.dispatches.iter().map(part).collect();
        let passes = [vec![0..dispatches.len(); runs]];
        let times = self.timer.time(&self.program, &dispatches, &passes).await?;
        let time = times.first().copied().unwrap_or_default();
        Ok(time.as_secs_f64())
    }
}

/// One of `share` of the workgroups, or as few as leave a row of each dimension.
fn part(workgroups: [u32; 3], share: u32) -> [u32; 3] {
    let mut left = share;
    workgroups.map(|count| {
        let part = count.div_ceil(left);
        left = (left / count.max(1)).max(1);
        part
    })
}

/// Numbers as they lie in memory in a format that holds them.
fn stored(values: &[f32], format: Format) -> Vec<u8> {
    match format {
        Format::F32 => bytemuck::cast_slice(values).to_vec(),
        Format::F16 => {
            let values = values.iter().copied().map(half::f16::from_f32);
            values.flat_map(half::f16::to_ne_bytes).collect()
        }
    }
}

fn record(recording: &mut Recording, work: &Work, [a, b]: [Region; 2], output: Region) {
    let to = output.into();
    match work {
        Work::Matmul(extents, transposed) => {
            let factor = |(region, transposed)| Factor { region, transposed };
            let factors = [(a, transposed[0]), (b, transposed[1])].map(factor);
            matmul::matmul(recording, *extents, factors, None, to);
        }
        Work::Conv2dForward(geometry) => conv2d::forward(recording, geometry, [a, b], None, to),
        Work::Conv2dBackwardInput(geometry) => {
            conv2d::backward_input(recording, geometry, [a, b], None, to);
        }
        Work::Conv2dBackwardWeight(geometry) => {
            conv2d::backward_weight(recording, geometry, [a, b], (output, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A core that takes so long, and the workgroups that it ran: whole runs of it.
    struct Fake {
        seconds: f64,
        ran: RefCell<Vec<f64>>,
    }

    impl Timed for Fake {
        async fn time(&self, runs: usize, share: u32) -> Result<f64> {
            let ran = runs as f64 / f64::from(share);
            self.ran.borrow_mut().push(ran);
            Ok(ran * self.seconds)
        }
    }

    /// What is said of a core that takes so long, and how many runs of it that takes.
    fn told(seconds: f64, best: Option<f64>) -> (Option<f64>, f64) {
        let ran = RefCell::default();
        let fake = Fake { seconds, ran };
        let told = pollster::block_on(super::seconds(&fake, best)).unwrap();
        (told, fake.ran.take().into_iter().sum())
    }

    #[test]
    fn a_core_that_is_hopeless_is_stopped() {
        // Of the first, nothing is known: as often as it takes to tell.
        let first = 1.0 / 64.0;
        assert_eq!(told(0.1, None), (Some(0.1), first + 3.0));
        // A run is enough to tell that it takes 2.5 times as long.
        let parts = first + 1.0 / 64.0 + 1.0 / 16.0 + 1.0 / 4.0;
        assert_eq!(told(0.25, Some(0.1)), (Some(0.25), parts + 1.0));
        assert_eq!(told(0.15, Some(0.1)), (Some(0.15), parts + 3.0));
        // However long the others take, no more of them is run than takes a dozen times as long as the best,
        // or than is needed to see it.
        for times in [9.0, 31.0, 33.0, 100.0, 1000.0] {
            let (told, ran) = told(0.1 * times, Some(0.1));
            assert_eq!(told, None);
            let spent = ran * times;
            assert!(spent < 12.0 || ran <= 2.0 * first, "{times}: {spent}");
        }
        // What takes no time is measured, as a clock errs.
        let (told, _) = told(1e-6, Some(1e-8));
        assert!(told.is_some());
    }

    #[test]
    fn a_part_of_a_grid_is_no_less_than_its_share_and_no_empty_one() {
        assert_eq!(part([64, 1, 1], 16), [4, 1, 1]);
        assert_eq!(part([5, 8, 4], 16), [1, 3, 4]);
        assert_eq!(part([1, 1, 3], 64), [1, 1, 1]);
        assert_eq!(part([2, 2, 100], 64), [1, 1, 7]);
        assert_eq!(part([7, 9, 2], 1), [7, 9, 2]);
        assert_eq!(part([0, 1, 1], 4), [0, 1, 1]);
    }
}
