//! The kernels of src/gpu/kernels/activation.rs.

use wgpu_cnn::{Activation, cpu, ops};

use crate::common::{bits, each_gpu, integers, poisoned_gpus, random, tensor, uniform, wide};
use crate::compare::{Expected, assert_same};

const LENGTHS: [usize; 5] = [1, 3, 64, 257, 1031];

/// Numbers from tiny to far beyond where the functions saturate.
fn arguments(len: usize) -> Vec<f32> {
    let scales = [1e-6, 0.1, 1.0, 3.0, 12.0, 90.0, 1e5];
    let values = uniform(&mut random(len as u64), len);
    values
        .iter()
        .zip(scales.iter().cycle())
        .map(|(value, scale)| value * scale)
        .collect()
}

/// What WGSL lets exp be off, 3 + 2|x| units in the last place, and what a few roundings, the
/// approximation of the error function and the cancellation around it add.
fn tolerance(function: Activation, x: f64, y: f64) -> f64 {
    let unit = f64::from(f32::EPSILON);
    match function {
        Activation::Sigmoid => f64::from(f32::MIN_POSITIVE) + (8.0 + 2.0 * x.abs()) * unit * y,
        Activation::Tanh => 8.0 * unit,
        Activation::Silu => {
            f64::from(f32::MIN_POSITIVE) * x.abs() + (8.0 + 2.0 * x.abs()) * unit * y.abs()
        }
        Activation::GeluTanh => 16.0 * unit * (1.0 + y.abs()),
        Activation::Gelu => 4.0 * unit * (x.abs().min(8.0) + y.abs()),
        Activation::Softplus => 8.0 * unit * (1.0 + y.abs()),
        Activation::LeakyRelu { .. } => unit * y.abs(),
        Activation::Relu => 0.0,
        _ => 16.0 * unit * (1.0 + y.abs()),
    }
}

#[test]
fn values_equal_the_reference() {
    for function in Activation::ALL {
        for len in LENGTHS {
            let x = arguments(len);
            let mut values = vec![0.0; len];
            cpu::activation_forward(function, &wide(&x), &mut values).unwrap();
            let tolerances = x
                .iter()
                .zip(&values)
                .map(|(&x, &y)| tolerance(function, x.into(), y));
            let expected = Expected {
                tolerances: tolerances.collect(),
                values,
            };
            for (device, gpu) in each_gpu() {
                let y = ops::activation_forward(&tensor(gpu, [len], &x), function).unwrap();
                let name = format!("{}, {len}, {device}", function.name());
                if len > 1 || function != Activation::Relu {
                    expected.assert(&name, &y.to_vec().unwrap());
                }
            }
        }
    }
}

#[test]
fn gradients_equal_the_reference() {
    for function in Activation::ALL {
        for len in LENGTHS {
            let x = arguments(len);
            let mut y = vec![0.0f32; len];
            cpu::activation_forward(function, &x, &mut y).unwrap();
            let gy: Vec<f32> = uniform(&mut random(7), len)
                .iter()
                .map(|g| g + 1.5)
                .collect();
            let mut values = vec![0.0; len];
            cpu::activation_backward(function, &wide(&x), &wide(&y), &wide(&gy), &mut values)
                .unwrap();
            // At most four roundings, of terms no larger than the gradient where it follows from
            // the value, and of somewhat larger ones with an exp among them where it does not.
            let from_value = matches!(
                function,
                Activation::Relu
                    | Activation::Sigmoid
                    | Activation::Tanh
                    | Activation::LeakyRelu { .. }
            );
            let scale = if from_value { 1.0 } else { 8.0 };
            let terms: Vec<f64> = gy.iter().map(|&g| scale * f64::from(g)).collect();
            let expected = Expected::new(values, &terms, 4);
            for (device, gpu) in each_gpu() {
                let [x, y, gy] = [&x, &y, &gy].map(|values| tensor(gpu, [len], values));
                let gx = ops::activation_backward(function, &x, &y, &gy).unwrap();
                let name = format!("{}, {len}, {device}", function.name());
                if len > 1 || function != Activation::Relu {
                    expected.assert(&name, &gx.to_vec().unwrap());
                }
            }
        }
    }
}

