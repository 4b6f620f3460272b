//! What each operator, loss and optimizer is: hyper-parameters and shape arithmetic, plain data
//! without execution.

mod activation;
mod conv2d;
mod conv_transpose2d;
pub(crate) mod dropout;
mod init;
mod linear;
mod loss;
mod norm;
mod optimizer;
mod pool2d;
mod signal;
mod softmax;
mod window;

pub use activation::Activation;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, Conv2dGeometry};
pub use init::Init;
pub(crate) use init::philox4x32;
pub use linear::{Linear, LinearGeometry};
pub use loss::{CrossEntropy, Loss, LossGeometry, Reduction, Target};
pub use norm::{BatchNorm, BatchNormGeometry, LayerNorm};
pub use optimizer::{Adam, Optimizer, RmsProp, Sgd};
pub use pool2d::{AvgPool2d, GlobalPool, MaxPool2d, Pool2dGeometry};
pub use signal::{AvgPool1d, Conv1d, MaxPool1d};
pub use softmax::{Softmax, SoftmaxGeometry};
pub use window::{Padding, Size2};

use crate::{Error, Result, Shape};

/// An operator of a model. The set is closed: a `match` over it lists every place that a new one
/// needs code.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Convolution.
    Conv2d(Conv2d),
    /// Transpose convolution.
    ConvTranspose2d(ConvTranspose2d),
    /// Max-pooling.
    MaxPool2d(MaxPool2d),
    /// Mean pooling.
    AvgPool2d(AvgPool2d),
    /// Pooling over whole planes.
    GlobalPool(GlobalPool),
    /// A dense layer.
    Linear(Linear),
    /// An element-wise function.
    Activation(Activation),
    /// Softmax or its logarithm.
    Softmax(Softmax),
    /// Batch normalisation.
    BatchNorm(BatchNorm),
    /// Layer normalisation.
    LayerNorm(LayerNorm),
    /// In training, each value is zero with this probability and `1 / (1 - probability)` times
    /// itself otherwise (Srivastava et al. 2014); in evaluation it stays as it is.
    Dropout(f64),
    /// All axes made one.
    Flatten,
    /// Another shape of as many elements.
    Reshape(Shape),
    /// The sum of two values of one shape.
    Add,
    /// Values one after the other along their first axis, the channels.
    Concat,
}

macro_rules! op_from {
    ($($layer:ident),*) => {$(
        impl From<$layer> for Op {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        }
    )*};
}
op_from!(
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    AvgPool2d,
    GlobalPool,
    Linear,
    Activation,
    Softmax,
    BatchNorm,
    LayerNorm
);

