//! Pooling.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::pool2d;
use crate::op::{AvgPool2d, GlobalPool, MaxPool2d, Pool2dGeometry};
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// The maxima of each window of `x` `(N, C, H, W)` and their flat places in the input plane, each
/// `(N, C, OH, OW)`. See [`MaxPool2d`] for what wins.
#[cfg(feature = "native")]
pub fn max_pool2d_forward(x: &Tensor, layer: &MaxPool2d) -> Result<(Tensor, Tensor<u32>)> {
    block_on(max_pool2d_forward_async(x, layer))
}

/// [`max_pool2d_forward`] for asynchronous programs and the browser.
pub async fn max_pool2d_forward_async(
    x: &Tensor,
    layer: &MaxPool2d,
) -> Result<(Tensor, Tensor<u32>)> {
    let (geometry, shape) = max_geometry(layer, x.shape())?;
    let call = Call::new("max_pool2d_forward", x.gpu());
    let (output, argmax) = (call.output(shape.clone())?, call.output(shape)?);
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    let places = call.region(&argmax);
    pool2d::max_forward(&mut call.recording(), &geometry, from, to, places);
    call.run().await?;
    Ok((output, argmax))
}

/// The gradient of max-pooling with respect to its input of shape `input`: each output's gradient
/// at the place of its maximum, those of overlapping windows added.
#[cfg(feature = "native")]
pub fn max_pool2d_backward(
    gradient_output: &Tensor,
    argmax: &Tensor<u32>,
    input: impl Into<Shape>,
    layer: &MaxPool2d,
) -> Result<Tensor> {
    block_on(max_pool2d_backward_async(
        gradient_output,
        argmax,
        input,
        layer,
    ))
}

/// [`max_pool2d_backward`] for asynchronous programs and the browser.
pub async fn max_pool2d_backward_async(
    gradient_output: &Tensor,
    argmax: &Tensor<u32>,
    input: impl Into<Shape>,
    layer: &MaxPool2d,
) -> Result<Tensor> {
    let input = input.into();
    let (geometry, shape) = max_geometry(layer, &input)?;
    expect("output gradient", gradient_output, shape.clone())?;
    expect("argmax", argmax, shape)?;
    let call = Call::new("max_pool2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let inputs = [
        call.input("output gradient", gradient_output)?,
        call.input("argmax", argmax)?,
    ];
    let to = call.region(&output).into();
    pool2d::max_backward(&mut call.recording(), &geometry, inputs, to);
    call.run().await?;
    Ok(output)
}

/// The means of each window of `x` `(N, C, H, W)`: `(N, C, OH, OW)`.
#[cfg(feature = "native")]
pub fn avg_pool2d_forward(x: &Tensor, layer: &AvgPool2d) -> Result<Tensor> {
    block_on(avg_pool2d_forward_async(x, layer))
}

/// [`avg_pool2d_forward`] for asynchronous programs and the browser.
pub async fn avg_pool2d_forward_async(x: &Tensor, layer: &AvgPool2d) -> Result<Tensor> {
    let (geometry, shape) = avg_geometry(layer, x.shape())?;
    let call = Call::new("avg_pool2d_forward", x.gpu());
    let output = call.output(shape)?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    let count = layer.count_include_pad;
    pool2d::avg_forward(&mut call.recording(), &geometry, count, from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of mean pooling with respect to its input of shape `input`.
#[cfg(feature = "native")]
pub fn avg_pool2d_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &AvgPool2d,
) -> Result<Tensor> {
    block_on(avg_pool2d_backward_async(gradient_output, input, layer))
}

/// [`avg_pool2d_backward`] for asynchronous programs and the browser.
pub async fn avg_pool2d_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &AvgPool2d,
) -> Result<Tensor> {
    let input = input.into();
    let (geometry, shape) = avg_geometry(layer, &input)?;
    expect("output gradient", gradient_output, shape)?;
    let call = Call::new("avg_pool2d_backward", gradient_output.gpu());
    let output = call.output(input)?;
    let (from, to) = (
        call.input("output gradient", gradient_output)?,
        call.region(&output).into(),
    );
    let count = layer.count_include_pad;
    pool2d::avg_backward(&mut call.recording(), &geometry, count, from, to);
    call.run().await?;
    Ok(output)
}

