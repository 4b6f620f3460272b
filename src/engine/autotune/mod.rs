//! Choosing cores by measurement: each product and convolution of a model, at its own shape, on every
//! core that serves it. A core whose result is not the CPU reference's is out, however fast.

mod file;

use super::lower::{Task, lower};
use crate::gpu::kernels::matmul::Factor;
use crate::gpu::kernels::{conv2d, matmul};
use crate::gpu::program::Program;
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::strategy::{Choices, Core, Traits, Work, candidates};
use crate::gpu::timer::Timer;
use crate::{Error, Gpu, Result, cpu};

pub(crate) use file::ChoiceStore;
use file::ChoicesFile;

/// What a core needs for a piece of work.
#[derive(Debug, Clone, Copy)]
struct Timing {
    core: Core,
    seconds: f64,
}

/// Choices that a training has come with, and what they are valid for.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    adapter: String,
    choices: Choices,
}

impl Found {
    pub fn on(gpu: &Gpu, choices: &Choices) -> Self {
        Self {
            adapter: file::adapter(gpu),
            choices: choices.clone(),
        }
    }

    /// The choices for a device: none where it is another adapter, or has another driver.
    fn of(&self, gpu: &Gpu) -> Choices {
        match self.adapter == file::adapter(gpu) {
            true => self.choices.clone(),
            false => Choices::new(),
        }
    }
}

/// The choices that are known for this adapter, without measuring any: those that were found before, then those of
/// the file.
pub(crate) fn known_choices(
    gpu: &Gpu,
    store: &ChoiceStore,
    found: Option<&Found>,
) -> Result<Choices> {
    known(gpu, &ChoicesFile::read(store, gpu)?, found)
}

fn known(gpu: &Gpu, file: &ChoicesFile, found: Option<&Found>) -> Result<Choices> {
    let mut choices = file.choices()?;
    choices.extend(found.map(|found| found.of(gpu)).unwrap_or_default());
    Ok(choices)
}

/// The choices for a task: those that are known, and measurements of the others, which are added to the file.
pub(super) async fn choices(
    gpu: &Gpu,
    task: &Task<'_>,
    (store, found): (&ChoiceStore, Option<&Found>),
) -> Result<Choices> {
    let mut file = ChoicesFile::read(store, gpu)?;
    let mut choices = known(gpu, &file, found)?;
    let traits = task.traits(gpu.traits());
    let works = lower(task, traits, task.options.batch)?.recording.works;
    for work in works {
        let (key, cores) = (work.to_string(), candidates(&traits, &work));
        let known = choices.get(&key).is_some_and(|core| cores.contains(core));
        if cores.len() < 2 || known {
            continue;
        }
        let timings = measure(gpu, &work, &cores).await?;
        let Some(best) = timings.first() else {
            log::warn!("{key}: no core could be measured, the table's choice stays");
            continue;
        };
        log::info!(
            "{key}: {} in {:.3} ms",
            best.core.name(),
            best.seconds * 1e3
        );
        choices.insert(key.clone(), best.core);
        file.insert(key, &timings)?;
    }
    Ok(choices)
}

/// The cores that give the reference's result, the fastest first.
async fn measure(gpu: &Gpu, work: &Work, cores: &[Core]) -> Result<Vec<Timing>> {
    let inputs = inputs(work);
    let expected = reference(work, &inputs)?;
    let mut timings: Vec<Timing> = Vec::new();
    for &core in cores {
        let bench = match Bench::new(gpu, work, core, &inputs).await {
            Ok(bench) => bench,
            // One core may need more memory for its parts than there is; another will do.
            Err(error @ (Error::OutOfMemory { .. } | Error::Limit { .. })) => {
                log::warn!("{work}: {} is left out: {error}", core.name());
                continue;
            }
            Err(error) => return Err(error),
        };
        let spreads = bench.recording.dispatches.iter().any(|d| d.stands_for > 0);
        let got = match spreads {
            true => nearest(&bench.result().await?),
            false => bench.result().await?,
        };
        if !equal(&got, &expected) {
            log::warn!("{work}: {} is left out: wrong result", core.name());
            continue;
        }
        let best = timings.iter().map(|timing| timing.seconds).reduce(f64::min);
        let seconds = bench.seconds(best).await?;
        if seconds <= 0.0 {
            log::warn!(
                "{work}: {} is left out: the device's clock stands still",
                core.name()
            );
            continue;
        }
        timings.push(Timing { core, seconds });
    }
    timings.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Ok(timings)
}

