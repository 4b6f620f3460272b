//! Two-dimensional pooling. The twin of the `pool2d` kernels.

use std::ops::Range;

use super::parallel::{for_each, for_each_with};
use super::sum::{round, sum};
use super::{Real, check_length, inside};
use crate::op::Pool2dGeometry;
use crate::{Error, Result};

/// The argmax of a window that holds no position of the image.
const NOWHERE: u32 = u32::MAX;

/// `y[plane,i,j] = max over p,q of x[plane, i*stride + p*dilation - padding, ..]` for
/// `x (planes, H, W)` and `y (planes, OH, OW)`; `argmax`, of `y`'s shape, gets the maximum's flat
/// position in its input plane.
///
/// The first maximum in row-major order wins, 0.0 ties with -0.0, the last NaN of a window wins over
/// everything, padding never wins, and a window of negative infinities gives its first position
/// inside the image. A window that lies in the padding altogether (as dilation can place it) gives
/// negative infinity and `u32::MAX`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn max_pool2d_forward<T: Real>(
    geometry: &Pool2dGeometry,
    x: &[T],
    y: &mut [T],
    argmax: &mut [u32],
) -> Result<()> {
    let (inputs, outputs) = check("max_pool2d", geometry, x.len(), y.len())?;
    check_length("max_pool2d argmax", [y.len()], argmax.len())?;
    let planes = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs));
    for_each(
        planes.zip(argmax.chunks_exact_mut(outputs)),
        |((x, y), argmax)| {
            let width = geometry.out_size.width;
            let rows = y
                .chunks_exact_mut(width)
                .zip(argmax.chunks_exact_mut(width));
            for (i, (y, argmax)) in rows.enumerate() {
                row_of_maxima(geometry, x, i, y, argmax);
            }
        },
    );
    Ok(())
}

