//! The kernels of src/gpu/kernels/conv2d.rs and the bias gradient.

mod fft;
mod lean;
mod long;
mod smaller;
mod winograd;

use wgpu_cnn::op::Conv2dGeometry;
use wgpu_cnn::{Conv2d, Gpu, Padding, Shape, cpu, ops};

use crate::common::{Fill, each_core, integers, poisoned_gpus, random, tensor, uniform};
use crate::compare::{Expected, assert_same};

struct Case {
    name: &'static str,
    /// `(N, C, H, W)`
    input: [usize; 4],
    layer: Conv2d,
}

impl Case {
    fn geometry(&self) -> Conv2dGeometry {
        let [batch, image @ ..] = self.input;
        self.layer.geometry(batch, &Shape::from(image)).unwrap()
    }
}

fn case(name: &'static str, input: [usize; 4], layer: Conv2d) -> Case {
    Case { name, input, layer }
}

/// Stride 1, dilation 1, one group: what the rows and taps cores serve where there are subgroups.
fn plain_cases() -> Vec<Case> {
    vec![
        case("one pixel", [1, 1, 1, 1], Conv2d::new(1, 1)),
        case(
            "pointwise, odd everything",
            [3, 5, 7, 9],
            Conv2d::new(17, 1),
        ),
        case(
            "rows of whole vectors",
            [2, 3, 8, 8],
            Conv2d::new(16, 3).padding(1),
        ),
        case(
            "first layer 5x5",
            [3, 1, 12, 12],
            Conv2d::new(9, 5).bias(false),
        ),
        case("two channels", [1, 2, 9, 7], Conv2d::new(3, 3)),
        case(
            "even kernel, same",
            [1, 4, 6, 5],
            Conv2d::new(18, [2, 4]).padding(Padding::Same),
        ),
        case(
            "wider than 5",
            [2, 2, 8, 11],
            Conv2d::new(5, [3, 7]).padding([1, 3]),
        ),
        case(
            "wider than 8",
            [1, 1, 6, 20],
            Conv2d::new(4, [1, 11]).padding(Padding::Same),
        ),
        case(
            "larger than the image",
            [1, 3, 4, 4],
            Conv2d::new(5, [7, 6]).padding(3),
        ),
        case("larger than a tile", [1, 1, 18, 20], Conv2d::new(2, 17)),
        case(
            "four-sided padding",
            [2, 3, 7, 9],
            Conv2d::new(6, 3).padding([2, 0, 1, 3]),
        ),
        case(
            "more padding than kernel",
            [1, 2, 5, 5],
            Conv2d::new(3, 2).padding([3, 1, 4, 2]),
        ),
        case(
            "one row",
            [1, 4, 1, 37],
            Conv2d::new(8, [1, 5]).padding(Padding::Same),
        ),
        case("one column", [2, 2, 13, 1], Conv2d::new(3, [3, 1])),
        case("more images than a tile", [70, 3, 3, 3], Conv2d::new(20, 2)),
        case("wide rows", [1, 2, 3, 70], Conv2d::new(16, 3).padding(1)),
        case(
            "many channels",
            [2, 33, 5, 5],
            Conv2d::new(66, 3).padding(1),
        ),
        case("a long sum", [4, 2, 40, 40], Conv2d::new(3, 3)),
    ]
}