/// The whole numbers that results of a fast algorithm are near, or NaN for what is near none: it rounds where direct
/// sums of integers are exact.
fn nearest(got: &[f32]) -> Vec<f32> {
    let near = |value: &f32| match (value - value.round()).abs() < 0.25 {
        true => value.round(),
        false => f32::NAN, // infinity among them
    };
    got.iter().map(near).collect()
}

/// Whether two results are the same number for number. The data are integers, whose sums are exact in
/// any order. Nothing but zeros would prove nothing.
fn equal(got: &[f32], expected: &[f32]) -> bool {
    got == expected && expected.iter().any(|&value| value != 0.0)
}

/// The lengths of the two inputs and of the result.
fn lengths(work: &Work) -> [usize; 3] {
    match work {
        Work::Matmul([m, n, k], _) => [m * k, k * n, m * n],
        Work::Conv2dForward(g) => [g.input_len(), g.weight_len(), g.output_len()],
        Work::Conv2dBackwardInput(g) => [g.output_len(), g.weight_len(), g.input_len()],
        Work::Conv2dBackwardWeight(g) => [g.input_len(), g.output_len(), g.weight_len()],
    }
}

/// Integers from -3 to 3, hashed from their place.
fn inputs(work: &Work) -> [Vec<f32>; 2] {
    let [a, b, _] = lengths(work);
    [(1u32, a), (2, b)].map(|(seed, len)| {
        let value = |at: u32| {
            let bits = (at ^ seed.rotate_left(20)).wrapping_mul(0x9e37_79b9);
            let bits = (bits ^ (bits >> 15)).wrapping_mul(0x85eb_ca6b);
            ((bits ^ (bits >> 13)) % 7) as f32 - 3.0
        };
        (0..len as u32).map(value).collect()
    })
}

fn reference(work: &Work, [a, b]: &[Vec<f32>; 2]) -> Result<Vec<f32>> {
    let mut result = vec![0.0; lengths(work)[2]];
    let to = &mut result;
    match work {
        Work::Matmul([m, n, k], [ta, tb]) => cpu::matmul(*m, *n, *k, a, *ta, b, *tb, to)?,
        Work::Conv2dForward(geometry) => cpu::conv2d_forward(geometry, a, b, None, to)?,
        Work::Conv2dBackwardInput(geometry) => cpu::conv2d_backward_input(geometry, a, b, to)?,
        Work::Conv2dBackwardWeight(geometry) => cpu::conv2d_backward_weight(geometry, a, b, to)?,
    }
    Ok(result)
}

/// A piece of work on one core, ready to run.
struct Bench<'a> {
    gpu: &'a Gpu,
    recording: Recording,
    program: Program,
    timer: Timer,
    output: Region,
    len: usize,
}

impl<'a> Bench<'a> {
    async fn new(gpu: &'a Gpu, work: &Work, core: Core, inputs: &[Vec<f32>; 2]) -> Result<Self> {
        let mut recording = Recording::new(Traits {
            preferred: Some(core),
            ..gpu.traits()
        });
        recording.set_label(work.to_string());
        let lengths = lengths(work);
        let [a, b, output] = lengths.map(|len| recording.buffer("", len, Storage::Persistent));
        record(&mut recording, work, [a, b], output);
        let recording = recording.finish()?;
        let program = Program::compile(gpu, &recording).await?;
        let params = program.params_block(&recording.dispatches);
        program.set_params(gpu, &params).await?;
        for (region, values) in [a, b].into_iter().zip(inputs) {
            let bytes = bytemuck::cast_slice(values);
            program.write(gpu, region, bytes).await?;
        }
        Ok(Self {
            gpu,
            recording,
            program,
            timer: Timer::new(gpu, 2).await?,
            output,
            len: lengths[2],
        })
    }

