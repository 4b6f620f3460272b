//! The comparator: a tolerance that is derived from the sum at hand, and exact comparisons.
//!
//! A sum of K products in f32, in whatever order, is off by about `eps * sqrt(K) * sum|terms|`. The
//! reference gives both sides of that: its result in f64, and its result on absolute values, which
//! is the sum of the terms' magnitudes.

/// The result that an operation should have, and how far from it a kernel may be.
#[derive(Debug, Clone)]
pub struct Expected {
    pub values: Vec<f64>,
    pub tolerances: Vec<f64>,
}

/// Errors in units of `eps * sqrt(K) * sum|terms|` that pass.
const FACTOR: f64 = 2.0;
/// What underflow may cost.
const ABSOLUTE: f64 = f32::MIN_POSITIVE as f64;
/// The share of outputs that must not be zero for a comparison to mean anything.
const NON_ZERO: f64 = 0.02;

impl Expected {
    /// Of an operation that is a sum of `inner` products in each output: `run` is the reference, in
    /// f64.
    pub fn sums<const N: usize>(
        inner: usize,
        inputs: [&[f32]; N],
        run: impl Fn([Vec<f64>; N]) -> Vec<f64>,
    ) -> Self {
        let values = run(inputs.map(|input| input.iter().map(|&x| x.into()).collect()));
        let terms = run(inputs.map(|input| input.iter().map(|&x| x.abs().into()).collect()));
        Self::new(values, &terms, inner)
    }

    /// Of sums of `inner` terms whose magnitudes add up to `terms`.
    pub fn new(values: Vec<f64>, terms: &[f64], inner: usize) -> Self {
        let unit = FACTOR * f64::from(f32::EPSILON) * (inner as f64).sqrt();
        let tolerances = terms.iter().map(|terms| ABSOLUTE + unit * terms).collect();
        Self { values, tolerances }
    }

    /// Compares, and panics with `name` and the worst element where they differ.
    #[track_caller]
    pub fn assert(&self, name: &str, got: &[f32]) {
        if let Err(difference) = self.check(got) {
            panic!("{name}: {difference}");
        }
    }

