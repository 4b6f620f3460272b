//! Normalisation.

use super::{
    Definition, Init, ParameterKind, ParameterSpec, check_epsilon, countable, only, within,
};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// Batch normalisation (Ioffe and Szegedy 2015) of `(N, C, ...)`, channel by channel:
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`.
///
/// In training mean and (biased) variance are those of the batch, and running estimates of them are
/// kept as PyTorch does: `running = (1 - momentum) * running + momentum * batch`, with the unbiased
/// variance. In evaluation the running estimates take their place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    /// Keeps the division finite. Default 1e-5.
    pub epsilon: f64,
    /// The share of the newest batch in the running estimates. Default 0.1.
    pub momentum: f64,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            momentum: 0.1,
        }
    }
}

impl BatchNorm {
    /// Batch normalisation with PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the term that keeps the division finite.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the share of the newest batch in the running estimates.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// The resolved extents for `batch` examples of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<BatchNormGeometry> {
        check_epsilon("batch_norm", self.epsilon)?;
        check_momentum(self.momentum)?;
        countable("batch_norm", &input.batched(batch))?;
        match input[..] {
            [channels, ref plane @ ..] if !input.is_empty() => Ok(BatchNormGeometry {
                batch,
                channels,
                plane: elements(plane),
            }),
            _ => Err(Error::shape("batch_norm", "channels [C, ...]", input)),
        }
    }
}

/// Refuses a share of the newest batch that is none.
pub(crate) fn check_momentum(momentum: f64) -> Result<()> {
    within("batch_norm momentum", momentum, 0.0..=1.0)
}

impl Definition for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only("batch_norm", inputs)?.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let input = only("batch_norm", inputs)?;
        let channels = self.geometry(1, input)?.channels;
        let constant = |name, value| ParameterSpec {
            init: Init::Constant(value),
            ..ParameterSpec::zeros(name, [channels].into())
        };
        let statistic = |name, value| ParameterSpec {
            kind: ParameterKind::Statistic,
            ..constant(name, value)
        };
        Ok(vec![
            constant("weight", 1.0),
            constant("bias", 0.0),
            statistic("running_mean", 0.0),
            statistic("running_var", 1.0),
        ])
    }

    fn is_view(&self) -> bool {
        false
    }

    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    fn check_training(&self, batch: usize, inputs: &[&Shape]) -> Result<()> {
        self.geometry(batch, only("batch_norm", inputs)?)?
            .check_training()
    }

    fn reads_half(&self, _: usize) -> bool {
        false
    }
}

/// Every extent of a batch normalisation, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchNormGeometry {
    /// Examples.
    pub batch: usize,
    /// Channels, each normalised by itself.
    pub channels: usize,
    /// Values of a channel in one example.
    pub plane: usize,
}

impl BatchNormGeometry {
    /// Values of a channel in the whole batch: those that its mean is taken over. Saturates where the
    /// product outgrows `usize`.
    pub fn count(&self) -> usize {
        self.batch.saturating_mul(self.plane)
    }

    /// Refuses, as PyTorch does, a training batch with one value per channel: it has no variance, and
    /// every output would be beta.
    pub(crate) fn check_training(&self) -> Result<()> {
        if self.count() < 2 {
            let expected = "more than one value per channel in training";
            return Err(Error::shape("batch_norm", expected, self.count()));
        }
        Ok(())
    }
}

/// Layer normalisation (Ba et al. 2016): each example by itself, over its whole shape, as
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` with a gamma and a beta per element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNorm {
    /// Keeps the division finite. Default 1e-5.
    pub epsilon: f64,
}

impl Default for LayerNorm {
    fn default() -> Self {
        Self { epsilon: 1e-5 }
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
        let ones = ParameterSpec {
            init: Init::Constant(1.0),
            ..ParameterSpec::zeros("weight", input.clone())
        };
        Ok(vec![ones, ParameterSpec::zeros("bias", input.clone())])
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
