//! What operators, losses and optimizers are: options and shape arithmetic.

mod names;

use names::*;

use wgpu_cnn::op::{Add, AvgPool2d, Op};
use wgpu_cnn::{
    Activation, Average, AvgPool1d, BatchNorm, BinaryCrossEntropy, Conv1d, Conv2d, ConvTranspose2d,
    DropUnit, Dropout, Flatten, GlobalPool, GroupNorm, InstanceNorm, LayerNorm, LayerNormChannels,
    Linear, LocalResponseNorm, Loss, MaxPool1d, MaxPool2d, Optimizer, Pad2d, Prelu, Reduction,
    Reshape, Shape, Softmax,
};

use crate::call::Call;
use crate::cpu::target;
use crate::draw::Draw;
use crate::{joined, resize};

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(CONV2D, |d| {
            let (layer, batch, input) = (conv2d(d), d.number(), d.image());
            layer.geometry(batch, &input).is_ok_and(|mut g| {
                assert!(layer.padded(batch, &input).is_ok());
                if d.is_hostile() {
                    (g.batch, g.groups, g.in_channels) = (d.number(), d.number(), d.number());
                    (g.in_size, g.out_size, g.kernel) = (d.size(), d.size(), d.size());
                }
                let _ = (g.input_shape(), g.output_shape(), g.weight_shape());
                let _ = (g.input_len(), g.output_len(), g.weight_len(), g.flops());
                assert!(g.multiply_adds() <= g.flops());
                true
            })
        }),
        Call::quick(CONV_TRANSPOSE2D, |d| {
            let (layer, batch, input) = (conv_transpose2d(d), d.number(), d.image());
            layer
                .geometry(batch, &input)
                .is_ok_and(|g| g.input_len() > 0 || batch == 0)
        }),
        Call::quick(POOLS, |d| {
            let (batch, input) = (d.number(), d.image());
            let made = match d.below(3) {
                0 => max_pool2d(d).geometry(batch, &input),
                1 => avg_pool2d(d).geometry(batch, &input),
                _ => global_pool(d).geometry(batch, &input),
            };
            made.is_ok_and(|mut g| {
                if d.is_hostile() {
                    (g.planes, g.in_size, g.out_size) = (d.number(), d.size(), d.size());
                }
                let _ = (g.input_len(), g.output_len());
                true
            })
        }),
        Call::quick(PAD, |d| {
            let (layer, batch, input) = (pad2d(d), d.number(), d.image());
            layer.geometry(batch, &input).is_ok_and(|mut g| {
                if d.is_hostile() {
                    (g.planes, g.in_size, g.padding) = (d.number(), d.size(), d.numbers());
                }
                let _ = (g.out_size(), g.input_len(), g.output_len());
                true
            })
        }),
        Call::quick(SIGNAL, |d| !layer(d).name().is_empty()),
        Call::quick(ROWS, |d| {
            let (batch, input) = (d.number(), d.shape());
            let _ = dropout(d);
            match d.below(7) {
                0 => linear(d).geometry(batch, &input).is_ok_and(|mut g| {
                    if d.is_hostile() {
                        (g.rows, g.in_features, g.out_features) =
                            (d.number(), d.number(), d.number());
                    }
                    let _ = g.multiply_adds();
                    true
                }),
                1 => softmax(d).geometry(batch, &input).is_ok_and(|mut g| {
                    if d.is_hostile() {
                        (g.outer, g.extent, g.inner) = (d.number(), d.number(), d.number());
                    }
                    let _ = g.input_len();
                    true
                }),
                2 => prelu(d).geometry(batch, &input).is_ok_and(|mut g| {
                    if d.is_hostile() {
                        (g.batch, g.channels, g.plane) = (d.number(), d.number(), d.number());
                    }
                    let _ = (g.count(), g.input_len());
                    true
                }),
                3 => layer_norm_channels(d).extents(batch, &input).is_ok(),
                4 => local_response_norm(d).extents(batch, &input).is_ok(),
                5 => group_norm(d).geometry(batch, &input).is_ok_and(|mut g| {
                    if d.is_hostile() {
                        (g.batch, g.channels) = (d.number(), d.number());
                        (g.groups, g.plane) = (d.number(), d.number());
                    }
                    let _ = g.rows();
                    true
                }),
                _ => batch_norm(d).geometry(batch, &input).is_ok_and(|mut g| {
                    if d.is_hostile() {
                        (g.batch, g.plane) = (d.number(), d.number());
                    }
                    let _ = g.count();
                    true
                }),
            }
        }),
        Call::quick(LOSS, |d| {
            let (batch, output) = (d.number(), d.shape());
            let loss = loss(d, output.first().copied().unwrap_or(1));
            let target = target(d, batch, output.len());
            let geometry = loss.geometry(batch, &output);
            geometry.is_ok_and(|mut g| {
                if d.is_hostile() {
                    (g.rows, g.classes, g.plane) = (d.number(), d.number(), d.number());
                }
                let _ = loss.normaliser(&target, &g);
                true
            })
        }),
        Call::quick(OPTIMIZER, |d| {
            let optimizer = optimizer(d);
            let _ = (optimizer.learning_rate(), optimizer.state_slots());
            let _ = optimizer.initial_state(d.number());
            true
        }),
        Call::quick(AVERAGE, |d| {
            let shares = average(d).shares(d.number() as u64);
            shares.iter().all(|share| !share.is_nan())
        }),
        Call::quick(SHAPE, |d| {
            let (shape, size) = (d.shape(), d.size());
            let batched = shape.batched(d.number());
            let _ = (
                batched.len(),
                batched.is_empty(),
                batched.rank(),
                size.area(),
            );
            let _ = format!("{batched} {batched:?} {size:?}");
            true
        }),
    ]
}

