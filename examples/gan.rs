//! Two networks learn from each other to make pictures of clothes out of noise: a DCGAN (Radford et al. 2016,
//! arXiv:1511.06434).
//!
//! ```sh
//! cargo run --release --example gan
//! cargo run --release --example gan -- --epochs 40 --seed 2 --device cpu
//! ```
//!
//! The generator makes images of noise by transposed convolutions. The discriminator, of strided convolutions,
//! says whether an image is one of Fashion-MNIST's or the generator's. Each is a trainer of its own; what they
//! hand to each other, images there and the images' gradients back, stays on the device.
//!
//! The output folder gets a picture after each epoch, of images made from the same noise each time, and at the end the
//! generator's weights.

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
use std::f32::consts::TAU;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use device::Device;
use wgpu_cnn::data::{Loader, Memory, Split, Transforms};
use wgpu_cnn::prelude::*;
use wgpu_cnn::{Held, op::BinaryCrossEntropy};

/// Learn to make pictures of clothes out of noise.
#[derive(Parser)]
struct Options {
    /// How often each training image is seen
    #[arg(long, default_value_t = 12)]
    epochs: u64,
    /// Images per training step, real ones and as many made ones
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Learning rate of both networks
    #[arg(long, default_value_t = 2e-4)]
    lr: f64,
    /// Channels of the middle layers, at a quarter of the width and height; half of them at one half
    #[arg(long, default_value_t = 64)]
    channels: usize,
    /// What the initial weights, the order of the images and the noise are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Folder with the four IDX files of Fashion-MNIST, gzipped or not
    #[arg(long, value_name = "DIR",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist"))]
    data: PathBuf,
    /// What trains: a graphics adapter, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
    /// Where the pictures and the weights go
    #[arg(long, value_name = "DIR", default_value = "out/gan")]
    out: PathBuf,
}

/// The file of the generator's weights in the output folder.
const WEIGHTS: &str = "generator.safetensors";
/// Numbers of noise to an image.
const NOISE: usize = 64;
/// Height and width of an image.
const SIDE: usize = 28;
/// Rows and columns of a picture.
const GRID: [usize; 2] = [6, 12];

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
    let pictures: Vec<String> = (0..=options.epochs).map(picture_name).collect();
    let files = pictures.iter().map(String::as_str).chain([WEIGHTS]);
    out::prepare(&options.out, &files.collect::<Vec<_>>())?;
    let images = Memory::read_mnist(&options.data, Split::Train)?;
    if images.example_shape() != [1, SIDE, SIDE].into() {
        let got = images.example_shape();
        return Err(format!("images of {SIDE}x{SIDE} are wanted, and these are {got}").into());
    }
    // From -1 to 1, as the generator's last layer gives them. Batches are whole: each is normalised by itself.
    let images = Loader::builder(images)
        .transforms(Transforms::new().normalise([[0.5], [0.5]]))
        .batch(options.batch)
        .shuffle(true)
        .drop_last(true)
        .seed(options.seed)
        .build()?;
    let gpu = options.device.open()?;
    let mut both = Adversaries::new(options, gpu.as_ref())?;
    println!("{}", both.generator.model());
    println!("{}", both.discriminator.model());
    println!("training on {}", device::name(gpu.as_ref()));

    let always = both.noise(GRID.iter().product());
    draw(&options.out, 0, &both.generator.predict(&always)?)?;
    for epoch in 0..options.epochs {
        let start = Instant::now();
        let [discriminator, generator] = both.epoch(&images, epoch)?;
        let seconds = start.elapsed().as_secs_f64();
        let rate = (images.len() * options.batch) as f64 / seconds;
        println!(
            "epoch {}: loss of the discriminator {discriminator:.3}, of the generator {generator:.3}, \
             {seconds:.1} s, {rate:.0} images/s",
            epoch + 1
        );
        draw(&options.out, epoch + 1, &both.generator.predict(&always)?)?;
    }
    finite::check(&both.generator)?;
    both.generator.save(options.out.join(WEIGHTS))?;
    println!("pictures and weights in {}", options.out.display());
    Ok(())
}

/// Noise of `(NOISE, 1, 1)` to an image from -1 to 1. Every convolution but the last is normalised, and needs no
/// bias.
fn generator(channels: usize) -> wgpu_cnn::Result<Model> {
    let up = |channels, kernel| ConvTranspose2d::new(channels, kernel).init(Init::Normal(0.02));
    let twice = |channels| up(channels, 4).stride(2).padding(1);
    Model::builder([NOISE, 1, 1])
        .push(up(channels, SIDE / 4).bias(false))
        .batch_norm()
        .relu()
        .push(twice(channels / 2).bias(false))
        .batch_norm()
        .relu()
        .push(twice(1))
        .tanh()
        .build()
}

/// An image to the log-odds that it is real. Neither the first nor the last layer is normalised.
fn discriminator(channels: usize) -> wgpu_cnn::Result<Model> {
    let down = |channels, kernel| Conv2d::new(channels, kernel).init(Init::Normal(0.02));
    let half = |channels| down(channels, 4).stride(2).padding(1);
    Model::builder([1, SIDE, SIDE])
        .push(half(channels / 2))
        .leaky_relu(0.2)
        .push(half(channels).bias(false))
        .batch_norm()
        .leaky_relu(0.2)
        .push(down(1, SIDE / 4))
        .flatten()
        .build()
}

