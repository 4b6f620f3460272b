//! Mixup and cutmix.

use wgpu_cnn::data::{Array, Batch, Loader, LoaderBuilder, Memory};
use wgpu_cnn::{Error, Target};

/// Ten images of 6 x 8, each of one value, its number; three classes.
fn loader() -> LoaderBuilder {
    let pixels: Vec<f32> = (0..10).flat_map(|image| [image as f32; 2 * 48]).collect();
    let images = Array::new([10, 2, 6, 8], pixels).unwrap();
    let memory = Memory::new(images, (0..10).map(|image| image % 3).collect::<Vec<u32>>());
    Loader::builder(memory.unwrap()).batch(4).classes(3).seed(3)
}

fn batches(loader: LoaderBuilder) -> Vec<Batch> {
    loader
        .build()
        .unwrap()
        .epoch(0)
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The share of an example's own in its target, where the one before is of another class.
fn own(batch: &Batch, at: usize) -> f32 {
    let Target::Values(values) = &batch.targets else {
        panic!("{:?}", batch.targets)
    };
    assert_eq!(values.len(), 3 * batch.len());
    let row = &values[3 * at..3 * at + 3];
    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{row:?}");
    row[batch.indices[at] % 3]
}

#[test]
fn mixup_mixes_images_and_targets_alike() {
    let mut shares = Vec::new();
    for batch in batches(loader().mixup(0.8)) {
        for at in 0..batch.len() {
            let before = batch.indices[(at + batch.len() - 1) % batch.len()];
            let share = match before % 3 == batch.indices[at] % 3 {
                true => continue,
                false => own(&batch, at),
            };
            let value = batch.indices[at] as f32 * share + before as f32 * (1.0 - share);
            for pixel in &batch.images[at * 96..(at + 1) * 96] {
                assert!((pixel - value).abs() < 1e-5, "{pixel} {value}");
            }
            shares.push(share);
        }
    }
    shares.dedup();
    assert!(shares.len() > 1, "one share for each batch: {shares:?}");
}

#[test]
fn cutmix_puts_a_rectangle_in_and_counts_it() {
    let mut cut = 0;
    for batch in batches(loader().cutmix(1.0)) {
        for at in 0..batch.len() {
            let before = batch.indices[(at + batch.len() - 1) % batch.len()] as f32;
            let image = &batch.images[at * 96..(at + 1) * 96];
            let others: Vec<usize> = (0..96).filter(|&p| image[p] == before).collect();
            assert!((0..96).all(|p| image[p] == before || image[p] == batch.indices[at] as f32));
            // The same rectangle in both channels.
            let (first, second) = others.split_at(others.len() / 2);
            assert!(first.iter().zip(second).all(|(a, b)| a + 48 == *b));
            if before as usize % 3 != batch.indices[at] % 3 {
                let share = 1.0 - others.len() as f32 / 96.0;
                assert!((own(&batch, at) - share).abs() < 1e-6);
            }
            cut += others.len();
        }
    }
    assert!(cut > 0);
}

#[test]
fn both_take_turns_and_values_are_mixed_as_they_are() {
    let memory = Memory::new(
        Array::new([64, 1, 4, 4], vec![0f32; 1024]).unwrap(),
        vec![0.5f32; 64],
    )
    .unwrap();
    let loader = Loader::builder(memory)
        .batch(1)
        .classes(1)
        .mixup(1.0)
        .cutmix(1.0);
    for batch in batches(loader) {
        // An example alone is mixed with itself.
        let Target::Values(values) = batch.targets else {
            panic!("no values")
        };
        assert!((values[0] - 0.5).abs() < 1e-6);
    }
}

#[test]
fn what_cannot_be_mixed_is_refused() {
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for builder in [loader().mixup(alpha), loader().cutmix(alpha)] {
            assert!(
                matches!(builder.build(), Err(Error::Argument { .. })),
                "{alpha}"
            );
        }
    }
    let error = loader()
        .mixup(1.0)
        .classes(0)
        .build()
        .unwrap_err()
        .to_string();
    assert!(error.contains("number of classes"), "{error}");
    let first = |builder: LoaderBuilder| builder.build().unwrap().epoch(0).next().unwrap();
    // Too few classes; signals have no rectangles; labels of pixels.
    assert!(first(loader().mixup(1.0).classes(2)).is_err());
    let signals = Memory::new(Array::new([2, 1, 3], vec![0f32; 6]).unwrap(), [0u8, 1]).unwrap();
    assert!(first(Loader::builder(signals).classes(2).cutmix(1.0)).is_err());
    let pixels = Memory::new(Array::new([2, 1, 1, 3], vec![0f32; 6]).unwrap(), [0u8; 6]).unwrap();
    assert!(first(Loader::builder(pixels).classes(2).mixup(1.0)).is_err());
}
