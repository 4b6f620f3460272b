//! Element-wise non-linear functions.

use super::{Definition, ParameterSpec, only};
use crate::{Error, Result, Shape};

/// An element-wise non-linear function. Each passes NaN through, forward and backward.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`. Its gradient is zero where `x <= 0`.
    Relu,
    /// The logistic function `1 / (1 + exp(-x))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` where `x > 0`, else `slope * x`; the slope is usually 0.01.
    LeakyRelu {
        /// The slope for negative arguments, not negative itself.
        slope: f32,
    },
    /// `x * Phi(x)` with the normal distribution's `Phi`, through the error function (Hendrycks and
    /// Gimpel 2016).
    Gelu,
    /// GELU's approximation `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `log(1 + exp(x))`, and `x` itself above 20, as in PyTorch.
    Softplus,
}

impl Activation {
    /// Every activation, in the order of the shaders' numbers from 1 on.
    pub const ALL: [Self; 8] = [
        Self::Relu,
        Self::Sigmoid,
        Self::Tanh,
        Self::LeakyRelu { slope: 0.01 },
        Self::Gelu,
        Self::GeluTanh,
        Self::Silu,
        Self::Softplus,
    ];

    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Silu => "silu",
            Self::Softplus => "softplus",
        }
    }

    /// The number that stands for this function in the shaders, where 0 is the identity.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Relu => 1,
            Self::Sigmoid => 2,
            Self::Tanh => 3,
            Self::LeakyRelu { .. } => 4,
            Self::Gelu => 5,
            Self::GeluTanh => 6,
            Self::Silu => 7,
            Self::Softplus => 8,
        }
    }

    /// The slope for negative arguments, where that is a parameter.
    pub(crate) fn slope(self) -> f32 {
        match self {
            Self::LeakyRelu { slope } => slope,
            _ => 0.0,
        }
    }

    /// Whether the gradient follows from the function's value alone, without its argument. Such a
    /// function can be part of the product before it.
    pub(crate) fn gradient_from_value(self) -> bool {
        matches!(
            self,
            Self::Relu | Self::Sigmoid | Self::Tanh | Self::LeakyRelu { .. }
        )
    }
}

impl Definition for Activation {
    fn name(&self) -> &'static str {
        Activation::name(*self)
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("activation", inputs)?;
        match self {
            Self::LeakyRelu { slope } if !(*slope >= 0.0 && slope.is_finite()) => Err(
                Error::argument("leaky_relu slope", format!("{slope} is not positive")),
            ),
            _ => Ok(input.clone()),
        }
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
    }

    fn is_view(&self) -> bool {
        false
    }

    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    fn check_training(&self, _: usize, _: &[&Shape]) -> Result<()> {
        Ok(())
    }

    fn reads_half(&self, _: usize) -> bool {
        false
    }
}
