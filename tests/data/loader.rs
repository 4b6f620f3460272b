//! Loaders: order, threads, places, damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wgpu_cnn::data::{
    Array, Batch, Dataset, Example, ImageFolder, Loader, LoaderBuilder, Memory, Place, Transforms,
};
use wgpu_cnn::{Error, Result, Target};

use crate::{Folder, path};

fn memory(count: usize) -> Memory {
    let pixels: Vec<u8> = (0..count * 2 * 36).map(|at| (at * 7 % 251) as u8).collect();
    let images = Array::new([count, 2, 6, 6], pixels).unwrap();
    let labels: Vec<u32> = (0..count as u32).map(|at| at % 4).collect();
    Memory::new(images, labels).unwrap()
}

/// A loader that draws all that can be drawn.
pub fn random(count: usize) -> LoaderBuilder {
    let noise = Transforms::new()
        .random_crop(5, 1)
        .random_resized_crop(4)
        .flip(0.5)
        .random_erasing(0.5);
    let loader = Loader::builder(memory(count))
        .transforms(noise)
        .batch(5)
        .seed(11);
    loader.shuffle(true).classes(4).mixup(0.5).cutmix(1.0)
}

pub fn all(loader: &Loader, epoch: u64) -> Vec<Batch> {
    loader.epoch(epoch).collect::<Result<_>>().unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same_batches() {
    let expected = all(&random(43).build().unwrap(), 3);
    assert_eq!(expected.len(), 9);
    for workers in [1, 2, 4, 16] {
        for ahead in [1, 3, 100] {
            let loader = random(43).workers(workers).ahead(ahead).build().unwrap();
            assert!(
                all(&loader, 3) == expected,
                "{workers} threads, {ahead} ahead"
            );
        }
    }
}

#[test]
fn each_epoch_has_every_example_once_in_an_order_of_its_own() {
    let loader = random(43).build().unwrap();
    let order = |epoch| -> Vec<usize> {
        let batches = all(&loader, epoch);
        batches
            .into_iter()
            .flat_map(|batch| batch.indices)
            .collect()
    };
    let (first, second) = (order(0), order(1));
    assert_ne!(first, second);
    assert_eq!(first, order(0));
    for mut order in [first, second] {
        order.sort_unstable();
        assert_eq!(order, (0..43).collect::<Vec<_>>());
    }
    // The same example looks different in another epoch, and the seed changes everything.
    let other = random(43).seed(12).build().unwrap();
    assert_ne!(all(&loader, 0), all(&other, 0));
    let still = random(43).shuffle(false).build().unwrap();
    let (one, two) = (all(&still, 0), all(&still, 1));
    assert_eq!(one[0].indices, [0, 1, 2, 3, 4]);
    assert_ne!(one[0].images, two[0].images);
}

#[test]
fn the_last_batch_is_smaller_or_dropped() {
    let sizes = |builder: LoaderBuilder| -> Vec<usize> {
        let loader = builder.build().unwrap();
        let sizes: Vec<usize> = all(&loader, 0).iter().map(Batch::len).collect();
        assert_eq!(loader.len(), sizes.len());
        sizes
    };
    assert_eq!(sizes(Loader::builder(memory(7)).batch(3)), [3, 3, 1]);
    assert_eq!(
        sizes(Loader::builder(memory(7)).batch(3).drop_last(true)),
        [3, 3]
    );
    assert_eq!(sizes(Loader::builder(memory(6)).batch(3)), [3, 3]);
    assert_eq!(sizes(Loader::builder(memory(7)).batch(usize::MAX)), [7]);
    let batch = &all(&Loader::builder(memory(7)).batch(3).build().unwrap(), 0)[2];
    assert_eq!(batch.shape[..], [1, 2, 6, 6]);
    assert_eq!(batch.images.len(), 72);
    assert_eq!(batch.targets, Target::Labels(vec![2]));
    let dropped = Loader::builder(memory(2)).batch(3).drop_last(true).build();
    assert!(matches!(dropped, Err(Error::Argument { .. })));
}

#[test]
fn a_run_goes_on_from_any_place() {
    // Three epochs of four batches: interrupted after each of them.
    let run = |loader: &Loader, from: u64, stop: usize| -> Vec<Batch> {
        let epochs = (from..3).flat_map(|epoch| loader.epoch(epoch));
        epochs.take(stop).collect::<Result<_>>().unwrap()
    };
    let whole = run(&random(17).build().unwrap(), 0, usize::MAX);
    assert_eq!(whole.len(), 12);
    for stop in 0..=12 {
        for (workers, then) in [(0, 0), (2, 0), (0, 3), (1, 2)] {
            let loader = random(17).workers(workers).build().unwrap();
            let mut batches = run(&loader, 0, stop);
            let place: Place = loader.place().to_string().parse().unwrap();
            assert_eq!((place.epoch(), place.batch()), (stop as u64 / 4, stop % 4));
            let bytes: Vec<u8> = place.into(); // as a trainer keeps it
            assert_eq!(Place::try_from(&bytes[..]).unwrap(), place);
            let loader = random(17).workers(then).build().unwrap();
            loader.resume(&place).unwrap();
            assert_eq!(loader.place(), place);
            batches.extend(run(&loader, place.epoch(), usize::MAX));
            assert!(batches == whole, "{stop}");
        }
    }
    // An epoch that is begun anew begins at its beginning, also where another one was resumed.
    let loader = random(17).build().unwrap();
    assert_eq!(run(&loader, 0, 2), whole[..2]);
    assert_eq!(run(&loader, 0, 2), whole[..2]);
    loader.resume(&loader.place()).unwrap();
    assert_eq!(run(&loader, 1, 4), whole[4..8]);
    assert_eq!(run(&loader, 0, 1), whole[..1]);
}

#[test]
fn the_place_of_another_loader_is_refused() {
    let place = {
        let loader = random(17).build().unwrap();
        let mut batches = loader.epoch(2);
        batches.by_ref().take(3).for_each(drop);
        loader.place()
    };
    for (what, other) in [
        ("examples", random(18)),
        ("batch size", random(17).batch(6)),
        ("seed", random(17).seed(12)),
        ("shuffle", random(17).shuffle(false)),
        ("drop_last", random(17).drop_last(true)),
    ] {
        let other = other.build().unwrap();
        let error = other.resume(&place).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        assert_eq!((other.place().epoch(), other.place().batch()), (0, 0));
    }
    let text = place.to_string();
    assert_eq!(
        text,
        "loader-1 epoch=2 batch=3 examples=17 size=5 seed=11 shuffle=true drop_last=false"
    );
    for text in [
        "",
        "loader-1",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text} "),
        &text.replace("=3", "=-3"),
    ] {
        assert!(text.parse::<Place>().is_err(), "{text}");
        assert!(Place::try_from(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Place::try_from(&[0xff][..]).is_err());
    let past: Place = text.replace("batch=3", "batch=4").parse().unwrap();
    assert!(random(17).build().unwrap().resume(&past).is_err());
}

/// A folder with images, of which some are damaged.
pub fn damaged(name: &str, count: usize, broken: &[usize]) -> Folder {
    let folder = Folder::new(name);
    let whole = std::fs::read(path("images/rgb.png")).unwrap();
    for at in 0..count {
        let end = if broken.contains(&at) {
            300
        } else {
            whole.len()
        };
        folder.write(&format!("class/{at}.png"), &whole[..end]);
    }
    folder
}

#[test]
fn damaged_images_are_an_error_that_names_the_file_or_skipped_and_counted() {
    let folder = damaged("damaged", 7, &[2, 3, 6]);
    let images = || Loader::builder(ImageFolder::open(&folder.0).unwrap()).batch(2);
    for workers in [0, 2] {
        let loader = images().workers(workers).build().unwrap();
        let results: Vec<_> = loader.epoch(0).collect();
        // Batches after the error can be asked for.
        let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, true, false]);
        let error = results[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("2.png"), "{error}");

        let loader = images()
            .workers(workers)
            .skip_damaged(true)
            .build()
            .unwrap();
        let indices: Vec<_> = all(&loader, 0)
            .into_iter()
            .map(|batch| batch.indices)
            .collect();
        assert_eq!(indices, [[0, 1], [4, 5]]);
        assert_eq!(loader.skipped(), 3);
        // Past the batches that nothing was left of.
        assert_eq!((loader.place().epoch(), loader.place().batch()), (1, 0));
        assert_eq!(all(&loader, 1).len(), 2);
        assert_eq!(loader.skipped(), 6);
    }
    let folder = damaged("all-damaged", 3, &[0, 1, 2]);
    let loader = Loader::builder(ImageFolder::open(&folder.0).unwrap()).skip_damaged(true);
    let results: Vec<_> = loader.build().unwrap().epoch(0).collect();
    assert!(
        matches!(results[..], [Err(Error::File { .. })]),
        "{results:?}"
    );
}

