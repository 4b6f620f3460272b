//! What each operator, loss and optimizer is: hyper-parameters and shape arithmetic, plain data
//! without execution.
#![deny(clippy::wildcard_enum_match_arm)]

mod activation;
mod add;
mod concat;
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
mod target;
mod view;
mod window;

pub use activation::Activation;
pub(crate) use activation::Arithmetic;
pub use add::Add;
pub use concat::Concat;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, Conv2dGeometry};
pub use dropout::Dropout;
pub use init::Init;
pub(crate) use init::philox4x32;
pub use linear::{Linear, LinearGeometry};
pub use loss::{CrossEntropy, Loss, LossGeometry, Reduction};
pub use norm::{BatchNorm, BatchNormGeometry, LayerNorm};
pub use optimizer::{Adam, Optimizer, RmsProp, Sgd};
pub use pool2d::{AvgPool2d, GlobalPool, MaxPool2d, Pool2dGeometry};
pub use signal::{AvgPool1d, Conv1d, MaxPool1d};
pub use softmax::{Softmax, SoftmaxGeometry};
pub use target::Target;
pub use view::{Flatten, Reshape};
pub use window::{Padding, Size2};

use crate::{Error, Result, Shape};

/// What an operator is: its name, its shapes and its parameters, without execution. Nothing has a
/// default, so that a new operator answers every question.
pub(crate) trait Definition {
    /// The name in messages and reports.
    fn name(&self) -> &'static str;

    /// The shape of one example's output, from those of its inputs.
    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape>;

    /// What it keeps, learned or gathered, from the shapes of one example's inputs.
    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>>;

    /// Whether the output is the input under another shape.
    fn is_view(&self) -> bool;

    /// Whether it hands its input on in evaluation.
    fn is_identity_in_evaluation(&self) -> bool;

    /// What a batch of training must satisfy beside having an example.
    fn check_training(&self, batch: usize, inputs: &[&Shape]) -> Result<()>;

    /// Whether its kernels read the parameter at a position as f16, where a model is in half
    /// precision: those that products multiply with.
    fn reads_half(&self, parameter: usize) -> bool;
}

/// Calls a macro with every operator: the variants of [`Op`], each of which holds the struct of its
/// own name. The one list of operators.
macro_rules! operators {
    ($then:ident) => {
        $then! {
            /// Convolution.
            Conv2d,
            /// Transpose convolution.
            ConvTranspose2d,
            /// Max-pooling.
            MaxPool2d,
            /// Mean pooling.
            AvgPool2d,
            /// Pooling over whole planes.
            GlobalPool,
            /// A dense layer.
            Linear,
            /// An element-wise function.
            Activation,
            /// Softmax or its logarithm.
            Softmax,
            /// Batch normalisation.
            BatchNorm,
            /// Layer normalisation.
            LayerNorm,
            /// Values made zero at random in training.
            Dropout,
            /// All axes made one.
            Flatten,
            /// Another shape of as many elements.
            Reshape,
            /// The sum of two values of one shape.
            Add,
            /// Values one after the other along their first axis, the channels.
            Concat,
        }
    };
}
pub(crate) use operators;

macro_rules! define_op {
    ($($(#[$meta:meta])* $operator:ident,)*) => {
        /// An operator of a model. The set is closed: a `match` over it lists every place that a new
        /// one needs code.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Op {
            $($(#[$meta])* $operator($operator),)*
        }

        impl Op {
            /// What the operator is.
            pub(crate) fn definition(&self) -> &dyn Definition {
                match self {
                    $(Self::$operator(operator) => operator,)*
                }
            }
        }

        $(impl From<$operator> for Op {
            fn from(operator: $operator) -> Self {
                Self::$operator(operator)
            }
        })*
    };
}
operators!(define_op);

impl Op {
    /// The operator's name in messages and reports.
    pub fn name(&self) -> &'static str {
        self.definition().name()
    }
}

/// The input of an operator that takes one.
fn only<'a>(name: &str, inputs: &[&'a Shape]) -> Result<&'a Shape> {
    match inputs {
        [input] => Ok(input),
        _ => Err(Error::shape(name, "one input", inputs.len())),
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
