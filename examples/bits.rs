//! The bits of training, and its time: a hash of all weights after some steps, on the GPU and on the CPU.
//!
//! A change that only rearranges code must leave every hash as it was. Run this before and after:
//!
//! ```sh
//! cargo run --release --example bits
//! ```

use std::time::Instant;

use clap::Parser;
use wgpu_cnn::{
    AvgPool2d, Conv2d, ConvTranspose2d, Gpu, MaxPool2d, Model, Optimizer, Result, Trainer,
};

/// Trains some networks and prints a hash of their weights.
#[derive(Parser)]
struct Options {
    /// Steps of training.
    #[arg(long, default_value_t = 50)]
    steps: usize,
    /// A part of the name of the networks to train.
    #[arg(default_value = "")]
    network: String,
}

/// A network by name, its batch, and how it is built.
type Network = (&'static str, usize, fn() -> Result<Model>);

const NETWORKS: [Network; 3] = [
    ("lenet", 64, lenet),
    ("vgg", 16, vgg),
    ("every-operator", 8, every_operator),
];

fn main() -> Result<()> {
    let options = Options::parse();
    let gpu = Gpu::new();
    match &gpu {
        Ok(gpu) => println!("{}, {}", gpu.info().name, gpu.info().driver_info),
        Err(error) => println!("no GPU: {error}"),
    }
    for (name, batch, model) in NETWORKS {
        if !name.contains(&options.network) {
            continue;
        }
        let model = model()?;
        let builder = || {
            Trainer::builder(model.clone())
                .batch(batch)
                .optimizer(Optimizer::adam(1e-3))
                .clip_norm(10.0)
                .seed(7)
        };
        if let Ok(gpu) = &gpu {
            train([name, "gpu"], batch, options.steps, builder().on(gpu)?)?;
        }
        train([name, "cpu"], batch, options.steps, builder().on_cpu()?)?;
    }
    Ok(())
}

fn train([name, side]: [&str; 2], batch: usize, steps: usize, mut trainer: Trainer) -> Result<()> {
    let len = batch * trainer.model().input_shape().len();
    let classes = trainer.model().output_shape().len() as u32;
    let mut times = Vec::new();
    for step in 0..steps as u32 {
        let input: Vec<f32> = (0..len as u32).map(|at| noise(step, at)).collect();
        let labels: Vec<u32> = (0..batch as u32).map(|at| (at + step) % classes).collect();
        let begin = Instant::now();
        trainer.step(&input, &labels)?;
        trainer.loss()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let mut hash = Fnv::new();
    for (parameter, _) in trainer.model().parameters() {
        let values = trainer.parameter(parameter)?;
        values.iter().for_each(|value| hash.add(value.to_bits()));
    }
    println!("{name:15} {side}  {:016x}  {median:8.2} ms a step", hash.0);
    Ok(())
}

/// A number within -1..1 that depends on its place alone.
fn noise(step: u32, at: u32) -> f32 {
    let mixed = (at ^ step.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b9);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    (mixed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// The hash of Fowler, Noll and Vo over the bytes of words.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, word: u32) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn lenet() -> Result<Model> {
    #[rustfmt::skip]
    let model = Model::builder([1, 28, 28])
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(10);
    model.build()
}

fn vgg() -> Result<Model> {
    let mut model = Model::builder([3, 32, 32]);
    for channels in [32, 64, 128] {
        for _ in 0..2 {
            model = model.push(Conv2d::new(channels, 3).padding(1)).relu();
        }
        model = model.max_pool2d(2);
    }
    model.flatten().dense(256).relu().dense(10).build()
}

fn every_operator() -> Result<Model> {
    Model::builder([2, 12, 12])
        .push(Conv2d::new(8, 3).padding(1))
        .batch_norm()
        .leaky_relu(0.1)
        .push(Conv2d::new(8, 3).padding(1).groups(8))
        .silu()
        .concat([|b| b.conv2d(4, 3).gelu(), |b| b.conv2d(6, 3).gelu_tanh()])
        .residual_with(
            |b| b.conv2d(4, 1).softplus(),
            |s| s.conv2d(4, 1).leaky_relu(0.2),
        )
        .push(
            ConvTranspose2d::new(6, 3)
                .stride(2)
                .padding(1)
                .output_padding(1),
        )
        .tanh()
        .push(AvgPool2d::new(3).stride(2).padding(1))
        .dropout(0.3)
        .layer_norm()
        .push(MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true))
        .concat([
            |b| b.global_max_pool(),
            |b| b.global_avg_pool(),
            |b| b.global_softmax_pool(),
        ])
        .flatten()
        .reshape([18, 1])
        .flatten()
        .dense(5)
        .softmax()
        .dense(4)
        .log_softmax()
        .build()
}
