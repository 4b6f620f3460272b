//! Winograd's F(3x3, 4x4), F(3, 4) and F(5x5, 2x2) in `f32`: the weight gradient of 3x3, 1x3 and 5x5 filters at stride 1.
//!
//! Each tile of 4x4, 1x4 or 2x2 output gradients `g` adds to a filter's gradient what [`winograd`](super::winograd) would
//! compute with the roles changed: `A^T (sum over tiles of (G g G^T) * (B^T d B)) A`, of the same pixels `d` at the same
//! [`points`](super::points). The sums over the tiles are products, one for each of the positions, and are transformed once.
//!
//! What is not finite is computed again directly.

use std::ops::Range;

use super::parts::Around;
use super::points::{self, Grid, PIXELS, both_ways, from_points};
use super::tiles::around;
use super::winograd::{covering, positions, replace};
use super::{Sizes, all_finite, weight};
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{self, COLUMNS, Row, rows_from, tile};
use crate::cpu::sum::add_wide;
use crate::cpu::wide::{Work, widest};
use crate::op::{Conv2dGeometry, Size2};

/// Input and output channels of a task, whose sums stay in a core's cache.
const CHANNELS: usize = 64;

/// Tiles that are transformed at a time, about.
const TILES: usize = 48;

/// Tasks that there are at least, where there are as many images.
const TASKS: usize = 8;

/// As [`super::conv2d_backward_weight`], of slices that have the geometry's lengths, where that pays; gives whether it
/// does.
pub(super) fn backward_weight(
    geometry: &Conv2dGeometry,
    sizes: Sizes,
    x: &[f32],
    gy: &[f32],
    gw: &mut [f32],
) -> bool {
    let geometry = &geometry.lying();
    match [geometry.kernel.height, geometry.kernel.width] {
        [3, 3] => backward_weight_of::<4, 4, 3, 3, PIXELS>(geometry, sizes, x, gy, gw),
        [1, 3] => backward_weight_of::<1, 4, 1, 3, 1>(geometry, sizes, x, gy, gw),
        [5, 5] => backward_weight_of::<2, 2, 5, 5, PIXELS>(geometry, sizes, x, gy, gw),
        _ => false,
    }
}

/// Whether it pays: where the channels are those for [`super::winograd`], and there are so many tiles that they outweigh
/// the transform of the sums.
fn pays<const HEIGHT: usize, const OUTPUTS: usize, const TAPS: usize>(
    geometry: &Conv2dGeometry,
    sizes: Sizes,
) -> bool {
    let size = geometry.out_size;
    let tiles = covering([HEIGHT, OUTPUTS], size).area();
    [geometry.stride, geometry.dilation] == [1.into(); 2]
        && sizes.group_inputs.min(sizes.group_outputs) >= super::winograd::channels(HEIGHT)
        && geometry.batch * tiles >= least(HEIGHT, TAPS)
        && 10 * tiles * positions(HEIGHT) <= 7 * size.area() * geometry.kernel.area()
}

/// Tiles of a task that are worth its sums.
const fn part(taps: usize) -> usize {
    if taps == 3 { 64 } else { 128 }
}

/// Tiles from which on it pays.
const fn least(height: usize, taps: usize) -> usize {
    if taps == 3 && height > 1 { 32 } else { 96 }
}

/// As [`backward_weight`], by tiles of `HEIGHT` rows of so many outputs, which `ROWS` rows of points are for, and filters of
/// `DOWN` rows of so many taps.
fn backward_weight_of<
    const HEIGHT: usize,
    const OUTPUTS: usize,
    const DOWN: usize,
    const TAPS: usize,
    const ROWS: usize,
