//! Group and instance normalisation.

use super::{Call, expect, factors, gamma_of, place, places, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::norm::group;
use crate::op::GroupNorm;
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// Group normalisation of `x` `(N, C, ...)`, and the mean and inverse standard deviation of each group of
/// channels, `(N, groups, 2)`, for the backward pass. `affine` is gamma and beta `(C)`, or `None` for a layer
/// without. For instance normalisation, `layer` is `&InstanceNorm::new().into()`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a tensor has another shape;
/// [`Error::Argument`](crate::Error::Argument) where gamma and beta are there for a layer without, or
/// missing.
#[cfg(feature = "native")]
pub fn group_norm_forward<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    layer: &GroupNorm,
) -> Result<(Tensor, Tensor)> {
    block_on(group_norm_forward_async(x, affine, layer))
}

/// [`group_norm_forward`] for asynchronous programs and the browser.
pub async fn group_norm_forward_async<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    layer: &GroupNorm,
) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("group_norm input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = Shape::from([geometry.channels]);
    let factors = factors("group_norm", layer.affine, affine.into(), &shape)?;
    let call = Call::new("group_norm_forward", x.gpu());
    let (output, kept) = (
        call.output(x.shape())?,
        call.output([batch, geometry.groups, 2])?,
    );
    let read = (call.input("x", x)?, places(&call, &factors)?);
    let to = (call.region(&kept), call.region(&output).into());
    group::forward(&mut call.recording(), layer.epsilon, &geometry, read, to);
    call.run().await?;
    Ok((output, kept))
}

/// The gradients with respect to `x`, gamma and beta, the last two of a layer without them, too, from what
/// the forward pass kept.
///
/// # Errors
///
/// Those of [`group_norm_forward`].
#[cfg(feature = "native")]
pub fn group_norm_backward<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &GroupNorm,
) -> Result<[Tensor; 3]> {
    block_on(group_norm_backward_async(
        x,
        gamma,
        kept,
        gradient_output,
        layer,
    ))
}

/// [`group_norm_backward`] for asynchronous programs and the browser.
pub async fn group_norm_backward_async<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    kept: &Tensor,
    gradient_output: &Tensor,
    layer: &GroupNorm,
) -> Result<[Tensor; 3]> {
    let (batch, example) = split_batch("group_norm input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = Shape::from([geometry.channels]);
    let gamma = gamma_of("group_norm", layer.affine, gamma.into(), &shape)?;
    expect("kept", kept, [batch, geometry.groups, 2])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("group_norm_backward", x.gpu());
    let to = [
        call.output(x.shape())?,
        call.output(&shape)?,
        call.output(&shape)?,
    ];
    let [to_input, to_gamma, to_beta] = [0, 1, 2].map(|at| call.region(&to[at]));
    let [x, gradient, kept] = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("kept", kept),
    ])?;
    let read = (x, gradient.into(), kept);
    let gamma = place(&call, &gamma)?;
    let gradients = (Some([to_gamma, to_beta]), Some(to_input.into()));
    group::backward(&mut call.recording(), &geometry, read, gamma, gradients);
    call.run().await?;
    Ok(to)
}
