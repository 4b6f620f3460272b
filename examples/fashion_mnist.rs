//! Trains a convolutional network on Fashion-MNIST and says how well it does.
//!
//! ```sh
//! cargo run --release --example fashion_mnist
//! cargo run --release --example fashion_mnist -- --epochs 8 --seed 2 --device cpu
//! cargo run --release --example fashion_mnist -- --data /usr/share/datasets/fashion-mnist
//! cargo run --release --example fashion_mnist -- --checkpoint run.safetensors
//! ```
//!
//! The repository holds a subset of 6,000 + 1,000 images, which is what the first line uses;
//! `--data` names a folder with the standard four files of Fashion-MNIST or MNIST. Shown on the
//! way: the model and the memory it takes, loss and images per second, the accuracy on the test
//! images after each epoch, and at the end which class was taken for which. The output folder gets
//! the curves, the first layer's filters, and the weights, from which `--weights` goes on (with
//! `--epochs 0` it only tests them).
//!
//! With `--checkpoint` a file keeps what the training has come to: it is written after each epoch, and where
//! Ctrl-C ends the program. The same command goes on from there, to the results of a training that nobody
//! interrupted.

mod common;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use common::chart::{self, History};
use common::classes::class_names;
use common::{filters, finite, out};
use indicatif::{ProgressBar, ProgressStyle};
use wgpu_cnn::data::{Dataset, Loader, Memory, Split};
use wgpu_cnn::{ConfusionMatrix, Gpu, Log, Model, Optimizer, Trainer};

/// The classes of MNIST and Fashion-MNIST.
const CLASSES: usize = 10;

/// Train a convolutional network on Fashion-MNIST.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 3)]
    epochs: u64,
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
    /// Keep what the training has come to in this file, and go on from there if it exists
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
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

/// What is recorded on the way: the loss of single batches, and the accuracy on the test images in percent.
const LOSS: &str = "loss";
const ACCURACY: &str = "test accuracy";
/// The checkpoint's note that holds the record.
const LOG: &str = "log";

/// Whether Ctrl-C has been pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// How a program ends that Ctrl-C has ended.
const EXIT_INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_INTERRUPTED),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether it came to its end.
fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
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
    let kept = options.checkpoint.as_ref().filter(|file| file.exists());
    let mut builder = Trainer::builder(model)
        .batch(options.batch)
        .optimizer(optimizer(options))
        .half_precision(options.half)
        .seed(options.seed);
    match (kept, &options.weights) {
        (Some(file), _) => builder = builder.resume(file),
        (None, Some(file)) => builder = builder.weights(file),
        (None, None) => {}
    }
    let (mut trainer, device) = match &gpu {
        Some(gpu) => (builder.on(gpu)?, format!("gpu {}", gpu.info().name)),
        None => (builder.on_cpu()?, "cpu".to_owned()),
    };
    println!("training on {device}");
    if let Some(memory) = trainer.memory() {
        println!("{memory}");
    }

    let train = Loader::builder(train).batch(options.batch).shuffle(true);
    let train = train.seed(options.seed).build()?;
    let test = Loader::builder(test).batch(1000).build()?;
    let mut confusion = ConfusionMatrix::new().names(class_names(&options.data).iter().copied());
    let trained = epochs(&mut trainer, [&train, &test], &mut confusion, options)?;
    let Some(accuracy) = trained else {
        println!(
            "interrupted after {} batches; the same command goes on",
            trainer.batches()
        );
        return Ok(false);
    };
    println!("\n{confusion}");
    finite::check(&trainer)?;
    save(&trainer, train.len(), out)?;
    println!("test accuracy {accuracy:.1} % on {device}");
    Ok(true)
}

