//! Winograd's F(4x4, 3x3), F(4, 3) and F(2x2, 5x5) in `f32`: filters of 3x3, 1x3 and 5x5 at stride 1, and input gradients of
//! them.
//!
//! Of 4x4 outputs of a 3x3 filter, which 6x6 pixels decide, a direct sum takes 144 products for each pair of channels,
//! and of 2x2 outputs of a 5x5 filter, which as many pixels decide, 100. Here it is 36, at as many pairs of
//! [`points`](super::points), which round about twice as much as a direct sum. A row of 4 outputs of a 1x3 filter takes 6 for 12.
//!
//! A task takes some tiles of outputs, [`COLUMNS`] side by side as lanes. For each of the positions there is a
//! product over the channels, of weights that were transformed once and pixels that the task transforms.
//!
//! The outputs of a tile share its pixels' rounding, so a large number spoils its neighbours' precision, and one that is
//! not finite its neighbours: outputs that are not finite are computed again directly.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::few;
use super::parts::Part;
use super::points::{self, Grid, PIXELS, both_ways, from_points};
use super::sliding::Sliding;
use super::tiles::{self, Tiles};
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{self, COLUMNS, Row, tile};
use crate::cpu::wide::{Work, widest};
use crate::op::{Conv2dGeometry, Size2};

/// Channels from which on it pays with tiles of so many rows of outputs, where the smaller number of a group's inputs and outputs
/// counts.
pub(super) const fn channels(height: usize) -> usize {
    if height == 1 { 32 } else { 16 }
}

/// A signal that stands upright as one that lies, where [`run`] may take it so. Direct sums of others share out its rows.
pub(super) fn turned(direct_only: bool, geometry: &Conv2dGeometry) -> Conv2dGeometry {
    let lying = geometry.lying();
    let channels_of_group = lying.in_channels.min(lying.out_channels) / lying.groups.max(1);
    let takes = !direct_only
        && lying.kernel == [1, 3].into()
        && [lying.stride, lying.dilation] == [1.into(); 2]
        && channels_of_group >= channels(1)
        && lying.batch >= TASKS;
    if takes { lying } else { *geometry }
}

/// How many tiles of so many outputs down and across cover a plane.
pub(super) fn covering([height, width]: [usize; 2], size: Size2) -> Size2 {
    Size2 {
        height: size.height.div_ceil(height),
        width: size.width.div_ceil(width),
    }
}

/// Positions at which there is a product, of tiles of so many rows of outputs.
pub(super) const fn positions(height: usize) -> usize {
    tiles::rows_of(height) * PIXELS
}

