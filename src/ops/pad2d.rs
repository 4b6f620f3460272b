//! Values around planes.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::pad2d;
use crate::op::Pad2d;
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// `x` `(N, C, H, W)` or `(N, C, L)` with values around each plane.
///
/// # Errors
/// Those of [`Pad2d::geometry`].
#[cfg(feature = "native")]
pub fn pad2d_forward(x: &Tensor, layer: &Pad2d) -> Result<Tensor> {
    block_on(pad2d_forward_async(x, layer))
}

/// [`pad2d_forward`] for asynchronous programs and the browser.
pub async fn pad2d_forward_async(x: &Tensor, layer: &Pad2d) -> Result<Tensor> {
    let (batch, example) = split_batch("pad2d input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("pad2d_forward", x.gpu());
    let output = call.output(output_shape(layer, batch, &example)?)?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    pad2d::forward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient with respect to an input of shape `input`.
///
/// # Errors
/// Those of [`Pad2d::geometry`], and [`Error::Shape`](crate::Error::Shape) where the gradient is not that of
/// its output.
#[cfg(feature = "native")]
pub fn pad2d_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Pad2d,
) -> Result<Tensor> {
    block_on(pad2d_backward_async(gradient_output, input, layer))
}

/// [`pad2d_backward`] for asynchronous programs and the browser.
pub async fn pad2d_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Pad2d,
) -> Result<Tensor> {
    let input = input.into();
    let (batch, example) = split_batch("pad2d input", &input)?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = output_shape(layer, batch, &example)?;
    expect("output gradient", gradient_output, shape)?;
    let call = Call::new("pad2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let from = call.input("output gradient", gradient_output)?;
    let to = call.region(&output).into();
    pad2d::backward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

fn output_shape(layer: &Pad2d, batch: usize, example: &Shape) -> Result<Shape> {
    use crate::op::Definition as _;
    Ok(layer.output_shape(&[example])?.batched(batch))
}