/// Trains, and says after each epoch how well it goes. Returns the last accuracy on the test images in
/// percent; nothing where Ctrl-C has been pressed.
fn epochs(
    trainer: &mut Trainer,
    [train, test]: [&Loader; 2],
    confusion: &mut ConfusionMatrix,
    options: &Options,
) -> Result<Option<f64>, Box<dyn Error>> {
    if options.checkpoint.is_some() {
        ctrlc::set_handler(on_interrupt)?;
    }
    let mut accuracy = evaluate(trainer, test, confusion)?;
    if trainer.data_place().is_empty() {
        println!("before training: test accuracy {accuracy:.1} %");
        trainer.record([(ACCURACY, accuracy)])?;
    } else {
        train.resume(&trainer.data_place().try_into()?)?;
        trainer.set_log(Log::from_csv(trainer.note(LOG).unwrap_or_default())?);
        println!(
            "after {} batches: test accuracy {accuracy:.1} %",
            trainer.batches()
        );
    }
    keep(trainer, train, options)?;
    for epoch in train.place().epoch()..options.epochs {
        let start = Instant::now();
        let images = train_epoch(trainer, train, epoch)?;
        let seconds = start.elapsed().as_secs_f64();
        let is_whole = train.place().epoch() > epoch;
        if is_whole {
            accuracy = evaluate(trainer, test, confusion)?;
            trainer.record([(ACCURACY, accuracy)])?;
            println!(
                "epoch {}/{}: loss {:.3}, test accuracy {accuracy:.1} %, {seconds:.1} s, {:.0} images/s",
                epoch + 1,
                options.epochs,
                mean_loss(trainer, train, epoch),
                images as f64 / seconds,
            );
        }
        keep(trainer, train, options)?;
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    Ok(Some(accuracy))
}

/// Has the training end at its next batch; the second time, the program at once.
fn on_interrupt() {
    if INTERRUPTED.swap(true, Ordering::Relaxed) {
        std::process::exit(EXIT_INTERRUPTED.into());
    }
}

/// Writes the checkpoint, if there is to be one.
fn keep(trainer: &mut Trainer, images: &Loader, options: &Options) -> wgpu_cnn::Result<()> {
    let Some(file) = &options.checkpoint else {
        return Ok(());
    };
    trainer.set_data_place(images.place());
    trainer.set_note(LOG, trainer.log().to_csv());
    trainer.checkpoint(file)
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

/// One pass over the training images, or what is left of it, until Ctrl-C is pressed. Returns the number of
/// images.
fn train_epoch(
    trainer: &mut Trainer,
    batches: &Loader,
    epoch: u64,
) -> Result<usize, Box<dyn Error>> {
    /// Reading the loss waits for the GPU, so only every so many steps do it.
    const STEPS_PER_READING: usize = 10;
    let (start, steps, done) = (Instant::now(), batches.len(), batches.place().batch());
    let style = ProgressStyle::with_template("epoch {prefix} [{bar:40}] {pos}/{len} steps, {msg}")?;
    let bar = ProgressBar::new(steps as u64).with_style(style);
    bar.set_prefix((epoch + 1).to_string());
    bar.set_position(done as u64);
    let mut seen = 0;
    for (step, batch) in (done + 1..).zip(batches.epoch(epoch)) {
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
            trainer.record([(LOSS, loss)])?;
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(seen)
}

/// The mean of the losses that were looked at in an epoch.
fn mean_loss(trainer: &Trainer, batches: &Loader, epoch: u64) -> f64 {
    let begin = epoch * batches.len() as u64;
    let losses = trainer.log().values(LOSS);
    let losses = losses.iter().filter(|(step, _)| *step > begin);
    let (sum, count) = losses.fold((0.0, 0), |(sum, count), (_, loss)| (sum + loss, count + 1));
    sum / f64::from(count)
}

fn diverged(loss: f64, step: usize, epoch: u64) -> String {
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
fn save(trainer: &Trainer, steps: usize, out: &Path) -> Result<(), Box<dyn Error>> {
    const FIRST_LAYER: &str = "0.weight";
    let curves = out.join(CURVES);
    // Counted in epochs, and fractions of them.
    let [loss, accuracy] = [LOSS, ACCURACY].map(|name| {
        let points = trainer.log().values(name).into_iter();
        points
            .map(|(step, value)| (step as f64 / steps as f64, value))
            .collect()
    });
    chart::write(&curves, &History { loss, accuracy })?;
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