/// Strides, dilation and groups.
fn general_cases() -> Vec<Case> {
    vec![
        case(
            "stride 2",
            [2, 3, 9, 8],
            Conv2d::new(10, 3).stride(2).padding(1),
        ),
        case(
            "stride above kernel",
            [2, 2, 11, 10],
            Conv2d::new(4, 2).stride(3),
        ),
        case(
            "rectangular",
            [2, 3, 8, 13],
            Conv2d::new(5, [4, 2]).stride([1, 3]),
        ),
        case(
            "same at stride 2",
            [1, 2, 9, 12],
            Conv2d::new(3, 4).stride(2).padding(Padding::Same),
        ),
        case(
            "patches of groups",
            [2, 6, 8, 12],
            Conv2d::new(10, 4).stride(4).groups(2),
        ),
        case(
            "patches that leave an edge",
            [2, 3, 9, 11],
            Conv2d::new(5, 3).stride(3),
        ),
        case(
            "dilation",
            [1, 3, 11, 9],
            Conv2d::new(5, 3).dilation(2).padding(2),
        ),
        case(
            "dilation and stride, rectangular",
            [2, 2, 9, 14],
            Conv2d::new(3, [2, 3])
                .dilation([3, 1])
                .stride([1, 2])
                .padding([0, 1, 2, 1]),
        ),
        case(
            "stride and dilation with a common factor",
            [2, 3, 15, 17],
            Conv2d::new(20, 3).stride([2, 4]).dilation([2, 6]),
        ),
        case(
            "strided, wider than 5",
            [1, 2, 9, 20],
            Conv2d::new(5, [3, 7]).stride(2).padding([1, 3]),
        ),
        case(
            "strided, three tiles of channels",
            [2, 35, 6, 8],
            Conv2d::new(40, 3).stride(2).padding(1),
        ),
        case(
            "strided, more padding than kernel",
            [1, 2, 5, 5],
            Conv2d::new(3, 2).stride(2).padding([3, 2, 4, 3]),
        ),
        case("patches", [2, 3, 9, 12], Conv2d::new(35, 4).stride(4)),
        case(
            "patches in padded rows, groups",
            [2, 4, 10, 13],
            Conv2d::new(6, [4, 6])
                .stride([2, 3])
                .padding([1, 2, 4, 3])
                .groups(2),
        ),
        case(
            "stride without a common factor, dilation",
            [1, 3, 17, 12],
            Conv2d::new(4, [3, 4])
                .stride([5, 3])
                .dilation([3, 2])
                .padding([4, 3]),
        ),
        case(
            "two groups",
            [2, 6, 7, 7],
            Conv2d::new(8, 3).padding(1).groups(2),
        ),
        case(
            "groups beyond a tile, odd",
            [2, 34, 5, 7],
            Conv2d::new(40, 3).padding(1).groups(2),
        ),
        case(
            "groups beyond two tiles, stride 2",
            [2, 10, 6, 9],
            Conv2d::new(70, [3, 6]).stride(2).padding(2).groups(2),
        ),
        case(
            "depthwise",
            [2, 9, 8, 6],
            Conv2d::new(9, 3).padding(1).groups(9),
        ),
        case(
            "depthwise, two each",
            [1, 4, 11, 11],
            Conv2d::new(8, 5).stride(2).groups(4),
        ),
        case(
            "depthwise, whole vectors",
            [2, 5, 9, 12],
            Conv2d::new(5, 3).padding(1).groups(5),
        ),
        case(
            "depthwise, stride 2, whole vectors",
            [2, 3, 15, 24],
            Conv2d::new(3, 3).stride(2).padding(1).groups(3),
        ),
        case(
            "depthwise, stride 2, odd",
            [3, 3, 8, 11],
            Conv2d::new(3, 3).stride(2).padding([0, 1, 2, 0]).groups(3),
        ),
        case(
            "depthwise 7x7",
            [2, 2, 11, 8],
            Conv2d::new(2, 7).padding(3).groups(2),
        ),
        case(
            "depthwise 7x6, stride 2, odd",
            [1, 3, 13, 17],
            Conv2d::new(3, [7, 6])
                .stride(2)
                .padding([3, 2, 4, 5])
                .groups(3),
        ),
        case(
            "depthwise, strides 1 and 2",
            [2, 2, 7, 20],
            Conv2d::new(2, [2, 4])
                .stride([1, 2])
                .padding([1, 0, 0, 3])
                .groups(2),
        ),
        case(
            "depthwise, strides 2 and 1",
            [2, 2, 10, 8],
            Conv2d::new(2, [4, 1])
                .stride([2, 1])
                .padding([2, 1, 0, 0])
                .groups(2),
        ),
        case(
            "depthwise, dilation",
            [2, 3, 13, 16],
            Conv2d::new(3, 3).dilation([2, 3]).padding([2, 3]).groups(3),
        ),
        case(
            "depthwise, dilation down and stride across",
            [1, 3, 12, 8],
            Conv2d::new(3, [3, 2])
                .dilation([2, 1])
                .stride([1, 2])
                .groups(3),
        ),
        case(
            "depthwise, three each",
            [2, 2, 6, 8],
            Conv2d::new(6, [3, 5]).padding([1, 2]).groups(2),
        ),
        case(
            "depthwise, several segments",
            [3, 2, 75, 9],
            Conv2d::new(2, 3).padding(1).groups(2),
        ),
        case(
            "depthwise, a signal",
            [2, 3, 1, 150],
            Conv2d::new(3, [1, 7]).padding([0, 3]).groups(3),
        ),
        case(
            "groups, stride and dilation",
            [3, 6, 9, 9],
            Conv2d::new(9, [3, 2])
                .groups(3)
                .stride(2)
                .dilation(2)
                .padding(1),
        ),
        case(
            "groups, a long sum",
            [3, 4, 40, 40],
            Conv2d::new(2, 3).stride(1).groups(2),
        ),
    ]
}

