//! A small residual network with batch normalisation (He et al. 2016) beside the plain network of
//! `examples/fashion_mnist.rs`: the same images in the same order, the accuracy on the test images
//! after each epoch.
//!
//! ```sh
//! cargo run --release --example resnet
//! cargo run --release --example resnet -- --epochs 8 --seed 2 --device cpu
//! ```

#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use device::Device;
use wgpu_cnn::data::{Loader, Memory, Split};
use wgpu_cnn::{Accuracy, Conv2d, Gpu, Model, ModelBuilder, Optimizer, Trainer};

/// The classes of MNIST and Fashion-MNIST.
const CLASSES: usize = 10;

/// Train a residual network on Fashion-MNIST, and a plain one beside it.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 3)]
    epochs: u64,
    /// Images per training step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// What the initial weights and the order of the images are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Folder with the four IDX files, gzipped or not
    #[arg(long, value_name = "DIR",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist"))]
    data: PathBuf,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
}

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
    let train = Memory::read_mnist(&options.data, Split::Train)?;
    let test = Memory::read_mnist(&options.data, Split::Test)?;
    let shape = train.example_shape();
    let networks = [("lenet", lenet(&shape)?), ("resnet", resnet(&shape)?)];
    let train = Loader::builder(train).batch(options.batch).shuffle(true);
    let train = train.seed(options.seed).build()?;
    let test = Loader::builder(test).batch(1000).build()?;
    let gpu = options.device.open()?;
    let mut accuracies = Vec::new();
    for (name, model) in networks {
        println!("{name}, {} parameters", model.parameter_count());
        let accuracy = training(model, options, gpu.as_ref(), [&train, &test])?;
        accuracies.push(format!("{name} {accuracy:.1} %"));
    }
    let (accuracies, device) = (accuracies.join(", "), device::name(gpu.as_ref()));
    println!("test accuracy: {accuracies} on {device}");
    Ok(())
}

/// The network of `examples/fashion_mnist.rs`.
#[rustfmt::skip]
fn lenet(image: &[usize]) -> wgpu_cnn::Result<Model> {
    Model::builder(image)
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(CLASSES)
        .build()
}

/// Three residual blocks, each on half the width and height and more channels than the one before.
fn resnet(image: &[usize]) -> wgpu_cnn::Result<Model> {
    let stem = Model::builder(image);
    let stem = convolution(stem, 16, 3).relu();
    let blocks = [16, 32, 64].into_iter().fold(stem, |model, channels| {
        let body = |body| convolution(convolution(body, channels, 3).relu(), channels, 3);
        let shortcut = |shortcut| convolution(shortcut, channels, 1);
        model.max_pool2d(2).residual_with(body, shortcut).relu()
    });
    blocks.global_avg_pool().flatten().dense(CLASSES).build()
}

/// A convolution without a bias, which the batch normalisation after it would take away again.
fn convolution(model: ModelBuilder, channels: usize, kernel: usize) -> ModelBuilder {
    let layer = Conv2d::new(channels, kernel).padding(kernel / 2);
    model.push(layer.bias(false)).batch_norm()
}

/// Trains, reports each epoch, and returns the last accuracy on the test images in percent.
fn training(
    model: Model,
    options: &Options,
    gpu: Option<&Gpu>,
    [train, test]: [&Loader; 2],
) -> Result<f64, Box<dyn Error>> {
    let builder = Trainer::builder(model)
        .batch(options.batch)
        .optimizer(Optimizer::adam(1e-3))
        .seed(options.seed);
    let mut trainer = device::trainer(builder, gpu)?;
    let mut accuracy = evaluate(&mut trainer, test)?;
    println!("before training: test accuracy {accuracy:.1} %");
    for epoch in 0..options.epochs {
        let (start, steps) = (Instant::now(), train.len());
        for (step, batch) in (1..).zip(train.epoch(epoch)) {
            let batch = batch?;
            trainer.step(&batch.images, batch.targets)?;
            if (step % 10 == 0 || step == steps) && !trainer.is_finite()? {
                let loss = trainer.loss()?;
                let epoch = epoch + 1;
                return Err(
                    format!("the loss is {loss}, seen at step {step} of epoch {epoch}").into(),
                );
            }
        }
        let (loss, seconds) = (trainer.loss()?, start.elapsed().as_secs_f64());
        accuracy = evaluate(&mut trainer, test)?;
        println!(
            "epoch {}: last loss {loss:.3}, test accuracy {accuracy:.1} %, {seconds:.1} s, {:.0} images/s",
            epoch + 1,
            train.dataset().len() as f64 / seconds,
        );
    }
    finite::check(&trainer)?;
    Ok(accuracy)
}

/// The share of images that get their own class as the answer, in percent.
fn evaluate(trainer: &mut Trainer, images: &Loader) -> wgpu_cnn::Result<f64> {
    let mut accuracy = Accuracy::new();
    trainer.evaluate_with(images.epoch(0), &mut [&mut accuracy])?;
    Ok(100.0 * accuracy.value())
}
