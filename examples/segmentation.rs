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
//! same ones. All of a canvas follows from its number, so a seed says everything.
//!
//! The output folder gets a picture of held-out canvases, with the truth and the network's answer
//! beside each.

#[path = "common/dataset.rs"]
mod dataset;
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
use dataset::{CLASSES, Images};
use device::Device;
use plotters::prelude::*;
use wgpu_cnn::{
    Concat, Conv2d, GraphBuilder, Loss, MaxPool2d, Model, Optimizer, Trainer, Upsample2d, Value,
};

/// Learn which garment each pixel of an image belongs to.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 4)]
    epochs: usize,
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
/// The label of what is no garment. Those of garments are lower.
const BACKGROUND: u8 = CLASSES as u8;
const LABELS: usize = CLASSES + 1;
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
    let (train, test) = dataset::load(&options.data)?;
    if train.size.iter().any(|&extent| extent > SIDE) {
        return Err(format!("a canvas of {SIDE}x{SIDE} has no room for these images").into());
    }
    let test: Vec<Canvas> = canvases(test.in_order(GARMENTS), test.size, 0).collect();
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

    let mut order = fastrand::Rng::with_seed(options.seed);
    let mut score = evaluate(&mut trainer, &test)?;
    println!("before training: {}", score.summary());
    for epoch in 1..=options.epochs {
        let start = Instant::now();
        let left = (options.epochs + 1 - epoch) as f64 / options.epochs as f64;
        trainer.set_learning_rate(options.lr * left)?;
        let loss = train_epoch(&mut trainer, &train, options.batch, order.u64(..))
            .map_err(|error| format!("epoch {epoch}: {error}"))?;
        let seconds = start.elapsed().as_secs_f64();
        score = evaluate(&mut trainer, &test)?;
        let summary = score.summary();
        println!("epoch {epoch}: mean loss {loss:.3}, {summary}, {seconds:.1} s");
    }
    finite::check(&trainer)?;
    println!("\n{}", score.table());
    let picture = options.out.join(PICTURE);
    draw(&picture, &mut trainer, &test)?;
    let device = device::name(gpu.as_ref());
    println!("picture {}", picture.display());
    println!("held-out canvases: {} on {device}", score.summary());
    Ok(())
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
    images: &Images,
    batch: usize,
    seed: u64,
) -> Result<f64, Box<dyn Error>> {
    let groups = images.shuffled(GARMENTS, seed);
    let mut canvases = canvases(groups, images.size, seed).peekable();
    let (mut sum, mut steps) = (0.0, 0);
    while canvases.peek().is_some() {
        let (pixels, labels) = joined(canvases.by_ref().take(batch.max(1)));
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

/// An image with its truth.
struct Canvas {
    /// From 0 to 1, shape (3, SIDE, SIDE).
    pixels: Vec<f32>,
    /// Below [`LABELS`], shape (SIDE, SIDE).
    labels: Vec<u8>,
}

/// Canvases one after the other, as a batch.
fn joined(canvases: impl Iterator<Item = impl std::borrow::Borrow<Canvas>>) -> (Vec<f32>, Vec<u8>) {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for canvas in canvases {
        pixels.extend(&canvas.borrow().pixels);
        labels.extend(&canvas.borrow().labels);
    }
    (pixels, labels)
}

/// A canvas for each group of garments. Each follows from its number, which is counted from `first`.
fn canvases(
    groups: impl Iterator<Item = (Vec<f32>, Vec<u8>)>,
    size: [usize; 2],
    first: u64,
) -> impl Iterator<Item = Canvas> {
    groups.zip(0..).map(move |((garments, classes), number)| {
        let mut random = fastrand::Rng::with_seed(first.wrapping_add(number));
        let mut canvas = background(&mut random);
        let garments = garments.chunks_exact(size[0] * size[1]);
        for (quarter, (garment, class)) in garments.zip(classes).enumerate() {
            place(&mut canvas, quarter, (garment, class), size, &mut random);
        }
        canvas
    })
}

/// Stripes of two colours in some direction, and noise.
fn background(random: &mut fastrand::Rng) -> Canvas {
    let colors = [color(random, 0.0..0.2), color(random, 0.1..0.4)];
    let (angle, wave) = (random.f32() * 3.2, 0.15 + 0.6 * random.f32());
    let (sin, cos) = angle.sin_cos();
    let mut pixels = vec![0.0; 3 * AREA];
    for at in 0..AREA {
        let (y, x) = ((at / SIDE) as f32, (at % SIDE) as f32);
        let share = 0.5 + 0.5 * ((x * cos + y * sin) * wave).sin();
        for channel in 0..3 {
            let stripe = colors[0][channel] + share * (colors[1][channel] - colors[0][channel]);
            pixels[channel * AREA + at] = (stripe + 0.1 * (random.f32() - 0.5)).clamp(0.0, 1.0);
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
    random: &mut fastrand::Rng,
) {
    let mut start = |second: bool, room: usize| {
        let inwards = random.usize(..=room.min(10));
        if second { room - inwards } else { inwards }
    };
    let top = start(quarter / 2 == 1, SIDE - height);
    let left = start(quarter % 2 == 1, SIDE - width);
    let (mirrored, color) = (random.bool(), color(random, 0.5..1.0));
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
            let noise = 0.1 * (random.f32() - 0.5);
            let shade = color * (0.2 + 0.8 * value);
            canvas.pixels[channel * AREA + place] = (shade + noise).clamp(0.0, 1.0);
        }
    }
}

/// A colour whose red, green and blue lie within bounds.
fn color(random: &mut fastrand::Rng, within: std::ops::Range<f32>) -> [f32; 3] {
    [(); 3].map(|()| within.start + (within.end - within.start) * random.f32())
}

/// How many pixels of each label were given each answer: `counts[label][answer]`.
struct Score([[usize; LABELS]; LABELS]);

impl Score {
    /// The share of right answers, in percent.
    fn accuracy(&self) -> f64 {
        let right: usize = (0..LABELS).map(|label| self.0[label][label]).sum();
        percent(right, self.0.iter().flatten().sum())
    }

    /// Of the pixels that have a label, are given it, or both, the share that has both, in percent; nothing
    /// where there are none.
    fn overlap(&self, label: usize) -> Option<f64> {
        let right = self.0[label][label];
        let has: usize = self.0[label].iter().sum();
        let given: usize = self.0.iter().map(|row| row[label]).sum();
        let either = has + given - right;
        (either > 0).then(|| percent(right, either))
    }

    /// The accuracy, and the mean of the overlaps ("intersection over union") of all labels.
    fn summary(&self) -> String {
        let overlaps: Vec<f64> = (0..LABELS)
            .filter_map(|label| self.overlap(label))
            .collect();
        let mean = overlaps.iter().sum::<f64>() / overlaps.len().max(1) as f64;
        let accuracy = self.accuracy();
        format!("pixel accuracy {accuracy:.1} %, mean IoU {mean:.1} %")
    }

    /// The overlap of each label.
    fn table(&self) -> String {
        let rows = (0..LABELS).map(|label| {
            let overlap = self.overlap(label).unwrap_or(f64::NAN);
            format!("{:<12} IoU {overlap:5.1} %\n", NAMES[label])
        });
        rows.collect()
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// The network's answer for each pixel of some canvases.
fn answers(trainer: &mut Trainer, canvases: &[Canvas]) -> wgpu_cnn::Result<Vec<u8>> {
    let (pixels, _) = joined(canvases.iter());
    let logits = trainer.predict(&pixels)?;
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

fn evaluate(trainer: &mut Trainer, canvases: &[Canvas]) -> wgpu_cnn::Result<Score> {
    let mut score = Score([[0; LABELS]; LABELS]);
    for canvases in canvases.chunks(50) {
        let labels = canvases.iter().flat_map(|canvas| &canvas.labels);
        for (&label, answer) in labels.zip(answers(trainer, canvases)?) {
            score.0[usize::from(label)][usize::from(answer)] += 1;
        }
    }
    Ok(score)
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

/// The first canvases: input, truth and answer side by side, two canvases to a row.
fn draw(path: &Path, trainer: &mut Trainer, canvases: &[Canvas]) -> Result<(), Box<dyn Error>> {
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
    let canvases = &canvases[..canvases.len().min(ROWS * GROUPS)];
    let answers = answers(trainer, canvases)?;
    picture::draw(path, size.map(|extent| extent as u32), |paper| {
        let font = |size: i32| (picture::FONT, size).into_font();
        for (number, canvas) in canvases.iter().enumerate() {
            let (left, top) = (
                (number % GROUPS) * group + GAP,
                HEAD + (number / GROUPS) * tile,
            );
            let answer = &answers[number * AREA..(number + 1) * AREA];
            for (at, labels) in canvas.labels.iter().zip(answer).enumerate() {
                let byte = |channel: usize| (255.0 * canvas.pixels[channel * AREA + at]) as u8;
                let [truth, said] =
                    <[&u8; 2]>::from(labels).map(|&label| COLORS[usize::from(label)]);
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
