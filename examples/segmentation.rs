//! A small U-Net (Ronneberger et al. 2015) says for each pixel of an image what it belongs to.
//!
//! ```sh
//! cargo run --release --example segmentation
//! cargo run --release --example segmentation -- --epochs 12 --seed 2 --device cpu
//! ```
//!
//! The images are made from Fashion-MNIST: a canvas of 64 by 64 pixels, striped and noisy in a colour of
//! its own, with a garment in each quarter, up to ten pixels off its corner, in a random colour and one half
//! of them mirrored. A pixel's label is the class of the garment that is seen there, or the background;
//! where two garments overlap, the later one is seen. Every training image is on one canvas of each epoch, and each
//! epoch has new canvases. What the network is measured on are canvases of the test images, always the
//! same ones. All of a canvas follows from seed, epoch and the number of its first garment.
//!
//! The output folder gets a picture of held-out canvases, with the truth and the network's answer
//! beside each.

#[path = "common/device.rs"]
mod device;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/out.rs"]
mod out;
#[path = "common/picture.rs"]
mod picture;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use device::Device;
use plotters::prelude::*;
use wgpu_cnn::data::{Dataset, Loader, Memory, Random, Split};
use wgpu_cnn::{
    Concat, ConfusionMatrix, Conv2d, GraphBuilder, Loss, MaxPool2d, Model, Optimizer, Target,
    Trainer, Upsample2d, Value,
};

/// Learn which garment each pixel of an image belongs to.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 4)]
    epochs: u64,
    /// Canvases per training step
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Learning rate of the first epoch, which falls evenly from there
    #[arg(long, default_value_t = 4e-3)]
    lr: f64,
    /// What the initial weights and the canvases are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Folder with the four IDX files of Fashion-MNIST, gzipped or not
    #[arg(long, value_name = "DIR",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist"))]
    data: PathBuf,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
    /// Where the picture goes
    #[arg(long, value_name = "DIR", default_value = "out/segmentation")]
    out: PathBuf,
}

/// The file in the output folder.
const PICTURE: &str = "segmentation.png";

/// Height and width of a canvas.
const SIDE: usize = 64;
const AREA: usize = SIDE * SIDE;
/// How many garments a canvas has: one in each quarter.
const GARMENTS: usize = 4;
/// The labels: those of Fashion-MNIST's ten classes, and of what is no garment.
const LABELS: usize = 11;
const BACKGROUND: u8 = 10;
/// Pixels and labels of canvases, a batch.
type Canvases = (Vec<f32>, Vec<u8>);
/// The channels of each level of the network, the first on half the width and height of the image, each
/// other one on half those of the one before.
const CHANNELS: [usize; 4] = [16, 32, 64, 64];

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
    out::prepare(&options.out, &[PICTURE])?;
    let (train, test) = (read(options, Split::Train)?, read(options, Split::Test)?);
    let train = Loader::builder(train).batch(options.batch.saturating_mul(GARMENTS));
    let train = train.shuffle(true).seed(options.seed).build()?;
    let test = Loader::builder(test).batch(50 * GARMENTS).build()?;
    let test: Vec<Canvases> = canvases(&test, 0, 0).collect::<Result<_, _>>()?;
    let gpu = options.device.open()?;
    let model = unet()?;
    println!("{model}");
    let builder = Trainer::builder(model)
        .batch(options.batch)
        .loss(Loss::cross_entropy())
        .optimizer(Optimizer::adam(options.lr))
        .seed(options.seed);
    let mut trainer = device::trainer(builder, gpu.as_ref())?;
    println!("training on {}", device::name(gpu.as_ref()));

    let mut score = ConfusionMatrix::new();
    trainer.evaluate_with(&test, &mut [&mut score])?;
    println!("before training: {}", summary(&score));
    for epoch in 0..options.epochs {
        let start = Instant::now();
        let left = (options.epochs - epoch) as f64 / options.epochs as f64;
        trainer.set_learning_rate(options.lr * left)?;
        let canvases = canvases(&train, epoch, options.seed);
        let loss = train_epoch(&mut trainer, canvases)
            .map_err(|error| format!("epoch {}: {error}", epoch + 1))?;
        let seconds = start.elapsed().as_secs_f64();
        trainer.evaluate_with(&test, &mut [&mut score])?;
        let (epoch, summary) = (epoch + 1, summary(&score));
        println!("epoch {epoch}: mean loss {loss:.3}, {summary}, {seconds:.1} s");
    }
    finite::check(&trainer)?;
    println!();
    for (label, name) in NAMES.iter().enumerate() {
        let overlap = 100.0 * score.intersection_over_union(label);
        println!("{name:<12} IoU {overlap:5.1} %");
    }
    let picture = options.out.join(PICTURE);
    draw(&picture, &mut trainer, &test[0])?;
    let device = device::name(gpu.as_ref());
    println!("\npicture {}", picture.display());
    println!("held-out canvases: {} on {device}", summary(&score));
    Ok(())
}

