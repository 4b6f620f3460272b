//! Where the time of a training step goes on your adapter: each kernel beside what the adapter can do
//! at best.
//!
//! ```sh
//! cargo run --release --example profile
//! cargo run --release --example profile -- --network vgg --batch 256
//! ```

#[path = "common/networks.rs"]
mod networks;

use std::error::Error;

use clap::{Parser, builder::PossibleValuesParser};
use wgpu_cnn::{Gpu, Model, Trainer};

/// Time every kernel of a training step.
#[derive(Parser)]
struct Options {
    /// Use the adapter whose name contains this
    #[arg(long, value_name = "NAME", env = "WGPU_CNN_ADAPTER")]
    adapter: Option<String>,
    /// Examples per batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// This network instead of LeNet with two 5x5 convolutions of 32 and 64 channels
    #[arg(long, value_name = "NAME",
        value_parser = PossibleValuesParser::new(networks::NETWORKS.map(|(name, _)| name)))]
    network: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut builder = Gpu::builder();
    if let Some(name) = &options.adapter {
        builder = builder.adapter(name);
    }
    let named = |network: &String| networks::NETWORKS.iter().find(|(name, _)| name == network);
    let model = match options.network.as_ref().and_then(named) {
        Some((_, model)) => model()?,
        None => lenet()?,
    };
    // Time depends on shapes alone, so any images will do.
    let images: Vec<f32> = (0..options.batch * model.input_shape().len())
        .map(|at| (at * 7 % 255) as f32 / 255.0)
        .collect();
    let classes = model.output_shape().len();
    let labels: Vec<u32> = (0..options.batch).map(|at| (at % classes) as u32).collect();
    let mut trainer = Trainer::builder(model)
        .batch(options.batch)
        .on(&builder.build()?)?;
    println!("{}", trainer.profile(&images, &labels)?);
    Ok(())
}

fn lenet() -> wgpu_cnn::Result<Model> {
    #[rustfmt::skip]
    let model = Model::builder([1, 28, 28])
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(10);
    model.build()
}