/// Examples of numbers, of which one is trouble.
struct Trouble {
    at: usize,
    asked: Arc<AtomicUsize>,
    trouble: fn() -> Result<Example>,
}

impl Dataset for Trouble {
    fn len(&self) -> usize {
        40
    }

    fn get(&self, index: usize) -> Result<Example> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if index == self.at {
            return (self.trouble)();
        }
        Ok(Example {
            input: Array::new([1], vec![index as f32])?,
            target: [0u8].into(),
        })
    }
}

fn trouble(at: usize, trouble: fn() -> Result<Example>) -> (LoaderBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let dataset = Trouble {
        at,
        asked: asked.clone(),
        trouble,
    };
    (Loader::builder(dataset).batch(4), asked)
}

#[test]
fn a_panic_is_an_error_and_nothing_hangs() {
    for workers in [0, 1, 4] {
        let (builder, _) = trouble(9, || panic!("no such luck"));
        let loader = builder.workers(workers).build().unwrap();
        let results: Vec<_> = loader.epoch(0).collect();
        assert_eq!(results.len(), 10);
        let errors: Vec<_> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["data set: panicked in batch 2 of epoch 0: no such luck"]
        );
    }
}

#[test]
fn a_loader_that_is_dropped_ends_its_threads() {
    for workers in [1, 4] {
        for taken in [0, 1, 5, 10] {
            let (builder, asked) = trouble(99, || unreachable!());
            let loader = builder.workers(workers).ahead(3).build().unwrap();
            let mut batches = loader.epoch(0);
            assert_eq!(batches.by_ref().take(taken).count(), taken);
            drop((batches, loader));
            // The threads are gone, and with them the data set.
            assert_eq!(Arc::strong_count(&asked), 1);
            // Never more than were allowed to lie ready.
            let most = 4 * (taken + 3).min(10);
            assert!(asked.load(Ordering::Relaxed) <= most, "{taken}");
        }
    }
}

