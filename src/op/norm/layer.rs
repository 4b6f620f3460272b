//! Layer normalisation.

use super::affine;
use crate::op::{Definition, ParameterSpec, check_epsilon, only};
use crate::{Result, Shape};

/// Layer normalisation (Ba et al. 2016): each example by itself, over its whole shape, as
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` with a gamma and a beta per element.
/// [`LayerNormChannels`](super::LayerNormChannels) is that over the channels of each pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// Keeps the division finite. Default 1e-5.
    pub epsilon: f64,
    /// Whether there are gamma and beta; without, `y = (x - mean) / sqrt(variance + epsilon)`. Default
    /// yes.
    pub affine: bool,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            affine: true,
        }
    }
}

impl LayerNorm {
    /// Layer normalisation with PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the term that keeps the division finite.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Leaves gamma and beta out or puts them in.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }
}

impl Definition for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only("layer_norm", inputs)?.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let input = only("layer_norm", inputs)?;
        check_epsilon("layer_norm", self.epsilon)?;
        Ok(affine(self.affine, input))
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

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
    }
}
