//! Winograd's F(4x4, 3x3) in `f32`: 3x3 filters at stride 1, and input gradients of them.
//!
//! Of 4x4 outputs, which 6x6 pixels decide, a direct sum takes 144 products for each pair of channels. Here the pixels
//! `d` and the filter `w` are evaluated as polynomials at the points 0, +-1/sqrt(2), +-sqrt(2) and infinity in both
//! directions, which takes 36, and the outputs follow from those: `y = A^T ((G w G^T) * (B^T d B)) A` (Lavin and Gray,
//! 2016, with other points: of all that were tried these round least, about twice as much as a direct sum).
//!
//! A task takes some tiles of 4x4 outputs, [`COLUMNS`] side by side as lanes. For each of the 36 positions there is a
//! product over the channels, of weights that were transformed once and pixels that the task transforms.
//!
//! The outputs of a tile share its pixels' rounding, so a large number spoils its neighbours' precision, and one that is
//! not finite its neighbours: outputs that are not finite are computed again directly.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::parts::{Around, Part};
use super::sliding::Sliding;
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{COLUMNS, ROWS, Row, tile};
use crate::cpu::wide::{Work, widest};
use crate::op::Size2;

/// Outputs of a tile in each direction.
pub(super) const TILE: usize = 4;

/// Pixels of a tile in each direction.
pub(super) const PIXELS: usize = 6;

/// Positions at which there is a product.
pub(super) const POSITIONS: usize = PIXELS * PIXELS;

/// Half of the root of two, and the root.
pub(super) const HALF_ROOT: f32 = std::f32::consts::FRAC_1_SQRT_2;
pub(super) const ROOT: f32 = std::f32::consts::SQRT_2;

/// `B^T d`: pixels at the points.
#[inline(always)]
fn pixels(d: [f32; PIXELS]) -> [f32; PIXELS] {
    let (near, far) = (d[4] - 2.0 * d[2], d[4] - 0.5 * d[2]);
    let odd_near = HALF_ROOT * (d[3] - 2.0 * d[1]);
    let odd_far = ROOT * (d[3] - 0.5 * d[1]);
    [
        d[0] - 2.5 * d[2] + d[4],
        near + odd_near,
        near - odd_near,
        far + odd_far,
        far - odd_far,
        d[1] - 2.5 * d[3] + d[5],
    ]
}

/// `G w`: a filter's row or column at the points.
#[inline(always)]
fn filter(w: [f64; 3]) -> [f64; PIXELS] {
    const ROOT: f64 = std::f64::consts::SQRT_2;
    const HALF_ROOT: f64 = std::f64::consts::FRAC_1_SQRT_2;
    const NEAR: f64 = -2.0 / 3.0;
    const FAR: f64 = 1.0 / 6.0;
    let (near, odd_near) = (NEAR * (w[0] + 0.5 * w[2]), NEAR * HALF_ROOT * w[1]);
    let (far, odd_far) = (FAR * (w[0] + 2.0 * w[2]), FAR * ROOT * w[1]);
    [
        w[0],
        near + odd_near,
        near - odd_near,
        far + odd_far,
        far - odd_far,
        w[2],
    ]
}

/// `A^T m`: outputs from their values at the points.
#[inline(always)]
fn outputs(m: [f32; PIXELS]) -> [f32; TILE] {
    let (near, odd_near) = (m[1] + m[2], HALF_ROOT * (m[1] - m[2]));
    let (far, odd_far) = (m[3] + m[4], ROOT * (m[3] - m[4]));
    [
        m[0] + near + far,
        odd_near + odd_far,
        0.5 * near + 2.0 * far,
        0.5 * odd_near + 2.0 * odd_far + m[5],
    ]
}

