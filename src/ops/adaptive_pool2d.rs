//! Pooling to a size.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::adaptive_pool2d;
use crate::op::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AdaptivePool2dGeometry};
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// The means of the windows of `x` `(N, C, H, W)`: `(N, C, OH, OW)`. See [`AdaptiveAvgPool2d`] for the
/// windows.
#[cfg(feature = "native")]
pub fn adaptive_avg_pool2d_forward(x: &Tensor, layer: &AdaptiveAvgPool2d) -> Result<Tensor> {
    block_on(adaptive_avg_pool2d_forward_async(x, layer))
}

/// [`adaptive_avg_pool2d_forward`] for asynchronous programs and the browser.
pub async fn adaptive_avg_pool2d_forward_async(
    x: &Tensor,
    layer: &AdaptiveAvgPool2d,
) -> Result<Tensor> {
    let (batch, example) = split_batch("adaptive_avg_pool2d input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("adaptive_avg_pool2d_forward", x.gpu());
    let output = call.output(output_shape(batch, &geometry))?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    adaptive_pool2d::avg_forward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of that with respect to its input of shape `input`.
#[cfg(feature = "native")]
pub fn adaptive_avg_pool2d_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &AdaptiveAvgPool2d,
) -> Result<Tensor> {
    block_on(adaptive_avg_pool2d_backward_async(
        gradient_output,
        input,
        layer,
    ))
}

/// [`adaptive_avg_pool2d_backward`] for asynchronous programs and the browser.
pub async fn adaptive_avg_pool2d_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &AdaptiveAvgPool2d,
) -> Result<Tensor> {
    let input = input.into();
    let (batch, example) = split_batch("adaptive_avg_pool2d input", &input)?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = output_shape(batch, &geometry);
    expect("output gradient", gradient_output, shape)?;
    let call = Call::new("adaptive_avg_pool2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let from = call.input("output gradient", gradient_output)?;
    let to = call.region(&output).into();
    adaptive_pool2d::avg_backward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The maxima of the windows of `x` `(N, C, H, W)` and their flat places in the input plane, each
/// `(N, C, OH, OW)`. See [`AdaptiveMaxPool2d`].
#[cfg(feature = "native")]
pub fn adaptive_max_pool2d_forward(
    x: &Tensor,
    layer: &AdaptiveMaxPool2d,
) -> Result<(Tensor, Tensor<u32>)> {
    block_on(adaptive_max_pool2d_forward_async(x, layer))
}

/// [`adaptive_max_pool2d_forward`] for asynchronous programs and the browser.
pub async fn adaptive_max_pool2d_forward_async(
    x: &Tensor,
    layer: &AdaptiveMaxPool2d,
) -> Result<(Tensor, Tensor<u32>)> {
    let (batch, example) = split_batch("adaptive_max_pool2d input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = output_shape(batch, &geometry);
    let call = Call::new("adaptive_max_pool2d_forward", x.gpu());
    let (output, argmax) = (call.output(shape.clone())?, call.output(shape)?);
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    let places = call.region(&argmax);
    adaptive_pool2d::max_forward(&mut call.recording(), &geometry, from, to, places);
    call.run().await?;
    Ok((output, argmax))
}

/// The gradient of that with respect to its input of shape `input`: each output's gradient at the place of
/// its maximum, those of overlapping windows added.
#[cfg(feature = "native")]
pub fn adaptive_max_pool2d_backward(
    gradient_output: &Tensor,
    argmax: &Tensor<u32>,
    input: impl Into<Shape>,
    layer: &AdaptiveMaxPool2d,
) -> Result<Tensor> {
    block_on(adaptive_max_pool2d_backward_async(
        gradient_output,
        argmax,
        input,
        layer,
    ))
}

/// [`adaptive_max_pool2d_backward`] for asynchronous programs and the browser.
pub async fn adaptive_max_pool2d_backward_async(
    gradient_output: &Tensor,
    argmax: &Tensor<u32>,
    input: impl Into<Shape>,
    layer: &AdaptiveMaxPool2d,
) -> Result<Tensor> {
    let input = input.into();
    let (batch, example) = split_batch("adaptive_max_pool2d input", &input)?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = output_shape(batch, &geometry);
    expect("output gradient", gradient_output, shape.clone())?;
    expect("argmax", argmax, shape)?;
    let call = Call::new("adaptive_max_pool2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let inputs = [
        call.input("output gradient", gradient_output)?,
        call.input("argmax", argmax)?,
    ];
    let to = call.region(&output).into();
    adaptive_pool2d::max_backward(&mut call.recording(), &geometry, inputs, to);
    call.run().await?;
    Ok(output)
}

fn output_shape(batch: usize, geometry: &AdaptivePool2dGeometry) -> Shape {
    let (channels, size) = (geometry.planes / batch, geometry.out_size);
    [batch, channels, size.height, size.width].into()
}