/// Each plane's mean weighted with its own softmax, `(N, C, 1, 1)` of `x` `(N, C, H, W)`, and what
/// the backward pass needs of the softmax.
#[cfg(feature = "native")]
pub fn softmax_pool_forward(x: &Tensor) -> Result<(Tensor, Tensor)> {
    block_on(softmax_pool_forward_async(x))
}

/// [`softmax_pool_forward`] for asynchronous programs and the browser.
pub async fn softmax_pool_forward_async(x: &Tensor) -> Result<(Tensor, Tensor)> {
    let (geometry, shape) = softmax_geometry(x.shape())?;
    let call = Call::new("softmax_pool_forward", x.gpu());
    let (output, kept) = (call.output(shape)?, call.output([geometry.planes, 2])?);
    let (from, to) = (
        call.input("x", x)?,
        [call.region(&output), call.region(&kept)],
    );
    pool2d::softmax_forward(&mut call.recording(), &geometry, from, to);
    call.run().await?;
    Ok((output, kept))
}

/// The gradient of softmax-weighted pooling of `x`, from both results of the forward pass.
#[cfg(feature = "native")]
pub fn softmax_pool_backward(
    x: &Tensor,
    (y, kept): (&Tensor, &Tensor),
    gradient_output: &Tensor,
) -> Result<Tensor> {
    block_on(softmax_pool_backward_async(x, (y, kept), gradient_output))
}

/// [`softmax_pool_backward`] for asynchronous programs and the browser.
pub async fn softmax_pool_backward_async(
    x: &Tensor,
    (y, kept): (&Tensor, &Tensor),
    gradient_output: &Tensor,
) -> Result<Tensor> {
    let (geometry, shape) = softmax_geometry(x.shape())?;
    expect("pooled", y, shape.clone())?;
    expect("kept", kept, [geometry.planes, 2])?;
    expect("output gradient", gradient_output, shape)?;
    let call = Call::new("softmax_pool_backward", x.gpu());
    let output = call.output(x.shape())?;
    let read = call.inputs([
        ("x", x),
        ("pooled", y),
        ("kept", kept),
        ("output gradient", gradient_output),
    ])?;
    let to = call.region(&output).into();
    pool2d::softmax_backward(&mut call.recording(), &geometry, read, to);
    call.run().await?;
    Ok(output)
}

fn max_geometry(layer: &MaxPool2d, input: &Shape) -> Result<(Pool2dGeometry, Shape)> {
    let (batch, example) = split_batch("max_pool2d input", input)?;
    let geometry = layer.geometry(batch, &example)?;
    Ok((geometry, output_shape(batch, &example, &geometry)))
}

fn avg_geometry(layer: &AvgPool2d, input: &Shape) -> Result<(Pool2dGeometry, Shape)> {
    let (batch, example) = split_batch("avg_pool2d input", input)?;
    let geometry = layer.geometry(batch, &example)?;
    Ok((geometry, output_shape(batch, &example, &geometry)))
}

fn softmax_geometry(input: &Shape) -> Result<(Pool2dGeometry, Shape)> {
    let (batch, example) = split_batch("softmax pool input", input)?;
    let geometry = GlobalPool::Softmax.geometry(batch, &example)?;
    Ok((geometry, output_shape(batch, &example, &geometry)))
}

fn output_shape(batch: usize, example: &Shape, geometry: &Pool2dGeometry) -> Shape {
    [
        batch,
        example[0],
        geometry.out_size.height,
        geometry.out_size.width,
    ]
    .into()
}