/// Whether it pays: 3x3 filters at stride 1, with so many channels that the products take more time than the
/// transforms, and so many tiles that they fill the lanes and outweigh the transform of the filters. A task takes whole
/// rows of tiles, which must not need more than [`ROW`] numbers.
pub(super) fn pays(sliding: &Sliding, images: usize) -> bool {
    // Multiplications for a pair of channels, or what takes as long.
    const FILTER: usize = 400;
    let direct = images * sliding.target.area() * 9;
    let tiles = images * tiles(sliding.target).area();
    let ours = tiles.next_multiple_of(COLUMNS) * POSITIONS + FILTER;
    let row = self::tiles(sliding.target).width * POSITIONS * sliding.from;
    sliding.has_square(3)
        && sliding.from.min(sliding.to) >= CHANNELS
        && row <= ROW
        && 10 * ours <= 7 * direct
}

/// Transformed pixels of a row of tiles at most, in all channels of a group: 16 MiB for each thread.
const ROW: usize = 1 << 22;

/// Channels from which on it pays, where the smaller number of a group's inputs and outputs counts.
pub(super) const CHANNELS: usize = 16;

/// How many tiles cover a plane, down and across.
pub(super) fn tiles(size: Size2) -> Size2 {
    Size2 {
        height: size.height.div_ceil(TILE),
        width: size.width.div_ceil(TILE),
    }
}

/// Computes what [`Sliding::compute`] does; gives whether all sums are finite.
pub(super) fn run(sliding: &Sliding, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> bool {
    let all_finite = AtomicBool::new(true);
    let weights = weights(sliding);
    let plane = tiles(sliding.target);
    // Tiles of a task: four panels of lanes, as far as their pixels fit into the cache.
    let most = COLUMNS * (CACHE / (POSITIONS * COLUMNS * sliding.from)).clamp(1, 4);
    let images = (most / plane.area()).max(1);
    let rows = TILE * (most / plane.width).clamp(1, plane.height);
    let tasks = sliding.split([images, rows], x, y);
    for_each_with(tasks.into_iter(), Memory::default, |memory, part| {
        widest(Task {
            sliding,
            weights: &weights,
            bias,
            all_finite: &all_finite,
            part,
            memory,
        });
    });
    all_finite.into_inner()
}

/// Numbers that a core's cache holds beside what passes through it.
const CACHE: usize = 1 << 17;

/// The weights at each position, `(group, m, position, c)`.
fn weights(sliding: &Sliding) -> Vec<f32> {
    let from = sliding.from;
    let (places, w) = sliding.filters();
    let mut weights = vec![0.0; w.len() / 9 * POSITIONS];
    let rows = weights
        .chunks_exact_mut(POSITIONS * from)
        .zip(w.chunks_exact(9 * from));
    for_each(rows, |(to, w)| {
        widest(Filters {
            places: &places,
            w,
            to,
        })
    });
    weights
}

/// The filters of one output channel.
struct Filters<'a> {
    /// The row and column of each tap.
    places: &'a [(usize, usize)],
    /// `(c, tap)`.
    w: &'a [f32],
    /// `(position, c)`.
    to: &'a mut [f32],
}

impl Work for Filters<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let from = self.w.len() / 9;
        for (at, w) in self.w.chunks(9 * COLUMNS).enumerate() {
            let lanes = w.len() / 9;
            let mut square = [[[0.0; COLUMNS]; 3]; 3];
            for (lane, w) in w.chunks_exact(9).enumerate() {
                for (&(p, q), &w) in self.places.iter().zip(w) {
                    square[p][q][lane] = f64::from(w);
                }
            }
            let mut rows = [[[0.0; COLUMNS]; PIXELS]; 3];
            for (row, [a, b, c]) in rows.iter_mut().zip(&square) {
                let [u, v, w, x, y, z] = row;
                for l in 0..COLUMNS {
                    [u[l], v[l], w[l], x[l], y[l], z[l]] = filter([a[l], b[l], c[l]]);
                }
            }
            let [a, b, c] = &rows;
            for q in 0..PIXELS {
                let (a, b, c) = (&a[q], &b[q], &c[q]);
                let mut column = [[0.0; COLUMNS]; PIXELS];
                let [u, v, w, x, y, z] = &mut column;
                for l in 0..COLUMNS {
                    let values = filter([a[l], b[l], c[l]]);
                    [u[l], v[l], w[l], x[l], y[l], z[l]] = values.map(|value| value as f32);
                }
                for (p, values) in column.iter().enumerate() {
                    let to = &mut self.to[(p * PIXELS + q) * from + at * COLUMNS..][..lanes];
                    to.copy_from_slice(&values[..lanes]);
                }
            }
        }
    }
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    /// A channel's planes in zeros, `(image, rows, columns)`.
    planes: Vec<f32>,
    /// Transformed pixels, `(panel, position, c, tile)`.
    pixels: Vec<Row>,
}

