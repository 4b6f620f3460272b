//! Single operations on tensors of a device.

mod norm;
mod pool;

use norm::*;
use pool::*;

use pollster::block_on;
use wgpu_cnn::{
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, ChannelShuffle, Element, Error, Gpu, Shape, Size2,
    Tensor, ops,
};

use crate::call::Call;
use crate::cpu::target;
use crate::draw::{Draw, LONGEST};
use crate::{device, joined, op, resize};

pub fn gpu() -> &'static Gpu {
    device::plain().expect("a device")
}

const TENSOR: &[&str] = &[
    "Tensor::from_slice",
    "Tensor::from_slice_async",
    "Tensor::to_vec",
    "Tensor::to_vec_async",
    "Tensor::reshape",
    "Tensor::shape",
    "Tensor::gpu",
    "Tensor::buffer",
];

/// An operation that blocks is the asynchronous one, waited for.
macro_rules! calls {
    ($($name:literal: $run:ident;)*) => {
        vec![$(Call::on_device(
            &[concat!("ops::", $name), concat!("ops::", $name, "_async")],
            |d| $run(d).is_ok(),
        )),*]
    };
}

pub fn calls() -> Vec<Call> {
    let mut calls = calls! {
        "activation_forward": activation_forward;
        "activation_backward": activation_backward;
        "pointwise_linear": pointwise_linear;
        "slice": slice;
        "slice_backward": slice_backward;
        "channel_shuffle": channel_shuffle;
        "channel_permute": channel_permute;
        "channel_permute_backward": channel_permute_backward;
        "add": add;
        "add_backward": add_backward;
        "mul": mul;
        "mul_backward": mul_backward;
        "scale_forward": scale_forward;
        "scale_backward": scale_backward;
        "concat": concat;
        "conv2d_forward": conv2d_forward;
        "conv2d_backward_input": conv2d_backward_input;
        "conv2d_backward_weight": conv2d_backward_weight;
        "conv_transpose2d_forward": conv_transpose2d_forward;
        "conv_transpose2d_backward_input": conv_transpose2d_backward_input;
        "conv_transpose2d_backward_weight": conv_transpose2d_backward_weight;
        "bias_gradient": bias_gradient;
        "dropout": dropout;
        "dropout_spans": dropout_spans;
        "pad2d_forward": pad2d_forward;
        "pad2d_backward": pad2d_backward;
        "prelu_forward": prelu_forward;
        "prelu_backward": prelu_backward;
        "loss": loss;
        "matmul": matmul;
        "linear_forward": linear_forward;
        "batch_norm_forward": batch_norm_forward;
        "batch_norm_forward_evaluation": batch_norm_forward_evaluation;
        "batch_norm_backward": batch_norm_backward;
        "batch_norm_backward_evaluation": batch_norm_backward_evaluation;
        "layer_norm_channels_forward": layer_norm_channels_forward;
        "layer_norm_channels_backward": layer_norm_channels_backward;
        "group_norm_forward": group_norm_forward;
        "group_norm_backward": group_norm_backward;
        "local_response_norm_forward": local_response_norm_forward;
        "local_response_norm_backward": local_response_norm_backward;
        "layer_norm_forward": layer_norm_forward;
        "layer_norm_backward": layer_norm_backward;
        "optimizer_update": optimizer_update;
        "average_update": average_update;
        "max_pool2d_forward": max_pool2d_forward;
        "max_pool2d_backward": max_pool2d_backward;
        "avg_pool2d_forward": avg_pool2d_forward;
        "avg_pool2d_backward": avg_pool2d_backward;
        "softmax_pool_forward": softmax_pool_forward;
        "softmax_pool_backward": softmax_pool_backward;
        "upsample2d_forward": upsample2d_forward;
        "upsample2d_backward": upsample2d_backward;
        "pixel_shuffle": pixel_shuffle;
        "pixel_unshuffle": pixel_unshuffle;
        "adaptive_avg_pool2d_forward": adaptive_avg_pool2d_forward;
        "adaptive_avg_pool2d_backward": adaptive_avg_pool2d_backward;
        "adaptive_max_pool2d_forward": adaptive_max_pool2d_forward;
        "adaptive_max_pool2d_backward": adaptive_max_pool2d_backward;
        "softmax_forward": softmax_forward;
        "softmax_backward": softmax_backward;
    };
    calls.push(Call::on_device(TENSOR, |d| whole_tensor(d).is_ok()));
    calls
}

type Done = Result<(), Error>;

