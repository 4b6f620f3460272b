//! Element-wise functions.

use super::{Call, expect};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::{Output, activation};
use crate::op::Activation;

/// An element-wise function of `x`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
pub fn activation_forward(x: &Tensor, function: Activation) -> Result<Tensor> {
    function.check()?;
    let call = Call::new(x.gpu());
    let output = call.output(x.shape())?;
    let to = Output {
        activation: Some(function),
        ..call.region(&output).into()
    };
    let from = call.region(x);
    activation::forward(&mut call.recording(), x.shape().len(), from, to);
    call.run()?;
    Ok(output)
}

/// The gradient of an element-wise function with respect to its argument `x`, from the argument, its
/// value `y` and the gradient with respect to that.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) where the tensors' shapes differ,
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
pub fn activation_backward(
    function: Activation,
    x: &Tensor,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
    function.check()?;
    expect("y", y, x.shape())?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new(x.gpu());
    let output = call.output(x.shape())?;
    let source = if function.gradient_from_value() { y } else { x };
    let inputs = [call.region(source), call.region(gradient_output)];
    let to = call.region(&output).into();
    activation::backward(&mut call.recording(), function, x.shape().len(), inputs, to);
    call.run()?;
    Ok(output)
}
