//! The sum of two values.

use super::{Definition, ParameterSpec};
use crate::{Error, Result, Shape};

/// The sum of two values of one shape, element by element: what joins the branches of a residual
/// block (He et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Add;

impl Definition for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        match inputs {
            [left, right] if left == right => Ok(Shape::clone(left)),
            [left, right] => Err(Error::shape("add", format!("two values of {left}"), right)),
            _ => Err(Error::shape("add", "two values", inputs.len())),
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
