//! Planes made larger or smaller by interpolation.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::upsample2d;
use crate::op::{Upsample2d, Upsample2dGeometry};
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// `x` `(N, C, H, W)` made larger or smaller: `(N, C, OH, OW)`. See [`Upsample2d`] for what an output is
/// made of.
#[cfg(feature = "native")]
pub fn upsample2d_forward(x: &Tensor, layer: &Upsample2d) -> Result<Tensor> {
    block_on(upsample2d_forward_async(x, layer))
}

/// [`upsample2d_forward`] for asynchronous programs and the browser.
pub async fn upsample2d_forward_async(x: &Tensor, layer: &Upsample2d) -> Result<Tensor> {
    let (geometry, shape) = geometry(layer, x.shape())?;
    let call = Call::new("upsample2d_forward", x.gpu());
    let output = call.output(shape)?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    upsample2d::forward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of upsampling with respect to its input of shape `input`: each output's gradient at the
/// values that it was made of, by their weights.
#[cfg(feature = "native")]
pub fn upsample2d_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Upsample2d,
) -> Result<Tensor> {
    block_on(upsample2d_backward_async(gradient_output, input, layer))
}

/// [`upsample2d_backward`] for asynchronous programs and the browser.
pub async fn upsample2d_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Upsample2d,
) -> Result<Tensor> {
    let input = input.into();
    let (geometry, shape) = geometry(layer, &input)?;
    expect("output gradient", gradient_output, shape)?;
    let call = Call::new("upsample2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let from = call.input("output gradient", gradient_output)?;
    let to = call.region(&output).into();
    upsample2d::backward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The extents for a batch, and the shape of its output.
fn geometry(layer: &Upsample2d, input: &Shape) -> Result<(Upsample2dGeometry, Shape)> {
    let (batch, example) = split_batch("upsample2d input", input)?;
    let geometry = layer.geometry(batch, &example)?;
    let size = geometry.out_size;
    let shape = [batch, example[0], size.height, size.width];
    Ok((geometry, shape.into()))
}
