//! An operator with its options, from short lists: windows, paddings and dilations larger than an image
//! and strides beyond the kernel among them.

use fastrand::Rng;
use wgpu_cnn::{
    Activation, AvgPool1d, AvgPool2d, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dropout, Flatten,
    GroupNorm, Init, InstanceNorm, LayerNorm, LayerNormChannels, Linear, LocalResponseNorm,
    MaxPool1d, MaxPool2d, Op, Padding, Reshape, Shape, Softmax,
};

use super::draw::{catalogue_case, one_in, pick};

/// An operator that is likely to fit.
pub fn operator(rng: &mut Rng, shape: &Shape) -> Op {
    match (rng.usize(..16), shape.rank()) {
        (0..=2, 3) => conv2d(rng, shape[0]).into(),
        (0..=2, 2) => conv1d(rng, shape[0]).into(),
        (3, 2 | 3) => conv_transpose2d(rng, shape).into(),
        (4, 3) => max_pool2d(rng).into(),
        (4, 2) => max_pool1d(rng).into(),
        (5, 3) => avg_pool2d(rng).into(),
        (5, 2) => avg_pool1d(rng).into(),
        (0..=3, _) => linear(rng).into(),
        (6..=8, _) => pick(rng, &Activation::ALL).into(),
        (9, _) => BatchNorm::new()
            .epsilon(pick(rng, &[1e-5, 1e-3]))
            .momentum(pick(rng, &[Some(0.0), Some(0.1), Some(1.0), None]))
            .affine(!one_in(rng, 4))
            .frozen(one_in(rng, 4))
            .into(),
        (10, rank) => normalisation(rng, rank, shape.first().copied().unwrap_or(1)),
        (11, rank) => Softmax::new()
            .axis(rng.isize(-(rank as isize)..rank as isize))
            .log(rng.bool())
            .into(),
        (12, _) => Dropout::new(pick(rng, &[0.0, 0.3, 0.5, 0.9])).into(),
        (13, _) => reshape(rng, shape),
        // Whatever there is, as the catalogue has it, if it happens to fit.
        _ => catalogue_case(rng).op,
    }
}

/// Any but that over the batch.
fn normalisation(rng: &mut Rng, rank: usize, channels: usize) -> Op {
    let (epsilon, affine) = (pick(rng, &[1e-5, 1e-3]), !one_in(rng, 4));
    match (rng.usize(..5), rank) {
        (0, _) => LayerNormChannels::new()
            .epsilon(epsilon)
            .affine(affine)
            .into(),
        (1, _) => {
            let all: Vec<usize> = (1..=channels)
                .filter(|groups| channels.is_multiple_of(*groups))
                .collect();
            GroupNorm::new(pick(rng, &all))
                .epsilon(epsilon)
                .affine(affine)
                .into()
        }
        (2, 2 | 3) => InstanceNorm::new().epsilon(epsilon).affine(affine).into(),
        (3, _) => LocalResponseNorm::new(rng.usize(1..7))
            .alpha(pick(rng, &[1e-4, 0.1, 1.0]))
            .beta(pick(rng, &[0.5, 0.75, 1.0]))
            .k(pick(rng, &[1.0, 2.0]))
            .into(),
        _ => LayerNorm::new().epsilon(epsilon).affine(affine).into(),
    }
}

fn linear(rng: &mut Rng) -> Linear {
    let features = pick(rng, &[1, 2, 3, 4, 5, 8, 16, 33, 64, 65]);
    Linear::new(features).bias(!one_in(rng, 4)).init(init(rng))
}

fn init(rng: &mut Rng) -> Init {
    pick(
        rng,
        &[
            Init::HeUniform,
            Init::HeUniform,
            Init::HeNormal,
            Init::XavierUniform,
            Init::XavierNormal,
            Init::Constant(0.1),
        ],
    )
}