/// The share of right pixels, and the mean of the intersections over unions of the labels.
fn summary(score: &ConfusionMatrix) -> String {
    let (accuracy, mean) = (score.accuracy(), score.mean_intersection_over_union());
    let [accuracy, mean] = [accuracy, mean].map(|share| 100.0 * share);
    format!("pixel accuracy {accuracy:.1} %, mean IoU {mean:.1} %")
}

/// The garments.
fn read(options: &Options, split: Split) -> Result<Memory, Box<dyn Error>> {
    let garments = Memory::read_mnist(&options.data, split)?;
    if garments.example_shape()[1..]
        .iter()
        .any(|&extent| extent > SIDE)
    {
        return Err(format!("a canvas of {SIDE}x{SIDE} has no room for these images").into());
    }
    let classes = garments.classes().len();
    if classes >= LABELS {
        return Err(format!("{classes} classes, of {} at most", LABELS - 1).into());
    }
    Ok(garments)
}

/// Down to a sixteenth of the width and height, and up again: on the way up, what a level has seen on the
/// way down is put beside what comes from below, and last the image itself. It is made for a short time on
/// small pictures; `zoo::unet` is the network of the paper.
fn unet() -> wgpu_cnn::Result<Model> {
    let mut net = Model::graph();
    let image = net.input([3, SIDE, SIDE]);
    let halved = Conv2d::new(CHANNELS[0], 3).stride(2).padding(1);
    let mut value = net.add("stem", halved, [image])?;
    let mut levels = Vec::new();
    for (level, channels) in CHANNELS.into_iter().enumerate() {
        if level > 0 {
            value = net.apply(MaxPool2d::new(2), [value])?;
        }
        value = convolutions(&mut net, &format!("down{level}"), value, [channels; 2])?;
        levels.push((level, channels, value));
    }
    levels.pop();
    for (level, channels, seen) in levels.into_iter().rev() {
        let below = net.apply(Upsample2d::bilinear(), [value])?;
        let both = net.apply(Concat, [seen, below])?;
        value = convolutions(&mut net, &format!("up{level}"), both, [channels])?;
    }
    let below = net.apply(Upsample2d::bilinear(), [value])?;
    let both = net.apply(Concat, [image, below])?;
    let labels = net.add("labels", Conv2d::new(LABELS, 3).padding(1), [both])?;
    net.build([labels])
}

/// Convolutions to these numbers of channels, which leave the size as it is. They have no bias, which the
/// normalisation after them would take away again.
fn convolutions<const N: usize>(
    net: &mut GraphBuilder,
    name: &str,
    from: Value,
    channels: [usize; N],
) -> wgpu_cnn::Result<Value> {
    net.chain(name, from, |chain| {
        channels.into_iter().fold(chain, |chain, channels| {
            let convolution = Conv2d::new(channels, 3).padding(1).bias(false);
            chain.push(convolution).batch_norm().relu()
        })
    })
}

/// Trains on canvases of all images. Returns the mean loss of the steps.
fn train_epoch(
    trainer: &mut Trainer,
    canvases: impl Iterator<Item = Result<Canvases, Box<dyn Error>>>,
) -> Result<f64, Box<dyn Error>> {
    let (mut sum, mut steps) = (0.0, 0);
    for batch in canvases {
        let (pixels, labels) = batch?;
        trainer.step(&pixels, labels)?;
        let loss = f64::from(trainer.loss()?);
        steps += 1;
        if !loss.is_finite() {
            return Err(format!("the loss is {loss} at step {steps}").into());
        }
        sum += loss;
    }
    Ok(sum / f64::from(steps))
}

