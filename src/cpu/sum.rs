//! Sums that stay accurate however long they are. The one place that says how.
//!
//! Adding `f32`s one by one drifts: each addition rounds to the sum's precision, and where the terms
//! are alike, always the same way. So what is long is added up in `f64`. Products, which have to be
//! fast, add up at most [`TERMS`] in their own precision before that.

use super::Real;

/// Terms that a sum adds up in their own precision. `n` equal ones are off by at most
/// `n / 4 * EPSILON / 2`: so many `f32`s by 8.4e-7.
pub(super) const TERMS: usize = 56;

/// Sums that run side by side, so that an addition need not wait for the one before.
const LANES: usize = 8;

/// The sum of all terms.
pub(super) fn sum<T: Real>(mut terms: impl Iterator<Item = T>) -> f64 {
    let mut lanes = [0.0; LANES];
    loop {
        for lane in &mut lanes {
            match terms.next() {
                Some(term) => *lane += term.wide(),
                None => return lanes.iter().sum(),
            }
        }
    }
}

/// The sum of a slice, in the order of [`sum`].
pub(super) fn sum_of<T: Real>(terms: &[T]) -> f64 {
    let (chunks, rest) = terms.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        add_wide(&mut lanes, chunk);
    }
    add_wide(&mut lanes, rest);
    lanes.iter().sum()
}

/// `totals += terms`.
pub(super) fn add_wide<T: Real>(totals: &mut [f64], terms: &[T]) {
    for (total, &term) in totals.iter_mut().zip(terms) {
        *total += term.wide();
    }
}

/// `values = totals`, rounded.
pub(super) fn round<T: Real>(totals: &[f64], values: &mut [T]) {
    for (value, &total) in values.iter_mut().zip(totals) {
        *value = T::nearest(total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sums_keep_their_accuracy() {
        let tenths = std::iter::repeat_n(0.1f32, 1 << 24);
        let expected = f64::from(0.1f32) * f64::from(1 << 24);
        assert!((sum(tenths) / expected - 1.0).abs() < 1e-9);
        assert_eq!(sum(std::iter::repeat_n(1.0f32, 20_000_003)), 20_000_003.0);
        assert_eq!(sum((0..21).map(f64::from)), 210.0);
        let thirds: Vec<f32> = (0..21).map(|at| at as f32 / 3.0).collect();
        assert_eq!(sum_of(&thirds), sum(thirds.iter().copied()));
        assert_eq!(sum(std::iter::empty::<f32>()), 0.0);
        assert_eq!(
            sum([f32::MAX, f32::MAX, -f32::MAX].into_iter()),
            f64::from(f32::MAX)
        );
        assert!(sum([f32::INFINITY, 1.0, -f32::INFINITY].into_iter()).is_nan());
        let mut totals = [1.0, 2.0];
        add_wide(&mut totals, &[0.5f32, f32::NAN]);
        let mut values = [0.0f32; 2];
        round(&totals, &mut values);
        assert!(values[0] == 1.5 && values[1].is_nan());
    }
}
