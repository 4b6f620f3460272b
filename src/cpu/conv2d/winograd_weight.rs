//! Winograd's F(3x3, 4x4) in `f32`: the weight gradient of 3x3 filters at stride 1.
//!
//! Each tile of 4x4 output gradients `g` adds to a filter's gradient what [`winograd`](super::winograd) would compute
//! with the roles changed: `A^T (sum over tiles of (G g G^T) * (B^T d B)) A`, of the same pixels `d` at the same
//! points. The sums over the tiles are products, one for each of the 36 positions, and are transformed once.
//!
//! What is not finite is computed again directly.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};
use std::ops::Range;

use super::parts::Around;
use super::winograd::{HALF_ROOT, PIXELS, POSITIONS, ROOT, TILE};
use super::winograd::{replace, tiles, transform_pixels};
use super::{Sizes, weight};
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{COLUMNS, ROWS, Row, rows_from, tile};
use crate::cpu::sum::add_wide;
use crate::cpu::wide::{Work, widest};
use crate::op::{Conv2dGeometry, Size2};

/// Input and output channels of a task, whose sums stay in a core's cache.
const CHANNELS: usize = 64;

/// Tiles that are transformed at a time, about.
const TILES: usize = 48;

/// Tasks that there are at least, where there are as many images.
const TASKS: usize = 8;

/// Taps of a filter.
const TAPS: usize = 9;

/// Whether it pays: where the filters and channels are those for [`super::winograd`], and there are so many tiles that
/// they outweigh the transform of the sums.
pub(super) fn pays(geometry: &Conv2dGeometry, sizes: Sizes) -> bool {
    let ones = [geometry.stride, geometry.dilation].map(Size2::area);
    let size = geometry.out_size;
    let tiles = tiles(size).area();
    geometry.kernel == 3.into()
        && ones == [1, 1]
        && sizes.group_inputs.min(sizes.group_outputs) >= super::winograd::CHANNELS
        && geometry.batch * tiles >= LEAST
        && 10 * tiles * POSITIONS <= 7 * size.area() * TAPS
}

/// Tiles of a task that are worth its sums, and from which on it pays.
const PART: usize = 64;
const LEAST: usize = 32;

/// As [`super::conv2d_backward_weight`], of slices that have the geometry's lengths.
pub(super) fn backward_weight(
    geometry: &Conv2dGeometry,
    sizes: Sizes,
    x: &[f32],
    gy: &[f32],
    gw: &mut [f32],
) {
    let (inputs, outputs) = (sizes.group_inputs, sizes.group_outputs);
    let counts = [
        geometry.groups,
        inputs.div_ceil(CHANNELS),
        outputs.div_ceil(CHANNELS),
    ];
    let blocks: usize = counts.iter().product();
    let tiles = geometry.batch * tiles(geometry.out_size).area();
    let parts = TASKS
        .div_ceil(blocks)
        .min(tiles / PART)
        .clamp(1, geometry.batch);
    let images = geometry.batch.div_ceil(parts);
    let parts = geometry.batch.div_ceil(images);
    // Of each task `(c, o, tap)`.
    let len = CHANNELS.min(inputs) * CHANNELS.min(outputs) * TAPS;
    let mut sums = vec![0.0; blocks * parts * len];
    let channels = |at: usize, of: usize| at * CHANNELS..of.min((at + 1) * CHANNELS);
    for_each_with(
        sums.chunks_exact_mut(len).enumerate(),
        Memory::default,
        |memory, (at, sums)| {
            let (block, start) = (at / parts, at % parts * images);
            widest(Task {
                geometry,
                sizes,
                x,
                gy,
                group: block / counts[2] / counts[1],
                inputs: channels(block / counts[2] % counts[1], inputs),
                outputs: channels(block % counts[2], outputs),
                images: start..geometry.batch.min(start + images),
                sums,
                memory,
            });
        },
    );
    for_each(
        gw.chunks_exact_mut(inputs * TAPS).enumerate(),
        |(filter, gw)| {
            let (group, o) = (filter / outputs, filter % outputs);
            for (c, gw) in gw.chunks_exact_mut(TAPS).enumerate() {
                let block = (group * counts[1] + c / CHANNELS) * counts[2] + o / CHANNELS;
                let width = channels(o / CHANNELS, outputs).len();
                let at = (c % CHANNELS * width + o % CHANNELS) * TAPS;
                let parts = sums[block * parts * len..][..parts * len].chunks_exact(len);
                let mut totals = [0.0; TAPS];
                for part in parts {
                    totals
                        .iter_mut()
                        .zip(&part[at..])
                        .for_each(|(total, sum)| *total += sum);
                }
                for (gw, total) in gw.iter_mut().zip(totals) {
                    *gw = total as f32;
                }
            }
        },
    );
    if gw.iter().any(|gw| !gw.is_finite()) {
        let mut direct = vec![0.0; gw.len()];
        weight::backward_weight(geometry, sizes, x, gy, &mut direct);
        replace(gw, &direct);
    }
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    /// Planes in zeros: one channel's, `(image, rows, columns)`, and of [`COLUMNS`] channels of gradients.
    planes: Vec<f32>,
    /// Transformed pixels, `(position, c, tile)`.
    pixels: Vec<f32>,
    /// Transformed gradients, `(position, o / COLUMNS, tile, o)`.
    gradients: Vec<Row>,
    /// The sums at each position, `(position, c, o)`.
    totals: Vec<f64>,
}

