//! Batch normalisation.

use super::{centred, inverse_deviation, moments};
use crate::Result;
use crate::cpu::conv2d::sum_planes;
use crate::cpu::parallel::for_each;
use crate::cpu::sum::sum;
use crate::cpu::{Real, check_length};
use crate::op::{BatchNormGeometry, check_epsilon, check_momentum};

/// The mean and the (biased) variance of each channel of `x (N, C, plane)`, which training
/// normalises with. `mean` and `variance` are of `(C)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says, or a
/// channel holds one value, which has no variance (as PyTorch refuses it).
pub fn batch_norm_moments<T: Real>(
    geometry: &BatchNormGeometry,
    x: &[T],
    mean: &mut [T],
    variance: &mut [T],
) -> Result<()> {
    check(
        geometry,
        &[("input", x.len())],
        &[("mean", mean.len()), ("variance", variance.len())],
    )?;
    geometry.check_training()?;
    let results = mean.iter_mut().zip(variance).enumerate();
    for_each(results, |(channel, (mean, variance))| {
        (*mean, *variance) = moments(channel_planes(geometry, x, channel));
    });
    Ok(())
}

/// `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`, channel by channel, for `x` and `y` of
/// `(N, C, plane)` and the others of `(C)`: with the batch's moments in training, with the running
/// ones in evaluation.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_forward<T: Real>(
    geometry: &BatchNormGeometry,
    epsilon: f64,
    x: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    beta: &[T],
    y: &mut [T],
) -> Result<()> {
    check_epsilon("batch_norm", epsilon)?;
    let channels = [
        ("mean", mean),
        ("variance", variance),
        ("gamma", gamma),
        ("beta", beta),
    ];
    let channels = channels.map(|(what, slice)| (what, slice.len()));
    check(
        geometry,
        &[("input", x.len()), ("output", y.len())],
        &channels,
    )?;
    for_each_plane(geometry, x, x, y, |c, x, _, y| {
        let scale = gamma[c] * inverse_deviation(variance[c], epsilon);
        x.iter()
            .zip(y)
            .for_each(|(&x, y)| *y = centred(x, mean[c], scale) + beta[c]);
    });
    Ok(())
}

/// `running = (1 - momentum) * running + momentum * batch` for the mean and for the unbiased variance
/// `n / (n - 1) * variance`, where `n` values of a channel gave `mean` and `variance`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says, or a
/// channel holds one value.
pub fn batch_norm_update_running<T: Real>(
    geometry: &BatchNormGeometry,
    momentum: f64,
    mean: &[T],
    variance: &[T],
    running_mean: &mut [T],
    running_variance: &mut [T],
) -> Result<()> {
    let channels = [
        ("mean", mean.len()),
        ("variance", variance.len()),
        ("running mean", running_mean.len()),
        ("running variance", running_variance.len()),
    ];
    check(geometry, &[], &channels)?;
    check_momentum(momentum)?;
    geometry.check_training()?;
    fold_running(momentum, mean, running_mean);
    fold_running(momentum, &unbiased(geometry, variance)?, running_variance);
    Ok(())
}

/// The unbiased variances `n / (n - 1) * variance` of channels of n values.
pub(crate) fn unbiased<T: Real>(geometry: &BatchNormGeometry, variance: &[T]) -> Result<Vec<T>> {
    geometry.check_training()?;
    let count = geometry.count() as f64;
    let factor = T::nearest(count / (count - 1.0));
    Ok(variance.iter().map(|&variance| factor * variance).collect())
}

/// `running = (1 - momentum) * running + momentum * batch`.
pub(crate) fn fold_running<T: Real>(momentum: f64, batch: &[T], running: &mut [T]) {
    let (rest, momentum) = (T::nearest(1.0 - momentum), T::nearest(momentum));
    for (running, &batch) in running.iter_mut().zip(batch) {
        *running = rest * *running + momentum * batch;
    }
}

