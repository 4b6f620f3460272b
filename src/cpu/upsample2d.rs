//! Planes made larger or smaller by interpolation. The twin of the `upsample2d` kernels.

use super::parallel::{for_each, for_each_with};
use super::sum::round;
use super::{Real, check_length};
use crate::Result;
use crate::op::{Axis, Interpolation, Position, Upsample2dGeometry};

/// `y[plane,i,j] = sum over a,b of r[i,a] * c[j,b] * x[plane,a,b]` for `x (planes, H, W)` and
/// `y (planes, OH, OW)`, where `r` and `c` are the weights of the two rows and columns around an output, or
/// of the nearest ones: see [`Upsample2d`](crate::Upsample2d). The nearest values are copied.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says,
/// [`Error::Argument`](crate::Error::Argument) where that is no upsampling.
pub fn upsample2d_forward<T: Real>(
    geometry: &Upsample2dGeometry,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let [rows, columns] = check(geometry, x.len(), y.len())?;
    let width = geometry.in_size.width;
    let nearest = geometry.interpolation == Interpolation::Nearest;
    let planes = x.chunks_exact(geometry.in_size.area());
    let planes = planes.zip(y.chunks_exact_mut(geometry.out_size.area()));
    for_each(planes, |(x, y)| {
        for (row, y) in rows.iter().zip(y.chunks_exact_mut(columns.len())) {
            for (column, y) in columns.iter().zip(y) {
                let value = |row: usize, column: usize| x[row * width + column];
                if nearest {
                    *y = value(row.at[0], column.at[0]);
                    continue;
                }
                let along = |row: usize| {
                    let [first, second] = column.at.map(|column| value(row, column).wide());
                    column.weights[0] * first + column.weights[1] * second
                };
                let [above, below] = row.at.map(along);
                *y = T::nearest(row.weights[0] * above + row.weights[1] * below);
            }
        }
    });
    Ok(())
}

/// `gx[plane,a,b] = sum over i,j of r[i,a] * c[j,b] * gy[plane,i,j]`, for `gy (planes, OH, OW)` and
/// `gx (planes, H, W)`: the transpose of [`upsample2d_forward`].
///
/// # Errors
///
/// Those of [`upsample2d_forward`].
pub fn upsample2d_backward<T: Real>(
    geometry: &Upsample2dGeometry,
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let [rows, columns] = check(geometry, gx.len(), gy.len())?;
    let (width, area) = (geometry.in_size.width, geometry.in_size.area());
    let nearest = geometry.interpolation == Interpolation::Nearest;
    let planes = gx.chunks_exact_mut(area);
    let planes = planes.zip(gy.chunks_exact(geometry.out_size.area()));
    for_each_with(
        planes,
        || vec![0.0; area],
        |sums, (gx, gy)| {
            sums.fill(0.0);
            for (row, gy) in rows.iter().zip(gy.chunks_exact(columns.len())) {
                for (column, gy) in columns.iter().zip(gy) {
                    if nearest {
                        sums[row.at[0] * width + column.at[0]] += gy.wide();
                        continue;
                    }
                    for (at, weight) in row.at.into_iter().zip(row.weights) {
                        for (column, of_column) in column.at.into_iter().zip(column.weights) {
                            sums[at * width + column] += weight * of_column * gy.wide();
                        }
                    }
                }
            }
            round(sums, gx);
        },
    );
    Ok(())
}

/// What each row and each column of the output reads, if the slices have the lengths that they should.
fn check(geometry: &Upsample2dGeometry, x: usize, y: usize) -> Result<[Vec<Position>; 2]> {
    geometry.check()?;
    let &Upsample2dGeometry {
        planes,
        in_size,
        out_size,
        ..
    } = geometry;
    let input = [planes, in_size.height, in_size.width];
    check_length("upsample2d input", input, x)?;
    let output = [planes, out_size.height, out_size.width];
    check_length("upsample2d output", output, y)?;
    let positions = |axis: Axis| (0..axis.output).map(|i| axis.position(i)).collect();
    Ok(match planes {
        0 => [vec![], vec![]], // of nothing, the extents may be any
        _ => geometry.axes().map(positions),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Upsample2d;

    /// What becomes of a row, and the gradient of it with respect to the row under ones.
    fn row(layer: Upsample2d, x: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let geometry = layer.geometry(1, &[1, 1, x.len()].into()).unwrap();
        let mut y = vec![f32::NAN; geometry.output_len()];
        upsample2d_forward(&geometry, x, &mut y).unwrap();
        let (gy, mut gx) = (vec![1.0; y.len()], vec![f32::NAN; x.len()]);
        upsample2d_backward(&geometry, &gy, &mut gx).unwrap();
        (y, gx)
    }

    #[test]
    fn rows_equal_values_computed_by_hand() {
        let (nearest, bilinear) = (Upsample2d::nearest(), Upsample2d::bilinear());
        let corners = bilinear.align_corners(true);
        let x = [0.0, 4.0, 8.0];
        let of = |layer: Upsample2d, width: usize| row(layer.size([1, width]), &x);
        assert_eq!(
            of(nearest, 5),
            (vec![0.0, 0.0, 4.0, 4.0, 8.0], vec![2.0, 2.0, 1.0])
        );
        assert_eq!(of(nearest, 2), (vec![0.0, 4.0], vec![1.0, 1.0, 0.0]));
        assert_eq!(
            of(bilinear, 6),
            (vec![0.0, 1.0, 3.0, 5.0, 7.0, 8.0], vec![2.0, 2.0, 2.0])
        );
        assert_eq!(
            of(corners, 5),
            (vec![0.0, 2.0, 4.0, 6.0, 8.0], vec![1.5, 2.0, 1.5])
        );
        assert_eq!(of(corners, 1), (vec![0.0], vec![1.0, 0.0, 0.0]));
        // The step is that of the scale: 5 columns at 0.6 of a column each, not at 3/4.
        let (y, _) = row(nearest.scale([1.0, 5.0 / 3.0 * 0.9]), &x);
        assert_eq!(y, [0.0, 0.0, 4.0, 8.0]);
        let (y, _) = row(bilinear.scale([1.0, 1.5]), &x);
        assert!((y[1] - 2.0).abs() < 1e-6 && (y[3] - (2.0 - 1.0 / 6.0) * 4.0).abs() < 1e-5);
    }

    #[test]
    fn what_is_copied_reads_nothing_beside_it_and_what_is_not_reads_it_at_a_weight_of_zero() {
        let x = [1.0, f32::INFINITY, 2.0];
        let (y, _) = row(Upsample2d::bilinear().size([1, 3]), &x);
        assert!(y[0] == 1.0 && y[1].is_nan() && y[2] == 2.0);
        let (y, _) = row(Upsample2d::bilinear().size([1, 6]), &x);
        assert!(y[0].is_nan() && y[5] == 2.0);
        let (y, _) = row(Upsample2d::nearest().size([1, 6]), &x);
        assert_eq!(y[..4], [1.0, 1.0, f32::INFINITY, f32::INFINITY]);
        // A scale that leaves the extent as it is copies, and one that doubles it repeats.
        let (y, _) = row(Upsample2d::nearest().scale([1.0, 1.3]), &x);
        assert_eq!(y, x);
        let (y, _) = row(Upsample2d::nearest().scale([1.0, 2.2]), &x[..2]);
        assert_eq!(y, [1.0, 1.0, f32::INFINITY, f32::INFINITY]);
    }
}