    async fn result(&self) -> Result<Vec<f32>> {
        self.time(1, 1).await?;
        let result = Region {
            size: self.len as u64 * 4,
            ..self.output
        };
        let bytes = self.program.read(self.gpu, result).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Seconds of a run: the best of several, unless the first is hopeless beside the best core's.
    async fn seconds(&self, best: Option<f64>) -> Result<f64> {
        /// What a clock can tell apart from a pass's own cost.
        const ENOUGH: f64 = 0.02;
        const HOPELESS: f64 = 3.0;
        let mut times = 1;
        loop {
            let first = self.time(times, 1).await?;
            let hopeless = best.is_some_and(|best| first > HOPELESS * best * times as f64);
            if hopeless && first > ENOUGH / 4.0 {
                return Ok(first / times as f64);
            }
            if first >= ENOUGH || times >= 256 {
                return Ok(self.time(times, 2).await?.min(first) / times as f64);
            }
            times *= 2;
        }
    }

    /// Seconds of the shortest of several passes, each of so many runs.
    async fn time(&self, runs: usize, passes: usize) -> Result<f64> {
        let dispatches = &self.recording.dispatches;
        let passes = vec![vec![0..dispatches.len(); runs]; passes];
        let times = self.timer.time(&self.program, dispatches, &passes).await?;
        let shortest = times.into_iter().min().unwrap_or_default();
        Ok(shortest.as_secs_f64())
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
            conv2d::backward_weight(recording, geometry, [a, b], output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_never_passes() {
        let expected: Vec<f32> = (0..64).map(|at| (at % 5) as f32 - 2.0).collect();
        assert!(equal(&expected, &expected));
        for at in 0..expected.len() {
            for wrong in [expected[at] + 1.0, f32::NAN, f32::INFINITY] {
                let mut got = expected.clone();
                got[at] = wrong;
                assert!(!equal(&got, &expected), "{at}: {wrong}");
            }
        }
        assert!(!equal(&expected[1..], &expected));
        let zeros = vec![0.0; 64];
        assert!(!equal(&zeros, &zeros), "zeros prove nothing");
    }

    #[test]
    fn what_a_fast_algorithm_rounds_is_near_one_whole_number() {
        assert_eq!(nearest(&[3.0001, -2.2, 0.0]), [3.0, -2.0, 0.0]);
        for wrong in [0.5, 2.3, f32::NAN, f32::INFINITY] {
            let got = nearest(&[1.0, wrong]);
            assert!(!equal(&got, &[1.0, wrong.round()]), "{wrong}");
        }
    }

    #[test]
    fn the_reference_of_integers_is_exact_and_not_mostly_zero() {
        let work = Work::Matmul([9, 7, 100], [true, false]);
        let [a, b] = inputs(&work);
        let got = reference(&work, &[a.clone(), b.clone()]).unwrap();
        let element = |m: usize, n: usize| (0..100).map(|k| a[k * 9 + m] * b[k * 7 + n]).sum();
        let expected: Vec<f32> = (0..63).map(|at| element(at / 7, at % 7)).collect();
        assert!(equal(&got, &expected));
    }

    #[test]
    fn results_that_are_mostly_zero_by_their_nature_can_be_told_apart() {
        use crate::{Conv2d, Shape};
        let geometry = |layer: Conv2d, image: [usize; 3]| layer.geometry(8, &Shape::from(image));
        let padded = geometry(Conv2d::new(16, 3).padding(1), [16, 1, 1]).unwrap();
        let sparse = geometry(Conv2d::new(4, 1).stride(4), [4, 9, 9]).unwrap();
        for work in [
            Work::Conv2dBackwardWeight(padded),
            Work::Conv2dBackwardInput(sparse),
        ] {
            let expected = reference(&work, &inputs(&work)).unwrap();
            assert!(equal(&expected, &expected), "{work}");
        }
    }
}
