//! Convolution and transpose convolution.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::{conv2d, pad2d, reduce};
use crate::gpu::record::Region;
use crate::op::{Conv2d, Conv2dGeometry, ConvTranspose2d};
use crate::{Error, Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// Convolution of `x` `(N, C, H, W)` with `weight` `(O, C/groups, KH, KW)` and an optional bias
/// `(O)`: `(N, O, OH, OW)`.
///
/// # Errors
/// [`Error::Shape`] where the shapes do not fit each other or the layer.
#[cfg(feature = "native")]
pub fn conv2d_forward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layer: &Conv2d,
) -> Result<Tensor> {
    block_on(conv2d_forward_async(x, weight, bias, layer))
}

/// [`conv2d_forward`] for asynchronous programs and the browser.
pub async fn conv2d_forward_async(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layer: &Conv2d,
) -> Result<Tensor> {
    let geometry = conv2d_geometry(layer, x.shape(), Some(weight))?;
    if let Some(bias) = bias {
        expect("bias", bias, [geometry.out_channels])?;
    }
    let call = Call::new("conv2d_forward", x.gpu());
    let output = call.output(conv2d_output_shape(&geometry))?;
    let inputs = call.inputs([("x", x), ("weight", weight)])?;
    let (bias, to) = (
        bias.map(|bias| call.input("bias", bias)).transpose()?,
        call.region(&output),
    );
    let inputs = [padded(&call, layer, x.shape(), inputs[0])?, inputs[1]];
    conv2d::forward(&mut call.recording(), &geometry, inputs, bias, to.into());
    call.run().await?;
    Ok(output)
}

/// The gradient of a convolution with respect to its input of shape `input`, from the gradient with
/// respect to its output: a transpose convolution.
#[cfg(feature = "native")]
pub fn conv2d_backward_input(
    gradient_output: &Tensor,
    weight: &Tensor,
    input: impl Into<Shape>,
    layer: &Conv2d,
) -> Result<Tensor> {
    block_on(conv2d_backward_input_async(
        gradient_output,
        weight,
        input,
        layer,
    ))
}

/// [`conv2d_backward_input`] for asynchronous programs and the browser.
pub async fn conv2d_backward_input_async(
    gradient_output: &Tensor,
    weight: &Tensor,
    input: impl Into<Shape>,
    layer: &Conv2d,
) -> Result<Tensor> {
    let input = input.into();
    let geometry = conv2d_geometry(layer, &input, Some(weight))?;
    expect(
        "output gradient",
        gradient_output,
        conv2d_output_shape(&geometry),
    )?;
    let call = Call::new("conv2d_backward_input", gradient_output.gpu());
    let output = call.output(&input)?;
    let inputs = call.inputs([("output gradient", gradient_output), ("weight", weight)])?;
    let to = call.region(&output);
    let (batch, example) = split_batch("conv2d input", &input)?;
    match layer.padded(batch, &example)? {
        None => {
            conv2d::backward_input(&mut call.recording(), &geometry, inputs, None, to.into());
        }
        Some(padded) => {
            let recording = &mut call.recording();
            let around = recording.transient("padded gradient", geometry.input_len());
            conv2d::backward_input(recording, &geometry, inputs, None, around.into());
            pad2d::backward(recording, &padded, around, to.into());
        }
    }
    call.run().await?;
    Ok(output)
}

/// The gradient of a convolution of `x` with respect to its weights, `(O, C/groups, KH, KW)`.
#[cfg(feature = "native")]
pub fn conv2d_backward_weight(
    x: &Tensor,
    gradient_output: &Tensor,
    layer: &Conv2d,
) -> Result<Tensor> {
    block_on(conv2d_backward_weight_async(x, gradient_output, layer))
}

/// [`conv2d_backward_weight`] for asynchronous programs and the browser.
pub async fn conv2d_backward_weight_async(
    x: &Tensor,
    gradient_output: &Tensor,
    layer: &Conv2d,
) -> Result<Tensor> {
    let geometry = conv2d_geometry(layer, x.shape(), None)?;
    expect(
        "output gradient",
        gradient_output,
        conv2d_output_shape(&geometry),
    )?;
    let call = Call::new("conv2d_backward_weight", x.gpu());
    let output = call.output(geometry.weight_shape())?;
    let [input, gradient] = call.inputs([("x", x), ("output gradient", gradient_output)])?;
    let inputs = [padded(&call, layer, x.shape(), input)?, gradient];
    let to = call.region(&output);
    conv2d::backward_weight(&mut call.recording(), &geometry, inputs, (to, None));
    call.run().await?;
    Ok(output)
}

/// Transpose convolution of `x` `(N, C, H, W)` with `weight` `(C, O/groups, KH, KW)` and an optional
/// bias `(O)`: `(N, O, OH, OW)`.
#[cfg(feature = "native")]
pub fn conv_transpose2d_forward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    block_on(conv_transpose2d_forward_async(x, weight, bias, layer))
}

/// [`conv_transpose2d_forward`] for asynchronous programs and the browser.
pub async fn conv_transpose2d_forward_async(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    let geometry = conv_transpose2d_geometry(layer, x.shape())?;
    expect("conv_transpose2d weight", weight, geometry.weight_shape())?;
    if let Some(bias) = bias {
        expect("bias", bias, [geometry.in_channels])?;
    }
    let call = Call::new("conv_transpose2d_forward", x.gpu());
    let output = call.output(conv2d_input_shape(&geometry))?;
    let inputs = call.inputs([("x", x), ("weight", weight)])?;
    let (bias, to) = (
        bias.map(|bias| call.input("bias", bias)).transpose()?,
        call.region(&output),
    );
    conv2d::backward_input(&mut call.recording(), &geometry, inputs, bias, to.into());
    call.run().await?;
    Ok(output)
}

