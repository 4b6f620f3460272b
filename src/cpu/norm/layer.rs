//! Layer normalisation.

use super::{centred, inverse_deviation, moments};
use crate::cpu::parallel::for_each;
use crate::cpu::sum::{round, sum};
use crate::cpu::{Real, check_length};
use crate::op::check_epsilon;
use crate::{Error, Result};

/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, row by row, with each row's own mean
/// and (biased) variance: `x` and `y` of `(rows, len)`, `gamma` and `beta` of `(len)`.
///
/// # Errors
///
/// [`Error::Shape`] where the slices' lengths do not fit together.
pub fn layer_norm_forward<T: Real>(
    rows: usize,
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    beta: &[T],
    y: &mut [T],
) -> Result<()> {
    check_epsilon("layer_norm", epsilon)?;
    let len = check_rows(
        rows,
        gamma.len(),
        &[("input", x.len()), ("output", y.len())],
    )?;
    check_length("layer_norm beta", [gamma.len()], beta.len())?;
    for_each(
        x.chunks_exact(len).zip(y.chunks_exact_mut(len)),
        |(x, y)| {
            let (mean, variance) = moments(std::iter::once(x));
            let inverse = inverse_deviation(variance, epsilon);
            for (((&x, &gamma), &beta), y) in x.iter().zip(gamma).zip(beta).zip(y) {
                *y = centred(x, mean, inverse) * gamma + beta;
            }
        },
    );
    Ok(())
}

/// `gbeta = sum of gy` and `ggamma = sum of gy * (x - mean) / sqrt(variance + epsilon)` over the rows.
/// Shapes as in [`layer_norm_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where the slices' lengths do not fit together.
pub fn layer_norm_backward_parameters<T: Real>(
    rows: usize,
    epsilon: f64,
    x: &[T],
    gy: &[T],
    ggamma: &mut [T],
    gbeta: &mut [T],
) -> Result<()> {
    check_epsilon("layer_norm", epsilon)?;
    let lengths = [("input", x.len()), ("output gradient", gy.len())];
    let len = check_rows(rows, ggamma.len(), &lengths)?;
    check_length("layer_norm beta gradient", [ggamma.len()], gbeta.len())?;
    let (mut ggammas, mut gbetas) = (vec![0.0; len], vec![0.0; len]);
    for (x, gy) in x.chunks_exact(len).zip(gy.chunks_exact(len)) {
        let (mean, variance) = moments(std::iter::once(x));
        let inverse = inverse_deviation(variance, epsilon);
        let gradients = ggammas.iter_mut().zip(&mut gbetas);
        for ((&x, &gy), (ggamma, gbeta)) in x.iter().zip(gy).zip(gradients) {
            *ggamma += (gy * centred(x, mean, inverse)).wide();
            *gbeta += gy.wide();
        }
    }
    round(&ggammas, ggamma);
    round(&gbetas, gbeta);
    Ok(())
}

/// `gx = (g - mean of g - z * mean of g * z) / d` row by row, with `g = gamma * gy`, `d =
/// sqrt(variance + epsilon)` and `z = (x - mean) / d`. Shapes as in [`layer_norm_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where the slices' lengths do not fit together.
pub fn layer_norm_backward_input<T: Real>(
    rows: usize,
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_epsilon("layer_norm", epsilon)?;
    let lengths = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    let len = check_rows(rows, gamma.len(), &lengths)?;
    let slices = x
        .chunks_exact(len)
        .zip(gy.chunks_exact(len))
        .zip(gx.chunks_exact_mut(len));
    for_each(slices, |((x, gy), gx)| {
        let (mean, variance) = moments(std::iter::once(x));
        let inverse = inverse_deviation(variance, epsilon);
        let count = len as f64;
        let terms = x
            .iter()
            .zip(gy)
            .zip(gamma)
            .map(|((&x, &gy), &gamma)| (x, gamma * gy));
        let offset = T::nearest(sum(terms.clone().map(|(_, g)| g)) / count);
        let (mean_wide, inverse_wide) = (mean.wide(), inverse.wide());
        let normalised = |x: T| centred(x.wide(), mean_wide, inverse_wide);
        let dot = sum(terms.clone().map(|(x, g)| normalised(x) * g.wide()));
        let slope = T::nearest(dot * inverse_wide / count);
        for ((x, g), gx) in terms.zip(gx) {
            *gx = inverse * ((g - offset) - centred(x, mean, slope));
        }
    });
    Ok(())
}

/// The length of a row, if the slices have the lengths that they should.
fn check_rows(rows: usize, len: usize, lengths: &[(&str, usize)]) -> Result<usize> {
    if len == 0 {
        return Err(Error::shape(
            "layer_norm",
            "at least one value per row",
            len,
        ));
    }
    for &(what, got) in lengths {
        check_length(&format!("layer_norm {what}"), [rows, len], got)?;
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn layer_norm_equals_values_computed_by_hand() {
        let (x, gamma, beta) = ([1.0, 5.0, 4.0, 4.0], [3.0, 6.0], [0.0, 1.0]);
        let (mut y, mut gx) = ([f64::NAN; 4], [f64::NAN; 4]);
        // Row 0: mean 3, variance 4, sqrt(4 + 5) = 3; row 1: variance 0.
        layer_norm_forward(2, 5.0, &x, &gamma, &beta, &mut y).unwrap();
        assert_eq!(y[..2], [-2.0, 5.0]);
        assert_eq!(y[2..], [0.0, 1.0]);
        let (mut ggamma, mut gbeta) = ([f64::NAN; 2], [f64::NAN; 2]);
        let gy = [1.0, 2.0, 3.0, 4.0];
        layer_norm_backward_parameters(2, 5.0, &x, &gy, &mut ggamma, &mut gbeta).unwrap();
        assert_abs_diff_eq!(ggamma[..], [-2.0 / 3.0, 4.0 / 3.0], epsilon = 1e-15);
        assert_eq!(gbeta, [4.0, 6.0]);
        layer_norm_backward_input(2, 5.0, &x, &gamma, &gy, &mut gx).unwrap();
        // g = (3, 12), mean 7.5, z = (-2/3, 2/3), mean of g z = 3.
        assert_abs_diff_eq!(gx[..2], [-2.5 / 3.0, 2.5 / 3.0], epsilon = 1e-15);
        assert!(layer_norm_forward(3, 5.0, &x, &gamma, &beta, &mut y).is_err());
        assert!(layer_norm_forward(0, 5.0, &[], &[], &[], &mut y[..0]).is_err());
    }
}