fn reshape(rng: &mut Rng, shape: &Shape) -> Op {
    let len = shape.len();
    let parts = |of: usize| -> Vec<usize> {
        (1..=of.min(16))
            .filter(|part| of.is_multiple_of(*part))
            .collect()
    };
    let first = pick(rng, &parts(len));
    let second = pick(rng, &parts(len / first));
    let third = pick(rng, &parts(len / first / second));
    match rng.usize(..5) {
        0 => Flatten.into(),
        1 => Reshape::new([first, len / first]).into(),
        2 => Reshape::new([first, second, third, len / first / second / third]).into(),
        _ => Reshape::new([first, second, len / first / second]).into(),
    }
}

/// Groups, and channels that are whole groups.
fn groups(rng: &mut Rng, channels: usize) -> [usize; 2] {
    let groups = (1..=channels).filter(|groups| channels.is_multiple_of(*groups));
    let groups = pick(rng, &[vec![1, 1, 1, channels], groups.collect()].concat());
    [
        groups,
        groups
            * pick(
                rng,
                if groups > 1 {
                    &[1, 2, 3]
                } else {
                    &[1, 2, 3, 4, 8, 12, 16, 17]
                },
            ),
    ]
}

/// Kernel, stride, dilation and padding of a convolution; padding on four sides, or "same".
type Window = ([usize; 2], [usize; 2], [usize; 2], Option<[usize; 4]>);

const WINDOWS: &[Window] = &[
    ([1, 1], [1, 1], [1, 1], Some([0; 4])),
    ([1, 1], [2, 3], [1, 1], Some([0; 4])),
    ([1, 1], [5, 5], [1, 1], Some([3, 0, 0, 4])),
    ([3, 3], [1, 1], [1, 1], Some([0; 4])),
    ([3, 3], [1, 1], [1, 1], None),
    ([3, 3], [2, 2], [1, 1], Some([1; 4])),
    ([3, 3], [1, 1], [2, 2], None),
    ([3, 3], [1, 1], [1, 1], Some([0, 2, 2, 3])),
    // Outputs that see nothing but padding, and taps that see nothing else.
    ([3, 3], [1, 1], [1, 1], Some([5; 4])),
    ([2, 3], [1, 2], [2, 1], Some([1, 0, 0, 2])),
    ([3, 2], [2, 1], [1, 3], None),
    ([5, 5], [1, 1], [1, 1], None),
    ([5, 5], [1, 1], [1, 1], Some([0; 4])),
    ([5, 5], [3, 2], [1, 1], Some([4, 1, 0, 6])),
    ([2, 2], [5, 3], [1, 1], Some([0; 4])),
    ([2, 2], [1, 1], [1, 1], None),
    ([4, 4], [2, 2], [1, 1], Some([1; 4])),
    ([1, 7], [1, 1], [1, 1], None),
    ([7, 1], [2, 1], [1, 2], Some([6, 0, 0, 0])),
    ([3, 3], [1, 2], [9, 5], Some([18, 9, 5, 11])),
    ([3, 3], [1, 1], [9, 5], None),
    ([3, 1], [1, 1], [1, 1], Some([1, 0, 0, 0])),
];

/// The same for signals, with the padding on two sides.
const WINDOWS_1D: &[(usize, usize, usize, Option<[usize; 2]>)] = &[
    (1, 1, 1, Some([0, 0])),
    (1, 3, 1, Some([2, 0])),
    (3, 1, 1, None),
    (3, 2, 1, Some([1, 1])),
    (5, 1, 2, Some([8, 1])),
    (2, 5, 1, Some([0, 0])),
    (7, 1, 1, Some([0, 0])),
    (3, 1, 20, None),
    (3, 2, 20, Some([40, 20])),
];

fn padding(sides: Option<[usize; 4]>) -> Padding {
    sides.map_or(Padding::Same, Padding::from)
}

fn conv2d(rng: &mut Rng, channels: usize) -> Conv2d {
    let (kernel, stride, dilation, sides) = pick(rng, WINDOWS);
    let [groups, out_channels] = groups(rng, channels);
    let layer = Conv2d::new(out_channels, kernel).padding(padding(sides));
    let layer = layer.stride(stride).dilation(dilation).groups(groups);
    layer.bias(!one_in(rng, 4)).init(init(rng))
}

