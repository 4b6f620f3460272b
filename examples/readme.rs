//! The README's first sample as a complete program: one epoch over the Fashion-MNIST subset.
//!
//! ```sh
//! cargo run --release --example readme
//! ```
//!
//! `examples/fashion_mnist.rs` is the same with options, curves and a fallback to the CPU.

#[path = "common/finite.rs"]
mod finite;
#[path = "common/out.rs"]
mod out;

use std::path::Path;

use wgpu_cnn::data::{Loader, Memory, Split};
use wgpu_cnn::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/data/fashion-mnist"
    ));
    let train = Memory::read_mnist(folder, Split::Train)?;
    let test = Memory::read_mnist(folder, Split::Test)?;
    let train = Loader::builder(train).batch(64).shuffle(true).build()?;
    let test = Loader::builder(test).batch(1000).build()?;
    out::prepare(Path::new("out"), &["readme.safetensors"])?;

    let gpu = Gpu::new()?; // the best adapter
    #[rustfmt::skip]
    let model = Model::builder([1, 28, 28])
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(10)
        .build()?; // every shape error is found here, and names the layer
    let mut trainer = Trainer::builder(model)
        .batch(64)
        .optimizer(Optimizer::adam(1e-3))
        .seed(7)
        .on(&gpu)?;

    for batch in train.epoch(0) {
        let batch = batch?;
        trainer.step(&batch.images, batch.targets)?; // one submission, nothing is created
    }
    println!("loss {:.3} in the last step", trainer.loss()?); // the only read-back

    let mut right = 0;
    for batch in test.epoch(0) {
        let batch = batch?;
        let logits = trainer.predict(&batch.images)?; // a row of 10 for each image
        let Target::Labels(labels) = batch.targets else {
            unreachable!("images have a label each");
        };
        let pairs = logits.chunks_exact(10).zip(labels);
        let is_right = |(logits, label): &(&[f32], u32)| {
            let answer = (0..10).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            answer == Some(*label as usize)
        };
        right += pairs.filter(is_right).count();
    }
    println!(
        "{right} of {} test images classified right on {}",
        test.dataset().len(),
        gpu.info().name
    );
    finite::check(&trainer)?;
    trainer.save("out/readme.safetensors")?;
    Ok(())
}