/// The gradient of a transpose convolution with respect to its input of shape `input`.
#[cfg(feature = "native")]
pub fn conv_transpose2d_backward_input(
    gradient_output: &Tensor,
    weight: &Tensor,
    input: impl Into<Shape>,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    block_on(conv_transpose2d_backward_input_async(
        gradient_output,
        weight,
        input,
        layer,
    ))
}

/// [`conv_transpose2d_backward_input`] for asynchronous programs and the browser.
pub async fn conv_transpose2d_backward_input_async(
    gradient_output: &Tensor,
    weight: &Tensor,
    input: impl Into<Shape>,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    let input = input.into();
    let geometry = conv_transpose2d_geometry(layer, &input)?;
    expect("conv_transpose2d weight", weight, geometry.weight_shape())?;
    expect(
        "output gradient",
        gradient_output,
        conv2d_input_shape(&geometry),
    )?;
    let call = Call::new("conv_transpose2d_backward_input", gradient_output.gpu());
    let output = call.output(input)?;
    let inputs = call.inputs([("output gradient", gradient_output), ("weight", weight)])?;
    let to = call.region(&output).into();
    conv2d::forward(&mut call.recording(), &geometry, inputs, None, to);
    call.run().await?;
    Ok(output)
}

/// The gradient of a transpose convolution of `x` with respect to its weights,
/// `(C, O/groups, KH, KW)`.
#[cfg(feature = "native")]
pub fn conv_transpose2d_backward_weight(
    x: &Tensor,
    gradient_output: &Tensor,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    block_on(conv_transpose2d_backward_weight_async(
        x,
        gradient_output,
        layer,
    ))
}

/// [`conv_transpose2d_backward_weight`] for asynchronous programs and the browser.
pub async fn conv_transpose2d_backward_weight_async(
    x: &Tensor,
    gradient_output: &Tensor,
    layer: &ConvTranspose2d,
) -> Result<Tensor> {
    let geometry = conv_transpose2d_geometry(layer, x.shape())?;
    expect(
        "output gradient",
        gradient_output,
        conv2d_input_shape(&geometry),
    )?;
    let call = Call::new("conv_transpose2d_backward_weight", x.gpu());
    let output = call.output(geometry.weight_shape())?;
    // The convolution whose transpose this is goes from this layer's output to its input.
    let inputs = call.inputs([("output gradient", gradient_output), ("x", x)])?;
    let to = call.region(&output);
    conv2d::backward_weight(&mut call.recording(), &geometry, inputs, (to, None));
    call.run().await?;
    Ok(output)
}

/// The gradient with respect to a bias per channel, from the gradient `(N, C, ...)` with respect to
/// the output: `(C)`.
#[cfg(feature = "native")]
pub fn bias_gradient(gradient_output: &Tensor) -> Result<Tensor> {
    block_on(bias_gradient_async(gradient_output))
}

/// [`bias_gradient`] for asynchronous programs and the browser.
pub async fn bias_gradient_async(gradient_output: &Tensor) -> Result<Tensor> {
    let [batch, channels, ref plane @ ..] = gradient_output.shape()[..] else {
        let expected = "a batch of channels (N, C, ...)";
        return Err(Error::shape(
            "output gradient",
            expected,
            gradient_output.shape(),
        ));
    };
    let call = Call::new("bias_gradient", gradient_output.gpu());
    let output = call.output([channels])?;
    let (from, to) = (
        call.input("output gradient", gradient_output)?,
        call.region(&output),
    );
    let extents = [batch, channels, plane.iter().product()];
    reduce::bias_gradient(&mut call.recording(), extents, from, to);
    call.run().await?;
    Ok(output)
}

/// What is convolved: the input, or a copy with what lies around it.
fn padded(call: &Call, layer: &Conv2d, shape: &Shape, input: Region) -> Result<Region> {
    let (batch, example) = split_batch("conv2d input", shape)?;
    let Some(padded) = layer.padded(batch, &example)? else {
        return Ok(input);
    };
    let recording = &mut call.recording();
    let around = recording.transient("padded input", padded.output_len());
    pad2d::forward(recording, &padded, input, around.into());
    Ok(around)
}

fn conv2d_geometry(
    layer: &Conv2d,
    input: &Shape,
    weight: Option<&Tensor>,
) -> Result<Conv2dGeometry> {
    let (batch, example) = split_batch("conv2d input", input)?;
    let geometry = layer.geometry(batch, &example)?;
    if let Some(weight) = weight {
        expect("conv2d weight", weight, geometry.weight_shape())?;
    }
    Ok(geometry)
}

fn conv2d_output_shape(geometry: &Conv2dGeometry) -> Shape {
    let Conv2dGeometry {
        batch,
        out_channels,
        out_size,
        ..
    } = *geometry;
    [batch, out_channels, out_size.height, out_size.width].into()
}

fn conv2d_input_shape(geometry: &Conv2dGeometry) -> Shape {
    let Conv2dGeometry {
        batch,
        in_channels,
        in_size,
        ..
    } = *geometry;
    [batch, in_channels, in_size.height, in_size.width].into()
}

fn conv_transpose2d_geometry(layer: &ConvTranspose2d, input: &Shape) -> Result<Conv2dGeometry> {
    let (batch, example) = split_batch("conv_transpose2d input", input)?;
    layer.geometry(batch, &example)
}
