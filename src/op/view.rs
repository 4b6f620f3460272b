//! The same elements under another shape.

use super::{Definition, ParameterSpec, only};
use crate::{Error, Result, Shape};

/// All axes made one, as a dense layer after an image wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flatten;

/// Another shape of as many elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Reshape {
    /// The shape of one example's output.
    pub shape: Shape,
}

impl Reshape {
    /// The given shape, without the batch.
    pub fn new(shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
        }
    }
}

impl Definition for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        Ok([only("flatten", inputs)?.len()].into())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
    }

    fn is_view(&self) -> bool {
        true
    }

    fn is_identity_in_evaluation(&self) -> bool {
        true
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

impl Definition for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let (input, shape) = (only("reshape", inputs)?, &self.shape);
        if shape.len() != input.len() {
            let expected = format!("{} elements for {shape}", shape.len());
            return Err(Error::shape("reshape", expected, input));
        }
        Ok(shape.clone())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
    }

    fn is_view(&self) -> bool {
        true
    }

    fn is_identity_in_evaluation(&self) -> bool {
        true
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
