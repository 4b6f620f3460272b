//! How far a GPU may be from the reference in whole steps of training.
//!
//! What a rounding does to a result depends on the model: little in most, much where a variance is
//! nearly zero, all where a maximum has a rival. The model itself tells: the reference in f32, on inputs and
//! parameters that are off by about what a kernel may be off by, is run a few times, and how far it
//! then is from the reference in f64 is what a kernel may cost.

use wgpu_cnn::engine::catalogue::{Worst, off, worst};

/// Distances between the reference with noise and the one without that pass.
const FACTOR: f64 = 8.0;

/// The share of the largest value that is a fine tolerance.
const SHARP: f64 = 1e-3;

/// What was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Tensors.
    pub compared: usize,
    /// Those of them that were not zero throughout.
    pub not_zero: usize,
    /// Those of these in which most elements had a tolerance of less than a thousandth of the largest.
    pub sharp: usize,
    /// How often the comparison was made again, with more runs.
    pub again: usize,
}

impl Tally {
    /// Adds what another model compared.
    pub fn add(&mut self, other: &Self) {
        self.compared += other.compared;
        self.not_zero += other.not_zero;
        self.sharp += other.sharp;
        self.again += usize::from(other.again > 0);
    }
}

/// A result as it should be, and how far roundings may take it.
#[derive(Debug, Clone)]
pub struct Likely {
    exact: Vec<f64>,
    tolerances: Vec<f64>,
}

impl Likely {
    /// From the reference in f64, and from runs in f32 with noise. Nothing, where a value is not finite.
    pub fn new<'a>(exact: Vec<f64>, noisy: impl IntoIterator<Item = &'a [f64]>) -> Option<Self> {
        let apart = |noisy: &[f64]| -> f64 {
            let pairs = exact.iter().zip(noisy);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, larger)
        };
        let spread = noisy.into_iter().map(apart).fold(0.0, larger);
        let tolerance = f64::from(f32::MIN_POSITIVE) + FACTOR * spread;
        let finite = exact.iter().all(|value| value.is_finite()) && tolerance.is_finite();
        let tolerances = vec![tolerance; exact.len()];
        finite.then_some(Self { exact, tolerances })
    }

    /// With this much more.
    pub fn and(self, more: f64) -> Self {
        self.and_each(|_| more)
    }

    /// With so much more for each element.
    pub fn and_each(mut self, more: impl Fn(usize) -> f64) -> Self {
        let tolerances = self.tolerances.iter_mut().enumerate();
        tolerances.for_each(|(at, tolerance)| *tolerance += more(at));
        self
    }

    /// What any element may be off by.
    pub fn loosest(&self) -> f64 {
        self.tolerances.iter().copied().fold(0.0, larger)
    }

    /// The magnitude of its largest value.
    pub fn largest(&self) -> f64 {
        self.exact.iter().map(|value| value.abs()).fold(0.0, larger)
    }

    /// Notes what a comparison with this is worth.
    pub fn count(&self, tally: &mut Tally) {
        let largest = self.largest();
        let tight = |&&tolerance: &&f64| tolerance <= SHARP * largest;
        let tight = self.tolerances.iter().filter(tight).count();
        tally.compared += 1;
        tally.not_zero += usize::from(largest > 0.0);
        tally.sharp += usize::from(largest > 0.0 && 2 * tight > self.tolerances.len());
    }

    /// What is wrong with a result, if anything is.
    pub fn check(&self, got: &[f64]) -> Result<(), String> {
        if got.len() != self.exact.len() {
            return Err(format!("{} values of {}", got.len(), self.exact.len()));
        }
        let error = |at: usize| off(got[at], self.exact[at], self.tolerances[at]);
        match worst(got.len(), error) {
            Some(Worst { at, off, wrong }) if off > 1.0 => Err(format!(
                "{wrong} of {} values, worst [{at}]: {:e}, expected {:e} within {:e}; the largest is {:e}",
                got.len(),
                got[at],
                self.exact[at],
                self.tolerances[at],
                self.largest(),
            )),
            _ => Ok(()),
        }
    }
}

/// The larger of two numbers; NaN is the largest.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