pub fn conv2d(d: &mut Draw) -> Conv2d {
    let groups = if d.is_hostile() { d.number() } else { 1 };
    let layer = Conv2d::new(d.number(), d.size()).stride(d.size());
    let layer = layer.padding(d.padding()).groups(groups);
    let layer = match d.flag() {
        true => layer.padding_mode(d.padding_mode()),
        false => layer,
    };
    let dilation = if d.flag() { d.size() } else { 1.into() };
    layer.dilation(dilation).bias(d.flag()).init(d.init())
}

pub fn conv_transpose2d(d: &mut Draw) -> ConvTranspose2d {
    let groups = if d.is_hostile() { d.number() } else { 1 };
    let added = if d.is_hostile() { d.size() } else { 0.into() };
    let layer = ConvTranspose2d::new(d.number(), d.size()).stride(d.size());
    let layer = layer.padding(d.padding()).output_padding(added);
    let layer = layer.dilation(d.size()).groups(groups);
    layer.bias(d.flag()).init(d.init())
}

pub fn max_pool2d(d: &mut Draw) -> MaxPool2d {
    let layer = MaxPool2d::new(d.size()).ceil_mode(d.flag());
    let layer = layer.stride(d.size()).padding(d.padding());
    match d.flag() {
        true => layer.dilation(d.size()),
        false => layer,
    }
}

pub fn avg_pool2d(d: &mut Draw) -> AvgPool2d {
    let layer = AvgPool2d::new(d.size()).ceil_mode(d.flag());
    let layer = layer.stride(d.size()).padding(d.padding());
    layer.count_include_pad(d.flag())
}

pub fn global_pool(d: &mut Draw) -> GlobalPool {
    d.pick(&[GlobalPool::Max, GlobalPool::Average, GlobalPool::Softmax])
}

fn linear(d: &mut Draw) -> Linear {
    Linear::new(d.number()).bias(d.flag()).init(d.init())
}

pub fn softmax(d: &mut Draw) -> Softmax {
    let axis = match d.is_hostile() {
        true => d.pick(&[isize::MIN, isize::MAX, isize::MIN + 1, -5, 5]),
        false => d.pick(&[-2, -1, 0, 1]),
    };
    Softmax::new().axis(axis).log(d.flag())
}

pub fn batch_norm(d: &mut Draw) -> BatchNorm {
    let (real, averages) = (d.real(), d.is_hostile());
    let norm = BatchNorm::new().momentum((!averages).then_some(real));
    norm.epsilon(d.real())
        .affine(!d.is_hostile())
        .frozen(d.is_hostile())
}

