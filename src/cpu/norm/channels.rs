//! Layer normalisation over the channels of each position.

use super::{centred, inverse_deviation};
use crate::Result;
use crate::cpu::parallel::for_each;
use crate::cpu::sum::{add_wide, round, sum};
use crate::cpu::{Real, check_length};
use crate::op::check_epsilon;

const NAME: &str = "layer_norm_channels";

/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, with the mean and the (biased) variance of
/// the channels of each position: `x` and `y` of `(N, C, plane)`, gamma and beta of `(C)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the extents say.
pub fn layer_norm_channels_forward<T: Real>(
    extents: [usize; 3],
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    beta: &[T],
    y: &mut [T],
) -> Result<()> {
    check_epsilon(NAME, epsilon)?;
    check(
        extents,
        &[("input", x.len()), ("output", y.len())],
        &[("gamma", gamma.len()), ("beta", beta.len())],
    )?;
    let [_, channels, plane] = extents;
    let image = image(extents);
    let images = x.chunks_exact(image).zip(y.chunks_exact_mut(image));
    for_each(images, |(x, y)| {
        let (means, inverses) = moments([channels, plane], epsilon, x);
        let planes = x.chunks_exact(plane).zip(y.chunks_exact_mut(plane));
        for ((x, y), (&gamma, &beta)) in planes.zip(gamma.iter().zip(beta)) {
            let positions = means.iter().zip(&inverses);
            for ((&x, y), (&mean, &inverse)) in x.iter().zip(y).zip(positions) {
                *y = centred(x, mean, inverse) * gamma + beta;
            }
        }
    });
    Ok(())
}

/// `gbeta = sum of gy` and `ggamma = sum of gy * (x - mean) / sqrt(variance + epsilon)` over all positions.
/// Shapes as in [`layer_norm_channels_forward`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the extents say.
pub fn layer_norm_channels_backward_parameters<T: Real>(
    extents: [usize; 3],
    epsilon: f64,
    x: &[T],
    gy: &[T],
    ggamma: &mut [T],
    gbeta: &mut [T],
) -> Result<()> {
    check_epsilon(NAME, epsilon)?;
    check(
        extents,
        &[("input", x.len()), ("output gradient", gy.len())],
        &[
            ("gamma gradient", ggamma.len()),
            ("beta gradient", gbeta.len()),
        ],
    )?;
    let [_, channels, plane] = extents;
    let (mut ggammas, mut gbetas) = (vec![0.0; channels], vec![0.0; channels]);
    let image = image(extents);
    for (x, gy) in x.chunks_exact(image).zip(gy.chunks_exact(image)) {
        let (means, inverses) = moments([channels, plane], epsilon, x);
        let planes = x.chunks_exact(plane).zip(gy.chunks_exact(plane));
        let totals = ggammas.iter_mut().zip(&mut gbetas);
        for_each(planes.zip(totals), |((x, gy), (ggamma, gbeta))| {
            let positions = means.iter().zip(&inverses);
            let terms = x.iter().zip(gy).zip(positions);
            *ggamma += sum(terms.map(|((x, gy), (mean, inverse))| {
                centred(x.wide(), mean.wide(), inverse.wide()) * gy.wide()
            }));
            *gbeta += sum(gy.iter().copied());
        });
    }
    round(&ggammas, ggamma);
    round(&gbetas, gbeta);
    Ok(())
}

/// `gx = (g - mean of g - z * mean of g * z) / d` over the channels of each position, with `g = gamma *
/// gy`, `d = sqrt(variance + epsilon)` and `z = (x - mean) / d`. Shapes as in
/// [`layer_norm_channels_forward`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the extents say.
pub fn layer_norm_channels_backward_input<T: Real>(
    extents: [usize; 3],
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_epsilon(NAME, epsilon)?;
    let lengths = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    check(extents, &lengths, &[("gamma", gamma.len())])?;
    let [_, channels, plane] = extents;
    let image = image(extents);
    let slices = x
        .chunks_exact(image)
        .zip(gy.chunks_exact(image))
        .zip(gx.chunks_exact_mut(image));
    for_each(slices, |((x, gy), gx)| {
        let (means, inverses) = moments([channels, plane], epsilon, x);
        let planes = || x.chunks_exact(plane).zip(gy.chunks_exact(plane)).zip(gamma);
        let (mut offsets, mut slopes) = (vec![0.0; plane], vec![0.0; plane]);
        for ((x, gy), &gamma) in planes() {
            for (at, (&x, &gy)) in x.iter().zip(gy).enumerate() {
                let g = (gamma * gy).wide();
                let normal = centred(x.wide(), means[at].wide(), inverses[at].wide());
                offsets[at] += g;
                slopes[at] += normal * g;
            }
        }
        let count = channels as f64;
        for (((x, gy), &gamma), gx) in planes().zip(gx.chunks_exact_mut(plane)) {
            for (at, gx) in gx.iter_mut().enumerate() {
                let offset = T::nearest(offsets[at] / count);
                let slope = T::nearest(slopes[at] * inverses[at].wide() / count);
                let change = (gamma * gy[at] - offset) - centred(x[at], means[at], slope);
                *gx = inverses[at] * change;
            }
        }
    });
    Ok(())
}

