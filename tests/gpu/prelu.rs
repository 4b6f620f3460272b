//! The kernels of src/gpu/kernels/prelu.rs.

use wgpu_cnn::{Prelu, cpu, ops};

use crate::common::{assert_error, each_gpu, integers, poisoned_gpus, random, tensor, uniform};
use crate::compare::{assert_bits, assert_same};

/// `(N, C, ...)`, and whether each channel has a weight.
const CASES: [(&str, &[usize], bool); 8] = [
    ("one number", &[1], false),
    ("less than a vector", &[3, 1], false),
    ("a row", &[5, 7], true),
    ("odd planes", &[2, 3, 3, 5], true),
    ("whole vectors", &[3, 4, 2, 6], true),
    ("a signal", &[2, 5, 13], true),
    ("one weight, odd examples", &[3, 5, 7], false),
    ("several workgroups", &[2, 3, 1031], true),
];

fn weights(shape: &[usize], each: bool) -> usize {
    if each { shape[1] } else { 1 }
}

/// A product or a copy each, and sums of whole numbers: not a bit differs.
#[test]
fn values_and_gradients_equal_the_reference_bit_by_bit() {
    for (name, shape, each) in CASES {
        let mut rng = random(21);
        let len = shape.iter().product();
        let (x, gy) = (integers(&mut rng, len), integers(&mut rng, len));
        let w = uniform(&mut rng, weights(shape, each));
        let geometry = Prelu::new().per_channel(each);
        let geometry = geometry.geometry(shape[0], &shape[1..].into()).unwrap();
        let (mut y, mut gx, mut gw) = (vec![0.0; len], vec![0.0; len], vec![0.0; w.len()]);
        cpu::prelu_forward(&geometry, &x, &w, &mut y).unwrap();
        cpu::prelu_backward_input(&geometry, &x, &w, &gy, &mut gx).unwrap();
        cpu::prelu_backward_weight(&geometry, &x, &gy, &mut gw).unwrap();
        // A product by zero has a sign that sums lose.
        let signless = |values: &[f32]| -> Vec<f32> { values.iter().map(|v| v + 0.0).collect() };
        for (device, gpu) in each_gpu() {
            let name = format!("{name}, {device}");
            let [x, gy] = [&x, &gy].map(|values| tensor(gpu, shape, values));
            let w = tensor(gpu, [w.len()], &w);
            let got = ops::prelu_forward(&x, &w).unwrap().to_vec().unwrap();
            assert_bits(&name, &signless(&got), &signless(&y));
            let [of_x, of_w] = ops::prelu_backward(&x, &w, &gy).unwrap();
            assert_bits(&name, &signless(&of_x.to_vec().unwrap()), &signless(&gx));
            assert_bits(&name, &signless(&of_w.to_vec().unwrap()), &signless(&gw));
        }
    }
}

/// In numbers that do not come from the reference: those of PyTorch.
#[test]
fn zero_nan_and_infinities_have_the_weight() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [0.0, -0.0, nan, -nan, inf, -inf, 1e-45, -1.0];
    for (device, gpu) in each_gpu() {
        let [x, gy] = [x, [2.0; 8]].map(|values| tensor(gpu, [1, 1, 8], &values));
        let w = tensor(gpu, [1], &[0.25]);
        let y = ops::prelu_forward(&x, &w).unwrap().to_vec().unwrap();
        assert_same(device, &y[2..6], &[nan, nan, inf, -inf]);
        assert_eq!(y[7], -0.25, "{device}");
        let [gx, gw] = ops::prelu_backward(&x, &w, &gy).unwrap();
        let expected = [0.5, 0.5, 0.5, 0.5, 2.0, 0.5, 2.0, 0.5];
        assert_same(device, &gx.to_vec().unwrap(), &expected);
        assert_same(device, &gw.to_vec().unwrap(), &[nan]);
    }
}

/// More values than one workgroup adds up.
#[test]
fn a_weight_of_a_large_batch_is_a_sum_of_parts() {
    let shape = [3, 1, 259, 257];
    let len: usize = shape.iter().product();
    for (device, gpu) in each_gpu() {
        let x = tensor(gpu, shape, &vec![-1.0; len]);
        let w = tensor(gpu, [1], &[0.5]);
        let [_, gw] = ops::prelu_backward(&x, &w, &x).unwrap();
        assert_eq!(gw.to_vec().unwrap(), [len as f32], "{device}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let of = |shape: &[usize]| tensor(gpu, shape, &vec![1.0; shape.iter().product()]);
        let (x, two) = (of(&[4, 3, 2]), of(&[2]));
        let words = ["prelu weight", "[C]", "[2]"];
        assert_error(ops::prelu_forward(&x, &two), "shape", &words);
        assert_error(ops::prelu_backward(&x, &two, &x), "shape", &words);
        let wrong = ops::prelu_backward(&x, &of(&[3]), &of(&[4, 3]));
        assert_error(wrong, "shape", &["output gradient", "[4, 3, 2]", "[4, 3]"]);
    }
}
