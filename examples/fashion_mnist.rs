//! Trains a convolutional network on Fashion-MNIST and says how well it does.
//!
//! ```sh
//! cargo run --release --example fashion_mnist
//! cargo run --release --example fashion_mnist -- --epochs 8 --seed 2 --device cpu
//! cargo run --release --example fashion_mnist -- --data /usr/share/datasets/fashion-mnist
//! ```
//!
//! The repository holds a subset of 6,000 + 1,000 images, which is what the first line uses;
//! `--data` names a folder with the standard four files of Fashion-MNIST or MNIST. Shown on the
//! way: the model and the memory it takes, loss and images per second, the accuracy on the test
//! images after each epoch, and at the end which class was taken for which. The output folder gets
//! the curves, the first layer's filters, and the weights, from which `--weights` goes on (with
//! `--epochs 0` it only tests them).

mod common;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use common::chart::{self, History};
use common::classes::class_names;
use common::{filters, finite, out};
use indicatif::{ProgressBar, ProgressStyle};
use wgpu_cnn::data::{Dataset, Loader, Memory, Split};
use wgpu_cnn::{ConfusionMatrix, Gpu, Model, Optimizer, Trainer};

/// The classes of MNIST and Fashion-MNIST.
const CLASSES: usize = 10;

/// Train a convolutional network on Fashion-MNIST.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Images per training step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Learning rate [default: 1e-3 for adam, 1e-2 for momentum, 1e-1 for sgd]
    #[arg(long)]
    lr: Option<f64>,
    /// How gradients become updates
    #[arg(long, value_enum, default_value_t = Rule::Adam)]
    optimizer: Rule,
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
    /// Store activations and weights in half precision
    #[arg(long)]
    half: bool,
    /// Use the adapter whose name contains this
    #[arg(long, value_name = "NAME", env = "WGPU_CNN_ADAPTER")]
    adapter: Option<String>,
    /// Start from these weights (safetensors)
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Where the pictures and the trained weights go
    #[arg(long, value_name = "DIR", default_value = "out/fashion_mnist")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    Adam,
    Sgd,
    /// SGD with a momentum of 0.9
    Momentum,
}

#[derive(Clone, Copy, ValueEnum)]
enum Device {
    Gpu,
    Cpu,
}

/// The files in the output folder.
const CURVES: &str = "loss.png";
const FILTERS: &str = "filters.png";
const WEIGHTS: &str = "weights.safetensors";

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
    let out = &options.out;
    out::prepare(out, &[CURVES, FILTERS, WEIGHTS])?;
    let train = Memory::read_mnist(&options.data, Split::Train)?;
    let test = Memory::read_mnist(&options.data, Split::Test)?;
    println!(
        "{} training and {} test images, {}",
        train.len(),
        test.len(),
        options.data.display()
    );

    #[rustfmt::skip]
    let model = Model::builder(train.example_shape())
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(CLASSES)
        .build()?;
    println!("\n{model}");

    let gpu = find_gpu(options)?;
    let builder = Trainer::builder(model)
        .batch(options.batch)
        .optimizer(optimizer(options))
        .half_precision(options.half)
        .seed(options.seed);
    let (mut trainer, device) = match &gpu {
        Some(gpu) => (builder.on(gpu)?, format!("gpu {}", gpu.info().name)),
        None => (builder.on_cpu()?, "cpu".to_owned()),
    };
    println!("training on {device}");
    if let Some(memory) = trainer.memory() {
        println!("{memory}");
    }
    if let Some(file) = &options.weights {
        trainer.load(file)?;
    }

    let train = Loader::builder(train).batch(options.batch).shuffle(true);
    let train = train.seed(options.seed).build()?;
    let test = Loader::builder(test).batch(1000).build()?;
    let mut history = History::default();
    let mut confusion = ConfusionMatrix::new().names(class_names(&options.data).iter().copied());
    let mut accuracy = evaluate(&mut trainer, &test, &mut confusion)?;
    println!("before training: test accuracy {accuracy:.1} %");
    history.accuracy.push((0.0, accuracy));
    for epoch in 0..options.epochs {
        let start = Instant::now();
        let loss = train_epoch(&mut trainer, &train, epoch, &mut history)?;
        let seconds = start.elapsed().as_secs_f64();
        accuracy = evaluate(&mut trainer, &test, &mut confusion)?;
        history.accuracy.push(((epoch + 1) as f64, accuracy));
        println!(
            "epoch {}/{}: loss {loss:.3}, test accuracy {accuracy:.1} %, {seconds:.1} s, {:.0} images/s",
            epoch + 1,
            options.epochs,
            train.dataset().len() as f64 / seconds,
        );
    }
    println!("\n{confusion}");
    finite::check(&trainer)?;
    save(&trainer, &history, out)?;
    println!("test accuracy {accuracy:.1} % on {device}");
    Ok(())
}