/// Computes what [`Sliding::compute`] does, where that pays; gives whether all sums are finite.
pub(super) fn run(
    sliding: &Sliding,
    x: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Option<bool> {
    match sliding.extents()? {
        [3, 3] => run_of::<4, 4, 3, 3, PIXELS>(sliding, x, bias, y),
        [1, 3] => run_of::<1, 4, 1, 3, 1>(sliding, x, bias, y),
        [5, 5] => run_of::<2, 2, 5, 5, PIXELS>(sliding, x, bias, y),
        _ => None,
    }
}

/// Whether it pays: with so many channels that the products take more time than the transforms, and so many tiles that
/// they fill the lanes and outweigh the transform of the filters. A task takes whole rows of tiles, which must not need
/// more than [`ROW`] numbers.
fn pays<const HEIGHT: usize, const OUTPUTS: usize, const TAPS: usize>(
    sliding: &Sliding,
    images: usize,
) -> bool {
    let positions = positions(HEIGHT);
    if sliding.from.min(sliding.to) < channels(HEIGHT) {
        return false;
    }
    // A task takes a whole signal: of a few short ones, direct sums share out the filters.
    if HEIGHT == 1 && images * sliding.target.area() <= few::WINDOWS {
        return false;
    }
    // Multiplications for a pair of channels, or what takes as long: the transform of a filter.
    let filter = match [HEIGHT, TAPS] {
        [1, _] => 70,
        [_, 3] => 400,
        _ => 2200,
    };
    let plane = covering([HEIGHT, OUTPUTS], sliding.target);
    let direct = images * sliding.target.area() * sliding.area;
    let ours = (images * plane.area()).next_multiple_of(COLUMNS) * positions + filter;
    plane.width * positions * sliding.from <= ROW && 10 * ours <= 7 * direct
}

/// Transformed pixels of a row of tiles at most, in all channels of a group: 16 MiB for each thread.
const ROW: usize = 1 << 22;

/// As [`run`], by tiles of `HEIGHT` rows of so many outputs, which `ROWS` rows of points are for, and filters of `DOWN` rows of
/// so many taps.
fn run_of<
    const HEIGHT: usize,
    const OUTPUTS: usize,
    const DOWN: usize,
    const TAPS: usize,
    const ROWS: usize,
>(
    sliding: &Sliding,
    x: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Option<bool> {
    let images = y.len() / (sliding.groups * sliding.to * sliding.target.area());
    if !pays::<HEIGHT, OUTPUTS, TAPS>(sliding, images) {
        return None;
    }
    let all_finite = AtomicBool::new(true);
    let weights = weights::<DOWN, TAPS, ROWS>(sliding);
    let plane = covering([HEIGHT, OUTPUTS], sliding.target);
    // Tiles of a task: four panels of lanes, as far as their pixels fit into the cache.
    let most = COLUMNS * panels::<HEIGHT>(sliding.from);
    let panels = images * plane.area() / COLUMNS;
    let most = most.min((panels / TASKS).max(1) * COLUMNS);
    let [images, rows] = extents(most, images, plane);
    let rows = HEIGHT * rows;
    let tasks = sliding.split([images, rows], x, y);
    for_each_with(tasks.into_iter(), Memory::default, |memory, part| {
        widest(Task::<HEIGHT, OUTPUTS, ROWS> {
            sliding,
            weights: &weights,
            bias,
            all_finite: &all_finite,
            part,
            memory,
        });
    });
    Some(all_finite.into_inner())
}

/// Panels of lanes whose pixels in so many channels fit into the cache, four at most.
fn panels<const HEIGHT: usize>(channels: usize) -> usize {
    (CACHE / (positions(HEIGHT) * COLUMNS * channels)).clamp(1, 4)
}

/// Images of a task and rows of their tiles, of at most so many tiles: those with which the fewest lanes are empty.
fn extents(most: usize, images: usize, plane: Size2) -> [usize; 2] {
    let panels = |[some, rows]: [usize; 2]| {
        let mut panels = 0;
        for (times, some) in [(images / some, some), (1, images % some)] {
            for (bands, rows) in [(plane.height / rows, rows), (1, plane.height % rows)] {
                panels += times * bands * (some * rows * plane.width).div_ceil(COLUMNS);
            }
        }
        panels
    };
    let highest = (most / plane.width).clamp(1, plane.height);
    let extents = (1..=highest).rev().map(|rows| {
        let tiles = rows * plane.width;
        [(most / tiles).clamp(1, images), rows]
    });
    extents
        .min_by_key(|&extents| panels(extents))
        .unwrap_or([1; 2])
}

/// Tasks that there are at least, where there are so many panels of tiles.
const TASKS: usize = 8;

/// Numbers that a core's cache holds beside what passes through it.
const CACHE: usize = 1 << 17;

/// The weights at each position, `(group, m, position, c)`.
fn weights<const DOWN: usize, const TAPS: usize, const ROWS: usize>(sliding: &Sliding) -> Vec<f32> {
    let from = sliding.from;
    let (places, w) = (sliding.places(), sliding.weights(&sliding.phases[0]));
    let mut weights = vec![0.0; w.len() / places.len() * ROWS * PIXELS];
    let rows = weights
        .chunks_exact_mut(ROWS * PIXELS * from)
        .zip(w.chunks_exact(places.len() * from));
    for_each(rows, |(to, w)| {
        widest(Filters::<DOWN, TAPS, ROWS> {
            places: &places,
            w,
            to,
        })
    });
    weights
}

/// The filters of one output channel.
struct Filters<'a, const DOWN: usize, const TAPS: usize, const ROWS: usize> {
    /// The row and column of each tap.
    places: &'a [(usize, usize)],
    /// `(c, tap)`.
    w: &'a [f32],
    /// `(position, c)`.
    to: &'a mut [f32],
}

impl<const DOWN: usize, const TAPS: usize, const ROWS: usize> Work
    for Filters<'_, DOWN, TAPS, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let area = DOWN * TAPS;
        let from = self.w.len() / area;
        for (at, w) in self.w.chunks(area * COLUMNS).enumerate() {
            let mut filters = [[[0.0; COLUMNS]; TAPS]; DOWN];
            for (lane, w) in w.chunks_exact(area).enumerate() {
                for (&(p, q), &w) in self.places.iter().zip(w) {
                    filters[p][q][lane] = f64::from(w);
                }
            }
            let values: Grid<_, ROWS, PIXELS> = both_ways(&filters, points::weights);
            for (position, values) in values.as_flattened().iter().enumerate() {
                let to = &mut self.to[position * from + at * COLUMNS..][..w.len() / area];
                for (to, &value) in to.iter_mut().zip(values) {
                    *to = value as f32;
                }
            }
        }
    }
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    tiles: tiles::Memory,
    /// Transformed pixels, `(panel, position, c, tile)`.
    pixels: Vec<Row>,
}

