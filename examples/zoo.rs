//! Networks of the zoo by name: how large they are, what a forward pass takes on your adapter, and what a step of
//! training takes there and on the CPU.
//!
//! ```sh
//! cargo run --release --example zoo
//! cargo run --release --example zoo -- mobilenet_v2 unet --batch 8 --size 96
//! cargo run --release --example zoo -- resnet18 --learn 'fc.*'
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use clap::{Parser, builder::PossibleValuesParser};
use wgpu_cnn::{Loss, Optimizer, Target, Targets, Trainer, zoo};

/// Time a training step of networks.
#[derive(Parser)]
struct Options {
    /// The networks
    #[arg(default_values = ["resnet18", "mobilenet_v2", "squeezenet1_1"],
        value_parser = PossibleValuesParser::new(zoo::NAMES))]
    networks: Vec<String>,
    /// Use the adapter whose name contains this
    #[arg(long, value_name = "NAME", env = "WGPU_CNN_ADAPTER")]
    adapter: Option<String>,
    /// Examples per batch
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    batch: usize,
    /// Rows and columns of an image; `inception_v3` wants 299, or 75 without its auxiliary output
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Classes
    #[arg(long, default_value_t = 10)]
    classes: usize,
    /// Steps, of which the quickest counts
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    steps: usize,
    /// Leave auxiliary outputs out
    #[arg(long)]
    without_auxiliary: bool,
    /// Learn only the parameters whose names match, with all running statistics frozen
    #[arg(long, value_name = "PATTERN")]
    learn: Option<String>,
    /// Leave the CPU out
    #[arg(long)]
    gpu_only: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|error| format!("{error}"))?;
    match number {
        0 => Err("must not be zero".into()),
        _ => Ok(number),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut builder = wgpu_cnn::Gpu::builder();
    if let Some(name) = &options.adapter {
        builder = builder.adapter(name);
    }
    let gpu = builder.build()?;
    println!(
        "{}, {} images of {}x{}",
        gpu.info().name,
        options.batch,
        options.size,
        options.size
    );
    println!(
        "{:<30} {:>14} {:>12} {:>12} {:>12}",
        "network", "parameters", "forward, ms", "GPU, ms", "CPU, ms"
    );
    for name in &options.networks {
        let network = zoo::named(name)?
            .classes(options.classes)
            .input([3, options.size, options.size])
            .auxiliary(!options.without_auxiliary);
        let model = network.build()?;
        let parameters = model.parameter_count();
        let builder = || {
            let builder = Trainer::builder(model.clone())
                .loss(network.losses(Loss::cross_entropy()))
                .optimizer(Optimizer::sgd(1e-4))
                .batch(options.batch);
            let has_statistics = model
                .parameters()
                .any(|(name, _)| name.ends_with("running_mean"));
            match &options.learn {
                Some(learn) if has_statistics => {
                    let builder = builder.freeze("*").unfreeze(learn);
                    builder.freeze_statistics("*")
                }
                Some(learn) => builder.freeze("*").unfreeze(learn),
                None => builder,
            }
        };
        let [forward, on_gpu] = time(&options, builder().on(&gpu)?)?.map(milliseconds);
        let on_cpu = match options.gpu_only {
            true => String::new(),
            false => milliseconds(time(&options, builder().on_cpu()?)?[1]),
        };
        println!("{name:<30} {parameters:>14} {forward:>12} {on_gpu:>12} {on_cpu:>12}");
    }
    Ok(())
}

/// The time of a forward pass and that of a step, after one that compiles.
fn time(options: &Options, mut trainer: Trainer) -> Result<[Duration; 2], Box<dyn Error>> {
    // Time depends on shapes alone, so any images and labels will do.
    let model = trainer.model();
    let images: Vec<f32> = (0..options.batch * model.input_shape().len())
        .map(|at| (at * 7 % 255) as f32 / 255.0)
        .collect();
    let labels = |positions: usize| {
        let labels = 0..options.batch * positions;
        let labels: Vec<u32> = labels.map(|at| (at % options.classes) as u32).collect();
        Target::from(labels)
    };
    let targets = model
        .outputs()
        .map(|(_, shape)| labels(shape[1..].iter().product()));
    let targets = Targets::from(targets.collect::<Vec<Target>>());
    let mut quickest = [Duration::MAX; 2];
    for step in 0..=options.steps {
        // What follows from the weights is made anew after a step, so that this is of a later forward pass.
        trainer.predict(&images)?;
        let start = Instant::now();
        trainer.predict(&images)?;
        let forward = start.elapsed();
        let start = Instant::now();
        trainer.step(&images, targets.clone())?;
        trainer.loss()?;
        if step > 0 {
            let times = [forward, start.elapsed()];
            quickest = [0, 1].map(|at| quickest[at].min(times[at]));
        }
    }
    Ok(quickest)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