/// The canvases of an epoch, in batches: pixels from 0 to 1, shape (N, 3, SIDE, SIDE), and labels, shape
/// (N, SIDE, SIDE).
fn canvases(
    garments: &Loader,
    epoch: u64,
    seed: u64,
) -> impl Iterator<Item = Result<Canvases, Box<dyn Error>>> {
    garments.epoch(epoch).map(move |batch| {
        let batch = batch?;
        let size = [batch.shape[2], batch.shape[3]];
        let Target::Labels(classes) = &batch.targets else {
            return Err("garments have a class each".into());
        };
        let (mut all, mut labels) = (Vec::new(), Vec::new());
        let garments = batch.images.chunks_exact(size[0] * size[1]).zip(classes);
        let garments: Vec<_> = garments.collect();
        let groups = garments.chunks(GARMENTS);
        for (group, numbers) in groups.zip(batch.indices.chunks(GARMENTS)) {
            let mut random = Random::new(seed, epoch, numbers[0] as u64);
            let mut canvas = background(&mut random);
            for (quarter, &(garment, &class)) in group.iter().enumerate() {
                place(
                    &mut canvas,
                    quarter,
                    (garment, class as u8),
                    size,
                    &mut random,
                );
            }
            all.extend(canvas.pixels);
            labels.extend(canvas.labels);
        }
        Ok((all, labels))
    })
}

/// An image with its truth.
struct Canvas {
    /// From 0 to 1, shape (3, SIDE, SIDE).
    pixels: Vec<f32>,
    /// Below [`LABELS`], shape (SIDE, SIDE).
    labels: Vec<u8>,
}

/// Stripes of two colours in some direction, and noise.
fn background(random: &mut Random) -> Canvas {
    let colors = [color(random, 0.0..0.2), color(random, 0.1..0.4)];
    let (angle, wave) = (unit(random) * 3.2, 0.15 + 0.6 * unit(random));
    let (sin, cos) = angle.sin_cos();
    let mut pixels = vec![0.0; 3 * AREA];
    for at in 0..AREA {
        let (y, x) = ((at / SIDE) as f32, (at % SIDE) as f32);
        let share = 0.5 + 0.5 * ((x * cos + y * sin) * wave).sin();
        for channel in 0..3 {
            let stripe = colors[0][channel] + share * (colors[1][channel] - colors[0][channel]);
            pixels[channel * AREA + at] = (stripe + 0.1 * (unit(random) - 0.5)).clamp(0.0, 1.0);
        }
    }
    let labels = vec![BACKGROUND; AREA];
    Canvas { pixels, labels }
}

/// Puts a garment into a quarter: what is brighter than a tenth hides what was there.
fn place(
    canvas: &mut Canvas,
    quarter: usize,
    (garment, class): (&[f32], u8),
    [height, width]: [usize; 2],
    random: &mut Random,
) {
    let mut start = |second: bool, room: usize| {
        let inwards = random.below(room.min(10) + 1);
        if second { room - inwards } else { inwards }
    };
    let top = start(quarter / 2 == 1, SIDE - height);
    let left = start(quarter % 2 == 1, SIDE - width);
    let (mirrored, color) = (random.flag(0.5), color(random, 0.5..1.0));
    for (at, &value) in garment
        .iter()
        .enumerate()
        .filter(|(_, value)| **value > 0.1)
    {
        let (y, x) = (at / width, at % width);
        let x = if mirrored { width - 1 - x } else { x };
        let place = (top + y) * SIDE + left + x;
        canvas.labels[place] = class;
        for (channel, color) in color.iter().enumerate() {
            let noise = 0.1 * (unit(random) - 0.5);
            let shade = color * (0.2 + 0.8 * value);
            canvas.pixels[channel * AREA + place] = (shade + noise).clamp(0.0, 1.0);
        }
    }
}

/// A number within [0, 1).
fn unit(random: &mut Random) -> f32 {
    random.unit() as f32
}

/// A colour whose red, green and blue lie within bounds.
fn color(random: &mut Random, within: std::ops::Range<f32>) -> [f32; 3] {
    [(); 3].map(|()| within.start + (within.end - within.start) * unit(random))
}

