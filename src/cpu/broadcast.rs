//! Sums and products of two values. The twin of the `broadcast` kernels.

use super::parallel::for_each;
use super::sum::{add_wide, round, sum};
use super::{Real, check_length};
use crate::Result;
use crate::op::{BroadcastGeometry, Spread};

/// `y = left + right`, element by element, for `y` of `(N, C, plane)` and sides that lie as the geometry
/// says.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn add_forward<T: Real>(
    geometry: &BroadcastGeometry,
    left: &[T],
    right: &[T],
    y: &mut [T],
) -> Result<()> {
    join("add", geometry, left, right, y, |a, b| a + b)
}

/// The gradient of a side of [`add_forward`] that lies as `side` says: that of the output, summed over
/// the axes that the side lacks.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn add_backward<T: Real>(
    geometry: &BroadcastGeometry,
    side: Spread,
    gy: &[T],
    gradient: &mut [T],
) -> Result<()> {
    let result = ("add output gradient", Spread::Whole, gy.len());
    check(geometry, &[result, ("add gradient", side, gradient.len())])?;
    gather(geometry, side, gradient, |n, c| {
        let at = (n * geometry.channels + c) * geometry.plane;
        gy[at..at + geometry.plane].iter().copied()
    });
    Ok(())
}

/// `y = left * right`, as [`add_forward`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn mul_forward<T: Real>(
    geometry: &BroadcastGeometry,
    left: &[T],
    right: &[T],
    y: &mut [T],
) -> Result<()> {
    join("mul", geometry, left, right, y, |a, b| a * b)
}

/// The gradient of the left side of [`mul_forward`]: `gy * right`, summed over the axes that the left side
/// lacks. For that of the right side, the sides of the geometry change places.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn mul_backward<T: Real>(
    geometry: &BroadcastGeometry,
    right: &[T],
    gy: &[T],
    gradient: &mut [T],
) -> Result<()> {
    let lengths = [
        ("mul output gradient", Spread::Whole, gy.len()),
        ("mul right side", geometry.right, right.len()),
        ("mul gradient", geometry.left, gradient.len()),
    ];
    check(geometry, &lengths)?;
    gather(geometry, geometry.left, gradient, |n, c| {
        let at = (n * geometry.channels + c) * geometry.plane;
        let row = Row::of(geometry, geometry.right, [n, c]);
        let gy = gy[at..at + geometry.plane].iter().enumerate();
        gy.map(move |(p, &gy)| gy * right[row.at(p)])
    });
    Ok(())
}

/// Where the numbers of a side for one channel of one example begin, and whether there is one for each
/// position.
#[derive(Clone, Copy)]
struct Row {
    begin: usize,
    step: usize,
}

impl Row {
    fn of(geometry: &BroadcastGeometry, side: Spread, [n, c]: [usize; 2]) -> Self {
        let row = match side.has_channels() {
            true => n * geometry.channels + c,
            false => n,
        };
        match side.has_positions() {
            true => Self {
                begin: row * geometry.plane,
                step: 1,
            },
            false => Self {
                begin: row,
                step: 0,
            },
        }
    }

    fn at(self, position: usize) -> usize {
        self.begin + self.step * position
    }
}

fn check(geometry: &BroadcastGeometry, lengths: &[(&str, Spread, usize)]) -> Result<()> {
    lengths
        .iter()
        .try_for_each(|&(what, side, got)| check_length(what, [geometry.side_len(side)], got))
}

fn join<T: Real>(
    name: &str,
    geometry: &BroadcastGeometry,
    left: &[T],
    right: &[T],
    y: &mut [T],
    function: impl Fn(T, T) -> T + Send + Sync,
) -> Result<()> {
    let lengths = [
        (&*format!("{name} left side"), geometry.left, left.len()),
        (&*format!("{name} right side"), geometry.right, right.len()),
        (&*format!("{name} output"), Spread::Whole, y.len()),
    ];
    check(geometry, &lengths)?;
    if y.is_empty() {
        return Ok(());
    }
    let rows = y.chunks_exact_mut(geometry.plane).enumerate();
    for_each(rows, |(at, y)| {
        let place = [at / geometry.channels, at % geometry.channels];
        let [a, b] = [geometry.left, geometry.right].map(|side| Row::of(geometry, side, place));
        match (a.step, b.step) {
            (1, 1) => {
                let pairs = left[a.begin..].iter().zip(&right[b.begin..]);
                y.iter_mut()
                    .zip(pairs)
                    .for_each(|(y, (&a, &b))| *y = function(a, b));
            }
            _ => y
                .iter_mut()
                .enumerate()
                .for_each(|(p, y)| *y = function(left[a.at(p)], right[b.at(p)])),
        }
    });
    Ok(())
}

