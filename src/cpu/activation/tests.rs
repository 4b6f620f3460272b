//! What the element-wise functions give where it is known.

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
fn smooth_functions_equal_known_values() {
    // Abramowitz and Stegun: Phi(1) = 0.8413447460685429, phi(1) = 0.24197072451914337.
    let (y, gx) = both(
        Activation::Gelu,
        &[1.0, -1.0, 0.0, -40.0, 40.0],
        &[1.0, 1.0, 3.0, 1.0, 1.0],
    );
    let (distribution, density) = (0.8413447460685429, 0.24197072451914337);
    let expected = [distribution, distribution - 1.0, 0.0, 0.0, 40.0];
    approx::assert_abs_diff_eq!(y[..], expected, epsilon = 1e-15);
    let expected = [
        distribution + density,
        1.0 - distribution - density,
        1.5,
        0.0,
        1.0,
    ];
    approx::assert_abs_diff_eq!(gx[..], expected, epsilon = 1e-15);
    let (y, gx) = both(Activation::GeluTanh, &[0.0, -40.0, 40.0], &[3.0, 1.0, 1.0]);
    assert_eq!((y, gx), (vec![0.0, 0.0, 40.0], vec![1.5, 0.0, 1.0]));
    let ln3 = 3.0f64.ln();
    let (y, gx) = both(
        Activation::Silu,
        &[0.0, ln3, -1e4, 1e4],
        &[2.0, 1.0, 1.0, 1.0],
    );
    approx::assert_abs_diff_eq!(y[..], [0.0, 0.75 * ln3, 0.0, 1e4], epsilon = 1e-12);
    let expected = [1.0, 0.75 + 0.1875 * ln3, 0.0, 1.0];
    approx::assert_abs_diff_eq!(gx[..], expected, epsilon = 1e-15);
    let (y, gx) = both(
        Activation::Softplus,
        &[0.0, ln3, -1e4, 21.0],
        &[1.0, 2.0, 1.0, 1.0],
    );
    let expected = [2.0f64.ln(), 4.0f64.ln(), 0.0, 21.0];
    approx::assert_abs_diff_eq!(y[..], expected, epsilon = 1e-15);
    approx::assert_abs_diff_eq!(gx[..], [0.5, 1.5, 0.0, 1.0], epsilon = 1e-15);
    let (y, gx) = both(Activation::HardSwish, &[-1.5, 0.0, 4.0], &[1.0, 2.0, 3.0]);
    approx::assert_abs_diff_eq!(y[..], [-0.375, 0.0, 4.0], epsilon = 1e-15);
    approx::assert_abs_diff_eq!(gx[..], [0.0, 1.0, 3.0], epsilon = 1e-15);
    // tanh(log(1 + 3)) = 15 / 17, whose derivative is 3 / 4 of 1 - (15 / 17)^2.
    let (y, gx) = both(
        Activation::Mish,
        &[ln3, 0.0, -1e4, 1e4],
        &[1.0, 2.0, 1.0, 1.0],
    );
    let (value, slope) = (15.0 / 17.0, 0.75 * 64.0 / 289.0);
    approx::assert_abs_diff_eq!(y[..], [value * ln3, 0.0, 0.0, 1e4], epsilon = 1e-12);
    let expected = [value + ln3 * slope, 1.2, 0.0, 1.0];
    approx::assert_abs_diff_eq!(gx[..], expected, epsilon = 1e-15);
    let (y, gx) = both(Activation::Softsign, &[-3.0, 0.0, 1.0], &[1.0, 2.0, 3.0]);
    assert_eq!((y, gx), (vec![-0.75, 0.0, 0.5], vec![0.0625, 2.0, 0.75]));
    let leaky = Activation::LeakyRelu { slope: 0.25 };
    let (y, gx) = both(leaky, &[-8.0, 0.0, 2.0], &[1.0, 2.0, 3.0]);
    assert_eq!((y, gx), (vec![-2.0, 0.0, 2.0], vec![0.25, 0.5, 3.0]));
}