/// `gbeta = sum of gy` and `ggamma = sum of gy * (x - mean) / sqrt(variance + epsilon)` over each
/// channel, with the moments that the forward pass took, in training as in evaluation.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward_parameters<T: Real>(
    geometry: &BatchNormGeometry,
    epsilon: f64,
    x: &[T],
    mean: &[T],
    variance: &[T],
    gy: &[T],
    ggamma: &mut [T],
    gbeta: &mut [T],
) -> Result<()> {
    check_epsilon("batch_norm", epsilon)?;
    let channels = [
        ("mean", mean.len()),
        ("variance", variance.len()),
        ("gamma gradient", ggamma.len()),
        ("beta gradient", gbeta.len()),
    ];
    check(
        geometry,
        &[("input", x.len()), ("output gradient", gy.len())],
        &channels,
    )?;
    sum_planes(geometry.plane, gy, gbeta);
    for_each(ggamma.iter_mut().enumerate(), |(c, ggamma)| {
        let planes = channel_planes(geometry, x, c).zip(channel_planes(geometry, gy, c));
        let mean = mean[c].wide();
        let inverse = inverse_deviation(variance[c], epsilon).wide();
        let total = sum(planes.map(|(x, gy)| {
            let pairs = x.iter().zip(gy);
            sum(pairs.map(|(x, gy)| centred(x.wide(), mean, inverse) * gy.wide()))
        }));
        *ggamma = T::nearest(total);
    });
    Ok(())
}

/// The input gradient of training, where mean and variance depend on the input too:
/// `gx = gamma / d * (gy - gbeta / n - (x - mean) / d * ggamma / n)` with `d = sqrt(variance +
/// epsilon)` and `n` values per channel. `ggamma` and `gbeta` are those of
/// [`batch_norm_backward_parameters`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_backward_input<T: Real>(
    geometry: &BatchNormGeometry,
    epsilon: f64,
    x: &[T],
    mean: &[T],
    variance: &[T],
    gamma: &[T],
    ggamma: &[T],
    gbeta: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_epsilon("batch_norm", epsilon)?;
    let inputs = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("gradient", gx.len()),
    ];
    let channels = [
        ("mean", mean.len()),
        ("variance", variance.len()),
        ("gamma", gamma.len()),
        ("gamma gradient", ggamma.len()),
        ("beta gradient", gbeta.len()),
    ];
    check(geometry, &inputs, &channels)?;
    let count = T::nearest(geometry.count());
    for_each_plane(geometry, x, gy, gx, |c, x, gy, gx| {
        let inverse = inverse_deviation(variance[c], epsilon);
        let (offset, slope) = (gbeta[c] / count, inverse * ggamma[c] / count);
        for ((&x, &gy), gx) in x.iter().zip(gy).zip(gx) {
            *gx = gamma[c] * inverse * ((gy - offset) - centred(x, mean[c], slope));
        }
    });
    Ok(())
}

/// The input gradient of evaluation, where mean and variance are constants:
/// `gx = gamma / sqrt(variance + epsilon) * gy`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn batch_norm_backward_input_eval<T: Real>(
    geometry: &BatchNormGeometry,
    epsilon: f64,
    variance: &[T],
    gamma: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_epsilon("batch_norm", epsilon)?;
    let channels = [("variance", variance.len()), ("gamma", gamma.len())];
    check(
        geometry,
        &[("output gradient", gy.len()), ("gradient", gx.len())],
        &channels,
    )?;
    for_each_plane(geometry, gy, gy, gx, |c, gy, _, gx| {
        let scale = gamma[c] * inverse_deviation(variance[c], epsilon);
        gy.iter().zip(gx).for_each(|(&gy, gx)| *gx = scale * gy);
    });
    Ok(())
}

/// The planes of one channel, image by image.
fn channel_planes<'a, T>(
    geometry: &BatchNormGeometry,
    values: &'a [T],
    channel: usize,
) -> impl Iterator<Item = &'a [T]> + Clone {
    let &BatchNormGeometry {
        channels, plane, ..
    } = geometry;
    values
        .chunks_exact(plane.max(1))
        .skip(channel)
        .step_by(channels.max(1))
}

