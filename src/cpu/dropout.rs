//! Dropout. The twin of the `dropout` kernel.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::op::Dropout;
use crate::op::dropout::{kept, scale};
use crate::{Error, Result};

/// Blocks of four elements that one task computes.
const BLOCKS: usize = 1 << 11;

/// `y = x * mask / (1 - probability)`, where each element's mask is 0 with the given probability and
/// else 1: a pure function of seed, step, layer and the element's place. The gradient takes the same
/// way back: this function of the output gradient is the input gradient. NaN and infinities that the
/// mask meets with 0 are NaN, as in PyTorch.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the slices have different lengths, [`Error::Argument`](crate::Error::Argument) where the
/// probability is not within `0..1`.
pub fn dropout<T: Real>(
    probability: f64,
    seed: u64,
    step: u64,
    layer: u32,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    check_length("dropout output", [x.len()], y.len())?;
    Dropout::new(probability).check()?;
    let factor = T::nearest(scale(probability));
    let tasks = x
        .chunks(4 * BLOCKS)
        .zip(y.chunks_mut(4 * BLOCKS))
        .enumerate();
    for_each(tasks, |(task, (x, y))| {
        for (at, (x, y)) in x.chunks(4).zip(y.chunks_mut(4)).enumerate() {
            let block = (task * BLOCKS + at) as u32;
            let kept = kept(probability, seed, step, layer, block);
            for ((&x, y), kept) in x.iter().zip(y).zip(kept) {
                *y = x * if kept { factor } else { T::zero() };
            }
        }
    });
    Ok(())
}

/// The same for runs of `span` neighbouring values each, which are kept or dropped together: `span` is a
/// plane for dropout over channels, and an example or a batch for stochastic depth. A run's mask is that
/// of the element of [`dropout`] with its number.
///
/// # Errors
///
/// Those of [`dropout`], and [`Error::Argument`] where `span` is zero.
pub fn dropout_spans<T: Real>(
    probability: f64,
    span: usize,
    seed: u64,
    step: u64,
    layer: u32,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    check_length("dropout output", [x.len()], y.len())?;
    Dropout::new(probability).check()?;
    if span == 0 {
        return Err(Error::argument("dropout span", "must not be zero"));
    }
    let factor = T::nearest(scale(probability));
    let chunk = 4 * BLOCKS;
    for_each(y.chunks_mut(chunk).enumerate(), |(task, y)| {
        let (mut done, first) = (0, task * chunk);
        while done < y.len() {
            let at = first + done;
            let (run, number) = ((span - at % span).min(y.len() - done), at / span);
            let kept = kept(probability, seed, step, layer, (number / 4) as u32)[number % 4];
            let factor = if kept { factor } else { T::zero() };
            let pairs = y[done..done + run].iter_mut().zip(&x[at..at + run]);
            pairs.for_each(|(y, &x)| *y = x * factor);
            done += run;
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_or_go_by_their_mask() {
        let x: Vec<f32> = (1..=4 * BLOCKS + 3).map(|i| i as f32).collect();
        let mut y = vec![f32::NAN; x.len()];
        dropout(0.25, 9, 2, 5, &x, &mut y).unwrap();
        for (at, (&x, &y)) in x.iter().zip(&y).enumerate() {
            let kept = kept(0.25, 9, 2, 5, at as u32 / 4)[at % 4];
            assert_eq!(y, if kept { x * (4.0f32 / 3.0) } else { 0.0 });
        }
        let zeros = y.iter().filter(|&&y| y == 0.0).count() as f64;
        assert!((zeros / y.len() as f64 - 0.25).abs() < 0.02);
    }

    #[test]
    fn runs_stay_or_go_together_by_the_masks_of_elements() {
        let numbers: Vec<f32> = (0..BLOCKS).map(|_| 1.0).collect();
        let mut masks = vec![0.0; numbers.len()];
        dropout(0.25, 9, 2, 5, &numbers, &mut masks).unwrap();
        for span in [1, 3, 7, 9 * BLOCKS] {
            let (x, mut y) = (vec![1.0; 11 * BLOCKS], vec![0.0; 11 * BLOCKS]);
            dropout_spans(0.25, span, 9, 2, 5, &x, &mut y).unwrap();
            let pairs = y.iter().enumerate().take(span * masks.len());
            pairs.for_each(|(at, &y)| assert_eq!(y, masks[at / span]));
        }
        assert!(dropout_spans(0.25, 0, 9, 2, 5, &numbers, &mut masks).is_err());
        assert!(dropout_spans(1.0, 2, 9, 2, 5, &numbers, &mut masks).is_err());
        assert!(dropout_spans(0.5, 2, 9, 2, 5, &numbers, &mut masks[1..]).is_err());
    }

    #[test]
    fn no_probability_changes_nothing_and_wrong_ones_are_refused() {
        let (x, mut y) = ([1.0, -2.0, f64::INFINITY], [0.0; 3]);
        dropout(0.0, 1, 1, 1, &x, &mut y).unwrap();
        assert_eq!(x, y);
        for probability in [1.0, -0.1, f64::NAN] {
            assert!(dropout(probability, 1, 1, 1, &x, &mut y).is_err());
        }
        assert!(dropout(0.5, 1, 1, 1, &x, &mut y[1..]).is_err());
    }
}
