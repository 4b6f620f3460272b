//! Single operations on tensors of a device, for programs that use this library for its kernels.
//!
//! Each call allocates its result, submits its kernels and returns; it does not wait for them. A
//! training step through a [`Trainer`](crate::Trainer) creates nothing and is much faster than the
//! same operations one by one. Shapes include the batch: `(N, C, H, W)`. The twins of these
//! functions on slices are in [`cpu`](crate::cpu).
//!
//! ```no_run
//! use wgpu_cnn::{Conv2d, Gpu, MaxPool2d, Tensor, ops};
//! let gpu = Gpu::new()?;
//! let x = Tensor::from_slice(&gpu, [1, 1, 3, 3], &[3.0, 2.0, 5.0, 4.0, 1.0, 7.0, 3.0, 5.0, 0.0])?;
//! let (values, argmax) = ops::max_pool2d_forward(&x, &MaxPool2d::new(2).stride(1))?;
//! assert_eq!(values.to_vec()?, [4.0, 7.0, 5.0, 7.0]);
//! assert_eq!(argmax.to_vec()?, [3, 5, 7, 5]);
//! # Ok::<(), wgpu_cnn::Error>(())
//! ```

use std::cell::RefCell;

use crate::gpu::kernels::matmul::Factor;
use crate::gpu::kernels::{self, activation, conv2d, pool2d, reduce};
use crate::gpu::program::Program;
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::{Element, Gpu, Tensor};
use crate::op::{Activation, Conv2d, Conv2dGeometry, Loss, MaxPool2d, Pool2dGeometry, Target};
use crate::{Error, Result, Shape};

/// Convolution of `x` `(N, C, H, W)` with `weight` `(O, C/groups, KH, KW)` and an optional bias
/// `(O)`: `(N, O, OH, OW)`.
///
/// # Errors
/// [`Error::Shape`] where the shapes do not fit each other or the layer.
pub fn conv2d_forward(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layer: &Conv2d,
) -> Result<Tensor> {
    let geometry = conv2d_geometry(layer, x.shape(), Some(weight))?;
    if let Some(bias) = bias {
        expect("bias", bias, [geometry.out_channels])?;
    }
    let call = Call::new(x.gpu());
    let output = call.output(conv2d_output_shape(&geometry))?;
    let inputs = [call.region(x), call.region(weight)];
    let (bias, to) = (bias.map(|bias| call.region(bias)), call.region(&output));
    conv2d::forward(&mut call.recording(), &geometry, inputs, bias, None, to);
    call.run()?;
    Ok(output)
}

/// The gradient of a convolution with respect to its input of shape `input`, from the gradient with
/// respect to its output: a transpose convolution.
pub fn conv2d_backward_input(
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
    let call = Call::new(gradient_output.gpu());
    let output = call.output(input)?;
    let inputs = [call.region(gradient_output), call.region(weight)];
    let to = call.region(&output).into();
    conv2d::backward_input(&mut call.recording(), &geometry, inputs, to);
    call.run()?;
    Ok(output)
}

/// The gradient of a convolution of `x` with respect to its weights, `(O, C/groups, KH, KW)`.
pub fn conv2d_backward_weight(
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
    let call = Call::new(x.gpu());
    let output = call.output(geometry.weight_shape())?;
    let inputs = [call.region(x), call.region(gradient_output)];
    let to = call.region(&output);
    conv2d::backward_weight(&mut call.recording(), &geometry, &geometry, inputs, to);
    call.run()?;
    Ok(output)
}

/// The gradient with respect to a bias per channel, from the gradient `(N, C, ...)` with respect to
/// the output: `(C)`.
pub fn bias_gradient(gradient_output: &Tensor) -> Result<Tensor> {
    let [batch, channels, ref plane @ ..] = gradient_output.shape()[..] else {
        let expected = "a batch of channels (N, C, ...)";
        return Err(Error::shape(
            "output gradient",
            expected,
            gradient_output.shape(),
        ));
    };
    let call = Call::new(gradient_output.gpu());
    let output = call.output([channels])?;
    let (from, to) = (call.region(gradient_output), call.region(&output));
    let extents = [batch, channels, plane.iter().product()];
    reduce::bias_gradient(&mut call.recording(), extents, batch, from, to);
    call.run()?;
    Ok(output)
}

