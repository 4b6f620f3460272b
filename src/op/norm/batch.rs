//! Batch normalisation.

use super::affine;
use crate::op::{
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
    /// The share of the newest batch in the running estimates, default 0.1. `None` for the average of
    /// all batches: the share of the `n`-th is `1 / n`, and `num_batches_tracked`, a statistic, counts
    /// them.
    pub momentum: Option<f64>,
    /// Whether there are gamma and beta; without, `y = (x - mean) / sqrt(variance + epsilon)`. Default
    /// yes.
    pub affine: bool,
    /// Whether it evaluates in training too: by the running estimates, which stay as they are, and are
    /// constants to the gradients. Gamma and beta are learned. Default no.
    pub frozen: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            momentum: Some(0.1),
            affine: true,
            frozen: false,
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

    /// Sets the share of the newest batch in the running estimates: a number, or `None` for the average
    /// of all batches.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Leaves gamma and beta out or puts them in.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Makes it evaluate in training too, or not.
    pub fn frozen(mut self, frozen: bool) -> Self {
        self.frozen = frozen;
        self
    }

    /// The place of the first statistic among the parameters.
    pub(crate) fn first_statistic(&self) -> usize {
        if self.affine { 2 } else { 0 }
    }

    /// The resolved extents for `batch` examples of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<BatchNormGeometry> {
        check_epsilon("batch_norm", self.epsilon)?;
        self.momentum.map_or(Ok(()), check_momentum)?;
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
        let statistic = |name, value| ParameterSpec {
            init: Init::Constant(value),
            kind: ParameterKind::Statistic,
            ..ParameterSpec::zeros(name, [channels].into())
        };
        let mut parameters = affine(self.affine, &[channels].into());
        parameters.push(statistic("running_mean", 0.0));
        parameters.push(statistic("running_var", 1.0));
        if self.momentum.is_none() {
            parameters.push(ParameterSpec {
                shape: [].into(),
                kind: ParameterKind::Count,
                ..statistic("num_batches_tracked", 0.0)
            });
        }
        Ok(parameters)
    }

    fn is_view(&self) -> bool {
        false
    }

    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    fn check_training(&self, batch: usize, inputs: &[&Shape]) -> Result<()> {
        let geometry = self.geometry(batch, only("batch_norm", inputs)?)?;
        match self.frozen {
            true => Ok(()),
            false => geometry.check_training(),
        }
    }

    fn reads_half(&self, _: usize) -> bool {
        false
    }

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
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