/// The maxima of row `i` of windows and their positions: the row's windows together, a position of theirs after the
/// other; or window by window, where these have more columns than there are windows.
fn row_of_maxima<T: Real>(
    geometry: &Pool2dGeometry,
    plane: &[T],
    i: usize,
    y: &mut [T],
    argmax: &mut [u32],
) {
    let &Pool2dGeometry {
        in_size,
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = geometry;
    y.fill(T::neg_infinity());
    argmax.fill(NOWHERE);
    let meet = |y: &mut T, argmax: &mut u32, value: T, at: u32| {
        let wins = value > *y || value.is_nan() || *argmax == NOWHERE;
        *y = if wins { value } else { *y };
        *argmax = if wins { at } else { *argmax };
    };
    let down = (i * stride.height) as isize - padding[0] as isize;
    for p in inside(kernel.height, dilation.height, down, in_size.height) {
        let row = ((p * dilation.height) as isize + down) as usize * in_size.width;
        if kernel.width > y.len() {
            // Most of a wide kernel's columns may be outside the image.
            for (j, (y, argmax)) in y.iter_mut().zip(&mut *argmax).enumerate() {
                let right = (j * stride.width) as isize - padding[2] as isize;
                for q in inside(kernel.width, dilation.width, right, in_size.width) {
                    let at = row + ((q * dilation.width) as isize + right) as usize;
                    meet(y, argmax, plane[at], at as u32);
                }
            }
            continue;
        }
        for q in 0..kernel.width {
            let right = (q * dilation.width) as isize - padding[2] as isize;
            let windows = inside(y.len(), stride.width, right, in_size.width);
            if windows.is_empty() {
                continue;
            }
            let start = row + ((windows.start * stride.width) as isize + right) as usize;
            let values = plane[start..].iter().step_by(stride.width);
            let positions = (start as u32..).step_by(stride.width);
            let maxima = y[windows.clone()].iter_mut().zip(&mut argmax[windows]);
            for ((y, argmax), (&value, at)) in maxima.zip(values.zip(positions)) {
                meet(y, argmax, value, at);
            }
        }
    }
}

/// `gx[plane,a] = sum of gy[plane,i,j] over the windows whose argmax is a`, for `gy` and `argmax`
/// of `(planes, OH, OW)` and `gx (planes, H, W)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, [`Error::Argument`]
/// where a position lies outside the plane and is not `u32::MAX`.
pub fn max_pool2d_backward<T: Real>(
    geometry: &Pool2dGeometry,
    gy: &[T],
    argmax: &[u32],
    gx: &mut [T],
) -> Result<()> {
    let extents = check("max_pool2d", geometry, gx.len(), gy.len())?;
    check_length("max_pool2d argmax", [gy.len()], argmax.len())?;
    max_pool_gradients(extents, gy, argmax, gx)
}

/// Each gradient at the place of its maximum, in planes of so many values that become so many.
pub(super) fn max_pool_gradients<T: Real>(
    (inputs, outputs): (usize, usize),
    gy: &[T],
    argmax: &[u32],
    gx: &mut [T],
) -> Result<()> {
    if let Some(at) = argmax
        .iter()
        .position(|&a| a as usize >= inputs && a != NOWHERE)
    {
        let reason = format!("position {} in a plane of {inputs}", argmax[at]);
        return Err(Error::argument(format!("argmax[{at}]"), reason));
    }
    let planes = gx.chunks_exact_mut(inputs).zip(gy.chunks_exact(outputs));
    let planes = planes.zip(argmax.chunks_exact(outputs));
    for_each_with(
        planes,
        || vec![0.0; inputs],
        |sums, ((gx, gy), argmax)| {
            sums.fill(0.0);
            for (&gy, &at) in gy.iter().zip(argmax).filter(|&(_, &at)| at != NOWHERE) {
                sums[at as usize] += gy.wide();
            }
            round(sums, gx);
        },
    );
    Ok(())
}

/// `y[plane,i,j] = (sum of x[plane, a, b] over the window) / divisor` for `x (planes, H, W)` and
/// `y (planes, OH, OW)`. The window covers rows `i*stride - padding` and on, as far as it lies within
/// the padded image; the divisor is the number of positions that it covers there, or, without
/// `count_include_pad`, of those within the image. The geometry's dilation is taken as 1.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn avg_pool2d_forward<T: Real>(
    geometry: &Pool2dGeometry,
    count_include_pad: bool,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let (inputs, outputs) = check("avg_pool2d", geometry, x.len(), y.len())?;
    let planes = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs));
    for_each(planes, |(x, y)| {
        for (at, y) in y.iter_mut().enumerate() {
            let (rows, columns, divisor) = mean_window(geometry, count_include_pad, at);
            let rows = rows.map(|row| &x[row * geometry.in_size.width..][columns.clone()]);
            let total: f64 = rows.flatten().map(|x| x.wide()).sum();
            *y = T::nearest(total / divisor as f64);
        }
    });
    Ok(())
}

/// `gx[plane,a,b] = sum of gy[plane,i,j] / divisor over the windows that cover (a, b)`, for
/// `gy (planes, OH, OW)` and `gx (planes, H, W)`: the transpose of [`avg_pool2d_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn avg_pool2d_backward<T: Real>(
    geometry: &Pool2dGeometry,
    count_include_pad: bool,
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let (inputs, outputs) = check("avg_pool2d", geometry, gx.len(), gy.len())?;
    let planes = gx.chunks_exact_mut(inputs).zip(gy.chunks_exact(outputs));
    for_each_with(
        planes,
        || vec![0.0; inputs],
        |sums, (gx, gy)| {
            sums.fill(0.0);
            for (at, &gy) in gy.iter().enumerate() {
                let (rows, columns, divisor) = mean_window(geometry, count_include_pad, at);
                let share = gy.wide() / divisor as f64;
                for row in rows {
                    let row = &mut sums[row * geometry.in_size.width..][columns.clone()];
                    row.iter_mut().for_each(|sum| *sum += share);
                }
            }
            round(sums, gx);
        },
    );
    Ok(())
}

