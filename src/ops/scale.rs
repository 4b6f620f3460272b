//! A factor for each channel.

use super::{Call, expect, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::scale as kernels;
use crate::op::{Scale, ScaleGeometry};
#[cfg(feature = "native")]
use pollster::block_on;

/// `w[c] * x + b[c]` for `x` of `(N, C, ...)`, `w` and `b` of `(C)`: see [`Scale`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the shapes do not fit together.
#[cfg(feature = "native")]
pub fn scale_forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    block_on(scale_forward_async(x, weight, bias))
}

/// [`scale_forward`] for asynchronous programs and the browser.
pub async fn scale_forward_async(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let geometry = geometry(x)?;
    for parameter in [Some(weight), bias].into_iter().flatten() {
        expect("scale parameter", parameter, [geometry.channels])?;
    }
    let call = Call::new("scale_forward", x.gpu());
    let output = call.output(x.shape())?;
    let inputs = call.inputs([("x", x), ("weight", weight)])?;
    let bias = bias.map(|bias| call.input("bias", bias)).transpose()?;
    let to = call.region(&output).into();
    kernels::forward(&mut call.recording(), &geometry, inputs, bias, to);
    call.run().await?;
    Ok(output)
}

/// The gradients of [`scale_forward`] with respect to `x`, the factors and the offsets.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the shapes do not fit together.
#[cfg(feature = "native")]
pub fn scale_backward(
    x: &Tensor,
    weight: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 3]> {
    block_on(scale_backward_async(x, weight, gradient_output))
}

/// [`scale_backward`] for asynchronous programs and the browser.
pub async fn scale_backward_async(
    x: &Tensor,
    weight: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 3]> {
    let geometry = geometry(x)?;
    expect("weight", weight, [geometry.channels])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("scale_backward", x.gpu());
    let to_input = call.output(x.shape())?;
    let [to_weight, to_bias] = [
        call.output([geometry.channels])?,
        call.output([geometry.channels])?,
    ];
    let [x, weight, gradient] = call.inputs([
        ("x", x),
        ("weight", weight),
        ("output gradient", gradient_output),
    ])?;
    let to = [&to_weight, &to_bias].map(|tensor| Some(call.region(tensor)));
    kernels::backward_parameters(&mut call.recording(), &geometry, [x, gradient], to);
    let to = call.region(&to_input).into();
    kernels::backward_input(&mut call.recording(), &geometry, [weight, gradient], to);
    call.run().await?;
    Ok([to_input, to_weight, to_bias])
}

fn geometry(x: &Tensor) -> Result<ScaleGeometry> {
    let (batch, example) = split_batch("scale input", x.shape())?;
    Scale::new().geometry(batch, &example)
}
