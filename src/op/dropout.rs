//! Dropout, and its mask: a function of seed, update, layer, the example's place in the update and the
//! element in the example, the same on every device.

use super::{Definition, ParameterSpec, only, philox4x32, within};
use crate::shape::elements;
use crate::{Result, Shape};

/// In training, each value is zero with this probability and `1 / (1 - probability)` times itself
/// otherwise (Srivastava et al. 2014); in evaluation it stays as it is. What is kept or dropped together
/// may be whole channels, or whole examples.
///
/// What is dropped is a function of the seed, the number of the update, the layer, the example's place among
/// all examples of the update, and the element in the example, on a CPU and on a GPU alike. So
/// [`accumulate`](crate::TrainerBuilder::accumulate)d batches have the masks of one batch with all of their
/// examples, a smaller one counting for as many as it has; only [`DropUnit::Batch`] is for each by itself.
///
/// ```
/// use wgpu_cnn::{Dropout, DropUnit, Model};
/// let model = Model::builder([8, 5, 5])
///     .residual(|b| b.conv2d(8, 1).push(Dropout::new(0.1).unit(DropUnit::Example)))
///     .push(Dropout::new(0.2).unit(DropUnit::Channel))
///     .build()?;
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// The probability of a zero, within `0..1`.
    pub probability: f64,
    /// What is kept or dropped together. Default [`DropUnit::Value`].
    pub unit: DropUnit,
}

/// What [`Dropout`] keeps or drops together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DropUnit {
    /// Each value by itself.
    #[default]
    Value,
    /// All values of a channel, the first axis of an example (Tompson et al. 2015): PyTorch's `Dropout2d`.
    Channel,
    /// All values of an example: stochastic depth (Huang et al. 2016), torchvision's `StochasticDepth` in
    /// the mode `row`.
    Example,
    /// All values of a batch: the same in the mode `batch`.
    Batch,
}

impl Dropout {
    /// Dropout of single values with this probability.
    pub fn new(probability: f64) -> Self {
        let unit = DropUnit::Value;
        Self { probability, unit }
    }

    /// Sets what is kept or dropped together.
    pub fn unit(mut self, unit: DropUnit) -> Self {
        self.unit = unit;
        self
    }

    /// Neighbouring values that are kept or dropped together, in `batch` examples of this shape, or `None`
    /// where each has a word of its own.
    pub(crate) fn span(self, batch: usize, example: &Shape) -> Option<usize> {
        let span = match self.unit {
            DropUnit::Value => return None,
            DropUnit::Channel => elements(example.get(1..).unwrap_or(&[])),
            DropUnit::Example => example.len(),
            DropUnit::Batch => example.len().saturating_mul(batch),
        };
        Some(span.max(1))
    }

    /// Masks that an example of this shape takes: an update's are numbered through, and a batch of it begins
    /// with the number that its first example has. A whole batch has that one alone.
    pub(crate) fn masks(self, example: &Shape) -> usize {
        match self.unit {
            DropUnit::Value => example.len(),
            DropUnit::Channel => example.first().copied().unwrap_or(1),
            DropUnit::Example | DropUnit::Batch => 1,
        }
    }

    /// Refuses a probability outside its domain.
    pub(crate) fn check(self) -> Result<()> {
        within("dropout probability", self.probability, 0.0..1.0)
    }
}

impl Definition for Dropout {
    fn name(&self) -> &'static str {
        match self.unit {
            DropUnit::Value => "dropout",
            DropUnit::Channel => "dropout2d",
            DropUnit::Example | DropUnit::Batch => "stochastic_depth",
        }
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

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
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

/// The random words of a layer in an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stream {
    pub key: [u32; 2],
    /// The lower half of the update's number: the upper one is in the key.
    pub update: u32,
    pub layer: u32,
}

impl Stream {
    /// Those of the update after so many.
    pub fn new(seed: u64, updates: u64, layer: u32) -> Self {
        let halves = |number: u64| [number as u32, (number >> 32) as u32];
        let [update, high] = halves(updates);
        let seed = halves(seed);
        let key = match high {
            0 => seed,
            _ => {
                let [low, high, ..] = philox4x32([high, 0, 0, 3], seed);
                [low, high]
            }
        };
        Self { key, update, layer }
    }

    /// Whether the four units of a block are kept: those of an update's examples are counted in the order in
    /// which they would lie in memory together.
    pub fn kept(self, probability: f64, block: u64) -> [bool; 4] {
        // There are 2^62 blocks of numbers of 64 bits; the lowest bits tell these words from those of others.
        let high = ((block >> 32) as u32) << 2 | 1;
        let words = philox4x32([block as u32, self.update, self.layer, high], self.key);
        words.map(|word| word >= threshold(probability))
    }
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
        let stream = Stream::new(3, 5, 1);
        let kept = (0..10_000).flat_map(|block| stream.kept(0.3, block));
        let dropped = kept.filter(|&kept| !kept).count();
        assert!((dropped as f64 / 40_000.0 - 0.3).abs() < 0.01, "{dropped}");
    }

    #[test]
    fn units_are_runs_of_values() {
        let span = |unit, shape: &[usize]| Dropout::new(0.5).unit(unit).span(4, &shape.into());
        assert_eq!(span(DropUnit::Value, &[3, 5, 2]), None);
        assert_eq!(span(DropUnit::Channel, &[3, 5, 2]), Some(10));
        assert_eq!(span(DropUnit::Channel, &[3]), Some(1));
        assert_eq!(span(DropUnit::Channel, &[]), Some(1));
        assert_eq!(span(DropUnit::Example, &[3, 5, 2]), Some(30));
        assert_eq!(span(DropUnit::Batch, &[3, 5, 2]), Some(120));
        assert_eq!(span(DropUnit::Batch, &[usize::MAX]), Some(usize::MAX));
        let masks = |unit, shape: &[usize]| Dropout::new(0.5).unit(unit).masks(&shape.into());
        assert_eq!(masks(DropUnit::Value, &[3, 5, 2]), 30);
        assert_eq!(masks(DropUnit::Channel, &[3, 5, 2]), 3);
        assert_eq!(masks(DropUnit::Channel, &[]), 1);
        assert_eq!(masks(DropUnit::Example, &[3, 5, 2]), 1);
        assert_eq!(masks(DropUnit::Batch, &[3, 5, 2]), 1);
    }

    #[test]
    fn seed_step_layer_and_block_each_change_the_mask() {
        let mask = |seed, step, layer, first| -> Vec<[bool; 4]> {
            (first..first + 8)
                .map(|block| Stream::new(seed, step, layer).kept(0.5, block))
                .collect()
        };
        let one = mask(1, 2, 3, 4);
        assert_ne!(one, mask(1 << 32 | 1, 2, 3, 4));
        assert_ne!(one, mask(1, 3, 3, 4));
        assert_ne!(one, mask(1, 2, 4, 4));
        assert_ne!(one, mask(1, 2, 3, 5));
        // Nothing wraps around: 2^32 updates later, and 2^32 blocks further on.
        assert_ne!(one, mask(1, 2 + (1 << 32), 3, 4));
        assert_ne!(mask(1, 2 + (1 << 32), 3, 4), mask(1, 2 + (1 << 33), 3, 4));
        assert_ne!(one, mask(1, 2, 3, 4 + (1 << 32)));
        assert_ne!(one, mask(1, 2, 3, 4 + (1 << 61)));
    }
}
