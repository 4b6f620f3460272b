//! The kernels of src/gpu/kernels/broadcast.rs: sums, products and factors for channels, and the residual
//! connection that is made of the first.

use wgpu_cnn::{Linear, Model, Mul, Scale, Shape, cpu, ops};

use crate::common::{
    Fill, assert_error, assert_exact_step, each_gpu, integers, poisoned_gpus, random, tensor,
    uniform,
};
use crate::compare::{assert_bits, assert_same};

struct Case {
    name: &'static str,
    shape: &'static [usize],
}

const CASES: [Case; 6] = [
    Case {
        name: "one number",
        shape: &[1],
    },
    Case {
        name: "less than a vector",
        shape: &[3, 1],
    },
    Case {
        name: "whole vectors",
        shape: &[2, 4, 4],
    },
    Case {
        name: "a vector begun",
        shape: &[257],
    },
    Case {
        name: "an image of odd sizes",
        shape: &[3, 5, 7, 9],
    },
    Case {
        name: "several workgroups",
        shape: &[2, 1031],
    },
];

/// Numbers and their negatives, whose sums lose all of their digits, and magnitudes far apart.
fn far_apart(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    let scales = [1.0, -1.0, 1e10, 1e-10, f32::MAX];
    (0..len).map(|_| scales[rng.usize(0..5)]).collect()
}

#[test]
fn sums_are_the_nearest_numbers() {
    let fills: [(&str, Fill); 3] = [
        ("random", uniform),
        ("integers", integers),
        ("far apart", far_apart),
    ];
    for Case { name, shape } in CASES {
        for (kind, fill) in fills {
            let (mut rng, len) = (random(8), shape.iter().product());
            let (left, right) = (fill(&mut rng, len), fill(&mut rng, len));
            let expected: Vec<f32> = left.iter().zip(&right).map(|(a, b)| a + b).collect();
            for (device, gpu) in each_gpu() {
                let sum = ops::add(&tensor(gpu, shape, &left), &tensor(gpu, shape, &right));
                let sum = sum.unwrap().to_vec().unwrap();
                assert_bits(&format!("{name}, {kind}, {device}"), &sum, &expected);
            }
        }
    }
}

/// In numbers that do not come from the reference.
#[test]
fn infinities_and_zeros_are_those_of_ieee_754() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let left = [inf, -inf, inf, nan, 1.0, f32::MAX, 1.0];
    let right = [inf, 2.0, -inf, 1.0, nan, f32::MAX, -1.0];
    let expected = [inf, -inf, nan, nan, nan, inf, 0.0];
    let (zeros, others) = ([0.0, -0.0, -0.0], [-0.0, 0.0, -0.0]);
    for (device, gpu) in each_gpu() {
        let add = |left: &[f32], right: &[f32]| {
            let [left, right] = [left, right].map(|side| tensor(gpu, [side.len()], side));
            ops::add(&left, &right).unwrap().to_vec().unwrap()
        };
        assert_same(device, &add(&left, &right), &expected);
        assert_bits(device, &add(&zeros, &others), &[0.0, 0.0, -0.0]);
    }
}