pub fn layer_norm(d: &mut Draw) -> LayerNorm {
    LayerNorm::new().epsilon(d.real()).affine(!d.is_hostile())
}

pub fn layer_norm_channels(d: &mut Draw) -> LayerNormChannels {
    let norm = LayerNormChannels::new().epsilon(d.real());
    norm.affine(!d.is_hostile())
}

pub fn group_norm(d: &mut Draw) -> GroupNorm {
    let epsilon = d.real();
    match d.flag() {
        true => {
            let norm = GroupNorm::new(d.number()).epsilon(epsilon);
            norm.affine(!d.is_hostile())
        }
        false => {
            let norm = InstanceNorm::new().epsilon(epsilon);
            norm.affine(!d.is_hostile()).into()
        }
    }
}

pub fn local_response_norm(d: &mut Draw) -> LocalResponseNorm {
    let norm = LocalResponseNorm::new(d.number()).alpha(d.real());
    norm.beta(d.real()).k(d.real())
}

pub fn pad2d(d: &mut Draw) -> Pad2d {
    Pad2d::new(d.padding()).mode(d.padding_mode())
}

pub fn prelu(d: &mut Draw) -> Prelu {
    Prelu::new().per_channel(d.flag()).init(d.single())
}

fn dropout(d: &mut Draw) -> Dropout {
    Dropout::new(d.real()).unit(d.pick(&[
        DropUnit::Value,
        DropUnit::Channel,
        DropUnit::Example,
        DropUnit::Batch,
    ]))
}

fn signal(d: &mut Draw) -> Op {
    let [kernel, stride, padding, after] = d.numbers();
    match d.below(3) {
        0 => {
            let layer = Conv1d::new(d.number(), kernel).stride(stride);
            let layer = layer.padding_mode(d.padding_mode());
            let layer = match d.below(4) {
                3 => layer.causal(),
                0 => layer.padding(padding),
                1 => layer.padding_sides([padding, after]),
                _ => layer.padding_same(),
            };
            let layer = layer.dilation(d.number()).groups(d.number());
            layer.bias(d.flag()).init(d.init()).into()
        }
        1 => {
            let layer = MaxPool1d::new(kernel).stride(stride).padding(padding);
            let layer = layer.padding_sides([padding, after]);
            layer.dilation(d.number()).ceil_mode(d.flag()).into()
        }
        _ => {
            let layer = AvgPool1d::new(kernel).stride(stride).padding(padding);
            let layer = layer.padding_sides([padding, after]);
            layer.ceil_mode(d.flag()).count_include_pad(d.flag()).into()
        }
    }
}

/// Any operator.
pub fn layer(d: &mut Draw) -> Op {
    match d.below(29) {
        0 => conv2d(d).into(),
        1 => conv_transpose2d(d).into(),
        2 => max_pool2d(d).into(),
        3 => avg_pool2d(d).into(),
        4 => global_pool(d).into(),
        5 => linear(d).into(),
        6 => softmax(d).into(),
        7 => batch_norm(d).into(),
        8 => layer_norm(d).into(),
        9 => dropout(d).into(),
        10 => Reshape::new(d.shape()).into(),
        11 => Flatten.into(),
        12 => Add.into(),
        16..22 => joined::layer(d),
        13 => wgpu_cnn::op::Concat.into(),
        14 => activation(d).into(),
        15 => prelu(d).into(),
        22 => resize::layer(d),
        23 => pad2d(d).into(),
        24 => layer_norm_channels(d).into(),
        25 => group_norm(d).into(),
        26 => local_response_norm(d).into(),
        _ => signal(d),
    }
}

fn activation(d: &mut Draw) -> Activation {
    let activation = d.activation();
    assert!(!activation.name().is_empty());
    activation
}

