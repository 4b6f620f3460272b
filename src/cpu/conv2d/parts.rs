//! How a convolution's work is shared out: parts of its output, and of the planes what they read.

use std::ops::Range;

use crate::op::Size2;

/// Some images, or some rows of one.
pub(super) struct Part<'a> {
    pub images: usize,
    /// From its first image on.
    pub x: &'a [f32],
    /// The target's rows.
    pub rows: Range<usize>,
    /// These rows of each channel of each image.
    pub targets: Vec<&'a mut [f32]>,
}

/// Parts of so many images of an output `(N, channels, size)`, and of so many rows of their planes; `len` is what an
/// image of the input has.
pub(super) fn split<'a>(
    [images, rows]: [usize; 2],
    (x, len): (&'a [f32], usize),
    (y, channels, size): (&'a mut [f32], usize, Size2),
) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    for x in x.chunks(images * len) {
        parts.extend((0..size.height).step_by(rows).map(|first| Part {
            images: x.len() / len,
            x,
            rows: first..size.height.min(first + rows),
            targets: vec![],
        }));
    }
    let bands = size.height.div_ceil(rows);
    for (plane, y) in y.chunks_exact_mut(size.area()).enumerate() {
        for (band, y) in y.chunks_mut(rows * size.width).enumerate() {
            parts[plane / channels / images * bands + band]
                .targets
                .push(y);
        }
    }
    parts
}

/// The part of a plane that is read, with the zeros around it.
#[derive(Clone, Copy)]
pub(super) struct Around {
    /// The source's row and column that its first are.
    pub down: isize,
    pub right: isize,
    pub rows: usize,
    pub columns: usize,
}

impl Around {
    pub fn area(&self) -> usize {
        self.rows.saturating_mul(self.columns)
    }

    /// Where a row and a column of an image's plane are.
    #[inline(always)]
    pub fn at(&self, image: usize, row: usize, column: usize) -> usize {
        (image * self.rows + row) * self.columns + column
    }

    /// Where tile `at` of the planes' tiles begins, of which each is so far from the one before.
    pub fn place(&self, [down, right]: [usize; 2], tiles: Size2, at: usize) -> usize {
        let (image, at) = (at / tiles.area(), at % tiles.area());
        let (row, column) = (at / tiles.width, at % tiles.width);
        self.at(image, down * row, right * column)
    }

    /// Copies a plane to its place among the zeros of `to`.
    #[inline(always)]
    pub fn copy(&self, size: Size2, plane: &[f32], to: &mut [f32]) {
        let span = |first: isize, len: usize, extent: usize| {
            let start = first.clamp(0, extent as isize);
            start as usize..(first + len as isize).clamp(start, extent as isize) as usize
        };
        let columns = span(self.right, self.columns, size.width);
        if columns.is_empty() {
            return;
        }
        for row in span(self.down, self.rows, size.height) {
            let at = (row as isize - self.down) as usize * self.columns;
            let at = at + (columns.start as isize - self.right) as usize;
            let from = &plane[row * size.width..][columns.clone()];
            to[at..at + from.len()].copy_from_slice(from);
        }
    }
}
