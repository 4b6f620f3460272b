//! Convolution as one product of unfolded images ("im2col"), for subgroups of 8: the core `unfolded`.

use super::matmul::{self, Factor, Vectors};
use super::{Output, Read, ReadWrite, Recording, Region, blocks, flag, window_constants};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::Core;
use crate::op::{Conv2dGeometry, Size2};

params! {
    struct Params {
        batch: u32,
        channels: u32,
        in_height: u32,
        in_width: u32,
        out_height: u32,
        out_width: u32,
    }
}

pub(crate) const UNFOLD: Kernel = Kernel {
    name: "conv2d_unfold",
    source: source!("conv2d_unfold.wgsl"),
    blocks: &[&blocks::WINDOW],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input")],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const FOLD: Kernel = Kernel {
    name: "conv2d_fold",
    source: source!("conv2d_fold.wgsl"),
    blocks: &[&blocks::WINDOW, &blocks::EPILOGUE],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(2, "Saved"), (3, "Output")],
    params: Params::LAYOUT,
    constants: &["HAS_BIAS"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&UNFOLD, &FOLD];

/// A window that goes over images, or over single pixels of them.
struct Window {
    batch: usize,
    channels: usize,
    /// The images, and the places of the window.
    size: Size2,
    places: Size2,
    kernel: Size2,
    constants: [(&'static str, f64); 8],
}

impl Window {
    /// That of a convolution on its input.
    fn of(geometry: &Conv2dGeometry) -> Self {
        let ([top, _, left, _], kernel) = (geometry.padding, geometry.kernel);
        Self {
            batch: geometry.batch,
            channels: geometry.in_channels,
            size: geometry.in_size,
            places: geometry.out_size,
            kernel,
            constants: window_constants(kernel, geometry.stride, [top, left], geometry.dilation),
        }
    }

    /// A single pixel of the output.
    fn of_output(geometry: &Conv2dGeometry) -> Self {
        let one = Size2::ONE;
        Self {
            batch: geometry.batch,
            channels: geometry.out_channels,
            size: geometry.out_size,
            places: geometry.out_size,
            kernel: one,
            constants: window_constants(one, one, [0, 0], one),
        }
    }

    /// Rows and columns of the images once they are unfolded: whole vectors of four, whatever the batch.
    fn extents(&self) -> [usize; 2] {
        [
            self.channels * self.kernel.area(),
            (self.batch * self.places.area()).next_multiple_of(4),
        ]
    }

    fn params(&self) -> Params {
        Params {
            batch: self.batch as u32,
            channels: self.channels as u32,
            in_height: self.size.height as u32,
            in_width: self.size.width as u32,
            out_height: self.places.height as u32,
            out_width: self.places.width as u32,
        }
    }

    /// A grid of so many places of each image.
    fn grid(&self, places: Size2) -> [u64; 3] {
        let places = self.batch * places.area();
        [places.div_ceil(64) as u64, self.channels as u64, 1]
    }

    fn iterations(&self) -> usize {
        self.kernel.height * (1 + self.kernel.width)
    }

    /// Images to a row for each tap of each channel.
    fn unfold(&self, recording: &mut Recording, images: Region) -> Region {
        let len = self.extents().iter().product();
        let unfolded = recording.transient("unfolded images", len);
        let (regions, grid) = ([Some(images), Some(unfolded)], self.grid(self.places));
        recording.iterations(self.iterations());
        recording.dispatch(&UNFOLD, &self.constants, &regions, self.params(), grid);
        unfolded
    }

    /// Such rows to images.
    fn fold(
        &self,
        recording: &mut Recording,
        products: Region,
        bias: Option<Region>,
        output: Output,
    ) {
        let mut constants = self.constants.to_vec();
        constants.push(("HAS_BIAS", flag(bias.is_some())));
        constants.extend(output.constants(recording));
        let regions = [Some(products), bias, output.saved(), Some(output.region)];
        recording.iterations(self.iterations());
        recording.dispatch(
            &FOLD,
            &constants,
            &regions,
            self.params(),
            self.grid(self.size),
        );
    }
}

/// `y = w x + b`, where the columns are the places of the window in all images.
pub(super) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let (window, results) = (Window::of(geometry), Window::of_output(geometry));
    let unfolded = window.unfold(recording, input);
    let ([taps, places], rows) = (window.extents(), geometry.out_channels);
    let products = recording.transient("products of unfolded images", rows * places);
    let factors = [Factor::plain(weight), Factor::plain(unfolded)];
    product(recording, [rows, places, taps], factors, products);
    results.fold(recording, products, bias, output);
}

/// `gx = w^T gy`, of which a pixel adds up what the taps that met it have.
pub(super) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [gradient_output, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let (window, results) = (Window::of(geometry), Window::of_output(geometry));
    let unfolded = results.unfold(recording, gradient_output);
    let [taps, places] = window.extents();
    let products = recording.transient("products of unfolded images", taps * places);
    let factors = [Factor::transposed(weight), Factor::plain(unfolded)];
    product(
        recording,
        [taps, places, geometry.out_channels],
        factors,
        products,
    );
    window.fold(recording, products, bias, output);
}

/// `gw = gy x^T`, over the places of the window in all images.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let window = Window::of(geometry);
    let unfolded = window.unfold(recording, input);
    let gradients = Window::of_output(geometry).unfold(recording, gradient_output);
    let [taps, places] = window.extents();
    let factors = [Factor::plain(gradients), Factor::transposed(unfolded)];
    product(
        recording,
        [geometry.out_channels, taps, places],
        factors,
        gradient_weight,
    );
}

fn product(recording: &mut Recording, extents: [usize; 3], factors: [Factor; 2], to: Region) {
    matmul::by(
        Core::Subgroup,
        recording,
        extents,
        factors,
        Vectors::default(),
        to.into(),
    );
}