/// Writes what `terms` gives for the positions of a channel of an example, summed over the axes that a
/// side lacks.
fn gather<T: Real, I: Iterator<Item = T>>(
    geometry: &BroadcastGeometry,
    side: Spread,
    gradient: &mut [T],
    terms: impl Fn(usize, usize) -> I + Send + Sync,
) {
    let &BroadcastGeometry {
        channels, plane, ..
    } = geometry;
    if gradient.is_empty() {
        return;
    }
    if geometry.output_len() == 0 {
        gradient.fill(T::zero());
        return;
    }
    match side {
        Spread::Whole => {
            let rows = gradient.chunks_exact_mut(plane).enumerate();
            for_each(rows, |(at, row)| {
                let terms = terms(at / channels, at % channels);
                row.iter_mut().zip(terms).for_each(|(g, term)| *g = term);
            });
        }
        Spread::Channels => for_each(gradient.iter_mut().enumerate(), |(at, g)| {
            *g = T::nearest(sum(terms(at / channels, at % channels)));
        }),
        Spread::Positions => {
            for_each(gradient.chunks_exact_mut(plane).enumerate(), |(n, row)| {
                let (mut totals, mut values) = (vec![0.0; plane], vec![T::zero(); plane]);
                for c in 0..channels {
                    let pairs = values.iter_mut().zip(terms(n, c));
                    pairs.for_each(|(value, term)| *value = term);
                    add_wide(&mut totals, &values);
                }
                round(&totals, row);
            });
        }
        Spread::Examples => for_each(gradient.iter_mut().enumerate(), |(n, g)| {
            *g = T::nearest(sum((0..channels).flat_map(|c| terms(n, c))));
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Mul;

    /// In numbers that are not computed here: the sides as digits.
    #[test]
    fn a_number_counts_for_all_positions_or_channels() {
        let geometry =
            |left: &[usize], right: &[usize]| Mul.geometry(1, &left.into(), &right.into()).unwrap();
        let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // (2, 3)
        let (mut y, mut small) = ([0.0; 6], [0.0; 3]);
        let wide = geometry(&[2, 3], &[2, 1]);
        mul_forward(&wide, &image, &[10.0, 100.0], &mut y).unwrap();
        assert_eq!(y, [10.0, 20.0, 30.0, 400.0, 500.0, 600.0]);
        mul_backward(&wide.swapped(), &image, &image, &mut small[..2]).unwrap();
        assert_eq!(small[..2], [14.0, 77.0]);
        let deep = geometry(&[1, 3], &[2, 3]);
        add_forward(&deep, &[10.0, 20.0, 30.0], &image, &mut y).unwrap();
        assert_eq!(y, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
        add_backward(&deep, deep.left, &image, &mut small).unwrap();
        assert_eq!(small, [5.0, 7.0, 9.0]);
        let both = geometry(&[2, 1], &[1, 3]);
        mul_forward(&both, &[1.0, 10.0], &[2.0, 3.0, 4.0], &mut y).unwrap();
        assert_eq!(y, [2.0, 3.0, 4.0, 20.0, 30.0, 40.0]);
        mul_backward(&both, &[2.0, 3.0, 4.0], &image, &mut small[..2]).unwrap();
        assert_eq!(small[..2], [20.0, 47.0]);
        let one = geometry(&[1, 1], &[2, 3]);
        mul_backward(&one, &image, &image, &mut small[..1]).unwrap();
        assert_eq!(small[0], 91.0);
    }

    #[test]
    fn slices_of_other_lengths_and_extents_that_no_slice_has_are_refused() {
        let fits = Mul.geometry(2, &[2, 3].into(), &[2, 1].into()).unwrap();
        let (x, mut y) = ([1.0; 12], [0.0; 12]);
        assert!(mul_forward(&fits, &x, &x, &mut y).is_err());
        assert!(mul_forward(&fits, &x, &x[..4], &mut y[..11]).is_err());
        assert!(mul_backward(&fits, &x, &x, &mut y).is_err());
        assert!(add_backward(&fits, fits.right, &x, &mut y).is_err());
        let huge = BroadcastGeometry {
            batch: usize::MAX,
            channels: usize::MAX,
            ..fits
        };
        assert!(mul_forward(&huge, &x, &x, &mut y).is_err());
        let none = BroadcastGeometry { plane: 0, ..fits };
        add_forward(&none, &[], &x[..4], &mut []).unwrap();
        add_backward(&none, none.right, &[], &mut y[..4]).unwrap();
        let empty = BroadcastGeometry {
            batch: 0,
            channels: usize::MAX,
            ..fits
        };
        mul_forward(&empty, &[], &[], &mut [0.0; 0]).unwrap();
    }
}
