//! What kernels are tried on, the same on every machine.

use crate::op::{Loss, LossGeometry, philox4x32};

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Evenly distributed.
    Uniform,
    /// Whole numbers within -3..=3: their products and sums are exact in f32, in any order.
    Integers,
}

/// A counter-based source of numbers.
#[derive(Debug)]
pub(super) struct Data {
    fill: Fill,
    /// Whether the numbers are such that f16 holds them.
    half: bool,
    seed: u32,
    stream: u32,
}

impl Data {
    pub fn new(fill: Fill, half: bool, seed: u32) -> Self {
        Self {
            fill,
            half,
            seed,
            stream: 0,
        }
    }

    /// Numbers within `-bound..bound`, or small whole ones.
    pub fn values(&mut self, len: usize, bound: f32) -> Vec<f32> {
        // f32 holds 24 digits of a number, f16 11.
        let digits = if self.half { 10 } else { 23 };
        let steps = (1 << digits) as f32;
        let bound = if self.half {
            bound.log2().floor().exp2()
        } else {
            bound
        };
        let fill = self.fill;
        let number = |word: u32| match fill {
            Fill::Uniform => bound * ((word >> (31 - digits)) as f32 / steps - 1.0),
            Fill::Integers => (word % 7) as f32 - 3.0,
        };
        self.words(len).into_iter().map(number).collect()
    }

    /// Numbers above zero, away from it.
    pub fn positive(&mut self, len: usize) -> Vec<f32> {
        let values = self.values(len, 1.0).into_iter();
        values.map(|value| value.abs() + 1.0).collect()
    }

    /// Numbers within 0..1.
    pub fn shares(&mut self, len: usize) -> Vec<f32> {
        let values = self.values(len, 1.0).into_iter();
        values.map(f32::abs).collect()
    }

    /// A label for each row or pixel, some of them the ignored one, the others of a weight above 0.
    pub fn labels(&mut self, loss: &Loss, geometry: &LossGeometry) -> Vec<i64> {
        let ignored = loss.ignored_label();
        let ignored = ignored.and_then(|label| i64::try_from(label).ok());
        let weights = loss.class_weights();
        let weighs = |class: &u32| weights.is_none_or(|weights| weights[*class as usize] > 0.0);
        let counts = |class: &u32| weighs(class) && Some(i64::from(*class)) != ignored;
        let counted: Vec<u32> = (0..geometry.classes as u32).filter(counts).collect();
        let any = |word: u32| counted.get(word as usize % counted.len().max(1)).copied();
        let words = self.words(geometry.positions()).into_iter().enumerate();
        let labels = words.map(|(row, word)| match ignored {
            Some(ignored) if row % 5 == 4 => ignored,
            _ => any(word).unwrap_or(0).into(),
        });
        labels.collect()
    }

    pub fn words(&mut self, len: usize) -> Vec<u32> {
        self.stream += 1;
        let (stream, key) = (self.stream, [self.seed, 0x5eed]);
        let blocks = (0..len.div_ceil(4) as u32).flat_map(|at| philox4x32([at, stream, 0, 2], key));
        blocks.take(len).collect()
    }
}

/// The same numbers in double precision.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// The same numbers, each off by a rounding, up or down by turns: what they do to a result shows what
/// roundings on the way to it may do.
pub(super) fn off_by_a_rounding(values: &[f32]) -> Vec<f32> {
    let off = |(at, &value): (usize, &f32)| {
        let bits = value.to_bits();
        match (value == 0.0, at % 3) {
            (true, _) | (_, 0) => value,
            (_, 1) => f32::from_bits(bits + 1),
            _ => f32::from_bits(bits - 1),
        }
    };
    values.iter().enumerate().map(off).collect()
}
