//! Matrix products, and the dense layer that they make. The twin of the `matmul` kernels.
//!
//! Both products keep a tile of C in registers while they walk along K, a block of K at a time: within
//! one they add up in their own precision, block by block in `f64`. Which tile an element falls into
//! changes nothing in its own sum, so the tiles cannot be seen in the result.

use super::parallel::for_each;
use super::sum::{TERMS, add_wide, round};
use super::{Real, check_length, product, singles};
use crate::Result;
use crate::op::LinearGeometry;

/// Rows of C that one task computes.
const ROWS: usize = 16;

/// Partial sums of a dot product, added at its end: what one vector register holds.
const LANES: usize = 4;

/// `C = A B` with row-major `A (m, k)`, `B (k, n)` and `C (m, n)`. A transposed operand is given as
/// it lies in memory: `transpose_a` reads `a` as `(k, m)`, `transpose_b` reads `b` as `(n, k)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length.
#[allow(clippy::too_many_arguments)] // those of BLAS
pub fn matmul<T: Real>(
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    transpose_a: bool,
    b: &[T],
    transpose_b: bool,
    c: &mut [T],
) -> Result<()> {
    check_length(
        "matmul a",
        if transpose_a { [k, m] } else { [m, k] },
        a.len(),
    )?;
    check_length(
        "matmul b",
        if transpose_b { [n, k] } else { [k, n] },
        b.len(),
    )?;
    check_length("matmul c", [m, n], c.len())?;
    c.fill(T::zero());
    if c.is_empty() || k == 0 {
        return Ok(());
    }
    if m.min(n) >= product::ROWS
        && let Some((a, b, c)) = singles(a, b, c)
    {
        product::matmul([m, n, k], (a, transpose_a), (b, transpose_b), c);
        return Ok(());
    }
    if transpose_a && transpose_b {
        let rows: Vec<T> = (0..m * k).map(|at| a[at % k * m + at / k]).collect();
        return matmul(m, n, k, &rows, false, b, true, c);
    }
    for_each(c.chunks_mut(ROWS * n).enumerate(), |(block, c)| {
        let first = block * ROWS;
        match (transpose_a, transpose_b) {
            (false, false) => add_product(n, k, |i, p| a[(first + i) * k + p], b, c),
            (true, _) => add_product(n, k, |i, p| a[p * m + first + i], b, c),
            (false, true) => {
                let mut totals = vec![0.0; c.len()];
                add_dots(n, k, &a[first * k..], b, c, &mut totals);
                round(&totals, c);
            }
        }
    });
    Ok(())
}

/// `C += A B` for `C (m, n)` and `B (k, n)`, with the elements of `A (m, k)` from a function.
pub(super) fn add_product<T: Real>(
    n: usize,
    k: usize,
    a: impl Fn(usize, usize) -> T + Copy,
    b: &[T],
    c: &mut [T],
) {
    let b = &b[..k * n];
    for (pair, c) in c.chunks_mut(2 * n).enumerate() {
        let a = move |i, p| a(2 * pair + i, p);
        if c.len() == 2 * n {
            add_product_rows::<T, 2>(n, a, b, c);
        } else {
            add_product_rows::<T, 1>(n, a, b, c);
        }
    }
}

/// R rows of [`add_product`], in tiles of 16, 4 and single columns.
fn add_product_rows<T: Real, const R: usize>(
    n: usize,
    a: impl Fn(usize, usize) -> T + Copy,
    b: &[T],
    c: &mut [T],
) {
    let mut j = 0;
    while j + 16 <= n {
        add_product_tile::<T, R, 16>(n, j, a, b, c);
        j += 16;
    }
    while j + 4 <= n {
        add_product_tile::<T, R, 4>(n, j, a, b, c);
        j += 4;
    }
    while j < n {
        add_product_tile::<T, R, 1>(n, j, a, b, c);
        j += 1;
    }
}

/// R rows and W columns of [`add_product`], from column `j` on.
#[inline(always)]
fn add_product_tile<T: Real, const R: usize, const W: usize>(
    n: usize,
    j: usize,
    a: impl Fn(usize, usize) -> T + Copy,
    b: &[T],
    c: &mut [T],
) {
    let mut sums = [[T::zero(); W]; R];
    if b.len() <= TERMS * n {
        sums = product_tile(n, j, a, b);
    } else {
        let mut totals = [[0.0; W]; R];
        for (block, b) in b.chunks(TERMS * n).enumerate() {
            let sums = product_tile::<T, R, W>(n, j, |i, p| a(i, block * TERMS + p), b);
            add_wide(totals.as_flattened_mut(), sums.as_flattened());
        }
        round(totals.as_flattened(), sums.as_flattened_mut());
    }
    for (sums, c) in sums.iter().zip(c.chunks_exact_mut(n)) {
        add(&mut c[j..j + W], sums);
    }
}