    /// What is wrong with `got`, if anything is.
    pub fn check(&self, got: &[f32]) -> Result<(), String> {
        same_length(got.len(), self.values.len())?;
        meaningful(self.values.iter().map(|&value| value != 0.0))?;
        let error = |at: usize| -> f64 {
            let (got, expected) = (f64::from(got[at]), self.values[at]);
            match (got.is_nan(), expected.is_nan()) {
                (true, true) => 0.0,
                (false, false) if got == expected => 0.0, // infinities among them
                (false, false) => (got - expected).abs() / self.tolerances[at],
                _ => f64::INFINITY,
            }
        };
        let worst = (0..got.len()).max_by(|&a, &b| error(a).total_cmp(&error(b)));
        match worst {
            Some(at) if error(at) > 1.0 => {
                let wrong = (0..got.len()).filter(|&at| error(at) > 1.0).count();
                Err(format!(
                    "{wrong} of {} differ, worst [{at}]: got {:e}, expected {:e} within {:e}",
                    got.len(),
                    got[at],
                    self.values[at],
                    self.tolerances[at],
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Demands equal numbers; NaN equals NaN, and 0.0 equals -0.0.
#[track_caller]
pub fn assert_same(name: &str, got: &[f32], expected: &[f32]) {
    let equal = |got: f32, expected: f32| got == expected || got.is_nan() && expected.is_nan();
    exact(got, expected, equal, |value| value != 0.0).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Demands equal bits.
#[track_caller]
pub fn assert_bits(name: &str, got: &[f32], expected: &[f32]) {
    let equal = |got: f32, expected: f32| got.to_bits() == expected.to_bits();
    exact(got, expected, equal, |_| true).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Demands equal indices.
#[track_caller]
pub fn assert_indices(name: &str, got: &[u32], expected: &[u32]) {
    exact(got, expected, |a, b| a == b, |_| true).unwrap_or_else(|e| panic!("{name}: {e}"));
}

fn exact<T: Copy + std::fmt::Debug>(
    got: &[T],
    expected: &[T],
    equal: impl Fn(T, T) -> bool,
    counts: impl Fn(T) -> bool,
) -> Result<(), String> {
    same_length(got.len(), expected.len())?;
    meaningful(expected.iter().map(|&value| counts(value)))?;
    match (0..got.len()).find(|&at| !equal(got[at], expected[at])) {
        Some(at) => Err(format!(
            "first at [{at}]: got {:?}, expected {:?}",
            got[at], expected[at]
        )),
        None => Ok(()),
    }
}

fn same_length(got: usize, expected: usize) -> Result<(), String> {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{got} elements, expected {expected}"))
    }
}

fn meaningful(non_zero: impl ExactSizeIterator<Item = bool>) -> Result<(), String> {
    let len = non_zero.len();
    let count = non_zero.filter(|&non_zero| non_zero).count();
    let needed = (len as f64 * NON_ZERO).ceil().max(1.0) as usize;
    if count >= needed {
        return Ok(());
    }
    Err(format!(
        "only {count} of {len} expected values are not zero: this proves nothing"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{random, uniform};
    use wgpu_cnn::cpu;

    const M: usize = 70;
    const N: usize = 9;
    const K: usize = 33;

    /// A product, its expectation, and the same product in f32.
    fn product() -> (Vec<f32>, Vec<f32>, Expected, Vec<f32>) {
        let mut rng = random(1);
        let (a, b) = (uniform(&mut rng, M * K), uniform(&mut rng, K * N));
        let expected = Expected::sums(K, [&a, &b], |[a, b]| {
            let mut c = vec![0.0; M * N];
            cpu::matmul(M, N, K, &a, false, &b, false, &mut c).unwrap();
            c
        });
        let mut c = vec![0.0f32; M * N];
        cpu::matmul(M, N, K, &a, false, &b, false, &mut c).unwrap();
        (a, b, expected, c)
    }

    #[test]
    fn a_right_result_passes() {
        let (_, _, expected, c) = product();
        expected.check(&c).unwrap();
    }

    #[test]
    fn every_seeded_fault_is_found() {
        let (a, b, expected, c) = product();
        let mut wrong_index = c.clone();
        wrong_index.swap(17, 18);
        let mut dropped_tile = c.clone();
        dropped_tile[64 * N..].fill(0.0);
        let mut swapped_stride = vec![0.0; M * N];
        cpu::matmul(M, N, K, &a, false, &b, true, &mut swapped_stride).unwrap();
        let mut nan = c.clone();
        nan[M * N - 1] = f32::NAN;
        let mut infinite = c.clone();
        infinite[0] = f32::INFINITY;
        let mut short_sum = c.clone(); // the last term of one sum is missing
        short_sum[0] -= a[K - 1] * b[(K - 1) * N];
        let mut slightly_off = c.clone();
        slightly_off[5] += 1e-4;
        let faults = [
            ("a wrong index", wrong_index),
            ("a dropped last tile", dropped_tile),
            ("a swapped stride", swapped_stride),
            ("a NaN", nan),
            ("an infinity", infinite),
            ("a missing term", short_sum),
            ("an error of 1e-4", slightly_off),
            ("nothing but zeros", vec![0.0; M * N]),
            ("an element too few", c[1..].to_vec()),
        ];
        for (fault, got) in faults {
            assert!(expected.check(&got).is_err(), "{fault} passes");
            assert!(
                exact(&got, &c, |a, b| a == b, |_| true).is_err(),
                "{fault} passes as equal"
            );
        }
    }

    #[test]
    fn the_worst_element_is_reported() {
        let (_, _, expected, mut c) = product();
        c[3] += 1e-3;
        c[11] += 1e-2;
        let said = expected.check(&c).unwrap_err();
        assert!(
            said.starts_with("2 of 630 differ, worst [11]: got "),
            "{said}"
        );
    }

    #[test]
    fn an_expectation_of_zeros_proves_nothing() {
        let zeros = Expected::new(vec![0.0; 100], &[1.0; 100], 1);
        assert!(
            zeros
                .check(&[0.0; 100])
                .unwrap_err()
                .contains("proves nothing")
        );
        assert!(exact(&[0.0], &[0.0], |a, b| a == b, |value| value != 0.0).is_err());
    }

    #[test]
    fn nan_equals_nan_alone_and_bits_tell_the_zeros_apart() {
        let nan = Expected::new(vec![f64::NAN, 1.0], &[1.0; 2], 1);
        nan.check(&[f32::NAN, 1.0]).unwrap();
        assert!(nan.check(&[0.0, 1.0]).is_err());
        assert_same("zeros", &[0.0, f32::NAN, 1.0], &[-0.0, f32::NAN, 1.0]);
        assert!(std::panic::catch_unwind(|| assert_bits("zeros", &[0.0], &[-0.0])).is_err());
        assert!(std::panic::catch_unwind(|| assert_same("a NaN", &[f32::NAN], &[1.0])).is_err());
        assert!(std::panic::catch_unwind(|| assert_indices("index", &[1], &[2])).is_err());
    }
}
