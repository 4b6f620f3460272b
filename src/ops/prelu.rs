//! ReLU with learned slopes.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::prelu;
use crate::op::{Prelu, PreluGeometry};
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// `x` where `x > 0`, else `weight * x`, with one weight `(1)` for all of `x` or one for each channel `(C)`
/// of `x` `(N, C, ...)`.
///
/// # Errors
/// [`Error::Shape`] where the weights are neither.
#[cfg(feature = "native")]
pub fn prelu_forward(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    block_on(prelu_forward_async(x, weight))
}

/// [`prelu_forward`] for asynchronous programs and the browser.
pub async fn prelu_forward_async(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let geometry = geometry(x, weight)?;
    let call = Call::new("prelu_forward", x.gpu());
    let output = call.output(x.shape())?;
    let inputs = call.inputs([("x", x), ("weight", weight)])?;
    let to = call.region(&output).into();
    prelu::forward(&mut call.recording(), &geometry, inputs, to);
    call.run().await?;
    Ok(output)
}

/// The gradients with respect to `x` and to the weights.
///
/// # Errors
/// [`Error::Shape`] where the shapes do not fit each other.
#[cfg(feature = "native")]
pub fn prelu_backward(
    x: &Tensor,
    weight: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 2]> {
    block_on(prelu_backward_async(x, weight, gradient_output))
}

/// [`prelu_backward`] for asynchronous programs and the browser.
pub async fn prelu_backward_async(
    x: &Tensor,
    weight: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 2]> {
    let geometry = geometry(x, weight)?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("prelu_backward", x.gpu());
    let (gx, gw) = (call.output(x.shape())?, call.output(weight.shape())?);
    let [x, gy, weight] = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("weight", weight),
    ])?;
    let to = [&gx, &gw].map(|tensor| call.region(tensor));
    let read = [x, gy, weight];
    prelu::backward_input(&mut call.recording(), &geometry, read, to[0].into());
    prelu::backward_weight(&mut call.recording(), &geometry, [x, gy], to[1]);
    call.run().await?;
    Ok([gx, gw])
}

fn geometry(x: &Tensor, weight: &Tensor) -> Result<PreluGeometry> {
    let (batch, example) = split_batch("prelu input", x.shape())?;
    let each = Prelu::new().per_channel(true).geometry(batch, &example);
    match each {
        _ if *weight.shape() == [1].into() => Prelu::new().geometry(batch, &example),
        Ok(each) if *weight.shape() == [each.channels].into() => Ok(each),
        _ => {
            let expected = "one weight [1], or one for each channel [C]";
            Err(Error::shape("prelu weight", expected, weight.shape()))
        }
    }
}
