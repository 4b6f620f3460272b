//! The kernels of src/gpu/kernels/adaptive_pool2d.rs.

use wgpu_cnn::op::AdaptivePool2dGeometry;
use wgpu_cnn::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, Gpu, Shape, cpu, ops};

use crate::common::{Fill, each_gpu, integers, random, tensor, uniform};
use crate::compare::{assert_bits, assert_indices, assert_same};

/// What is pooled, `(N, C, H, W)`, and to what size.
const CASES: [([usize; 4], [usize; 2]); 13] = [
    ([1, 1, 1, 1], [1, 1]),
    ([2, 3, 7, 5], [3, 2]),
    ([2, 3, 8, 8], [2, 4]),
    ([1, 4, 10, 7], [7, 3]),
    ([2, 2, 3, 4], [5, 7]),
    ([2, 65, 2, 2], [7, 7]),
    ([3, 5, 1, 1], [6, 6]),
    ([1, 1, 3, 2], [200, 150]),
    ([2, 1, 1, 131], [1, 9]),
    ([1, 2, 37, 50], [2, 3]),
    ([1, 3, 224, 223], [7, 7]),
    ([1, 1, 300, 299], [2, 1]),
    ([1, 1, 1, 100_003], [1, 3]),
];

fn geometry(input: [usize; 4], size: [usize; 2]) -> AdaptivePool2dGeometry {
    let [batch, image @ ..] = input;
    let pool = AdaptiveMaxPool2d::new(size);
    pool.geometry(batch, &Shape::from(image)).unwrap()
}

fn check_maxima(name: &str, gpu: &Gpu, input: [usize; 4], size: [usize; 2], fill: Fill) {
    let (geometry, layer) = (geometry(input, size), AdaptiveMaxPool2d::new(size));
    let mut rng = random(geometry.input_len() as u64);
    let x = fill(&mut rng, geometry.input_len());
    let gy = integers(&mut rng, geometry.output_len());
    let (mut y, mut argmax) = (vec![0.0; gy.len()], vec![0; gy.len()]);
    cpu::adaptive_max_pool2d_forward(&geometry, &x, &mut y, &mut argmax).unwrap();
    let mut gx = vec![0.0; x.len()];
    cpu::adaptive_max_pool2d_backward(&geometry, &gy, &argmax, &mut gx).unwrap();
    let name = format!("maxima of {input:?} to {size:?}, {name}");
    let (on_gpu, places) =
        ops::adaptive_max_pool2d_forward(&tensor(gpu, input, &x), &layer).unwrap();
    assert_indices(&name, &places.to_vec().unwrap(), &argmax);
    assert_same(&name, &on_gpu.to_vec().unwrap(), &y);
    let gy = tensor(gpu, on_gpu.shape(), &gy);
    let gradient = ops::adaptive_max_pool2d_backward(&gy, &places, input, &layer).unwrap();
    assert_bits(&name, &gradient.to_vec().unwrap(), &gx);
}

#[test]
fn maxima_equal_the_reference() {
    for (name, gpu) in each_gpu() {
        for (input, size) in CASES {
            check_maxima(name, gpu, input, size, uniform);
        }
    }
}

#[test]
fn ties_nan_and_infinities_follow_the_contract() {
    let few: Fill = |rng, len| {
        let values = [0.0, -0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0];
        let rare = |rng: &mut fastrand::Rng| if rng.u8(..) == 0 { f32::NAN } else { 1.0 };
        let mut value = || rare(rng) * values[rng.usize(..values.len())];
        (0..len).map(|_| value()).collect()
    };
    let low: Fill = |_, len| vec![f32::NEG_INFINITY; len];
    for (name, gpu) in each_gpu() {
        for (input, size) in CASES {
            check_maxima(name, gpu, input, size, few);
            check_maxima(name, gpu, input, size, low);
        }
    }
}

#[test]
fn means_equal_the_reference() {
    for (name, gpu) in each_gpu() {
        for (input, size) in CASES {
            let (geometry, layer) = (geometry(input, size), AdaptiveAvgPool2d::new(size));
            let mut rng = random(geometry.input_len() as u64);
            let x: Vec<f32> = (0..geometry.input_len()).map(|_| rng.f32()).collect();
            let gy: Vec<f32> = (0..geometry.output_len()).map(|_| rng.f32()).collect();
            let (mut y, mut gx) = (vec![0.0; gy.len()], vec![0.0; x.len()]);
            cpu::adaptive_avg_pool2d_forward(&geometry, &x, &mut y).unwrap();
            cpu::adaptive_avg_pool2d_backward(&geometry, &gy, &mut gx).unwrap();
            let name = format!("means of {input:?} to {size:?}, {name}");
            let on_gpu = ops::adaptive_avg_pool2d_forward(&tensor(gpu, input, &x), &layer).unwrap();
            let gradient = tensor(gpu, on_gpu.shape(), &gy);
            let gradient = ops::adaptive_avg_pool2d_backward(&gradient, input, &layer).unwrap();
            let pairs = [(on_gpu, y), (gradient, gx)];
            for (got, expected) in pairs {
                for (got, expected) in got.to_vec().unwrap().into_iter().zip(expected) {
                    // Of terms of one sign, so relative to the result.
                    let off = (got - expected).abs();
                    assert!(off <= 3e-6 * expected, "{name}: {got}, not {expected}");
                }
            }
        }
    }
}

#[test]
fn what_repeats_pixels_copies_them() {
    for (name, gpu) in each_gpu() {
        let x = uniform(&mut random(3), 8);
        let layer = AdaptiveAvgPool2d::new([6, 4]);
        let y = ops::adaptive_avg_pool2d_forward(&tensor(gpu, [1, 2, 2, 2], &x), &layer).unwrap();
        let repeated = |at: usize| x[at / 24 * 4 + at % 24 / 12 * 2 + at % 4 / 2];
        let expected: Vec<f32> = (0..48).map(repeated).collect();
        assert_bits(name, &y.to_vec().unwrap(), &expected);
    }
}