/// What a case computes from, and what it should give.
struct Data {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    gradient_output: Vec<f32>,
}

impl Data {
    fn new(geometry: &Conv2dGeometry, fill: Fill) -> Self {
        let mut rng = random(geometry.flops());
        Self {
            x: fill(&mut rng, geometry.input_len()),
            weight: fill(&mut rng, geometry.weight_len()),
            bias: fill(&mut rng, geometry.out_channels),
            gradient_output: fill(&mut rng, geometry.output_len()),
        }
    }
}

/// The four results of a convolution on a GPU: output, and gradients of input, weight and bias.
fn on_gpu(gpu: &Gpu, case: &Case, data: &Data) -> [Vec<f32>; 4] {
    let (geometry, layer) = (case.geometry(), &case.layer);
    let size = geometry.out_size;
    let output = [
        geometry.batch,
        geometry.out_channels,
        size.height,
        size.width,
    ];
    let x = tensor(gpu, case.input, &data.x);
    let weight = tensor(gpu, geometry.weight_shape(), &data.weight);
    let bias = layer
        .bias
        .then(|| tensor(gpu, [geometry.out_channels], &data.bias));
    let gradient = tensor(gpu, output, &data.gradient_output);
    let results = [
        ops::conv2d_forward(&x, &weight, bias.as_ref(), layer),
        ops::conv2d_backward_input(&gradient, &weight, case.input, layer),
        ops::conv2d_backward_weight(&x, &gradient, layer),
        ops::bias_gradient(&gradient),
    ];
    results.map(|result| result.unwrap().to_vec().unwrap())
}

const RESULTS: [&str; 4] = [
    "output",
    "input gradient",
    "weight gradient",
    "bias gradient",
];

/// The lengths of the sums of output, input gradient and weight gradient.
fn inner(case: &Case) -> [usize; 3] {
    let geometry = &case.geometry();
    let [_, in_channels, kernel_h, kernel_w] = geometry.weight_shape();
    let taps = kernel_h * kernel_w;
    let pixels = geometry.batch * geometry.out_size.area();
    [in_channels * taps + 1, geometry.out_channels * taps, pixels]
}

fn expected(case: &Case, data: &Data) -> [Expected; 4] {
    let geometry = &case.geometry();
    let Data {
        x,
        weight,
        bias,
        gradient_output,
    } = data;
    let bias: &[f32] = if case.layer.bias { bias } else { &[] };
    let inner = inner(case);
    let pixels = inner[2];
    [
        Expected::sums(inner[0], [x, weight, bias], |[x, w, b]| {
            let mut y = vec![0.0; geometry.output_len()];
            let b = (!b.is_empty()).then_some(&b[..]);
            cpu::conv2d_forward(geometry, &x, &w, b, &mut y).unwrap();
            y
        }),
        Expected::sums(inner[1], [gradient_output, weight], |[gy, w]| {
            let mut gx = vec![0.0; geometry.input_len()];
            cpu::conv2d_backward_input(geometry, &gy, &w, &mut gx).unwrap();
            gx
        }),
        Expected::sums(pixels, [x, gradient_output], |[x, gy]| {
            let mut gw = vec![0.0; geometry.weight_len()];
            cpu::conv2d_backward_weight(geometry, &x, &gy, &mut gw).unwrap();
            gw
        }),
        Expected::sums(pixels, [gradient_output], |[gy]| {
            let mut gb = vec![0.0; geometry.out_channels];
            cpu::conv2d_backward_bias(geometry, &gy, &mut gb).unwrap();
            gb
        }),
    ]
}

