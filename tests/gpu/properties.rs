//! What holds for every geometry, on random ones: GPU against CPU, and what mathematics says without
//! a reference. The cases are the same in every run; each new kernel extent costs the compilation
//! of pipelines, so that those come from a short list while sizes, channels and batch vary freely.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use wgpu_cnn::op::{Conv2dGeometry, Pool2dGeometry};
use wgpu_cnn::{
    AvgPool2d, BatchNorm, Conv2d, ConvTranspose2d, Gpu, MaxPool2d, Shape, Softmax, Tensor, cpu, ops,
};

use crate::common::{integers, poisoned_gpus, random, tensor, uniform, wide};
use crate::compare::{Expected, assert_bits, assert_indices, assert_same};

/// Runs a property on the same few cases on each device, and shrinks one that fails.
fn check<S: Strategy>(cases: S, property: impl Fn(&str, &'static Gpu, S::Value)) {
    let config = ProptestConfig {
        cases: 12,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_iters: 64,
        ..ProptestConfig::default()
    };
    for (device, gpu) in poisoned_gpus() {
        let mut runner = TestRunner::new(config.clone());
        let outcome = runner.run(&cases, |case| {
            property(device, gpu, case);
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{device}: {failure}"));
    }
}

/// `(N, C, H, W)`, with planes that no window of these tests is too large for.
fn images() -> impl Strategy<Value = [usize; 4]> {
    [1..5usize, 1..7, 5..18, 5..18]
}

/// A convolution and its input. Channels come in whole groups.
fn convolutions() -> impl Strategy<Value = ([usize; 4], Conv2d)> {
    let layers = [
        Conv2d::new(1, 1),
        Conv2d::new(1, 3).padding(1),
        Conv2d::new(1, [2, 3]).stride(2).padding([1, 0]),
        Conv2d::new(1, 3).stride([1, 2]).dilation(2).padding(2),
        Conv2d::new(1, 3).padding([0, 1, 2, 0]).groups(2),
        Conv2d::new(1, [4, 2]).stride(2).padding([1, 3]).groups(2),
    ];
    let layers = prop::sample::select(layers.to_vec());
    (images(), layers, 1..9usize).prop_map(|(mut images, mut layer, channels)| {
        images[1] *= layer.groups;
        layer.out_channels = channels * layer.groups;
        (images, layer)
    })
}

fn conv2d_geometry([batch, image @ ..]: [usize; 4], layer: &Conv2d) -> Conv2dGeometry {
    layer.geometry(batch, &Shape::from(image)).unwrap()
}

/// `(N, O, OH, OW)`
fn conv2d_output(geometry: &Conv2dGeometry) -> [usize; 4] {
    let Conv2dGeometry {
        batch,
        out_channels,
        out_size,
        ..
    } = *geometry;
    [batch, out_channels, out_size.height, out_size.width]
}

/// The transpose convolution that takes the outputs of a convolution back to its inputs.
fn transposed(geometry: &Conv2dGeometry, layer: &Conv2d) -> ConvTranspose2d {
    let [top, bottom, left, right] = geometry.padding;
    let rest = |input: usize, padding: usize, kernel: usize, dilation: usize, stride: usize| {
        (input + padding - dilation * (kernel - 1) - 1) % stride
    };
    let (size, kernel) = (geometry.in_size, layer.kernel);
    let (stride, dilation) = (layer.stride, layer.dilation);
    ConvTranspose2d::new(geometry.in_channels, kernel)
        .stride(stride)
        .padding(layer.padding)
        .dilation(dilation)
        .groups(layer.groups)
        .output_padding([
            rest(
                size.height,
                top + bottom,
                kernel.height,
                dilation.height,
                stride.height,
            ),
            rest(
                size.width,
                left + right,
                kernel.width,
                dilation.width,
                stride.width,
            ),
        ])
}

fn read(result: wgpu_cnn::Result<Tensor>) -> Vec<f32> {
    result.unwrap().to_vec().unwrap()
}

#[test]
fn convolutions_and_their_gradients_equal_the_reference() {
    check(convolutions(), |device, gpu, (input, layer)| {
        let geometry = &conv2d_geometry(input, &layer);
        let (output, rng) = (conv2d_output(geometry), &mut random(61));
        let x = uniform(rng, geometry.input_len());
        let w = uniform(rng, geometry.weight_len());
        let gy = uniform(rng, geometry.output_len());
        let [_, channels, height, width] = geometry.weight_shape();
        let inner = channels * height * width;
        let x_there = tensor(gpu, input, &x);
        let w_there = tensor(gpu, geometry.weight_shape(), &w);
        let gy_there = tensor(gpu, output, &gy);

        let y = Expected::sums(inner, [&x, &w], |[x, w]| {
            let mut y = vec![0.0; geometry.output_len()];
            cpu::conv2d_forward(geometry, &x, &w, None, &mut y).unwrap();
            y
        });
        y.assert(
            device,
            &read(ops::conv2d_forward(&x_there, &w_there, None, &layer)),
        );

        let backward_input = |[gy, w]: [Vec<f64>; 2]| {
            let mut gx = vec![0.0; geometry.input_len()];
            cpu::conv2d_backward_input(geometry, &gy, &w, &mut gx).unwrap();
            gx
        };
        let gx = Expected::sums(
            layer.out_channels * height * width,
            [&gy, &w],
            backward_input,
        );
        let got = ops::conv2d_backward_input(&gy_there, &w_there, input, &layer);
        gx.assert(device, &read(got));
        let layer_back = transposed(geometry, &layer);
        let got = ops::conv_transpose2d_forward(&gy_there, &w_there, None, &layer_back);
        gx.assert(&format!("transposed, {device}"), &read(got));

        let pixels = geometry.batch * geometry.out_size.area();
        let gw = Expected::sums(pixels, [&x, &gy], |[x, gy]| {
            let mut gw = vec![0.0; geometry.weight_len()];
            cpu::conv2d_backward_weight(geometry, &x, &gy, &mut gw).unwrap();
            gw
        });
        let got = ops::conv2d_backward_weight(&x_there, &gy_there, &layer);
        gw.assert(device, &read(got));
    });
}

/// `<conv(x), y> = <x, conv_transpose(y)>`: exactly, on whole numbers.
#[test]
fn a_transpose_convolution_is_the_adjoint_of_the_convolution() {
    check(convolutions(), |device, gpu, (input, layer)| {
        let geometry = &conv2d_geometry(input, &layer);
        let rng = &mut random(62);
        let x = integers(rng, geometry.input_len());
        let y = integers(rng, geometry.output_len());
        let w = integers(rng, geometry.weight_len());
        let w_there = tensor(gpu, geometry.weight_shape(), &w);
        let forward = ops::conv2d_forward(&tensor(gpu, input, &x), &w_there, None, &layer);
        let y_there = tensor(gpu, conv2d_output(geometry), &y);
        let layer_back = transposed(geometry, &layer);
        let back = ops::conv_transpose2d_forward(&y_there, &w_there, None, &layer_back);
        let product =
            |a: &[f32], b: &[f32]| -> f64 { wide(a).iter().zip(wide(b)).map(|(a, b)| a * b).sum() };
        assert_eq!(
            product(&read(forward), &y),
            product(&x, &read(back)),
            "{device}"
        );
    });
}

/// `gradient(2 a - b) = 2 gradient(a) - gradient(b)`: exactly, on whole numbers.
#[test]
fn gradients_are_linear_in_the_upstream_gradient() {
    check(convolutions(), |device, gpu, (input, layer)| {
        let geometry = &conv2d_geometry(input, &layer);
        let rng = &mut random(63);
        let x = tensor(gpu, input, &integers(rng, geometry.input_len()));
        let w = integers(rng, geometry.weight_len());
        let w = tensor(gpu, geometry.weight_shape(), &w);
        let combine = |a: &[f32], b: &[f32]| -> Vec<f32> {
            a.iter().zip(b).map(|(a, b)| 2.0 * a - b).collect()
        };
        let a = integers(rng, geometry.output_len());
        let b = integers(rng, geometry.output_len());
        let gradients = |gy: &[f32]| {
            let gy = tensor(gpu, conv2d_output(geometry), gy);
            [
                read(ops::conv2d_backward_input(&gy, &w, input, &layer)),
                read(ops::conv2d_backward_weight(&x, &gy, &layer)),
                read(ops::bias_gradient(&gy)),
            ]
        };
        let both = gradients(&combine(&a, &b));
        for ((both, a), b) in both.iter().zip(gradients(&a)).zip(gradients(&b)) {
            // Sums may be zero throughout where they are few.
            let expected = combine(&a, &b);
            if expected.iter().any(|&value| value != 0.0) {
                assert_same(device, both, &expected);
            }
        }
    });
}

/// Without padding, an image without its first rows and columns gives the output without its.
#[test]
fn shifting_the_input_by_the_stride_shifts_the_output() {
    let unpadded = convolutions().prop_map(|(images, layer)| (images, layer.padding(0)));
    check(unpadded, |device, gpu, (input, layer)| {
        let (stride, [batch, channels, height, width]) = (layer.stride, input);
        let shifted = [
            batch,
            channels,
            height + stride.height,
            width + stride.width,
        ];
        let x = uniform(&mut random(64), shifted.iter().product());
        let cropped = crop(&x, shifted, [stride.height, stride.width]);
        let geometry = conv2d_geometry(shifted, &layer);
        let w = uniform(&mut random(65), geometry.weight_len());
        let w = tensor(gpu, geometry.weight_shape(), &w);
        let run = |shape, x: &[f32]| {
            read(ops::conv2d_forward(
                &tensor(gpu, shape, x),
                &w,
                None,
                &layer,
            ))
        };
        let expected = crop(&run(shifted, &x), conv2d_output(&geometry), [1, 1]);
        assert_bits(device, &run(input, &cropped), &expected);
    });
}

/// Images without their first rows and columns.
fn crop(x: &[f32], [.., height, width]: [usize; 4], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let planes = x.chunks(height * width);
    let kept = planes.flat_map(|plane| plane.chunks(width).skip(rows));
    kept.flat_map(|row| &row[columns..]).copied().collect()
}

#[test]
fn permuting_the_batch_permutes_the_result() {
    check(
        (convolutions(), 0..u64::MAX),
        |device, gpu, ((input, layer), seed)| {
            let geometry = conv2d_geometry(input, &layer);
            let rng = &mut random(seed);
            let x = uniform(rng, geometry.input_len());
            let w = uniform(rng, geometry.weight_len());
            let w = tensor(gpu, geometry.weight_shape(), &w);
            let mut order: Vec<usize> = (0..input[0]).collect();
            rng.shuffle(&mut order);
            let permuted = |x: &[f32]| -> Vec<f32> {
                let example = x.len() / order.len();
                let examples = order.iter().map(|at| &x[at * example..][..example]);
                examples.flatten().copied().collect()
            };
            let pool = MaxPool2d::new(3).stride(1).padding(1);
            let run = |x: &[f32]| {
                let y = ops::conv2d_forward(&tensor(gpu, input, x), &w, None, &layer).unwrap();
                let pooled = ops::max_pool2d_forward(&y, &pool).unwrap().0;
                let softmax = ops::softmax_forward(&pooled, &Softmax::new().axis(0));
                [read(Ok(y)), read(Ok(pooled)), read(softmax)]
            };
            for (got, straight) in run(&permuted(&x)).iter().zip(run(&x)) {
                assert_bits(device, got, &permuted(&straight));
            }
        },
    );
}

#[test]
fn pools_equal_the_reference() {
    let windows = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)];
    let windows = prop::sample::select(windows.to_vec());
    check(
        (images(), windows, any::<[bool; 2]>()),
        |device, gpu, (input, window, flags)| {
            let ((kernel, stride, padding), [ceil, count_pad]) = (window, flags);
            let [batch, image @ ..] = input;
            let max = MaxPool2d::new(kernel).stride(stride);
            let max = max.padding(padding).ceil_mode(ceil);
            let geometry: &Pool2dGeometry = &max.geometry(batch, &Shape::from(image)).unwrap();
            let size = geometry.out_size;
            let output = [batch, input[1], size.height, size.width];
            let rng = &mut random(66);
            let x = integers(rng, geometry.input_len()); // with ties
            let gy = uniform(rng, geometry.output_len());
            let (x_there, gy_there) = (tensor(gpu, input, &x), tensor(gpu, output, &gy));

            let (mut y, mut argmax) = (vec![0.0; gy.len()], vec![0; gy.len()]);
            cpu::max_pool2d_forward(geometry, &x, &mut y, &mut argmax).unwrap();
            let (got, places) = ops::max_pool2d_forward(&x_there, &max).unwrap();
            assert_same(device, &got.to_vec().unwrap(), &y);
            assert_indices(device, &places.to_vec().unwrap(), &argmax);
            let gx = Expected::sums(kernel * kernel, [&gy], |[gy]| {
                let mut gx = vec![0.0; x.len()];
                cpu::max_pool2d_backward(geometry, &gy, &argmax, &mut gx).unwrap();
                gx
            });
            gx.assert(
                device,
                &read(ops::max_pool2d_backward(&gy_there, &places, input, &max)),
            );

            let avg = AvgPool2d::new(kernel).stride(stride).padding(padding);
            let avg = avg.ceil_mode(ceil).count_include_pad(count_pad);
            let y = Expected::sums(kernel * kernel, [&x], |[x]| {
                let mut y = vec![0.0; gy.len()];
                cpu::avg_pool2d_forward(geometry, count_pad, &x, &mut y).unwrap();
                y
            });
            y.assert(device, &read(ops::avg_pool2d_forward(&x_there, &avg)));
            let gx = Expected::sums(kernel * kernel, [&gy], |[gy]| {
                let mut gx = vec![0.0; x.len()];
                cpu::avg_pool2d_backward(geometry, count_pad, &gy, &mut gx).unwrap();
                gx
            });
            gx.assert(
                device,
                &read(ops::avg_pool2d_backward(&gy_there, input, &avg)),
            );
        },
    );
}

/// Images down to a pixel, under kernels, dilations and paddings that are larger, and strides that jump
/// over them. Many results are zero there, so that they are compared on whole numbers, exactly.
#[test]
fn windows_beyond_the_image_equal_the_reference() {
    let small = || [1..3usize, 1..4, 1..5, 1..5];
    let layers = [
        Conv2d::new(3, [1, 5]).padding([0, 2]),
        Conv2d::new(2, 3).dilation([2, 1]).padding([4, 6]),
        Conv2d::new(9, [1, 5])
            .stride([3, 7])
            .padding([2, 3, 0, 9])
            .dilation([1, 2]),
    ];
    let layers = prop::sample::select(layers.to_vec());
    check((small(), layers), |device, gpu, (input, layer)| {
        let geometry = &conv2d_geometry(input, &layer);
        let rng = &mut random(68);
        let x = integers(rng, geometry.input_len());
        let w = integers(rng, geometry.weight_len());
        let gy = integers(rng, geometry.output_len());
        let x_there = tensor(gpu, input, &x);
        let w_there = tensor(gpu, geometry.weight_shape(), &w);
        let gy_there = tensor(gpu, conv2d_output(geometry), &gy);
        let mut y = vec![f32::NAN; gy.len()];
        cpu::conv2d_forward(geometry, &x, &w, None, &mut y).unwrap();
        let got = ops::conv2d_forward(&x_there, &w_there, None, &layer);
        assert_eq!(read(got), y, "{device}: forward");
        let mut gx = vec![f32::NAN; x.len()];
        cpu::conv2d_backward_input(geometry, &gy, &w, &mut gx).unwrap();
        let got = ops::conv2d_backward_input(&gy_there, &w_there, input, &layer);
        assert_eq!(read(got), gx, "{device}: input gradient");
        let got =
            ops::conv_transpose2d_forward(&gy_there, &w_there, None, &transposed(geometry, &layer));
        assert_eq!(read(got), gx, "{device}: transposed");
        let mut gw = vec![f32::NAN; w.len()];
        cpu::conv2d_backward_weight(geometry, &x, &gy, &mut gw).unwrap();
        let got = ops::conv2d_backward_weight(&x_there, &gy_there, &layer);
        assert_eq!(read(got), gw, "{device}: weight gradient");
    });
    check((small(), any::<bool>()), |device, gpu, (input, ceil)| {
        let max = MaxPool2d::new(5).stride([7, 3]).padding(2).ceil_mode(ceil);
        let [batch, image @ ..] = input;
        let geometry: &Pool2dGeometry = &max.geometry(batch, &Shape::from(image)).unwrap();
        let x = integers(&mut random(69), geometry.input_len());
        let mut y = vec![f32::NAN; geometry.output_len()];
        let mut argmax = vec![0; y.len()];
        cpu::max_pool2d_forward(geometry, &x, &mut y, &mut argmax).unwrap();
        let (got, places) = ops::max_pool2d_forward(&tensor(gpu, input, &x), &max).unwrap();
        assert_eq!(got.to_vec().unwrap(), y, "{device}: maxima");
        assert_eq!(places.to_vec().unwrap(), argmax, "{device}: their places");
        let mut gx = vec![f32::NAN; x.len()];
        cpu::max_pool2d_backward(geometry, &y, &argmax, &mut gx).unwrap();
        let back = read(ops::max_pool2d_backward(&got, &places, input, &max));
        assert_eq!(back, gx, "{device}: gradient");
    });
}

/// Softmax along every axis of an example, within what exp and log of Mesa's software driver cost.
#[test]
fn softmax_and_batch_norm_equal_the_reference() {
    let cases = (images(), 0..3isize, any::<bool>());
    check(cases, |device, gpu, (input, axis, log)| {
        let [batch, channels, height, width] = input;
        let image = [1 + channels, height, width]; // log-softmax of one value is zero
        let input = [batch, 1 + channels, height, width];
        let x = uniform(&mut random(67), input.iter().product());
        let (x_there, x) = (tensor(gpu, input, &x), wide(&x));
        let within = |values: Vec<f64>, tolerance: f64| Expected {
            tolerances: vec![tolerance; values.len()],
            values,
        };

        let softmax = Softmax::new().axis(axis).log(log);
        let geometry = softmax.geometry(batch, &Shape::from(image)).unwrap();
        let mut y = vec![0.0; x.len()];
        cpu::softmax_forward(&geometry, log, &x, &mut y).unwrap();
        let got = read(ops::softmax_forward(&x_there, &softmax));
        within(y, 2e-5).assert(device, &got);

        let layer = BatchNorm::new();
        let geometry = layer.geometry(batch, &Shape::from(image)).unwrap();
        let channels = geometry.channels;
        let constant = |value: f32| tensor(gpu, [channels], &vec![value; channels]);
        let (zeros, ones) = (constant(0.0), constant(1.0));
        let parameters = [&ones, &zeros];
        let (got, _) =
            ops::batch_norm_forward(&x_there, parameters, [&zeros, &ones], &layer).unwrap();
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        cpu::batch_norm_moments(&geometry, &x, &mut mean, &mut variance).unwrap();
        let (gamma, beta) = (vec![1.0; channels], vec![0.0; channels]);
        let (mut y, epsilon) = (vec![0.0; x.len()], layer.epsilon);
        cpu::batch_norm_forward(
            &geometry, epsilon, &x, &mean, &variance, &gamma, &beta, &mut y,
        )
        .unwrap();
        within(y, 1e-5).assert(device, &got.to_vec().unwrap());
    });
}

/// What the comparison of shifted images rests on.
#[test]
fn a_crop_drops_the_first_rows_and_columns() {
    let x: Vec<f32> = (0..12u8).map(f32::from).collect();
    assert_eq!(crop(&x, [1, 2, 2, 3], [1, 1]), [4.0, 5.0, 10.0, 11.0]);
}
