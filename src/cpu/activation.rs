//! Element-wise functions. The twin of the `activation` kernels.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::Result;
use crate::op::Activation;

/// Elements that one task computes.
const CHUNK: usize = 1 << 13;

/// `y = f(x)`, element by element. NaN passes through.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the slices have different lengths.
pub fn activation_forward<T: Real>(activation: Activation, x: &[T], y: &mut [T]) -> Result<()> {
    check_length("activation output", [x.len()], y.len())?;
    match activation {
        Activation::Relu => map(x, y, |x| if x < T::zero() { T::zero() } else { x }),
        Activation::Sigmoid => map(x, y, |x| T::one() / (T::one() + (-x).exp())),
        Activation::Tanh => map(x, y, T::tanh),
    }
    Ok(())
}

/// `gx = f'(x) * gy`, element by element, with `y = f(x)`. The gradient of ReLU is zero where
/// `x <= 0`, whatever `gy` is there, and passes through where `x` is NaN.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the slices have different lengths.
pub fn activation_backward<T: Real>(
    activation: Activation,
    x: &[T],
    y: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_length("activation output", [x.len()], y.len())?;
    check_length("activation output gradient", [x.len()], gy.len())?;
    check_length("activation input gradient", [x.len()], gx.len())?;
    match activation {
        Activation::Relu => map2(
            x,
            gy,
            gx,
            |x, gy| if x <= T::zero() { T::zero() } else { gy },
        ),
        Activation::Sigmoid => map2(y, gy, gx, |y, gy| gy * (T::one() - y) * y),
        Activation::Tanh => map2(y, gy, gx, |y, gy| gy * (T::one() - y * y)),
    }
    Ok(())
}

fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Send + Sync) {
    for_each(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| {
        x.iter().zip(y).for_each(|(&x, y)| *y = f(x));
    });
}

fn map2<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Send + Sync) {
    let chunks = a
        .chunks(CHUNK)
        .zip(b.chunks(CHUNK))
        .zip(y.chunks_mut(CHUNK));
    for_each(chunks, |((a, b), y)| {
        a.iter()
            .zip(b)
            .zip(y)
            .for_each(|((&a, &b), y)| *y = f(a, b));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(activation: Activation, x: &[f64], gy: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut gx) = (vec![f64::MAX; x.len()], vec![f64::MAX; x.len()]);
        activation_forward(activation, x, &mut y).unwrap();
        activation_backward(activation, x, &y, gy, &mut gx).unwrap();
        (y, gx)
    }

    #[test]
    fn relu_keeps_nan_and_zeroes_the_gradient_up_to_zero() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let (y, gx) = both(
            Activation::Relu,
            &[-1.0, 0.0, -0.0, 2.0, nan, inf, -inf, -3.0],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, nan],
        );
        assert_eq!(y[..4], [0.0, 0.0, -0.0, 2.0]);
        assert!(y[4].is_nan());
        assert_eq!(y[5..], [inf, 0.0, 0.0]);
        assert_eq!(gx, [0.0, 0.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
    }

    #[test]
    fn sigmoid_and_tanh_equal_known_values_and_saturate() {
        let ln3 = 3.0f64.ln();
        let (y, gx) = both(
            Activation::Sigmoid,
            &[0.0, ln3, -1e4, 1e4],
            &[1.0, 2.0, 1.0, 1.0],
        );
        approx::assert_abs_diff_eq!(y[..], [0.5, 0.75, 0.0, 1.0], epsilon = 1e-15);
        approx::assert_abs_diff_eq!(gx[..], [0.25, 0.375, 0.0, 0.0], epsilon = 1e-15);
        let (y, gx) = both(
            Activation::Tanh,
            &[0.0, ln3, -1e4, 1e4],
            &[1.0, 2.0, 1.0, 1.0],
        );
        approx::assert_abs_diff_eq!(y[..], [0.0, 0.8, -1.0, 1.0], epsilon = 1e-15);
        approx::assert_abs_diff_eq!(gx[..], [1.0, 0.72, 0.0, 0.0], epsilon = 1e-15);
        for activation in [Activation::Sigmoid, Activation::Tanh] {
            let (y, gx) = both(activation, &[f64::NAN], &[1.0]);
            assert!(y[0].is_nan() && gx[0].is_nan());
        }
    }

    #[test]
    fn every_activation_reaches_every_chunk() {
        let x: Vec<f64> = (0..2 * CHUNK + 3).map(|i| (i % 7) as f64 - 3.0).collect();
        for activation in Activation::ALL {
            let (y, gx) = both(activation, &x, &vec![1.0; x.len()]);
            let (first, derivative) = both(activation, &x[..7], &[1.0; 7]);
            assert!(y.iter().enumerate().all(|(i, &y)| y == first[i % 7]));
            assert!(
                gx.iter()
                    .enumerate()
                    .all(|(i, &gx)| gx == derivative[i % 7])
            );
        }
        assert!(activation_forward(Activation::Relu, &x, &mut [0.0; 2]).is_err());
    }
}
