//! The pixels of a channel at the points of Winograd's algorithm, for tiles side by side.
//!
//! Tiles share pixels: of 2x2 outputs, each pixel is in nine. So rows go to the points first, once for all tiles above
//! each other, and a tile takes six of them.

use super::parts::Around;
use super::points::{Grid, PIXELS, pixels};
use crate::cpu::product::COLUMNS;
use crate::op::Size2;

/// Tiles of a row that go to the points together. What is too much, the next ones overwrite.
const LANES: usize = 8;

/// Tiles of `HEIGHT` rows of `OUTPUTS` outputs, in the order of images, rows and columns.
pub(super) struct Tiles<const HEIGHT: usize, const OUTPUTS: usize> {
    images: usize,
    /// How many cover an image's part, down and across.
    size: Size2,
    around: Around,
    /// For each [`COLUMNS`] tiles, which of them begin a run side by side, and where in `rows`.
    runs: Vec<Vec<(usize, usize)>>,
    /// What the tiles of [`panel`](Self::panel) have in each column, and what is copied past them.
    columns: [[[f32; 2 * COLUMNS]; PIXELS]; PIXELS],
    memory: Memory,
}

/// Memory that some tiles leave to the next.
#[derive(Default)]
pub(super) struct Memory {
    /// A channel's planes in zeros, `(image, row, column)`.
    planes: Vec<f32>,
    /// Their rows at the points, `(point, image, row, tile)`.
    rows: Vec<f32>,
}

/// Rows of pixels of a tile of so many rows of outputs, and of its points: a tile of one row is of a filter of one row.
pub(super) const fn rows_of(height: usize) -> usize {
    if height == 1 { 1 } else { PIXELS }
}

/// What so many tiles of `HEIGHT` rows of `OUTPUTS` outputs read of a plane, from such a row and column on.
pub(super) fn around<const HEIGHT: usize, const OUTPUTS: usize>(
    size: Size2,
    (down, right): (isize, isize),
) -> Around {
    Around {
        down,
        right,
        rows: size.height * HEIGHT + rows_of(HEIGHT) - HEIGHT,
        columns: size.width * OUTPUTS + PIXELS - OUTPUTS,
    }
}

impl<const HEIGHT: usize, const OUTPUTS: usize> Tiles<HEIGHT, OUTPUTS> {
    /// Tiles of so many images, the first at such a row and column of the source.
    pub fn new(images: usize, size: Size2, first: (isize, isize), memory: Memory) -> Self {
        let around = around::<HEIGHT, OUTPUTS>(size, first);
        let mut runs = vec![vec![]; (images * size.area()).div_ceil(COLUMNS)];
        let mut tile = 0;
        for image in 0..images {
            for row in 0..size.height {
                let start = (image * around.rows + row * HEIGHT) * size.width;
                let end = tile + size.width;
                let mut from = start;
                while tile < end {
                    runs[tile / COLUMNS].push((tile % COLUMNS, from));
                    let len = (COLUMNS - tile % COLUMNS).min(end - tile);
                    (tile, from) = (tile + len, from + len);
                }
            }
        }
        Self {
            images,
            size,
            around,
            runs,
            columns: [[[0.0; 2 * COLUMNS]; PIXELS]; PIXELS],
            memory,
        }
    }

    pub fn count(&self) -> usize {
        self.images * self.size.area()
    }

    /// The memory, for other tiles.
    pub fn memory(self) -> Memory {
        self.memory
    }

    /// How far a point's rows are from those of the next.
    fn pitch(&self) -> usize {
        self.images * self.around.rows * self.size.width + COLUMNS
    }

