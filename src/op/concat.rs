//! Values joined along their channels.

use super::{Definition, ParameterSpec};
use crate::{Error, Result, Shape};

/// Values one after the other along their first axis, the channels. Their other axes agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Concat;

impl Definition for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let Some(first) = inputs.first() else {
            return Err(Error::shape("concat", "one value or more", 0));
        };
        let other = inputs.iter().find(|input| input.get(1..) != first.get(1..));
        if let Some(other) = other {
            let expected = format!("values like {first} but for the first axis");
            return Err(Error::shape("concat", expected, other));
        }
        let mut extents = first.to_vec();
        let channels = inputs.iter().filter_map(|input| input.first());
        let sum = channels.fold(0, |sum: usize, channels| sum.saturating_add(*channels));
        match extents.first_mut() {
            Some(channels) => *channels = sum,
            None => return Err(Error::shape("concat", "values with a first axis", first)),
        }
        Ok(extents.into())
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
