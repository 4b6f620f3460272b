//! Sums and products of two values.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::broadcast::{self as kernels, Operation};
use crate::op::{Add, BroadcastGeometry, Mul};
use crate::{Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// The sum of two tensors, `(N, C, ...)`. Either may have one channel or one position where the other has
/// several: see [`Add`](crate::op::Add).
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the two do not fit together.
#[cfg(feature = "native")]
pub fn add(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    block_on(add_async(left, right))
}

/// [`add()`] for asynchronous programs and the browser.
pub async fn add_async(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    join("add", Operation::Sum, left, right).await
}

/// The gradient of a side of [`add`] of this shape, the batch included.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where it is the shape of no side.
#[cfg(feature = "native")]
pub fn add_backward(gradient_output: &Tensor, shape: impl Into<Shape>) -> Result<Tensor> {
    block_on(add_backward_async(gradient_output, shape))
}

/// [`add_backward`] for asynchronous programs and the browser.
pub async fn add_backward_async(
    gradient_output: &Tensor,
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    let shape = shape.into();
    let (geometry, whole) = geometry("add", &shape, gradient_output.shape())?;
    expect("output gradient", gradient_output, &whole)?;
    let call = Call::new("add_backward", gradient_output.gpu());
    let output = call.output(&shape)?;
    let (from, to) = (
        call.input("output gradient", gradient_output)?,
        call.region(&output).into(),
    );
    kernels::gradient(&mut call.recording(), &geometry, from, None, to);
    call.run().await?;
    Ok(output)
}

/// The product of two tensors, element by element, of the shapes that [`add`] takes.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the two do not fit together.
#[cfg(feature = "native")]
pub fn mul(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    block_on(mul_async(left, right))
}

/// [`mul()`] for asynchronous programs and the browser.
pub async fn mul_async(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    join("mul", Operation::Product, left, right).await
}

/// The gradients of both sides of [`mul`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the two do not fit together, or the gradient is not as
/// their product.
#[cfg(feature = "native")]
pub fn mul_backward(
    left: &Tensor,
    right: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 2]> {
    block_on(mul_backward_async(left, right, gradient_output))
}

/// [`mul_backward`] for asynchronous programs and the browser.
pub async fn mul_backward_async(
    left: &Tensor,
    right: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 2]> {
    let (geometry, whole) = geometry("mul", left.shape(), right.shape())?;
    expect("output gradient", gradient_output, &whole)?;
    let call = Call::new("mul_backward", left.gpu());
    let outputs = [call.output(left.shape())?, call.output(right.shape())?];
    let [a, b, gradient] = call.inputs([
        ("left", left),
        ("right", right),
        ("output gradient", gradient_output),
    ])?;
    let to = outputs.each_ref().map(|output| call.region(output).into());
    let swapped = geometry.swapped();
    for ((geometry, other), to) in [(geometry, b), (swapped, a)].into_iter().zip(to) {
        kernels::gradient(&mut call.recording(), &geometry, gradient, Some(other), to);
    }
    call.run().await?;
    Ok(outputs)
}

/// The extents of two tensors together, and the shape of their sum.
fn geometry(name: &str, left: &Shape, right: &Shape) -> Result<(BroadcastGeometry, Shape)> {
    if left == right {
        return Ok((BroadcastGeometry::of_whole(left.len()), left.clone()));
    }
    let ((batch, example), (others, other)) = (split_batch(name, left)?, split_batch(name, right)?);
    if batch != others {
        let expected = format!("two tensors of as many examples as {left}");
        return Err(crate::Error::shape("right", expected, right));
    }
    let geometry = match name {
        "mul" => Mul.geometry(batch, &example, &other),
        _ => Add.geometry(batch, &example, &other),
    }?;
    let pairs = left.iter().zip(&right[..]);
    let whole: Vec<usize> = pairs.map(|(&left, &right)| left.max(right)).collect();
    Ok((geometry, whole.into()))
}

async fn join(name: &str, operation: Operation, left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let (geometry, whole) = geometry(name, left.shape(), right.shape())?;
    let call = Call::new(name, left.gpu());
    let output = call.output(whole)?;
    let inputs = call.inputs([("left", left), ("right", right)])?;
    let to = call.region(&output).into();
    kernels::join(&mut call.recording(), operation, &geometry, inputs, to);
    call.run().await?;
    Ok(output)
}
