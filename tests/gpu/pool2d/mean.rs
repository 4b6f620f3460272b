//! Mean pooling, and the mean that is weighted with a plane's own softmax.

use wgpu_cnn::engine::catalogue::of_sum;
use wgpu_cnn::op::{GlobalPool, Pool2dGeometry};
use wgpu_cnn::{AvgPool2d, Shape, cpu, ops};

use super::not_numbers;
use crate::common::{
    Fill, each_gpu, integers, narrow, poisoned_gpus, random, tensor, uniform, wide,
};
use crate::compare::{Expected, assert_same};

struct Case {
    name: &'static str,
    /// `(N, C, H, W)`
    input: [usize; 4],
    layer: AvgPool2d,
}

impl Case {
    fn geometry(&self) -> Pool2dGeometry {
        let [batch, image @ ..] = self.input;
        self.layer.geometry(batch, &Shape::from(image)).unwrap()
    }

    /// `(N, C, OH, OW)`
    fn output(&self) -> [usize; 4] {
        let [batch, channels, ..] = self.input;
        let size = self.geometry().out_size;
        [batch, channels, size.height, size.width]
    }

    /// Whether every sum is divided by the same power of two, so that whole numbers stay exact.
    fn is_exact(&self) -> bool {
        let whole = self.geometry().padding == [0; 4] || self.layer.count_include_pad;
        whole && !self.layer.ceil_mode && self.layer.kernel.area().is_power_of_two()
    }

    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.geometry().output_len()];
        cpu::avg_pool2d_forward(&self.geometry(), self.layer.count_include_pad, x, &mut y).unwrap();
        y
    }

    fn backward(&self, gy: &[f64]) -> Vec<f64> {
        let mut gx = vec![0.0; self.geometry().input_len()];
        cpu::avg_pool2d_backward(&self.geometry(), self.layer.count_include_pad, gy, &mut gx)
            .unwrap();
        gx
    }
}

/// Each with the padding counted and not.
fn cases() -> Vec<Case> {
    let pool = AvgPool2d::new;
    let layers = [
        ("one pixel", [1, 1, 1, 1], pool(1)),
        ("2x2", [3, 5, 8, 6], pool(2)),
        ("2x2, rows left over", [2, 3, 9, 7], pool(2)),
        ("overlapping", [2, 3, 7, 5], pool(3).stride(1)),
        (
            "overlapping, 4x4",
            [2, 3, 7, 6],
            pool(4).stride(1).padding(2),
        ),
        (
            "overlapping, padded",
            [2, 2, 9, 10],
            pool(3).stride(2).padding(1),
        ),
        (
            "rectangular",
            [1, 4, 8, 9],
            AvgPool2d::new([2, 3]).stride([3, 1]),
        ),
        ("stride above kernel", [2, 2, 11, 10], pool(2).stride(4)),
        (
            "four-sided",
            [1, 3, 6, 7],
            AvgPool2d::new([4, 3]).stride(2).padding([2, 0, 1, 0]),
        ),
        (
            "a last window begun",
            [2, 3, 8, 7],
            pool(3).stride(2).ceil_mode(true),
        ),
        (
            "a last window beyond the padding",
            [2, 2, 7, 9],
            pool(4).stride(3).padding([1, 2, 0, 1]).ceil_mode(true),
        ),
        ("the whole plane", [2, 65, 5, 7], AvgPool2d::new([5, 7])),
    ];
    let both = |(name, input, layer): (_, _, AvgPool2d)| {
        [true, false].map(|count| Case {
            name,
            input,
            layer: layer.clone().count_include_pad(count),
        })
    };
    layers.into_iter().flat_map(both).collect()
}

fn sums(run: impl Fn(&[f64]) -> Vec<f64>, inputs: &[f32], inner: usize) -> Expected {
    Expected::sums(inner, [inputs], |[inputs]| run(&inputs))
}

#[test]
fn means_equal_the_reference() {
    let fills: [(&str, Fill); 3] = [
        ("random", uniform),
        ("integers", integers),
        ("not numbers", not_numbers),
    ];
    for case in &cases() {
        // A division counts as three roundings.
        let terms = case.layer.kernel.area() + 3;
        for (kind, fill) in fills {
            let x = fill(&mut random(24), case.geometry().input_len());
            let x: Vec<f32> = x.iter().map(|x| x + x.signum()).collect(); // none is zero
            let expected = sums(|x| case.forward(x), &x, terms);
            for (device, gpu) in each_gpu() {
                let count = case.layer.count_include_pad;
                let name = format!("{}, padding counted {count}, {kind}, {device}", case.name);
                let y = ops::avg_pool2d_forward(&tensor(gpu, case.input, &x), &case.layer);
                let y = y.unwrap();
                assert_eq!(y.shape()[..], case.output(), "{name}");
                match kind {
                    "integers" if case.is_exact() => {
                        let values = narrow(&expected.values);
                        assert_same(&name, &y.to_vec().unwrap(), &values);
                    }
                    _ => expected.assert(&name, &y.to_vec().unwrap()),
                }
            }
        }
    }
}

