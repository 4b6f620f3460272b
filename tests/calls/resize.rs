//! What makes planes larger or smaller: upsampling, pixel shuffles, pooling to a size.

use wgpu_cnn::cpu::{self, Real};
use wgpu_cnn::op::{AdaptivePool2dGeometry, PixelShuffleGeometry, Upsample2dGeometry};
use wgpu_cnn::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, Error, Op, PixelShuffle, PixelUnshuffle, Upsample2d,
};

use crate::call::Call;
use crate::cpu::both;
use crate::draw::Draw;

const UPSAMPLE2D: &[&str] = &[
    "Upsample2d::nearest",
    "Upsample2d::bilinear",
    "Upsample2d::size",
    "Upsample2d::scale",
    "Upsample2d::align_corners",
    "Upsample2d::geometry",
    "Upsample2dGeometry::input_len",
    "Upsample2dGeometry::output_len",
];

const PIXEL_SHUFFLE: &[&str] = &[
    "PixelShuffle::new",
    "PixelShuffle::geometry",
    "PixelUnshuffle::new",
    "PixelUnshuffle::geometry",
    "PixelShuffleGeometry::input_len",
    "PixelShuffleGeometry::large_size",
];

const ADAPTIVE_POOL2D: &[&str] = &[
    "AdaptiveAvgPool2d::new",
    "AdaptiveAvgPool2d::geometry",
    "AdaptiveMaxPool2d::new",
    "AdaptiveMaxPool2d::geometry",
    "AdaptivePool2dGeometry::input_len",
    "AdaptivePool2dGeometry::output_len",
];

/// Any of them.
pub fn layer(d: &mut Draw) -> Op {
    match d.below(5) {
        0 => upsample2d(d).into(),
        1 => PixelShuffle::new(d.number()).into(),
        2 => PixelUnshuffle::new(d.number()).into(),
        3 => AdaptiveAvgPool2d::new(d.size()).into(),
        _ => AdaptiveMaxPool2d::new(d.size()).into(),
    }
}

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(UPSAMPLE2D, |d| {
            let (batch, input) = (d.number(), d.image());
            upsample2d(d).geometry(batch, &input).is_ok_and(|mut g| {
                if d.is_hostile() {
                    (g.planes, g.in_size, g.out_size) = (d.number(), d.size(), d.size());
                }
                let _ = (g.input_len(), g.output_len());
                true
            })
        }),
        Call::quick(PIXEL_SHUFFLE, |d| {
            let made = pixel_shuffle_geometry(d);
            made.is_ok_and(|g| g.input_len() >= g.large_size().area() || g.planes == 0)
        }),
        Call::quick(ADAPTIVE_POOL2D, |d| {
            let g = adaptive_geometry(d);
            let _ = (g.input_len(), g.output_len());
            true
        }),
        Call::quick(
            &["cpu::upsample2d_forward", "cpu::upsample2d_backward"],
            both!(upsampled),
        ),
        Call::quick(
            &["cpu::pixel_shuffle", "cpu::pixel_unshuffle"],
            both!(shuffled),
        ),
        Call::quick(
            &[
                "cpu::adaptive_avg_pool2d_forward",
                "cpu::adaptive_avg_pool2d_backward",
                "cpu::adaptive_max_pool2d_forward",
                "cpu::adaptive_max_pool2d_backward",
            ],
            both!(pooled),
        ),
    ]
}

pub fn upsample2d(d: &mut Draw) -> Upsample2d {
    let layer = d.pick(&[Upsample2d::nearest(), Upsample2d::bilinear()]);
    let layer = match d.flag() {
        true => layer.size(d.size()),
        false => layer.scale([0; 2].map(|_| 4.0 * d.real())),
    };
    match d.below(3) {
        0 => layer.align_corners(d.flag()),
        _ => layer,
    }
}

/// The extents of a shuffle, or with some of them replaced.
pub fn pixel_shuffle_geometry(d: &mut Draw) -> Result<PixelShuffleGeometry, Error> {
    let (batch, input, factor) = (d.number(), d.image(), d.number());
    let made = match d.flag() {
        true => PixelShuffle::new(factor).geometry(batch, &input),
        false => PixelUnshuffle::new(factor).geometry(batch, &input),
    };
    made.map(|mut g| {
        if d.is_hostile() {
            (g.planes, g.size, g.factor) = (d.number(), d.size(), d.number());
        }
        g
    })
}

/// The extents of a pooling to a size, or with some of them replaced.
pub fn adaptive_geometry(d: &mut Draw) -> AdaptivePool2dGeometry {
    let (batch, input, size) = (d.number(), d.image(), d.size());
    let made = match d.flag() {
        true => AdaptiveAvgPool2d::new(size).geometry(batch, &input),
        false => AdaptiveMaxPool2d::new(size).geometry(batch, &input),
    };
    let mut geometry = made.unwrap_or(AdaptivePool2dGeometry {
        planes: d.number(),
        in_size: d.size(),
        out_size: d.size(),
    });
    if d.is_hostile() {
        match d.below(3) {
            0 => geometry.planes = d.number(),
            1 => geometry.in_size = d.size(),
            _ => geometry.out_size = d.size(),
        }
    }
    geometry
}

fn upsampled<T: Real>(d: &mut Draw) -> bool {
    let (layer, batch, input) = (upsample2d(d), d.number(), d.image());
    let made = layer.geometry(batch, &input);
    let mut g = made.unwrap_or(Upsample2dGeometry {
        planes: d.number(),
        in_size: d.size(),
        out_size: d.size(),
        interpolation: layer.interpolation,
        align_corners: d.flag(),
        scale: None,
    });
    if d.is_hostile() {
        match d.below(4) {
            0 => g.planes = d.number(),
            1 => g.in_size = d.size(),
            2 => g.out_size = d.size(),
            _ => g.scale = Some([d.real(), d.real()]),
        }
    }
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    match d.flag() {
        true => cpu::upsample2d_forward(&g, &x, &mut y).is_ok(),
        false => cpu::upsample2d_backward(&g, &y, &mut x).is_ok(),
    }
}

fn shuffled<T: Real>(d: &mut Draw) -> bool {
    let Ok(g) = pixel_shuffle_geometry(d) else {
        return false;
    };
    let (x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.input_len()));
    match d.flag() {
        true => cpu::pixel_shuffle(&g, &x, &mut y).is_ok(),
        false => cpu::pixel_unshuffle(&g, &x, &mut y).is_ok(),
    }
}

fn pooled<T: Real>(d: &mut Draw) -> bool {
    let g = adaptive_geometry(d);
    let (mut x, mut y) = (d.floats::<T>(g.input_len()), d.floats(g.output_len()));
    let places = d.length(g.output_len());
    let mut argmax: Vec<u32> = (0..places).map(|_| d.number() as u32).collect();
    match d.below(4) {
        0 => cpu::adaptive_avg_pool2d_forward(&g, &x, &mut y).is_ok(),
        1 => cpu::adaptive_avg_pool2d_backward(&g, &y, &mut x).is_ok(),
        2 => cpu::adaptive_max_pool2d_forward(&g, &x, &mut y, &mut argmax).is_ok(),
        _ => cpu::adaptive_max_pool2d_backward(&g, &y, &argmax, &mut x).is_ok(),
    }
}