/// Some images, or some rows of one.
struct Task<'a, const HEIGHT: usize, const OUTPUTS: usize, const ROWS: usize> {
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

impl<const HEIGHT: usize, const OUTPUTS: usize, const ROWS: usize> Work
    for Task<'_, HEIGHT, OUTPUTS, ROWS>
{
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let rows = (0..self.part.rows.len()).step_by(HEIGHT);
        let columns = (0..self.sliding.target.width).step_by(OUTPUTS);
        let mut tiles = Vec::new();
        for image in 0..self.part.images {
            for row in rows.clone() {
                tiles.extend(columns.clone().map(|column| Tile { image, row, column }));
            }
        }
        for group in 0..self.sliding.groups {
            self.transform(group);
            self.multiply(group, &tiles);
        }
    }
}

impl<const HEIGHT: usize, const OUTPUTS: usize, const ROWS: usize> Task<'_, HEIGHT, OUTPUTS, ROWS> {
    /// Transforms the pixels of a group.
    #[inline(always)]
    fn transform(&mut self, group: usize) {
        let &Sliding {
            groups,
            from,
            source,
            target,
            ..
        } = self.sliding;
        let first = self.sliding.first();
        let first = (first.0 + self.part.rows.start as isize, first.1);
        let size = covering(
            [HEIGHT, OUTPUTS],
            [self.part.rows.len(), target.width].into(),
        );
        let Memory { tiles, pixels } = &mut *self.memory;
        let memory = std::mem::take(tiles);
        let mut tiles = Tiles::<HEIGHT, OUTPUTS>::new(self.part.images, size, first, memory);
        let positions = ROWS * PIXELS;
        let panels = tiles.count().div_ceil(COLUMNS);
        pixels.resize(panels * positions * from, [0.0; COLUMNS]);
        let mut grid = [[[0.0; COLUMNS]; PIXELS]; ROWS];
        for c in 0..from {
            let x = self.part.x;
            let planes = (0..self.part.images).map(|image| {
                let plane = (image * groups + group) * from + c;
                &x[plane * source.area()..][..source.area()]
            });
            tiles.take(source, planes);
            for (at, panel) in pixels.chunks_exact_mut(positions * from).enumerate() {
                tiles.panel(at, &mut grid);
                for (position, row) in grid.as_flattened().iter().enumerate() {
                    panel[position * from + c] = *row;
                }
            }
        }
        self.memory.tiles = tiles.memory();
    }

    /// The products of a group, and its outputs: of a long row of tiles those whose pixels fit into the cache, and then the next.
    #[inline(always)]
    fn multiply(&mut self, group: usize, tiles: &[Tile]) {
        let &Sliding { from, to, .. } = self.sliding;
        let panels = panels::<HEIGHT>(from);
        for (block, tiles) in tiles.chunks(panels * COLUMNS).enumerate() {
            for first in (0..to).step_by(product::ROWS) {
                for (at, tiles) in tiles.chunks(COLUMNS).enumerate() {
                    self.multiply_panel(group, (block * panels + at, tiles), first);
                }
            }
        }
    }

    /// Those of a panel, for some output channels.
    #[inline(always)]
    fn multiply_panel(&mut self, group: usize, (at, tiles): (usize, &[Tile]), first: usize) {
        let &Sliding { from, to, .. } = self.sliding;
        let positions = ROWS * PIXELS;
        let weights = &self.weights[group * to * positions * from..][..to * positions * from];
        let mut products = [[[[0.0; COLUMNS]; PIXELS]; ROWS]; product::ROWS];
        for position in 0..positions {
            let panel = &self.memory.pixels[(at * positions + position) * from..][..from];
            let mut rows = [weights; product::ROWS];
            for (m, row) in (first..).zip(&mut rows) {
                let m = m.min(to - 1);
                *row = &weights[(m * positions + position) * from..][..from];
            }
            for (products, sums) in products.iter_mut().zip(&tile(rows, panel)) {
                products.as_flattened_mut()[position] = *sums;
            }
        }
        for (m, products) in (first..to).zip(&products) {
            let y = both_ways(products, from_points);
            self.store(group * to + m, tiles, &y);
        }
    }

    /// Writes the outputs of some tiles to a channel.
    #[inline(always)]
    fn store(&mut self, channel: usize, tiles: &[Tile], y: &Grid<f32, HEIGHT, OUTPUTS>) {
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
            let rows = HEIGHT.min(height - tile.row);
            let columns = OUTPUTS.min(target.width - tile.column);
            let plane = &mut self.part.targets[tile.image * groups * to + channel];
            for (p, y) in y.iter().enumerate().take(rows) {
                let to = &mut plane[(tile.row + p) * target.width + tile.column..][..columns];
                match <&mut [f32; OUTPUTS]>::try_from(&mut *to) {
                    Ok(to) => write(to, y, lane, bias),
                    Err(_) => write(to, y, lane, bias),
                }
            }
        }
    }
}

/// A lane of a row of outputs.
#[inline(always)]
fn write(to: &mut [f32], y: &[Row], lane: usize, bias: f32) {
    for (to, y) in to.iter_mut().zip(y) {
        *to = y[lane] + bias;
    }
}

/// Puts other values into the places of those that are not finite.
pub(super) fn replace(values: &mut [f32], others: &[f32]) {
    let pairs = values.iter_mut().zip(others);
    for (value, &other) in pairs.filter(|(value, _)| !value.is_finite()) {
        *value = other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_of_such_extents_that_few_lanes_are_empty() {
        // A whole plane leaves 12 of 48 lanes empty, two rows of four images none.
        assert_eq!(extents(48, 64, [6, 6].into()), [4, 2]);
        // 55 panels, where nine images of a row each, seven at last, and one whole image take 56 and 64.
        assert_eq!(extents(64, 16, [7, 7].into()), [3, 3]);
        // Nothing to choose: the highest, which reads least twice.
        assert_eq!(extents(64, 1, [7, 7].into()), [1, 7]);
        // A row of more tiles than a task should have.
        assert_eq!(extents(16, 2, [3, 40].into()), [1, 1]);
    }
}