/// Some images, or some rows of one.
struct Task<'a> {
    sliding: &'a Sliding<'a>,
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    all_finite: &'a AtomicBool,
    part: Part<'a>,
    memory: &'a mut Memory,
}

/// A tile: its image, the row of the part and the column where it begins.
#[derive(Clone, Copy)]
struct Tile {
    image: usize,
    row: usize,
    column: usize,
}

impl Work for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let rows = (0..self.part.rows.len()).step_by(TILE);
        let columns = (0..self.sliding.target.width).step_by(TILE);
        let mut tiles = Vec::new();
        for image in 0..self.part.images {
            for row in rows.clone() {
                tiles.extend(columns.clone().map(|column| Tile { image, row, column }));
            }
        }
        for group in 0..self.sliding.groups {
            self.transform(group, &tiles);
            self.multiply(group, &tiles);
        }
    }
}

impl Task<'_> {
    /// Transforms the pixels of a group.
    #[inline(always)]
    fn transform(&mut self, group: usize, tiles: &[Tile]) {
        let &Sliding {
            groups,
            from,
            source,
            target,
            ..
        } = self.sliding;
        let first = self.sliding.first();
        let around = Around {
            down: first.0 + self.part.rows.start as isize,
            right: first.1,
            rows: self.part.rows.len().next_multiple_of(TILE) + 2,
            columns: target.width.next_multiple_of(TILE) + 2,
        };
        let Memory { planes, pixels } = &mut *self.memory;
        planes.clear();
        planes.resize(self.part.images * around.area(), 0.0);
        pixels.resize(
            tiles.len().div_ceil(COLUMNS) * POSITIONS * from,
            [0.0; COLUMNS],
        );
        for c in 0..from {
            for (image, plane) in planes.chunks_exact_mut(around.area()).enumerate() {
                let channel = (image * groups + group) * from + c;
                around.copy(
                    source,
                    &self.part.x[channel * source.area()..][..source.area()],
                    plane,
                );
            }
            for (tiles, pixels) in tiles
                .chunks(COLUMNS)
                .zip(pixels.chunks_exact_mut(POSITIONS * from))
            {
                let mut square = [[[0.0; COLUMNS]; PIXELS]; PIXELS];
                for (lane, tile) in tiles.iter().enumerate() {
                    let place = around.at(tile.image, tile.row, tile.column);
                    for (i, row) in square.iter_mut().enumerate() {
                        let from = &planes[place + i * around.columns..][..PIXELS];
                        for (to, &from) in row.iter_mut().zip(from) {
                            to[lane] = from;
                        }
                    }
                }
                transform_pixels(&mut square);
                for (position, row) in square.as_flattened().iter().enumerate() {
                    pixels[position * from + c] = *row;
                }
            }
        }
    }

    /// The products of a group, and its outputs.
    #[inline(always)]
    fn multiply(&mut self, group: usize, tiles: &[Tile]) {
        let &Sliding { from, to, .. } = self.sliding;
        let weights = &self.weights[group * to * POSITIONS * from..][..to * POSITIONS * from];
        for first in (0..to).step_by(ROWS) {
            for (at, tiles) in tiles.chunks(COLUMNS).enumerate() {
                let mut products = [[[0.0; COLUMNS]; ROWS]; POSITIONS];
                for (position, product) in products.iter_mut().enumerate() {
                    let panel = &self.memory.pixels[(at * POSITIONS + position) * from..][..from];
                    let rows = std::array::from_fn(|i| {
                        let m = (first + i).min(to - 1);
                        &weights[(m * POSITIONS + position) * from..][..from]
                    });
                    *product = tile(rows, panel);
                }
                for (i, m) in (first..to).take(ROWS).enumerate() {
                    let y = transform_outputs(&products, i);
                    self.store(group * to + m, tiles, &y);
                }
            }
        }
    }

    /// Writes the outputs of some tiles to a channel.
    #[inline(always)]
    fn store(&mut self, channel: usize, tiles: &[Tile], y: &[[Row; TILE]; TILE]) {
        let &Sliding {
            groups, to, target, ..
        } = self.sliding;
        let bias = self.bias.map_or(0.0, |bias| bias[channel]);
        let mut most = [0; COLUMNS];
        for row in y.as_flattened() {
            for (most, y) in most.iter_mut().zip(row) {
                *most = (*most).max(y.to_bits() & 0x7fff_ffff);
            }
        }
        if most.iter().any(|&most| most >= f32::INFINITY.to_bits()) {
            self.all_finite.store(false, Relaxed);
        }
        let height = self.part.rows.len();
        for (lane, tile) in tiles.iter().enumerate() {
            let rows = TILE.min(height - tile.row);
            let columns = TILE.min(target.width - tile.column);
            let plane = &mut self.part.targets[tile.image * groups * to + channel];
            for (p, y) in y.iter().enumerate().take(rows) {
                let to = &mut plane[(tile.row + p) * target.width + tile.column..][..columns];
                for (to, y) in to.iter_mut().zip(y) {
                    *to = y[lane] + bias;
                }
            }
        }
    }
}

