//! Element-wise non-linear functions.

/// An element-wise non-linear function.
///
/// Each passes NaN through, forward and backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`. Its gradient is zero where `x <= 0`.
    Relu,
    /// The logistic function `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation, in the order of the shaders' numbers.
    pub const ALL: [Self; 3] = [Self::Relu, Self::Sigmoid, Self::Tanh];

    /// The name that the builder and the documentation use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
        }
    }

    /// The number that stands for this function in the shaders, where 0 is the identity.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Relu => 1,
            Self::Sigmoid => 2,
            Self::Tanh => 3,
        }
    }
}
