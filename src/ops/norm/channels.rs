//! Layer normalisation over the channels of each position.

use super::{Call, expect, factors, gamma_of, place, places, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::norm::channels;
use crate::op::LayerNormChannels;
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// Layer normalisation of `x` `(N, C, ...)` over the channels of each position, and the mean and inverse
/// standard deviation of each position, `(N, positions, 2)`, for the backward pass. `affine` is gamma and
/// beta `(C)`, or `None` for a layer without.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a tensor has another shape;
/// [`Error::Argument`](crate::Error::Argument) where gamma and beta are there for a layer without, or
/// missing.
#[cfg(feature = "native")]
pub fn layer_norm_channels_forward<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    layer: &LayerNormChannels,
) -> Result<(Tensor, Tensor)> {
    block_on(layer_norm_channels_forward_async(x, affine, layer))
}

/// [`layer_norm_channels_forward`] for asynchronous programs and the browser.
pub async fn layer_norm_channels_forward_async<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    layer: &LayerNormChannels,
) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("layer_norm_channels input", x.shape())?;
    let extents = layer.extents(batch, &example)?;
    let [_, channels, plane] = extents;
    let shape = Shape::from([channels]);
    let factors = factors("layer_norm_channels", layer.affine, affine.into(), &shape)?;
    let call = Call::new("layer_norm_channels_forward", x.gpu());
    let (output, kept) = (call.output(x.shape())?, call.output([batch, plane, 2])?);
    let read = (call.input("x", x)?, places(&call, &factors)?);
    let to = (call.region(&kept), call.region(&output).into());
    channels::forward(&mut call.recording(), layer.epsilon, extents, read, to);
    call.run().await?;
    Ok((output, kept))
}

/// The gradients with respect to `x`, gamma and beta, the last two of a layer without them, too, from what
/// the forward pass kept.
///
/// # Errors
///
/// Those of [`layer_norm_channels_forward`].
#[cfg(feature = "native")]
pub fn layer_norm_channels_backward<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &LayerNormChannels,
) -> Result<[Tensor; 3]> {
    block_on(layer_norm_channels_backward_async(
        x,
        gamma,
        kept,
        gradient_output,
        layer,
    ))
}

/// [`layer_norm_channels_backward`] for asynchronous programs and the browser.
pub async fn layer_norm_channels_backward_async<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &LayerNormChannels,
) -> Result<[Tensor; 3]> {
    let (batch, example) = split_batch("layer_norm_channels input", x.shape())?;
    let extents = layer.extents(batch, &example)?;
    let [_, channels, plane] = extents;
    let shape = Shape::from([channels]);
    let gamma = gamma_of("layer_norm_channels", layer.affine, gamma.into(), &shape)?;
    expect("kept", kept, [batch, plane, 2])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("layer_norm_channels_backward", x.gpu());
    let to = [
        call.output(x.shape())?,
        call.output(&shape)?,
        call.output(&shape)?,
    ];
    let [to_input, to_gamma, to_beta] = [0, 1, 2].map(|at| call.region(&to[at]));
    let read = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("kept", kept),
    ])?;
    let gamma = place(&call, &gamma)?;
    let gradients = (Some([to_gamma, to_beta]), Some(to_input.into()));
    channels::backward(&mut call.recording(), extents, read, gamma, gradients);
    call.run().await?;
    Ok(to)
}
