//! What each operator, loss and optimizer is: hyper-parameters and shape arithmetic, plain data
//! without execution.
#![deny(clippy::wildcard_enum_match_arm)]

mod activation;
mod adaptive_pool2d;
mod average;
mod broadcast;
mod bytes;
mod concat;
mod conv2d;
mod conv_transpose2d;
pub(crate) mod dropout;
mod init;
mod linear;
mod local_response_norm;
mod loss;
mod norm;
mod optimizer;
mod pad2d;
mod pixel_shuffle;
mod pointwise_linear;
mod pool2d;
mod prelu;
mod scale;
mod select;
mod signal;
mod softmax;
mod target;
mod upsample2d;
mod view;
mod window;

pub use activation::Activation;
pub(crate) use activation::Arithmetic;
pub use adaptive_pool2d::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AdaptivePool2dGeometry};
pub use average::Average;
pub use broadcast::{Add, BroadcastGeometry, Mul, Spread};
pub(crate) use bytes::Bytes;
#[cfg(feature = "data")]
pub(crate) use bytes::{brightness, check_normalise, normalised};
pub use concat::Concat;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::{Conv2d, Conv2dGeometry};
pub use dropout::{DropUnit, Dropout};
pub use init::Init;
pub(crate) use init::philox4x32;
pub use linear::{Linear, LinearGeometry};
pub use local_response_norm::LocalResponseNorm;
pub use loss::{
    BinaryCrossEntropy, Broadcast, CrossEntropy, Dice, DiceOutput, Loss, LossGeometry,
    NegativeLogLikelihood, Reduction,
};
pub(crate) use norm::check_momentum;
pub use norm::{
    BatchNorm, BatchNormGeometry, GroupNorm, GroupNormGeometry, InstanceNorm, LayerNorm,
    LayerNormChannels,
};
pub(crate) use optimizer::Hyper;
pub use optimizer::{Adadelta, Adagrad, Adam, Lion, NAdam, Optimizer, RmsProp, Sgd};
pub use pad2d::{Pad2d, Pad2dGeometry, PaddingMode};
pub use pixel_shuffle::{PixelShuffle, PixelShuffleGeometry, PixelUnshuffle};
pub use pointwise_linear::PointwiseLinear;
pub use pool2d::{AvgPool2d, GlobalPool, MaxPool2d, Pool2dGeometry};
pub use prelu::{Prelu, PreluGeometry};
pub use scale::{Scale, ScaleGeometry};
pub(crate) use select::check_index;
pub use select::{ChannelPermute, ChannelShuffle, SelectGeometry, Slice};
pub use signal::{AvgPool1d, Conv1d, MaxPool1d};
pub use softmax::{Softmax, SoftmaxGeometry};
pub use target::Target;
pub(crate) use upsample2d::{Axis, Position};
pub use upsample2d::{Interpolation, Resize, Upsample2d, Upsample2dGeometry};
pub use view::{Flatten, Reshape};
pub use window::{Padding, Size2};

use std::ops::{Bound, RangeBounds};

