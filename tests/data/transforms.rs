//! Transforms, beside torchvision.

use wgpu_cnn::data::{Array, IMAGENET, Random, Transforms, Values};
use wgpu_cnn::{Error, Result};

use crate::{bytes, expected};

fn random() -> Random {
    Random::new(3, 1, 4)
}

fn rgb() -> Array {
    expected("rgb.png.RGB").clone()
}

/// The image with rows and columns changed.
fn upright(image: &Array) -> Array {
    let [channels, height, width] = image.shape()[..] else {
        panic!("no image")
    };
    let old = bytes(image);
    let at = |plane, row, column| old[(plane * height + column) * width + row];
    let planes = (0..channels)
        .flat_map(|p| (0..width).flat_map(move |r| (0..height).map(move |c| at(p, r, c))));
    Array::new([channels, width, height], planes.collect::<Vec<u8>>()).unwrap()
}

/// What a transform makes of bytes, as bytes.
fn of_bytes(transforms: &Transforms, image: Array) -> (Vec<usize>, Vec<u8>) {
    let made = transforms.apply(image, &mut random()).unwrap();
    let floats = made.to_floats();
    let bytes = floats.iter().map(|value| (value * 255.0).round() as u8);
    (made.shape().to_vec(), bytes.collect())
}

#[track_caller]
fn hold(transforms: Transforms, image: Array, name: &str) {
    let (shape, made) = of_bytes(&transforms, image);
    let expected = expected(name);
    assert_eq!(shape, expected.shape()[..], "{name}");
    assert!(made == bytes(expected), "{name}");
}

#[test]
fn bytes_are_resized_to_the_bit_as_by_pillow() {
    for [height, width] in [
        [11, 18],
        [46, 74],
        [23, 5],
        [3, 37],
        [1, 1],
        [64, 3],
        [22, 36],
    ] {
        let to = Transforms::new().resize_to([height, width]);
        hold(to, rgb(), &format!("resize.{height}.{width}"));
    }
    for side in [8, 23, 40] {
        let to = Transforms::new().resize(side);
        hold(to.clone(), rgb(), &format!("shorter.{side}"));
        hold(to, upright(&rgb()), &format!("shorter.{side}.upright"));
    }
}

#[test]
fn real_numbers_are_resized_as_by_torch() {
    let floats: Vec<f32> = bytes(&rgb()).iter().map(|&byte| byte.into()).collect();
    for [height, width] in [
        [11, 18],
        [46, 74],
        [23, 5],
        [3, 37],
        [1, 1],
        [64, 3],
        [22, 36],
    ] {
        let image = Array::new([3, 23, 37], floats.clone()).unwrap();
        let to = Transforms::new().resize_to([height, width]);
        let made = to.apply(image, &mut random()).unwrap();
        let expected = expected(&format!("resize.{height}.{width}.floats"));
        assert_eq!(made.shape(), expected.shape());
        for (made, expected) in made.to_floats().iter().zip(expected.to_floats()) {
            // Two sums of some ten terms of up to 255.
            assert!((made - expected).abs() < 2e-4, "{made}, {expected}");
        }
    }
}

#[test]
fn the_middle_is_cropped_and_small_images_get_a_margin() {
    for [height, width] in [[10, 10], [23, 37], [24, 10], [9, 40], [30, 50], [22, 36]] {
        let crop = Transforms::new().centre_crop([height, width]);
        hold(crop, rgb(), &format!("centre.{height}.{width}"));
    }
}

#[test]
fn the_usual_chain_gives_the_bits_of_torchvision() {
    let usual = Transforms::new()
        .resize(20)
        .centre_crop(16)
        .normalise(IMAGENET);
    let made = usual.apply(rgb(), &mut random()).unwrap();
    assert_eq!(&made, expected("usual"));
}

/// An image whose pixels tell where they were.
fn ramp(height: usize, width: usize) -> Array {
    let pixels: Vec<f32> = (0..2 * height * width).map(|at| at as f32 + 1.0).collect();
    Array::new([2, height, width], pixels).unwrap()
}

/// Row and column of the pixel that comes first, among those of `ramp` with this width.
fn first(made: &Array, width: usize) -> [usize; 2] {
    let at = made.to_floats()[0] as usize - 1;
    [at / width, at % width]
}