impl Op {
    /// The operator's name in messages and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::ConvTranspose2d(_) => "conv_transpose2d",
            Self::MaxPool2d(_) => "max_pool2d",
            Self::AvgPool2d(_) => "avg_pool2d",
            Self::GlobalPool(pool) => pool.name(),
            Self::Linear(_) => "linear",
            Self::Activation(activation) => activation.name(),
            Self::Softmax(Softmax { log: false, .. }) => "softmax",
            Self::Softmax(Softmax { log: true, .. }) => "log_softmax",
            Self::BatchNorm(_) => "batch_norm",
            Self::LayerNorm(_) => "layer_norm",
            Self::Dropout(_) => "dropout",
            Self::Flatten => "flatten",
            Self::Reshape(_) => "reshape",
            Self::Add => "add",
            Self::Concat => "concat",
        }
    }

    /// The shape of one example's output, from those of its inputs.
    pub(crate) fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = inputs[0];
        match self {
            Self::Conv2d(conv) => conv.output_shape(input),
            Self::ConvTranspose2d(conv) => conv.output_shape(input),
            Self::MaxPool2d(pool) => pool.output_shape(input),
            Self::AvgPool2d(pool) => pool.output_shape(input),
            Self::GlobalPool(pool) => pool.output_shape(input),
            Self::Linear(linear) => linear.output_shape(input),
            Self::Activation(activation) => activation.check().map(|()| input.clone()),
            Self::Softmax(softmax) => softmax.geometry(1, input).map(|_| input.clone()),
            Self::Dropout(p) if !(0.0..1.0).contains(p) => Err(Error::argument(
                "dropout probability",
                format!("{p} is not within 0..1"),
            )),
            Self::BatchNorm(_) | Self::LayerNorm(_) | Self::Dropout(_) => Ok(input.clone()),
            Self::Flatten => Ok([input.len()].into()),
            Self::Reshape(shape) if shape.len() == input.len() => Ok(shape.clone()),
            Self::Reshape(shape) => Err(Error::shape(
                "reshape",
                format!("{} elements for {shape}", shape.len()),
                input,
            )),
            Self::Add if inputs[0] == inputs[1] => Ok(input.clone()),
            Self::Add => Err(Error::shape(
                "add",
                format!("two values of {input}"),
                inputs[1],
            )),
            Self::Concat => concat_shape(inputs),
        }
    }

    /// What the operator learns, from the shape of one example's input.
    pub(crate) fn parameters(&self, input: &Shape) -> Result<Vec<ParameterSpec>> {
        match self {
            Self::Conv2d(conv) => conv.parameters(input),
            Self::ConvTranspose2d(conv) => conv.parameters(input),
            Self::Linear(linear) => linear.parameters(input),
            Self::BatchNorm(norm) => norm.parameters(input),
            Self::LayerNorm(norm) => norm.parameters(input),
            Self::MaxPool2d(_)
            | Self::AvgPool2d(_)
            | Self::GlobalPool(_)
            | Self::Activation(_)
            | Self::Softmax(_)
            | Self::Dropout(_)
            | Self::Flatten
            | Self::Reshape(_)
            | Self::Add
            | Self::Concat => Ok(Vec::new()),
        }
    }

    /// Whether the output is the input under another shape.
    pub(crate) fn is_view(&self) -> bool {
        matches!(self, Self::Flatten | Self::Reshape(_))
    }

    /// Whether it multiplies its input with its weights.
    pub(crate) fn is_product(&self) -> bool {
        matches!(
            self,
            Self::Conv2d(_) | Self::ConvTranspose2d(_) | Self::Linear(_)
        )
    }
}

/// Whether a parameter is learned or gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// The optimizer changes it.
    Learned,
    /// The forward pass of training changes it.
    Statistic,
}

/// A tensor that a model keeps: its name within the layer, its shape, and how it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParameterSpec {
    pub name: &'static str,
    pub shape: Shape,
    pub kind: ParameterKind,
    pub init: Init,
    pub fan_in: usize,
    pub fan_out: usize,
}

impl ParameterSpec {
    fn weight(shape: Shape, init: Init, [fan_in, fan_out]: [usize; 2]) -> Self {
        let kind = ParameterKind::Learned;
        Self {
            name: "weight",
            shape,
            kind,
            init,
            fan_in,
            fan_out,
        }
    }

    fn zeros(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            ..Self::weight(shape, Init::Constant(0.0), [0, 0])
        }
    }
}

/// `[C, H, W]` of an image; a signal of `[C, L]` is an image of height 1.
fn image(name: &str, shape: &Shape) -> Result<[usize; 3]> {
    let extents = match shape[..] {
        [channels, height, width] => [channels, height, width],
        [channels, length] => [channels, 1, length],
        _ => {
            return Err(Error::shape(
                name,
                "an image [C, H, W] or a signal [C, L]",
                shape,
            ));
        }
    };
    if extents.contains(&0) {
        return Err(Error::shape(name, "extents above zero", shape));
    }
    Ok(extents)
}

/// A shape of `channels` and `size` with as many axes as `input`.
fn like_image(input: &Shape, channels: usize, size: Size2) -> Shape {
    match input.rank() {
        2 => [channels, size.width].into(),
        _ => [channels, size.height, size.width].into(),
    }
}

/// The shape of values one after the other along their first axis.
fn concat_shape(inputs: &[&Shape]) -> Result<Shape> {
    let first = inputs[0];
    let other = inputs.iter().find(|input| input.get(1..) != first.get(1..));
    if let Some(other) = other {
        let expected = format!("values like {first} but for the first axis");
        return Err(Error::shape("concat", expected, other));
    }
    let mut extents = first.to_vec();
    match extents.first_mut() {
        Some(channels) => *channels = inputs.iter().map(|input| input[0]).sum(),
        None => return Err(Error::shape("concat", "values with a first axis", first)),
    }
    Ok(extents.into())
}
