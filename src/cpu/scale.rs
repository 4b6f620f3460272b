//! A factor and an offset for each channel. The twin of what the `broadcast` kernels do for it.

use super::conv2d::sum_planes;
use super::parallel::for_each;
use super::sum::sum;
use super::{Real, check_length};
use crate::Result;
use crate::op::ScaleGeometry;

/// `y = w[c] * x + b[c]` for `x` and `y` of `(N, C, plane)`, `w` and `b` of `(C)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn scale_forward<T: Real>(
    geometry: &ScaleGeometry,
    x: &[T],
    w: &[T],
    b: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    let values = [("input", x.len()), ("output", y.len())];
    let offsets = b.map(|b| ("offset", b.len()));
    check(
        geometry,
        &values,
        [("factor", w.len())].into_iter().chain(offsets),
    )?;
    for_each_plane(geometry, x, y, |c, x, y| {
        let pairs = x.iter().zip(y);
        match b.map(|b| b[c]) {
            Some(b) => pairs.for_each(|(&x, y)| *y = x * w[c] + b),
            None => pairs.for_each(|(&x, y)| *y = x * w[c]),
        }
    });
    Ok(())
}

/// `gx = w[c] * gy`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn scale_backward_input<T: Real>(
    geometry: &ScaleGeometry,
    w: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let values = [("output gradient", gy.len()), ("gradient", gx.len())];
    check(geometry, &values, [("factor", w.len())])?;
    for_each_plane(geometry, gy, gx, |c, gy, gx| {
        gy.iter().zip(gx).for_each(|(&gy, gx)| *gx = gy * w[c]);
    });
    Ok(())
}

/// `gw = sum of gy * x` over each channel.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn scale_backward_weight<T: Real>(
    geometry: &ScaleGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    let values = [("input", x.len()), ("output gradient", gy.len())];
    check(geometry, &values, [("factor gradient", gw.len())])?;
    let &ScaleGeometry {
        batch,
        channels,
        plane,
    } = geometry;
    let batch = if plane == 0 { 0 } else { batch };
    for_each(gw.iter_mut().enumerate(), |(c, gw)| {
        let total = sum((0..batch).map(|n| {
            let at = (n * channels + c) * plane;
            let pairs = x[at..at + plane].iter().zip(&gy[at..at + plane]);
            sum(pairs.map(|(x, gy)| x.wide() * gy.wide()))
        }));
        *gw = T::nearest(total);
    });
    Ok(())
}

/// `gb = sum of gy` over each channel.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn scale_backward_bias<T: Real>(
    geometry: &ScaleGeometry,
    gy: &[T],
    gb: &mut [T],
) -> Result<()> {
    let values = [("output gradient", gy.len())];
    check(geometry, &values, [("offset gradient", gb.len())])?;
    sum_planes(geometry.plane, gy, gb);
    Ok(())
}

fn check<'a>(
    geometry: &ScaleGeometry,
    values: &[(&str, usize)],
    channels: impl IntoIterator<Item = (&'a str, usize)>,
) -> Result<()> {
    let &ScaleGeometry {
        batch,
        channels: count,
        plane,
    } = geometry;
    for &(what, len) in values {
        check_length(&format!("scale {what}"), [batch, count, plane], len)?;
    }
    for (what, len) in channels {
        check_length(&format!("scale {what}"), [count], len)?;
    }
    Ok(())
}

/// Calls `work` with each channel of each example.
fn for_each_plane<T: Real>(
    geometry: &ScaleGeometry,
    x: &[T],
    y: &mut [T],
    work: impl Fn(usize, &[T], &mut [T]) + Send + Sync,
) {
    if y.is_empty() {
        return;
    }
    let planes = x.chunks_exact(geometry.plane);
    let planes = planes.zip(y.chunks_exact_mut(geometry.plane)).enumerate();
    for_each(planes, |(at, (x, y))| work(at % geometry.channels, x, y));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Scale;

    /// In numbers that are not computed here.
    #[test]
    fn each_channel_has_its_factor() {
        let geometry = Scale::new().geometry(2, &[2, 2].into()).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let (mut y, mut sums) = ([0.0; 8], [0.0; 2]);
        scale_forward(&geometry, &x, &[10.0, 100.0], Some(&[1.0, 2.0]), &mut y).unwrap();
        assert_eq!(y, [11.0, 21.0, 302.0, 402.0, 51.0, 61.0, 702.0, 802.0]);
        scale_backward_input(&geometry, &[2.0, 3.0], &x, &mut y).unwrap();
        assert_eq!(y, [2.0, 4.0, 9.0, 12.0, 10.0, 12.0, 21.0, 24.0]);
        scale_backward_weight(&geometry, &x, &[1.0; 8], &mut sums).unwrap();
        assert_eq!(sums, [14.0, 22.0]);
        scale_backward_bias(&geometry, &x, &mut sums).unwrap();
        assert_eq!(sums, [14.0, 22.0]);
        assert!(scale_forward(&geometry, &x, &[1.0], None, &mut y).is_err());
        assert!(scale_forward(&geometry, &x, &[1.0; 2], Some(&[]), &mut y).is_err());
        assert!(scale_backward_weight(&geometry, &x[1..], &x, &mut sums).is_err());
        let none = ScaleGeometry {
            batch: usize::MAX,
            plane: 0,
            ..geometry
        };
        scale_backward_weight(&none, &[], &[], &mut sums).unwrap();
        assert_eq!(sums, [0.0; 2]);
    }
}
