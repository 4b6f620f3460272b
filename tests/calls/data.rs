//! The module `data`.

use wgpu_cnn::Target;
use wgpu_cnn::data::{
    Array, Batch, Colour, Dataset, IMAGENET, ImageFolder, ImageSize, Loader, Memory, Place, Random,
    Split, Transforms, Values,
};

use crate::call::Call;
use crate::draw::{Draw, LONGEST};

const RANDOM: &[&str] = &[
    "Random::new",
    "Random::bits",
    "Random::below",
    "Random::unit",
    "Random::flag",
    "Random::normal",
];

const BYTES: &[&str] = &[
    "Array::image",
    "Array::idx",
    "Array::npy",
    "Array::npz",
    "Memory::cifar10",
    "Memory::cifar100",
    "Memory::mnist",
];

const FILES: &[&str] = &[
    "Array::read_image",
    "Array::read_idx",
    "Array::read_npy",
    "Array::read_npz",
    "Memory::read_mnist",
    "Memory::read_cifar10",
    "Memory::read_cifar100",
    "ImageFolder::open",
    "ImageFolder::colour",
    "ImageFolder::file",
];

const TRANSFORMS: &[&str] = &[
    "Array::new",
    "Array::shape",
    "Array::values",
    "Array::to_floats",
    "Values::len",
    "Values::is_empty",
    "Transforms::new",
    "Transforms::resize",
    "Transforms::resize_to",
    "Transforms::centre_crop",
    "Transforms::random_crop",
    "Transforms::random_resized_crop",
    "Transforms::random_resized_crop_within",
    "Transforms::flip",
    "Transforms::flip_rows",
    "Transforms::normalise",
    "Transforms::random_erasing",
    "Transforms::map",
    "Transforms::check",
    "Transforms::apply",
];

const LOADER: &[&str] = &[
    "Memory::new",
    "Memory::class_names",
    "Memory::inputs",
    "Memory::targets",
    "Memory::example_shape",
    "Dataset::len",
    "Dataset::is_empty",
    "Dataset::get",
    "Dataset::classes",
    "Loader::builder",
    "LoaderBuilder::transforms",
    "LoaderBuilder::batch",
    "LoaderBuilder::shuffle",
    "LoaderBuilder::seed",
    "LoaderBuilder::drop_last",
    "LoaderBuilder::shard",
    "LoaderBuilder::mixup",
    "LoaderBuilder::cutmix",
    "LoaderBuilder::classes",
    "LoaderBuilder::skip_damaged",
    "LoaderBuilder::bytes",
    "LoaderBuilder::workers",
    "LoaderBuilder::ahead",
    "LoaderBuilder::build",
    "Loader::len",
    "Loader::is_empty",
    "Loader::dataset",
    "Loader::epoch",
    "Loader::place",
    "Loader::resume",
    "Loader::skipped",
    "Batch::len",
    "Batch::is_empty",
    "Place::epoch",
    "Place::batch",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(RANDOM, |d| {
            let mut random = source(d);
            let (bound, probability) = (d.number(), d.real());
            assert!(random.below(bound) < bound.max(1));
            assert!((0.0..1.0).contains(&random.unit()) && random.normal().is_finite());
            random.flag(probability) || random.bits() > 0
        }),
        Call::quick(BYTES, |d| {
            let bytes = file(d);
            match d.below(7) {
                0 => Array::image(&bytes, colour(d)).is_ok(),
                1 => Array::idx(&bytes).is_ok(),
                2 => Array::npy(&bytes).is_ok(),
                3 => Array::npz(&bytes).is_ok(),
                4 => Memory::cifar10(&bytes).is_ok(),
                5 => Memory::mnist(&bytes, &bytes).is_ok(),
                _ => Memory::cifar100(&bytes).is_ok(),
            }
        }),
        Call::quick(FILES, |d| {
            let path = d.pick(&[
                "",
                "src",
                "Cargo.toml",
                "/dev/null",
                "tests/calls",
                "\0",
                "no such",
            ]);
            let split = d.pick(&[Split::Train, Split::Test]);
            match d.below(8) {
                0 => Array::read_image(path, colour(d)).is_ok(),
                1 => Array::read_idx(path).is_ok(),
                2 => Array::read_npy(path).is_ok(),
                3 => Array::read_npz(path).is_ok(),
                4 => Memory::read_mnist(path, split).is_ok(),
                5 => Memory::read_cifar10(path, split).is_ok(),
                6 => Memory::read_cifar100(path, split).is_ok(),
                _ => ImageFolder::open(path)
                    .is_ok_and(|folder| folder.colour(colour(d)).file(d.number()).is_some()),
            }
        }),
        Call::quick(TRANSFORMS, |d| {
            let (input, transforms) = (array(d), transforms(d));
            let Some(input) = input else { return false };
            let checked = transforms.check();
            let made = transforms.apply(input, &mut source(d));
            assert!(checked.is_ok() || made.is_err());
            made.is_ok_and(|made| {
                assert_eq!(made.values().len(), made.shape().len());
                made.to_floats().is_empty() == made.values().is_empty()
            })
        }),
        Call::quick(LOADER, |d| {
            let (Some(inputs), classes) = (array(d), d.below(5)) else {
                return false;
            };
            let examples = inputs.shape().first().copied().unwrap_or(0);
            let wanted = examples.saturating_mul(d.pick(&[1, 1, 1, 2]));
            let labels: Target = match d.flag() {
                true => d.floats::<f32>(wanted).into(),
                false => vec![d.below(4) as i64 - 1; d.length(wanted)].into(),
            };
            let Ok(memory) = Memory::new(inputs, labels) else {
                return false;
            };
            let memory = memory.class_names((0..classes).map(|class| class.to_string()));
            let _ = (memory.inputs(), memory.targets(), memory.example_shape());
            assert!(!memory.is_empty() && memory.classes().len() == classes);
            let index = d.number();
            assert_eq!(memory.get(index).is_ok(), index < memory.len());
            load(d, memory)
        }),
    ]
}