use crate::shape::elements;
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

    /// The multiplications of its products for one example, each with its addition: what its kernels say
    /// that they compute ([`Recording::flops`](crate::gpu::record::Recording::flops)) is twice that for each of
    /// its passes. 0 where memory bounds it.
    fn multiply_adds(&self, inputs: &[&Shape]) -> Result<u64>;
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
            /// Planes made larger or smaller by interpolation.
            Upsample2d,
            /// Channels laid out as pixels.
            PixelShuffle,
            /// Pixels laid out as channels.
            PixelUnshuffle,
            /// Mean pooling to a size.
            AdaptiveAvgPool2d,
            /// Max-pooling to a size.
            AdaptiveMaxPool2d,
            /// Values around planes.
            Pad2d,
            /// A dense layer.
            Linear,
            /// An element-wise function.
            Activation,
            /// ReLU with learned slopes.
            Prelu,
            /// Softmax or its logarithm.
            Softmax,
            /// Batch normalisation.
            BatchNorm,
            /// Layer normalisation.
            LayerNorm,
            /// Layer normalisation over the channels of each position.
            LayerNormChannels,
            /// Group and instance normalisation.
            GroupNorm,
            /// Local response normalisation.
            LocalResponseNorm,
            /// Values made zero at random in training.
            Dropout,
            /// All axes made one.
            Flatten,
            /// Another shape of as many elements.
            Reshape,
            /// The sum of two values.
            Add,
            /// The product of two values, element by element.
            Mul,
            /// A learned factor for each channel.
            Scale,
            /// A dense layer over the channels of each pixel.
            PointwiseLinear,
            /// A range along an axis.
            Slice,
            /// The channels of groups, mixed.
            ChannelShuffle,
            /// Channels by their numbers.
            ChannelPermute,
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
    /// The same, and it is a whole number: it counts batches.
    Count,
    /// Nothing changes it.
    Constant,
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
    /// Into how many equal groups its first axis falls, where the operator's kernels can take it in
    /// pieces of that axis, each of whole groups or of a part of one. `None` where it must lie in one.
    pub groups: Option<usize>,
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
            groups: None,
        }
    }

    /// It may lie in several pieces of its first axis.
    fn in_pieces(self, groups: usize) -> Self {
        Self {
            groups: Some(groups),
            ..self
        }
    }

    fn zeros(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            ..Self::weight(shape, Init::Constant(0.0), [0, 0])
        }
    }
}

/// A product of extents, saturating.
pub(crate) fn saturating_product(extents: &[usize]) -> u64 {
    extents.iter().fold(1, |product: u64, &extent| {
        product.saturating_mul(extent as u64)
    })
}

/// Refuses more elements than a program can count.
fn countable(name: &str, extents: &[usize]) -> Result<()> {
    match elements(extents) {
        usize::MAX => {
            let reason = format!("{extents:?} makes more elements than can be addressed");
            Err(Error::argument(name, reason))
        }
        _ => Ok(()),
    }
}

/// Refuses a number outside its domain, NaN among them, and one that is infinite in the 32 bits that
/// kernels compute in.
pub(crate) fn within(name: &str, value: f64, domain: impl RangeBounds<f64>) -> Result<()> {
    let reason = if !domain.contains(&value) {
        let bound = |bound: Bound<&f64>| match bound {
            Bound::Included(bound) | Bound::Excluded(bound) => bound.to_string(),
            Bound::Unbounded => String::new(),
        };
        let (start, end) = (bound(domain.start_bound()), bound(domain.end_bound()));
        let closed = matches!(domain.end_bound(), Bound::Included(_));
        let dots = if closed { "..=" } else { ".." };
        format!("{value} is not within {start}{dots}{end}")
    } else if !(value as f32).is_finite() {
        format!("{value} is more than 32 bits hold")
    } else {
        return Ok(());
    };
    Err(Error::argument(name, reason))
}

/// What keeps a division finite, which may be zero.
pub(crate) fn check_epsilon(name: &str, epsilon: f64) -> Result<()> {
    check_small(&format!("{name} epsilon"), epsilon)
}

/// Refuses a number that is negative, and one above zero that kernels take for zero.
fn check_small(name: &str, value: f64) -> Result<()> {
    if value > 0.0 && value < f64::from(f32::MIN_POSITIVE) {
        return Err(Error::argument(name, format!("{value} is zero in 32 bits")));
    }
    within(name, value, 0.0..f64::INFINITY)
}

/// Refuses a norm to clip gradients to that is not above zero, as a number of 32 bits.
pub(crate) fn check_clip_norm(norm: f64) -> Result<()> {
    match norm <= 0.0 || norm.is_nan() {
        true => Err(Error::argument("clip_norm", "must be above zero")),
        false => check_small("clip_norm", norm),
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

#[cfg(test)]
mod tests;