/// Zeros, infinities and no numbers: the kernels give what the reference does, and the gradient too.
#[test]
fn every_function_and_its_gradient_are_right_at_the_ends() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [0.0, -0.0, inf, -inf, nan, -nan, 1e-30, -1e-30, 1e5, -1e5];
    for function in Activation::ALL {
        let (x64, gy) = (wide(&x), [2.0f32; 10]);
        let (mut y, mut gx) = (vec![0.0; 10], vec![0.0; 10]);
        cpu::activation_forward(function, &x64, &mut y).unwrap();
        cpu::activation_backward(function, &x64, &y, &wide(&gy), &mut gx).unwrap();
        let [value, gradient] = [y, gx].map(|values| {
            let unit = 16.0 * f64::from(f32::EPSILON);
            let tolerances = values.iter().map(|value| unit * (1.0 + value.abs()));
            Expected {
                tolerances: tolerances.collect(),
                values,
            }
        });
        for (device, gpu) in each_gpu() {
            let name = format!("{}, {device}", function.name());
            let [x, gy] = [x, gy].map(|values| tensor(gpu, [10], &values));
            let y = ops::activation_forward(&x, function).unwrap();
            value.assert(&name, &y.to_vec().unwrap());
            let gx = ops::activation_backward(function, &x, &y, &gy).unwrap();
            gradient.assert(&format!("gradient of {name}"), &gx.to_vec().unwrap());
        }
    }
}

#[test]
fn relu_passes_nan_both_ways() {
    let nan = f32::NAN;
    let (x, gy) = (
        [nan, -nan, -1.0, 0.0, -0.0, 2.0],
        [1.0, 2.0, 3.0, 4.0, nan, nan],
    );
    for (device, gpu) in each_gpu() {
        let x = tensor(gpu, [6], &x);
        let y = ops::activation_forward(&x, Activation::Relu).unwrap();
        let values = y.to_vec().unwrap();
        assert_same(device, &values[..2], &[nan, nan]);
        assert_eq!(values[2..], [0.0, 0.0, 0.0, 2.0], "{device}");
        let gy = tensor(gpu, [6], &gy);
        let gx = ops::activation_backward(Activation::Relu, &x, &y, &gy).unwrap();
        assert_same(
            device,
            &gx.to_vec().unwrap(),
            &[1.0, 2.0, 0.0, 0.0, 0.0, nan],
        );
    }
}

#[test]
fn all_functions_pass_nan_and_saturate() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [nan, inf, -inf, f32::MAX, f32::MIN, 88.8, -88.8, -110.0];
    for (device, gpu) in each_gpu() {
        let x = tensor(gpu, [8], &x);
        let of = |function| {
            ops::activation_forward(&x, function)
                .unwrap()
                .to_vec()
                .unwrap()
        };
        assert_same(
            device,
            &of(Activation::Relu),
            &[nan, inf, 0.0, f32::MAX, 0.0, 88.8, 0.0, 0.0],
        );
        assert_same(
            device,
            &of(Activation::Tanh),
            &[nan, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, -1.0],
        );
        let sigmoid = of(Activation::Sigmoid);
        assert_same(device, &sigmoid[..6], &[nan, 1.0, 0.0, 1.0, 0.0, 1.0]);
        assert!(
            sigmoid[6..].iter().all(|&y| (0.0..1e-37).contains(&y)),
            "{device} {sigmoid:?}"
        );
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_element() {
    let len = 4 * 64 * 32_768 + 1001;
    let x = integers(&mut random(9), len);
    let expected: Vec<f32> = x.iter().map(|&x| x.max(0.0) + 0.0).collect();
    for (_, gpu) in poisoned_gpus().take(1) {
        let y = ops::activation_forward(&tensor(gpu, [len], &x), Activation::Relu).unwrap();
        assert!(
            bits(&y.to_vec().unwrap()) == bits(&expected),
            "an element differs"
        );
    }
}