/// A tensor of a shape that is mostly the one that is wanted, if it may be as large.
fn tensor_of<T: Element + From<u16>>(d: &mut Draw, wanted: Shape) -> Result<Tensor<T>, Error> {
    let shape = if d.is_hostile() { d.shape() } else { wanted };
    let shape = if shape.len() > LONGEST {
        [2, 2].into()
    } else {
        shape
    };
    let values: Vec<T> = (0..shape.len())
        .map(|at| T::from((at % 5) as u16))
        .collect();
    Tensor::from_slice(gpu(), shape, &values)
}

fn tensor(d: &mut Draw, wanted: impl Into<Shape>) -> Result<Tensor, Error> {
    tensor_of(d, wanted.into())
}

/// A batch of images or signals.
fn images(d: &mut Draw) -> Shape {
    let example = d.image();
    op::batched(d, &example)
}

fn whole_tensor(d: &mut Draw) -> Done {
    let shape = d.shape();
    let values = d.floats::<f32>(shape.len());
    let tensor = match d.flag() {
        true => Tensor::from_slice(gpu(), shape.clone(), &values)?,
        false => block_on(Tensor::from_slice_async(gpu(), shape.clone(), &values))?,
    };
    let same = tensor.reshape([tensor.shape().len()])?;
    let read = if d.flag() {
        same.to_vec()?
    } else {
        block_on(same.to_vec_async())?
    };
    assert_eq!(read.len(), values.len());
    assert!(tensor.buffer().size() > 0 && tensor.gpu().info() == gpu().info());
    let _ = tensor.reshape(d.shape());
    Ok(())
}

fn activation_forward(d: &mut Draw) -> Done {
    let shape = d.shape();
    ops::activation_forward(&tensor(d, shape)?, d.activation()).map(drop)
}

fn activation_backward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let [x, y, gy] = [tensor(d, &shape)?, tensor(d, &shape)?, tensor(d, &shape)?];
    ops::activation_backward(d.activation(), &x, &y, &gy).map(drop)
}

fn pointwise_linear(d: &mut Draw) -> Done {
    let (shape, outputs) = (images(d), d.number());
    let channels = shape.get(1).copied().unwrap_or(1);
    let [x, weight, bias] = [
        tensor(d, &shape)?,
        tensor(d, [outputs, channels])?,
        tensor(d, [outputs])?,
    ];
    ops::pointwise_linear(&x, &weight, d.flag().then_some(&bias)).map(drop)
}

fn slice(d: &mut Draw) -> Done {
    let shape = images(d);
    ops::slice(&tensor(d, &shape)?, &joined::slice(d)).map(drop)
}

fn slice_backward(d: &mut Draw) -> Done {
    let (shape, layer) = (images(d), joined::slice(d));
    let mut extents = shape.to_vec();
    if let Some(extent) = layer.axis.checked_add(1).and_then(|at| extents.get_mut(at)) {
        *extent = layer.to.saturating_sub(layer.from);
    }
    ops::slice_backward(&tensor(d, extents)?, shape, &layer).map(drop)
}

fn channel_shuffle(d: &mut Draw) -> Done {
    let shape = images(d);
    ops::channel_shuffle(&tensor(d, &shape)?, &ChannelShuffle::new(d.number())).map(drop)
}

fn channel_permute(d: &mut Draw) -> Done {
    let shape = images(d);
    ops::channel_permute(&tensor(d, &shape)?, &joined::channel_permute(d)).map(drop)
}

fn channel_permute_backward(d: &mut Draw) -> Done {
    let (shape, layer) = (images(d), joined::channel_permute(d));
    let mut extents = shape.to_vec();
    if let Some(extent) = extents.get_mut(1) {
        *extent = layer.index.len();
    }
    ops::channel_permute_backward(&tensor(d, extents)?, shape, &layer).map(drop)
}

/// Two tensors that go together.
fn pair(d: &mut Draw) -> Result<[Tensor; 2], Error> {
    let left = if d.flag() { d.shape() } else { images(d) };
    let right = joined::beside(d, &left, 1);
    let shapes = if d.flag() {
        [left, right]
    } else {
        [right, left]
    };
    Ok([tensor(d, &shapes[0])?, tensor(d, &shapes[1])?])
}

fn add(d: &mut Draw) -> Done {
    let [left, right] = pair(d)?;
    ops::add(&left, &right).map(drop)
}

fn add_backward(d: &mut Draw) -> Done {
    let [gradient, side] = pair(d)?;
    ops::add_backward(&gradient, side.shape()).map(drop)
}

fn mul(d: &mut Draw) -> Done {
    let [left, right] = pair(d)?;
    ops::mul(&left, &right).map(drop)
}

