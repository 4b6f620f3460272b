//! Convolution and pooling against their definitions, on chosen and on random windows: larger than the
//! image, dilated beyond it, strides that jump over it, taps that lie in the padding throughout.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use wgpu_cnn::op::{Conv2dGeometry, Pool2dGeometry, Size2};
use wgpu_cnn::{
    AvgPool2d, Conv1d, Conv2d, Loss, MaxPool2d, Model, Optimizer, Padding, Reduction, Reference,
    Target, cpu,
};

/// Runs a property on the same cases every time, and shrinks one that fails.
fn check<S: Strategy>(cases: S, property: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: 2000,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&cases, |case| {
        property(case);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

/// Batch and image, `(N, C, H, W)`, down to a single pixel.
fn images() -> impl Strategy<Value = [usize; 4]> {
    [1..3usize, 1..4, 1..7, 1..7]
}

/// Kernel, stride and dilation, and `[top, bottom, left, right]`.
fn windows() -> impl Strategy<Value = ([Size2; 3], [usize; 4])> {
    let size = |most: usize| [1..most, 1..most].prop_map(Size2::from);
    let padding = prop_oneof![Just(0), 0..3usize, 0..12usize];
    (
        (size(7), size(9), size(6))
            .prop_map(|(kernel, stride, dilation)| [kernel, stride, dilation]),
        prop::array::uniform4(padding),
    )
}

/// Small integers, whose sums are exact in any order.
fn integers(len: usize, seed: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7 + i / 5 + seed * 5) % 11) as f32 - 5.0)
        .collect()
}

/// Every product of a convolution's sums, as positions in the input, weights and output.
fn for_each_term(g: &Conv2dGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let [_, group_inputs, kh, kw] = g.weight_shape();
    let (h, w) = (g.in_size.height as isize, g.in_size.width as isize);
    for y in 0..g.output_len() {
        let (n, o) = (
            y / g.out_size.area() / g.out_channels,
            y / g.out_size.area() % g.out_channels,
        );
        let (i, j) = (
            y / g.out_size.width % g.out_size.height,
            y % g.out_size.width,
        );
        for tap in 0..group_inputs * kh * kw {
            let (c, p, q) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            let row =
                (i * g.stride.height + p * g.dilation.height) as isize - g.padding[0] as isize;
            let column =
                (j * g.stride.width + q * g.dilation.width) as isize - g.padding[2] as isize;
            if (0..h).contains(&row) && (0..w).contains(&column) {
                let channel = o / (g.out_channels / g.groups) * group_inputs + c;
                let plane = ((n * g.in_channels + channel) as isize * h + row) * w;
                let at = (plane + column) as usize;
                visit(at, o * group_inputs * kh * kw + tap, y);
            }
        }
    }
}

/// The sum of each of `channels` over images and pixels.
fn channel_sums(values: &[f32], channels: usize, plane: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for (at, value) in values.iter().enumerate() {
        sums[at / plane % channels] += value;
    }
    sums
}

