//! Group and instance normalisation.

use super::affine;
use crate::op::{Definition, Op, ParameterSpec, check_epsilon, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// Group normalisation (Wu and He 2018) of `(N, C, ...)`: the channels of an example fall into equal
/// groups of neighbours, and all values of a group are normalised together,
/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` with a gamma and a beta `(C)`. With one
/// channel a group it is [`InstanceNorm`].
///
/// ```
/// use wgpu_cnn::{GroupNorm, Model};
/// let model = Model::builder([8, 14, 14]).push(GroupNorm::new(4)).build()?;
/// assert_eq!(model.parameter_count(), 2 * 8);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNorm {
    /// How many groups the channels fall into; `None` for as many as there are channels, which is
    /// instance normalisation.
    pub groups: Option<usize>,
    /// Keeps the division finite. Default 1e-5.
    pub epsilon: f64,
    /// Whether there are gamma and beta. Default yes.
    pub affine: bool,
}

impl GroupNorm {
    /// Normalisation in so many groups with PyTorch's defaults.
    pub fn new(groups: usize) -> Self {
        Self {
            groups: Some(groups),
            epsilon: 1e-5,
            affine: true,
        }
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

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the channels do not fall into so many groups, or a channel that is
    /// normalised by itself has one position (as PyTorch refuses it: every output would be beta).
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<GroupNormGeometry> {
        let name = self.name();
        check_epsilon(name, self.epsilon)?;
        countable(name, &input.batched(batch))?;
        let [channels, ref plane @ ..] = input[..] else {
            return Err(Error::shape(name, "channels [C, ...]", input));
        };
        if input.is_empty() {
            return Err(Error::shape(name, "channels [C, ...]", input));
        }
        let plane = elements(plane);
        if self.groups.is_none() && plane < 2 {
            let expected = "more than one position per channel";
            return Err(Error::shape(name, expected, input));
        }
        let groups = self.groups.unwrap_or(channels);
        if groups == 0 || !channels.is_multiple_of(groups) {
            let expected = format!("channels in {groups} equal groups");
            return Err(Error::shape(name, expected, channels));
        }
        Ok(GroupNormGeometry {
            batch,
            channels,
            groups,
            plane,
        })
    }
}

/// Every extent of a group normalisation, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupNormGeometry {
    /// Examples.
    pub batch: usize,
    /// Channels of an example.
    pub channels: usize,
    /// Groups that they fall into.
    pub groups: usize,
    /// Values of a channel in one example.
    pub plane: usize,
}

impl GroupNormGeometry {
    /// `[rows, values]`: the groups of all examples, and the values that are normalised together. Both
    /// saturate where a product outgrows `usize`.
    pub fn rows(&self) -> [usize; 2] {
        let channels = self.channels.checked_div(self.groups).unwrap_or(0);
        [
            self.batch.saturating_mul(self.groups),
            channels.saturating_mul(self.plane),
        ]
    }
}

impl Definition for GroupNorm {
    fn name(&self) -> &'static str {
        match self.groups {
            Some(_) => "group_norm",
            None => "instance_norm",
        }
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok(only(self.name(), inputs)?.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let channels = self.geometry(1, only(self.name(), inputs)?)?.channels;
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

/// Instance normalisation (Ulyanov et al. 2016) of `(N, C, ...)`: each channel of each example by
/// itself, in training as in evaluation. It is the [`GroupNorm`] with one channel a group, and as in
/// PyTorch it has no gamma and beta unless it is told to.
///
/// ```
/// use wgpu_cnn::{InstanceNorm, Model};
/// let norm = InstanceNorm::new().affine(true);
/// let model = Model::builder([8, 14, 14]).push(norm).build()?;
/// assert_eq!(model.parameter_count(), 2 * 8);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceNorm(GroupNorm);

impl Default for InstanceNorm {
    fn default() -> Self {
        Self(GroupNorm {
            groups: None,
            epsilon: 1e-5,
            affine: false,
        })
    }
}

impl InstanceNorm {
    /// Instance normalisation with PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the term that keeps the division finite.
    pub fn epsilon(self, epsilon: f64) -> Self {
        Self(self.0.epsilon(epsilon))
    }

    /// Puts gamma and beta in or leaves them out.
    pub fn affine(self, affine: bool) -> Self {
        Self(self.0.affine(affine))
    }
}

impl From<InstanceNorm> for GroupNorm {
    fn from(norm: InstanceNorm) -> Self {
        norm.0
    }
}

impl From<InstanceNorm> for Op {
    fn from(norm: InstanceNorm) -> Self {
        norm.0.into()
    }
}
