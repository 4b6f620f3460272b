//! Concatenation along the channels. The twin of the `concat` kernel.

use super::{Real, check_length};
use crate::{Error, Result};

/// Each example's values one after the other: `y (N, C1 + C2 + ..)` from inputs of `(N, C1)`,
/// `(N, C2)`, where a channel stands for all of its pixels.
///
/// # Errors
///
/// [`Error::Shape`] where an input holds no whole number of elements per example, or the output
/// another number than the inputs together.
pub fn concat_forward<T: Real>(batch: usize, inputs: &[&[T]], y: &mut [T]) -> Result<()> {
    let row = check(batch, y.len())?;
    let rows = inputs
        .iter()
        .map(|input| check(batch, input.len()))
        .collect::<Result<Vec<_>>>()?;
    check_length("concat output", [batch, rows.iter().sum()], y.len())?;
    let mut first = 0;
    for (input, len) in inputs.iter().zip(rows).filter(|&(_, len)| len > 0) {
        for (x, y) in input.chunks_exact(len).zip(y.chunks_exact_mut(row)) {
            y[first..first + len].copy_from_slice(x);
        }
        first += len;
    }
    Ok(())
}

/// The gradient of one input of [`concat_forward`]: its part of each example's output gradient,
/// which begins after the `first` elements of the inputs before it.
///
/// # Errors
///
/// [`Error::Shape`] where a slice holds no whole number of elements per example, or the part lies
/// outside the output gradient.
pub fn concat_backward<T: Real>(batch: usize, first: usize, gy: &[T], gx: &mut [T]) -> Result<()> {
    let (row, len) = (check(batch, gy.len())?, check(batch, gx.len())?);
    if first.checked_add(len).is_none_or(|end| end > row) {
        let expected = format!("a part of {row} elements");
        return Err(Error::shape(
            "concat",
            expected,
            format!("{len} elements from {first} on"),
        ));
    }
    for (gx, gy) in gx
        .chunks_exact_mut(len.max(1))
        .zip(gy.chunks_exact(row.max(1)))
    {
        gx.copy_from_slice(&gy[first..first + len]);
    }
    Ok(())
}

/// The elements of one example.
fn check(batch: usize, len: usize) -> Result<usize> {
    if batch == 0 || !len.is_multiple_of(batch) {
        return Err(Error::shape(
            "concat",
            format!("{batch} examples of one length"),
            len,
        ));
    }
    Ok(len / batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_joined_and_parted() {
        let (a, b, c) = ([1.0, 2.0, 3.0, 4.0], [5.0, 6.0], []);
        let mut y = [f64::NAN; 6];
        concat_forward(2, &[&a, &b, &c], &mut y).unwrap();
        assert_eq!(y, [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        let (mut ga, mut gb) = ([0.0; 4], [0.0; 2]);
        concat_backward(2, 0, &y, &mut ga).unwrap();
        concat_backward(2, 2, &y, &mut gb).unwrap();
        assert_eq!((ga, gb), (a, b));
        assert!(concat_forward(2, &[&a, &b[1..]], &mut y).is_err());
        assert!(concat_forward(2, &[&a], &mut y).is_err());
        assert!(concat_forward(0, &[&c], &mut y[..0]).is_err());
        assert!(concat_backward(2, 3, &y, &mut gb).is_err());
        assert!(concat_backward(1, usize::MAX, &y, &mut gb).is_err());
        assert!(concat_backward(2, 2, &y, &mut ga).is_err());
    }
}
