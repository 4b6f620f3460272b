//! Softmax as a layer.

use super::{Definition, ParameterSpec, countable, only};
use crate::shape::elements;
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
        let axis = match usize::try_from(self.axis) {
            Ok(axis) => Some(axis),
            Err(_) => input.rank().checked_sub(self.axis.unsigned_abs()),
        };
        let split = axis.and_then(|axis| Some((input.get(..axis)?, input.get(axis..)?)));
        let Some((outer, [extent, inner @ ..])) = split else {
            let expected = format!("an axis of {input}");
            return Err(Error::shape("softmax", expected, self.axis));
        };
        countable("softmax", &input.batched(batch))?;
        Ok(SoftmaxGeometry {
            outer: elements(outer).saturating_mul(batch),
            extent: *extent,
            inner: elements(inner),
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

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
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
    /// Elements in all, saturating where the product outgrows `usize`.
    pub fn input_len(&self) -> usize {
        elements(&[self.outer, self.extent, self.inner])
    }
}
