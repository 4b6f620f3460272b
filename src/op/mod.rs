//! What each operator, loss and optimizer is: hyper-parameters and shape arithmetic, plain data
//! without execution.

mod activation;
mod conv2d;
mod init;
mod linear;
mod loss;
mod optimizer;
mod pool2d;
mod window;

pub use activation::Activation;
pub use conv2d::{Conv2d, Conv2dGeometry};
pub use init::Init;
pub use linear::{Linear, LinearGeometry};
pub use loss::{Loss, LossGeometry, Reduction, Target};
pub use optimizer::{Adam, Optimizer, Sgd};
pub use pool2d::{MaxPool2d, Pool2dGeometry};
pub use window::{Padding, Size2};

use crate::{Error, Result, Shape};

/// An operator of a model. The set is closed: a `match` over it lists every place that a new one
/// needs code.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Convolution.
    Conv2d(Conv2d),
    /// Max-pooling.
    MaxPool2d(MaxPool2d),
    /// A dense layer.
    Linear(Linear),
    /// An element-wise function.
    Activation(Activation),
    /// All axes made one.
    Flatten,
    /// The sum of two values of one shape.
    Add,
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
op_from!(Conv2d, MaxPool2d, Linear, Activation);

impl Op {
    /// The operator's name in messages and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::MaxPool2d(_) => "max_pool2d",
            Self::Linear(_) => "linear",
            Self::Activation(activation) => activation.name(),
            Self::Flatten => "flatten",
            Self::Add => "add",
        }
    }

    /// The shape of one example's output, from those of its inputs.
    pub(crate) fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = inputs[0];
        match self {
            Self::Conv2d(conv) => conv.output_shape(input),
            Self::MaxPool2d(pool) => pool.output_shape(input),
            Self::Linear(linear) => linear.output_shape(input),
            Self::Activation(_) => Ok(input.clone()),
            Self::Flatten => Ok([input.len()].into()),
            Self::Add if inputs[0] == inputs[1] => Ok(input.clone()),
            Self::Add => Err(Error::shape(
                "add",
                format!("two values of {input}"),
                inputs[1],
            )),
        }
    }

    /// What the operator learns, from the shape of one example's input.
    pub(crate) fn parameters(&self, input: &Shape) -> Result<Vec<ParameterSpec>> {
        match self {
            Self::Conv2d(conv) => conv.parameters(input),
            Self::Linear(linear) => linear.parameters(input),
            Self::MaxPool2d(_) | Self::Activation(_) | Self::Flatten | Self::Add => Ok(Vec::new()),
        }
    }
}

/// A learned tensor: its name within the layer, its shape, and how it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParameterSpec {
    pub name: &'static str,
    pub shape: Shape,
    pub init: Init,
    pub fan_in: usize,
    pub fan_out: usize,
}

impl ParameterSpec {
    fn zeros(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            shape,
            init: Init::Constant(0.0),
            fan_in: 0,
            fan_out: 0,
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