/// Mean and inverse deviation of the channels of each position of an image.
fn moments<T: Real>([channels, plane]: [usize; 2], epsilon: f64, x: &[T]) -> (Vec<T>, Vec<T>) {
    let count = channels as f64;
    let mut means = vec![0.0; plane];
    x.chunks_exact(plane).for_each(|x| add_wide(&mut means, x));
    means.iter_mut().for_each(|mean| *mean /= count);
    let mut squares = vec![0.0; plane];
    for x in x.chunks_exact(plane) {
        for ((square, x), mean) in squares.iter_mut().zip(x).zip(&means) {
            *square += (x.wide() - mean) * (x.wide() - mean);
        }
    }
    let inverse = |square: f64| inverse_deviation(T::nearest(square / count), epsilon);
    let means = means.into_iter().map(T::nearest).collect();
    (means, squares.into_iter().map(inverse).collect())
}

/// Elements of an image, at least 1.
fn image([_, channels, plane]: [usize; 3]) -> usize {
    channels.saturating_mul(plane).max(1)
}

/// Refuses slices of other lengths than `(N, C, plane)` and `(C)`.
fn check(extents: [usize; 3], inputs: &[(&str, usize)], channels: &[(&str, usize)]) -> Result<()> {
    for &(what, len) in inputs {
        check_length(&format!("{NAME} {what}"), extents, len)?;
    }
    for &(what, len) in channels {
        check_length(&format!("{NAME} {what}"), [extents[1]], len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

    /// Two images of three channels and two positions, which as rows of channels are the layer
    /// normalisation of four examples.
    #[test]
    fn it_is_the_layer_normalisation_of_the_positions() {
        let x: Vec<f64> = (0..12).map(|at| f64::from(at * 7 % 11)).collect();
        let gy: Vec<f64> = (0..12).map(|at| f64::from(at * 5 % 13) - 6.0).collect();
        let (gamma, beta) = ([2.0, -1.0, 0.5], [0.1, 0.2, 0.3]);
        let rows = |values: &[f64]| -> Vec<f64> {
            let at = (0..12).map(|at| (at / 6, at / 3 % 2, at % 3));
            at.map(|(n, p, c)| values[n * 6 + c * 2 + p]).collect()
        };
        let [mut y, mut gx] = [(); 2].map(|()| vec![f64::NAN; 12]);
        let [mut ggamma, mut gbeta] = [(); 2].map(|()| [f64::NAN; 3]);
        let (extents, e) = ([2, 3, 2], 0.5);
        layer_norm_channels_forward(extents, e, &x, &gamma, &beta, &mut y).unwrap();
        layer_norm_channels_backward_input(extents, e, &x, &gamma, &gy, &mut gx).unwrap();
        layer_norm_channels_backward_parameters(extents, e, &x, &gy, &mut ggamma, &mut gbeta)
            .unwrap();
        let [mut y_rows, mut gx_rows] = [(); 2].map(|()| vec![f64::NAN; 12]);
        let [mut ggamma_rows, mut gbeta_rows] = [(); 2].map(|()| [f64::NAN; 3]);
        let (x, gy) = (rows(&x), rows(&gy));
        cpu::layer_norm_forward(4, e, &x, &gamma, &beta, &mut y_rows).unwrap();
        cpu::layer_norm_backward_input(4, e, &x, &gamma, &gy, &mut gx_rows).unwrap();
        let gradients = (&mut ggamma_rows, &mut gbeta_rows);
        cpu::layer_norm_backward_parameters(4, e, &x, &gy, gradients.0, gradients.1).unwrap();
        for (got, expected) in [
            (&rows(&y)[..], &y_rows[..]),
            (&rows(&gx), &gx_rows),
            (&ggamma, &ggamma_rows),
            (&gbeta, &gbeta_rows),
        ] {
            approx::assert_abs_diff_eq!(got, expected, epsilon = 1e-13);
        }
    }

    #[test]
    fn nothing_is_no_work_and_other_lengths_are_refused() {
        let huge = [0, 2, usize::MAX];
        let mut two = [1.0f32; 2];
        layer_norm_channels_forward(huge, 0.0, &[], &[1.0; 2], &[1.0f32; 2], &mut []).unwrap();
        let beta = &mut [1.0; 2];
        layer_norm_channels_backward_parameters(huge, 0.0, &[], &[], &mut two, beta).unwrap();
        assert_eq!((two, *beta), ([0.0; 2], [0.0; 2]));
        let none = [2, 0, usize::MAX];
        layer_norm_channels_backward_input::<f32>(none, 0.0, &[], &[], &[], &mut []).unwrap();
        assert!(
            layer_norm_channels_forward([1, 2, 1], 0.0, &two, &two, &two, &mut [0.0; 3]).is_err()
        );
    }
}
