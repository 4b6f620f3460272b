//! Ranges along an axis, and channels in another order.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::Output;
use crate::gpu::kernels::select as kernels;
use crate::gpu::record::{Recording, Region};
use crate::op::{ChannelPermute, ChannelShuffle, Definition, Slice};
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// A range of `x` `(N, ...)` along an axis.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the range is none of `x`.
#[cfg(feature = "native")]
pub fn slice(x: &Tensor, layer: &Slice) -> Result<Tensor> {
    block_on(slice_async(x, layer))
}

/// [`slice()`] for asynchronous programs and the browser.
pub async fn slice_async(x: &Tensor, layer: &Slice) -> Result<Tensor> {
    let (batch, example) = split_batch("slice input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let to = layer.output_shape(&[&example])?.batched(batch);
    one("slice", ("x", x), to, |recording, from, to| {
        kernels::slice(recording, &geometry, &(layer.from..layer.to), from, to);
    })
    .await
}

/// The gradient of [`slice()`] with respect to its input, of this shape.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the shapes do not fit together.
#[cfg(feature = "native")]
pub fn slice_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Slice,
) -> Result<Tensor> {
    block_on(slice_backward_async(gradient_output, input, layer))
}

/// [`slice_backward`] for asynchronous programs and the browser.
pub async fn slice_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &Slice,
) -> Result<Tensor> {
    let input = input.into();
    let (batch, example) = split_batch("slice input", &input)?;
    let geometry = layer.geometry(batch, &example)?;
    let whole = layer.output_shape(&[&example])?.batched(batch);
    expect("output gradient", gradient_output, whole)?;
    let from = ("output gradient", gradient_output);
    one("slice_backward", from, input, |recording, from, to| {
        let range = layer.from..layer.to;
        kernels::slice_backward(recording, &geometry, &range, from, to);
    })
    .await
}

/// The channels of `x` `(N, C, ...)`, shuffled. The gradient of a shuffle of `groups` is one of `C / groups`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the groups do not divide the channels.
#[cfg(feature = "native")]
pub fn channel_shuffle(x: &Tensor, layer: &ChannelShuffle) -> Result<Tensor> {
    block_on(channel_shuffle_async(x, layer))
}

/// [`channel_shuffle`] for asynchronous programs and the browser.
pub async fn channel_shuffle_async(x: &Tensor, layer: &ChannelShuffle) -> Result<Tensor> {
    let (batch, example) = split_batch("channel_shuffle input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    one(
        "channel_shuffle",
        ("x", x),
        x.shape().clone(),
        |recording, from, to| {
            kernels::shuffle(recording, &geometry, layer.groups, from, to);
        },
    )
    .await
}

/// The channels of `x` `(N, C, ...)` with the layer's numbers.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a number is not that of a channel.
#[cfg(feature = "native")]
pub fn channel_permute(x: &Tensor, layer: &ChannelPermute) -> Result<Tensor> {
    block_on(channel_permute_async(x, layer))
}

/// [`channel_permute`] for asynchronous programs and the browser.
pub async fn channel_permute_async(x: &Tensor, layer: &ChannelPermute) -> Result<Tensor> {
    let (batch, example) = split_batch("channel_permute input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let to = layer.output_shape(&[&example])?.batched(batch);
    one("channel_permute", ("x", x), to, |recording, from, to| {
        kernels::permute(recording, &geometry, &layer.index, from, to);
    })
    .await
}

/// The gradient of [`channel_permute`] with respect to its input, of this shape.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the shapes do not fit together.
#[cfg(feature = "native")]
pub fn channel_permute_backward(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &ChannelPermute,
) -> Result<Tensor> {
    block_on(channel_permute_backward_async(
        gradient_output,
        input,
        layer,
    ))
}

/// [`channel_permute_backward`] for asynchronous programs and the browser.
pub async fn channel_permute_backward_async(
    gradient_output: &Tensor,
    input: impl Into<Shape>,
    layer: &ChannelPermute,
) -> Result<Tensor> {
    let input = input.into();
    let (batch, example) = split_batch("channel_permute input", &input)?;
    let geometry = layer.geometry(batch, &example)?;
    let whole = layer.output_shape(&[&example])?.batched(batch);
    expect("output gradient", gradient_output, whole)?;
    let from = ("output gradient", gradient_output);
    one(
        "channel_permute_backward",
        from,
        input,
        |recording, from, to| {
            kernels::permute_backward(recording, &geometry, &layer.index, from, to);
        },
    )
    .await
}

/// What a kernel makes of one tensor.
async fn one(
    name: &str,
    (argument, from): (&str, &Tensor),
    shape: Shape,
    record: impl FnOnce(&mut Recording, Region, Output),
) -> Result<Tensor> {
    let call = Call::new(name, from.gpu());
    let output = call.output(shape)?;
    let (from, to) = (call.input(argument, from)?, call.region(&output));
    record(&mut call.recording(), from, to.into());
    call.run().await?;
    Ok(output)
}
