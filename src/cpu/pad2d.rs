//! Values around planes. The twin of the `pad2d` kernels.

use super::parallel::{for_each, for_each_with};
use super::sum::round;
use super::{Real, check_length};
use crate::Result;
use crate::op::{Pad2dGeometry, Size2};

/// Where the values along one axis come from.
fn sources(geometry: &Pad2dGeometry, rows: bool) -> Vec<Option<usize>> {
    let ([top, _, left, _], out) = (geometry.padding, geometry.out_size());
    let (before, extent, places) = match rows {
        true => (top, geometry.in_size.height, out.height),
        false => (left, geometry.in_size.width, out.width),
    };
    let source = |place| geometry.mode.source(place, before, extent);
    (0..places).map(source).collect()
}

/// Each plane with what its [mode](crate::PaddingMode) says around it.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says, and what
/// [`Pad2d::geometry`](crate::Pad2d::geometry) refuses.
pub fn pad2d_forward<T: Real>(geometry: &Pad2dGeometry, x: &[T], y: &mut [T]) -> Result<()> {
    check(geometry, ["input", "output"], [x.len(), y.len()])?;
    if x.is_empty() {
        return Ok(()); // of no planes, whose extents may be any
    }
    let (rows, columns) = (sources(geometry, true), sources(geometry, false));
    let Size2 { width, .. } = geometry.in_size;
    let planes = x.chunks_exact(geometry.in_size.area());
    let out = geometry.out_size().area();
    for_each(planes.zip(y.chunks_exact_mut(out)), |(x, y)| {
        for (row, y) in rows.iter().zip(y.chunks_exact_mut(columns.len())) {
            let x = row.map(|row| &x[row * width..(row + 1) * width]);
            for (y, column) in y.iter_mut().zip(&columns) {
                *y = x.zip(*column).map_or(T::zero(), |(x, column)| x[column]);
            }
        }
    });
    Ok(())
}

/// The gradient: each value's is the sum over the places that show it.
///
/// # Errors
///
/// Those of [`pad2d_forward`].
pub fn pad2d_backward<T: Real>(geometry: &Pad2dGeometry, gy: &[T], gx: &mut [T]) -> Result<()> {
    let what = ["input gradient", "output gradient"];
    check(geometry, what, [gx.len(), gy.len()])?;
    if gx.is_empty() {
        return Ok(());
    }
    let (rows, columns) = (sources(geometry, true), sources(geometry, false));
    let (area, width) = (geometry.in_size.area(), geometry.in_size.width);
    let planes = gy.chunks_exact(geometry.out_size().area());
    let planes = planes.zip(gx.chunks_exact_mut(area));
    for_each_with(
        planes,
        || vec![0.0; area],
        |totals, (gy, gx)| {
            totals.fill(0.0);
            for (row, gy) in rows.iter().zip(gy.chunks_exact(columns.len())) {
                let Some(row) = row else { continue };
                let totals = &mut totals[row * width..(row + 1) * width];
                for (gy, column) in gy.iter().zip(&columns) {
                    if let Some(column) = column {
                        totals[*column] += gy.wide();
                    }
                }
            }
            round(totals, gx);
        },
    );
    Ok(())
}

/// Refuses a geometry that is none, and slices of other lengths than its own.
fn check(geometry: &Pad2dGeometry, what: [&str; 2], lengths: [usize; 2]) -> Result<()> {
    geometry.check("pad2d")?;
    let Pad2dGeometry {
        planes, in_size, ..
    } = *geometry;
    for (what, (size, len)) in what
        .iter()
        .zip([in_size, geometry.out_size()].iter().zip(lengths))
    {
        let shape = [planes, size.height, size.width];
        check_length(&format!("pad2d {what}"), shape, len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Pad2d, PaddingMode};

    fn both(padding: [usize; 4], mode: PaddingMode) -> (Vec<f64>, Vec<f64>) {
        let geometry = Pad2d::new(padding).mode(mode);
        let geometry = geometry.geometry(1, &[1, 2, 3].into()).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut y = vec![f64::NAN; geometry.output_len()];
        pad2d_forward(&geometry, &x, &mut y).unwrap();
        let mut gx = vec![f64::NAN; 6];
        pad2d_backward(&geometry, &vec![1.0; y.len()], &mut gx).unwrap();
        (y, gx)
    }

    #[test]
    fn values_and_gradients_are_those_of_pytorch() {
        let (y, gx) = both([1, 0, 0, 1], PaddingMode::Zeros);
        assert_eq!(y, [0., 0., 0., 0., 1., 2., 3., 0., 4., 5., 6., 0.]);
        assert_eq!(gx, [1.0; 6]);
        let (y, gx) = both([1, 0, 0, 1], PaddingMode::Reflect);
        assert_eq!(y, [4., 5., 6., 5., 1., 2., 3., 2., 4., 5., 6., 5.]);
        assert_eq!(gx, [1., 2., 1., 2., 4., 2.]);
        let (y, gx) = both([1, 0, 0, 2], PaddingMode::Replicate);
        assert_eq!(
            y,
            [1., 2., 3., 3., 3., 1., 2., 3., 3., 3., 4., 5., 6., 6., 6.]
        );
        assert_eq!(gx, [2., 2., 6., 1., 1., 3.]);
        let (y, gx) = both([1, 0, 0, 1], PaddingMode::Circular);
        assert_eq!(y, [4., 5., 6., 4., 1., 2., 3., 1., 4., 5., 6., 4.]);
        assert_eq!(gx, [2., 1., 1., 4., 2., 2.]);
    }

    #[test]
    fn a_geometry_that_a_program_wrote_is_held() {
        let geometry = Pad2d::new(1).geometry(1, &[1, 2, 2].into()).unwrap();
        let (x, mut y) = ([1.0f32; 4], [0.0; 16]);
        pad2d_forward(&geometry, &x, &mut y).unwrap();
        assert!(pad2d_forward(&geometry, &x[1..], &mut y).is_err());
        assert!(pad2d_backward(&geometry, &y[1..], &mut x.clone()).is_err());
        let wrong = Pad2dGeometry {
            padding: [2, 0, 0, 0],
            mode: PaddingMode::Reflect,
            ..geometry
        };
        assert!(pad2d_forward(&wrong, &x, &mut y[..8]).is_err());
    }
}
