//! What a training step costs, and how that grows: `cargo bench --bench cost` prints a table of time and
//! memory over batch, channels and image size, which the page `guide::cost` of the documentation holds
//! for one machine.
//!
//! The network: two 3x3 convolutions of C channels, max-pooling, two of 2 C, max-pooling, a dense layer;
//! images of 3 channels and S x S pixels, N of them; Adam. One of the three changes at a time.
//!
//! `cargo bench --bench cost -- memory` prints the other table of that page: what ResNet-18 takes in training and
//! in use. Nothing runs for it. `cargo bench --bench cost -- checkpoint` says what its checkpoint takes.

use std::time::{Duration, Instant};

use wgpu_cnn::{Conv2d, Gpu, MemoryReport, Model, Optimizer, Predictor, Result, Trainer, zoo};

/// N, C and S.
#[derive(Debug, Clone, Copy)]
struct Size {
    batch: usize,
    channels: usize,
    pixels: usize,
}

const BASE: Size = Size {
    batch: 32,
    channels: 32,
    pixels: 32,
};

fn main() -> Result<()> {
    let gpu = Gpu::new()?;
    println!("gpu: {}, {}\n", gpu.info().name, gpu.info().backend);
    if std::env::args().any(|argument| argument == "memory") {
        return in_training_and_in_use(&gpu);
    }
    if std::env::args().any(|argument| argument == "checkpoint") {
        return checkpoints(&gpu);
    }
    println!(
        "| N | C | S | step | images a second | memory | parameters, gradients, optimizer | activations | batch, staging |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let batches = [8, 16, 32, 64, 128].map(|batch| Size { batch, ..BASE });
    let channels = [8, 16, 64].map(|channels| Size { channels, ..BASE });
    let pixels = [8, 16, 64].map(|pixels| Size { pixels, ..BASE });
    for size in batches.into_iter().chain(channels).chain(pixels) {
        measure(&gpu, size)?;
    }
    Ok(())
}

fn model(size: Size) -> Result<Model> {
    let conv = |channels| Conv2d::new(channels, 3).padding(1);
    let blocks = [size.channels, 2 * size.channels].into_iter();
    let builder = Model::builder([3, size.pixels, size.pixels]);
    let body = blocks.fold(builder, |model, channels| {
        let model = model.push(conv(channels)).relu();
        model.push(conv(channels)).relu().max_pool2d(2)
    });
    body.flatten().dense(10).build()
}

fn measure(gpu: &Gpu, size: Size) -> Result<()> {
    let model = model(size)?;
    let input = vec![0.5; size.batch * model.input_shape().len()];
    let labels: Vec<u8> = (0..size.batch).map(|image| (image % 10) as u8).collect();
    let builder = Trainer::builder(model).batch(size.batch);
    let mut trainer = builder.optimizer(Optimizer::adam(1e-3)).on(gpu)?;
    let mut step = || -> Result<Duration> {
        let begin = Instant::now();
        trainer.step(&input, &labels)?;
        trainer.loss()?;
        Ok(begin.elapsed())
    };
    step()?;
    let mut times = Vec::new();
    for _ in 0..10 {
        times.push(step()?);
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    let memory = trainer.memory().unwrap_or_default();
    let MemoryReport {
        parameters,
        gradients,
        optimizer_state,
        activations,
        batch,
        staging,
        ..
    } = memory;
    println!(
        "| {} | {} | {} | {:.1} ms | {:.0} | {} | {} | {} | {} |",
        size.batch,
        size.channels,
        size.pixels,
        median * 1e3,
        size.batch as f64 / median,
        mib(memory.total()),
        mib(parameters + gradients + optimizer_state),
        mib(activations),
        mib(batch + staging),
    );
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The memory of a trainer and of predictors for the same batch of 224x224 images.
fn in_training_and_in_use(gpu: &Gpu) -> Result<()> {
    let row = |name: &str, batch: usize, memory: MemoryReport| {
        let MemoryReport {
            parameters,
            gradients,
            optimizer_state,
            activations,
            batch: of_batch,
            staging,
            ..
        } = memory;
        println!(
            "| {batch} | {name} | {} | {} | {} | {} | {} |",
            mib(memory.total()),
            mib(parameters),
            mib(gradients + optimizer_state),
            mib(activations),
            mib(of_batch + staging),
        );
    };
    println!(
        "| N | ResNet-18 | memory | parameters | gradients, optimizer | activations | batch, staging |"
    );
    println!("|---|---|---|---|---|---|---|");
    for batch in [1, 32] {
        let model = zoo::resnet18().build()?;
        let trainer = Trainer::builder(model.clone()).batch(batch);
        let trainer = trainer.optimizer(Optimizer::adam(1e-3));
        row("trainer, Adam", batch, trainer.memory(gpu)?);
        let predictor = Predictor::builder(model).batch(batch);
        row("predictor", batch, predictor.memory(gpu)?);
        let folded = predictor.fold_batch_norm(true);
        row("predictor, batch norms folded", batch, folded.memory(gpu)?);
    }
    Ok(())
}

/// What a checkpoint of ResNet-18 with Adam takes: as bytes, as a file, and to go on from, where compiling is a part
/// of making any trainer.
fn checkpoints(gpu: &Gpu) -> Result<()> {
    let builder = || -> Result<_> {
        let model = zoo::resnet18().input([3, 64, 64]).build()?;
        let builder = Trainer::builder(model).batch(8);
        Ok(builder.optimizer(Optimizer::adam(1e-3)))
    };
    let mut trainer = builder()?.on(gpu)?;
    let input = vec![0.5; 8 * trainer.model().input_shape().len()];
    trainer.step(&input, [0u8; 8])?;
    trainer.loss()?;
    let path = std::env::temp_dir().join("wgpu-cnn-cost.checkpoint");
    println!("| ResNet-18, Adam | the best of five |");
    println!("|---|---|");
    let line = |what: &str, run: &dyn Fn() -> Result<()>| -> Result<()> {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begin = Instant::now();
            run()?;
            best = best.min(begin.elapsed());
        }
        println!("| {what} | {:.0} ms |", best.as_secs_f64() * 1e3);
        Ok(())
    };
    let size = trainer.checkpoint_bytes()?.len();
    println!("| size | {} |", mib(size as u64));
    line("`checkpoint_bytes`", &|| {
        trainer.checkpoint_bytes().map(drop)
    })?;
    line("`checkpoint`, a synced file", &|| trainer.checkpoint(&path))?;
    line("`on`", &|| builder()?.on(gpu).map(drop))?;
    line("`resume` and `on`", &|| {
        builder()?.resume(&path).on(gpu).map(drop)
    })?;
    let _ = std::fs::remove_file(&path);
    Ok(())
}