fn conv1d(rng: &mut Rng, channels: usize) -> Conv1d {
    let (kernel, stride, dilation, sides) = pick(rng, WINDOWS_1D);
    let [groups, out_channels] = groups(rng, channels);
    let layer = Conv1d::new(out_channels, kernel).stride(stride);
    let layer = match sides {
        Some(sides) => layer.padding_sides(sides),
        None => layer.padding_same(),
    };
    let layer = layer.dilation(dilation).groups(groups);
    layer.bias(!one_in(rng, 4)).init(init(rng))
}

fn conv_transpose2d(rng: &mut Rng, shape: &Shape) -> ConvTranspose2d {
    let (kernel, stride, dilation, sides) = match shape.rank() {
        2 => {
            let (kernel, stride, dilation, sides) = pick(rng, WINDOWS_1D);
            let sides = sides.map(|[before, after]| [0, 0, before, after]);
            ([1, kernel], [1, stride], [1, dilation], sides)
        }
        _ => pick(rng, WINDOWS),
    };
    // As large a padding often leaves nothing.
    let sides = if rng.bool() { Some([0; 4]) } else { sides };
    let more = match one_in(rng, 3) {
        true => [stride, dilation].map(|of| of[1] - 1).into_iter().max(),
        false => None,
    };
    let [groups, out_channels] = groups(rng, shape[0]);
    let layer = ConvTranspose2d::new(out_channels, kernel).padding(padding(sides));
    let layer = layer.stride(stride).dilation(dilation).groups(groups);
    let layer = layer.output_padding([0, more.unwrap_or(0)]);
    layer.bias(!one_in(rng, 4)).init(init(rng))
}

/// Kernel, stride and padding of a pool.
const POOLS: &[([usize; 2], [usize; 2], [usize; 4])] = &[
    ([2, 2], [2, 2], [0; 4]),
    ([3, 3], [2, 2], [1; 4]),
    ([3, 3], [1, 1], [1; 4]),
    ([2, 3], [3, 1], [1, 0, 0, 1]),
    ([1, 1], [2, 2], [0; 4]),
    ([2, 2], [5, 3], [1, 0, 1, 0]),
    ([5, 4], [2, 3], [2, 2, 2, 2]),
    ([1, 3], [1, 1], [0, 0, 1, 1]),
    ([3, 3], [2, 2], [1, 0, 0, 1]),
    ([4, 3], [3, 2], [0, 2, 1, 0]),
    ([9, 9], [4, 4], [4; 4]),
];

fn max_pool2d(rng: &mut Rng) -> MaxPool2d {
    let (kernel, stride, padding) = pick(rng, POOLS);
    let layer = MaxPool2d::new(kernel).stride(stride).padding(padding);
    layer
        .dilation(pick(rng, &[1, 1, 1, 2, 7]))
        .ceil_mode(rng.bool())
}

fn avg_pool2d(rng: &mut Rng) -> AvgPool2d {
    let (kernel, stride, padding) = pick(rng, POOLS);
    let layer = AvgPool2d::new(kernel).stride(stride).padding(padding);
    layer.ceil_mode(rng.bool()).count_include_pad(rng.bool())
}

const POOLS_1D: &[(usize, usize, usize)] = &[
    (2, 2, 0),
    (3, 2, 1),
    (3, 1, 1),
    (1, 3, 0),
    (2, 5, 1),
    (9, 4, 4),
];

fn max_pool1d(rng: &mut Rng) -> MaxPool1d {
    let (kernel, stride, padding) = pick(rng, POOLS_1D);
    let layer = MaxPool1d::new(kernel).stride(stride).padding(padding);
    layer.dilation(pick(rng, &[1, 1, 3])).ceil_mode(rng.bool())
}

fn avg_pool1d(rng: &mut Rng) -> AvgPool1d {
    let (kernel, stride, padding) = pick(rng, POOLS_1D);
    let layer = AvgPool1d::new(kernel).stride(stride).padding(padding);
    layer.ceil_mode(rng.bool()).count_include_pad(rng.bool())
}
