//! Decoding, beside Pillow, and what is no image.

use wgpu_cnn::Error;
use wgpu_cnn::data::{Array, Colour};

use crate::{Folder, bytes, expected, path};

/// Files, and how far a byte may be from Pillow's: decoders of JPEG and of lossy WebP round in their own ways.
const FILES: [(&str, u8); 17] = [
    ("rgb.png", 0),
    ("rgba.png", 0),
    ("grey.png", 0),
    ("grey_alpha.png", 0),
    ("grey16.png", 0),
    ("bits.png", 0),
    ("palette.png", 0),
    ("rgb.bmp", 0),
    ("palette.bmp", 0),
    ("lossless.webp", 0),
    ("alpha.webp", 0),
    ("lossy.webp", 3),
    ("rgb.jpg", 3),
    ("half.jpg", 3),
    ("progressive.jpg", 3),
    ("grey.jpg", 3),
    ("cmyk.jpg", 3),
];

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path("images").join(name)).unwrap()
}

#[test]
fn every_format_gives_what_pillow_gives() {
    for (name, most) in FILES {
        for (colour, mode) in [(Colour::Rgb, "RGB"), (Colour::Grey, "L")] {
            let image = Array::read_image(path("images").join(name), colour).unwrap();
            let expected = expected(&format!("{name}.{mode}"));
            assert_eq!(image.shape(), expected.shape(), "{name}");
            let pairs = bytes(&image).iter().zip(bytes(expected));
            let far = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            println!("{name} {mode}: {far}");
            assert!(far <= most, "{name} {mode}: {far}");
        }
    }
}

#[test]
fn the_name_of_a_file_says_nothing() {
    let folder = Folder::new("names");
    let file = folder.write("photo.jpg", &read("rgb.png"));
    let image = Array::read_image(file, Colour::Rgb).unwrap();
    assert_eq!(&image, expected("rgb.png.RGB"));
}

#[test]
fn an_image_that_ends_early_is_an_error() {
    for (name, _) in FILES {
        let whole = read(name);
        assert!(Array::image(&whole, Colour::Rgb).is_ok());
        for part in [0, 1, 3, 10, 50] {
            assert!(
                Array::image(&whole[..part], Colour::Rgb).is_err(),
                "{name} {part}"
            );
        }
        // The last bytes are no part of the image in some formats.
        for share in [0.3, 0.6, 0.9] {
            let part = (whole.len() as f64 * share) as usize;
            let read = Array::image(&whole[..part], Colour::Rgb);
            assert!(read.is_err(), "{name}: {part} of {} bytes", whole.len());
        }
    }
}

#[test]
fn damage_is_an_error_or_another_image_and_never_more() {
    let mut random = fastrand::Rng::with_seed(5);
    for (name, _) in FILES {
        let whole = read(name);
        for _ in 0..60 {
            let mut damaged = whole.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..damaged.len());
                damaged[at] = random.u8(..);
            }
            if random.u8(..4) == 0 {
                damaged.truncate(random.usize(..whole.len()));
            }
            if let Ok(image) = Array::image(&damaged, Colour::Rgb) {
                assert_eq!(bytes(&image).len(), image.shape().len());
            }
        }
    }
}

#[test]
fn what_is_no_image_is_told() {
    let said = |bytes: &[u8]| Array::image(bytes, Colour::Rgb).unwrap_err().to_string();
    assert_eq!(said(&[]), "image: is empty");
    assert_eq!(
        said(b"GIF89a.........."),
        "image: is no image in PNG, JPEG, BMP or WebP"
    );
    assert_eq!(
        said(&[0; 1000]),
        "image: is no image in PNG, JPEG, BMP or WebP"
    );
    // A photo that a program began to write.
    assert_eq!(
        said(&read("rgb.jpg")[..900]),
        "image: ends before the image does"
    );
}

#[test]
fn an_image_that_declares_too_much_is_not_decoded() {
    // The extents of a PNG lie behind its first 16 bytes, those of a BMP behind 18.
    for (name, at, big) in [("rgb.png", 16, true), ("rgb.bmp", 18, false)] {
        for [width, height] in [
            [1u32 << 30, 1 << 30],
            [5000, 5000],
            [100_000, 1],
            [0, 7],
            [7, 0],
        ] {
            let mut bytes = read(name);
            for (at, extent) in [(at, width), (at + 4, height)] {
                let extent = if big {
                    extent.to_be_bytes()
                } else {
                    extent.to_le_bytes()
                };
                bytes[at..at + 4].copy_from_slice(&extent);
            }
            if big {
                let crc = crc(&bytes[12..29]);
                bytes[29..33].copy_from_slice(&crc.to_be_bytes());
            }
            let read = Array::image(&bytes, Colour::Rgb);
            assert!(read.is_err(), "{name} of {width} x {height}");
        }
    }
}

/// The check of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn the_error_of_a_file_names_it() {
    let folder = Folder::new("named");
    let file = folder.write("broken.png", &read("rgb.png")[..100]);
    for path in [file, folder.0.join("missing.png"), folder.0.clone()] {
        match Array::read_image(&path, Colour::Rgb) {
            Err(Error::File { path: named, .. }) => assert_eq!(named, path),
            other => panic!("{other:?}"),
        }
    }
}
