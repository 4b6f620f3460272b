//! Fine-tunes a network on a small folder of images: weights that were trained on other classes, a new head on a
//! frozen trunk, then the whole of it with a smaller rate for the trunk.
//!
//! ```sh
//! cargo run --release --example finetune
//! cargo run --release --example finetune -- --images photos --weights resnet18.safetensors --size 224
//! ```
//!
//! The second line wants a folder with `train` and `test`, each with a folder of images for every class, and any
//! file of weights under torchvision's names, such as
//!
//! ```python
//! import torchvision
//! from safetensors.torch import save_file
//! save_file(torchvision.models.resnet18(weights="DEFAULT").state_dict(), "resnet18.safetensors")
//! ```
//!
//! The first line makes its own: images of Fashion-MNIST's last five classes, 20 of each to train on, and weights
//! from a network that has seen its first five classes alone.

#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/out.rs"]
mod out;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use device::Device;
use wgpu_cnn::data::{IMAGENET, ImageFolder, Loader, Memory, Split, Transforms, Values};
use wgpu_cnn::prelude::*;
use wgpu_cnn::{Accuracy, zoo};

/// Fine-tune a network on a folder of images.
#[derive(Parser)]
struct Options {
    /// Folder with `train` and `test`, each with a folder for every class [default: made of Fashion-MNIST]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Weights under torchvision's names (safetensors) [default: trained on other classes of Fashion-MNIST]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What stands before the names in that file, such as `module.`
    #[arg(long, default_value = "")]
    prefix: String,
    /// The network, by its name in torchvision
    #[arg(long, default_value = "resnet18")]
    network: String,
    /// The parameters of its last layer
    #[arg(long, default_value = "fc.*")]
    head: String,
    /// Height and width that images are made to have
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Epochs in which the head learns alone
    #[arg(long, default_value_t = 4)]
    frozen: u64,
    /// Epochs in which all of it learns
    #[arg(long, default_value_t = 4)]
    epochs: u64,
    /// Images per training step
    #[arg(long, default_value_t = 20)]
    batch: usize,
    /// What the head, the order of the images and what happens to them are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
    /// Where the trained weights go, and what is made on the way
    #[arg(long, value_name = "DIR", default_value = "out/finetune")]
    out: PathBuf,
}

/// The files in the output folder.
const PRETRAINED: &str = "pretrained.safetensors";
const FINETUNED: &str = "finetuned.safetensors";

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
    out::prepare(out, &[PRETRAINED, FINETUNED])?;
    let gpu = options.device.open()?;
    println!("on {}", device::name(gpu.as_ref()));
    let made = out.join("images");
    if options.images.is_none() || options.weights.is_none() {
        make_images(&made)?;
    }
    let weights = match &options.weights {
        Some(path) => Weights::file(path).strip_prefix(&options.prefix),
        None => Weights::file(pretrain(options, &made, gpu.as_ref())?),
    };
    let images = options.images.as_ref().unwrap_or(&made);
    let train = loader(options, &images.join("train"), true)?;
    let test = loader(options, &images.join("test"), false)?;
    let model = network(options, &train)?;

    let weights = weights.skip(&options.head);
    println!("{}", weights.check(&model)?);
    let normalised = (model.parameters()).any(|(name, _)| name.ends_with("running_mean"));
    let mut builder = Trainer::builder(model)
        .batch(options.batch)
        .seed(options.seed)
        .optimizer(Optimizer::adamw(1e-3));
    if normalised {
        // Those of many images, which these few would only disturb.
        builder = builder.freeze_statistics("*");
    }
    // The head alone: forwards through the trunk, and nothing backwards.
    let builder = builder.weights(weights).freeze("*").unfreeze(&options.head);
    let mut trainer = device::trainer(builder, gpu.as_ref())?;
    let before = accuracy(&mut trainer, &test)?;
    println!("before: {before:.1} % of the test images are right");
    epochs(&mut trainer, [&train, &test], 0..options.frozen)?;

    // All of it, on which the trainer goes on from where it is; the trunk with a tenth of the rate.
    trainer.rebuild(|builder| {
        let head = Group::new(&options.head).rate_factor(1.0); // the last group that sets it counts
        let trunk = Group::new("*").rate_factor(0.1);
        builder.unfreeze("*").group(trunk).group(head)
    })?;
    let last = options.frozen + options.epochs;
    epochs(&mut trainer, [&train, &test], options.frozen..last)?;

    finite::check(&trainer)?;
    trainer.save(out.join(FINETUNED))?;
    println!("weights in {}", out.join(FINETUNED).display());
    Ok(())
}

