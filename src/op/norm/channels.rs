//! Layer normalisation over the channels of each position.

use super::affine;
use crate::op::{Definition, ParameterSpec, check_epsilon, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// Layer normalisation (Ba et al. 2016) of `(N, C, ...)` over the channels of each position by itself,
/// as ConvNeXt has it (Liu et al. 2022): `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` with
/// a gamma and a beta `(C)`. torchvision calls it `LayerNorm2d`.
///
/// ```
/// use wgpu_cnn::{LayerNormChannels, Model};
/// let norm = LayerNormChannels::new().epsilon(1e-6);
/// let model = Model::builder([96, 14, 14]).push(norm).build()?;
/// assert_eq!(model.parameter_count(), 2 * 96);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNormChannels {
    /// Keeps the division finite. Default 1e-5; ConvNeXt has 1e-6.
    pub epsilon: f64,
    /// Whether there are gamma and beta. Default yes.
    pub affine: bool,
}

impl Default for LayerNormChannels {
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            affine: true,
        }
    }
}

impl LayerNormChannels {
    /// Normalisation over the channels with PyTorch's defaults.
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

    /// `[N, C, plane]` for `batch` examples of shape `input`, `[C, ...]`: the channels of each of
    /// `N * plane` positions are normalised together.
    pub fn extents(&self, batch: usize, input: &Shape) -> Result<[usize; 3]> {
        check_epsilon("layer_norm_channels", self.epsilon)?;
        countable("layer_norm_channels", &input.batched(batch))?;
        match input[..] {
            [channels, ref plane @ ..] if !input.is_empty() => {
                Ok([batch, channels, elements(plane)])
            }
            _ => Err(Error::shape(
                "layer_norm_channels",
                "channels [C, ...]",
                input,
            )),
        }
    }
}

impl Definition for LayerNormChannels {
    fn name(&self) -> &'static str {
        "layer_norm_channels"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only("layer_norm_channels", inputs)?.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let [_, channels, _] = self.extents(1, only("layer_norm_channels", inputs)?)?;
        Ok(affine(self.affine, &[channels].into()))
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
