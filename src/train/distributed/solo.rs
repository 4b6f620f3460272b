//! One rank.

use super::{Reducer, Subnormals};
use crate::{Error, Result};

/// A rank by itself: a program that is written for several runs on one.
///
/// ```
/// use wgpu_cnn::distributed::{Reducer, Solo};
/// assert_eq!((Solo.rank(), Solo.size()), (0, 1));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Reducer for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&mut self, _: &mut [f32], _: Subnormals) -> Result<()> {
        Ok(())
    }

    fn broadcast(&mut self, _: &mut [u8], root: usize) -> Result<()> {
        match root {
            0 => Ok(()),
            _ => Err(Error::argument("root", format!("is {root} of 1 rank"))),
        }
    }

    fn barrier(&mut self) -> Result<()> {
        Ok(())
    }
}
