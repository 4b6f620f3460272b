//! How parameters start, from a counter-based generator: the same seed gives the same bits on every
//! machine, whichever device trains.

use crate::{Error, Result};

/// The distribution that a weight starts from. Biases start at zero.
///
/// With `fan_in` and `fan_out` the inputs and outputs that one weight's filter connects:
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Init {
    /// Uniform within `sqrt(6 / fan_in)`: He et al. 2015, for layers followed by a ReLU.
    #[default]
    HeUniform,
    /// Normal with variance `2 / fan_in`: He et al. 2015.
    HeNormal,
    /// Uniform within `sqrt(6 / (fan_in + fan_out))`: Glorot and Bengio 2010.
    XavierUniform,
    /// Normal with variance `2 / (fan_in + fan_out)`: Glorot and Bengio 2010.
    XavierNormal,
    /// Normal with this standard deviation: 0.02 in Radford et al. 2016.
    Normal(f32),
    /// The same value everywhere.
    Constant(f32),
}

impl Init {
    /// Refuses a value that nothing can be learned from.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            // A value lies at most 6.8 deviations from zero: `unit` has 33 bits.
            Self::Normal(deviation) if !(deviation >= 0.0 && (8.0 * deviation).is_finite()) => {
                let reason = format!("{deviation} is no standard deviation of 32 bits");
                Err(Error::argument("init", reason))
            }
            Self::Constant(value) if !value.is_finite() => {
                Err(Error::argument("init", format!("{value} is not finite")))
            }
            Self::Normal(_)
            | Self::Constant(_)
            | Self::HeUniform
            | Self::HeNormal
            | Self::XavierUniform
            | Self::XavierNormal => Ok(()),
        }
    }

    /// The values of a parameter of `len` elements. `stream` tells a model's parameters apart.
    pub(crate) fn values(
        self,
        seed: u64,
        stream: u32,
        len: usize,
        fan_in: usize,
        fan_out: usize,
    ) -> Vec<f32> {
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out as f64);
        let fans = fan_in + fan_out;
        let uniform = |bound: f64| {
            let value = move |word: u32| (bound * (2.0 * unit(word) - 1.0)) as f32;
            words(seed, stream, len).map(value).collect()
        };
        let normal = |variance: f64| {
            let words: Vec<u32> = words(seed, stream, len.next_multiple_of(2)).collect();
            let pairs = words.chunks_exact(2).flat_map(|pair| {
                // Box and Muller 1958; `unit` is never 0.
                let radius = (-2.0 * variance * unit(pair[0]).ln()).sqrt();
                let angle = std::f64::consts::TAU * unit(pair[1]);
                [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
            });
            pairs.take(len).collect()
        };
        match self {
            Self::HeUniform => uniform((6.0 / fan_in).sqrt()),
            Self::HeNormal => normal(2.0 / fan_in),
            Self::XavierUniform => uniform((6.0 / fans).sqrt()),
            Self::XavierNormal => normal(2.0 / fans),
            Self::Normal(deviation) => normal(f64::from(deviation).powi(2)),
            Self::Constant(value) => vec![value; len],
        }
    }
}

/// A random word as a number within (0, 1).
fn unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

/// The first `len` words of a stream.
fn words(seed: u64, stream: u32, len: usize) -> impl Iterator<Item = u32> {
    let key = [seed as u32, (seed >> 32) as u32];
    let blocks = (0..len.div_ceil(4) as u64)
        .flat_map(move |block| philox4x32([block as u32, (block >> 32) as u32, stream, 0], key));
    blocks.take(len)
}

/// Philox-4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
/// as 1, 2, 3" (2011): four random words as a pure function of a counter and a key.
pub(crate) fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product0 = 0xD251_1F53 * u64::from(counter[0]);
        let product1 = 0xCD9E_8D57 * u64::from(counter[2]);
        counter = [
            (product1 >> 32) as u32 ^ counter[1] ^ key[0],
            product1 as u32,
            (product0 >> 32) as u32 ^ counter[3] ^ key[1],
            product0 as u32,
        ];
        key = [
            key[0].wrapping_add(0x9E37_79B9),
            key[1].wrapping_add(0xBB67_AE85),
        ];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_known_answers_of_its_authors() {
        let zeros = philox4x32([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32([!0; 4], [!0; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn moments_and_bounds_are_those_of_the_distributions() {
        let (len, fan_in, fan_out) = (40_000, 50, 150);
        for (init, variance, bound) in [
            (Init::HeUniform, 2.0 / 50.0, Some((6.0f64 / 50.0).sqrt())),
            (Init::HeNormal, 2.0 / 50.0, None),
            (
                Init::XavierUniform,
                2.0 / 200.0,
                Some((6.0f64 / 200.0).sqrt()),
            ),
            (Init::XavierNormal, 2.0 / 200.0, None),
            (Init::Normal(0.02), 4e-4, None),
        ] {
            let values = init.values(7, 1, len, fan_in, fan_out);
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / len as f64;
            let square = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / len as f64;
            assert!(
                mean.abs() < 4.0 * (variance / len as f64).sqrt(),
                "{init:?} mean {mean}"
            );
            assert!(
                (square / variance - 1.0).abs() < 0.03,
                "{init:?} variance {square}"
            );
            if let Some(bound) = bound {
                assert!(values.iter().all(|&v| f64::from(v).abs() <= bound));
            }
            assert_eq!(values, init.values(7, 1, len, fan_in, fan_out));
            assert_ne!(values, init.values(8, 1, len, fan_in, fan_out));
            assert_ne!(values, init.values(7, 2, len, fan_in, fan_out));
        }
    }
}
