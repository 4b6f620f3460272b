//! The dense layer over the channels of each pixel.

use super::{conv2d_forward_async, expect};
use crate::gpu::Tensor;
use crate::op::Conv2d;
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// The product of the channels of each pixel of `x` `(N, C, H, W)`, or of each position of `(N, C, L)`, with
/// weights `(O, C)`, and a bias `(O)`: see [`PointwiseLinear`](crate::PointwiseLinear). Its gradients are those of
/// [`conv2d_forward`](super::conv2d_forward) with the weights as `(O, C, 1, 1)`.
///
/// # Errors
///
/// [`Error::Shape`] where the shapes do not fit together.
#[cfg(feature = "native")]
pub fn pointwise_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    block_on(pointwise_linear_async(x, weight, bias))
}

/// [`pointwise_linear`] for asynchronous programs and the browser.
pub async fn pointwise_linear_async(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let (&[outputs, inputs], Some(&channels)) = (&weight.shape()[..], x.shape().get(1)) else {
        let expected = "an input (N, C, ...) and weights (O, C)";
        return Err(Error::shape("pointwise_linear", expected, weight.shape()));
    };
    expect("weight", weight, [outputs, channels])?;
    let filters = match x.shape().rank() {
        3 => weight.reshape([outputs, inputs, 1])?,
        _ => weight.reshape([outputs, inputs, 1, 1])?,
    };
    conv2d_forward_async(x, &filters, bias, &Conv2d::new(outputs, 1)).await
}
