//! Products of `f32`s: tiles of sums in registers.
//!
//! Of `C = A B`, four rows and sixteen columns are a tile: half of sixteen registers of eight numbers. Rows of A
//! are read where they are, along K; B lies in *panels*, of sixteen columns each, row by row.
//!
//! An element's sum goes along K in blocks of [`TERMS`], which add up in `f64`, as the plain products do. Which
//! tile, thread or vector it falls to changes nothing in it.

use super::parallel::for_each;
use super::sum::TERMS;
use super::wide::{Work, widest};

/// Rows of a tile of C.
pub(super) const ROWS: usize = 4;

/// Columns of a tile of C, and of a panel.
pub(super) const COLUMNS: usize = 16;

/// A row of a panel.
pub(super) type Row = [f32; COLUMNS];

/// Rows of C that one task computes.
const TASK: usize = 16;

/// `A B` for a tile: rows of A, of which each has at least as many elements as the panel rows.
#[inline(always)]
pub(super) fn tile(mut a: [&[f32]; ROWS], b: &[Row]) -> [Row; ROWS] {
    let (first, rest) = b.split_at(b.len().min(TERMS));
    let mut sums = block(a, first);
    if rest.is_empty() {
        return sums;
    }
    let mut totals = [[0.0; COLUMNS]; ROWS];
    for (totals, sums) in totals.iter_mut().zip(&sums) {
        for (total, &sum) in totals.iter_mut().zip(sums) {
            *total = f64::from(sum);
        }
    }
    for b in rest.chunks(TERMS) {
        a.iter_mut().for_each(|row| *row = &row[TERMS..]);
        for (totals, sums) in totals.iter_mut().zip(&block(a, b)) {
            for (total, &sum) in totals.iter_mut().zip(sums) {
                *total += f64::from(sum);
            }
        }
    }
    for (sums, totals) in sums.iter_mut().zip(&totals) {
        for (sum, &total) in sums.iter_mut().zip(totals) {
            *sum = total as f32;
        }
    }
    sums
}

/// The sums over a block of K. Each row's have a name: arrays of rows do not always come to lie in registers.
#[inline(always)]
fn block(a: [&[f32]; ROWS], b: &[Row]) -> [Row; ROWS] {
    let [first, second, third, fourth] = a.map(|row| &row[..b.len()]);
    let [mut one, mut two, mut three, mut four] = [[0.0; COLUMNS]; ROWS];
    for (p, b) in b.iter().enumerate() {
        add_times(&mut one, first[p], b);
        add_times(&mut two, second[p], b);
        add_times(&mut three, third[p], b);
        add_times(&mut four, fourth[p], b);
    }
    [one, two, three, four]
}

/// `sums += a * b`.
#[inline(always)]
fn add_times(sums: &mut Row, a: f32, b: &Row) {
    for (sum, &b) in sums.iter_mut().zip(b) {
        *sum += a * b;
    }
}

/// A tile's rows of `a (count, k)` from row `first` on: where these are fewer, the last one again.
#[inline(always)]
pub(super) fn rows_from(a: &[f32], [count, k]: [usize; 2], first: usize) -> [&[f32]; ROWS] {
    let mut rows = [a; ROWS];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &a[(first + i).min(count - 1) * k..][..k];
    }
    rows
}

/// `C = A B` as [`super::matmul`] has it, of slices that have the right lengths, none of them empty.
pub(super) fn matmul(
    [m, n, k]: [usize; 3],
    (a, transpose_a): (&[f32], bool),
    (b, transpose_b): (&[f32], bool),
    c: &mut [f32],
) {
    let columns;
    let a = match transpose_a {
        false => a,
        true => {
            columns = transposed(m, k, a);
            &columns
        }
    };
    if transpose_b {
        // C^T = B A^T, where both are read along K: B where it is, A from panels.
        let width = m.next_multiple_of(COLUMNS);
        let mut turned = vec![0.0; n * width];
        multiply([n, k], b, &panels_of_rows([m, k], a), &mut turned, width);
        for_each(c.chunks_exact_mut(n).enumerate(), |(i, c)| {
            let column = turned[i..].iter().step_by(width);
            c.iter_mut().zip(column).for_each(|(c, &sum)| *c = sum);
        });
    } else {
        multiply([m, k], a, &panels([k, n], b), c, n);
    }
}