pub fn loss(d: &mut Draw, classes: usize) -> Loss {
    let reduction = d.pick(&[Reduction::Mean, Reduction::Sum, Reduction::BatchMean]);
    let weights = d.flag().then(|| d.floats::<f32>(classes));
    let ignored = [-100, -1, 0, 1, 1 << 40, i64::MIN, i64::MAX];
    let ignored = d.flag().then(|| d.pick(&ignored));
    let loss = match d.below(10) {
        0 => Loss::mean_squared_error(),
        1 => Loss::l1(),
        2 => Loss::smooth_l1(d.real()),
        3 => Loss::huber(d.real()),
        4 => Loss::kl_divergence(),
        5 => binary_cross_entropy(d, classes).reduction(reduction).into(),
        6 => {
            let mut loss = Loss::nll().reduction(reduction);
            loss = weights.into_iter().fold(loss, |l, w| l.class_weights(w));
            ignored
                .into_iter()
                .fold(loss, |l, label| l.ignored_label(label))
                .into()
        }
        7 => {
            let mut loss = Loss::dice().reduction(reduction).over_batch(d.flag());
            if d.flag() {
                loss = loss.sigmoid().smoothing(d.real());
            }
            ignored
                .into_iter()
                .fold(loss, |l, label| l.ignored_label(label))
                .into()
        }
        _ => {
            let mut loss = Loss::cross_entropy()
                .label_smoothing(d.real())
                .reduction(reduction);
            loss = weights.into_iter().fold(loss, |l, w| l.class_weights(w));
            ignored
                .into_iter()
                .fold(loss, |l, label| l.ignored_label(label))
                .into()
        }
    };
    loss.reduction(reduction)
}

fn binary_cross_entropy(d: &mut Draw, classes: usize) -> BinaryCrossEntropy {
    let weights = |d: &mut Draw| -> (Shape, Vec<f32>) {
        let shape = match d.flag() {
            true => [classes].into(),
            false => d.shape(),
        };
        let values = d.floats(shape.len());
        (shape, values)
    };
    let mut loss = Loss::binary_cross_entropy();
    if d.flag() {
        let (shape, values) = weights(d);
        loss = loss.positive_weights(shape, values);
    }
    if d.flag() {
        let (shape, values) = weights(d);
        loss = loss.weights(shape, values);
    }
    loss
}

pub fn optimizer(d: &mut Draw) -> Optimizer {
    let rate = d.real();
    match d.below(8) {
        0 => {
            let sgd = Optimizer::sgd(rate).momentum(d.real()).dampening(d.real());
            sgd.nesterov(d.flag()).weight_decay(d.real()).into()
        }
        1 => {
            let adam = Optimizer::adam(rate).betas([d.real(), d.real()]);
            let adam = adam.epsilon(d.real()).weight_decay(d.real());
            adam.amsgrad(d.flag()).into()
        }
        2 => Optimizer::adamw(rate).into(),
        3 => {
            let adagrad = Optimizer::adagrad(rate).learning_rate_decay(d.real());
            let adagrad = adagrad.weight_decay(d.real()).epsilon(d.real());
            adagrad.initial_accumulator(d.real()).into()
        }
        4 => {
            let adadelta = Optimizer::adadelta(rate).rho(d.real());
            adadelta.epsilon(d.real()).weight_decay(d.real()).into()
        }
        5 => {
            let nadam = Optimizer::nadam(rate).betas([d.real(), d.real()]);
            let nadam = nadam.epsilon(d.real()).weight_decay(d.real());
            nadam.momentum_decay(d.real()).decoupled(d.flag()).into()
        }
        6 => {
            let lion = Optimizer::lion(rate).betas([d.real(), d.real()]);
            lion.weight_decay(d.real()).into()
        }
        _ => {
            let rms = Optimizer::rmsprop(rate).alpha(d.real()).epsilon(d.real());
            let rms = rms.momentum(d.real()).centered(d.flag());
            rms.weight_decay(d.real()).into()
        }
    }
}

pub fn average(d: &mut Draw) -> Average {
    let average = match d.flag() {
        true => Average::ema(d.real()),
        false => Average::equal(),
    };
    match d.flag() {
        true => average.after(d.number() as u64),
        false => average,
    }
}

/// The shape of a batch of examples.
pub fn batched(d: &mut Draw, example: &Shape) -> Shape {
    example.batched(d.number())
}
