//! What a network looks at: heat maps over test images by Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391),
//! and the gradient with respect to the pixels (Simonyan et al. 2014, arXiv:1312.6034).
//!
//! ```sh
//! cargo run --release --example gradcam
//! cargo run --release --example gradcam -- --weights out/gradcam/weights.safetensors
//! ```
//!
//! The first line trains a small network on Fashion-MNIST, the second takes its weights. The output folder gets
//! the weights, and a picture: on the left an image of each class that is taken for what it is, on the right
//! one that is taken for something else. Beside each image are the size of its gradient, of the logit of the
//! class that the network gives it, and the map of that class; on the right also the map of the class that the
//! image has.
//!
//! Both maps are of one pass forward and one back: a `Probe` hands out the values of the last convolutions
//! and the gradient with respect to them and to the image.

#[path = "common/classes.rs"]
mod classes;
#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/out.rs"]
mod out;
#[path = "common/picture.rs"]
mod picture;
#[path = "common/pixels.rs"]
mod pixels;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use device::Device;
use plotters::prelude::*;
use wgpu_cnn::data::{Loader, Memory, Split};
use wgpu_cnn::{
    Accuracy, Conv2d, Losses, Model, ModelBuilder, Optimizer, Probe, Shape, Target, Trainer,
    Upsample2d, cpu,
};

/// Show what a network looks at.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen, unless weights are given
    #[arg(long, default_value_t = 4)]
    epochs: u64,
    /// Images per training step
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 2e-3)]
    lr: f64,
    /// What the initial weights and the order of the images are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Folder with the four IDX files of Fashion-MNIST, gzipped or not
    #[arg(long, value_name = "DIR",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist"))]
    data: PathBuf,
    /// Weights that an earlier run has written: train nothing
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What computes: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
    /// Where the picture and the weights go
    #[arg(long, value_name = "DIR", default_value = "out/gradcam")]
    out: PathBuf,
}

/// The files in the output folder.
const PICTURE: &str = "gradcam.png";
const WEIGHTS: &str = "weights.safetensors";
/// The classes of MNIST and Fashion-MNIST.
const CLASSES: usize = 10;
/// Channels of the values that maps are made of.
const CHANNELS: usize = 64;
/// How many of the image's rows and columns one of theirs stands for.
const COARSER: usize = 4;

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
    out::prepare(&options.out, &[PICTURE, WEIGHTS])?;
    let test = Memory::read_mnist(&options.data, Split::Test)?;
    let image = test.example_shape();
    let size = [image[1], image[2]];
    let model = network(image)?;
    println!("{model}");
    let gpu = options.device.open()?;
    println!("on {}", device::name(gpu.as_ref()));
    let builder = Trainer::builder(model)
        .batch(options.batch)
        .optimizer(Optimizer::adam(options.lr))
        .seed(options.seed);
    let mut trainer = device::trainer(builder, gpu.as_ref())?;
    let test = Loader::builder(test).batch(options.batch).build()?;
    match &options.weights {
        Some(file) => drop(trainer.load(file)?),
        None => train(options, &mut trainer, &test)?,
    }
    let accuracy = accuracy(&mut trainer, &test)?;
    println!("{accuracy:.1} % of the test images are right");

    let [right, wrong] = choose(&mut trainer, &test, size)?;
    let probe = trainer
        .probe()?
        .batch(CLASSES)
        .loss(Losses::own_first())
        .values(["features"])
        .gradients(["features", "input"]);
    let mut probe = match &gpu {
        Some(gpu) => probe.on(gpu)?,
        None => probe.on_cpu()?,
    };
    let right = right.looked_at(&mut probe)?;
    let wrong = wrong.looked_at(&mut probe)?;
    let picture = options.out.join(PICTURE);
    draw(
        &picture,
        &[right, wrong],
        classes::class_names(&options.data),
    )?;
    println!("picture {}", picture.display());
    Ok(())
}

/// What precedes the pooling is called `features`: its last value is where the maps are made.
fn network(image: Shape) -> wgpu_cnn::Result<Model> {
    let layer = |chain: ModelBuilder, channels| {
        let convolution = Conv2d::new(channels, 3).padding(1).bias(false);
        chain.push(convolution).batch_norm().relu()
    };
    let mut net = Model::graph();
    let image = net.input(image);
    let features = net.chain("features", image, |chain| {
        let chain = layer(chain, CHANNELS / 4).max_pool2d(2);
        let chain = layer(layer(chain, CHANNELS / 2), CHANNELS / 2).max_pool2d(2);
        layer(layer(chain, CHANNELS), CHANNELS)
    })?;
    let classes = net.chain("classes", features, |chain| {
        chain.global_avg_pool().flatten().dense(CLASSES)
    })?;
    net.build([classes])
}

