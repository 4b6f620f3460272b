//! Inputs that are given as bytes.

use std::sync::Arc;

use crate::{Error, Result, Shape};

/// A byte of an image as a number from 0 to 1.
pub(crate) fn brightness(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// What each byte of a channel becomes, `(byte / 255 - mean) / deviation`: the arithmetic of PyTorch, in
/// `f32`.
pub(crate) fn normalised([mean, deviation]: [f32; 2]) -> [f32; 256] {
    std::array::from_fn(|byte| (brightness(byte as u8) - mean) / deviation)
}

/// Refuses means and deviations outside their domain, in the name of a function that was given them.
pub(crate) fn check_normalise(name: &str, mean: &[f32], deviation: &[f32]) -> Result<()> {
    let refuse = |reason: String| Err(Error::argument(name, reason));
    if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
        return refuse(format!("a mean of {mean}"));
    }
    match deviation.iter().find(|d| !(d.is_finite() && **d > 0.0)) {
        Some(deviation) => refuse(format!("a deviation of {deviation}")),
        None => Ok(()),
    }
}

/// What the bytes of an input stand for. Both sides look them up, so that it is the same number on each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bytes {
    /// The numbers of the 256 bytes in each channel, `(rows, 256)`: a row for each, or one for all.
    pub numbers: Arc<[f32]>,
}

impl Bytes {
    /// Those of an input `(C, ..)`, with means and deviations for each channel or of one for all.
    pub fn new(shape: &Shape, mean: &[f32], deviation: &[f32]) -> Result<Self> {
        check_normalise("take_bytes", mean, deviation)?;
        let (rows, channels) = (mean.len(), shape.first().copied().unwrap_or(0));
        if rows == 0 || rows != deviation.len() || (rows != 1 && rows != channels) {
            let expected = format!("as many channels as there are means, {rows}");
            return Err(Error::shape("take_bytes", expected, shape));
        }
        let rows = mean.iter().zip(deviation);
        let numbers = rows.flat_map(|(&mean, &deviation)| normalised([mean, deviation]));
        Ok(Self {
            numbers: numbers.collect(),
        })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.numbers.len() / 256
    }
}
