//! Choosing cores by measurement: each product and convolution of a model, at its own shape, on every
//! core that serves it. A core whose result is not the CPU reference's is out, however fast; of a fast algorithm the
//! nearest whole numbers are compared.

mod bench;
mod file;

use std::time::Duration;

use super::lower::{Task, lower};
use crate::gpu::kernel::Format;
use crate::gpu::strategy::{Choices, Core, Stored, Work, candidates, choice_key};
use crate::gpu::timer::{now, since};
use crate::{Error, Gpu, Result, cpu};

use bench::{Bench, seconds};

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

/// The choices for a task: those that are known, and measurements of the others, which are added to the file. What is
/// not measured when `budget` is spent is left to the table.
pub(super) async fn choices(
    gpu: &Gpu,
    task: &Task<'_>,
    (store, found): (&ChoiceStore, Option<&Found>),
    budget: Duration,
) -> Result<Choices> {
    let mut file = ChoicesFile::read(store, gpu)?;
    let mut choices = known(gpu, &file, found)?;
    let traits = task.traits(gpu.traits());
    let works = lower(task, traits, task.options.batch)?.recording.works;
    let begin = now();
    for work in works {
        let (key, cores) = (choice_key(&traits, &work), candidates(&traits, &work.work));
        let known = choices.get(&key).is_some_and(|core| cores.contains(core));
        if cores.len() < 2 || known {
            continue;
        }
        if since(begin).is_some_and(|spent| spent >= budget) {
            log::warn!("{key}: no time is left to measure it, the table's choice stays");
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

/// The cores that give the reference's result, the fastest first, without those that were stopped.
async fn measure(gpu: &Gpu, work: &Stored, cores: &[Core]) -> Result<Vec<Timing>> {
    let inputs = inputs(&work.work);
    let expected = reference(&work.work, &inputs)?;
    let mut timings: Vec<Timing> = Vec::new();
    for &core in cores {
        let left_out = |why: &str| log::warn!("{work}: {} is left out: {why}", core.name());
        let bench = match Bench::new(gpu, work, core, &inputs).await {
            Ok(bench) => bench,
            // One core may need more memory for its parts than there is; another will do.
            Err(error @ (Error::OutOfMemory { .. } | Error::Limit { .. })) => {
                left_out(&error.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let best = timings.iter().map(|timing| timing.seconds).reduce(f64::min);
        let Some(seconds) = seconds(&bench, best).await? else {
            log::debug!("{work}: {} takes too long beside others", core.name());
            continue;
        };
        let got = match bench.spreads() {
            true => nearest(&bench.result().await?),
            false => bench.result().await?,
        };
        if !equal(&got, &expected, work.formats[2]) {
            left_out("wrong result");
            continue;
        }
        if seconds <= 0.0 {
            left_out("the device's clock stands still");
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
/// any order; in `f16` a large one is the number before or after it. Nothing but zeros would prove nothing.
fn equal(got: &[f32], expected: &[f32], stored: Format) -> bool {
    let step = |value: f32| 2f32.powi((value.abs().to_bits() >> 23) as i32 - 127 - 10);
    let same = |(&got, &expected): (&f32, &f32)| match stored {
        Format::F32 => got == expected,
        Format::F16 => (got - expected).abs() < step(expected).max(1.0),
    };
    let all = got.len() == expected.len() && got.iter().zip(expected).all(same);
    all && expected.iter().any(|&value| value != 0.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_never_passes() {
        let expected: Vec<f32> = (0..64).map(|at| (at % 5) as f32 - 2.0).collect();
        assert!(equal(&expected, &expected, Format::F32));
        for at in 0..expected.len() {
            for wrong in [expected[at] + 1.0, f32::NAN, f32::INFINITY] {
                let mut got = expected.clone();
                got[at] = wrong;
                assert!(!equal(&got, &expected, Format::F32), "{at}: {wrong}");
            }
        }
        assert!(!equal(&expected[1..], &expected, Format::F32));
        let zeros = vec![0.0; 64];
        assert!(!equal(&zeros, &zeros, Format::F32), "zeros prove nothing");
    }

    #[test]
    fn in_f16_a_result_may_be_rounded_and_no_more() {
        for (got, expected, same) in [
            (2047.0, 2047.0, true),
            (2046.0, 2047.0, false),
            (2048.0, 2049.0, true),
            (2052.0, 2049.0, false),
            (4096.0, 4099.0, true),
            (4092.0, 4097.0, false),
            (f32::INFINITY, 4097.0, false),
            (f32::NAN, 4097.0, false),
        ] {
            assert_eq!(
                equal(&[got], &[expected], Format::F16),
                same,
                "{got}, {expected}"
            );
        }
    }

    #[test]
    fn what_a_fast_algorithm_rounds_is_near_one_whole_number() {
        assert_eq!(nearest(&[3.0001, -2.2, 0.0]), [3.0, -2.0, 0.0]);
        for wrong in [0.5, 2.3, f32::NAN, f32::INFINITY] {
            let got = nearest(&[1.0, wrong]);
            assert!(!equal(&got, &[1.0, wrong.round()], Format::F32), "{wrong}");
        }
    }

    #[test]
    fn the_reference_of_integers_is_exact_and_not_mostly_zero() {
        let work = Work::Matmul([9, 7, 100], [true, false]);
        let [a, b] = inputs(&work);
        let got = reference(&work, &[a.clone(), b.clone()]).unwrap();
        let element = |m: usize, n: usize| (0..100).map(|k| a[k * 9 + m] * b[k * 7 + n]).sum();
        let expected: Vec<f32> = (0..63).map(|at| element(at / 7, at % 7)).collect();
        assert!(equal(&got, &expected, Format::F32));
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
            assert!(equal(&expected, &expected, Format::F32), "{work}");
        }
    }
}