/// The two networks, and what noise is drawn from.
struct Adversaries {
    generator: Trainer,
    discriminator: Trainer,
    random: fastrand::Rng,
}

impl Adversaries {
    fn new(options: &Options, gpu: Option<&Gpu>) -> wgpu_cnn::Result<Self> {
        let trainer = |model| {
            let adam = Optimizer::adam(options.lr).betas([0.5, 0.999]);
            Trainer::builder(model)
                .batch(options.batch)
                .loss(Losses::own_first())
                .optimizer(adam)
                .seed(options.seed)
        };
        // An update of the discriminator takes a batch of real images and one of made ones.
        let learns_from_two = trainer(discriminator(options.channels)?).accumulate(2);
        Ok(Self {
            generator: device::trainer(trainer(generator(options.channels)?), gpu)?,
            discriminator: device::trainer(learns_from_two.input_gradients(true), gpu)?,
            random: fastrand::Rng::with_seed(options.seed),
        })
    }

    /// Numbers of the standard normal distribution (Box and Muller 1958), for so many images.
    fn noise(&mut self, images: usize) -> Vec<f32> {
        let mut number = || {
            let (first, second) = (1.0 - self.random.f32(), self.random.f32());
            (-2.0 * first.ln()).sqrt() * (TAU * second).cos()
        };
        (0..images * NOISE).map(|_| number()).collect()
    }

    /// One pass over the images. Returns the means of the losses that were looked at, the discriminator's and
    /// the generator's.
    fn epoch(&mut self, images: &Loader, epoch: u64) -> Result<[f64; 2], Box<dyn Error>> {
        /// Reading losses waits for the device, so only every so many steps do it.
        const STEPS_PER_READING: usize = 10;
        let (mut sums, mut readings) = ([0.0; 2], 0);
        for (step, batch) in (1..).zip(images.epoch(epoch)) {
            let losses = self.step(&batch?.images)?;
            if step % STEPS_PER_READING != 0 && step != images.len() {
                continue;
            }
            let mut read = [0.0; 3];
            for (read, loss) in read.iter_mut().zip(losses) {
                *read = f64::from(loss.to_vec()?[0]);
            }
            let [real, made, fooled] = read;
            if !(real + made + fooled).is_finite() {
                let place = format!("step {step} of epoch {}", epoch + 1);
                return Err(format!("the losses are {read:?}, seen at {place}").into());
            }
            sums = [sums[0] + real + made, sums[1] + fooled];
            readings += 1;
        }
        Ok(sums.map(|sum| sum / f64::from(readings.max(1))))
    }

    /// An update of both. Returns three losses: the discriminator's on real and on made images, and the generator's.
    fn step(&mut self, real: &[f32]) -> wgpu_cnn::Result<[Held; 3]> {
        let count = real.len() / (SIDE * SIDE);
        let noise = self.noise(count);
        let Self {
            generator,
            discriminator,
            ..
        } = self;
        let [is_real, is_made] = [1.0, 0.0].map(|label| vec![label; count]);
        let real = discriminator.hold([count, 1, SIDE, SIDE], real)?;
        let verdict = through(discriminator, &real)?;
        let (loss_on_real, gradient) = verdict.loss(&is_real, cross_entropy())?;
        discriminator.backward_held(&[&gradient])?;

        let noise = generator.hold([count, NOISE, 1, 1], &noise)?;
        let made = through(generator, &noise)?;
        let verdict = through(discriminator, &made)?;
        // The generator wants its images taken for real ones. What they lack for that is their gradient, on a way
        // back from which the discriminator itself learns nothing.
        let (loss_of_generator, gradient) = verdict.loss(&is_real, cross_entropy())?;
        discriminator.backward_inputs(&[&gradient])?;
        let wish = discriminator.input_gradient(0)?;
        // And from the same pass, what the discriminator learns.
        let (loss_on_made, gradient) = verdict.loss(&is_made, cross_entropy())?;
        discriminator.backward_held(&[&gradient])?;
        discriminator.update()?;

        generator.backward_held(&[&wish])?;
        generator.update()?;
        Ok([loss_on_real, loss_on_made, loss_of_generator])
    }
}

fn cross_entropy() -> BinaryCrossEntropy {
    Loss::binary_cross_entropy()
}

/// What a network makes of its input in training.
fn through(trainer: &mut Trainer, input: &Held) -> wgpu_cnn::Result<Held> {
    let mut outputs = trainer.forward_held(&[input])?;
    Ok(outputs.swap_remove(0).1)
}

fn picture_name(epoch: u64) -> String {
    format!("epoch-{epoch:02}.png")
}

/// Images from -1 to 1, side by side.
fn draw(folder: &Path, epoch: u64, images: &[f32]) -> Result<(), Box<dyn Error>> {
    const SCALE: usize = 2;
    let [rows, columns] = GRID;
    let tile = SCALE * SIDE + SCALE;
    let size = [columns * tile + SCALE, rows * tile + SCALE].map(|extent| extent as u32);
    picture::draw(&folder.join(picture_name(epoch)), size, |paper| {
        for (number, image) in images.chunks_exact(SIDE * SIDE).enumerate() {
            let at = [number % columns, number / columns].map(|place| place * tile + SCALE);
            let colors = image.iter().map(|value| pixels::grey(0.5 + 0.5 * value));
            pixels::image(paper, at, [SIDE, SCALE], colors)?;
        }
        Ok(())
    })
}
