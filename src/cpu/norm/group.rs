//! Group and instance normalisation.

use super::{centred, inverse_deviation, moments};
use crate::cpu::parallel::for_each;
use crate::cpu::sum::{round, sum};
use crate::cpu::{Real, check_length};
use crate::op::{GroupNormGeometry, check_epsilon};
use crate::{Error, Result};

/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, with the mean and the (biased) variance of
/// each group of channels of each example: `x` and `y` of `(N, C, plane)`, gamma and beta of `(C)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or its channels are not in
/// equal groups.
pub fn group_norm_forward<T: Real>(
    geometry: &GroupNormGeometry,
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    beta: &[T],
    y: &mut [T],
) -> Result<()> {
    check_epsilon("group_norm", epsilon)?;
    let per_group = check(
        geometry,
        &[("input", x.len()), ("output", y.len())],
        &[("gamma", gamma.len()), ("beta", beta.len())],
    )?;
    let (plane, row) = (geometry.plane.max(1), row(geometry));
    let rows = x.chunks_exact(row).zip(y.chunks_exact_mut(row));
    for_each(rows.enumerate(), |(at, (x, y))| {
        let (mean, variance) = moments(std::iter::once(x));
        let inverse = inverse_deviation(variance, epsilon);
        let first = at % geometry.groups * per_group;
        let planes = x.chunks_exact(plane).zip(y.chunks_exact_mut(plane));
        for ((x, y), c) in planes.zip(first..) {
            for (&x, y) in x.iter().zip(y) {
                *y = centred(x, mean, inverse) * gamma[c] + beta[c];
            }
        }
    });
    Ok(())
}

/// `gbeta = sum of gy` and `ggamma = sum of gy * (x - mean) / sqrt(variance + epsilon)` over each channel,
/// with the moments of its group. Shapes as in [`group_norm_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or its channels are not in
/// equal groups.
pub fn group_norm_backward_parameters<T: Real>(
    geometry: &GroupNormGeometry,
    epsilon: f64,
    x: &[T],
    gy: &[T],
    ggamma: &mut [T],
    gbeta: &mut [T],
) -> Result<()> {
    check_epsilon("group_norm", epsilon)?;
    let per_group = check(
        geometry,
        &[("input", x.len()), ("output gradient", gy.len())],
        &[
            ("gamma gradient", ggamma.len()),
            ("beta gradient", gbeta.len()),
        ],
    )?;
    let channels = geometry.channels;
    let (mut ggammas, mut gbetas) = (vec![0.0; channels], vec![0.0; channels]);
    let (plane, row) = (geometry.plane.max(1), row(geometry));
    let image = row.saturating_mul(geometry.groups.max(1));
    for (x, gy) in x.chunks_exact(image).zip(gy.chunks_exact(image)) {
        let rows = x.chunks_exact(row).zip(gy.chunks_exact(row));
        let per_group = per_group.max(1);
        let totals = ggammas
            .chunks_exact_mut(per_group)
            .zip(gbetas.chunks_exact_mut(per_group));
        for_each(rows.zip(totals), |((x, gy), (ggammas, gbetas))| {
            let (mean, variance) = moments(std::iter::once(x));
            let inverse = inverse_deviation(variance, epsilon).wide();
            let planes = x.chunks_exact(plane).zip(gy.chunks_exact(plane));
            let totals = ggammas.iter_mut().zip(gbetas);
            for ((x, gy), (ggamma, gbeta)) in planes.zip(totals) {
                let pairs = x.iter().zip(gy);
                *ggamma +=
                    sum(pairs.map(|(x, gy)| centred(x.wide(), mean.wide(), inverse) * gy.wide()));
                *gbeta += sum(gy.iter().copied());
            }
        });
    }
    round(&ggammas, ggamma);
    round(&gbetas, gbeta);
    Ok(())
}

/// `gx = (g - mean of g - z * mean of g * z) / d` group by group, with `g = gamma * gy`, `d =
/// sqrt(variance + epsilon)` and `z = (x - mean) / d`. Shapes as in [`group_norm_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or its channels are not in
/// equal groups.
pub fn group_norm_backward_input<T: Real>(
    geometry: &GroupNormGeometry,
    epsilon: f64,
    x: &[T],
    gamma: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_epsilon("group_norm", epsilon)?;
    let lengths = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    let per_group = check(geometry, &lengths, &[("gamma", gamma.len())])?;
    let (plane, row) = (geometry.plane.max(1), row(geometry));
    let slices = x
        .chunks_exact(row)
        .zip(gy.chunks_exact(row))
        .zip(gx.chunks_exact_mut(row));
    for_each(slices.enumerate(), |(at, ((x, gy), gx))| {
        let (mean, variance) = moments(std::iter::once(x));
        let inverse = inverse_deviation(variance, epsilon);
        let count = row as f64;
        let first = at % geometry.groups * per_group;
        let scaled = |(i, (&x, &gy)): (usize, (&T, &T))| (x, gamma[first + i / plane] * gy);
        let terms = x.iter().zip(gy).enumerate().map(scaled);
        let offset = T::nearest(sum(terms.clone().map(|(_, g)| g)) / count);
        let normalised = |x: T| centred(x.wide(), mean.wide(), inverse.wide());
        let dot = sum(terms.clone().map(|(x, g)| normalised(x) * g.wide()));
        let slope = T::nearest(dot * inverse.wide() / count);
        for ((x, g), gx) in terms.zip(gx) {
            *gx = inverse * ((g - offset) - centred(x, mean, slope));
        }
    });
    Ok(())
}