/// The maxima of each window of `x` `(N, C, H, W)` and their flat places in the input plane, each
/// `(N, C, OH, OW)`. See [`MaxPool2d`] for what wins.
pub fn max_pool2d_forward(x: &Tensor, layer: &MaxPool2d) -> Result<(Tensor, Tensor<u32>)> {
    let (geometry, shape) = max_pool2d_geometry(layer, x.shape())?;
    let call = Call::new(x.gpu());
    let (output, argmax) = (call.output(shape.clone())?, call.output(shape)?);
    let (from, to) = (call.region(x), [call.region(&output), call.region(&argmax)]);
    pool2d::max_forward(&mut call.recording(), &geometry, from, to);
    call.run()?;
    Ok((output, argmax))
}

/// The gradient of max-pooling with respect to its input of shape `input`: each output's gradient
/// at the place of its maximum, those of overlapping windows added.
pub fn max_pool2d_backward(
    gradient_output: &Tensor,
    argmax: &Tensor<u32>,
    input: impl Into<Shape>,
    layer: &MaxPool2d,
) -> Result<Tensor> {
    let input = input.into();
    let (geometry, shape) = max_pool2d_geometry(layer, &input)?;
    expect("output gradient", gradient_output, shape.clone())?;
    expect("argmax", argmax, shape)?;
    let call = Call::new(gradient_output.gpu());
    let output = call.output(input)?;
    let inputs = [call.region(gradient_output), call.region(argmax)];
    let to = call.region(&output).into();
    pool2d::max_backward(&mut call.recording(), &geometry, inputs, to);
    call.run()?;
    Ok(output)
}

/// The product of two matrices, `(M, K)` times `(K, N)`, either of them given transposed.
pub fn matmul(a: &Tensor, transpose_a: bool, b: &Tensor, transpose_b: bool) -> Result<Tensor> {
    let extents = |name: &str, matrix: &Tensor, transposed: bool| match matrix.shape()[..] {
        [rows, columns] if transposed => Ok([columns, rows]),
        [rows, columns] => Ok([rows, columns]),
        _ => Err(Error::shape(name, "a matrix", matrix.shape())),
    };
    let [m, k] = extents("matmul a", a, transpose_a)?;
    let [inner, n] = extents("matmul b", b, transpose_b)?;
    if k != inner {
        return Err(Error::shape("matmul b", format!("{k} rows"), inner));
    }
    let call = Call::new(a.gpu());
    let output = call.output([m, n])?;
    let a = Factor {
        region: call.region(a),
        transposed: transpose_a,
    };
    let b = Factor {
        region: call.region(b),
        transposed: transpose_b,
    };
    let to = call.region(&output).into();
    kernels::matmul::matmul(&mut call.recording(), [m, n, k], [a, b], None, None, to);
    call.run()?;
    Ok(output)
}

/// An element-wise function of `x`.
pub fn activation_forward(x: &Tensor, function: Activation) -> Result<Tensor> {
    let call = Call::new(x.gpu());
    let output = call.output(x.shape())?;
    let (from, to) = (call.region(x), call.region(&output));
    activation::forward(&mut call.recording(), function, x.shape().len(), from, to);
    call.run()?;
    Ok(output)
}

/// The gradient of an element-wise function with respect to its argument, from its value `y` and
/// the gradient with respect to that.
pub fn activation_backward(
    function: Activation,
    y: &Tensor,
    gradient_output: &Tensor,
) -> Result<Tensor> {
    expect("output gradient", gradient_output, y.shape())?;
    let call = Call::new(y.gpu());
    let output = call.output(y.shape())?;
    let (value, from) = (call.region(y), call.region(gradient_output));
    let (function, to) = (Some((function, value)), call.region(&output).into());
    activation::backward(&mut call.recording(), function, y.shape().len(), from, to);
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
    activation::add(&mut call.recording(), left.shape().len(), inputs, to);
    call.run()?;
    Ok(output)
}