/// Both branches get the whole gradient, and what lies before them the sum of what they hand back.
#[test]
fn residual_connections_hand_their_gradient_to_both_branches() {
    struct Block {
        features: usize,
        batch: usize,
        /// Whether the shortcut has a layer too.
        shortcut: bool,
    }
    let block = |features, batch, shortcut| Block {
        features,
        batch,
        shortcut,
    };
    for Block {
        features,
        batch,
        shortcut,
    } in [
        block(1, 2, false),
        block(5, 7, false),
        block(8, 4, true),
        block(70, 3, true),
    ] {
        let dense = || Linear::new(features).bias(false);
        let model = Model::builder([features]).push(dense());
        let model = match shortcut {
            true => model.residual_with(|body| body.push(dense()), |other| other.push(dense())),
            false => model.residual(|body| body.push(dense())),
        };
        let model = model.build().unwrap();
        let rng = &mut random(features as u64);
        let parameters: Vec<(String, Vec<f32>)> = model
            .parameters()
            .map(|(name, shape)| {
                // Mostly zeros before the branches, so that all sums stay exact in f32.
                let value = |at: usize, rng: &mut fastrand::Rng| match name {
                    "0.weight" => f32::from(at.is_multiple_of(features + 1)),
                    _ => rng.i8(-1..=1).into(),
                };
                let values = (0..shape.len()).map(|at| value(at, rng));
                (name.into(), values.collect())
            })
            .collect();
        let x = integers(rng, batch * features);
        let name = format!("{features} features, a layer on both sides: {shortcut}");
        assert_exact_step(&name, &model, &parameters, &x, each_gpu());
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_element() {
    let len = 4 * 64 * 32_768 + 1001;
    let x = integers(&mut random(9), len);
    let expected: Vec<f32> = x.iter().map(|x| x + x).collect();
    for (device, gpu) in poisoned_gpus().take(1) {
        let x = tensor(gpu, [len], &x);
        let sum = ops::add(&x, &x).unwrap();
        assert_same(device, &sum.to_vec().unwrap(), &expected);
    }
}

/// The shapes of two sides, the batch included.
const PAIRS: [(&str, &[usize], &[usize]); 11] = [
    ("of one shape", &[2, 3, 5, 7], &[2, 3, 5, 7]),
    ("channels", &[2, 5, 4, 4], &[2, 5, 1, 1]),
    ("channels, odd", &[3, 1, 1, 1], &[3, 7, 3, 3]),
    ("channels of large planes", &[2, 3, 31, 33], &[2, 3, 1, 1]),
    (
        "channels of large planes, whole vectors",
        &[2, 3, 1, 1],
        &[2, 3, 32, 33],
    ),
    ("positions", &[2, 1, 4, 6], &[2, 9, 4, 6]),
    ("positions of many channels", &[3, 1031, 3], &[3, 1, 3]),
    ("examples", &[7, 1], &[7, 5]),
    ("examples of long rows", &[2, 1, 1], &[2, 70, 300]),
    ("channels and positions", &[2, 65, 1, 1], &[2, 1, 9, 10]),
    (
        "positions and channels of signals",
        &[1, 1, 257],
        &[1, 3, 1],
    ),
];

/// Of whole numbers, whose sums are exact in any order.
#[test]
fn what_counts_for_many_has_the_values_and_gradients_of_the_reference() {
    for (name, left, right) in PAIRS {
        let g = Mul.geometry(left[0], &left[1..].into(), &right[1..].into());
        let g = g.unwrap();
        let swapped = wgpu_cnn::op::BroadcastGeometry {
            left: g.right,
            right: g.left,
            ..g
        };
        let rng = &mut random(left.len() as u64);
        let [a, b] = [left, right].map(|shape| integers(rng, shape.iter().product()));
        let gy = integers(rng, g.output_len());
        let whole: Vec<usize> = left.iter().zip(right).map(|(&a, &b)| a.max(b)).collect();
        let filled = |len: usize, write: &dyn Fn(&mut [f32])| {
            let mut values = vec![f32::NAN; len];
            write(&mut values);
            values
        };
        let len = g.output_len();
        let sum = filled(len, &|y| cpu::add_forward(&g, &a, &b, y).unwrap());
        let product = filled(len, &|y| cpu::mul_forward(&g, &a, &b, y).unwrap());
        let of_sum = [
            filled(a.len(), &|to| {
                cpu::add_backward(&g, g.left, &gy, to).unwrap()
            }),
            filled(b.len(), &|to| {
                cpu::add_backward(&g, g.right, &gy, to).unwrap()
            }),
        ];
        let of_product = [
            filled(a.len(), &|to| cpu::mul_backward(&g, &b, &gy, to).unwrap()),
            filled(b.len(), &|to| {
                cpu::mul_backward(&swapped, &a, &gy, to).unwrap()
            }),
        ];
        for (device, gpu) in each_gpu() {
            let name = format!("{name} on {device}");
            let [a, b] = [(left, &a), (right, &b)].map(|(shape, x)| tensor(gpu, shape, x));
            let gy = tensor(gpu, &whole[..], &gy);
            let same = |got: &wgpu_cnn::Tensor, shape: &[usize], expected: &[f32]| {
                assert_eq!(*got.shape(), Shape::from(shape), "{name}");
                assert_same(&name, &got.to_vec().unwrap(), expected);
            };
            same(&ops::add(&a, &b).unwrap(), &whole, &sum);
            same(&ops::mul(&a, &b).unwrap(), &whole, &product);
            let [to_a, to_b] = ops::mul_backward(&a, &b, &gy).unwrap();
            same(&to_a, left, &of_product[0]);
            same(&to_b, right, &of_product[1]);
            same(&ops::add_backward(&gy, left).unwrap(), left, &of_sum[0]);
            same(&ops::add_backward(&gy, right).unwrap(), right, &of_sum[1]);
        }
    }
}

#[test]
fn factors_for_channels_have_the_values_and_gradients_of_the_reference() {
    let shapes: [&[usize]; 6] = [
        &[1, 1],
        &[300, 5],
        &[2, 3, 4, 4],
        &[3, 5, 3, 7],
        &[70, 2, 9],
        &[3, 2, 65, 67],
    ];
    for shape in shapes {
        let g = Scale::new().geometry(shape[0], &shape[1..].into()).unwrap();
        let rng = &mut random(shape.len() as u64);
        let [x, gy] = [(); 2].map(|()| integers(rng, shape.iter().product()));
        let [w, b] = [(); 2].map(|()| integers(rng, shape[1]));
        let (mut y, mut gx) = (x.clone(), x.clone());
        let (mut gw, mut gb) = (w.clone(), b.clone());
        cpu::scale_forward(&g, &x, &w, Some(&b), &mut y).unwrap();
        cpu::scale_backward_input(&g, &w, &gy, &mut gx).unwrap();
        cpu::scale_backward_weight(&g, &x, &gy, &mut gw).unwrap();
        cpu::scale_backward_bias(&g, &gy, &mut gb).unwrap();
        for (device, gpu) in each_gpu() {
            let name = format!("{shape:?} on {device}");
            let [x, gy] = [&x, &gy].map(|values| tensor(gpu, shape, values));
            let [w, b] = [&w, &b].map(|values| tensor(gpu, [shape[1]], values));
            let same = |got: &wgpu_cnn::Tensor, expected: &[f32]| {
                assert_same(&name, &got.to_vec().unwrap(), expected);
            };
            same(&ops::scale_forward(&x, &w, Some(&b)).unwrap(), &y);
            let [to_x, to_w, to_b] = ops::scale_backward(&x, &w, &gy).unwrap();
            same(&to_x, &gx);
            same(&to_w, &gw);
            same(&to_b, &gb);
        }
    }
}

#[test]
fn tensors_of_two_shapes_are_refused() {
    for (_, gpu) in poisoned_gpus() {
        let [left, right] = [[2, 3], [3, 2]].map(|shape| tensor(gpu, shape, &[1.0; 6]));
        let words = ["right", "[2, 3]", "[3, 2]"];
        assert_error(ops::add(&left, &right), "shape", &words);
    }
}