/// The sums over a block of K.
#[inline(always)]
fn product_tile<T: Real, const R: usize, const W: usize>(
    n: usize,
    j: usize,
    a: impl Fn(usize, usize) -> T,
    b: &[T],
) -> [[T; W]; R] {
    let mut sums = [[T::zero(); W]; R];
    for (p, row) in b.chunks_exact(n).enumerate() {
        let row = &row[j..j + W];
        for (i, sums) in sums.iter_mut().enumerate() {
            let factor = a(i, p);
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += factor * value;
            }
        }
    }
    sums
}

/// `totals += A B^T` for totals of `(m, n)`, `A (m, k)` and `B (n, k)`: the dot products of their
/// rows. `sums`, of the same length, is for those over a block of K.
pub(super) fn add_dots<T: Real>(
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    sums: &mut [T],
    totals: &mut [f64],
) {
    for start in (0..k).step_by(LANES * TERMS) {
        let len = (k - start).min(LANES * TERMS);
        dots(n, [k, len], &a[start..], &b[start..], sums);
        add_wide(totals, sums);
    }
}

/// `C = A B^T` for `C (m, n)`, `A (m, len)` and `B (n, len)`, whose rows begin every `k` elements.
fn dots<T: Real>(n: usize, [k, len]: [usize; 2], a: &[T], b: &[T], c: &mut [T]) {
    for (i, c) in c.chunks_mut(2 * n).enumerate() {
        let a = &a[2 * i * k..];
        for j in (0..n).step_by(4) {
            let b = &b[j * k..];
            if c.len() == 2 * n && j + 4 <= n {
                dots_tile::<T, 2, 4>(n, j, [k, len], a, b, c);
                continue;
            }
            for (ii, c) in c.chunks_exact_mut(n).enumerate() {
                for jj in 0..(n - j).min(4) {
                    dots_tile::<T, 1, 1>(n, j + jj, [k, len], &a[ii * k..], &b[jj * k..], c);
                }
            }
        }
    }
}

/// R rows and S columns of [`dots`], from column `j` on.
#[inline(always)]
fn dots_tile<T: Real, const R: usize, const S: usize>(
    n: usize,
    j: usize,
    [k, len]: [usize; 2],
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    let a: [_; R] = std::array::from_fn(|i| a[i * k..][..len].as_chunks::<LANES>());
    let b: [_; S] = std::array::from_fn(|s| b[s * k..][..len].as_chunks::<LANES>());
    let mut sums = [[[T::zero(); LANES]; S]; R];
    for p in 0..len / LANES {
        let a = a.map(|(chunks, _)| chunks[p]);
        let b = b.map(|(chunks, _)| chunks[p]);
        for (a, sums) in a.iter().zip(&mut sums) {
            for (b, sums) in b.iter().zip(sums) {
                for l in 0..LANES {
                    sums[l] += a[l] * b[l];
                }
            }
        }
    }
    for ((_, a), (sums, c)) in a.iter().zip(sums.iter().zip(c.chunks_exact_mut(n))) {
        for ((_, b), (sums, c)) in b.iter().zip(sums.iter().zip(&mut c[j..j + S])) {
            let rest = a.iter().zip(*b).map(|(&a, &b)| a * b);
            *c = sums.iter().copied().sum::<T>() + rest.sum::<T>();
        }
    }
}

