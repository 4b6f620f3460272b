//! The comparator: how far a value is off in units of its tolerance, which element is furthest off,
//! and whether the values are fit to show an error at all. The tests of kernels, of golden cases and
//! of gradients bring the tolerances.
//!
//! A sum of K products in f32, in whatever order, is off by about `eps * sqrt(K) * sum|terms|`. The
//! reference gives both sides of that: its result in f64, and its result on absolute values, which
//! is the sum of the terms' magnitudes.

use wgpu_cnn::engine::catalogue::of_sum;
pub use wgpu_cnn::engine::catalogue::{Worst, meaningful, off, worst};

/// The result that an operation should have, and how far from it another may be.
#[derive(Debug, Clone)]
pub struct Expected {
    pub values: Vec<f64>,
    pub tolerances: Vec<f64>,
}

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
        let tolerances = terms.iter().map(|&terms| of_sum(inner, terms)).collect();
        Self { values, tolerances }
    }

    /// Of sums of `inner` products by Winograd's algorithm, which spreads roundings over a tile: each is off by
    /// what the largest may be, and by what the transforms add.
    pub fn spread(&self, inner: usize) -> Self {
        let finite = self.tolerances.iter().copied().filter(|t| t.is_finite());
        let most = finite.fold(0.0, f64::max);
        let all = most * (1.0 + 8.0 / (inner as f64).sqrt());
        Self {
            values: self.values.clone(),
            tolerances: vec![all; self.values.len()],
        }
    }

    /// Compares, and panics with `name` and the worst element where they differ.
    #[track_caller]
    pub fn assert(&self, name: &str, got: &[f32]) {
        if let Err(difference) = self.check(got) {
            panic!("{name}: {difference}");
        }
    }

    /// What is wrong with `got`, or with a comparison of so many zeros, if anything is.
    pub fn check<T: Copy + Into<f64>>(&self, got: &[T]) -> Result<(), String> {
        self.close(got)?;
        meaningful(self.values.iter().map(|&value| value != 0.0), NON_ZERO)
    }

    /// What is wrong with `got`, if anything is.
    pub fn close<T: Copy + Into<f64>>(&self, got: &[T]) -> Result<(), String> {
        same_length(got.len(), self.values.len())?;
        let error = |at: usize| off(got[at].into(), self.values[at], self.tolerances[at]);
        match worst(got.len(), error) {
            Some(Worst { at, off, wrong }) if off > 1.0 => Err(format!(
                "{wrong} of {} differ, worst [{at}]: got {:e}, expected {:e} within {:e}",
                got.len(),
                got[at].into(),
                self.values[at],
                self.tolerances[at],
            )),
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
    meaningful(expected.iter().map(|&value| counts(value)), NON_ZERO)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_cnn::cpu;

    const M: usize = 70;
    const N: usize = 9;
    const K: usize = 33;

    /// A product, its expectation, and the same product in f32.
    fn product() -> (Vec<f32>, Vec<f32>, Expected, Vec<f32>) {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut uniform = |len| -> Vec<f32> { (0..len).map(|_| rng.f32() * 2.0 - 1.0).collect() };
        let (a, b) = (uniform(M * K), uniform(K * N));
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
    fn values_that_are_not_finite_match_by_kind_whatever_the_tolerance() {
        const NAN: f64 = f64::NAN;
        const INF: f64 = f64::INFINITY;
        for value in [NAN, INF, -INF, 0.0, 1.0] {
            assert_eq!(off(value, value, 0.0), 0.0);
        }
        for (got, expected) in [
            (NAN, 1.0),
            (1.0, NAN),
            (INF, NAN),
            (INF, -INF),
            (1.0, INF),
            (INF, 1.0),
        ] {
            for tolerance in [0.0, 1.0, INF, NAN] {
                assert_eq!(off(got, expected, tolerance), INF, "{got} for {expected}");
            }
        }
        assert_eq!(off(1.0, 2.0, NAN), INF);
        assert_eq!(off(1.0, 2.0, 0.5), 2.0);
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
