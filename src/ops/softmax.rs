//! Softmax and its logarithm.

use super::{Call, expect, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::softmax;
use crate::op::Softmax;

/// Softmax of `x` `(N, ...)`, or its logarithm, along an axis of its examples.
pub fn softmax_forward(x: &Tensor, layer: &Softmax) -> Result<Tensor> {
    let (batch, example) = split_batch("softmax input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("softmax_forward", x.gpu());
    let output = call.output(x.shape())?;
    let (from, to) = (call.input("x", x)?, call.region(&output));
    softmax::forward(&mut call.recording(), layer.log, &geometry, from, to);
    call.run()?;
    Ok(output)
}

/// The gradient of softmax, or of its logarithm, from its value `y` and the gradient with respect to
/// that.
pub fn softmax_backward(y: &Tensor, gradient_output: &Tensor, layer: &Softmax) -> Result<Tensor> {
    let (batch, example) = split_batch("softmax value", y.shape())?;
    expect("output gradient", gradient_output, y.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    let call = Call::new("softmax_backward", y.gpu());
    let output = call.output(y.shape())?;
    let inputs = call.inputs([("y", y), ("output gradient", gradient_output)])?;
    let to = call.region(&output).into();
    softmax::backward(&mut call.recording(), layer.log, &geometry, inputs, to);
    call.run()?;
    Ok(output)
}