fn source(d: &mut Draw) -> Random {
    Random::new(d.number() as u64, d.number() as u64, d.number() as u64)
}

fn colour(d: &mut Draw) -> Colour {
    d.pick(&[Colour::Rgb, Colour::Grey])
}

/// Something like the beginning of a file.
fn file(d: &mut Draw) -> Vec<u8> {
    let starts: [&[u8]; 9] = [
        b"",
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"BM",
        b"RIFF\x40\x00\x00\x00WEBPVP8L",
        b"\x00\x00\x08\x02",
        b"\x93NUMPY\x01\x00",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
    ];
    let mut bytes = d.pick(&starts).to_vec();
    let random = d.below(200);
    bytes.extend((0..random).map(|_| d.number() as u8));
    bytes
}

fn array(d: &mut Draw) -> Option<Array> {
    let shape = match d.is_hostile() {
        true => d.shape(),
        false => d.image(),
    };
    let count = d.length(shape.len().min(LONGEST));
    let values: Values = match d.below(3) {
        0 => (0..count)
            .map(|_| d.number() as u8)
            .collect::<Vec<_>>()
            .into(),
        1 => (0..count)
            .map(|_| d.number() as i64)
            .collect::<Vec<_>>()
            .into(),
        _ => d.floats::<f32>(count).into(),
    };
    Array::new(shape, values).ok()
}

/// An extent that is small or one that nobody means: no image of gigabytes that is allowed.
fn extent(d: &mut Draw) -> usize {
    match d.is_hostile() {
        true => d.pick(&[0, usize::MAX, usize::MAX / 2, 1 << 32, 1 << 31]),
        false => 1 + d.below(9),
    }
}

fn size(d: &mut Draw) -> ImageSize {
    match d.flag() {
        true => extent(d).into(),
        false => [extent(d), extent(d)].into(),
    }
}

fn transforms(d: &mut Draw) -> Transforms {
    let mut transforms = Transforms::new();
    for _ in 0..d.below(4) {
        transforms = match d.below(11) {
            0 => transforms.resize(extent(d)),
            1 => transforms.resize_to([extent(d), extent(d)]),
            2 => transforms.centre_crop(size(d)),
            3 => transforms.random_crop(size(d), d.number()),
            4 => transforms.random_resized_crop(size(d)),
            5 => {
                let bounds = [[d.real(), d.real()], [d.real(), d.real()]];
                transforms.random_resized_crop_within(size(d), bounds[0], bounds[1])
            }
            6 => transforms.flip(d.real()),
            7 => transforms.flip_rows(d.real()),
            8 if d.flag() => transforms.normalise(IMAGENET),
            8 => transforms.normalise([[d.single()], [d.single()]]),
            9 => transforms.random_erasing(d.real()),
            _ => transforms.map(|input, _| Ok(input)),
        };
    }
    transforms
}

/// Some batches of a loader of any options.
fn load(d: &mut Draw, memory: Memory) -> bool {
    let mut builder = Loader::builder(memory)
        .transforms(transforms(d))
        .batch(d.number())
        .seed(d.number() as u64)
        .shuffle(d.flag())
        .drop_last(d.flag())
        .skip_damaged(d.flag())
        .bytes(d.below(4) == 0);
    if d.flag() {
        builder = builder.mixup(d.real());
    }
    if d.flag() {
        builder = builder.cutmix(d.real()).classes(extent(d));
    }
    if d.below(8) == 0 {
        builder = builder
            .workers(d.pick(&[0, 1, 2, usize::MAX]))
            .ahead(d.number());
    }
    let mut shares = false;
    if d.flag() {
        let (rank, size) = (d.number(), d.number());
        shares = size > 1;
        builder = builder.shard(rank, size);
    }
    let Ok(loader) = builder.build() else {
        return false;
    };
    assert!(!loader.is_empty() && !loader.dataset().is_empty());
    let mut value = false;
    for batch in loader.epoch(d.number() as u64).take(3) {
        let fits =
            |batch: Batch| (shares || !batch.is_empty()) && batch.len() <= loader.dataset().len();
        value |= batch.is_ok_and(fits);
    }
    let place: Vec<u8> = loader.place().into();
    assert!(Place::try_from(&place[1..]).is_err());
    let place = Place::try_from(&place[..]).expect("its own text form");
    assert!((shares || place.batch() < loader.len()) && loader.skipped() == 0);
    let _ = place.epoch();
    value && loader.resume(&place).is_ok()
}