/// Trains, says after each epoch how well it goes, and writes the weights.
fn train(options: &Options, trainer: &mut Trainer, test: &Loader) -> Result<(), Box<dyn Error>> {
    let train = Loader::builder(Memory::read_mnist(&options.data, Split::Train)?)
        .batch(options.batch)
        .shuffle(true)
        .seed(options.seed)
        .build()?;
    for epoch in 0..options.epochs {
        let start = Instant::now();
        for batch in train.epoch(epoch) {
            let batch = batch?;
            trainer.step(&batch.images, batch.targets)?;
        }
        let (loss, seconds) = (trainer.loss()?, start.elapsed().as_secs_f64());
        if !loss.is_finite() {
            return Err(format!("the loss is {loss} after epoch {}", epoch + 1).into());
        }
        let accuracy = accuracy(trainer, test)?;
        println!(
            "epoch {}: last loss {loss:.3}, {accuracy:.1} % of the test images are right, {seconds:.1} s",
            epoch + 1
        );
    }
    finite::check(trainer)?;
    Ok(trainer.save(options.out.join(WEIGHTS))?)
}

/// The share of images that get their own class as the answer, in percent.
fn accuracy(trainer: &mut Trainer, images: &Loader) -> Result<f64, Box<dyn Error>> {
    let mut accuracy = Accuracy::new();
    trainer.evaluate_with(images.epoch(0), &mut [&mut accuracy])?;
    Ok(100.0 * accuracy.value())
}

/// Some images with the class of each, the one that the network gives it, and its maps.
#[derive(Default)]
struct Looked {
    size: [usize; 2],
    /// Image after image.
    pixels: Vec<f32>,
    classes: Vec<usize>,
    answers: Vec<usize>,
    /// The size of the gradient of the answer's logit with respect to each pixel.
    saliency: Vec<f32>,
    /// Grad-CAM of the answers.
    of_answers: Vec<f32>,
    /// Grad-CAM of the classes.
    of_classes: Vec<f32>,
}

/// Of each class the first image that is right, and the first one that is wrong, where there are such.
fn choose(
    trainer: &mut Trainer,
    images: &Loader,
    size: [usize; 2],
) -> Result<[Looked; 2], Box<dyn Error>> {
    let mut chosen = [(); 2].map(|()| Looked {
        size,
        ..Looked::default()
    });
    for batch in images.epoch(0) {
        let batch = batch?;
        let Target::Labels(labels) = &batch.targets else {
            return Err("the images have no classes".into());
        };
        let logits = trainer.predict(&batch.images)?;
        let pixels = batch.images.chunks_exact(batch.images.len() / batch.len());
        for ((&label, logits), pixels) in labels.iter().zip(logits.chunks(CLASSES)).zip(pixels) {
            let (class, answer) = (label as usize, best(logits));
            let chosen = &mut chosen[usize::from(answer != class)];
            if !chosen.classes.contains(&class) {
                chosen.pixels.extend(pixels);
                chosen.classes.push(class);
                chosen.answers.push(answer);
            }
        }
    }
    Ok(chosen)
}

/// The class with the largest logit.
fn best(logits: &[f32]) -> usize {
    let classes = 0..logits.len();
    classes
        .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
        .unwrap_or_default()
}

impl Looked {
    /// With maps.
    fn looked_at(mut self, probe: &mut Probe) -> wgpu_cnn::Result<Self> {
        if self.classes.is_empty() {
            return Ok(self);
        }
        (self.saliency, self.of_answers) = self.maps(probe, &self.answers)?;
        (_, self.of_classes) = self.maps(probe, &self.classes)?;
        Ok(self)
    }

    /// Saliency and Grad-CAM of a class for each image, in the images' size.
    fn maps(&self, probe: &mut Probe, of: &[usize]) -> wgpu_cnn::Result<(Vec<f32>, Vec<f32>)> {
        // The gradient of a logit with respect to the logits: 1 at its class and 0 elsewhere.
        let one_hot = of.iter().flat_map(|&class| {
            (0..CLASSES).map(move |other| if other == class { 1.0 } else { 0.0 })
        });
        let seen = probe.run_with(&self.pixels, |_| vec![one_hot.collect()])?;
        let saliency = seen.gradient("input")?;
        let saliency = saliency.iter().map(|gradient| gradient.abs()).collect();
        let coarse = self.size.map(|extent| extent / COARSER);
        let features = [seen.value("features")?, seen.gradient("features")?];
        let coarse_maps = grad_cam(features, coarse[0] * coarse[1]);
        // To the size of the images, bilinear.
        let maps = Shape::from([1, coarse[0], coarse[1]]);
        let larger = Upsample2d::bilinear().size(self.size);
        let larger = larger.geometry(of.len(), &maps)?;
        let mut maps = vec![0.0; larger.output_len()];
        cpu::upsample2d_forward(&larger, &coarse_maps, &mut maps)?;
        Ok((saliency, maps))
    }
}

