//! The kernel of src/gpu/kernels/concat.rs, forward and, in models, backward.

use wgpu_cnn::{Branch, Conv2d, Linear, Model, ModelBuilder, Reshape, cpu, ops};

use crate::common::{
    Fill, assert_error, assert_exact_step, each_gpu, integers, poisoned_gpus, random, tensor,
    uniform,
};
use crate::compare::{assert_bits, assert_same};

struct Case {
    name: &'static str,
    batch: usize,
    /// Of each tensor.
    channels: &'static [usize],
    /// The axes after the channels.
    plane: &'static [usize],
}

impl Case {
    fn shape(&self, channels: usize) -> Vec<usize> {
        [&[self.batch, channels], self.plane].concat()
    }
}

const CASES: [Case; 8] = [
    Case {
        name: "one number",
        batch: 1,
        channels: &[1],
        plane: &[],
    },
    Case {
        name: "one tensor",
        batch: 3,
        channels: &[5],
        plane: &[3],
    },
    Case {
        name: "rows",
        batch: 7,
        channels: &[3, 1, 6],
        plane: &[],
    },
    Case {
        name: "signals",
        batch: 2,
        channels: &[1, 4],
        plane: &[9],
    },
    Case {
        name: "whole vectors",
        batch: 2,
        channels: &[4, 8],
        plane: &[4, 4],
    },
    Case {
        name: "images of odd sizes",
        batch: 3,
        channels: &[2, 5, 1],
        plane: &[5, 3],
    },
    Case {
        name: "one pixel",
        batch: 65,
        channels: &[1, 1],
        plane: &[1, 1],
    },
    Case {
        name: "eleven tensors, several workgroups",
        batch: 2,
        channels: &[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5],
        plane: &[7, 11],
    },
];

/// Bits that a copy must not touch.
fn odd_bits(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, f32::MAX];
    let value = |rng: &mut fastrand::Rng| match rng.bool() {
        true => special[rng.usize(0..5)],
        false => rng.f32(),
    };
    (0..len).map(|_| value(rng)).collect()
}

#[test]
fn blocks_equal_the_reference_bit_by_bit() {
    for case in &CASES {
        for (kind, fill) in [("random", uniform as Fill), ("odd bits", odd_bits)] {
            let mut rng = random(11);
            let of = |&channels: &usize| fill(&mut rng, case.shape(channels).iter().product());
            let inputs: Vec<Vec<f32>> = case.channels.iter().map(of).collect();
            let slices: Vec<&[f32]> = inputs.iter().map(|input| &input[..]).collect();
            let mut expected = vec![0.0; slices.iter().map(|slice| slice.len()).sum()];
            cpu::concat_forward(case.batch, &slices, &mut expected).unwrap();
            for (device, gpu) in each_gpu() {
                let pairs = case.channels.iter().zip(&inputs);
                let tensors = pairs.map(|(&c, input)| tensor(gpu, case.shape(c), input));
                let tensors: Vec<_> = tensors.collect();
                let whole = ops::concat(&tensors.iter().collect::<Vec<_>>()).unwrap();
                let name = format!("{}, {kind}, {device}", case.name);
                assert_eq!(whole.shape()[..], case.shape(case.channels.iter().sum()));
                assert_bits(&name, &whole.to_vec().unwrap(), &expected);
            }
        }
    }
}

/// In numbers that do not come from the reference: image, channel and pixel as digits.
#[test]
fn channels_follow_each_other_within_each_image() {
    let left = [111.0, 112.0, 121.0, 122.0, 211.0, 212.0, 221.0, 222.0];
    let right = [131.0, 132.0, 231.0, 232.0];
    for (device, gpu) in each_gpu() {
        let (left, right) = (
            tensor(gpu, [2, 2, 2], &left),
            tensor(gpu, [2, 1, 2], &right),
        );
        let whole = ops::concat(&[&left, &right]).unwrap().to_vec().unwrap();
        let images = [
            [111.0, 112.0, 121.0, 122.0, 131.0, 132.0],
            [211.0, 212.0, 221.0, 222.0, 231.0, 232.0],
        ];
        assert_same(device, &whole, images.as_flattened());
        // The same tensor more than once.
        let twice = ops::concat(&[&right, &right]).unwrap().to_vec().unwrap();
        let images = [[131.0, 132.0, 131.0, 132.0], [231.0, 232.0, 231.0, 232.0]];
        assert_same(device, &twice, images.as_flattened());
    }
}

/// Each branch gets its own part of the gradient, and what lies before them the sum of what they
/// hand back.
#[test]
fn the_gradient_is_taken_apart_as_the_value_was_put_together() {
    /// A dense layer as a branch that gives so many channels of so many pixels.
    fn branch<const C: usize, const P: usize>(b: ModelBuilder) -> ModelBuilder {
        b.push(Linear::new(C * P).bias(false))
            .push(Reshape::new([C, P]))
    }
    let row = || Model::builder([4]).push(Linear::new(4).bias(false));
    let models = [
        ("one branch", row().concat([branch::<3, 2>]), 3),
        (
            "three branches",
            row().concat([branch::<1, 5>, branch::<3, 5>, branch::<2, 5>]),
            4,
        ),
        (
            "a branch that is the value itself",
            row().concat([
                Branch::new(|b| b),
                Branch::new(|b| b.push(Linear::new(3).bias(false))),
            ]),
            2,
        ),
        (
            "images",
            Model::builder([2, 3, 3])
                .push(Conv2d::new(2, 1).bias(false))
                .concat([
                    Branch::new(|b| b.push(Conv2d::new(3, 3).padding(1).bias(false))),
                    Branch::new(|b| b.push(Conv2d::new(4, 1).bias(false))),
                ]),
            2,
        ),
    ];
    for (name, model, batch) in models {
        let (model, rng) = (model.build().unwrap(), &mut random(12));
        let parameters: Vec<(String, Vec<f32>)> = model
            .parameters()
            .map(|(name, shape)| (name.into(), integers(rng, shape.len())))
            .collect();
        let x = integers(rng, batch * model.input_shape().len());
        assert_exact_step(name, &model, &parameters, &x, each_gpu());
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_element() {
    let len = 64 * 32_768 + 1001;
    let x = uniform(&mut random(13), len);
    for (device, gpu) in poisoned_gpus().take(1) {
        let (long, short) = (tensor(gpu, [1, len], &x), tensor(gpu, [1, 1], &[7.0]));
        let whole = ops::concat(&[&short, &long]).unwrap().to_vec().unwrap();
        assert_bits(device, &whole, &[&[7.0], &x[..]].concat());
    }
}

#[test]
fn what_does_not_join_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let of = |shape: &[usize]| tensor(gpu, shape, &vec![1.0; shape.iter().product()]);
        let image = of(&[2, 3, 4, 4]);
        for other in [&[1, 3, 4, 4][..], &[2, 3, 4, 5], &[2, 3, 16], &[2, 48]] {
            let words = ["[2, 3, 4, 4] but for its channels"];
            assert_error(ops::concat(&[&image, &of(other)]), "shape", &words);
        }
        assert_error(ops::concat(&[&of(&[3])]), "shape", &["(N, C, ...)"]);
        assert_error(ops::concat(&[]), "argument", &["needs a tensor"]);
    }
}
