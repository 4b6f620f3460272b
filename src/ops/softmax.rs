//! Softmax and its logarithm.

use super::{Call, expect, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::softmax;
use crate::op::Softmax;
#[cfg(feature = "native")]
use pollster::block_on;

/// Softmax of `x` `(N, ...)`, or its logarithm, along an axis of its examples.
#[cfg(feature = "native")]
pub fn softmax_forward(x: &Tensor, layer: &Softmax) -> Result<Tensor> {
    block_on(softmax_forward_async(x, layer))
}

/// [`softmax_forward`] for asynchronous programs and the browser.
pub async fn softmax_forward_async(x: &Tensor, layer: &Softmax) -> Result<Tensor> {
    let (batch, example) = split_batch("softmax input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("softmax_forward", x.gpu());
    let output = call.output(x.shape())?;
    let (from, to) = (call.input("x", x)?, call.region(&output));
    softmax::forward(&mut call.recording(), layer.log, &geometry, from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of softmax, or of its logarithm, from its value `y` and the gradient with respect to
/// that.
#[cfg(feature = "native")]
pub fn softmax_backward(y: &Tensor, gradient_output: &Tensor, layer: &Softmax) -> Result<Tensor> {
    block_on(softmax_backward_async(y, gradient_output, layer))
}

/// [`softmax_backward`] for asynchronous programs and the browser.
pub async fn softmax_backward_async(
    y: &Tensor,
    gradient_output: &Tensor,
    layer: &Softmax,
) -> Result<Tensor> {
    let (batch, example) = split_batch("softmax value", y.shape())?;
    expect("output gradient", gradient_output, y.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("softmax_backward", y.gpu());
    let output = call.output(y.shape())?;
    let inputs = call.inputs([("y", y), ("output gradient", gradient_output)])?;
    let to = call.region(&output).into();
    softmax::backward(&mut call.recording(), layer.log, &geometry, inputs, to);
    call.run().await?;
    Ok(output)
}