/// The rows and columns of the image that the window of output `at` covers, and what their sum is
/// divided by.
fn mean_window(
    geometry: &Pool2dGeometry,
    count_include_pad: bool,
    at: usize,
) -> (Range<usize>, Range<usize>, usize) {
    let &Pool2dGeometry {
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        ..
    } = geometry;
    let [top, bottom, left, right] = padding;
    // Positions are counted from the padding's edge, so that none is negative.
    let axis = |start: usize, kernel: usize, before: usize, extent: usize, behind: usize| {
        let end = (start + kernel).min(before + extent + behind);
        let first = start.saturating_sub(before).min(extent);
        let covered = first..end.saturating_sub(before).clamp(first, extent);
        (covered, end.saturating_sub(start))
    };
    let (i, j) = (at / out_size.width, at % out_size.width);
    let (rows, height) = axis(
        i * stride.height,
        kernel.height,
        top,
        in_size.height,
        bottom,
    );
    let (columns, width) = axis(j * stride.width, kernel.width, left, in_size.width, right);
    let divisor = match count_include_pad {
        true => height.saturating_mul(width),
        false => rows.len() * columns.len(),
    };
    (rows, columns, divisor.max(1))
}

/// `y[plane] = sum of p * x` with `p = softmax(x)` over the plane, for `x (planes, H, W)` and
/// `y (planes)`. Computed as `m + sum of p * (x - m)` with the maximum `m`, so that it stays exact
/// for large values.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn softmax_pool_forward<T: Real>(
    geometry: &Pool2dGeometry,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let (inputs, _) = check_softmax(geometry, x.len(), y.len())?;
    for_each(x.chunks_exact(inputs).zip(y), |(x, y)| {
        let (maximum, _, mean) = softmax_mean(x);
        *y = maximum + mean;
    });
    Ok(())
}

/// `gx = gy * p * (1 + x - y)` with `p = softmax(x)` over the plane and `y` the pooled value, for
/// `gy (planes)` and `gx (planes, H, W)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn softmax_pool_backward<T: Real>(
    geometry: &Pool2dGeometry,
    x: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let (inputs, _) = check_softmax(geometry, x.len(), gy.len())?;
    check_length("global_softmax_pool input gradient", [x.len()], gx.len())?;
    let planes = x
        .chunks_exact(inputs)
        .zip(gy)
        .zip(gx.chunks_exact_mut(inputs));
    for_each(planes, |((x, &gy), gx)| {
        let (maximum, sum, mean) = softmax_mean(x);
        for (&x, gx) in x.iter().zip(gx) {
            let above = x - maximum;
            let weight = above.exp() / sum;
            *gx = gy * weighted(weight, T::one() + (above - mean));
        }
    });
    Ok(())
}

/// The maximum of a plane, the sum of `exp(x - maximum)`, and the mean of `x - maximum` with these
/// weights.
fn softmax_mean<T: Real>(x: &[T]) -> (T, T, T) {
    let maximum = x.iter().copied().fold(T::neg_infinity(), T::max);
    let above = x.iter().map(|&x| x - maximum);
    let total = sum(above.clone().map(T::exp));
    let mean = sum(above.map(|above| weighted(above.exp(), above))) / total;
    (maximum, T::nearest(total), T::nearest(mean))
}

/// `weight * value`, where no weight makes nothing of what is infinitely far below the maximum.
fn weighted<T: Real>(weight: T, value: T) -> T {
    match weight == T::zero() {
        true => T::zero(),
        false => weight * value,
    }
}

fn check_softmax(geometry: &Pool2dGeometry, x: usize, y: usize) -> Result<(usize, usize)> {
    let whole = Pool2dGeometry {
        out_size: 1.into(),
        ..*geometry
    };
    check("global_softmax_pool", &whole, x, y)
}