/// All passes of a convolution, and of the transpose convolution that goes back.
fn convolution_equals_the_definition(g: &Conv2dGeometry) {
    let (x, w) = (integers(g.input_len(), 1), integers(g.weight_len(), 2));
    let (gy, bias) = (integers(g.output_len(), 3), integers(g.out_channels, 4));
    let back_bias = integers(g.in_channels, 5);
    let (inputs, outputs) = (g.in_size.area(), g.out_size.area());
    let biased = |bias: &[f32], len: usize, plane: usize| -> Vec<f32> {
        (0..len).map(|at| bias[at / plane % bias.len()]).collect()
    };
    let mut expected_y = biased(&bias, g.output_len(), outputs);
    let (mut expected_gx, mut expected_gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
    let mut expected_back = biased(&back_bias, x.len(), inputs);
    for_each_term(g, |at_x, at_w, at_y| {
        expected_y[at_y] += x[at_x] * w[at_w];
        expected_gx[at_x] += gy[at_y] * w[at_w];
        expected_gw[at_w] += gy[at_y] * x[at_x];
        expected_back[at_x] += gy[at_y] * w[at_w];
    });
    let unset = |len: usize| vec![f32::NAN; len];
    let (mut y, mut gx, mut gw) = (unset(gy.len()), unset(x.len()), unset(w.len()));
    cpu::conv2d_forward(g, &x, &w, Some(&bias), &mut y).unwrap();
    assert_eq!(y, expected_y, "forward {g:?}");
    cpu::conv2d_backward_input(g, &gy, &w, &mut gx).unwrap();
    assert_eq!(gx, expected_gx, "backward input {g:?}");
    cpu::conv2d_backward_weight(g, &x, &gy, &mut gw).unwrap();
    assert_eq!(gw, expected_gw, "backward weight {g:?}");
    let mut gb = unset(bias.len());
    cpu::conv2d_backward_bias(g, &gy, &mut gb).unwrap();
    assert_eq!(gb, channel_sums(&gy, g.out_channels, outputs), "bias {g:?}");

    cpu::conv_transpose2d_forward(g, &gy, &w, Some(&back_bias), &mut gx).unwrap();
    assert_eq!(gx, expected_back, "transpose forward {g:?}");
    cpu::conv_transpose2d_backward_input(g, &x, &w, &mut y).unwrap();
    cpu::conv2d_forward(g, &x, &w, None, &mut expected_y).unwrap();
    assert_eq!(y, expected_y, "transpose backward input {g:?}");
    cpu::conv_transpose2d_backward_weight(g, &gy, &x, &mut gw).unwrap();
    assert_eq!(gw, expected_gw, "transpose backward weight {g:?}");
    let mut gb = unset(back_bias.len());
    cpu::conv_transpose2d_backward_bias(g, &x, &mut gb).unwrap();
    assert_eq!(
        gb,
        channel_sums(&x, g.in_channels, inputs),
        "transpose bias {g:?}"
    );
}

#[test]
fn convolutions_equal_the_definition() {
    let cases = [
        (1, [1, 1, 1], Conv2d::new(1, 1)),
        (2, [3, 9, 8], Conv2d::new(5, 3)),
        (
            2,
            [2, 7, 9],
            Conv2d::new(3, [2, 5]).stride([2, 1]).padding([0, 3, 2, 1]),
        ),
        (
            1,
            [4, 8, 8],
            Conv2d::new(6, 3).stride(2).padding(1).groups(2),
        ),
        (3, [6, 5, 6], Conv2d::new(6, 3).padding(1).groups(6)),
        (
            1,
            [3, 6, 7],
            Conv2d::new(2, 4).padding(Padding::Same).bias(false),
        ),
        (1, [2, 5, 5], Conv2d::new(2, 2).stride(4)), // the stride jumps over pixels
        (2, [1, 2, 3], Conv2d::new(2, 3).padding(4)), // windows that lie in the padding
        (2, [1, 20, 21], Conv2d::new(70, 5)),        // more filters than a block
        (1, [4, 1, 1], Conv2d::new(2, [1, 5]).padding([0, 2])), // taps that miss every column
        (1, [2, 11, 12], Conv2d::new(2, [7, 9]).padding(3)), // more taps than are unfolded at a time
        (1, [120, 2, 3], Conv2d::new(90, 3).padding(1)),     // more channels than a short sum takes
        (1, [3, 16, 20], Conv2d::new(1, [16, 20])),          // a filter as large as the image
    ];
    for (batch, input, conv) in cases {
        convolution_equals_the_definition(&conv.geometry(batch, &input.into()).unwrap());
    }
    let random = (images(), windows(), 1..4usize, 1..3usize);
    let random = random.prop_filter_map("fits", |(images, window, channels, groups)| {
        let [batch, inputs, height, width] = images;
        let ([kernel, stride, dilation], padding) = window;
        let conv = Conv2d::new(channels * groups, kernel).stride(stride);
        let conv = conv.dilation(dilation).padding(padding).groups(groups);
        conv.geometry(batch, &[inputs * groups, height, width].into())
            .ok()
    });
    check(random, |geometry| {
        convolution_equals_the_definition(&geometry)
    });
}

#[test]
fn a_signal_may_be_shorter_than_kernel_and_padding() {
    let conv = Conv1d::new(1, 5).padding(2).bias(false);
    let model = Model::builder([4, 1]).push(conv).build().unwrap();
    let loss = Loss::MeanSquaredError(Reduction::Sum);
    let mut reference = Reference::<f64>::new(&model, loss, Optimizer::sgd(0.5), 7).unwrap();
    let weight: Vec<f64> = (0..20).map(f64::from).collect();
    reference.set_parameter("0.weight", &weight).unwrap();
    // Of each channel's five taps the one in the middle finds the value: 2, 7, 12, 17.
    let target = Target::from(&[45.0f32]);
    let loss = reference.step(&[1.0, 0.0, 1.0, 2.0], &target);
    assert_eq!(loss.unwrap(), 9.0);
    let gradient = reference.gradient("0.weight").unwrap();
    let expected = (0..20).map(|at| match at {
        2 | 12 => 6.0,
        17 => 12.0,
        _ => 0.0,
    });
    assert_eq!(gradient, expected.collect::<Vec<f64>>());
}

/// The positions of the image under the window of output `(i, j)`, as they are and as places in the
/// plane; `None` for those that lie outside.
fn taps(g: &Pool2dGeometry, at: usize) -> Vec<([isize; 2], Option<usize>)> {
    let (i, j) = (at / g.out_size.width, at % g.out_size.width);
    let mut taps = Vec::new();
    for p in 0..g.kernel.height {
        for q in 0..g.kernel.width {
            let row =
                (i * g.stride.height + p * g.dilation.height) as isize - g.padding[0] as isize;
            let column =
                (j * g.stride.width + q * g.dilation.width) as isize - g.padding[2] as isize;
            let (h, w) = (g.in_size.height as isize, g.in_size.width as isize);
            let inside = (0..h).contains(&row) && (0..w).contains(&column);
            taps.push(([row, column], inside.then_some((row * w + column) as usize)));
        }
    }
    taps
}

fn max_pool_equals_the_definition(g: &Pool2dGeometry) {
    let (x, gy) = (integers(g.input_len(), 1), integers(g.output_len(), 2));
    let (inputs, outputs) = (g.in_size.area(), g.out_size.area());
    let mut expected_gx = vec![0.0; x.len()];
    let (mut expected_y, mut expected_at) = (vec![], vec![]);
    for (plane, x) in x.chunks(inputs).enumerate() {
        for at in 0..outputs {
            let inside = || taps(g, at).into_iter().filter_map(|(_, place)| place);
            let most = inside()
                .map(|place| x[place])
                .fold(f32::NEG_INFINITY, f32::max);
            let first = inside().find(|&place| x[place] == most);
            expected_y.push(most);
            expected_at.push(first.map_or(u32::MAX, |place| place as u32));
            if let Some(place) = first {
                expected_gx[plane * inputs + place] += gy[plane * outputs + at];
            }
        }
    }
    let (mut y, mut argmax) = (vec![f32::NAN; gy.len()], vec![7; gy.len()]);
    cpu::max_pool2d_forward(g, &x, &mut y, &mut argmax).unwrap();
    assert_eq!((y, &argmax), (expected_y, &expected_at), "{g:?}");
    let mut gx = vec![f32::NAN; x.len()];
    cpu::max_pool2d_backward(g, &gy, &argmax, &mut gx).unwrap();
    assert_eq!(gx, expected_gx, "{g:?}");
}

fn avg_pool_equals_the_definition(g: &Pool2dGeometry, count_include_pad: bool) {
    let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
    let x = wide(integers(g.input_len(), 1));
    let gy = wide(integers(g.output_len(), 2));
    let (inputs, outputs) = (g.in_size.area(), g.out_size.area());
    let padded = |[row, column]: [isize; 2]| {
        row < (g.in_size.height + g.padding[1]) as isize
            && column < (g.in_size.width + g.padding[3]) as isize
    };
    let (mut expected_y, mut expected_gx) = (vec![], vec![0.0; x.len()]);
    for (plane, x) in x.chunks(inputs).enumerate() {
        for at in 0..outputs {
            let taps = taps(g, at);
            let counted = taps
                .iter()
                .filter(|(position, place)| match count_include_pad {
                    true => padded(*position),
                    false => place.is_some(),
                });
            let divisor = counted.count().max(1) as f64;
            let places = || taps.iter().filter_map(|&(_, place)| place);
            expected_y.push(places().map(|place| x[place]).sum::<f64>() / divisor);
            let share = gy[plane * outputs + at] / divisor;
            places().for_each(|place| expected_gx[plane * inputs + place] += share);
        }
    }
    let (mut y, mut gx) = (vec![f64::NAN; gy.len()], vec![f64::NAN; x.len()]);
    cpu::avg_pool2d_forward(g, count_include_pad, &x, &mut y).unwrap();
    approx::assert_abs_diff_eq!(y[..], expected_y[..], epsilon = 1e-12);
    cpu::avg_pool2d_backward(g, count_include_pad, &gy, &mut gx).unwrap();
    approx::assert_abs_diff_eq!(gx[..], expected_gx[..], epsilon = 1e-12);
}

#[test]
fn pools_equal_the_definition() {
    let cases = (images(), windows(), any::<[bool; 2]>());
    check(cases, |([batch, image @ ..], window, [ceil, count_pad])| {
        let ([kernel, stride, dilation], [top, bottom, left, right]) = window;
        // At most half of the window.
        let (rows, columns) = (kernel.height / 2 + 1, kernel.width / 2 + 1);
        let padding = [top % rows, bottom % rows, left % columns, right % columns];
        let max = MaxPool2d::new(kernel).stride(stride).padding(padding);
        let max = max.dilation(dilation).ceil_mode(ceil);
        if let Ok(geometry) = max.geometry(batch, &image.into()) {
            max_pool_equals_the_definition(&geometry);
        }
        let avg = AvgPool2d::new(kernel).stride(stride).padding(padding);
        if let Ok(geometry) = avg.ceil_mode(ceil).geometry(batch, &image.into()) {
            avg_pool_equals_the_definition(&geometry, count_pad);
        }
    });
}