fn mul_backward(d: &mut Draw) -> Done {
    let [left, right] = pair(d)?;
    let gradient = match d.flag() {
        true => left.clone(),
        false => right.clone(),
    };
    ops::mul_backward(&left, &right, &gradient).map(drop)
}

fn scale_forward(d: &mut Draw) -> Done {
    let shape = images(d);
    let channels = [shape.get(1).copied().unwrap_or(1)];
    let [x, weight, bias] = [
        tensor(d, &shape)?,
        tensor(d, channels)?,
        tensor(d, channels)?,
    ];
    ops::scale_forward(&x, &weight, d.flag().then_some(&bias)).map(drop)
}

fn scale_backward(d: &mut Draw) -> Done {
    let shape = images(d);
    let channels = [shape.get(1).copied().unwrap_or(1)];
    let [x, gy] = [tensor(d, &shape)?, tensor(d, &shape)?];
    ops::scale_backward(&x, &tensor(d, channels)?, &gy).map(drop)
}

fn concat(d: &mut Draw) -> Done {
    let shape = d.shape();
    let (a, b) = (tensor(d, &shape)?, tensor(d, &shape)?);
    let tensors = [&a, &b, &a];
    ops::concat(&tensors[..d.below(4)]).map(drop)
}

/// The shapes of a convolution's input, weight and output.
type Shapes = [Shape; 3];

fn conv2d_shapes(layer: &wgpu_cnn::Conv2d, input: &Shape) -> Result<Shapes, Error> {
    let batch = input.first().copied().unwrap_or(0);
    let example = Shape::from(input.get(1..).unwrap_or_default());
    let g = layer.geometry(batch, &example)?;
    let shapes = [g.input_shape(), g.weight_shape(), g.output_shape()];
    Ok(shapes.map(Shape::from))
}

fn transpose_shapes(layer: &wgpu_cnn::ConvTranspose2d, input: &Shape) -> Result<Shapes, Error> {
    let batch = input.first().copied().unwrap_or(0);
    let example = Shape::from(input.get(1..).unwrap_or_default());
    let g = layer.geometry(batch, &example)?;
    let shapes = [g.output_shape(), g.weight_shape(), g.input_shape()];
    Ok(shapes.map(Shape::from))
}

fn conv2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv2d(d), images(d));
    let [_, weight, _] = conv2d_shapes(&layer, &input)?;
    let bias = tensor(d, [layer.out_channels])?;
    let (x, weight) = (tensor(d, input)?, tensor(d, weight)?);
    ops::conv2d_forward(&x, &weight, d.flag().then_some(&bias), &layer).map(drop)
}

fn conv2d_backward_input(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv2d(d), images(d));
    let [_, weight, output] = conv2d_shapes(&layer, &input)?;
    let (gy, weight) = (tensor(d, output)?, tensor(d, weight)?);
    let input = if d.is_hostile() { d.shape() } else { input };
    ops::conv2d_backward_input(&gy, &weight, input, &layer).map(drop)
}

fn conv2d_backward_weight(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv2d(d), images(d));
    let [_, _, output] = conv2d_shapes(&layer, &input)?;
    ops::conv2d_backward_weight(&tensor(d, input)?, &tensor(d, output)?, &layer).map(drop)
}

fn conv_transpose2d_forward(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv_transpose2d(d), images(d));
    let [_, weight, _] = transpose_shapes(&layer, &input)?;
    let bias = tensor(d, [layer.out_channels])?;
    let (x, weight) = (tensor(d, input)?, tensor(d, weight)?);
    ops::conv_transpose2d_forward(&x, &weight, d.flag().then_some(&bias), &layer).map(drop)
}

fn conv_transpose2d_backward_input(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv_transpose2d(d), images(d));
    let [_, weight, output] = transpose_shapes(&layer, &input)?;
    let (gy, weight) = (tensor(d, output)?, tensor(d, weight)?);
    let input = if d.is_hostile() { d.shape() } else { input };
    ops::conv_transpose2d_backward_input(&gy, &weight, input, &layer).map(drop)
}

fn conv_transpose2d_backward_weight(d: &mut Draw) -> Done {
    let (layer, input) = (op::conv_transpose2d(d), images(d));
    let [_, _, output] = transpose_shapes(&layer, &input)?;
    let (x, gy) = (tensor(d, input)?, tensor(d, output)?);
    ops::conv_transpose2d_backward_weight(&x, &gy, &layer).map(drop)
}

fn bias_gradient(d: &mut Draw) -> Done {
    let shape = images(d);
    ops::bias_gradient(&tensor(d, shape)?).map(drop)
}

