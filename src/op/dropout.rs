//! Dropout, and its mask: a function of seed, step, layer and element, the same on every device.

use super::{Definition, ParameterSpec, only, philox4x32, within};
use crate::{Result, Shape};

/// In training, each value is zero with this probability and `1 / (1 - probability)` times itself
/// otherwise (Srivastava et al. 2014); in evaluation it stays as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The probability of a zero, within `0..1`.
    pub probability: f64,
}

impl Dropout {
    /// Dropout with this probability.
    pub fn new(probability: f64) -> Self {
        Self { probability }
    }

    /// Refuses a probability outside its domain.
    pub(crate) fn check(self) -> Result<()> {
        within("dropout probability", self.probability, 0.0..1.0)
    }
}

impl Definition for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("dropout", inputs)?;
        self.check().map(|()| input.clone())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
    }

    fn is_view(&self) -> bool {
        false
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
}

/// A random word below this drops its element.
pub(crate) fn threshold(probability: f64) -> u32 {
    (probability * 4_294_967_296.0)
        .round()
        .min(f64::from(u32::MAX)) as u32
}

/// What a kept element is multiplied by, so that the expected value stays.
pub(crate) fn scale(probability: f64) -> f64 {
    1.0 / (1.0 - probability)
}

/// Whether an element of a layer is kept in a step, for the four elements of a block.
pub(crate) fn kept(probability: f64, seed: u64, step: u64, layer: u32, block: u32) -> [bool; 4] {
    let key = [seed as u32, (seed >> 32) as u32];
    let words = philox4x32([block, step as u32, layer, 1], key);
    words.map(|word| word >= threshold(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_gives_the_probability() {
        assert_eq!(threshold(0.0), 0);
        assert_eq!(threshold(0.5), 1 << 31);
        assert_eq!(threshold(1.0), u32::MAX);
        assert_eq!(scale(0.75), 4.0);
        let kept = (0..10_000).flat_map(|block| kept(0.3, 3, 5, 1, block));
        let dropped = kept.filter(|&kept| !kept).count();
        assert!((dropped as f64 / 40_000.0 - 0.3).abs() < 0.01, "{dropped}");
    }

    #[test]
    fn seed_step_layer_and_block_each_change_the_mask() {
        let mask = |seed, step, layer, first| -> Vec<[bool; 4]> {
            (first..first + 8)
                .map(|block| kept(0.5, seed, step, layer, block))
                .collect()
        };
        let one = mask(1, 2, 3, 4);
        assert_ne!(one, mask(1 << 32 | 1, 2, 3, 4));
        assert_ne!(one, mask(1, 3, 3, 4));
        assert_ne!(one, mask(1, 2, 4, 4));
        assert_ne!(one, mask(1, 2, 3, 5));
    }
}