/// The network for the classes of a folder.
fn network(options: &Options, images: &Loader) -> Result<Model, Box<dyn Error>> {
    let network = zoo::named(&options.network)?;
    let classes = images.dataset().classes().len();
    let network = network.classes(classes);
    Ok(network.input([3, options.size, options.size]).build()?)
}

/// Batches of the images in a folder; those to train on in a new order each epoch, some of them mirrored.
fn loader(options: &Options, folder: &Path, train: bool) -> wgpu_cnn::Result<Loader> {
    let mut transforms = Transforms::new().resize_to([options.size; 2]);
    if train {
        transforms = transforms.flip(0.5);
    }
    Loader::builder(ImageFolder::open(folder)?)
        .transforms(transforms.normalise(IMAGENET))
        .batch(options.batch)
        .shuffle(train)
        .seed(options.seed)
        .workers(1)
        .build()
}

/// Trains, and says after each epoch how well it goes.
fn epochs(
    trainer: &mut Trainer,
    [train, test]: [&Loader; 2],
    epochs: std::ops::Range<u64>,
) -> Result<(), Box<dyn Error>> {
    for epoch in epochs {
        let start = Instant::now();
        for batch in train.epoch(epoch) {
            let batch = batch?;
            trainer.step(&batch.images, batch.targets)?;
        }
        let (loss, seconds) = (trainer.loss()?, start.elapsed().as_secs_f64());
        if !loss.is_finite() {
            return Err(format!("the loss is {loss} in epoch {}", epoch + 1).into());
        }
        let accuracy = accuracy(trainer, test)?;
        println!(
            "epoch {}: last loss {loss:.3}, {accuracy:.1} % of the test images are right, {seconds:.1} s",
            epoch + 1
        );
    }
    Ok(())
}

/// The share of images that get their own class as the answer, in percent.
fn accuracy(trainer: &mut Trainer, images: &Loader) -> Result<f64, Box<dyn Error>> {
    let batches = images.epoch(0);
    let batches = batches.map(|batch| batch.map(|batch| (batch.images, batch.targets)));
    let mut accuracy = Accuracy::new();
    trainer.evaluate_with(batches, &mut [&mut accuracy])?;
    Ok(100.0 * accuracy.value())
}

/// Trains the network on the other classes, in place of a download. Returns the file of its weights.
fn pretrain(
    options: &Options,
    images: &Path,
    gpu: Option<&Gpu>,
) -> Result<PathBuf, Box<dyn Error>> {
    let path = options.out.join(PRETRAINED);
    let train = loader(options, &images.join("others"), true)?;
    let builder = Trainer::builder(network(options, &train)?)
        .batch(options.batch)
        .seed(options.seed)
        .optimizer(Optimizer::adamw(1e-3));
    let mut trainer = device::trainer(builder, gpu)?;
    let start = Instant::now();
    for batch in train.epoch(0) {
        let batch = batch?;
        trainer.step(&batch.images, batch.targets)?;
    }
    let (loss, seconds) = (trainer.loss()?, start.elapsed().as_secs_f64());
    println!("trained on other classes: last loss {loss:.3}, {seconds:.1} s");
    trainer.save(&path)?;
    Ok(path)
}

/// Images of Fashion-MNIST as files: 200 of each of the first five classes in `others`, 20 and 60 of each of the last
/// five in `train` and `test`.
fn make_images(folder: &Path) -> Result<(), Box<dyn Error>> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist");
    let parts = [
        ("others", Split::Train, 0..5, 200),
        ("train", Split::Train, 5..10, 20),
        ("test", Split::Test, 5..10, 60),
    ];
    for (part, split, classes, count) in parts {
        let images = Memory::read_mnist(data, split)?;
        let [height, width] = [1, 2].map(|axis| images.example_shape()[axis]);
        let (Values::Bytes(pixels), Target::Labels(labels)) =
            (images.inputs().values(), images.targets())
        else {
            return Err("Fashion-MNIST is bytes and labels".into());
        };
        let mut written = [0; 10];
        for (image, &label) in pixels.chunks_exact(height * width).zip(labels) {
            let number = &mut written[label as usize];
            if !classes.contains(&label) || *number == count {
                continue;
            }
            let class = folder.join(part).join(label.to_string());
            fs::create_dir_all(&class)?;
            let file = fs::File::create(class.join(format!("{number}.png")))?;
            let mut encoder = png::Encoder::new(file, width as u32, height as u32);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.write_header()?.write_image_data(image)?;
            *number += 1;
        }
    }
    Ok(())
}
