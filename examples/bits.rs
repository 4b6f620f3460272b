//! The bits of training, and its time: a hash of all weights after some steps, on the GPU and on the CPU.
//!
//! A change that only rearranges code must leave every hash as it was. Run this before and after:
//!
//! ```sh
//! cargo run --release --example bits
//! ```

use std::time::Instant;

use clap::Parser;
use wgpu_cnn::engine::catalogue::{ModelCase, models};
use wgpu_cnn::{Conv2d, Gpu, Loss, Model, Optimizer, Result, Target, Trainer};

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

fn main() -> Result<()> {
    let options = Options::parse();
    let gpu = Gpu::new();
    match &gpu {
        Ok(gpu) => println!("{}, {}", gpu.info().name, gpu.info().driver_info),
        Err(error) => println!("no GPU: {error}"),
    }
    for case in networks()? {
        let (name, batch) = (case.name, case.batch);
        if !name.contains(&options.network) {
            continue;
        }
        let builder = || {
            Trainer::builder(case.model.clone())
                .loss(case.loss.clone())
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

/// Two well-known networks, and every model of the catalogue.
fn networks() -> Result<Vec<ModelCase>> {
    let known = |name, batch, model| ModelCase {
        name,
        model,
        batch,
        loss: Loss::default(),
    };
    let mut networks = vec![known("lenet-64", 64, lenet()?), known("vgg-16", 16, vgg()?)];
    networks.extend(models()?);
    Ok(networks)
}

fn train([name, side]: [&str; 2], batch: usize, steps: usize, mut trainer: Trainer) -> Result<()> {
    let len = batch * trainer.model().input_shape().len();
    let shape = trainer.model().output_shape();
    let outputs = (batch * shape.len()) as u32;
    // Rows of logits are taught labels, images of them numbers.
    let classes = (shape.rank() == 1).then(|| shape.len() as u32);
    let mut times = Vec::new();
    for step in 0..steps as u32 {
        let input: Vec<f32> = (0..len as u32).map(|at| noise(step, at)).collect();
        let target: Target = match classes {
            Some(classes) => {
                let labels = (0..batch as u32).map(|at| (at + step) % classes);
                Target::from(&labels.collect::<Vec<u32>>()[..])
            }
            None => Target::from(&(0..outputs).map(|at| noise(!step, at)).collect::<Vec<_>>()[..]),
        };
        let begin = Instant::now();
        trainer.step(&input, target)?;
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
    println!("{name:28} {side}  {:016x}  {median:8.2} ms a step", hash.0);
    if let Some(memory) = trainer.memory() {
        println!("    {memory}");
    }
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