/// The sums over some images, for some channels of a group.
struct Task<'a> {
    geometry: &'a Conv2dGeometry,
    sizes: Sizes,
    x: &'a [f32],
    gy: &'a [f32],
    group: usize,
    inputs: Range<usize>,
    outputs: Range<usize>,
    images: Range<usize>,
    sums: &'a mut [f64],
    memory: &'a mut Memory,
}

/// Some images, or some rows or a part of a row of one, as tiles.
struct Part {
    images: Range<usize>,
    /// The output's row and column where they begin.
    first: [usize; 2],
    tiles: Size2,
}

impl Part {
    fn count(&self) -> usize {
        self.images.len() * self.tiles.area()
    }
}

impl Work for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Size2 { height, width } = tiles(self.geometry.out_size);
        let images = (TILES / (height * width)).max(1);
        // Parts of much the same height, and of a row that is longer than a part of much the same width.
        let rows = (TILES / width).clamp(1, height);
        let rows = height.div_ceil(height.div_ceil(rows));
        let columns = width.div_ceil(width.div_ceil(TILES));
        self.memory.totals.clear();
        self.memory
            .totals
            .resize(POSITIONS * self.inputs.len() * self.outputs.len(), 0.0);
        for start in self.images.clone().step_by(images) {
            for top in (0..height).step_by(rows) {
                for left in (0..width).step_by(columns) {
                    let part = Part {
                        images: start..self.images.end.min(start + images),
                        first: [top * TILE, left * TILE],
                        tiles: [rows.min(height - top), columns.min(width - left)].into(),
                    };
                    self.transform_pixels(&part);
                    self.transform_gradients(&part);
                    self.multiply(&part);
                }
            }
        }
        self.finish();
    }
}

