//! A training whose device is lost at every step, and which ends as if nothing had been: with
//! `checkpoint_every` the trainer keeps a state of itself, and `recover` goes on from it on a new device.

use wgpu_cnn::{Error, Gpu, Model, Optimizer, Result, Trainer};

const STEPS: u64 = 12;
/// A state is kept before every third step.
const EVERY: u64 = 3;

fn main() -> Result<()> {
    let quiet = train(false)?;
    let troubled = train(true)?;
    println!("without a loss of the device: {quiet:?}");
    println!("with one at every step:       {troubled:?}");
    assert!(quiet == troubled, "other bits");
    Ok(())
}

/// Trains, and gives the last loss. The device is destroyed at each step, once.
fn train(trouble: bool) -> Result<f32> {
    let model = Model::builder([1, 8, 8]).conv2d(4, 3).relu().flatten();
    let model = model.dropout(0.2).dense(3).build()?;
    let mut gpu = Gpu::new()?;
    let mut trainer = Trainer::builder(model)
        .batch(8)
        .optimizer(Optimizer::adam(0.01))
        .checkpoint_every(EVERY)
        .on(&gpu)?;
    let (mut number, mut worst) = (0, 0);
    while number < STEPS {
        if trouble && number == worst {
            worst += 1;
            gpu.device().destroy();
        }
        let (images, labels) = batch(number);
        let done = trainer.step(&images, labels).and_then(|()| trainer.loss());
        match done {
            Ok(_) => number += 1,
            Err(Error::DeviceLost { .. }) => {
                gpu = Gpu::new()?;
                number = trainer.recover(&gpu)?;
                println!("lost at step {}, on from {number}", worst - 1);
            }
            Err(error) => return Err(error),
        }
    }
    trainer.loss()
}

/// Patterns in three directions.
fn batch(number: u64) -> (Vec<f32>, Vec<u8>) {
    let labels: Vec<u8> = (0..8).map(|at| ((number + at) % 3) as u8).collect();
    let pixel = |label: u8, at: usize| {
        let (x, y) = (at % 8, at / 8);
        let along = [x, y, x + y][usize::from(label)] as u64;
        ((along + number) % 4) as f32 - 1.5
    };
    let images = labels
        .iter()
        .flat_map(|&label| (0..64).map(move |at| pixel(label, at)));
    (images.collect(), labels)
}