#[test]
fn kinks_are_where_pytorch_has_them() {
    let up = |x: f64| x.next_up();
    let down = |x: f64| x.next_down();
    let (six, bounds) = (
        1.0 / 6.0,
        Activation::HardTanh {
            min: -0.5,
            max: 2.0,
        },
    );
    // Gradients below each kink, at it, and above it.
    let cases = [
        (Activation::Relu6, 0.0, [0.0, 0.0, 1.0]),
        (Activation::Relu6, 6.0, [1.0, 0.0, 0.0]),
        (bounds, -0.5, [0.0, 0.0, 1.0]),
        (bounds, 2.0, [1.0, 0.0, 0.0]),
        (Activation::HardSigmoid, -3.0, [0.0, 0.0, six]),
        (Activation::HardSigmoid, 3.0, [six, 0.0, 0.0]),
        (Activation::HardSwish, -3.0, [0.0, 0.0, -0.5]),
        (Activation::HardSwish, 3.0, [1.5, 1.0, 1.0]),
        (
            Activation::Selu,
            0.0,
            [1.7580993408473766, 1.7580993408473766, 1.0507009873554805],
        ),
        (Activation::Celu { alpha: 0.5 }, 0.0, [1.0; 3]),
    ];
    for (activation, kink, expected) in cases {
        let (_, gx) = both(activation, &[down(kink), kink, up(kink)], &[1.0; 3]);
        for (got, expected) in gx.iter().zip(expected) {
            assert!(
                (got - expected).abs() < 1e-12,
                "{activation:?} {kink}: {gx:?}"
            );
        }
    }
    // In f32 the sum of the largest number below 3 and 3 rounds to 6.
    let (x, mut y, mut gx) = ([3f32.next_down()], [0.0], [0.0]);
    activation_forward(Activation::HardSigmoid, &x, &mut y).unwrap();
    activation_backward(Activation::HardSigmoid, &x, &y, &[6.0], &mut gx).unwrap();
    assert_eq!((y, gx), ([1f32.next_down()], [1.0]));
}

#[test]
fn infinities_and_nan_are_where_pytorch_puts_them() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let leaky = Activation::LeakyRelu { slope: 0.25 };
    let bounds = Activation::HardTanh {
        min: -2.0,
        max: 0.5,
    };
    let celu = Activation::Celu { alpha: 0.5 };
    let (scale, negative) = (1.0507009873554805, 1.7580993408473766);
    // Values and gradients at -inf, inf and NaN.
    let cases = [
        (leaky, [-inf, inf, nan], [0.25, 1.0, 0.25]),
        (Activation::Gelu, [nan, inf, nan], [nan, nan, nan]),
        (Activation::GeluTanh, [nan, inf, nan], [nan, nan, nan]),
        (Activation::Silu, [nan, inf, nan], [nan, nan, nan]),
        (Activation::Softplus, [0.0, inf, nan], [0.0, 1.0, nan]),
        (Activation::Relu6, [0.0, 6.0, nan], [0.0, 0.0, 1.0]),
        (bounds, [-2.0, 0.5, nan], [0.0, 0.0, 1.0]),
        (Activation::HardSigmoid, [0.0, 1.0, nan], [0.0; 3]),
        (Activation::HardSwish, [nan, inf, nan], [0.0, 1.0, nan]),
        (Activation::Selu, [-negative, inf, nan], [0.0, scale, scale]),
        // Its slope stays above zero, so that an infinite gradient stays one.
        (celu, [-0.5, inf, nan], [1e-30, 1.0, 1.0]),
        (Activation::Mish, [nan, inf, nan], [nan; 3]),
        (Activation::Softsign, [nan; 3], [nan; 3]),
    ];
    let same = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .all(|(a, b)| a == b || a.is_nan() && b.is_nan())
    };
    for (activation, values, gradients) in cases {
        let (y, gx) = both(activation, &[-inf, inf, nan], &[1.0; 3]);
        assert!(
            same(&y, &values) && same(&gx, &gradients),
            "{activation:?} {y:?} {gx:?}"
        );
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