/// Calls `work(channel, a's plane, b's plane, y's plane)` for every plane, images in parallel.
fn for_each_plane<T: Real>(
    geometry: &BatchNormGeometry,
    a: &[T],
    b: &[T],
    y: &mut [T],
    work: impl Fn(usize, &[T], &[T], &mut [T]) + Send + Sync,
) {
    let plane = geometry.plane.max(1);
    let image = geometry.channels.max(1).saturating_mul(plane);
    let images = a
        .chunks_exact(image)
        .zip(b.chunks_exact(image))
        .zip(y.chunks_exact_mut(image));
    for_each(images, |((a, b), y)| {
        let planes = a.chunks_exact(plane).zip(b.chunks_exact(plane));
        for (channel, ((a, b), y)) in planes.zip(y.chunks_exact_mut(plane)).enumerate() {
            work(channel, a, b, y);
        }
    });
}

/// Refuses slices of other lengths than `(N, C, plane)` and `(C)`.
fn check(
    geometry: &BatchNormGeometry,
    inputs: &[(&str, usize)],
    channels: &[(&str, usize)],
) -> Result<()> {
    let shape = [geometry.batch, geometry.channels, geometry.plane];
    for &(what, len) in inputs {
        check_length(&format!("batch_norm {what}"), shape, len)?;
    }
    for &(what, len) in channels {
        check_length(&format!("batch_norm {what}"), [geometry.channels], len)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    const PAIR: BatchNormGeometry = BatchNormGeometry {
        batch: 2,
        channels: 2,
        plane: 2,
    };

    #[test]
    fn batch_norm_equals_values_computed_by_hand() {
        // Channel 0 holds 1, 3, 5, 7: mean 4, variance 5; channel 1 holds 2, 2, 2, 2.
        let x = [1.0, 3.0, 2.0, 2.0, 5.0, 7.0, 2.0, 2.0];
        let (mut mean, mut variance, mut y) = ([f64::NAN; 2], [f64::NAN; 2], [f64::NAN; 8]);
        batch_norm_moments(&PAIR, &x, &mut mean, &mut variance).unwrap();
        assert_eq!((mean, variance), ([4.0, 2.0], [5.0, 0.0]));
        let (gamma, beta) = ([6.0, 1.0], [0.5, -1.0]);
        // sqrt(5 + 4) = 3
        batch_norm_forward(&PAIR, 4.0, &x, &mean, &variance, &gamma, &beta, &mut y).unwrap();
        assert_eq!(y, [-5.5, -1.5, -1.0, -1.0, 2.5, 6.5, -1.0, -1.0]);
        let (mut running_mean, mut running_variance) = ([1.0, 0.0], [1.0, 1.0]);
        let running = (&mut running_mean, &mut running_variance);
        batch_norm_update_running(&PAIR, 0.25, &mean, &variance, running.0, running.1).unwrap();
        assert_eq!(running_mean, [1.75, 0.5]);
        assert_abs_diff_eq!(
            running_variance[..],
            [0.75 + 0.25 * 20.0 / 3.0, 0.75],
            epsilon = 1e-15
        );
    }

    #[test]
    fn one_value_per_channel_has_no_variance() {
        let geometry = BatchNormGeometry {
            batch: 1,
            channels: 2,
            plane: 1,
        };
        let (mut mean, mut variance, mut y) = ([0.0; 2], [1.0; 2], [0.0; 2]);
        let refused = batch_norm_moments(&geometry, &[1.0, 2.0], &mut mean, &mut variance);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("more than one value per channel")
        );
        let one = [1.0; 2];
        batch_norm_forward(
            &geometry,
            0.0,
            &[3.0, 4.0],
            &mean,
            &variance,
            &one,
            &one,
            &mut y,
        )
        .unwrap();
        assert_eq!(y, [4.0, 5.0]);
    }
}
