//! Finite differences, and what a gradient may be off from them.

use crate::compare::{Expected, meaningful};

const EPSILON: f64 = 1e-6;
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-5;
/// The share of gradients that must be far from zero for a comparison to mean anything.
const MEANINGFUL: f64 = 0.25;

/// Numbers within (-1, 1) without ties.
pub fn values(len: usize, seed: u64) -> Vec<f64> {
    let word = |i: u64| {
        (i + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .wrapping_add(seed << 32)
    };
    let mixed = |word: u64| (word ^ (word >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11;
    let unit = |i: u64| mixed(word(i)) as f64 / (1u64 << 52) as f64 - 1.0;
    (0..len as u64).map(unit).collect()
}

/// Central differences of a function, by element and step.
pub fn differences(len: usize, mut f: impl FnMut(usize, f64) -> f64) -> Vec<f64> {
    (0..len)
        .map(|at| (f(at, EPSILON) - f(at, -EPSILON)) / (2.0 * EPSILON))
        .collect()
}

/// Holds a gradient by the chain rule against one by finite differences.
pub fn compare(name: &str, analytic: &[f64], numeric: &[f64]) -> Result<(), String> {
    let expected = Expected {
        values: numeric.to_vec(),
        tolerances: numeric
            .iter()
            .map(|numeric| ABSOLUTE + RELATIVE * numeric.abs())
            .collect(),
    };
    let far = numeric
        .iter()
        .map(|gradient| gradient.abs() > 10.0 * ABSOLUTE);
    expected
        .close(analytic)
        .and_then(|()| meaningful(far, MEANINGFUL))
        .map_err(|error| format!("{name}: {error}"))
}