impl Task<'_> {
    #[inline(always)]
    fn transform_pixels(&mut self, part: &Part) {
        let [top, _, left, _] = self.geometry.padding;
        let around = Around {
            down: part.first[0] as isize - top as isize,
            right: part.first[1] as isize - left as isize,
            rows: part.tiles.height * TILE + 2,
            columns: part.tiles.width * TILE + 2,
        };
        let (count, channels) = (part.count(), self.inputs.len());
        let Memory { planes, pixels, .. } = &mut *self.memory;
        planes.clear();
        planes.resize(part.images.len() * around.area(), 0.0);
        pixels.resize(POSITIONS * channels * count, 0.0);
        for (c, channel) in self.inputs.clone().enumerate() {
            for (image, plane) in part
                .images
                .clone()
                .zip(planes.chunks_exact_mut(around.area()))
            {
                let from = image * self.geometry.in_channels
                    + self.group * self.sizes.group_inputs
                    + channel;
                let from = &self.x[from * self.sizes.inputs..][..self.sizes.inputs];
                around.copy(self.geometry.in_size, from, plane);
            }
            for first in (0..count).step_by(COLUMNS) {
                let lanes = COLUMNS.min(count - first);
                let mut square = [[[0.0; COLUMNS]; PIXELS]; PIXELS];
                for lane in 0..lanes {
                    let place = around.place(part.tiles, first + lane);
                    for (i, row) in square.iter_mut().enumerate() {
                        let from = &planes[place + i * around.columns..][..PIXELS];
                        for (to, &from) in row.iter_mut().zip(from) {
                            to[lane] = from;
                        }
                    }
                }
                transform_pixels(&mut square);
                for (position, row) in square.as_flattened().iter().enumerate() {
                    let to = &mut pixels[(position * channels + c) * count + first..];
                    match to.first_chunk_mut::<COLUMNS>() {
                        Some(to) if lanes == COLUMNS => *to = *row,
                        _ => to[..lanes].copy_from_slice(&row[..lanes]),
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn transform_gradients(&mut self, part: &Part) {
        let around = Around {
            down: part.first[0] as isize,
            right: part.first[1] as isize,
            rows: part.tiles.height * TILE,
            columns: part.tiles.width * TILE,
        };
        let (count, panels) = (part.count(), self.outputs.len().div_ceil(COLUMNS));
        let Memory {
            planes, gradients, ..
        } = &mut *self.memory;
        let len = part.images.len() * around.area();
        planes.clear();
        planes.resize(COLUMNS * len, 0.0);
        gradients.resize(POSITIONS * panels * count, [0.0; COLUMNS]);
        for panel in 0..panels {
            let first = self.outputs.start + panel * COLUMNS;
            let lanes = COLUMNS.min(self.outputs.end - first);
            for (lane, planes) in planes.chunks_exact_mut(len).enumerate().take(lanes) {
                for (image, plane) in part
                    .images
                    .clone()
                    .zip(planes.chunks_exact_mut(around.area()))
                {
                    let from = image * self.geometry.out_channels
                        + self.group * self.sizes.group_outputs
                        + first
                        + lane;
                    let from = &self.gy[from * self.sizes.outputs..][..self.sizes.outputs];
                    around.copy(self.geometry.out_size, from, plane);
                }
            }
            for at in 0..count {
                let place = around.place(part.tiles, at);
                let mut square = [[[0.0; COLUMNS]; TILE]; TILE];
                for lane in 0..lanes {
                    for (i, row) in square.iter_mut().enumerate() {
                        let from = &planes[lane * len + place + i * around.columns..][..TILE];
                        for (to, &from) in row.iter_mut().zip(from) {
                            to[lane] = from;
                        }
                    }
                }
                let square = transform_gradients(&square);
                for (position, row) in square.as_flattened().iter().enumerate() {
                    gradients[(position * panels + panel) * count + at] = *row;
                }
            }
        }
    }

    /// Adds the products over a part's tiles.
    #[inline(always)]
    fn multiply(&mut self, part: &Part) {
        let (count, inputs, outputs) = (part.count(), self.inputs.len(), self.outputs.len());
        let panels = outputs.div_ceil(COLUMNS);
        let Memory {
            pixels,
            gradients,
            totals,
            ..
        } = &mut *self.memory;
        for (position, totals) in totals.chunks_exact_mut(inputs * outputs).enumerate() {
            let pixels = &pixels[position * inputs * count..][..inputs * count];
            for panel in 0..panels {
                let gradients = &gradients[(position * panels + panel) * count..][..count];
                for c in (0..inputs).step_by(ROWS) {
                    let sums = tile(rows_from(pixels, [inputs, count], c), gradients);
                    let totals = totals[c * outputs..].chunks_exact_mut(outputs);
                    for (totals, sums) in totals.zip(&sums) {
                        let totals = &mut totals[panel * COLUMNS..];
                        match totals.first_chunk_mut::<COLUMNS>() {
                            Some(totals) => add_wide(totals, sums),
                            None => add_wide(totals, sums),
                        }
                    }
                }
            }
        }
    }

    /// `A^T totals A` for each pair of channels, some of them side by side.
    #[inline(always)]
    fn finish(self) {
        let totals = &self.memory.totals;
        let pairs = totals.len() / POSITIONS;
        for (at, sums) in self.sums[..pairs * TAPS]
            .chunks_mut(TAPS * COLUMNS)
            .enumerate()
        {
            let lanes = sums.len() / TAPS;
            let mut square = [[[0.0; COLUMNS]; PIXELS]; PIXELS];
            for (position, row) in square.as_flattened_mut().iter_mut().enumerate() {
                let totals = &totals[position * pairs + at * COLUMNS..];
                match totals.first_chunk() {
                    Some(totals) => *row = *totals,
                    None => row[..lanes].copy_from_slice(&totals[..lanes]),
                }
            }
            let mut halves = [[[0.0; COLUMNS]; 3]; PIXELS];
            for ([u, v, w], [a, b, c, d, e, f]) in halves.iter_mut().zip(&square) {
                for l in 0..COLUMNS {
                    [u[l], v[l], w[l]] = taps([a[l], b[l], c[l], d[l], e[l], f[l]]);
                }
            }
            let [a, b, c, d, e, f] = &halves;
            for q in 0..3 {
                let [a, b, c, d, e, f] = [&a[q], &b[q], &c[q], &d[q], &e[q], &f[q]];
                for (l, sums) in sums.chunks_exact_mut(TAPS).enumerate() {
                    [sums[q], sums[3 + q], sums[6 + q]] =
                        taps([a[l], b[l], c[l], d[l], e[l], f[l]]);
                }
            }
        }
    }
}

/// `A^T m`: a filter's row or column from its values at the points.
#[inline(always)]
fn taps(m: [f64; PIXELS]) -> [f64; 3] {
    let (near, far) = (m[1] + m[2], m[3] + m[4]);
    [
        m[0] + near + far,
        FRAC_1_SQRT_2 * (m[1] - m[2]) + SQRT_2 * (m[3] - m[4]),
        0.5 * near + 2.0 * far + m[5],
    ]
}

/// `G g`: gradients at the points.
#[inline(always)]
fn gradients(g: [f32; TILE]) -> [f32; PIXELS] {
    let near = (g[0] + 0.5 * g[2], HALF_ROOT * (g[1] + 0.5 * g[3]));
    let far = (g[0] + 2.0 * g[2], ROOT * (g[1] + 2.0 * g[3]));
    const NEAR: f32 = -2.0 / 3.0;
    const FAR: f32 = 1.0 / 6.0;
    [
        g[0],
        NEAR * (near.0 + near.1),
        NEAR * (near.0 - near.1),
        FAR * (far.0 + far.1),
        FAR * (far.0 - far.1),
        g[3],
    ]
}

/// `G g G^T` of a tile of [`COLUMNS`] channels.
#[inline(always)]
fn transform_gradients(square: &[[Row; TILE]; TILE]) -> [[Row; PIXELS]; PIXELS] {
    let mut halves = [[[0.0; COLUMNS]; PIXELS]; TILE];
    for ([a, b, c, d], half) in square.iter().zip(&mut halves) {
        let [u, v, w, x, y, z] = half;
        for l in 0..COLUMNS {
            [u[l], v[l], w[l], x[l], y[l], z[l]] = gradients([a[l], b[l], c[l], d[l]]);
        }
    }
    let mut values = [[[0.0; COLUMNS]; PIXELS]; PIXELS];
    let [a, b, c, d] = &halves;
    let [u, v, w, x, y, z] = &mut values;
    for q in 0..PIXELS {
        let [a, b, c, d] = [&a[q], &b[q], &c[q], &d[q]];
        let [u, v, w, x, y, z] = [
            &mut u[q], &mut v[q], &mut w[q], &mut x[q], &mut y[q], &mut z[q],
        ];
        for l in 0..COLUMNS {
            [u[l], v[l], w[l], x[l], y[l], z[l]] = gradients([a[l], b[l], c[l], d[l]]);
        }
    }
    values
}
