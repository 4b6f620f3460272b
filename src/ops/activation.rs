//! Element-wise functions.

use super::{Call, expect};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::{Output, activation};
use crate::op::Activation;
#[cfg(feature = "native")]
use pollster::block_on;

/// An element-wise function of `x`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
#[cfg(feature = "native")]
pub fn activation_forward(x: &Tensor, function: Activation) -> Result<Tensor> {
    block_on(activation_forward_async(x, function))
}

/// [`activation_forward`] for asynchronous programs and the browser.
pub async fn activation_forward_async(x: &Tensor, function: Activation) -> Result<Tensor> {
    function.check()?;
    let call = Call::new("activation_forward", x.gpu());
    let output = call.output(x.shape())?;
    let to = Output {
        activation: Some(function),
        ..call.region(&output).into()
    };
    let from = call.input("x", x)?;
    activation::forward(&mut call.recording(), x.shape().len(), from, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of an element-wise function with respect to its argument `x`, from the argument, its
/// value `y` and the gradient with respect to that.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) where the tensors' shapes differ,
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
#[cfg(feature = "native")]
pub fn activation_backward(
    function: Activation,
    x: &Tensor,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
    block_on(activation_backward_async(function, x, y, gradient_output))
}

/// [`activation_backward`] for asynchronous programs and the browser.
pub async fn activation_backward_async(
    function: Activation,
    x: &Tensor,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
    function.check()?;
    expect("y", y, x.shape())?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("activation_backward", x.gpu());
    let output = call.output(x.shape())?;
    let tensors = [("x", x), ("y", y), ("output gradient", gradient_output)];
    let [x_region, y_region, gradient] = call.inputs(tensors)?;
    let inputs = match function.gradient_from_value() {
        true => [y_region, gradient],
        false => [x_region, gradient],
    };
    let to = call.region(&output).into();
    activation::backward(&mut call.recording(), function, x.shape().len(), inputs, to);
    call.run().await?;
    Ok(output)
}
