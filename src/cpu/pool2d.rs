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
    for_each(planes.zip(argmax.chunks_exact_mut(outputs)), |((x, y), argmax)| {
        for (at, (y, argmax)) in y.iter_mut().zip(argmax).enumerate() {
            let (i, j) = (at / geometry.out_size.width, at % geometry.out_size.width);
            (*y, *argmax) = window_maximum(geometry, x, i, j);
        }
    });
    Ok(())
}

/// The maximum of the window at `(i, j)` and its position.
fn window_maximum<T: Real>(
    geometry: &Pool2dGeometry,
    plane: &[T],
    i: usize,
    j: usize,
) -> (T, u32) {
    let &Pool2dGeometry { in_size, kernel, stride, padding, dilation, .. } = geometry;
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
    if let Some(at) = argmax.iter().position(|&a| a as usize >= inputs && a != NOWHERE) {
        let reason = format!("position {} in a plane of {inputs}", argmax[at]);
        return Err(Error::argument(format!("argmax[{at}]"), reason));
    }
    let planes = gx.chunks_exact_mut(inputs).zip(gy.chunks_exact(outputs));
    for_each(planes.zip(argmax.chunks_exact(outputs)), |((gx, gy), argmax)| {
        gx.fill(T::zero());
        for (&gy, &at) in gy.iter().zip(argmax).filter(|&(_, &at)| at != NOWHERE) {
            gx[at as usize] += gy;
        }
    });
    Ok(())
}

/// Pixels of an input and of an output plane, if the slices have the lengths that they should.
fn check(geometry: &Pool2dGeometry, x: usize, y: usize, argmax: usize) -> Result<(usize, usize)> {
    let &Pool2dGeometry { planes, in_size, out_size, stride, dilation, .. } = geometry;
    let steps = [stride.area(), dilation.area(), in_size.area(), out_size.area()];
    if steps.contains(&0) {
        return Err(Error::argument("max_pool2d", "stride, dilation and extents must not be zero"));
    }
    let output = [planes, out_size.height, out_size.width];
    check_length("max_pool2d input", [planes, in_size.height, in_size.width], x)?;
    check_length("max_pool2d output", output, y)?;
    check_length("max_pool2d argmax", output, argmax)?;
    Ok((in_size.area(), out_size.area()))
}
