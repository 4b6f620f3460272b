//! Softmax and its logarithm as layers. The twin of the `softmax` kernels.

use super::parallel::for_each;
use super::sum::sum;
use super::{Real, check_length};
use crate::Result;
use crate::op::SoftmaxGeometry;

/// `y = exp(x - m) / sum of exp(x - m)` along the middle axis of `(outer, extent, inner)`, with the
/// maximum `m` along it; with `log` its logarithm `x - m - ln(sum of exp(x - m))`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn softmax_forward<T: Real>(
    geometry: &SoftmaxGeometry,
    log: bool,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let block = check(geometry, [("input", x.len()), ("output", y.len())])?;
    for_each(x.chunks(block).zip(y.chunks_mut(block)), |(x, y)| {
        for first in 0..geometry.inner {
            let x = x[first..].iter().step_by(geometry.inner).copied();
            let y = y[first..].iter_mut().step_by(geometry.inner);
            let (maximum, sum) = maximum_and_sum(x.clone());
            if log {
                let log_sum = sum.ln();
                x.zip(y).for_each(|(x, y)| *y = x - maximum - log_sum);
            } else {
                x.zip(y).for_each(|(x, y)| *y = (x - maximum).exp() / sum);
            }
        }
    });
    Ok(())
}

/// `gx = y * (gy - sum of gy * y)` along the middle axis of `(outer, extent, inner)`, with the
/// layer's output `y`; with `log` `gx = gy - exp(y) * sum of gy`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn softmax_backward<T: Real>(
    geometry: &SoftmaxGeometry,
    log: bool,
    y: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let lengths = [
        ("output", y.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    let block = check(geometry, lengths)?;
    let blocks = y
        .chunks(block)
        .zip(gy.chunks(block))
        .zip(gx.chunks_mut(block));
    for_each(blocks, |((y, gy), gx)| {
        for first in 0..geometry.inner {
            let y = y[first..].iter().step_by(geometry.inner).copied();
            let pairs = y.zip(gy[first..].iter().step_by(geometry.inner).copied());
            let gx = gx[first..].iter_mut().step_by(geometry.inner);
            if log {
                let sum = T::nearest(sum(pairs.clone().map(|(_, gy)| gy)));
                pairs
                    .zip(gx)
                    .for_each(|((y, gy), gx)| *gx = gy - y.exp() * sum);
            } else {
                let sum = T::nearest(sum(pairs.clone().map(|(y, gy)| gy * y)));
                pairs.zip(gx).for_each(|((y, gy), gx)| *gx = y * (gy - sum));
            }
        }
    });
    Ok(())
}

/// The maximum `m`, and the sum of `exp(x - m)`, of which none overflows.
pub(super) fn maximum_and_sum<T: Real>(x: impl Iterator<Item = T> + Clone) -> (T, T) {
    let maximum = x.clone().fold(T::neg_infinity(), T::max);
    (maximum, T::nearest(sum(x.map(|x| (x - maximum).exp()))))
}

/// The elements of a block, if the slices have the lengths that they should.
fn check<const N: usize>(geometry: &SoftmaxGeometry, lengths: [(&str, usize); N]) -> Result<usize> {
    let &SoftmaxGeometry {
        outer,
        extent,
        inner,
    } = geometry;
    for (what, len) in lengths {
        check_length(&format!("softmax {what}"), [outer, extent, inner], len)?;
    }
    Ok(extent.saturating_mul(inner).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Softmax;
    use approx::assert_abs_diff_eq;

    #[test]
    fn small_cases_equal_values_computed_by_hand() {
        let ln3 = 3.0f64.ln();
        // Along the first axis of [2, 2]: columns (0, ln 3) and (1e4, 1e4).
        let geometry = Softmax::new().axis(0).geometry(1, &[2, 2].into()).unwrap();
        let x = [0.0, 1e4, ln3, 1e4];
        let (mut y, mut gx) = ([0.0; 4], [0.0; 4]);
        softmax_forward(&geometry, false, &x, &mut y).unwrap();
        assert_abs_diff_eq!(y[..], [0.25, 0.5, 0.75, 0.5], epsilon = 1e-15);
        softmax_backward(&geometry, false, &y, &[1.0, 4.0, 2.0, 0.0], &mut gx).unwrap();
        assert_abs_diff_eq!(gx[..], [-0.1875, 1.0, 0.1875, -1.0], epsilon = 1e-15);
        softmax_forward(&geometry, true, &x, &mut y).unwrap();
        let expected = [0.25f64, 0.5, 0.75, 0.5].map(f64::ln);
        assert_abs_diff_eq!(y[..], expected, epsilon = 1e-15);
        softmax_backward(&geometry, true, &y, &[1.0, 4.0, 2.0, 0.0], &mut gx).unwrap();
        assert_abs_diff_eq!(gx[..], [0.25, 2.0, -0.25, -2.0], epsilon = 1e-14);
        assert!(softmax_forward(&geometry, true, &x[1..], &mut y).is_err());
        assert!(softmax_backward(&geometry, true, &y, &x, &mut gx[1..]).is_err());
    }

    #[test]
    fn every_axis_is_reached() {
        let x: Vec<f64> = (0..2 * 3 * 4).map(|i| f64::from(i * i % 11)).collect();
        for (axis, extent) in [(0, 3), (1, 4), (-1, 4), (-2, 3)] {
            let geometry = Softmax::new()
                .axis(axis)
                .geometry(2, &[3, 4].into())
                .unwrap();
            let mut y = vec![f64::NAN; x.len()];
            softmax_forward(&geometry, false, &x, &mut y).unwrap();
            assert_abs_diff_eq!(y.iter().sum::<f64>(), 24.0 / extent as f64, epsilon = 1e-14);
        }
    }
}
