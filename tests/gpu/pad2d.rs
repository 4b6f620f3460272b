//! The kernels of src/gpu/kernels/pad2d.rs, and the convolutions whose inputs they pad.

use wgpu_cnn::{Conv2d, Pad2d, PaddingMode, Shape, cpu, ops};

use crate::common::{assert_error, each_gpu, integers, poisoned_gpus, random, tensor};
use crate::compare::assert_bits;

const MODES: [PaddingMode; 4] = [
    PaddingMode::Zeros,
    PaddingMode::Reflect,
    PaddingMode::Replicate,
    PaddingMode::Circular,
];

/// `(N, C, ...)`, and `[top, bottom, left, right]`.
const CASES: [(&str, &[usize], [usize; 4]); 6] = [
    ("nothing", &[1, 2, 3, 3], [0; 4]),
    ("four sides", &[2, 3, 5, 4], [1, 4, 3, 0]),
    ("all that there is", &[1, 2, 3, 4], [2, 2, 3, 3]),
    ("rows alone", &[2, 1, 7, 1], [3, 2, 0, 0]),
    ("a signal", &[2, 3, 9], [0, 0, 8, 2]),
    ("several workgroups", &[2, 2, 37, 41], [5, 0, 2, 9]),
];

/// Copies, and sums of whole numbers: not a bit differs.
#[test]
fn values_and_gradients_equal_the_reference_bit_by_bit() {
    for (name, shape, padding) in CASES {
        for mode in MODES {
            let layer = Pad2d::new(padding).mode(mode);
            let example = Shape::from(&shape[1..]);
            let g = layer.geometry(shape[0], &example).unwrap();
            let x = integers(&mut random(5), g.input_len());
            let gy = integers(&mut random(6), g.output_len());
            let (mut y, mut gx) = (vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()]);
            cpu::pad2d_forward(&g, &x, &mut y).unwrap();
            cpu::pad2d_backward(&g, &gy, &mut gx).unwrap();
            for (device, gpu) in each_gpu() {
                let name = format!("{name}, {mode:?}, {device}");
                let got = ops::pad2d_forward(&tensor(gpu, shape, &x), &layer).unwrap();
                assert_bits(&name, &got.to_vec().unwrap(), &y);
                let gy = tensor(gpu, got.shape(), &gy);
                let got = ops::pad2d_backward(&gy, shape, &layer).unwrap();
                assert_bits(&name, &got.to_vec().unwrap(), &gx);
            }
        }
    }
}

/// Each place of a row by hand, in numbers that do not come from the reference.
#[test]
fn values_are_those_of_pytorch() {
    let expected: [&[f32]; 4] = [
        &[0., 0., 1., 2., 3., 0., 0.],
        &[3., 2., 1., 2., 3., 2., 1.],
        &[1., 1., 1., 2., 3., 3., 3.],
        &[2., 3., 1., 2., 3., 1., 2.],
    ];
    for (device, gpu) in each_gpu() {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            let layer = Pad2d::new([0, 0, 2, 2]).mode(mode);
            let x = tensor(gpu, [1, 1, 3], &[1.0, 2.0, 3.0]);
            let y = ops::pad2d_forward(&x, &layer).unwrap();
            assert_eq!(y.to_vec().unwrap(), expected, "{mode:?} on {device}");
        }
    }
}

/// A convolution with a mode is that of the padded input, and so are its gradients.
#[test]
fn a_convolution_pads_before_it_convolves() {
    let input = [2, 4, 7, 6];
    for mode in MODES {
        let layer = Conv2d::new(6, [3, 2]).stride([2, 1]).groups(2);
        let padded = layer.clone().padding([1, 2, 3, 1]).padding_mode(mode);
        let pad = Pad2d::new([1, 2, 3, 1]).mode(mode);
        for (device, gpu) in each_gpu() {
            let name = format!("{mode:?} on {device}");
            let mut rng = random(7);
            let mut of = |shape: &[usize]| {
                let values = integers(&mut rng, shape.iter().product());
                tensor(gpu, shape, &values)
            };
            let (x, w, b) = (of(&input), of(&[6, 2, 3, 2]), of(&[6]));
            let around = ops::pad2d_forward(&x, &pad).unwrap();
            let y = ops::conv2d_forward(&x, &w, Some(&b), &padded).unwrap();
            let expected = ops::conv2d_forward(&around, &w, Some(&b), &layer).unwrap();
            assert_bits(&name, &y.to_vec().unwrap(), &expected.to_vec().unwrap());
            let gy = of(y.shape());
            let gx = ops::conv2d_backward_input(&gy, &w, input, &padded).unwrap();
            let expected = ops::conv2d_backward_input(&gy, &w, around.shape(), &layer).unwrap();
            let expected = ops::pad2d_backward(&expected, input, &pad).unwrap();
            assert_bits(&name, &gx.to_vec().unwrap(), &expected.to_vec().unwrap());
            let gw = ops::conv2d_backward_weight(&x, &gy, &padded).unwrap();
            let expected = ops::conv2d_backward_weight(&around, &gy, &layer).unwrap();
            assert_bits(&name, &gw.to_vec().unwrap(), &expected.to_vec().unwrap());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let of = |shape: &[usize]| tensor(gpu, shape, &vec![1.0; shape.iter().product()]);
        let (x, reflect) = (of(&[1, 2, 3, 4]), Pad2d::new(3).mode(PaddingMode::Reflect));
        let words = ["pad2d", "larger than", "3x4"];
        assert_error(ops::pad2d_forward(&x, &reflect), "shape", &words);
        let layer = Conv2d::new(2, 7)
            .padding(3)
            .padding_mode(PaddingMode::Reflect);
        let refused = ops::conv2d_forward(&x, &of(&[2, 2, 7, 7]), None, &layer);
        assert_error(refused, "shape", &words);
        let wrong = ops::pad2d_backward(&x, [1, 2, 3, 4], &Pad2d::new(1));
        assert_error(wrong, "shape", &["output gradient", "[1, 2, 5, 6]"]);
    }
}
