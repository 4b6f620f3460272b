//! The numbers that are drawn.

use wgpu_cnn::cpu::Real;
use wgpu_cnn::{Activation, Init, Padding, PaddingMode, Shape, Size2};

/// Elements of a slice at most.
pub const LONGEST: usize = 1 << 11;

/// A source of numbers that nobody means, among others.
pub struct Draw {
    random: fastrand::Rng,
    /// One number of so many is a hostile one.
    hostile: usize,
}

impl Draw {
    /// The source for a call of a seed.
    pub fn new(seed: u64, number: u64) -> Self {
        let mixed = (seed << 32 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = fastrand::Rng::with_seed(mixed ^ mixed >> 29);
        let hostile = [2, 6, 20, 1_000_000][random.usize(..4)];
        Self { random, hostile }
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.random.usize(..bound)
    }

    pub fn flag(&mut self) -> bool {
        self.random.bool()
    }

    /// Whether the next number is a hostile one.
    pub fn is_hostile(&mut self) -> bool {
        self.below(self.hostile) == 0
    }

    pub fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Around a power of two.
    fn around(&mut self) -> usize {
        let power = 1usize << self.pick(&[4, 8, 16, 24, 30, 31, 32, 33, 40, 48, 61, 62, 63]);
        power.wrapping_add(self.below(3)).wrapping_sub(1)
    }

    /// An extent.
    pub fn number(&mut self) -> usize {
        if !self.is_hostile() {
            return 1 + self.below(4);
        }
        match self.below(4) {
            0 => 0,
            1 => usize::MAX - self.below(3),
            2 => self.around(),
            _ => self.below(100),
        }
    }

    /// An extent along one axis of `count`.
    pub fn numbers<const N: usize>(&mut self) -> [usize; N] {
        std::array::from_fn(|_| self.number())
    }

    pub fn real(&mut self) -> f64 {
        if !self.is_hostile() {
            return self.pick(&[0.0, 0.1, 0.25, 0.5, 0.9, 1e-3, 1e-5]);
        }
        let hostile = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            1e300,
            1e39,
            f64::from(f32::MAX),
            1.0,
            -0.0,
            -0.5,
            1e-40,
            1e-320,
            1.0 - f64::EPSILON / 2.0,
            2.0,
        ];
        self.pick(&hostile)
    }

    pub fn single(&mut self) -> f32 {
        self.real() as f32
    }

    pub fn size(&mut self) -> Size2 {
        match self.flag() {
            true => self.number().into(),
            false => self.numbers::<2>().into(),
        }
    }

    pub fn padding(&mut self) -> Padding {
        let mut side = || match self.is_hostile() {
            true => self.number(),
            false => self.below(2),
        };
        let sides = std::array::from_fn::<_, 4, _>(|_| side());
        match self.below(5) {
            0 => Padding::Same,
            3 => Padding::Causal,
            1 => Padding::from(sides),
            2 => Padding::from([sides[0], sides[1]]),
            _ => Padding::ZERO,
        }
    }

    pub fn padding_mode(&mut self) -> PaddingMode {
        self.pick(&[
            PaddingMode::Zeros,
            PaddingMode::Reflect,
            PaddingMode::Replicate,
            PaddingMode::Circular,
        ])
    }

    pub fn init(&mut self) -> Init {
        let value = self.single();
        self.pick(&[
            Init::HeUniform,
            Init::HeNormal,
            Init::XavierUniform,
            Init::XavierNormal,
            Init::Normal(value),
            Init::Constant(value),
        ])
    }

    pub fn activation(&mut self) -> Activation {
        let number = self.single();
        match self.pick(&Activation::ALL) {
            Activation::LeakyRelu { .. } => Activation::LeakyRelu { slope: number },
            Activation::Elu { .. } => Activation::Elu { alpha: number },
            Activation::Celu { .. } => Activation::Celu { alpha: number },
            Activation::HardTanh { .. } => Activation::HardTanh {
                min: number,
                max: self.single(),
            },
            other => other,
        }
    }

    pub fn shape(&mut self) -> Shape {
        let rank = self.below(5);
        let extents: Vec<usize> = (0..rank).map(|_| self.number()).collect();
        extents.into()
    }

    /// The shape of an image or a signal.
    pub fn image(&mut self) -> Shape {
        if self.is_hostile() {
            return self.shape();
        }
        let mut extent = || match self.is_hostile() {
            true => self.number(),
            false => 1 + self.below(7),
        };
        let [channels, height, width] = [extent(), extent(), extent()];
        match self.flag() {
            true => [channels, height, width].into(),
            false => [channels, width].into(),
        }
    }

    /// A length: the one that is wanted, if a slice may have it, or another.
    pub fn length(&mut self, wanted: usize) -> usize {
        let other = match self.below(3) {
            0 => 0,
            1 => self.below(100),
            _ => wanted.wrapping_add(self.below(3)).wrapping_sub(1),
        };
        let length = if self.is_hostile() { other } else { wanted };
        if length > LONGEST {
            self.below(3)
        } else {
            length
        }
    }

    /// Numbers of a length that is mostly the one that is wanted.
    pub fn floats<T: Real>(&mut self, wanted: usize) -> Vec<T> {
        let length = self.length(wanted);
        let mut float = || match self.is_hostile() {
            true => self.real(),
            false => self.random.f64() - 0.5,
        };
        (0..length).map(|_| T::nearest(float())).collect()
    }

    /// The elements of some extents, if a slice may have so many.
    pub fn elements(extents: &[usize]) -> usize {
        Shape::from(extents).len()
    }
}
