//! Finds a known pattern anywhere in a noisy signal with a time-delay neural network (Waibel et al.
//! 1989): a small network that scans the signal, and one layer that asks whether any position of the
//! scan saw the pattern.
//!
//! ```sh
//! cargo run --release --example tdnn
//! cargo run --release --example tdnn -- --pool max --seed 2 --device cpu
//! ```
//!
//! The signals are made up here: noise, and in it a short rising tone. Half of the signals hold the
//! tone backwards instead, which has the same spectrum, so that the network must learn what comes
//! after what. It is told only whether the tone is there; where it is, the scan finds by itself.

#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;

use std::error::Error;
use std::f32::consts::TAU;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use device::Device;
use wgpu_cnn::{Conv1d, GlobalPool, Loss, Model, ModelBuilder, Optimizer, Trainer};

/// Find a pattern anywhere in a noisy signal.
#[derive(Parser)]
struct Options {
    /// Passes over 2,048 new signals each
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// What the signals and the initial weights are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How the scores of all positions become one
    #[arg(long, value_enum, default_value_t = Pool::Softmax)]
    pool: Pool,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
}

#[derive(Clone, Copy, ValueEnum)]
enum Pool {
    /// The largest score: only the position that has it learns
    Max,
    /// The mean weighted with the scores' softmax: all positions learn
    Softmax,
}

const BATCH: usize = 32;
/// Signals of an epoch, and of the test.
const TRAINING: usize = 2048;
const TEST: usize = 1024;
/// Samples of a signal, and of the pattern in it.
const LENGTH: usize = 256;
const PATTERN: usize = 24;
/// Standard deviation of the noise; the pattern's amplitude is 1.
const NOISE: f32 = 0.4;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let pool = match options.pool {
        Pool::Max => GlobalPool::Max,
        Pool::Softmax => GlobalPool::Softmax,
    };
    let model = scan().push(pool).flatten().build()?;
    println!("{model}");
    let gpu = options.device.open()?;
    println!("training on {}", device::name(gpu.as_ref()));
    let trainer = |model| {
        let builder = Trainer::builder(model).batch(BATCH).seed(options.seed);
        let builder = builder.loss(Loss::binary_cross_entropy());
        device::trainer(builder.optimizer(Optimizer::adam(3e-3)), gpu.as_ref())
    };
    let mut detector = trainer(model)?;

    let mut rng = fastrand::Rng::with_seed(options.seed);
    let test: Vec<Signal> = (0..TEST).map(|_| Signal::random(&mut rng)).collect();
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        for step in 1..=TRAINING / BATCH {
            let batch: Vec<Signal> = (0..BATCH).map(|_| Signal::random(&mut rng)).collect();
            let present: Vec<f32> = batch.iter().map(|s| f32::from(s.is_present())).collect();
            detector.step(&samples(&batch), &present)?;
            if step % 16 == 0 && !detector.is_finite()? {
                let loss = detector.loss()?;
                return Err(
                    format!("the loss is {loss}, seen at step {step} of epoch {epoch}").into(),
                );
            }
        }
        println!(
            "epoch {epoch}: loss {:.4}, test accuracy {:.1} %, {:.1} s",
            detector.loss()?,
            accuracy(&detector.predict(&samples(&test))?, &test),
            start.elapsed().as_secs_f64(),
        );
    }
    finite::check(&detector)?;

    // The same network without its last layers: a score for each position.
    let mut scanner = trainer(scan().build()?)?;
    let names = scanner.model().parameters();
    let names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
    for name in &names {
        scanner.set_parameter(name, &detector.parameter(name)?)?;
    }
    let scores = scanner.predict(&samples(&test))?;
    let places: Vec<(usize, usize)> = (test.iter().zip(scores.chunks(LENGTH)))
        .filter_map(|(signal, scores)| Some((signal.place?, best(scores))))
        .collect();
    let inside = places
        .iter()
        .filter(|(place, found)| (*place..place + PATTERN).contains(found));
    println!(
        "\nthe scan's best position is inside the pattern in {:.1} % of the {} test signals that \
         have one",
        percent(inside.count(), places.len()),
        places.len(),
    );

    println!("\none noisy signal, rotated: the score moves along and stays what it is");
    println!("pattern from   found at   score");
    let signal = Signal::with(Some(0), &mut rng);
    for place in (8..LENGTH - PATTERN).step_by(37) {
        let mut rotated = signal.samples.clone();
        rotated.rotate_right(place);
        let found = best(&scanner.predict(&rotated)?);
        let score = detector.predict(&rotated)?[0];
        println!("{place:>12}{found:>11}{score:>8.3}");
    }
    let noise = Signal::with(None, &mut rng);
    let score = detector.predict(&noise.samples)?[0];
    println!("{:>12}{:>11}{score:>8.3}", "backwards", "");
    println!(
        "test accuracy {:.1} % on {}",
        accuracy(&detector.predict(&samples(&test))?, &test),
        device::name(gpu.as_ref())
    );
    Ok(())
}

/// The scan: `[1, LENGTH]` to the log-odds that the pattern is around each position, of the same
/// shape. A position sees 25 samples through three layers of 9 taps.
fn scan() -> ModelBuilder {
    let layer = |channels| Conv1d::new(channels, 9).padding_same();
    Model::builder([1, LENGTH])
        .push(layer(8))
        .relu()
        .push(layer(8))
        .relu()
        .push(layer(1))
}

/// Noise with the pattern in it, or with the pattern backwards.
struct Signal {
    samples: Vec<f32>,
    /// Where the pattern begins.
    place: Option<usize>,
}

impl Signal {
    fn random(rng: &mut fastrand::Rng) -> Self {
        let place = rng.bool().then(|| rng.usize(0..=LENGTH - PATTERN));
        Self::with(place, rng)
    }

    fn with(place: Option<usize>, rng: &mut fastrand::Rng) -> Self {
        let mut samples: Vec<f32> = (0..LENGTH).map(|_| NOISE * normal(rng)).collect();
        let begin = place.unwrap_or_else(|| rng.usize(0..=LENGTH - PATTERN));
        for (at, sample) in samples[begin..][..PATTERN].iter_mut().enumerate() {
            let at = if place.is_some() {
                at
            } else {
                PATTERN - 1 - at
            };
            *sample += pattern(at);
        }
        Self { samples, place }
    }

    fn is_present(&self) -> bool {
        self.place.is_some()
    }
}

/// A tone whose frequency rises from 1/24 to 1/4 of a cycle a sample.
fn pattern(at: usize) -> f32 {
    let t = at as f32 / PATTERN as f32;
    (TAU * (t + 2.5 * t * t)).sin()
}

/// A number of the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut fastrand::Rng) -> f32 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.f32()).ln()).sqrt(), TAU * rng.f32());
    radius * angle.cos()
}

/// `(N, 1, LENGTH)`.
fn samples(signals: &[Signal]) -> Vec<f32> {
    let samples = signals.iter().flat_map(|signal| &signal.samples);
    samples.copied().collect()
}

/// The share of signals whose log-odds have the right sign, in percent.
fn accuracy(scores: &[f32], signals: &[Signal]) -> f64 {
    let pairs = scores.iter().zip(signals);
    let right = pairs.filter(|(score, signal)| (**score > 0.0) == signal.is_present());
    percent(right.count(), signals.len())
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

/// The position of the largest score.
fn best(scores: &[f32]) -> usize {
    let positions = 0..scores.len();
    positions
        .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        .unwrap_or_default()
}
