//! Checks every kernel that well-known networks use against the CPU reference, on your adapter: what
//! to run first on a new GPU, and what to paste into a bug report.
//!
//! ```sh
//! cargo run --release --example verify
//! cargo run --release --example verify -- --adapter radeon --network resnet --batch 32
//! ```
//!
//! The last line is `K kernels, F failed`, and the exit status tells whether F is 0.

#[path = "common/networks.rs"]
mod networks;

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, builder::PossibleValuesParser};
use wgpu_cnn::Gpu;

/// Check every kernel against the CPU reference.
#[derive(Parser)]
struct Options {
    /// Use the adapter whose name contains this
    #[arg(long, value_name = "NAME", env = "WGPU_CNN_ADAPTER")]
    adapter: Option<String>,
    /// Examples per batch: sizes of tensors and choices of kernels depend on it
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Only this network
    #[arg(long, value_name = "NAME",
        value_parser = PossibleValuesParser::new(networks::NETWORKS.map(|(name, _)| name)))]
    network: Option<String>,
}

fn main() -> ExitCode {
    match verify(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a table for each network and says whether all is well.
fn verify(options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut builder = Gpu::builder();
    if let Some(name) = &options.adapter {
        builder = builder.adapter(name);
    }
    let gpu = builder.build()?;
    let (mut kernels, mut failed) = (0, 0);
    for (name, model) in networks::NETWORKS {
        if options.network.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let begin = Instant::now();
        let report = gpu.verify(&model()?, options.batch)?;
        println!(
            "{name} on {report} in {:.1} s\n",
            begin.elapsed().as_secs_f64()
        );
        kernels += report.kernels();
        failed += report.failed_kernels();
    }
    println!("{kernels} kernels, {failed} failed");
    Ok(failed == 0)
}
