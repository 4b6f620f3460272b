//! Averages of weights. The twin of the `average` kernels.

use super::{Real, check_length};
use crate::op::Average;
use crate::{Error, Result};

/// What an update, counted from 1, makes of an average: the parameter itself at first, and then
/// `kept * average + taken * parameter` with the [shares](Average::shares) of both.
///
/// # Errors
///
/// [`Error::Shape`] where the two are not of one length, [`Error::Argument`] where the decay is out of its
/// domain or `update` is 0.
pub fn average_update<T: Real>(
    average: &Average,
    update: u64,
    parameter: &[T],
    averaged: &mut [T],
) -> Result<()> {
    average.check()?;
    if update == 0 {
        return Err(Error::argument("update", "counts from 1"));
    }
    check_length("average", [parameter.len()], averaged.len())?;
    let shares = average.shares(update);
    let [kept, taken] = shares.map(T::nearest);
    if shares[0] == 0.0 {
        averaged.copy_from_slice(parameter);
        return Ok(());
    }
    let pairs = averaged.iter_mut().zip(parameter);
    pairs.for_each(|(average, &w)| *average = kept * *average + taken * w);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_equal_values_computed_by_hand() {
        let averages = |average: Average| {
            let mut averaged = [f64::NAN];
            let updates = [8.0, 4.0, 0.0, 16.0].into_iter().zip(1..);
            let all = updates.map(|(w, update)| {
                average_update(&average, update, &[w], &mut averaged).unwrap();
                averaged[0]
            });
            all.collect::<Vec<_>>()
        };
        assert_eq!(averages(Average::ema(0.75)), [8.0, 7.0, 5.25, 7.9375]);
        assert_eq!(averages(Average::ema(0.0)), [8.0, 4.0, 0.0, 16.0]);
        assert_eq!(averages(Average::ema(0.75).after(2)), [8.0, 4.0, 0.0, 4.0]);
        assert_eq!(averages(Average::equal())[..2], [8.0, 6.0]);
        assert_eq!(averages(Average::equal().after(2)), [8.0, 4.0, 0.0, 8.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut averaged = [1.0];
        let mut update = |average, at, w: &[f64]| average_update(&average, at, w, &mut averaged);
        for decay in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(update(Average::ema(decay), 1, &[1.0]).is_err());
        }
        assert!(update(Average::equal(), 0, &[1.0]).is_err());
        assert!(update(Average::equal(), 1, &[1.0, 2.0]).is_err());
        assert!(update(Average::ema(1.0), u64::MAX, &[2.0]).is_ok());
        assert_eq!(averaged, [1.0]);
    }
}
