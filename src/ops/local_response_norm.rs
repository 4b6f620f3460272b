//! Local response normalisation.

use super::{Call, expect, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::local_response_norm;
use crate::op::LocalResponseNorm;
#[cfg(feature = "native")]
use pollster::block_on;

/// Local response normalisation of `x` `(N, C, ...)`, and what the backward pass needs, of the same shape:
/// `k + alpha / size * s`, whose power each value is divided by.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where `x` has no channels,
/// [`Error::Argument`](crate::Error::Argument) where a number of the layer is out of its domain.
#[cfg(feature = "native")]
pub fn local_response_norm_forward(
    x: &Tensor,
    layer: &LocalResponseNorm,
) -> Result<(Tensor, Tensor)> {
    block_on(local_response_norm_forward_async(x, layer))
}

/// [`local_response_norm_forward`] for asynchronous programs and the browser.
pub async fn local_response_norm_forward_async(
    x: &Tensor,
    layer: &LocalResponseNorm,
) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("local_response_norm input", x.shape())?;
    let extents = layer.extents(batch, &example)?;
    let call = Call::new("local_response_norm_forward", x.gpu());
    let (output, kept) = (call.output(x.shape())?, call.output(x.shape())?);
    let input = call.input("x", x)?;
    let to = (Some(call.region(&kept)), call.region(&output).into());
    local_response_norm::forward(&mut call.recording(), layer, extents, input, to);
    call.run().await?;
    Ok((output, kept))
}

/// The gradient with respect to `x`, from what the forward pass kept.
///
/// # Errors
///
/// Those of [`local_response_norm_forward`], and [`Error::Shape`](crate::Error::Shape) where a tensor has
/// another shape than `x`.
#[cfg(feature = "native")]
pub fn local_response_norm_backward(
    x: &Tensor,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &LocalResponseNorm,
) -> Result<Tensor> {
    block_on(local_response_norm_backward_async(
        x,
        kept,
        gradient_output,
        layer,
    ))
}

/// [`local_response_norm_backward`] for asynchronous programs and the browser.
pub async fn local_response_norm_backward_async(
    x: &Tensor,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &LocalResponseNorm,
) -> Result<Tensor> {
    let (batch, example) = split_batch("local_response_norm input", x.shape())?;
    let extents = layer.extents(batch, &example)?;
    expect("kept", kept, x.shape())?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("local_response_norm_backward", x.gpu());
    let to_input = call.output(x.shape())?;
    let read = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("kept", kept),
    ])?;
    let to = call.region(&to_input).into();
    local_response_norm::backward(&mut call.recording(), layer, extents, read, to);
    call.run().await?;
    Ok(to_input)
}