/// Puts other values into the places of those that are not finite.
pub(super) fn replace(values: &mut [f32], others: &[f32]) {
    let pairs = values.iter_mut().zip(others);
    for (value, &other) in pairs.filter(|(value, _)| !value.is_finite()) {
        *value = other;
    }
}

/// `B^T d B` of [`COLUMNS`] tiles.
#[inline(always)]
pub(super) fn transform_pixels(square: &mut [[Row; PIXELS]; PIXELS]) {
    for [a, b, c, d, e, f] in square.iter_mut() {
        for l in 0..COLUMNS {
            [a[l], b[l], c[l], d[l], e[l], f[l]] = pixels([a[l], b[l], c[l], d[l], e[l], f[l]]);
        }
    }
    let [a, b, c, d, e, f] = square;
    for q in 0..PIXELS {
        let [a, b, c, d, e, f] = [
            &mut a[q], &mut b[q], &mut c[q], &mut d[q], &mut e[q], &mut f[q],
        ];
        for l in 0..COLUMNS {
            [a[l], b[l], c[l], d[l], e[l], f[l]] = pixels([a[l], b[l], c[l], d[l], e[l], f[l]]);
        }
    }
}

/// `A^T m A` of one of the channels of [`COLUMNS`] tiles.
#[inline(always)]
fn transform_outputs(products: &[[Row; ROWS]; POSITIONS], channel: usize) -> [[Row; TILE]; TILE] {
    let mut halves = [[[0.0; COLUMNS]; TILE]; PIXELS];
    for (half, row) in halves.iter_mut().zip(products.as_chunks::<PIXELS>().0) {
        let [a, b, c, d, e, f] = row;
        let [a, b, c, d, e, f] = [
            &a[channel],
            &b[channel],
            &c[channel],
            &d[channel],
            &e[channel],
            &f[channel],
        ];
        let [u, v, w, x] = half;
        for l in 0..COLUMNS {
            [u[l], v[l], w[l], x[l]] = outputs([a[l], b[l], c[l], d[l], e[l], f[l]]);
        }
    }
    let mut y = [[[0.0; COLUMNS]; TILE]; TILE];
    let [a, b, c, d, e, f] = &halves;
    let [u, v, w, x] = &mut y;
    for q in 0..TILE {
        let [a, b, c, d, e, f] = [&a[q], &b[q], &c[q], &d[q], &e[q], &f[q]];
        let [u, v, w, x] = [&mut u[q], &mut v[q], &mut w[q], &mut x[q]];
        for l in 0..COLUMNS {
            [u[l], v[l], w[l], x[l]] = outputs([a[l], b[l], c[l], d[l], e[l], f[l]]);
        }
    }
    y
}