/// Pixels of an input and of an output plane, if the slices have the lengths that they should.
fn check(name: &str, geometry: &Pool2dGeometry, x: usize, y: usize) -> Result<(usize, usize)> {
    geometry.check(name)?;
    let &Pool2dGeometry {
        planes,
        in_size,
        out_size,
        ..
    } = geometry;
    let input = [planes, in_size.height, in_size.width];
    check_length(&format!("{name} input"), input, x)?;
    check_length(
        &format!("{name} output"),
        [planes, out_size.height, out_size.width],
        y,
    )?;
    Ok((in_size.area(), out_size.area()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{AvgPool2d, GlobalPool, MaxPool2d};
    use approx::assert_abs_diff_eq;

    const NAN: f32 = f32::NAN;
    const LOW: f32 = f32::NEG_INFINITY;

    fn forward(pool: &MaxPool2d, input: [usize; 3], x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let geometry = pool.geometry(1, &input.into()).unwrap();
        let mut y = vec![NAN; geometry.output_len()];
        let mut argmax = vec![7; y.len()];
        max_pool2d_forward(&geometry, x, &mut y, &mut argmax).unwrap();
        (y, argmax)
    }

    #[test]
    fn ties_zeros_nan_and_infinities_follow_the_contract() {
        let row = |x: &[f32]| {
            let (y, argmax) = forward(&MaxPool2d::new([1, x.len()]), [1, 1, x.len()], x);
            (y[0], argmax[0])
        };
        assert_eq!(row(&[1.0, 3.0, 3.0, 2.0]), (3.0, 1));
        let (zero, at) = row(&[-0.0, 0.0]);
        assert!(zero.is_sign_negative() && at == 0);
        assert_eq!(row(&[LOW, LOW, LOW]), (LOW, 0));
        let (nan, at) = row(&[1.0, NAN, 5.0, NAN, f32::INFINITY]);
        assert!(nan.is_nan() && at == 3);
    }

    #[test]
    fn padding_never_wins_and_a_window_inside_it_has_no_position() {
        let x = [-4.0, -3.0, -2.0, -1.0];
        let (y, argmax) = forward(&MaxPool2d::new(3).stride(2).padding(1), [1, 2, 2], &x);
        assert_eq!((y, argmax), (vec![-1.0], vec![3]));
        let (y, argmax) = forward(
            &MaxPool2d::new(2).stride(1).padding(1),
            [1, 2, 2],
            &[LOW; 4],
        );
        assert_eq!(y, [LOW; 9]);
        assert_eq!(argmax, [0, 0, 1, 0, 0, 1, 2, 2, 3]);
        // The window's two taps lie on either side of the image.
        let pool = MaxPool2d::new([1, 2])
            .dilation([1, 3])
            .padding([0, 0, 1, 1]);
        let (y, argmax) = forward(&pool, [1, 1, 2], &[5.0, 6.0]);
        assert_eq!((&y[..], &argmax[..]), (&[LOW][..], &[NOWHERE][..]));
        let (geometry, mut gx) = (pool.geometry(1, &[1, 1, 2].into()).unwrap(), [NAN; 2]);
        max_pool2d_backward(&geometry, &[1.0], &argmax, &mut gx).unwrap();
        assert_eq!(gx, [0.0; 2]);
    }

    #[test]
    fn a_kernel_far_wider_than_the_image_takes_no_longer_for_it() {
        let wide = 1 << 40;
        let geometry = Pool2dGeometry {
            planes: 1,
            in_size: [1, 3].into(),
            out_size: [1, 2].into(),
            kernel: [1, wide].into(),
            stride: 2.into(),
            padding: [0, 0, wide - 2, 2],
            dilation: 1.into(),
        };
        let (mut y, mut argmax) = ([NAN; 2], [7; 2]);
        max_pool2d_forward(&geometry, &[1.0, 2.0, 3.0], &mut y, &mut argmax).unwrap();
        assert_eq!((y, argmax), ([2.0, 3.0], [1, 2]));
    }

    #[test]
    fn gradients_of_overlapping_windows_add_up_plane_by_plane() {
        let pool = MaxPool2d::new(2).stride(1);
        let geometry = pool.geometry(1, &[2, 2, 3].into()).unwrap();
        let x = [0.0, 9.0, 1.0, 2.0, 3.0, 4.0, 9.0, 0.0, 0.0, 0.0, 0.0, 8.0];
        let (mut y, mut argmax, mut gx) = ([0.0; 4], [0; 4], [NAN; 12]);
        max_pool2d_forward(&geometry, &x, &mut y, &mut argmax).unwrap();
        assert_eq!((y, argmax), ([9.0, 9.0, 9.0, 8.0], [1, 1, 0, 5]));
        max_pool2d_backward(&geometry, &[1.0, 2.0, 4.0, 8.0], &argmax, &mut gx).unwrap();
        assert_eq!(
            gx,
            [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 8.0]
        );
        argmax[3] = 6;
        let refused = max_pool2d_backward(&geometry, &[1.0; 4], &argmax, &mut gx);
        assert!(matches!(refused, Err(Error::Argument { .. })));
    }

    #[test]
    fn windows_beyond_the_image_count_what_they_cover() {
        let x: Vec<f32> = (1..=4).map(|x| x as f32).collect();
        let pool = MaxPool2d::new(3).stride(2).ceil_mode(true);
        assert_eq!(forward(&pool, [1, 2, 2], &x), (vec![4.0], vec![3]));
        let average = |pool: AvgPool2d| {
            let geometry = pool.geometry(1, &[1, 1, 4].into()).unwrap();
            let mut y = vec![NAN; geometry.output_len()];
            avg_pool2d_forward(&geometry, pool.count_include_pad, &x, &mut y).unwrap();
            let mut gx = [NAN; 4];
            let gy: Vec<f32> = (0..y.len()).map(|at| 6.0 * (at + 1) as f32).collect();
            avg_pool2d_backward(&geometry, pool.count_include_pad, &gy, &mut gx).unwrap();
            (y, gx)
        };
        let pool = AvgPool2d::new([1, 3]).stride([1, 2]).padding([0, 1]);
        assert_eq!(
            average(pool.clone()),
            (vec![1.0, 3.0], [2.0, 6.0, 4.0, 4.0])
        );
        let inside = pool.clone().count_include_pad(false);
        assert_eq!(average(inside), (vec![1.5, 3.0], [3.0, 7.0, 4.0, 4.0]));
        // The third window covers the last value and the padding, but not what lies beyond.
        let ceil = pool.ceil_mode(true);
        assert_eq!(
            average(ceil.clone()),
            (vec![1.0, 3.0, 2.0], [2.0, 6.0, 4.0, 13.0])
        );
        let inside = ceil.count_include_pad(false);
        assert_eq!(
            average(inside),
            (vec![1.5, 3.0, 4.0], [3.0, 7.0, 4.0, 22.0])
        );
    }

    #[test]
    fn softmax_pooling_equals_values_computed_by_hand() {
        let geometry = GlobalPool::Softmax.geometry(2, &[1, 1, 2].into()).unwrap();
        let ln3 = 3.0f64.ln();
        // Weights 1/4 and 3/4; a shift of the plane shifts the value alone.
        let x = [0.0, ln3, 1e4, 1e4 + ln3];
        let (mut y, mut gx) = ([0.0; 2], [0.0; 4]);
        softmax_pool_forward(&geometry, &x, &mut y).unwrap();
        assert_abs_diff_eq!(y[..], [0.75 * ln3, 1e4 + 0.75 * ln3], epsilon = 1e-11);
        softmax_pool_backward(&geometry, &x, &[1.0, 2.0], &mut gx).unwrap();
        let share = [0.25 * (1.0 - 0.75 * ln3), 0.75 * (1.0 + 0.25 * ln3)];
        let expected = [share[0], share[1], 2.0 * share[0], 2.0 * share[1]];
        assert_abs_diff_eq!(gx[..], expected, epsilon = 1e-11);
        assert!(softmax_pool_forward(&geometry, &x, &mut y[1..]).is_err());
    }
}