#[test]
fn batches_are_made_ahead_up_to_the_bound() {
    let (builder, asked) = trouble(99, || unreachable!());
    let loader = builder.workers(2).ahead(3).build().unwrap();
    let mut batches = loader.epoch(0);
    batches.next();
    let wanted = 4 * 4;
    for _ in 0..500 {
        if asked.load(Ordering::Relaxed) == wanted {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(asked.load(Ordering::Relaxed), wanted);
}

#[test]
fn examples_that_do_not_go_together_are_told() {
    let (builder, _) = trouble(5, || {
        Ok(Example {
            input: Array::new([2], vec![0f32; 2])?,
            target: [0u8].into(),
        })
    });
    let error = builder
        .build()
        .unwrap()
        .epoch(0)
        .nth(1)
        .unwrap()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "example 5: expected [1], as of the batch's first: resize or crop to one size, got [2]"
    );
    let (builder, _) = trouble(5, || {
        Ok(Example {
            input: Array::new([1], vec![0f32])?,
            target: [0.5f32].into(),
        })
    });
    let error = builder
        .build()
        .unwrap()
        .epoch(0)
        .nth(1)
        .unwrap()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("some are labels and some are values"),
        "{error}"
    );
    // A label that needs more bits makes the others as wide.
    let (builder, _) = trouble(5, || {
        Ok(Example {
            input: Array::new([1], vec![0f32])?,
            target: [-100i64].into(),
        })
    });
    let batch = builder.build().unwrap().epoch(0).nth(1).unwrap().unwrap();
    assert_eq!(batch.targets, Target::WideLabels(vec![0, -100, 0, 0]));
}

#[test]
fn options_outside_their_domain_are_refused() {
    let refused: [fn(LoaderBuilder) -> LoaderBuilder; 4] = [
        |builder| builder.batch(0),
        |builder| builder.workers(usize::MAX),
        |builder| builder.ahead(0),
        |builder| builder.transforms(Transforms::new().resize(0)),
    ];
    for of in refused {
        let built = of(Loader::builder(memory(3))).build();
        assert!(matches!(built, Err(Error::Argument { .. })));
    }
    assert!(Memory::new(Array::new([0, 3], vec![0u8; 0]).unwrap(), [0u8; 0]).is_err());
    assert!(Memory::new(Array::new([2, 3], vec![0u8; 6]).unwrap(), [0u8; 3]).is_err());
    assert!(Memory::new(Array::new([], vec![0u8; 1]).unwrap(), [0u8; 1]).is_err());
    // Two labels each are two labels each.
    let two = Memory::new(Array::new([2, 3], vec![0u8; 6]).unwrap(), [0u8, 1, 2, 3]).unwrap();
    assert_eq!(two.get(1).unwrap().target, Target::Labels(vec![2, 3]));
}