/// The loss of a batch of outputs `(N, ...)`, as a tensor of one element, and its gradient with
/// respect to them.
pub fn loss(output: &Tensor, target: impl Into<Target>, loss: Loss) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("output", output.shape())?;
    let target = target.into();
    target.check(loss, example.len(), batch)?;
    let geometry = loss.geometry(batch, &example)?;
    let gpu = output.gpu();
    let (labels, values, soft) = match target {
        Target::Labels(labels) => (labels, vec![0.0], false),
        Target::Values(values) => (vec![0], values, true),
    };
    let labels = Tensor::from_slice(gpu, [labels.len()], &labels)?;
    let values = Tensor::from_slice(gpu, [values.len()], &values)?;
    let call = Call::new(gpu);
    let (total, gradient) = (call.output([1])?, call.output(output.shape())?);
    let targets = kernels::loss::Targets {
        labels: call.region(&labels),
        values: call.region(&values),
    };
    let (from, to) = (
        call.region(output),
        [call.region(&total), call.region(&gradient)],
    );
    kernels::loss::loss(&mut call.recording(), loss, &geometry, from, targets, to);
    if let (Loss::CrossEntropy(_), Some(first)) = (loss, call.recording().dispatches.first_mut()) {
        kernels::loss::set_soft(&mut first.params, soft);
    }
    call.run()?;
    Ok((total, gradient))
}

/// One operation in the making.
struct Call {
    gpu: Gpu,
    recording: RefCell<Recording>,
}

impl Call {
    fn new(gpu: &Gpu) -> Self {
        Self {
            gpu: gpu.clone(),
            recording: RefCell::new(Recording::new(gpu.traits())),
        }
    }

    fn recording(&self) -> std::cell::RefMut<'_, Recording> {
        self.recording.borrow_mut()
    }

    fn output<T: Element>(&self, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        pollster::block_on(Tensor::uninitialised(&self.gpu, shape.into()))
    }

    fn region<T: Element>(&self, tensor: &Tensor<T>) -> Region {
        let storage = Storage::Bound(tensor.buffer().clone());
        self.recording()
            .buffer("tensor", tensor.shape().len(), storage)
    }

    fn run(self) -> Result<()> {
        let recording = self.recording.into_inner().finish()?;
        pollster::block_on(async {
            let program = Program::compile(&self.gpu, &recording).await?;
            let params = program.params_block(&recording.dispatches);
            let submit = || {
                self.gpu
                    .queue()
                    .write_buffer(program.uniforms(), 0, &params);
                let mut encoder = self
                    .gpu
                    .device()
                    .create_command_encoder(&Default::default());
                let all = 0..recording.dispatches.len();
                program.encode(&mut encoder, &recording.dispatches, all);
                self.gpu.queue().submit([encoder.finish()]);
            };
            self.gpu.guard("operation", submit).await?;
            program.check_margins(&self.gpu).await
        })
    }
}

/// The extents of a batch `(N, ...)` and of one example.
fn split_batch(name: &str, shape: &Shape) -> Result<(usize, Shape)> {
    match shape[..] {
        [batch, ref example @ ..] if batch > 0 => Ok((batch, example.into())),
        _ => Err(Error::shape(name, "a batch (N, ...)", shape)),
    }
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

fn max_pool2d_geometry(layer: &MaxPool2d, input: &Shape) -> Result<(Pool2dGeometry, Shape)> {
    let (batch, example) = split_batch("max_pool2d input", input)?;
    let geometry = layer.geometry(batch, &example)?;
    let shape = [
        batch,
        example[0],
        geometry.out_size.height,
        geometry.out_size.width,
    ];
    Ok((geometry, shape.into()))
}

fn expect<T: Element>(name: &str, tensor: &Tensor<T>, shape: impl Into<Shape>) -> Result<()> {
    let shape = shape.into();
    if *tensor.shape() == shape {
        Ok(())
    } else {
        Err(Error::shape(name, shape.to_string(), tensor.shape()))
    }
}