/// The GPU that the options ask for; nothing where the CPU is to train, which is also the way out
/// where no adapter is named and there is none.
fn find_gpu(options: &Options) -> wgpu_cnn::Result<Option<Gpu>> {
    let gpu = match (options.device, &options.adapter) {
        (Device::Cpu, _) => return Ok(None),
        (Device::Gpu, Some(name)) => Gpu::builder().adapter(name).build(),
        (Device::Gpu, None) => Gpu::new(),
    };
    match gpu {
        Err(error @ wgpu_cnn::Error::NoAdapter { .. }) if options.adapter.is_none() => {
            println!(
                "{error}; going on with the CPU reference (on Debian and Ubuntu, `apt-get install \
                 mesa-vulkan-drivers` brings lavapipe, an adapter in software)"
            );
            Ok(None)
        }
        gpu => gpu.map(Some),
    }
}

fn optimizer(options: &Options) -> Optimizer {
    let rate = |default| options.lr.unwrap_or(default);
    match options.optimizer {
        Rule::Adam => Optimizer::adam(rate(1e-3)).into(),
        Rule::Momentum => Optimizer::sgd(rate(1e-2)).momentum(0.9).into(),
        Rule::Sgd => Optimizer::sgd(rate(1e-1)).into(),
    }
}

/// One pass over the training images. Returns the mean of the losses that were looked at.
fn train_epoch(
    trainer: &mut Trainer,
    batches: &Loader,
    epoch: usize,
    history: &mut History,
) -> Result<f64, Box<dyn Error>> {
    /// Reading the loss waits for the GPU, so only every so many steps do it.
    const STEPS_PER_READING: usize = 10;
    let (start, steps) = (Instant::now(), batches.len());
    let style = ProgressStyle::with_template("epoch {prefix} [{bar:40}] {pos}/{len} steps, {msg}")?;
    let bar = ProgressBar::new(steps as u64).with_style(style);
    bar.set_prefix((epoch + 1).to_string());
    let (mut seen, mut sum, mut readings) = (0, 0.0, 0);
    for (step, batch) in (1..).zip(batches.epoch(epoch as u64)) {
        let batch = batch?;
        seen += batch.len();
        trainer.step(&batch.images, batch.targets)?;
        bar.inc(1);
        if step % STEPS_PER_READING == 0 || step == steps {
            let loss = f64::from(trainer.loss()?);
            if !loss.is_finite() {
                bar.finish_and_clear();
                return Err(diverged(loss, step, epoch + 1).into());
            }
            let rate = seen as f64 / start.elapsed().as_secs_f64();
            bar.set_message(format!("loss {loss:.3}, {rate:.0} images/s"));
            history
                .loss
                .push((epoch as f64 + step as f64 / steps as f64, loss));
            sum += loss;
            readings += 1;
        }
    }
    bar.finish_and_clear();
    Ok(sum / f64::from(readings))
}

fn diverged(loss: f64, step: usize, epoch: usize) -> String {
    format!(
        "the loss is {loss}, seen at step {step} of epoch {epoch}: the training has diverged, and nothing \
         is written; a smaller --lr may help"
    )
}

/// The share of right answers in percent, and which class was taken for which.
fn evaluate(
    trainer: &mut Trainer,
    images: &Loader,
    confusion: &mut ConfusionMatrix,
) -> wgpu_cnn::Result<f64> {
    trainer.evaluate_with(images.epoch(0), &mut [confusion])?;
    Ok(100.0 * confusion.accuracy())
}

/// Writes the curves, the filters of layer 0 and the weights to the folder `out`.
fn save(trainer: &Trainer, history: &History, out: &Path) -> Result<(), Box<dyn Error>> {
    const FIRST_LAYER: &str = "0.weight";
    let curves = out.join(CURVES);
    chart::write(&curves, history)?;
    let picture = out.join(FILTERS);
    let (_, shape) = trainer
        .model()
        .parameters()
        .find(|(name, _)| *name == FIRST_LAYER)
        .ok_or("the model has no first layer")?;
    filters::write(&picture, &trainer.parameter(FIRST_LAYER)?, shape)?;
    let weights = out.join(WEIGHTS);
    trainer.save(&weights)?;
    for (what, path) in [
        ("curves", curves),
        ("first filters", picture),
        ("weights", weights),
    ] {
        println!("{what:<14} {}", path.display());
    }
    println!();
    Ok(())
}