>(
    geometry: &Conv2dGeometry,
    sizes: Sizes,
    x: &[f32],
    gy: &[f32],
    gw: &mut [f32],
) -> bool {
    if !pays::<HEIGHT, OUTPUTS, TAPS>(geometry, sizes) {
        return false;
    }
    let taps = DOWN * TAPS;
    let (inputs, outputs) = (sizes.group_inputs, sizes.group_outputs);
    let counts = [
        geometry.groups,
        inputs.div_ceil(CHANNELS),
        outputs.div_ceil(CHANNELS),
    ];
    let blocks: usize = counts.iter().product();
    let tiles = geometry.batch * covering([HEIGHT, OUTPUTS], geometry.out_size).area();
    let parts = TASKS
        .div_ceil(blocks)
        .min(tiles / part(TAPS))
        .clamp(1, geometry.batch);
    let images = geometry.batch.div_ceil(parts);
    let parts = geometry.batch.div_ceil(images);
    // Of each task `(c, o, tap)`.
    let len = CHANNELS.min(inputs) * CHANNELS.min(outputs) * taps;
    let mut sums = vec![0.0; blocks * parts * len];
    let channels = |at: usize, of: usize| at * CHANNELS..of.min((at + 1) * CHANNELS);
    for_each_with(
        sums.chunks_exact_mut(len).enumerate(),
        Memory::default,
        |memory, (at, sums)| {
            let (block, start) = (at / parts, at % parts * images);
            widest(Task::<HEIGHT, OUTPUTS, DOWN, TAPS, ROWS> {
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
        gw.chunks_exact_mut(inputs * taps).enumerate(),
        |(filter, gw)| {
            let (group, o) = (filter / outputs, filter % outputs);
            for (c, gw) in gw.chunks_exact_mut(taps).enumerate() {
                let block = (group * counts[1] + c / CHANNELS) * counts[2] + o / CHANNELS;
                let width = channels(o / CHANNELS, outputs).len();
                let at = (c % CHANNELS * width + o % CHANNELS) * taps;
                let parts = sums[block * parts * len..][..parts * len].chunks_exact(len);
                let mut totals = [[0.0; TAPS]; DOWN];
                for part in parts {
                    totals
                        .as_flattened_mut()
                        .iter_mut()
                        .zip(&part[at..])
                        .for_each(|(total, sum)| *total += sum);
                }
                for (gw, total) in gw.iter_mut().zip(totals.as_flattened()) {
                    *gw = *total as f32;
                }
            }
        },
    );
    if !all_finite(gw) {
        let mut direct = vec![0.0; gw.len()];
        weight::backward_weight(geometry, sizes, x, gy, &mut direct);
        replace(gw, &direct);
    }
    true
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    /// Planes in zeros: one channel's, `(image, row, column)`, and of [`COLUMNS`] channels of gradients.
    planes: Vec<f32>,
    /// Transformed pixels, `(position, c, tile)`.
    pixels: Vec<f32>,
    /// Transformed gradients, `(position, o / COLUMNS, tile, o)`.
    gradients: Vec<Row>,
    /// The sums at each position, `(position, c, o)`.
    totals: Vec<f64>,
}

/// The sums over some images, for some channels of a group.
struct Task<
    'a,
    const HEIGHT: usize,
    const OUTPUTS: usize,
    const DOWN: usize,
    const TAPS: usize,
    const ROWS: usize,
> {
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

impl<
    const HEIGHT: usize,
    const OUTPUTS: usize,
    const DOWN: usize,
    const TAPS: usize,
    const ROWS: usize,
> Work for Task<'_, HEIGHT, OUTPUTS, DOWN, TAPS, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let Size2 { height, width } = covering([HEIGHT, OUTPUTS], self.geometry.out_size);
        let images = (TILES / (height * width)).max(1);
        // Parts of much the same height, and of a row that is longer than a part of much the same width.
        let rows = (TILES / width).clamp(1, height);
        let rows = height.div_ceil(height.div_ceil(rows));
        let columns = width.div_ceil(width.div_ceil(TILES));
        self.memory.totals.clear();
        self.memory.totals.resize(
            positions(HEIGHT) * self.inputs.len() * self.outputs.len(),
            0.0,
        );
        for start in self.images.clone().step_by(images) {
            for top in (0..height).step_by(rows) {
                for left in (0..width).step_by(columns) {
                    let part = Part {
                        images: start..self.images.end.min(start + images),
                        first: [top * HEIGHT, left * OUTPUTS],
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

impl<
    const HEIGHT: usize,
    const OUTPUTS: usize,
    const DOWN: usize,
    const TAPS: usize,
    const ROWS: usize,
> Task<'_, HEIGHT, OUTPUTS, DOWN, TAPS, ROWS>
{
    #[inline(always)]
    fn transform_pixels(&mut self, part: &Part) {
        let [top, _, left, _] = self.geometry.padding;
        let down = part.first[0] as isize - top as isize;
        let right = part.first[1] as isize - left as isize;
        let around = around::<HEIGHT, OUTPUTS>(part.tiles, (down, right));
        let (count, channels) = (part.count(), self.inputs.len());
        let Memory { planes, pixels, .. } = &mut *self.memory;
        planes.clear();
        planes.resize(part.images.len() * around.area(), 0.0);
        pixels.resize(positions(HEIGHT) * channels * count, 0.0);
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
                let mut tiles = [[[0.0; COLUMNS]; PIXELS]; ROWS];
                for lane in 0..lanes {
                    let place = around.place([HEIGHT, OUTPUTS], part.tiles, first + lane);
                    for (i, row) in tiles.iter_mut().enumerate() {
                        let from = &planes[place + i * around.columns..][..PIXELS];
                        for (to, &from) in row.iter_mut().zip(from) {
                            to[lane] = from;
                        }
                    }
                }
                let values: Grid<_, ROWS, PIXELS> = both_ways(&tiles, points::pixels);
                for (position, row) in values.as_flattened().iter().enumerate() {
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
            rows: part.tiles.height * HEIGHT,
            columns: part.tiles.width * OUTPUTS,
        };
        let (count, panels) = (part.count(), self.outputs.len().div_ceil(COLUMNS));
        let Memory {
            planes, gradients, ..
        } = &mut *self.memory;
        let len = part.images.len() * around.area();
        planes.clear();
        planes.resize(COLUMNS * len, 0.0);
        gradients.resize(positions(HEIGHT) * panels * count, [0.0; COLUMNS]);
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
                let place = around.place([HEIGHT, OUTPUTS], part.tiles, at);
                let mut tiles = [[[0.0; COLUMNS]; OUTPUTS]; HEIGHT];
                for lane in 0..lanes {
                    for (i, row) in tiles.iter_mut().enumerate() {
                        let from = &planes[lane * len + place + i * around.columns..][..OUTPUTS];
                        for (to, &from) in row.iter_mut().zip(from) {
                            to[lane] = from;
                        }
                    }
                }
                let values: Grid<_, ROWS, PIXELS> = both_ways(&tiles, points::weights);
                for (position, row) in values.as_flattened().iter().enumerate() {
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
                for c in (0..inputs).step_by(product::ROWS) {
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
        let pairs = totals.len() / positions(HEIGHT);
        let taps = DOWN * TAPS;
        for (at, sums) in self.sums[..pairs * taps]
            .chunks_mut(taps * COLUMNS)
            .enumerate()
        {
            let lanes = sums.len() / taps;
            let mut values = [[[0.0; COLUMNS]; PIXELS]; ROWS];
            for (position, row) in values.as_flattened_mut().iter_mut().enumerate() {
                let totals = &totals[position * pairs + at * COLUMNS..];
                match totals.first_chunk() {
                    Some(totals) => *row = *totals,
                    None => row[..lanes].copy_from_slice(&totals[..lanes]),
                }
            }
            let values: Grid<_, DOWN, TAPS> = both_ways(&values, from_points);
            for (lane, sums) in sums.chunks_exact_mut(taps).enumerate() {
                for (sum, values) in sums.iter_mut().zip(values.as_flattened()) {
                    *sum = values[lane];
                }
            }
        }
    }
}
