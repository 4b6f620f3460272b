//! What kernels are tried on, the same on every machine.

use crate::op::philox4x32;

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
    seed: u32,
    stream: u32,
}

impl Data {
    pub fn new(fill: Fill, seed: u32) -> Self {
        Self {
            fill,
            seed,
            stream: 0,
        }
    }

    /// Numbers within `-bound..bound`, or small whole ones.
    pub fn values(&mut self, len: usize, bound: f32) -> Vec<f32> {
        let fill = self.fill;
        let number = |word: u32| match fill {
            // 24 bits, all of which f32 holds.
            Fill::Uniform => bound * ((word >> 8) as f32 / 8_388_608.0 - 1.0),
            Fill::Integers => (word % 7) as f32 - 3.0,
        };
        self.words(len).into_iter().map(number).collect()
    }

    /// Numbers above zero, away from it.
    pub fn positive(&mut self, len: usize) -> Vec<f32> {
        self.values(len, 1.0)
            .into_iter()
            .map(|value| value.abs() + 1.0)
            .collect()
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