/// `C = A B` with `A (m, k)`, panels of B and `C (m, n)`.
pub(super) fn multiply([m, k]: [usize; 2], a: &[f32], panels: &[Row], c: &mut [f32], n: usize) {
    for_each(c.chunks_mut(TASK * n).enumerate(), |(at, c)| {
        let first = at * TASK;
        let a = &a[first * k..m.min(first + TASK) * k];
        widest(Block { a, k, panels, c, n });
    });
}

/// Some rows of C.
struct Block<'a> {
    a: &'a [f32],
    k: usize,
    panels: &'a [Row],
    c: &'a mut [f32],
    n: usize,
}

impl Work for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { a, k, panels, c, n } = self;
        let m = c.len() / n;
        for (at, panel) in panels.chunks_exact(k).enumerate() {
            let (start, len) = (at * COLUMNS, (n - at * COLUMNS).min(COLUMNS));
            for first in (0..m).step_by(ROWS) {
                let sums = tile(rows_from(a, [m, k], first), panel);
                for (c, sums) in c[first * n..].chunks_exact_mut(n).zip(&sums) {
                    c[start..start + len].copy_from_slice(&sums[..len]);
                }
            }
        }
    }
}

/// `A (m, k)` of `a (k, m)`.
fn transposed(m: usize, k: usize, a: &[f32]) -> Vec<f32> {
    let mut rows = vec![0.0; m * k];
    for_each(rows.chunks_exact_mut(k).enumerate(), |(i, row)| {
        let column = a[i..].iter().step_by(m);
        row.iter_mut()
            .zip(column)
            .for_each(|(to, &from)| *to = from);
    });
    rows
}

/// Panels of `B (k, n)`.
fn panels([k, n]: [usize; 2], b: &[f32]) -> Vec<Row> {
    let mut panels = vec![[0.0; COLUMNS]; n.div_ceil(COLUMNS) * k];
    for_each(panels.chunks_exact_mut(k).enumerate(), |(at, panel)| {
        let columns = at * COLUMNS..n.min((at + 1) * COLUMNS);
        for (row, b) in panel.iter_mut().zip(b.chunks_exact(n)) {
            row[..columns.len()].copy_from_slice(&b[columns.clone()]);
        }
    });
    panels
}

/// Panels of the transpose of `(n, k)`.
fn panels_of_rows([n, k]: [usize; 2], rows: &[f32]) -> Vec<Row> {
    let mut panels = vec![[0.0; COLUMNS]; n.div_ceil(COLUMNS) * k];
    let rows = rows.chunks(COLUMNS * k);
    for_each(panels.chunks_exact_mut(k).zip(rows), |(panel, rows)| {
        turn(k, rows, panel)
    });
    panels
}

/// Turns up to [`COLUMNS`] rows of so many numbers into the rows of a panel.
#[inline(always)]
pub(super) fn turn(k: usize, rows: &[f32], panel: &mut [Row]) {
    for (column, row) in rows.chunks_exact(k).enumerate() {
        for (to, &from) in panel.iter_mut().zip(row) {
            to[column] = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_vectors() {
        let [m, n, k] = [7, 21, 130];
        let values = |len: usize, seed: f32| -> Vec<f32> {
            (0..len).map(|at| (at as f32 * seed).sin()).collect()
        };
        let (a, b) = (values(m * k, 0.37), panels([k, n], &values(k * n, 0.73)));
        let [mut narrow, mut wide] = [(); 2].map(|()| vec![f32::NAN; m * n]);
        let block = |c| Block {
            a: &a,
            k,
            panels: &b,
            c,
            n,
        };
        block(&mut narrow).run();
        widest(block(&mut wide));
        assert!(narrow.iter().all(|sum| sum.is_finite()));
        assert_eq!(
            narrow.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>(),
            wide.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>()
        );
    }
}
