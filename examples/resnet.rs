//! A small residual network with batch normalisation (He et al. 2016) beside the plain network of
//! `examples/fashion_mnist.rs`: the same images in the same order, the accuracy on the test images
//! after each epoch.
//!
//! ```sh
//! cargo run --release --example resnet
//! cargo run --release --example resnet -- --epochs 8 --seed 2 --device cpu
//! ```

#[path = "common/dataset.rs"]
mod dataset;
#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use dataset::{CLASSES, Images};
use device::Device;
use wgpu_cnn::{Accuracy, Conv2d, Gpu, Model, ModelBuilder, Optimizer, Trainer};

/// Train a residual network on Fashion-MNIST, and a plain one beside it.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 3)]
    epochs: usize,
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
    let (train, test) = dataset::load(&options.data)?;
    let gpu = options.device.open()?;
    let networks = [
        ("lenet", lenet(train.size)?),
        ("resnet", resnet(train.size)?),
    ];
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
fn lenet([height, width]: [usize; 2]) -> wgpu_cnn::Result<Model> {
    Model::builder([1, height, width])
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(CLASSES)
        .build()
}

/// Three residual blocks, each on half the width and height and more channels than the one before.
fn resnet([height, width]: [usize; 2]) -> wgpu_cnn::Result<Model> {
    let stem = Model::builder([1, height, width]);
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
    [train, test]: [&Images; 2],
) -> Result<f64, Box<dyn Error>> {
    let builder = Trainer::builder(model)
        .batch(options.batch)
        .optimizer(Optimizer::adam(1e-3))
        .seed(options.seed);
    let mut trainer = device::trainer(builder, gpu)?;
    let mut order = fastrand::Rng::with_seed(options.seed);
    let mut accuracy = evaluate(&mut trainer, test)?;
    println!("before training: test accuracy {accuracy:.1} %");
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        let batches = train.shuffled(options.batch, order.u64(..));
        let steps = batches.len();
        for (step, (images, labels)) in (1..).zip(batches) {
            trainer.step(&images, &labels)?;
            if (step % 10 == 0 || step == steps) && !trainer.is_finite()? {
                let loss = trainer.loss()?;
                return Err(
                    format!("the loss is {loss}, seen at step {step} of epoch {epoch}").into(),
                );
            }
        }
        let (loss, seconds) = (trainer.loss()?, start.elapsed().as_secs_f64());
        accuracy = evaluate(&mut trainer, test)?;
        println!(
            "epoch {epoch}: last loss {loss:.3}, test accuracy {accuracy:.1} %, {seconds:.1} s, \
             {:.0} images/s",
            train.len() as f64 / seconds,
        );
    }
    finite::check(&trainer)?;
    Ok(accuracy)
}

/// The share of images that get their own class as the answer, in percent.
fn evaluate(trainer: &mut Trainer, images: &Images) -> wgpu_cnn::Result<f64> {
    let mut accuracy = Accuracy::new();
    trainer.evaluate_with(images.in_order(1000), &mut [&mut accuracy])?;
    Ok(100.0 * accuracy.value())
}
