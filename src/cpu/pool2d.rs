//! Two-dimensional max-pooling. The twin of the `max_pool2d` kernels.

use super::parallel::for_each;
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
    let (inputs, outputs) = check(geometry, x.len(), y.len(), argmax.len())?;
    let planes = x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs));
    for_each(
        planes.zip(argmax.chunks_exact_mut(outputs)),
        |((x, y), argmax)| {
            for (at, (y, argmax)) in y.iter_mut().zip(argmax).enumerate() {
                let (i, j) = (at / geometry.out_size.width, at % geometry.out_size.width);
                (*y, *argmax) = window_maximum(geometry, x, i, j);
            }
        },
    );
    Ok(())
}

/// The maximum of the window at `(i, j)` and its position.
fn window_maximum<T: Real>(geometry: &Pool2dGeometry, plane: &[T], i: usize, j: usize) -> (T, u32) {
    let &Pool2dGeometry {
        in_size,
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = geometry;
    let down = (i * stride.height) as isize - padding[0] as isize;
    let right = (j * stride.width) as isize - padding[2] as isize;
    let columns = inside(kernel.width, dilation.width, right, in_size.width);
    let mut maximum = (T::neg_infinity(), NOWHERE);
    for p in inside(kernel.height, dilation.height, down, in_size.height) {
        let row = ((p * dilation.height) as isize + down) as usize * in_size.width;
        for q in columns.clone() {
            let at = row + ((q * dilation.width) as isize + right) as usize;
            let value = plane[at];
            if value > maximum.0 || value.is_nan() || maximum.1 == NOWHERE {
                maximum = (value, at as u32);
            }
        }
    }
    maximum
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
    let (inputs, outputs) = check(geometry, gx.len(), gy.len(), argmax.len())?;
    if let Some(at) = argmax
        .iter()
        .position(|&a| a as usize >= inputs && a != NOWHERE)
    {
        let reason = format!("position {} in a plane of {inputs}", argmax[at]);
        return Err(Error::argument(format!("argmax[{at}]"), reason));
    }
    let planes = gx.chunks_exact_mut(inputs).zip(gy.chunks_exact(outputs));
    for_each(
        planes.zip(argmax.chunks_exact(outputs)),
        |((gx, gy), argmax)| {
            gx.fill(T::zero());
            for (&gy, &at) in gy.iter().zip(argmax).filter(|&(_, &at)| at != NOWHERE) {
                gx[at as usize] += gy;
            }
        },
    );
    Ok(())
}

/// Pixels of an input and of an output plane, if the slices have the lengths that they should.
fn check(geometry: &Pool2dGeometry, x: usize, y: usize, argmax: usize) -> Result<(usize, usize)> {
    let &Pool2dGeometry {
        planes,
        in_size,
        out_size,
        stride,
        dilation,
        ..
    } = geometry;
    let steps = [
        stride.area(),
        dilation.area(),
        in_size.area(),
        out_size.area(),
    ];
    if steps.contains(&0) {
        return Err(Error::argument(
            "max_pool2d",
            "stride, dilation and extents must not be zero",
        ));
    }
    let output = [planes, out_size.height, out_size.width];
    check_length(
        "max_pool2d input",
        [planes, in_size.height, in_size.width],
        x,
    )?;
    check_length("max_pool2d output", output, y)?;
    check_length("max_pool2d argmax", output, argmax)?;
    Ok((in_size.area(), out_size.area()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::MaxPool2d;

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
}