/// `y += x`.
fn add<T: Real>(y: &mut [T], x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// `y = x W^T + b` for `x (rows, in)`, `W (out, in)`, `b (out)` and `y (rows, out)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length.
pub fn linear_forward<T: Real>(
    geometry: &LinearGeometry,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    let &LinearGeometry {
        rows,
        in_features,
        out_features,
    } = geometry;
    if let Some(bias) = bias {
        check_length("linear bias", [out_features], bias.len())?;
    }
    matmul(rows, out_features, in_features, x, false, w, true, y)?;
    if let Some(bias) = bias.filter(|bias| !bias.is_empty()) {
        y.chunks_exact_mut(out_features)
            .for_each(|row| add(row, bias));
    }
    Ok(())
}

/// `gx = gy W` for `gy (rows, out)`, `W (out, in)` and `gx (rows, in)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length.
pub fn linear_backward_input<T: Real>(
    geometry: &LinearGeometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    let &LinearGeometry {
        rows,
        in_features,
        out_features,
    } = geometry;
    matmul(rows, in_features, out_features, gy, false, w, false, gx)
}

/// `gW = gy^T x` for `gy (rows, out)`, `x (rows, in)` and `gW (out, in)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length.
pub fn linear_backward_weight<T: Real>(
    geometry: &LinearGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    let &LinearGeometry {
        rows,
        in_features,
        out_features,
    } = geometry;
    matmul(out_features, in_features, rows, gy, true, x, false, gw)
}

/// `gb[o] = sum over r of gy[r, o]` for `gy (rows, out)` and `gb (out)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length.
pub fn linear_backward_bias<T: Real>(
    geometry: &LinearGeometry,
    gy: &[T],
    gb: &mut [T],
) -> Result<()> {
    let &LinearGeometry {
        rows, out_features, ..
    } = geometry;
    check_length("linear output gradient", [rows, out_features], gy.len())?;
    check_length("linear bias gradient", [out_features], gb.len())?;
    let mut totals = vec![0.0; gb.len()];
    let rows = gy.chunks_exact(out_features.max(1));
    rows.for_each(|row| add_wide(&mut totals, row));
    round(&totals, gb);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// Small integers, whose sums are exact in any order.
    fn integers(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + seed * 5) % 11) as f32 - 5.0)
            .collect()
    }

    fn transposed(rows: usize, columns: usize, matrix: &[f32]) -> Vec<f32> {
        (0..rows * columns)
            .map(|at| matrix[at % rows * columns + at / rows])
            .collect()
    }

    #[test]
    fn every_transposition_equals_the_definition() {
        for (m, n, k) in [
            (1, 1, 1),
            (2, 16, 5),
            (3, 21, 9),
            (17, 33, 8),
            (40, 7, 50),
            (5, 4, 3),
        ] {
            let (a, b) = (integers(m * k, 1), integers(k * n, 2));
            let element = |at: usize| (0..k).map(|p| a[at / n * k + p] * b[p * n + at % n]).sum();
            let expected: Vec<f32> = (0..m * n).map(element).collect();
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let a = if ta { transposed(m, k, &a) } else { a.clone() };
                let b = if tb { transposed(k, n, &b) } else { b.clone() };
                let mut c = vec![f32::NAN; m * n];
                matmul(m, n, k, &a, ta, &b, tb, &mut c).unwrap();
                assert_eq!(c, expected, "{m} {n} {k} {ta} {tb}");
            }
        }
    }

    #[test]
    fn the_dense_layer_equals_values_computed_by_hand() {
        let geometry = LinearGeometry {
            rows: 2,
            in_features: 2,
            out_features: 3,
        };
        let x = [1.0, 2.0, 3.0, 4.0];
        let w = [1.0, 0.0, 0.0, 1.0, 2.0, -1.0];
        let gy = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = [f64::NAN; 6];
        linear_forward(&geometry, &x, &w, Some(&[10.0, 20.0, 30.0]), &mut y).unwrap();
        assert_eq!(y, [11.0, 22.0, 30.0, 13.0, 24.0, 32.0]);
        let mut gx = [f64::NAN; 4];
        linear_backward_input(&geometry, &gy, &w, &mut gx).unwrap();
        assert_eq!(gx, [7.0, -1.0, 16.0, -1.0]);
        let mut gw = [f64::NAN; 6];
        linear_backward_weight(&geometry, &x, &gy, &mut gw).unwrap();
        assert_eq!(gw, [13.0, 18.0, 17.0, 24.0, 21.0, 30.0]);
        let mut gb = [f64::NAN; 3];
        linear_backward_bias(&geometry, &gy, &mut gb).unwrap();
        assert_eq!(gb, [5.0, 7.0, 9.0]);
    }

    #[test]
    fn empty_extents_and_wrong_lengths_are_no_panic() {
        let mut c = [1.0f32; 2];
        matmul(1, 2, 0, &[], false, &[], true, &mut c).unwrap();
        assert_eq!(c, [0.0; 2]);
        matmul::<f32>(0, 0, 3, &[], true, &[], true, &mut []).unwrap();
        let error = matmul(1, 2, 1, &[1.0], false, &[1.0], false, &mut c).unwrap_err();
        let expected = Error::length("matmul b", &[1, 2].into(), 1);
        assert_eq!(error, expected);
    }
}