fn dropout(d: &mut Draw) -> Done {
    let (shape, [seed, step, layer]) = (d.shape(), d.numbers());
    let x = tensor(d, shape)?;
    ops::dropout(&x, d.real(), seed as u64, step as u64, layer as u32).map(drop)
}

fn dropout_spans(d: &mut Draw) -> Done {
    let (shape, [seed, step, layer, span]) = (d.shape(), d.numbers());
    let x = tensor(d, shape)?;
    let counted = [seed, step].map(|number| number as u64);
    ops::dropout_spans(&x, d.real(), span, counted[0], counted[1], layer as u32).map(drop)
}

fn pad2d_forward(d: &mut Draw) -> Done {
    let (layer, shape) = (op::pad2d(d), images(d));
    ops::pad2d_forward(&tensor(d, shape)?, &layer).map(drop)
}

fn pad2d_backward(d: &mut Draw) -> Done {
    let (layer, shape) = (op::pad2d(d), images(d));
    let example = Shape::from(shape.get(1..).unwrap_or_default());
    let geometry = layer.geometry(shape.first().copied().unwrap_or(0), &example)?;
    let (size, mut output) = (geometry.out_size(), shape.to_vec());
    if let [.., height, width] = &mut output[..] {
        *width = size.width;
        *height = if shape.rank() == 4 {
            size.height
        } else {
            *height
        };
    }
    ops::pad2d_backward(&tensor(d, output)?, shape, &layer).map(drop)
}

fn prelu_weights(d: &mut Draw, shape: &Shape) -> Result<Tensor, Error> {
    let channels = shape.get(1).copied().unwrap_or(1);
    let weights = if d.flag() { 1 } else { channels };
    tensor(d, [weights])
}

fn prelu_forward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let weight = prelu_weights(d, &shape)?;
    ops::prelu_forward(&tensor(d, shape)?, &weight).map(drop)
}

fn prelu_backward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let weight = prelu_weights(d, &shape)?;
    let (x, gy) = (tensor(d, &shape)?, tensor(d, shape)?);
    ops::prelu_backward(&x, &weight, &gy).map(drop)
}

fn loss(d: &mut Draw) -> Done {
    let [rows, classes, plane] = d.numbers();
    let (target, shape) = match d.below(3) {
        0 => (target(d, rows, classes), Shape::from([rows, classes])),
        1 => {
            let pixels = Draw::elements(&[rows, plane]);
            (target(d, pixels, classes), [rows, classes, plane].into())
        }
        _ => {
            let outputs = Draw::elements(&[classes, plane]);
            (target(d, rows, outputs), [rows, classes, plane].into())
        }
    };
    let output = tensor(d, shape)?;
    ops::loss(&output, target, op::loss(d, classes)).map(drop)
}

fn matmul(d: &mut Draw) -> Done {
    let [m, n, k] = d.numbers();
    let (a, b) = (tensor(d, [m, k])?, tensor(d, [k, n])?);
    ops::matmul(&a, d.is_hostile(), &b, d.is_hostile()).map(drop)
}

fn linear_forward(d: &mut Draw) -> Done {
    let [rows, inputs, outputs] = d.numbers();
    let (x, weight) = (tensor(d, [rows, inputs])?, tensor(d, [outputs, inputs])?);
    let bias = tensor(d, [outputs])?;
    ops::linear_forward(&x, &weight, d.flag().then_some(&bias)).map(drop)
}

fn optimizer_update(d: &mut Draw) -> Done {
    let (optimizer, shape) = (op::optimizer(d), d.shape());
    let (w, g, step) = (tensor(d, &shape)?, tensor(d, &shape)?, d.number() as u64);
    let slots = d.length(optimizer.state_slots());
    let state: Result<Vec<_>, _> = (0..slots.min(4)).map(|_| tensor(d, &shape)).collect();
    ops::optimizer_update(optimizer, step, &w, &g, &state?).map(drop)
}

fn average_update(d: &mut Draw) -> Done {
    let (average, update, shape) = (op::average(d), d.number() as u64, d.shape());
    let (w, averaged) = (tensor(d, &shape)?, tensor(d, &shape)?);
    ops::average_update(&average, update, &w, &averaged).map(drop)
}

fn softmax_forward(d: &mut Draw) -> Done {
    let shape = d.shape();
    ops::softmax_forward(&tensor(d, shape)?, &op::softmax(d)).map(drop)
}

fn softmax_backward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let (y, gy) = (tensor(d, &shape)?, tensor(d, &shape)?);
    ops::softmax_backward(&y, &gy, &op::softmax(d)).map(drop)
}
