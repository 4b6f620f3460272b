//! Local response normalisation.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::Result;
use crate::op::LocalResponseNorm;

/// `y = x / (k + alpha / size * s)^beta`, where `s` is the sum of the squares of the channels of a window: `x`
/// and `y` of `(N, C, plane)`. In `f64`, where no square overflows.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the extents say,
/// [`Error::Argument`](crate::Error::Argument) where a number of the layer is out of its domain.
pub fn local_response_norm_forward<T: Real>(
    extents: [usize; 3],
    layer: &LocalResponseNorm,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    check(extents, layer, &[("input", x.len()), ("output", y.len())])?;
    let image = image(extents);
    let images = x.chunks_exact(image).zip(y.chunks_exact_mut(image));
    for_each(images, |(x, y)| {
        let bases = bases(extents, layer, x);
        for ((&x, y), base) in x.iter().zip(y).zip(bases) {
            *y = T::nearest(x.wide() / base.powf(layer.beta));
        }
    });
    Ok(())
}

/// The gradient: with `d = k + alpha / size * s`, `gx = gy / d^beta - 2 * beta * alpha / size * x * r`,
/// where `r` is the sum of `gy * x / d^(beta + 1)` over the channels in whose windows `x` lies. Shapes as in
/// [`local_response_norm_forward`].
///
/// # Errors
///
/// Those of [`local_response_norm_forward`].
pub fn local_response_norm_backward<T: Real>(
    extents: [usize; 3],
    layer: &LocalResponseNorm,
    x: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let lengths = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    check(extents, layer, &lengths)?;
    let (image, [_, channels, plane]) = (image(extents), extents);
    let [before, after] = layer.reach();
    let factor = 2.0 * layer.beta * layer.factor();
    let slices = x
        .chunks_exact(image)
        .zip(gy.chunks_exact(image))
        .zip(gx.chunks_exact_mut(image));
    for_each(slices, |((x, gy), gx)| {
        let bases = bases(extents, layer, x);
        let terms = x.iter().zip(gy).zip(&bases);
        let terms =
            terms.map(|((x, gy), base)| gy.wide() * x.wide() / base.powf(layer.beta) / base);
        let terms: Vec<f64> = terms.collect();
        let mut sums = vec![0.0; plane];
        for c in 0..channels {
            sums.fill(0.0);
            let windows = window(c, [after, before], channels);
            for terms in terms[windows.start * plane..windows.end * plane].chunks_exact(plane) {
                let pairs = sums.iter_mut().zip(terms);
                pairs.for_each(|(sum, term)| *sum += term);
            }
            for (at, sum) in (c * plane..).zip(&sums) {
                let direct = gy[at].wide() / bases[at].powf(layer.beta);
                gx[at] = T::nearest(direct - factor * x[at].wide() * sum);
            }
        }
    });
    Ok(())
}

/// `k + alpha / size * s` for each value of an image.
fn bases<T: Real>(
    [_, channels, plane]: [usize; 3],
    layer: &LocalResponseNorm,
    x: &[T],
) -> Vec<f64> {
    let mut bases = vec![0.0; x.len()];
    for (c, bases) in bases.chunks_exact_mut(plane).enumerate() {
        let window = window(c, layer.reach(), channels);
        for x in x[window.start * plane..window.end * plane].chunks_exact(plane) {
            let pairs = bases.iter_mut().zip(x);
            pairs.for_each(|(sum, x)| *sum += x.wide() * x.wide());
        }
        let base = |sum: &mut f64| *sum = layer.k + layer.factor() * *sum;
        bases.iter_mut().for_each(base);
    }
    debug_assert_eq!(bases.len(), channels * plane);
    bases
}

/// The channels around one of them that there are.
fn window(c: usize, [before, after]: [usize; 2], channels: usize) -> std::ops::Range<usize> {
    c.saturating_sub(before)..channels.min(c.saturating_add(after).saturating_add(1))
}

/// Elements of an image, at least 1.
fn image([_, channels, plane]: [usize; 3]) -> usize {
    channels.saturating_mul(plane).max(1)
}

/// Refuses slices of other lengths than `(N, C, plane)`, and numbers out of their domain.
fn check(extents: [usize; 3], layer: &LocalResponseNorm, lengths: &[(&str, usize)]) -> Result<()> {
    layer.check()?;
    lengths.iter().try_for_each(|&(what, len)| {
        check_length(&format!("local_response_norm {what}"), extents, len)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn it_equals_values_computed_by_hand() {
        // An even window reaches further before: channels c - 1 and c.
        let layer = LocalResponseNorm::new(2).alpha(2.0).beta(0.5).k(1.0);
        let (x, mut y) = ([2.0, 2.0, 0.0], [f64::NAN; 3]);
        local_response_norm_forward([1, 3, 1], &layer, &x, &mut y).unwrap();
        // d = 1 + 4, 1 + 8, 1 + 4
        assert_abs_diff_eq!(y[..], [2.0 / 5f64.sqrt(), 2.0 / 3.0, 0.0], epsilon = 1e-15);
        let mut gx = [f64::NAN; 3];
        local_response_norm_backward([1, 3, 1], &layer, &x, &[0.0, 9.0, 0.0], &mut gx).unwrap();
        // Of y1 alone: 9 * (1 / 3 - 2 * 2 / 27), and through the first channel 9 * -2 * 2 / 27.
        assert_abs_diff_eq!(gx[..], [-4.0 / 3.0, 3.0 - 4.0 / 3.0, 0.0], epsilon = 1e-14);
    }

    #[test]
    fn nothing_is_no_work_and_squares_do_not_overflow() {
        let layer = LocalResponseNorm::new(3).alpha(3.0).beta(0.5).k(0.0);
        local_response_norm_forward::<f32>([0, 2, usize::MAX], &layer, &[], &mut []).unwrap();
        local_response_norm_backward::<f32>([2, 0, usize::MAX], &layer, &[], &[], &mut []).unwrap();
        let mut y = [f32::NAN; 2];
        local_response_norm_forward([1, 2, 1], &layer, &[3e30, 4e30], &mut y).unwrap();
        assert_abs_diff_eq!(y[..], [0.6, 0.8], epsilon = 1e-6);
        let nan = [f32::NAN, 1.0, 1.0, 1.0];
        let mut y = [0.0; 4];
        local_response_norm_forward([1, 4, 1], &layer, &nan, &mut y).unwrap();
        assert!(y[0].is_nan() && y[1].is_nan() && y[2..].iter().all(|y| y.is_finite()));
        let none = LocalResponseNorm::new(0);
        assert!(local_response_norm_forward([1, 4, 1], &none, &nan, &mut y).is_err());
    }
}
