//! An operator with its options, from short lists: windows, paddings and dilations larger than an image
//! and strides beyond the kernel among them.

use fastrand::Rng;
use wgpu_cnn::{
    Activation, AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d, BatchNorm,
    ChannelPermute, ChannelShuffle, Conv1d, Conv2d, ConvTranspose2d, DropUnit, Dropout, Flatten,
    GroupNorm, Init, InstanceNorm, LayerNorm, LayerNormChannels, Linear, LocalResponseNorm,
    MaxPool1d, MaxPool2d, Op, Padding, PaddingMode, PointwiseLinear, Reshape, Scale, Shape, Slice,
    Softmax, Upsample2d,
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
        (12, _) => {
            let units = [
                DropUnit::Value,
                DropUnit::Value,
                DropUnit::Channel,
                DropUnit::Example,
            ];
            Dropout::new(pick(rng, &[0.0, 0.3, 0.5, 0.9]))
                .unit(pick(rng, &units))
                .into()
        }
        (13, _) => reshape(rng, shape),
        (14, 2 | 3) => resized(rng, shape),
        (15, 1..) if rng.bool() => selected_or_scaled(rng, shape),
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

/// A range along an axis, channels in another order, repeated ones among them, or a layer over channels.
fn selected_or_scaled(rng: &mut Rng, shape: &Shape) -> Op {
    let channels = shape[0];
    match rng.usize(..6) {
        0 => {
            let groups: Vec<usize> = (1..=channels)
                .filter(|groups| channels.is_multiple_of(*groups))
                .collect();
            ChannelShuffle::new(pick(rng, &groups)).into()
        }
        1 => {
            let taken = rng.usize(1..=channels.min(9));
            let index: Vec<usize> = (0..taken).map(|_| rng.usize(..channels)).collect();
            ChannelPermute::new(index).into()
        }
        2 => Scale::new().bias(rng.bool()).init(init(rng)).into(),
        3 if shape.rank() > 1 => {
            let layer = PointwiseLinear::new(pick(rng, &[1, 3, 4, 8, 17]));
            layer.bias(!one_in(rng, 4)).init(init(rng)).into()
        }
        _ => {
            let axis = rng.usize(..shape.rank());
            let from = rng.usize(..shape[axis]);
            let to = rng.usize(from + 1..=shape[axis]);
            Slice::new(axis, from..to).into()
        }
    }
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
    let layer = layer.padding_mode(padding_mode(rng));
    layer.bias(!one_in(rng, 4)).init(init(rng))
}

/// Mostly zeros; with the others, paddings that are larger than the image do not fit.
fn padding_mode(rng: &mut Rng) -> PaddingMode {
    let zeros = [PaddingMode::Zeros; 5];
    let others = [
        PaddingMode::Reflect,
        PaddingMode::Replicate,
        PaddingMode::Circular,
    ];
    pick(rng, &[&zeros[..], &others].concat())
}

fn conv1d(rng: &mut Rng, channels: usize) -> Conv1d {
    let (kernel, stride, dilation, sides) = pick(rng, WINDOWS_1D);
    let [groups, out_channels] = groups(rng, channels);
    let layer = Conv1d::new(out_channels, kernel).stride(stride);
    let layer = match sides {
        Some(sides) => layer.padding_sides(sides),
        None if rng.bool() => layer.causal(),
        None => layer.padding_same(),
    };
    let layer = layer.dilation(dilation).groups(groups);
    let layer = layer.padding_mode(padding_mode(rng));
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

/// A pooling to a size, or an interpolation.
fn resized(rng: &mut Rng, shape: &Shape) -> Op {
    let extents = [1, 2, 3, 4, 5, 7, 10];
    let size = match shape.rank() {
        2 => [1, pick(rng, &extents)],
        _ => [pick(rng, &extents), pick(rng, &extents)],
    };
    let scales = [0.4, 0.5, 1.0, 1.1, 1.5, 1.7, 2.0, 3.0];
    let scale = match shape.rank() {
        2 => [1.0, pick(rng, &scales)],
        _ => [pick(rng, &scales), pick(rng, &scales)],
    };
    let bilinear = Upsample2d::bilinear().align_corners(rng.bool());
    match rng.usize(..6) {
        0 => AdaptiveAvgPool2d::new(size).into(),
        1 => AdaptiveMaxPool2d::new(size).into(),
        2 => Upsample2d::nearest().size(size).into(),
        3 => Upsample2d::nearest().scale(scale).into(),
        4 => bilinear.size(size).into(),
        _ => bilinear.scale(scale).into(),
    }
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