/// How many of the results a device makes by a fast algorithm, which spreads what it rounds.
fn spread(device: &str) -> usize {
    match device {
        "fft" | "winograd-subgroup" | "winograd-tiled" => 3,
        _ => 0,
    }
}

/// On those devices alone whose names are asked for.
fn run_on(cases: &[Case], asked: fn(&str) -> bool) {
    for (at, case) in cases.iter().enumerate() {
        let kinds: [(&str, Fill); 2] = [("random", uniform), ("integers", integers)];
        for (kind, fill) in kinds {
            let data = Data::new(&case.geometry(), fill);
            let expected = expected(case, &data);
            // Bounds checks and the sizes of tiles change no arithmetic: they share the work.
            let left_out = |device: &str| {
                let checks = device.contains("checks") && kind != "integers";
                checks || device == ["tiled-32", "tiled-64"][at % 2]
            };
            for (device, gpu) in
                each_core().filter(|(device, _)| asked(device) && !left_out(device))
            {
                let results = on_gpu(gpu, case, &data);
                for (at, ((what, got), expected)) in
                    RESULTS.iter().zip(&results).zip(&expected).enumerate()
                {
                    let name = format!("{}, {what}, {kind}, {device}", case.name);
                    if at < spread(device) {
                        expected.spread(inner(case)[at]).assert(&name, got);
                    } else if kind == "integers" {
                        let values: Vec<f32> = expected.values.iter().map(|&v| v as f32).collect();
                        assert_same(&name, got, &values);
                    } else {
                        expected.assert(&name, got);
                    }
                }
            }
        }
    }
}

/// Fast algorithms have cases of their own.
fn direct(device: &str) -> bool {
    spread(device) == 0
}

#[test]
fn plain_convolutions_equal_the_reference() {
    run_on(&plain_cases(), direct);
}

#[test]
fn strided_dilated_and_grouped_convolutions_equal_the_reference() {
    run_on(&general_cases(), direct);
}

/// More strips of pixels than a grid has workgroups along one dimension.
#[test]
fn a_grid_that_folds_covers_every_pixel() {
    let case = case("folded", [1, 1, 263_000, 4], Conv2d::new(1, 1));
    let data = Data::new(&case.geometry(), integers);
    let expected = &expected(&case, &data)[0];
    let values: Vec<f32> = expected.values.iter().map(|&v| v as f32).collect();
    for (device, gpu) in poisoned_gpus() {
        let x = tensor(gpu, case.input, &data.x);
        let weight = tensor(gpu, [1, 1, 1, 1], &data.weight);
        let bias = tensor(gpu, [1], &data.bias);
        let y = ops::conv2d_forward(&x, &weight, Some(&bias), &case.layer).unwrap();
        assert_same(device, &y.to_vec().unwrap(), &values);
    }
}

/// More terms to an invocation than llvmpipe lets a loop have.
#[test]
fn a_bias_gradient_over_large_images_is_complete() {
    let [batch, plane] = [9, 720 * 720];
    let ones = vec![1.0; batch * plane];
    for (device, gpu) in poisoned_gpus().take(1) {
        let gradient = tensor(gpu, [batch, 1, 720, 720], &ones);
        let sum = ops::bias_gradient(&gradient).unwrap().to_vec().unwrap();
        assert_same(device, &sum, &[(batch * plane) as f32]);
    }
}
