//! Tells tones apart that are a few hertz from each other, in the noise of raw samples, with filters as long as an eighth of a
//! second, and says what these take by direct sums and by Fourier transforms.
//!
//! ```sh
//! cargo run --release --example long_filters
//! cargo run --release --example long_filters -- --taps 64
//! ```
//!
//! The signals are made up here: half a second of noise at 8 kHz, and in it one of four tones, 8 Hz apart, of any phase. What a
//! filter of 64 taps lets through is as wide as 125 Hz, which holds all four; one of 1,024 taps tells them apart.

#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;

use std::error::Error;
use std::f32::consts::TAU;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use device::Device;
use wgpu_cnn::{Conv1d, Gpu, Model, Optimizer, Result, Trainer};

/// Tell tones apart by long filters.
#[derive(Parser)]
struct Options {
    /// Taps of a filter
    #[arg(long, default_value_t = 1024)]
    taps: usize,
    /// Passes over new signals
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Signals of a pass
    #[arg(long, default_value_t = 512)]
    signals: usize,
    /// What the signals and the initial weights are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
}

const BATCH: usize = 16;
/// Signals of the test.
const TEST: usize = 256;
/// Samples of a signal, and of a second.
const LENGTH: usize = 4096;
const RATE: f32 = 8000.0;
/// The tones in hertz, each a class.
const TONES: [f32; 4] = [440.0, 448.0, 456.0, 464.0];
/// Standard deviation of the noise; the tone's amplitude is 1.
const NOISE: f32 = 1.0;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::result::Result<(), Box<dyn Error>> {
    let model = Model::builder([1, LENGTH])
        .push(Conv1d::new(16, options.taps))
        .relu()
        .global_avg_pool()
        .flatten()
        .dense(TONES.len())
        .build()?;
    println!("{model}");
    let gpu = options.device.open()?;
    println!("training on {}", device::name(gpu.as_ref()));
    let mut rng = fastrand::Rng::with_seed(options.seed);
    compare(&model, options, gpu.as_ref(), &mut rng)?;
    let mut trainer = trainer(&model, options, gpu.as_ref(), false)?;
    let test = signals(TEST, &mut rng);
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        for _ in 0..options.signals / BATCH {
            let (samples, tones) = signals(BATCH, &mut rng);
            trainer.step(&samples, &tones)?;
        }
        let (loss, taken) = (trainer.loss()?, start.elapsed().as_secs_f64());
        let right = accuracy(&trainer.predict(&test.0)?, &test.1);
        println!("epoch {epoch}: loss {loss:.4}, test accuracy {right:.1} %, {taken:.1} s");
    }
    finite::check(&trainer)
}

fn trainer(model: &Model, options: &Options, gpu: Option<&Gpu>, direct: bool) -> Result<Trainer> {
    let builder = Trainer::builder(model.clone()).batch(BATCH);
    let builder = builder.seed(options.seed).direct_only(direct);
    device::trainer(builder.optimizer(Optimizer::adam(3e-3)), gpu)
}

/// Times steps with direct sums and without, by turns, and says how far their losses are apart.
fn compare(
    model: &Model,
    options: &Options,
    gpu: Option<&Gpu>,
    rng: &mut fastrand::Rng,
) -> Result<()> {
    const STEPS: usize = 3;
    let (samples, tones) = signals(BATCH, rng);
    let mut direct = trainer(model, options, gpu, true)?;
    let mut fast = trainer(model, options, gpu, false)?;
    let mut times = [Duration::MAX; 2];
    for step in 0..=STEPS {
        for (trainer, best) in [&mut direct, &mut fast].into_iter().zip(&mut times) {
            let start = Instant::now();
            trainer.step(&samples, &tones)?;
            trainer.loss()?; // waits for the step
            // The first step compiles what is left to compile.
            if step > 0 {
                *best = start.elapsed().min(*best);
            }
        }
    }
    let [by_sums, fastest] = times.map(|time| time.as_secs_f64() * 1e3);
    println!(
        "a step takes {by_sums:.1} ms by direct sums and {fastest:.1} ms without: {:.1} times",
        by_sums / fastest
    );
    let (direct, fast) = (direct.loss()?, fast.loss()?);
    println!(
        "after {} steps the losses are {direct:.6} and {fast:.6}",
        STEPS + 1
    );
    Ok(())
}

/// So many signals, `(N, 1, LENGTH)`, and which tone is in each.
fn signals(count: usize, rng: &mut fastrand::Rng) -> (Vec<f32>, Vec<u32>) {
    let tones: Vec<u32> = (0..count).map(|_| rng.u32(0..TONES.len() as u32)).collect();
    let samples = tones
        .iter()
        .flat_map(|&tone| signal(TONES[tone as usize], rng));
    (samples.collect(), tones)
}

fn signal(tone: f32, rng: &mut fastrand::Rng) -> Vec<f32> {
    let phase = rng.f32();
    let sample = |at: usize| {
        let turns = (tone * at as f32 / RATE + phase).fract();
        (TAU * turns).sin() + NOISE * normal(rng)
    };
    (0..LENGTH).map(sample).collect()
}

/// A number of the standard normal distribution (Box and Muller 1958).
fn normal(rng: &mut fastrand::Rng) -> f32 {
    let (radius, angle) = ((-2.0 * (1.0 - rng.f32()).ln()).sqrt(), TAU * rng.f32());
    radius * angle.cos()
}

/// The share of signals whose tone has the largest score, in percent.
fn accuracy(scores: &[f32], tones: &[u32]) -> f64 {
    let largest = |scores: &[f32]| {
        let places = 0..scores.len();
        places.max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
    };
    let pairs = scores.chunks(TONES.len()).zip(tones);
    let right = pairs.filter(|(scores, tone)| largest(scores) == Some(**tone as usize));
    100.0 * right.count() as f64 / tones.len() as f64
}