#[test]
fn random_crops_begin_everywhere_with_zeros_around() {
    let mut seen = std::collections::BTreeSet::new();
    let crop = Transforms::new().random_crop([3, 4], 0);
    for index in 0..200 {
        let made = crop
            .apply(ramp(5, 6), &mut Random::new(1, 0, index))
            .unwrap();
        assert_eq!(made.shape()[..], [2, 3, 4]);
        let [top, left] = first(&made, 6);
        let expected = (0..24).map(|at| {
            let (plane, row, column) = (at / 12, at % 12 / 4, at % 4);
            ((plane * 5 + top + row) * 6 + left + column + 1) as f32
        });
        assert_eq!(made.to_floats(), expected.collect::<Vec<_>>());
        seen.insert([top, left]);
    }
    assert_eq!(seen.len(), 9);
    // With a margin of 2 a crop of 3 x 4 begins at -2..=4 and -2..=4; pixels outside are 0.
    let (crop, mut zeros) = (Transforms::new().random_crop([3, 4], 2), 0);
    for index in 0..200 {
        let made = crop
            .apply(ramp(5, 6), &mut Random::new(2, 0, index))
            .unwrap();
        zeros += usize::from(made.to_floats().contains(&0.0));
    }
    assert!((100..200).contains(&zeros), "{zeros}");
}

#[test]
fn random_resized_crops_keep_to_their_bounds() {
    // A nearly linear ramp tells from its corners which part was taken.
    let (height, width) = (40, 60);
    let pixels: Vec<f32> = (0..height * width).map(|at| (at % width) as f32).collect();
    let crop = Transforms::new().random_resized_crop([32, 32]);
    let (mut narrow, mut wide) = (f32::MAX, 0f32);
    for index in 0..200 {
        let image = Array::new([1, height, width], pixels.clone()).unwrap();
        let made = crop.apply(image, &mut Random::new(1, 0, index)).unwrap();
        assert_eq!(made.shape()[..], [1, 32, 32]);
        let row = made.to_floats();
        let columns = (row[24] - row[8]) * 2.0;
        (narrow, wide) = (narrow.min(columns), wide.max(columns));
    }
    // sqrt(0.08 * 2400 * 3 / 4) = 12, sqrt(2400 * 4 / 3) = 57.
    assert!((11.0..18.0).contains(&narrow), "{narrow}");
    assert!((45.0..58.5).contains(&wide), "{wide}");
    // What is too long for any part of such a proportion: the middle.
    let long = Array::new(
        [1, 1, 100],
        (0..100).map(|at| at as f32).collect::<Vec<_>>(),
    )
    .unwrap();
    let whole = Transforms::new().random_resized_crop_within([1, 1], [1.0, 1.0], [1.0, 2.0]);
    let made = whole.apply(long, &mut random()).unwrap();
    assert_eq!(made.to_floats(), [49.5]);
}

