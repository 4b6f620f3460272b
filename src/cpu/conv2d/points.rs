//! The points of Winograd's algorithm in `f32`, and how numbers get there and back.
//!
//! In a row, F(m, r) makes `m` outputs of `m + r - 1` pixels and a filter of `r` taps. Pixels and filter are evaluated
//! as polynomials at as many points, where a product each takes the place of `m * r`; the outputs `y` follow from
//! these: `y = A^T ((G w) * (B^T d))` of a filter `w` and pixels `d`. In two directions each transform is made along
//! rows and then along columns: `A^T ((G w G^T) * (B^T d B)) A` (Lavin and Gray 2016).
//!
//! With six pixels the points are 0, +-1/sqrt(2), +-sqrt(2) and infinity: of all that were tried these round least.
//! `B` depends on them alone, so F(4, 3) and F(2, 5) have it in common, and so has what gives a weight gradient: there
//! the gradients of `m` outputs take the filter's place and the taps the outputs', F(r, m). `G` and `A` have as many
//! columns as there are taps and outputs.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::cpu::Real;
use crate::cpu::product::COLUMNS;

/// Pixels of a tile in each direction, and points.
pub(super) const PIXELS: usize = 6;

/// What a polynomial is multiplied by at the points near 0 and far from it.
const NEAR: f64 = -2.0 / 3.0;
const FAR: f64 = 1.0 / 6.0;

/// A square of numbers or a single row of them, of which each is [`COLUMNS`] side by side.
pub(super) type Grid<T, const ROWS: usize, const N: usize> = [[[T; COLUMNS]; N]; ROWS];

/// `M s M^T`, where `transform` makes `M v` of `v`; of a single row `s M^T`.
#[inline(always)]
pub(super) fn both_ways<
    T: Real,
    const FROM_ROWS: usize,
    const FROM: usize,
    const TO_ROWS: usize,
    const TO: usize,
>(
    grid: &Grid<T, FROM_ROWS, FROM>,
    transform: impl Fn([T; FROM]) -> [T; TO],
) -> Grid<T, TO_ROWS, TO> {
    const { assert!((FROM_ROWS == 1) == (TO_ROWS == 1)) };
    let mut halves = [[[T::zero(); COLUMNS]; TO]; FROM_ROWS];
    for (half, row) in halves.iter_mut().zip(grid) {
        for l in 0..COLUMNS {
            let mut from = [T::zero(); FROM];
            for (from, row) in from.iter_mut().zip(row) {
                *from = row[l];
            }
            for (half, to) in half.iter_mut().zip(transform(from)) {
                half[l] = to;
            }
        }
    }
    let mut values = [[[T::zero(); COLUMNS]; TO]; TO_ROWS];
    if FROM_ROWS == 1 {
        values[0] = halves[0];
        return values;
    }
    for q in 0..TO {
        for l in 0..COLUMNS {
            let mut from = [T::zero(); FROM];
            for (from, half) in from.iter_mut().zip(&halves) {
                *from = half[q][l];
            }
            for (row, to) in values.iter_mut().zip(transform(from)) {
                row[q][l] = to;
            }
        }
    }
    values
}

/// `B^T d`: pixels at the points.
#[inline(always)]
pub(super) fn pixels(d: [f32; PIXELS]) -> [f32; PIXELS] {
    let (near, far) = (d[4] - 2.0 * d[2], d[4] - 0.5 * d[2]);
    let odd_near = FRAC_1_SQRT_2 as f32 * (d[3] - 2.0 * d[1]);
    let odd_far = SQRT_2 as f32 * (d[3] - 0.5 * d[1]);
    [
        d[0] - 2.5 * d[2] + d[4],
        near + odd_near,
        near - odd_near,
        far + odd_far,
        far - odd_far,
        d[1] - 2.5 * d[3] + d[5],
    ]
}

/// `G w`: a row or column of a filter, or of outputs' gradients, at the points.
#[inline(always)]
pub(super) fn weights<T: Real, const N: usize>(w: [T; N]) -> [T; PIXELS] {
    let number = |value: f64| T::nearest(value);
    let (near, far) = (terms(w, 0, 0.5), terms(w, 0, 2.0));
    let odd_near = number(FRAC_1_SQRT_2) * terms(w, 1, 0.5);
    let odd_far = number(SQRT_2) * terms(w, 1, 2.0);
    [
        w[0],
        number(NEAR) * (near + odd_near),
        number(NEAR) * (near - odd_near),
        number(FAR) * (far + odd_far),
        number(FAR) * (far - odd_far),
        w[N - 1],
    ]
}

/// Every second term of a polynomial from `first` on, as one in the point's square.
#[inline(always)]
fn terms<T: Real, const N: usize>(w: [T; N], first: usize, square: f64) -> T {
    let mut at = N - 1 - (N - 1 - first) % 2;
    let mut sum = w[at];
    while at > first {
        at -= 2;
        sum = w[at] + T::nearest(square) * sum;
    }
    sum
}

/// `A^T m`: a row or column of outputs, or of a filter's gradient, from the values at the points.
#[inline(always)]
pub(super) fn from_points<T: Real, const N: usize>(m: [T; PIXELS]) -> [T; N] {
    let number = |value: f64| T::nearest(value);
    let (near, far) = (m[1] + m[2], m[3] + m[4]);
    let odd_near = number(FRAC_1_SQRT_2) * (m[1] - m[2]);
    let odd_far = number(SQRT_2) * (m[3] - m[4]);
    let mut values = [T::zero(); N];
    values[0] = m[0] + near + far;
    values[1] = odd_near + odd_far;
    let (mut small, mut large) = (1.0, 1.0);
    for (k, value) in values.iter_mut().enumerate().skip(2) {
        if k % 2 == 0 {
            (small, large) = (small * 0.5, large * 2.0);
            *value = number(small) * near + number(large) * far;
        } else {
            *value = number(small) * odd_near + number(large) * odd_far;
        }
    }
    values[N - 1] += m[5];
    values
}
