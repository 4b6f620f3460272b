//! Pooling to a size. The twin of the `adaptive_pool2d` kernels.

use super::parallel::{for_each, for_each_with};
use super::pool2d::max_pool_gradients;
use super::sum::round;
use super::{Real, check_length};
use crate::Result;
use crate::op::AdaptivePool2dGeometry;

/// `y[plane,i,j] = mean of x[plane,a,b] over the window of (i, j)` for `x (planes, H, W)` and
/// `y (planes, OH, OW)`. See [`AdaptiveAvgPool2d`](crate::AdaptiveAvgPool2d) for the windows.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn adaptive_avg_pool2d_forward<T: Real>(
    geometry: &AdaptivePool2dGeometry,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let (inputs, outputs) = check("adaptive_avg_pool2d", geometry, x.len(), y.len())?;
    let planes = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs));
    for_each(planes, |(x, y)| {
        for (at, y) in y.iter_mut().enumerate() {
            let [rows, columns] = geometry.window(at);
            let count = rows.len() * columns.len();
            let rows = rows.map(|row| &x[row * geometry.in_size.width..][columns.clone()]);
            let total: f64 = rows.flatten().map(|x| x.wide()).sum();
            *y = T::nearest(total / count as f64);
        }
    });
    Ok(())
}

/// `gx[plane,a,b] = sum of gy[plane,i,j] / size of the window, over the windows that cover (a, b)`, for
/// `gy (planes, OH, OW)` and `gx (planes, H, W)`: the transpose of [`adaptive_avg_pool2d_forward`].
///
/// # Errors
///
/// Those of [`adaptive_avg_pool2d_forward`].
pub fn adaptive_avg_pool2d_backward<T: Real>(
    geometry: &AdaptivePool2dGeometry,
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let (inputs, outputs) = check("adaptive_avg_pool2d", geometry, gx.len(), gy.len())?;
    let planes = gx.chunks_exact_mut(inputs).zip(gy.chunks_exact(outputs));
    for_each_with(
        planes,
        || vec![0.0; inputs],
        |sums, (gx, gy)| {
            sums.fill(0.0);
            for (at, &gy) in gy.iter().enumerate() {
                let [rows, columns] = geometry.window(at);
                let share = gy.wide() / (rows.len() * columns.len()) as f64;
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

/// `y[plane,i,j] = max of x[plane,a,b] over the window of (i, j)` for `x (planes, H, W)` and
/// `y (planes, OH, OW)`; `argmax`, of `y`'s shape, gets the maximum's flat position in its input plane. The
/// contract is that of [`max_pool2d_forward`](super::max_pool2d_forward).
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn adaptive_max_pool2d_forward<T: Real>(
    geometry: &AdaptivePool2dGeometry,
    x: &[T],
    y: &mut [T],
    argmax: &mut [u32],
) -> Result<()> {
    let (inputs, outputs) = check("adaptive_max_pool2d", geometry, x.len(), y.len())?;
    check_length("adaptive_max_pool2d argmax", [y.len()], argmax.len())?;
    let planes = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs));
    let planes = planes.zip(argmax.chunks_exact_mut(outputs));
    for_each(planes, |((x, y), argmax)| {
        for (at, (y, argmax)) in y.iter_mut().zip(argmax).enumerate() {
            let [rows, columns] = geometry.window(at);
            let first = rows.start * geometry.in_size.width + columns.start;
            (*y, *argmax) = (x[first], first as u32);
            for row in rows {
                for place in columns.clone().map(|x| row * geometry.in_size.width + x) {
                    if x[place] > *y || x[place].is_nan() {
                        (*y, *argmax) = (x[place], place as u32);
                    }
                }
            }
        }
    });
    Ok(())
}

/// `gx[plane,a] = sum of gy[plane,i,j] over the windows whose argmax is a`, for `gy` and `argmax` of
/// `(planes, OH, OW)` and `gx (planes, H, W)`.
///
/// # Errors
///
/// Those of [`max_pool2d_backward`](super::max_pool2d_backward).
pub fn adaptive_max_pool2d_backward<T: Real>(
    geometry: &AdaptivePool2dGeometry,
    gy: &[T],
    argmax: &[u32],
    gx: &mut [T],
) -> Result<()> {
    let extents = check("adaptive_max_pool2d", geometry, gx.len(), gy.len())?;
    check_length("adaptive_max_pool2d argmax", [gy.len()], argmax.len())?;
    max_pool_gradients(extents, gy, argmax, gx)
}

/// Pixels of an input and of an output plane, if the slices have the lengths that they should.
fn check(
    name: &str,
    geometry: &AdaptivePool2dGeometry,
    x: usize,
    y: usize,
) -> Result<(usize, usize)> {
    geometry.check(name)?;
    let &AdaptivePool2dGeometry {
        planes,
        in_size,
        out_size,
    } = geometry;
    let input = [planes, in_size.height, in_size.width];
    check_length(&format!("{name} input"), input, x)?;
    let output = [planes, out_size.height, out_size.width];
    check_length(&format!("{name} output"), output, y)?;
    Ok((in_size.area(), out_size.area()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{AdaptiveAvgPool2d, AdaptiveMaxPool2d};

    #[test]
    fn rows_equal_values_computed_by_hand() {
        let x = [1.0f32, 3.0, 2.0, 6.0, 5.0];
        let average = |width: usize| {
            let pool = AdaptiveAvgPool2d::new([1, width]);
            let geometry = pool.geometry(1, &[1, 1, 5].into()).unwrap();
            let (mut y, mut gx) = (vec![f32::NAN; width], [f32::NAN; 5]);
            adaptive_avg_pool2d_forward(&geometry, &x, &mut y).unwrap();
            adaptive_avg_pool2d_backward(&geometry, &vec![6.0; width], &mut gx).unwrap();
            (y, gx)
        };
        // Windows 0..2, 1..4 and 3..5.
        let expected = (vec![2.0, 11.0 / 3.0, 5.5], [3.0, 5.0, 2.0, 5.0, 3.0]);
        assert_eq!(average(3), expected);
        assert_eq!(average(1), (vec![3.4], [1.2; 5]));
        // Windows 0..1, 0..2, 1..3, 2..4, 3..4, 3..5, 4..5 of 7.
        let (y, gx) = average(7);
        assert_eq!(y[..3], [1.0, 2.0, 2.5]);
        assert_eq!(gx.iter().sum::<f32>(), 42.0);
    }

    #[test]
    fn maxima_follow_the_contract_and_their_gradients_add_up() {
        let (nan, low) = (f32::NAN, f32::NEG_INFINITY);
        let maximum = |x: [f32; 5]| {
            let pool = AdaptiveMaxPool2d::new([1, 3]);
            let geometry = pool.geometry(1, &[1, 1, 5].into()).unwrap();
            let (mut y, mut argmax, mut gx) = ([nan; 3], [9; 3], [nan; 5]);
            adaptive_max_pool2d_forward(&geometry, &x, &mut y, &mut argmax).unwrap();
            adaptive_max_pool2d_backward(&geometry, &[1.0, 2.0, 4.0], &argmax, &mut gx).unwrap();
            (argmax, gx)
        };
        assert_eq!(
            maximum([1.0, 7.0, 7.0, 7.0, 7.0]),
            ([1, 1, 3], [0.0, 3.0, 0.0, 4.0, 0.0])
        );
        assert_eq!(maximum([low; 5]).0, [0, 1, 3]);
        assert_eq!(maximum([0.0, nan, nan, 9.0, nan]).0, [1, 2, 4]);
        assert_eq!(maximum([-0.0, 0.0, -0.0, 0.0, -0.0]).0, [0, 1, 3]);
    }
}