#[test]
fn gradients_of_means_equal_the_reference() {
    for case in &cases() {
        let geometry = case.geometry();
        let windows = geometry.kernel.area().min(geometry.out_size.area());
        for (kind, fill) in [("random", uniform as Fill), ("integers", integers)] {
            let gy = fill(&mut random(25), geometry.output_len());
            let gy: Vec<f32> = gy.iter().map(|g| g + g.signum()).collect();
            let expected = sums(|gy| case.backward(gy), &gy, windows + 3);
            for (device, gpu) in each_gpu() {
                let count = case.layer.count_include_pad;
                let name = format!("{}, padding counted {count}, {kind}, {device}", case.name);
                let gy = tensor(gpu, case.output(), &gy);
                let gx = ops::avg_pool2d_backward(&gy, case.input, &case.layer).unwrap();
                match kind {
                    "integers" if case.is_exact() => {
                        let values = narrow(&expected.values);
                        assert_same(&name, &gx.to_vec().unwrap(), &values);
                    }
                    _ => expected.assert(&name, &gx.to_vec().unwrap()),
                }
            }
        }
    }
}

/// In numbers that do not come from the reference: what a corner's sum is divided by, with one pixel of
/// four in the plane, and at a last window that reaches beyond the padding.
#[test]
fn padding_counts_where_it_is_told_to() {
    let corners = AvgPool2d::new(2).padding(1);
    let last = AvgPool2d::new(2).ceil_mode(true);
    let cases = [
        (2, &corners, true, vec![1.0, 2.0, 3.0, 4.0]),
        (2, &corners, false, vec![4.0, 8.0, 12.0, 16.0]),
        // What lies beyond is never counted.
        (3, &last, true, vec![12.0, 18.0, 30.0, 36.0]),
        (3, &last, false, vec![12.0, 18.0, 30.0, 36.0]),
    ];
    for (device, gpu) in each_gpu() {
        for (extent, layer, count, expected) in &cases {
            let layer = (*layer).clone().count_include_pad(*count);
            let x: Vec<f32> = (1..=extent * extent).map(|i| i as f32 * 4.0).collect();
            let input = [1, 1, *extent, *extent];
            let y = ops::avg_pool2d_forward(&tensor(gpu, input, &x), &layer).unwrap();
            assert_same(device, &y.to_vec().unwrap(), expected);
            // Each output's gradient is shared out whole, but for what the padding counts.
            let gy = tensor(gpu, [1, 1, 2, 2], &[4.0; 4]);
            let gx = ops::avg_pool2d_backward(&gy, input, &layer).unwrap();
            let total: f32 = gx.to_vec().unwrap().iter().sum();
            let kept = if *extent == 2 && *count { 4.0 } else { 16.0 };
            assert_eq!(total, kept, "{device}, {layer:?}");
        }
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_mean() {
    let (input, layer) = ([1, 1, 1100, 2000], AvgPool2d::new(1));
    let x = uniform(&mut random(26), 1100 * 2000);
    for (device, gpu) in poisoned_gpus().take(1) {
        let y = ops::avg_pool2d_forward(&tensor(gpu, input, &x), &layer).unwrap();
        assert_same(device, &y.to_vec().unwrap(), &x);
        let gx = ops::avg_pool2d_backward(&y, input, &layer).unwrap();
        assert_same(device, &gx.to_vec().unwrap(), &x);
    }
}

/// `(N, C, H, W)`
const PLANES: [[usize; 4]; 5] = [
    [1, 1, 1, 1],
    [3, 2, 1, 9],
    [2, 65, 3, 3],
    [2, 3, 8, 8],
    [1, 2, 31, 33],
];

/// Numbers within (-4, 4), so that the weights of a plane differ much.
fn planes(input: [usize; 4]) -> Vec<f32> {
    let x = uniform(&mut random(27), input.iter().product());
    x.iter().map(|x| 4.0 * x).collect()
}

/// A plane's softmax, and what exp and the sum may do to an element of it, relatively: WGSL lets exp be
/// off 3 + 2|x| units in the last place, and the distance from the maximum is rounded.
fn weights(plane: &[f64]) -> Vec<[f64; 2]> {
    let unit = f64::from(f32::EPSILON);
    let largest = plane.iter().copied().fold(f64::MIN, f64::max);
    let exp = plane.iter().map(|x| (x - largest).exp());
    let total: f64 = exp.clone().sum();
    let own = |x: f64| unit * (3.0 + 3.0 * (largest - x));
    let pairs = plane.iter().zip(exp.clone());
    let sum = pairs.map(|(&x, e)| e / total * own(x)).sum::<f64>() + of_sum(plane.len(), 1.0);
    let pairs = plane.iter().zip(exp);
    pairs
        .map(|(&x, e)| [e / total, own(x) + sum + 4.0 * unit])
        .collect()
}

/// The pooled values.
fn weighted_means(geometry: &Pool2dGeometry, x: &[f64]) -> Expected {
    let mut values = vec![0.0; geometry.planes];
    cpu::softmax_pool_forward(geometry, x, &mut values).unwrap();
    let of_plane = |plane: &[f64]| -> f64 {
        let pairs = plane.iter().zip(weights(plane));
        pairs
            .map(|(x, [p, off])| p * x.abs() * (off + of_sum(plane.len(), 1.0)))
            .sum()
    };
    Expected {
        values,
        tolerances: x
            .chunks_exact(geometry.in_size.area())
            .map(of_plane)
            .collect(),
    }
}

#[test]
fn softmax_weighted_means_and_their_gradients_equal_the_reference() {
    for input in PLANES {
        let [batch, channels, height, width] = input;
        let image = Shape::from([channels, height, width]);
        let geometry = GlobalPool::Softmax.geometry(batch, &image).unwrap();
        let (x, gy) = (planes(input), uniform(&mut random(28), geometry.planes));
        let (x64, gy64) = (wide(&x), wide(&gy));
        let y = weighted_means(&geometry, &x64);
        let mut values = vec![0.0; x.len()];
        cpu::softmax_pool_backward(&geometry, &x64, &gy64, &mut values).unwrap();
        let tolerances = x64
            .chunks_exact(height * width)
            .enumerate()
            .flat_map(|(at, plane)| {
                let (gy, mean, off_mean) = (gy64[at].abs(), y.values[at], y.tolerances[at]);
                let share = move |(x, [p, off]): (&f64, [f64; 2])| {
                    let around = 1.0 + x.abs() + mean.abs();
                    gy * p * (around * (off + 2.0 * f64::from(f32::EPSILON)) + off_mean)
                };
                plane.iter().zip(weights(plane)).map(share)
            });
        let gx = Expected {
            tolerances: tolerances.collect(),
            values,
        };
        for (device, gpu) in each_gpu() {
            let name = format!("{input:?}, {device}");
            let x = tensor(gpu, input, &x);
            let (pooled, kept) = ops::softmax_pool_forward(&x).unwrap();
            y.assert(&name, &pooled.to_vec().unwrap());
            let gy = tensor(gpu, [batch, channels, 1, 1], &gy);
            let got = ops::softmax_pool_backward(&x, (&pooled, &kept), &gy).unwrap();
            gx.assert(&name, &got.to_vec().unwrap());
        }
    }
}

/// In numbers that do not come from the reference.
#[test]
fn a_softmax_weighted_mean_is_the_value_of_a_constant_plane_and_large_values_stay_finite() {
    let nan = f32::NAN;
    let x = [
        [7.5, 7.5, 7.5, 7.5],
        [1e30, 1e30, 1e30, 1e30],
        [1e4, -1e4, 1e4, -1e4],
        [0.0, -3e38, -3e38, 0.0],
        [1.0, 2.0, nan, 3.0],
    ];
    for (device, gpu) in each_gpu() {
        let x = tensor(gpu, [1, 5, 2, 2], x.as_flattened());
        let (y, kept) = ops::softmax_pool_forward(&x).unwrap();
        assert_same(device, &y.to_vec().unwrap(), &[7.5, 1e30, 1e4, 0.0, nan]);
        let gy = tensor(gpu, [1, 5, 1, 1], &[8.0; 5]);
        let gx = ops::softmax_pool_backward(&x, (&y, &kept), &gy).unwrap();
        let gx = gx.to_vec().unwrap();
        assert_same(device, &gx[..4], &[2.0; 4]);
        assert_same(device, &gx[8..12], &[4.0, 0.0, 4.0, 0.0]);
        assert_same(device, &gx[16..], &[nan; 4]);
    }
}