    /// Takes a channel's planes, one for each image.
    #[inline(always)]
    pub fn take<'a>(&mut self, size: Size2, channel: impl Iterator<Item = &'a [f32]>) {
        let (around, width, pitch) = (self.around, self.size.width, self.pitch());
        let Memory { planes, rows } = &mut self.memory;
        planes.clear();
        planes.resize(self.images * around.area() + LANES * OUTPUTS, 0.0);
        for (from, to) in channel.zip(planes.chunks_exact_mut(around.area())) {
            around.copy(size, from, to);
        }
        rows.resize(PIXELS * pitch, 0.0);
        for row in 0..self.images * around.rows {
            for first in (0..width).step_by(LANES) {
                let from = &planes[row * around.columns + first * OUTPUTS..];
                let from = &from[..LANES * OUTPUTS + PIXELS - OUTPUTS];
                let mut values = [[0.0; LANES]; PIXELS];
                for l in 0..LANES {
                    let mut d = [0.0; PIXELS];
                    for (j, d) in d.iter_mut().enumerate() {
                        *d = from[l * OUTPUTS + j];
                    }
                    for (values, value) in values.iter_mut().zip(pixels(d)) {
                        values[l] = value;
                    }
                }
                for (point, values) in values.iter().enumerate() {
                    let to = &mut rows[point * pitch + row * width + first..];
                    to[..LANES].copy_from_slice(values);
                }
            }
        }
    }

    /// `B^T d B` of [`COLUMNS`] tiles, or `d B` of those of one row; zeros where there are no more.
    #[inline(always)]
    pub fn panel<const ROWS: usize>(&mut self, at: usize, grid: &mut Grid<f32, ROWS, PIXELS>) {
        let (width, pitch) = (self.size.width, self.pitch());
        let lanes = self.count() - at * COLUMNS;
        // All is copied before any is read: what lies in several writes that are under way would have to wait for them.
        let columns = &mut self.columns;
        for (from, column) in self.memory.rows.chunks_exact(pitch).zip(&mut *columns) {
            for (i, d) in column.iter_mut().enumerate().take(ROWS) {
                for &(lane, start) in &self.runs[at] {
                    let from = &from[start + i * width..][..COLUMNS];
                    d[lane..][..COLUMNS].copy_from_slice(from);
                }
                if lanes < COLUMNS {
                    d[lanes..].fill(0.0);
                }
            }
        }
        for (q, column) in columns.iter().enumerate() {
            if ROWS == 1 {
                grid[0][q].copy_from_slice(&column[0][..COLUMNS]);
                continue;
            }
            for l in 0..COLUMNS {
                let mut d = [0.0; PIXELS];
                for (d, column) in d.iter_mut().zip(column) {
                    *d = column[l];
                }
                for (row, value) in grid.iter_mut().zip(pixels(d)) {
                    row[q][l] = value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::conv2d::points::both_ways;

    /// Tiles of 2x2 outputs of two images of 9x7, from the pixel before the first on: 12 tiles each, which two panels
    /// take.
    #[test]
    fn tiles_are_those_of_the_planes_and_lanes_without_one_are_zero() {
        let size = Size2 {
            height: 9,
            width: 7,
        };
        let x: Vec<f32> = (0..2 * size.area())
            .map(|at| (at * at % 97) as f32)
            .collect();
        let memory = Memory {
            planes: vec![],
            rows: vec![f32::NAN; 10_000],
        };
        let mut tiles = Tiles::<2, 2>::new(2, [4, 3].into(), (-1, -1), memory);
        assert_eq!(tiles.count(), 24);
        tiles.take(size, x.chunks_exact(size.area()));
        let mut square = [[[f32::NAN; COLUMNS]; PIXELS]; PIXELS];
        for panel in 0..2 {
            let mut expected = [[[0.0; COLUMNS]; PIXELS]; PIXELS];
            for lane in 0..COLUMNS {
                let tile = panel * COLUMNS + lane;
                let (image, row, column) = (tile / 12, tile / 3 % 4, tile % 3);
                for (i, expected) in expected.iter_mut().enumerate() {
                    for (j, expected) in expected.iter_mut().enumerate() {
                        let (i, j) = (row * 2 + i, column * 2 + j);
                        let inside =
                            (1..=size.height).contains(&i) && (1..=size.width).contains(&j);
                        if tile < 24 && inside {
                            expected[lane] = x[(image * size.height + i - 1) * size.width + j - 1];
                        }
                    }
                }
            }
            tiles.panel(panel, &mut square);
            assert_eq!(square, both_ways(&expected, pixels), "panel {panel}");
        }
    }
}