#[test]
fn flips_are_reversals_with_their_probability() {
    let always = Transforms::new().flip(1.0).flip_rows(1.0);
    let made = always.apply(ramp(3, 4), &mut random()).unwrap();
    let plane = |from: usize| (from..from + 12).rev().map(|at| at as f32);
    assert_eq!(
        made.to_floats(),
        plane(1).chain(plane(13)).collect::<Vec<_>>()
    );
    let rows = Transforms::new()
        .flip_rows(1.0)
        .apply(ramp(2, 3), &mut random())
        .unwrap();
    assert_eq!(rows.to_floats()[..6], [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
    let never = Transforms::new().flip(0.0).flip_rows(0.0);
    assert_eq!(never.apply(ramp(3, 4), &mut random()).unwrap(), ramp(3, 4));
    let some = Transforms::new().flip(0.25);
    let flipped = (0..2000).filter(|&index| {
        some.apply(ramp(1, 2), &mut Random::new(9, 0, index))
            .unwrap()
            != ramp(1, 2)
    });
    let share = flipped.count() as f64 / 2000.0;
    assert!((0.22..0.28).contains(&share), "{share}");
}

#[test]
fn one_rectangle_is_erased() {
    let erase = Transforms::new().random_erasing(1.0);
    let (mut least, mut most) = (usize::MAX, 0);
    for index in 0..200 {
        let made = erase
            .apply(ramp(20, 30), &mut Random::new(4, 0, index))
            .unwrap();
        let floats = made.to_floats();
        let zeros = |plane: usize| -> Vec<usize> {
            let pixels = floats[plane * 600..(plane + 1) * 600].iter().enumerate();
            pixels
                .filter(|(_, value)| **value == 0.0)
                .map(|(at, _)| at)
                .collect()
        };
        let erased = zeros(0);
        assert_eq!(erased, zeros(1));
        let rows = erased.last().unwrap() / 30 - erased[0] / 30 + 1;
        let columns = erased.len() / rows;
        let inside =
            |at: &usize| at / 30 < erased[0] / 30 + rows && at % 30 < erased[0] % 30 + columns;
        assert!(
            erased.len() == rows * columns && erased.iter().all(inside),
            "{erased:?}"
        );
        (least, most) = (least.min(erased.len()), most.max(erased.len()));
    }
    // 2 to 33 % of 600, and what rounding makes of it.
    assert!(
        (8..30).contains(&least) && (150..220).contains(&most),
        "{least} {most}"
    );
}

#[test]
fn bytes_and_numbers_become_floats() {
    let grey = Array::new([1, 1, 3], vec![0u8, 128, 255]).unwrap();
    let made = Transforms::new()
        .apply(grey.clone(), &mut random())
        .unwrap();
    assert_eq!(made.to_floats(), [0.0, 128.0 / 255.0, 1.0]);
    let made = Transforms::new().normalise([[0.5], [0.25]]);
    let made = made.apply(grey, &mut random()).unwrap();
    assert_eq!(made.to_floats(), [-2.0, (128.0 / 255.0 - 0.5) / 0.25, 2.0]);
    // Of a signal, which is no image; integers stay what they are.
    let signal = Array::new([2, 2], vec![1i64, 2, 30, 40]).unwrap();
    let made = Transforms::new().normalise([[1.0, 10.0], [1.0, 10.0]]);
    let made = made.apply(signal, &mut random()).unwrap();
    assert_eq!(made.to_floats(), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_step_of_ones_own_takes_part() {
    let noise = Transforms::new().map(|image, random| {
        let shape = image.shape().clone();
        let floats = image
            .to_floats()
            .into_iter()
            .map(|value| value + random.unit() as f32);
        Array::new(shape, floats.collect::<Vec<f32>>())
    });
    let one = |seed| {
        noise
            .apply(ramp(2, 2), &mut Random::new(seed, 0, 0))
            .unwrap()
    };
    assert_eq!(one(1), one(1));
    assert_ne!(one(1), one(2));
    assert!(matches!(one(1).values(), Values::Floats(_)));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    type Of = fn(Transforms) -> Transforms;
    let refused: [(&str, Of); 16] = [
        ("resize", |t| t.resize(0)),
        ("resize", |t| t.resize(usize::MAX)),
        ("resize", |t| t.resize_to([4, 0])),
        ("centre_crop", |t| t.centre_crop([usize::MAX, 2])),
        ("random_crop", |t| t.random_crop(3, usize::MAX)),
        ("random_crop", |t| t.random_crop(0, 1)),
        ("random_resized_crop", |t| t.random_resized_crop(0)),
        ("random_resized_crop", |t| {
            t.random_resized_crop_within(4, [0.5, 0.4], [1.0, 1.0])
        }),
        ("random_resized_crop", |t| {
            t.random_resized_crop_within(4, [0.5, f64::NAN], [1.0, 1.0])
        }),
        ("random_resized_crop", |t| {
            t.random_resized_crop_within(4, [0.5, 1.0], [0.0, 1.0])
        }),
        ("flip", |t| t.flip(1.5)),
        ("flip_rows", |t| t.flip_rows(f64::NAN)),
        ("random_erasing", |t| t.random_erasing(-0.1)),
        ("normalise", |t| t.normalise([[f32::NAN], [1.0]])),
        ("normalise", |t| t.normalise([[0.0], [0.0]])),
        ("normalise", |t| t.normalise([[0.0], [f32::INFINITY]])),
    ];
    for (name, of) in refused {
        let transforms = of(Transforms::new());
        for result in [
            transforms.check(),
            transforms.apply(ramp(4, 4), &mut random()).map(|_| ()),
        ] {
            match result {
                Err(Error::Argument { argument, .. }) => assert_eq!(argument, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
    let fails = |transforms: Transforms, image: Array| -> Result<Array> {
        assert_eq!(transforms.check(), Ok(()));
        transforms.apply(image, &mut random())
    };
    let signal = Array::new([2, 3], vec![0f32; 6]).unwrap();
    let empty = Array::new([3, 0, 4], vec![0u8; 0]).unwrap();
    for image in [signal, empty] {
        let error = fails(Transforms::new().resize(4), image).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let error = fails(Transforms::new().random_crop(5, 0), ramp(4, 9)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "random_crop: expected an image of [5, 5] at least, with its margin, got [4, 9]"
    );
    let error = fails(Transforms::new().normalise(IMAGENET), ramp(2, 2)).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    // A line that would become an image of 2^22 rows and 2^22 times as many columns.
    let line = Array::new([1, 1, 5000], vec![0u8; 5000]).unwrap();
    let error = fails(Transforms::new().resize(4000), line).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}
