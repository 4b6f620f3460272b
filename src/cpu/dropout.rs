//! Dropout. The twin of the `dropout` kernel.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::op::Dropout;
use crate::op::dropout::{Stream, scale};
use crate::{Error, Result};

/// Blocks of four elements that one task computes.
const BLOCKS: usize = 1 << 11;

/// `y = x * mask / (1 - probability)`, where each element's mask is 0 with the given probability and
/// else 1: a pure function of seed, update, layer and the element's place among those of the update; `x` is
/// its first batch. The gradient takes the same way back: this function of the output gradient is the input
/// gradient. NaN and infinities that the mask meets with 0 are NaN, as in PyTorch.
///
/// `step` counts the updates before this one.
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
    dropout_from(probability, Stream::new(seed, step, layer), 0, x, y)
}

/// The same for elements of which the first has this number in the update.
pub(crate) fn dropout_from<T: Real>(
    probability: f64,
    stream: Stream,
    first: u64,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    check_length("dropout output", [x.len()], y.len())?;
    Dropout::new(probability).check()?;
    let factor = T::nearest(scale(probability));
    let chunk = 4 * BLOCKS;
    let tasks = x.chunks(chunk).zip(y.chunks_mut(chunk)).enumerate();
    for_each(tasks, |(task, (x, y))| {
        let mut number = first.wrapping_add((task * chunk) as u64);
        let mut kept = stream.kept(probability, number / 4);
        for (&x, y) in x.iter().zip(y) {
            if number.is_multiple_of(4) {
                kept = stream.kept(probability, number / 4);
            }
            let kept = kept[(number % 4) as usize];
            *y = x * if kept { factor } else { T::zero() };
            number = number.wrapping_add(1);
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
    dropout_spans_from(probability, span, Stream::new(seed, step, layer), 0, x, y)
}

/// The same for runs of which the first has this number in the update.
pub(crate) fn dropout_spans_from<T: Real>(
    probability: f64,
    span: usize,
    stream: Stream,
    first: u64,
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
        let (mut done, begin) = (0, task * chunk);
        while done < y.len() {
            let at = begin + done;
            let run = (span - at % span).min(y.len() - done);
            let number = first.wrapping_add((at / span) as u64);
            let kept = stream.kept(probability, number / 4)[(number % 4) as usize];
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
            let kept = Stream::new(9, 2, 5).kept(0.25, at as u64 / 4)[at % 4];
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
    fn numbers_may_begin_anywhere() {
        const LEN: usize = 4 * BLOCKS + 40;
        let (stream, x) = (Stream::new(9, 2, 5), vec![1.0; LEN]);
        let whole = |span| {
            let mut y = vec![0.0; LEN];
            dropout_spans_from(0.3, span, stream, u64::from(u32::MAX) * 4 - 9, &x, &mut y).unwrap();
            y
        };
        for (begin, span) in [
            (1, 1),
            (2, 1),
            (3, 1),
            (4, 1),
            (4 * BLOCKS, 1),
            (5, 3),
            (8, 2),
            (1, 7),
        ] {
            let (whole, from) = (whole(span), begin * span);
            let first = u64::from(u32::MAX) * 4 - 9 + begin as u64;
            let mut part = vec![0.0; LEN - from];
            dropout_spans_from(0.3, span, stream, first, &x[from..], &mut part).unwrap();
            assert_eq!(part, whole[from..], "{begin} of {span}");
            if span == 1 {
                dropout_from(0.3, stream, first, &x[from..], &mut part).unwrap();
                assert_eq!(part, whole[from..], "{begin}");
            }
        }
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
