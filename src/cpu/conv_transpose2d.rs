//! Transpose convolution: the passes of the convolution that it is the transpose of, with their
//! roles changed. The twin of the `conv_transpose2d` kernels.
//!
//! The geometry is that convolution's, as
//! [`ConvTranspose2d::geometry`](crate::op::ConvTranspose2d::geometry) gives it: its output
//! `(N, O, OH, OW)` is this layer's input, its input `(N, C, H, W)` this layer's output.

use super::conv2d::{conv2d_backward_input_by, conv2d_backward_weight, conv2d_forward, sum_planes};
use super::parallel::for_each;
use super::{Real, check_length};
use crate::Result;
use crate::op::Conv2dGeometry;

/// `y[n,c, i*stride + p*dilation - padding, ..] += w[o,c,p,q] * x[n,o,i,j]` over all `o, i, j, p, q`,
/// plus `bias[c]`: the input gradient of the convolution. `x (N, O, OH, OW)`,
/// `w (O, C/groups, KH, KW)`, `bias (C)`, `y (N, C, H, W)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv_transpose2d_forward<T: Real>(
    geometry: &Conv2dGeometry,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    conv_transpose2d_forward_by(true, geometry, x, w, bias, y)
}

/// As [`conv_transpose2d_forward`]; with `direct_only` false by Winograd's algorithm where that pays.
pub(crate) fn conv_transpose2d_forward_by<T: Real>(
    direct_only: bool,
    geometry: &Conv2dGeometry,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    if let Some(bias) = bias {
        check_length("conv_transpose2d bias", [geometry.in_channels], bias.len())?;
    }
    conv2d_backward_input_by(direct_only, geometry, x, w, y)?;
    if let Some(bias) = bias {
        let planes = y
            .chunks_exact_mut(geometry.in_size.area().max(1))
            .zip(bias.iter().cycle());
        for_each(planes, |(plane, &bias)| {
            plane.iter_mut().for_each(|y| *y += bias)
        });
    }
    Ok(())
}

/// `gx = conv2d(gy)`: the convolution itself. `gy (N, C, H, W)`, `gx (N, O, OH, OW)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv_transpose2d_backward_input<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    conv2d_forward(geometry, gy, w, None, gx)
}

/// `gw[o,c,p,q] = sum over n,i,j of x[n,o,i,j] * gy[n,c, i*stride + p*dilation - padding, ..]`: the
/// convolution's weight gradient, with the layer's input in the place of its output gradient.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv_transpose2d_backward_weight<T: Real>(
    geometry: &Conv2dGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    conv2d_backward_weight(geometry, gy, x, gw)
}

/// `gb[c] = sum over n,i,j of gy[n,c,i,j]` for `gy (N, C, H, W)` and `gb (C)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv_transpose2d_backward_bias<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    gb: &mut [T],
) -> Result<()> {
    let &Conv2dGeometry {
        in_channels,
        in_size,
        ..
    } = geometry;
    let shape = geometry.input_shape();
    check_length("conv_transpose2d output gradient", shape, gy.len())?;
    check_length("conv_transpose2d bias gradient", [in_channels], gb.len())?;
    sum_planes(in_size.area(), gy, gb);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::ConvTranspose2d;

    #[test]
    fn a_small_case_equals_values_computed_by_hand() {
        let layer = ConvTranspose2d::new(1, 2)
            .stride(2)
            .padding([0, 1, 0, 0])
            .output_padding(1);
        let g = layer.geometry(1, &[1, 2, 2].into()).unwrap();
        let (x, w, bias) = ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 100.0, 1000.0], [0.5]);
        let mut y = [f64::NAN; 20];
        conv_transpose2d_forward(&g, &x, &w, Some(&bias), &mut y).unwrap();
        let expected = [
            [1.0, 10.0, 2.0, 20.0, 0.0],
            [100.0, 1000.0, 200.0, 2000.0, 0.0],
            [3.0, 30.0, 4.0, 40.0, 0.0],
            [300.0, 3000.0, 400.0, 4000.0, 0.0],
        ];
        assert_eq!(
            y[..],
            expected
                .as_flattened()
                .iter()
                .map(|y| y + 0.5)
                .collect::<Vec<_>>()[..]
        );
        let gy: Vec<f64> = (0..20).map(|at| f64::from(at % 7)).collect();
        let (mut gx, mut gw, mut gb) = ([0.0; 4], [0.0; 4], [0.0]);
        conv_transpose2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
        assert_eq!(gx[0], 0.0 + 10.0 + 500.0 + 6000.0);
        conv_transpose2d_backward_weight(&g, &x, &gy, &mut gw).unwrap();
        assert_eq!(gw[0], 0.0 + 2.0 * 2.0 + 3.0 * 3.0 + 4.0 * 5.0);
        conv_transpose2d_backward_bias(&g, &gy, &mut gb).unwrap();
        assert_eq!(gb, [gy.iter().sum::<f64>()]);
        assert!(conv_transpose2d_forward(&g, &x, &w, Some(&[]), &mut y).is_err());
        assert!(conv_transpose2d_forward(&g, &x[1..], &w, None, &mut y).is_err());
        assert!(conv_transpose2d_backward_bias(&g, &gy[1..], &mut gb).is_err());
    }
}
