//! How fast a folder of photographs becomes batches: `cargo bench --bench loader`.
//!
//! Makes 512 JPEG files of 500 x 375 in a folder, unless they are there, and reads them as for a training on
//! ImageNet: a random part of 224 x 224, flipped, normalised, in batches of 32. Prints images a second, the best of
//! three epochs, with 0, 1 and 2 workers. `python benches/with_pytorch.py cpu 2 loader FOLDER` reads the same files
//! with torchvision and a DataLoader. `cargo bench --bench loader -- FOLDER` takes a folder of one's own.

use std::path::{Path, PathBuf};
use std::time::Instant;

use wgpu_cnn::data::{IMAGENET, ImageFolder, Loader, Transforms};

const IMAGES: usize = 512;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let folder = match named {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = std::env::temp_dir().join("wgpu-cnn-loader-bench");
            make(&folder)?;
            folder
        }
    };
    println!("folder: {}", folder.display());
    for workers in [0, 1, 2] {
        let images = ImageFolder::open(&folder)?;
        let augment = Transforms::new()
            .random_resized_crop(224)
            .flip(0.5)
            .normalise(IMAGENET);
        let loader = Loader::builder(images)
            .transforms(augment)
            .batch(32)
            .shuffle(true);
        let loader = loader.workers(workers).build()?;
        let mut best = 0f64;
        for epoch in 0..3 {
            let begin = Instant::now();
            for batch in loader.epoch(epoch) {
                std::hint::black_box(batch?);
            }
            let count = loader.dataset().len() as f64;
            best = best.max(count / begin.elapsed().as_secs_f64());
        }
        println!("{workers} workers: {best:.0} images a second");
    }
    Ok(())
}

/// Writes the photographs, in two classes: smooth colours with some noise, which pack about as photographs do.
fn make(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = fastrand::Rng::with_seed(7);
    for at in 0..IMAGES {
        let file = folder.join(format!("class{}/{at:04}.jpg", at % 2));
        if file.exists() {
            continue;
        }
        std::fs::create_dir_all(file.parent().unwrap_or(folder))?;
        let phases: [f32; 6] = std::array::from_fn(|_| 3.0 + 40.0 * random.f32());
        let image = image::RgbImage::from_fn(500, 375, |x, y| {
            let (x, y) = (x as f32, y as f32);
            image::Rgb(std::array::from_fn(|channel| {
                let wave = (x / phases[channel]).sin() + (y / phases[channel + 3]).cos();
                (128.0 + 50.0 * wave + 16.0 * (random.f32() - 0.5)) as u8
            }))
        });
        let mut bytes = Vec::new();
        image.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(
            &mut bytes, 85,
        ))?;
        std::fs::write(file, bytes)?;
    }
    Ok(())
}