/// Values that are normalised together, at least 1.
fn row(geometry: &GroupNormGeometry) -> usize {
    geometry.rows()[1].max(1)
}

/// Refuses slices of other lengths than `(N, C, plane)` and `(C)`, and channels that are not in equal
/// groups. Gives the channels of a group.
fn check(
    geometry: &GroupNormGeometry,
    inputs: &[(&str, usize)],
    channels: &[(&str, usize)],
) -> Result<usize> {
    let shape = [geometry.batch, geometry.channels, geometry.plane];
    for &(what, len) in inputs {
        check_length(&format!("group_norm {what}"), shape, len)?;
    }
    for &(what, len) in channels {
        check_length(&format!("group_norm {what}"), [geometry.channels], len)?;
    }
    let (all, groups) = (geometry.channels, geometry.groups);
    match all.checked_div(groups) {
        Some(per_group) if per_group * groups == all => Ok(per_group),
        _ => {
            let expected = format!("channels in {groups} equal groups");
            Err(Error::shape("group_norm", expected, all))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn group_norm_equals_values_computed_by_hand() {
        let geometry = GroupNormGeometry {
            batch: 1,
            channels: 4,
            groups: 2,
            plane: 1,
        };
        // Group 0: mean 3, variance 4, sqrt(4 + 5) = 3; group 1: variance 0.
        let (x, gamma, beta) = (
            [1.0, 5.0, 4.0, 4.0],
            [3.0, 6.0, 1.0, 1.0],
            [0.0, 1.0, 2.0, 3.0],
        );
        let (mut y, mut gx) = ([f64::NAN; 4], [f64::NAN; 4]);
        group_norm_forward(&geometry, 5.0, &x, &gamma, &beta, &mut y).unwrap();
        assert_eq!(y, [-2.0, 5.0, 2.0, 3.0]);
        let gy = [1.0, 2.0, 3.0, 4.0];
        let (mut ggamma, mut gbeta) = ([f64::NAN; 4], [f64::NAN; 4]);
        group_norm_backward_parameters(&geometry, 5.0, &x, &gy, &mut ggamma, &mut gbeta).unwrap();
        assert_abs_diff_eq!(
            ggamma[..],
            [-2.0 / 3.0, 4.0 / 3.0, 0.0, 0.0],
            epsilon = 1e-15
        );
        assert_eq!(gbeta, gy);
        group_norm_backward_input(&geometry, 5.0, &x, &gamma, &gy, &mut gx).unwrap();
        // g = (3, 12), mean 7.5, z = (-2/3, 2/3), mean of g z = 3; g = (3, 4), mean 3.5, z = 0.
        let d = 5f64.sqrt();
        let expected = [-2.5 / 3.0, 2.5 / 3.0, -0.5 / d, 0.5 / d];
        assert_abs_diff_eq!(gx[..], expected, epsilon = 1e-15);
    }

    #[test]
    fn groups_that_are_not_equal_are_refused_and_nothing_is_no_work() {
        let none = GroupNormGeometry {
            batch: 0,
            channels: 4,
            groups: 2,
            plane: usize::MAX,
        };
        let (four, mut gamma, mut beta) = ([1.0f32; 4], [1.0; 4], [1.0; 4]);
        group_norm_forward(&none, 0.0, &[], &four, &four, &mut []).unwrap();
        group_norm_backward_parameters(&none, 0.0, &[], &[], &mut gamma, &mut beta).unwrap();
        assert_eq!((gamma, beta), ([0.0; 4], [0.0; 4]));
        for groups in [0, 3, 5, usize::MAX] {
            let odd = GroupNormGeometry { groups, ..none };
            assert!(group_norm_forward(&odd, 0.0, &[], &four, &four, &mut []).is_err());
        }
        let empty = GroupNormGeometry {
            batch: usize::MAX,
            channels: 0,
            groups: usize::MAX,
            plane: 1,
        };
        group_norm_backward_input::<f32>(&empty, 0.0, &[], &[], &[], &mut []).unwrap();
    }
}
