//! Trains random models on your adapter and on the CPU, and compares all that a user can read after each
//! step: losses, gradients, parameters, statistics, predictions. A seed stands for a model with its options,
//! its optimizer and its batches, and gives the same one on every machine.
//!
//! ```sh
//! cargo run --release --example soak -- --seeds 0..5000
//! cargo run --release --example soak -- --seeds 17..18 --core direct
//! ```
//!
//! A model in which the two differ is printed, with a smaller one that does too. The last line is
//! `N models, F differ`, and the exit status tells whether F is 0.

#[path = "../tests/common/soak/mod.rs"]
mod soak;

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use soak::{Drawn, Outcome, Tally};
use wgpu_cnn::Gpu;

/// Train random models on GPU and CPU and compare.
#[derive(Parser)]
struct Options {
    /// The models, by their seeds
    #[arg(long, value_name = "FROM..TO", default_value = "0..200", value_parser = seeds)]
    seeds: Range<u64>,
    /// Use the adapter whose name contains this
    #[arg(long, value_name = "NAME", env = "WGPU_CNN_ADAPTER")]
    adapter: Option<String>,
    /// Take one core wherever it serves: tiled-32, tiled-64, tiled-128, tiled-lean, subgroup, rows, strided, depthwise,
    /// unfolded, winograd-subgroup, winograd-tiled, fft or direct
    #[arg(long, value_name = "NAME")]
    core: Option<String>,
    /// Do without subgroup operations
    #[arg(long)]
    no_subgroups: bool,
    /// Fill memory with NaN, and look at what surrounds each buffer
    #[arg(long)]
    poison: bool,
    /// Stop at the first difference
    #[arg(long)]
    first: bool,
    /// Print every model that is trained
    #[arg(long)]
    print: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let ends = text.split_once("..").ok_or("a range such as 0..5000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(ends.0)?..number(ends.1)?)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn gpu(options: &Options) -> wgpu_cnn::Result<Gpu> {
    let mut builder = Gpu::builder()
        .allow_subgroups(!options.no_subgroups)
        .poison(options.poison);
    if let Some(name) = &options.adapter {
        builder = builder.adapter(name);
    }
    if let Some(core) = &options.core {
        builder = builder.prefer_core(core);
    }
    builder.build()
}

/// What a range of seeds came to.
#[derive(Default)]
struct Sum {
    models: usize,
    set_aside: usize,
    differ: usize,
    tally: Tally,
}

/// Models between two lines of progress.
const LINE: usize = 100;
/// Models that share a device. It keeps every pipeline that it has compiled.
const DEVICE: usize = 500;

/// Trains all models and says whether none differs.
fn run(options: &Options) -> wgpu_cnn::Result<bool> {
    let mut gpu = self::gpu(options)?;
    println!("{}, {}", gpu.info().name, gpu.info().driver_info);
    let (begin, mut sum) = (Instant::now(), Sum::default());
    for seed in options.seeds.clone() {
        let drawn = Drawn::new(seed);
        if options.print {
            println!("{drawn}");
        }
        sum.models += 1;
        match soak::run(&drawn, &gpu) {
            Outcome::Equal(tally) => sum.tally.add(&tally),
            Outcome::SetAside(reason) => {
                sum.set_aside += 1;
                println!("seed {seed} set aside: {reason}");
            }
            Outcome::Differs(reason) => {
                sum.differ += 1;
                report(&drawn, &reason, &gpu);
            }
        }
        if sum.models.is_multiple_of(LINE) {
            println!("{}", line(&sum, begin));
        }
        if sum.models.is_multiple_of(DEVICE) {
            gpu = self::gpu(options)?;
        }
        if options.first && sum.differ > 0 {
            break;
        }
    }
    println!("{}", line(&sum, begin));
    println!("{} models, {} differ", sum.models, sum.differ);
    Ok(sum.differ == 0)
}

fn report(drawn: &Drawn, reason: &str, gpu: &Gpu) {
    println!("DIFFERS: {reason}\n{drawn}");
    let smaller = soak::reduce(drawn.clone(), |smaller| {
        matches!(soak::run(smaller, gpu), Outcome::Differs(_))
    });
    if let Outcome::Differs(reason) = soak::run(&smaller, gpu) {
        println!("a smaller model: {reason}\n{smaller}");
    }
}

fn line(sum: &Sum, begin: Instant) -> String {
    let Sum {
        models,
        set_aside,
        differ,
        tally,
    } = sum;
    let Tally {
        compared,
        not_zero,
        sharp,
        again,
    } = tally;
    let rate = *models as f64 / begin.elapsed().as_secs_f64();
    format!(
        "{models} models, {rate:.1}/s, {differ} differ, {set_aside} set aside; {compared} tensors compared, {not_zero} not zero, {sharp} within a thousandth; {again} models with more runs"
    )
}
