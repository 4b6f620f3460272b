//! The README's first sample as a complete program: one epoch over the Fashion-MNIST subset.
//!
//! ```sh
//! cargo run --release --example readme
//! ```
//!
//! `examples/fashion_mnist.rs` is the same with options, curves and a fallback to the CPU.

#[path = "common/dataset.rs"]
mod dataset;
#[path = "common/finite.rs"]
mod finite;
#[path = "common/out.rs"]
mod out;

use std::path::Path;

use wgpu_cnn::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/data/fashion-mnist"
    ));
    let (train, test) = dataset::load(folder)?;
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

    for (images, labels) in train.shuffled(64, 7) {
        trainer.step(&images, labels)?; // one submission, nothing is created
    }
    println!("loss {:.3} in the last step", trainer.loss()?); // the only read-back

    let mut right = 0;
    for (images, labels) in test.in_order(1000) {
        let logits = trainer.predict(&images)?; // a row of 10 for each image
        let pairs = dataset::answers(&logits, [dataset::CLASSES, 1]).zip(&labels);
        right += pairs
            .filter(|&(answer, &label)| answer == usize::from(label))
            .count();
    }
    println!(
        "{right} of {} test images classified right on {}",
        test.len(),
        gpu.info().name
    );
    finite::check(&trainer)?;
    trainer.save("out/readme.safetensors")?;
    Ok(())
}