/// For values `(n, CHANNELS, area)` and a logit's gradient with respect to them, `(n, area)`:
/// `relu(sum over k of a[k] * value[k])`, with `a[k]` the mean of the gradient in channel k.
fn grad_cam([values, gradients]: [&[f32]; 2], area: usize) -> Vec<f32> {
    let images = values.chunks(CHANNELS * area);
    let images = images.zip(gradients.chunks(CHANNELS * area));
    let map = |(values, gradients): (&[f32], &[f32])| {
        let mut map = vec![0.0; area];
        for (values, gradients) in values.chunks(area).zip(gradients.chunks(area)) {
            let weight = gradients.iter().sum::<f32>() / area as f32;
            for (sum, value) in map.iter_mut().zip(values) {
                *sum += weight * value;
            }
        }
        map.into_iter().map(|sum| sum.max(0.0))
    };
    images.flat_map(map).collect()
}

/// Pixels of the picture to one of an image, and what lies between and above images.
const SCALE: usize = 3;
const GAP: usize = 8;
const HEAD: usize = 30;
/// What a row's words take.
const WORDS: usize = 110;

/// Right ones on the left, wrong ones on the right.
fn draw(path: &Path, sides: &[Looked; 2], names: &[&str]) -> Result<(), Box<dyn Error>> {
    const TITLES: [&[&str]; 2] = [
        &["image", "gradient", "class"],
        &["image", "gradient", "answer", "class"],
    ];
    let [height, width] = sides[0].size.map(|extent| SCALE * extent + GAP);
    let wide = TITLES.map(|titles| WORDS + titles.len() * width + GAP);
    let size = [GAP + wide[0] + wide[1], HEAD + CLASSES * height];
    picture::draw(path, size.map(|extent| extent as u32), |paper| {
        for (side, titles) in TITLES.into_iter().enumerate() {
            let start = GAP + side * wide[0];
            for (column, title) in titles.iter().enumerate() {
                write(paper, title, [start + WORDS + column * width, 8])?;
            }
            // A row for each class.
            for (number, class) in sides[side].classes.iter().enumerate() {
                let top = HEAD + class * height;
                for (line, words) in sides[side].words(number, names).iter().enumerate() {
                    write(paper, words, [start, top + 18 * line])?;
                }
                let columns = sides[side].columns(number).into_iter().take(titles.len());
                for (column, colors) in columns.enumerate() {
                    let at = [start + WORDS + column * width, top];
                    pixels::image(paper, at, [sides[side].size[1], SCALE], colors)?;
                }
            }
        }
        Ok(())
    })
}

fn write(paper: &picture::Canvas, words: &str, at: [usize; 2]) -> Result<(), Box<dyn Error>> {
    let [left, top] = at.map(|place| place as i32);
    let font = (picture::FONT, 16).into_font();
    Ok(paper.draw(&Text::new(words.to_owned(), (left, top), font))?)
}

impl Looked {
    /// What an image is, and what it is taken for, line by line.
    fn words(&self, number: usize, names: &[&str]) -> Vec<String> {
        let name = |class: usize| match names.get(class) {
            Some(name) => (*name).to_owned(),
            None => class.to_string(),
        };
        let (class, answer) = (self.classes[number], self.answers[number]);
        match class == answer {
            true => vec![name(class)],
            false => vec![name(class), "taken for".to_owned(), name(answer)],
        }
    }

    /// Image, gradient and maps of an image, in colours.
    fn columns(&self, number: usize) -> [Vec<RGBColor>; 4] {
        let area = self.size[0] * self.size[1];
        let of = |all: &'_ [f32]| all[number * area..(number + 1) * area].to_vec();
        let greys = |values: Vec<f32>| values.into_iter().map(pixels::grey).collect();
        let image = of(&self.pixels);
        let over = |map: &[f32]| {
            let shares = to_one(of(map), 1.0).into_iter().zip(&image);
            shares.map(|(share, pixel)| heat(share, *pixel)).collect()
        };
        [
            greys(image.clone()),
            // The few largest would leave the others black.
            greys(to_one(of(&self.saliency), 0.98)),
            over(&self.of_answers),
            over(&self.of_classes),
        ]
    }
}

/// Divided by the number that this share of them does not exceed.
fn to_one(mut map: Vec<f32>, share: f32) -> Vec<f32> {
    let mut sorted = map.clone();
    sorted.sort_by(f32::total_cmp);
    let largest = sorted[(share * (sorted.len() - 1) as f32) as usize];
    if largest > 0.0 {
        map.iter_mut().for_each(|value| *value /= largest);
    }
    map
}

/// A colour from blue by green and yellow to red for a number from 0 to 1, over a grey pixel.
fn heat(share: f32, pixel: f32) -> RGBColor {
    let peak = |middle: f32| (1.5 - 4.0 * (share - middle).abs()).clamp(0.0, 1.0);
    let mixed = |color: f32| (255.0 * (0.5 * color + 0.5 * pixel)).clamp(0.0, 255.0) as u8;
    RGBColor(mixed(peak(0.75)), mixed(peak(0.5)), mixed(peak(0.25)))
}
