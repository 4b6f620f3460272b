//! Softmax as a layer.

use super::{Definition, ParameterSpec, only};
use crate::{Error, Result, Shape};

/// `exp(x) / sum of exp(x)` along one axis, or its logarithm. The maximum along the axis is
/// subtracted first, so that large values stay finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Softmax {
    /// The axis of one example's shape, counted from the last with negative numbers. Default -1.
    pub axis: isize,
    /// Whether the logarithm is taken, in a form that stays exact. Default false.
    pub log: bool,
}

impl Default for Softmax {
    fn default() -> Self {
        Self {
            axis: -1,
            log: false,
        }
    }
}

impl Softmax {
    /// Softmax along the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the axis.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }

    /// Sets whether the logarithm is taken.
    pub fn log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// The resolved extents for `batch` examples of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<SoftmaxGeometry> {
        let rank = input.rank() as isize;
        let axis = if self.axis < 0 {
            self.axis + rank
        } else {
            self.axis
        };
        if !(0..rank).contains(&axis) {
            let expected = format!("an axis of {input}");
            return Err(Error::shape("softmax", expected, self.axis));
        }
        let axis = axis as usize;
        Ok(SoftmaxGeometry {
            outer: batch * input[..axis].iter().product::<usize>(),
            extent: input[axis],
            inner: input[axis + 1..].iter().product(),
        })
    }
}

impl Definition for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("softmax", inputs)?;
        self.geometry(1, input).map(|_| input.clone())
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

/// Every extent of a softmax, resolved: `(outer, extent, inner)`, summed along the middle one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoftmaxGeometry {
    /// The axes before the one summed along.
    pub outer: usize,
    /// The axis summed along.
    pub extent: usize,
    /// The axes after it.
    pub inner: usize,
}

impl SoftmaxGeometry {
    /// Elements in all.
    pub fn input_len(&self) -> usize {
        self.outer * self.extent * self.inner
    }
}
