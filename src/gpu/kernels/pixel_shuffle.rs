//! Channels laid out as pixels, and pixels as channels.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, vectors, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::PixelShuffleGeometry;

params! {
    struct Params {
        len: u32,
        planes: u32,
        height: u32,
        width: u32,
    }
}

pub(crate) const SHUFFLE: Kernel = Kernel {
    name: "pixel_shuffle",
    source: source!("pixel_shuffle.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (2, "Saved"), (3, "Output")],
    params: Params::LAYOUT,
    constants: &["FACTOR", "TO_PIXELS", "ROWS_VEC4", "HAS_BIAS"],
};

/// Which way the elements go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Towards {
    Pixels,
    Channels,
}

/// Channels laid out as pixels, or pixels as channels.
pub(crate) fn shuffle(
    recording: &mut Recording,
    geometry: &PixelShuffleGeometry,
    towards: Towards,
    input: Region,
    output: Output,
) {
    shuffle_and_add(recording, geometry, towards, input, (None, 1), output);
}

/// The same, to pixels with a bias, one for each of so many planes of an example.
pub(super) fn shuffle_and_add(
    recording: &mut Recording,
    geometry: &PixelShuffleGeometry,
    towards: Towards,
    input: Region,
    (bias, planes): (Option<Region>, usize),
    output: Output,
) {
    let to_pixels = towards == Towards::Pixels;
    let row = match to_pixels {
        true => geometry.large_size().width,
        false => geometry.size.width,
    };
    let mut constants = vec![
        ("FACTOR", geometry.factor as f64),
        ("TO_PIXELS", flag(to_pixels)),
        ("ROWS_VEC4", whole_vectors(row)),
        ("HAS_BIAS", flag(bias.is_some())),
    ];
    constants.extend(output.constants(recording));
    let params = Params {
        len: geometry.input_len() as u32,
        planes: planes as u32,
        height: geometry.size.height as u32,
        width: geometry.size.width as u32,
    };
    let regions = [Some(input), bias, output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(geometry.input_len()));
    recording.dispatch(&SHUFFLE, &constants, &regions, params, grid);
}
