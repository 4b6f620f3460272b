//! ReLU with learned slopes. The twin of the `prelu` kernels.

use super::parallel::for_each;
use super::sum::sum;
use super::{Real, check_length};
use crate::Result;
use crate::op::PreluGeometry;

/// Elements that one task computes.
const CHUNK: usize = 1 << 13;

/// `y = x` where `x > 0`, else `weight * x`, over `(N, C, plane)` with weights `(C)`. NaN passes through.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn prelu_forward<T: Real>(
    geometry: &PreluGeometry,
    x: &[T],
    weight: &[T],
    y: &mut [T],
) -> Result<()> {
    check(
        geometry,
        [("input", x.len()), ("output", y.len())],
        ("weight", weight.len()),
    )?;
    sloped(geometry, [x, x], weight, y);
    Ok(())
}

/// `gx = gy` where `x > 0`, else `weight * gy`: at 0 and where `x` is NaN too, as in PyTorch.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn prelu_backward_input<T: Real>(
    geometry: &PreluGeometry,
    x: &[T],
    weight: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let values = [
        ("input", x.len()),
        ("output gradient", gy.len()),
        ("input gradient", gx.len()),
    ];
    check(geometry, values, ("weight", weight.len()))?;
    sloped(geometry, [x, gy], weight, gx);
    Ok(())
}

/// The sum of `x * gy` over the values of a channel but those where `x > 0`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn prelu_backward_weight<T: Real>(
    geometry: &PreluGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    let values = [("input", x.len()), ("output gradient", gy.len())];
    check(geometry, values, ("weight gradient", gw.len()))?;
    if geometry.plane == 0 {
        gw.fill(T::zero());
        return Ok(());
    }
    let planes = |values| channel_planes::<T>(geometry, values);
    for_each(gw.iter_mut().enumerate(), |(channel, gw)| {
        let planes = planes(x)(channel).zip(planes(gy)(channel));
        let total = sum(planes.map(|(x, gy)| {
            let pairs = x
                .iter()
                .zip(gy)
                .filter(|(x, _)| **x <= T::zero() || x.is_nan());
            sum(pairs.map(|(x, gy)| x.wide() * gy.wide()))
        }));
        *gw = T::nearest(total);
    });
    Ok(())
}

/// `to = from` where `x > 0`, else `weight * from`.
fn sloped<T: Real>(geometry: &PreluGeometry, [x, from]: [&[T]; 2], weight: &[T], to: &mut [T]) {
    let (plane, channels) = (geometry.plane.max(1), geometry.channels.max(1));
    for_each(to.chunks_mut(CHUNK).enumerate(), |(task, to)| {
        let (mut done, first) = (0, task * CHUNK);
        while done < to.len() {
            let at = first + done;
            let run = (plane - at % plane).min(to.len() - done);
            let weight = weight[at / plane % channels];
            let read = x[at..at + run].iter().zip(&from[at..at + run]);
            for (to, (&x, &from)) in to[done..done + run].iter_mut().zip(read) {
                *to = if x > T::zero() { from } else { weight * from };
            }
            done += run;
        }
    });
}

/// The planes of a channel, one for each example.
fn channel_planes<'a, T>(
    geometry: &PreluGeometry,
    values: &'a [T],
) -> impl Fn(usize) -> std::iter::StepBy<std::iter::Skip<std::slice::ChunksExact<'a, T>>> {
    let (plane, channels) = (geometry.plane, geometry.channels);
    move |channel| values.chunks_exact(plane).skip(channel).step_by(channels)
}

fn check<const N: usize>(
    geometry: &PreluGeometry,
    values: [(&str, usize); N],
    (name, weights): (&str, usize),
) -> Result<()> {
    let PreluGeometry {
        batch,
        channels,
        plane,
    } = *geometry;
    for (name, len) in values {
        check_length(&format!("prelu {name}"), [batch, channels, plane], len)?;
    }
    check_length(&format!("prelu {name}"), [channels], weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Prelu;

    #[test]
    fn slopes_are_those_of_the_channels_and_zero_has_one() {
        let layer = Prelu::new().per_channel(true);
        let geometry = layer.geometry(2, &[2, 2].into()).unwrap();
        let nan = f64::NAN;
        let x = [1.0, -2.0, 0.0, -0.0, -3.0, nan, -1.0, 2.0];
        let (w, gy) = ([0.5, -2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let (mut y, mut gx, mut gw) = ([0.0; 8], [0.0; 8], [0.0; 2]);
        prelu_forward(&geometry, &x, &w, &mut y).unwrap();
        assert_eq!(y[..5], [1.0, -1.0, 0.0, 0.0, -1.5]);
        assert!(y[5].is_nan());
        assert_eq!(y[6..], [2.0, 2.0]);
        prelu_backward_input(&geometry, &x, &w, &gy, &mut gx).unwrap();
        assert_eq!(gx, [1.0, 1.0, -6.0, -8.0, 2.5, 3.0, -14.0, 8.0]);
        prelu_backward_weight(&geometry, &x, &gy, &mut gw).unwrap();
        assert!(gw[0].is_nan());
        assert_eq!(gw[1], -7.0);
        let one = Prelu::new().geometry(2, &[2, 2].into()).unwrap();
        let x = x.map(|x| if x.is_nan() { 1.0 } else { x });
        prelu_backward_weight(&one, &x, &gy, &mut gw[..1]).unwrap();
        assert_eq!(gw[0], -4.0 - 15.0 - 7.0);
    }

    #[test]
    fn every_chunk_is_reached_and_lengths_are_held() {
        let len = 2 * CHUNK + 3;
        let geometry = |channels, plane| PreluGeometry {
            batch: 1,
            channels,
            plane,
        };
        let (x, mut y) = (vec![-1.0f32; len], vec![0.0; len]);
        let weight: Vec<f32> = (0..len).map(|at| at as f32).collect();
        prelu_forward(&geometry(len, 1), &x, &weight, &mut y).unwrap();
        assert!(y.iter().zip(&weight).all(|(&y, &w)| y == -w));
        prelu_forward(&geometry(1, len), &x, &weight[7..8], &mut y).unwrap();
        assert!(y.iter().all(|&y| y == -7.0));
        assert!(prelu_forward(&geometry(1, len), &x, &weight, &mut y).is_err());
        assert!(prelu_forward(&geometry(1, len), &x, &weight[..1], &mut y[1..]).is_err());
        prelu_backward_weight::<f32>(&geometry(2, 0), &[], &[], &mut y[..2]).unwrap();
        assert_eq!(y[..2], [0.0; 2]);
    }
}
