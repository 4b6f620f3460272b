//! Images from files: PNG, JPEG, BMP and WebP, told by their first bytes.

use std::io::Cursor;
use std::path::Path;

use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use super::array::{Array, MOST};
use crate::{Error, Result, file};

/// What an image is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Colour {
    /// Three channels, as Pillow's `convert("RGB")` makes them: grey is repeated, a palette is looked up, and
    /// alpha is left out without a look at it.
    #[default]
    Rgb,
    /// One channel, as Pillow's `convert("L")` makes it: the luma of ITU-R BT.601.
    Grey,
}

impl Array {
    /// The image in the bytes of a PNG, JPEG, BMP or WebP file, as bytes `(C, H, W)`. Of samples of 16 bits
    /// the upper eight are taken. The orientation that a camera notes beside an image is not looked at, as
    /// torchvision's `ImageFolder` does not.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such image, that end before the image does, or of an image
    /// of more than 2^24 pixels, of which nothing is decoded.
    pub fn image(bytes: &[u8], colour: Colour) -> Result<Self> {
        decode(bytes, colour).map_err(|reason| Error::argument("image", reason))
    }

    /// The image in a file: [`image`](Self::image). The file's name says nothing of its format.
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_image(path: impl AsRef<Path>, colour: Colour) -> Result<Self> {
        let path = path.as_ref();
        let bytes = file::read(path).map_err(|error| Error::file(path, error))?;
        decode(&bytes, colour).map_err(|reason| Error::file(path, reason))
    }
}

fn decode(bytes: &[u8], colour: Colour) -> std::result::Result<Array, String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    let format = image::guess_format(bytes).ok();
    let known = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::WebP,
    ];
    let Some(format) = format.filter(|format| known.contains(format)) else {
        return Err("is no image in PNG, JPEG, BMP or WebP".into());
    };
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        // The decoder would fill what is missing with grey.
        return Err("ends before the image does".into());
    }
    let words = |error: image::ImageError| error.to_string();
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    // Samples of 16 bits, and what a decoder needs beside them.
    limits.max_alloc = Some(4 * MOST as u64);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(words)?;
    let (width, height) = decoder.dimensions();
    let pixels = (width as usize).checked_mul(height as usize);
    let Some(pixels) = pixels.filter(|pixels| (1..=MOST / 4).contains(pixels)) else {
        let most = MOST / 4;
        return Err(format!(
            "declares {width} x {height} pixels, of 1 to {most}"
        ));
    };
    let colours = decoder.color_type();
    let channels = usize::from(colours.channel_count());
    let size = usize::from(colours.bytes_per_pixel());
    let mut samples = vec![0; pixels * size];
    if decoder.total_bytes() != samples.len() as u64 {
        return Err(format!("samples of {colours:?} are not read"));
    }
    decoder.read_image(&mut samples).map_err(words)?;
    match size / channels {
        1 => {}
        2 => samples = upper(&samples),
        _ => return Err(format!("samples of {colours:?} are not read")),
    }
    let planes = planes(&samples, channels, colour);
    let shape = [planes.len() / pixels, height as usize, width as usize];
    Array::new(shape, planes).map_err(|error| error.to_string())
}

/// The upper eight bits of samples of 16, which lie in the order of this machine.
fn upper(samples: &[u8]) -> Vec<u8> {
    let pairs = samples.chunks_exact(2);
    pairs
        .map(|pair| (u16::from_ne_bytes([pair[0], pair[1]]) >> 8) as u8)
        .collect()
}

/// Planes `(C, H, W)` of pixels of one to four channels: grey, grey and alpha, colours, colours and alpha.
fn planes(samples: &[u8], channels: usize, colour: Colour) -> Vec<u8> {
    let plane = |channel: usize| samples.iter().skip(channel).step_by(channels).copied();
    match (colour, channels) {
        (Colour::Rgb, 1 | 2) => plane(0).collect::<Vec<u8>>().repeat(3),
        (Colour::Rgb, _) => (0..3).flat_map(plane).collect(),
        (Colour::Grey, 1 | 2) => plane(0).collect(),
        (Colour::Grey, _) => samples.chunks_exact(channels).map(luma).collect(),
    }
}

/// The brightness of a pixel of three colours, in Pillow's fixed point.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

/// Whether a JPEG file has the marker of its end behind the last scan.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    loop {
        // The next marker: 0xff, then neither 0 (a byte of data) nor 0xff (a filler) nor a restart.
        let Some(step) = bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|&b| b == 0xff))
        else {
            return false;
        };
        at += step + 1;
        match bytes.get(at) {
            None => return false,
            Some(&END) => return true,
            Some(0xff) => {}
            Some(0 | 1 | 0xd0..=0xd8) => at += 1,
            Some(_) => {
                let Some(&[high, low]) = bytes.get(at + 1..at + 3) else {
                    return false;
                };
                at += 1 + usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
    }
}
