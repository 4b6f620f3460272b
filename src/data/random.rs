//! Random choices as functions of seed, epoch and index.

use crate::op::philox4x32;

/// What a stream of random numbers is for: streams of different purposes share no number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// The order of an epoch.
    Order = 3,
    /// What happens to an example.
    Example = 4,
    /// What happens to a batch.
    Batch = 5,
}

/// Random numbers that follow from seed, epoch and index alone, whichever thread asks, in whichever order:
/// Philox-4x32-10 (Salmon et al. 2011), as for weights and dropout.
///
/// ```
/// use wgpu_cnn::data::Random;
/// let mut random = Random::new(7, 0, 41);
/// let (side, share) = (random.below(6), random.unit());
/// let mut again = Random::new(7, 0, 41);
/// assert_eq!((again.below(6), again.unit()), (side, share));
/// ```
#[derive(Debug, Clone)]
pub struct Random {
    key: [u32; 2],
    index: u64,
    block: u32,
    words: [u32; 4],
    /// Words of the block that have been taken.
    taken: usize,
}

impl Random {
    /// The numbers of an example of an epoch.
    pub fn new(seed: u64, epoch: u64, index: u64) -> Self {
        Self::of(Purpose::Example, seed, epoch, index)
    }

    pub(super) fn of(purpose: Purpose, seed: u64, epoch: u64, index: u64) -> Self {
        let [low, high] = halves(epoch);
        let [first, second, ..] = philox4x32([low, high, purpose as u32, 3], halves(seed));
        Self {
            key: [first, second],
            index,
            block: 0,
            words: [0; 4],
            taken: 4,
        }
    }

    fn word(&mut self) -> u32 {
        if self.taken == self.words.len() {
            let [low, high] = halves(self.index);
            self.words = philox4x32([self.block, low, high, 0], self.key);
            self.block = self.block.wrapping_add(1);
            self.taken = 0;
        }
        self.taken += 1;
        self.words[self.taken - 1]
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }

    /// A number below `bound`, each as likely as the others to within `bound / 2^64`; 0 where `bound` is.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number within `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn flag(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number between two others.
    pub(super) fn between(&mut self, [low, high]: [f64; 2]) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A number of the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        // Never 0, of which there is no logarithm.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// A number of the distribution Beta(alpha, alpha), for a finite `alpha` above 0.
    pub(super) fn beta(&mut self, alpha: f64) -> f64 {
        let (one, other) = (self.log_gamma(alpha), self.log_gamma(alpha));
        1.0 / (1.0 + libm::exp(other - one))
    }

    /// The logarithm of a number of the distribution Gamma(alpha), by Marsaglia and Tsang, "A simple method
    /// for generating gamma variables" (2000). The number itself would be 0 for a small `alpha`.
    fn log_gamma(&mut self, alpha: f64) -> f64 {
        // Their section 6: Gamma(alpha) is Gamma(alpha + 1) times a power.
        let (shape, factor) = match alpha < 1.0 {
            true => (alpha + 1.0, libm::log(1.0 - self.unit()) / alpha),
            false => (alpha, 0.0),
        };
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.unit();
            if v > 0.0 && libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return libm::log(d * v) + factor;
            }
        }
    }

    /// A random order of `0..count` (Fisher and Yates).
    pub(super) fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for end in (1..count).rev() {
            order.swap(end, self.below(end + 1));
        }
        order
    }
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_epoch_index_and_purpose_each_change_the_numbers() {
        let bits = |mut random: Random| random.bits();
        let one = bits(Random::new(1, 2, 3));
        assert_eq!(one, bits(Random::new(1, 2, 3)));
        for other in [
            Random::new(2, 2, 3),
            Random::new(1 << 32 | 1, 2, 3),
            Random::new(1, 3, 3),
            Random::new(1, 1 << 32 | 2, 3),
            Random::new(1, 2, 4),
            Random::new(1, 2, 1 << 32 | 3),
            Random::of(Purpose::Batch, 1, 2, 3),
            Random::of(Purpose::Order, 1, 2, 3),
        ] {
            assert_ne!(one, bits(other));
        }
    }

    #[test]
    fn numbers_are_spread_as_they_should_be() {
        const COUNT: usize = 20_000;
        let mut random = Random::new(5, 0, 0);
        let mut counts = [0; 5];
        (0..COUNT).for_each(|_| counts[random.below(5)] += 1);
        for count in counts {
            assert!((3800..4200).contains(&count), "{counts:?}");
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let mut mean_and_square = |draw: &mut dyn FnMut(&mut Random) -> f64| {
            let values: Vec<f64> = (0..COUNT).map(|_| draw(&mut random)).collect();
            let mean = |of: &dyn Fn(f64) -> f64| values.iter().map(|&x| of(x)).sum::<f64>();
            [mean(&|x| x) / COUNT as f64, mean(&|x| x * x) / COUNT as f64]
        };
        let near = |[mean, square]: [f64; 2], expected: [f64; 2]| {
            assert!((mean - expected[0]).abs() < 0.02, "{mean}, {expected:?}");
            assert!(
                (square - expected[1]).abs() < 0.03,
                "{square}, {expected:?}"
            );
        };
        near(mean_and_square(&mut |r| r.unit()), [0.5, 1.0 / 3.0]);
        near(mean_and_square(&mut |r| r.normal()), [0.0, 1.0]);
        // Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
        for alpha in [1e-3, 0.2, 1.0, 4.0, 1e6] {
            let square = 0.25 + 0.25 / (2.0 * alpha + 1.0);
            near(mean_and_square(&mut |r| r.beta(alpha)), [0.5, square]);
        }
    }

    #[test]
    fn an_order_has_every_number_once() {
        let order = Random::of(Purpose::Order, 1, 0, 0).order(1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        let stayed = order.iter().enumerate().filter(|&(at, &it)| at == it);
        assert!(stayed.count() < 8);
    }
}
