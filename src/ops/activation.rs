//! Element-wise functions, sums and joins.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::kernels::{Output, activation};
use crate::op::Activation;
use crate::{Error, Result, Shape};

/// An element-wise function of `x`.
pub fn activation_forward(x: &Tensor, function: Activation) -> Result<Tensor> {
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
pub fn activation_backward(
    function: Activation,
    x: &Tensor,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
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

/// The sum of two tensors of one shape.
pub fn add(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    expect("right", right, left.shape())?;
    let call = Call::new(left.gpu());
    let output = call.output(left.shape())?;
    let (inputs, to) = (
        [call.region(left), call.region(right)],
        call.region(&output),
    );
    activation::add(&mut call.recording(), left.shape().len(), inputs, to.into());
    call.run()?;
    Ok(output)
}

/// Tensors `(N, C, ...)` one after the other along their channels.
pub fn concat(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        return Err(Error::argument("concat", "needs a tensor"));
    };
    let (batch, _) = split_batch("concat", first.shape())?;
    let mut extents = first.shape().to_vec();
    if extents.len() < 2 {
        return Err(Error::shape("concat", "tensors (N, C, ...)", first.shape()));
    }
    extents[1] = 0;
    for tensor in tensors {
        let shape = tensor.shape();
        if shape.rank() != extents.len() || shape[0] != batch || shape[2..] != extents[2..] {
            let expected = format!("a tensor like {} but for its channels", first.shape());
            return Err(Error::shape("concat", expected, shape));
        }
        extents[1] += shape[1];
    }
    let shape = Shape::from(extents);
    let whole = shape.len() / batch;
    let call = Call::new(first.gpu());
    let output = call.output(shape)?;
    let (to, mut offset) = (call.region(&output), 0);
    for tensor in tensors {
        let stride = tensor.shape().len() / batch;
        let from = (call.region(tensor), Block { stride, offset: 0 });
        let block = Block {
            stride: whole,
            offset,
        };
        copy(
            &mut call.recording(),
            [batch, stride],
            from,
            (to.into(), block),
        );
        offset += stride;
    }
    call.run()?;
    Ok(output)
}