/// The network's answer for each pixel of some canvases.
fn answers(trainer: &mut Trainer, pixels: &[f32]) -> wgpu_cnn::Result<Vec<u8>> {
    let logits = trainer.predict(pixels)?;
    // The class with the largest of the logits, each of which is a picture.
    let of_canvas = |logits: &'_ [f32]| -> Vec<u8> {
        let answer = |at: usize| {
            let logit = |class: &usize| logits[class * AREA + at];
            let best = (0..LABELS).max_by(|a, b| logit(a).total_cmp(&logit(b)));
            best.unwrap_or_default() as u8
        };
        (0..AREA).map(answer).collect()
    };
    Ok(logits
        .chunks_exact(LABELS * AREA)
        .flat_map(of_canvas)
        .collect())
}

#[rustfmt::skip]
const NAMES: [&str; LABELS] = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot", "background",
];

/// The colour of each label in the picture.
#[rustfmt::skip]
const COLORS: [RGBColor; LABELS] = [
    RGBColor(31, 119, 180), RGBColor(255, 127, 14), RGBColor(44, 160, 44), RGBColor(214, 39, 40),
    RGBColor(148, 103, 189), RGBColor(188, 189, 34), RGBColor(227, 119, 194), RGBColor(23, 190, 207),
    RGBColor(140, 86, 75), RGBColor(240, 240, 240), RGBColor(40, 40, 48),
];

/// The first canvases of a batch: input, truth and answer side by side, two canvases to a row.
fn draw(
    path: &Path,
    trainer: &mut Trainer,
    (pixels, truth): &Canvases,
) -> Result<(), Box<dyn Error>> {
    const ROWS: usize = 5;
    const GROUPS: usize = 2;
    /// Pixels of the picture to one of a canvas, and what lies between, above and below.
    const SCALE: usize = 3;
    const GAP: usize = 8;
    const HEAD: usize = 28;
    const FOOT: usize = 32;
    let tile = SCALE * SIDE + GAP;
    let group = 3 * tile + 2 * GAP;
    let size = [GROUPS * group, HEAD + ROWS * tile + FOOT];
    let count = (truth.len() / AREA).min(ROWS * GROUPS);
    let answers = answers(trainer, &pixels[..count * 3 * AREA])?;
    picture::draw(path, size.map(|extent| extent as u32), |paper| {
        let font = |size: i32| (picture::FONT, size).into_font();
        for number in 0..count {
            let (left, top) = (
                (number % GROUPS) * group + GAP,
                HEAD + (number / GROUPS) * tile,
            );
            for at in 0..AREA {
                let byte =
                    |channel: usize| (255.0 * pixels[(3 * number + channel) * AREA + at]) as u8;
                let [truth, said] =
                    [truth, &answers].map(|labels| COLORS[usize::from(labels[number * AREA + at])]);
                let colors = [RGBColor(byte(0), byte(1), byte(2)), truth, said];
                let (y, x) = (top + at / SIDE * SCALE, left + at % SIDE * SCALE);
                for (column, color) in colors.into_iter().enumerate() {
                    paper.draw(&square(x + column * tile, y, SCALE, color))?;
                }
            }
        }
        for (column, name) in ["input", "truth", "prediction"]
            .repeat(GROUPS)
            .iter()
            .enumerate()
        {
            let left = column / 3 * group + column % 3 * tile + GAP;
            paper.draw(&Text::new(*name, (left as i32, 6), font(18)))?;
        }
        let (top, wide) = (size[1] - FOOT + 6, size[0] / LABELS);
        for (label, name) in NAMES.iter().enumerate() {
            let left = label * wide + GAP;
            paper.draw(&square(left, top + 2, 14, COLORS[label]))?;
            paper.draw(&Text::new(
                *name,
                (left as i32 + 19, top as i32 + 2),
                font(15),
            ))?;
        }
        Ok(())
    })
}

fn square(x: usize, y: usize, side: usize, color: RGBColor) -> Rectangle<(i32, i32)> {
    let corners = [(x, y), (x + side, y + side)];
    Rectangle::new(corners.map(|(x, y)| (x as i32, y as i32)), color.filled())
}
