//! MobileNet v3, as a classifier and, dilated, as the first part of networks that segment.

use super::Options;
use super::blocks::{Unit, conv, divisible, squeeze_excitation};
use crate::op::{Activation, Add, BatchNorm, Flatten, GlobalPool};
use crate::{GraphBuilder, Result, Value};

use Activation::{HardSwish, Relu};

/// A block.
#[derive(Debug, Clone, Copy)]
struct Block {
    kernel: usize,
    expanded: usize,
    out: usize,
    /// Whether it has squeeze and excitation.
    squeeze: bool,
    activation: Activation,
    stride: usize,
}

const fn block(
    kernel: usize,
    expanded: usize,
    out: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
) -> Block {
    Block {
        kernel,
        expanded,
        out,
        squeeze,
        activation,
        stride,
    }
}

/// One of the two networks: its blocks, and the channels of its last hidden layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct MobileNet {
    blocks: &'static [Block],
    last: usize,
}

pub(super) const LARGE: MobileNet = MobileNet {
    blocks: &[
        block(3, 16, 16, false, Relu, 1),
        block(3, 64, 24, false, Relu, 2),
        block(3, 72, 24, false, Relu, 1),
        block(5, 72, 40, true, Relu, 2),
        block(5, 120, 40, true, Relu, 1),
        block(5, 120, 40, true, Relu, 1),
        block(3, 240, 80, false, HardSwish, 2),
        block(3, 200, 80, false, HardSwish, 1),
        block(3, 184, 80, false, HardSwish, 1),
        block(3, 184, 80, false, HardSwish, 1),
        block(3, 480, 112, true, HardSwish, 1),
        block(3, 672, 112, true, HardSwish, 1),
        block(5, 672, 160, true, HardSwish, 2),
        block(5, 960, 160, true, HardSwish, 1),
        block(5, 960, 160, true, HardSwish, 1),
    ],
    last: 1280,
};

const SMALL: MobileNet = MobileNet {
    blocks: &[
        block(3, 16, 16, true, Relu, 2),
        block(3, 72, 24, false, Relu, 2),
        block(3, 88, 24, false, Relu, 1),
        block(5, 96, 40, true, HardSwish, 2),
        block(5, 240, 40, true, HardSwish, 1),
        block(5, 240, 40, true, HardSwish, 1),
        block(5, 120, 48, true, HardSwish, 1),
        block(5, 144, 48, true, HardSwish, 1),
        block(5, 288, 96, true, HardSwish, 2),
        block(5, 576, 96, true, HardSwish, 1),
        block(5, 576, 96, true, HardSwish, 1),
    ],
    last: 1024,
};

/// Blocks of the large network from here on are dilated in networks that segment.
const DILATED_FROM: usize = 12;

/// A convolution with this batch norm and activation.
fn unit(activation: Activation) -> Unit {
    Unit::new(activation).norm(BatchNorm::new().epsilon(0.001).momentum(0.01))
}

pub(super) fn large(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    classifier(net, x, options, LARGE)
}

pub(super) fn small(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    classifier(net, x, options, SMALL)
}

fn classifier(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    network: MobileNet,
) -> Result<Vec<Value>> {
    let values = net.scope("features", |net| features(net, x, network, false))?;
    let y = net.apply(GlobalPool::Average, [values[values.len() - 1]])?;
    let y = net.apply(Flatten, [y])?;
    let y = net.chain("classifier", y, |classifier| {
        let hidden = classifier.dense(network.last).push(HardSwish);
        hidden.push(options.dropout(0.2)).dense(options.classes)
    })?;
    Ok(vec![y])
}

/// What each layer of the network before its classifier gives.
pub(super) fn features(
    net: &mut GraphBuilder,
    x: Value,
    network: MobileNet,
    dilated: bool,
) -> Result<Vec<Value>> {
    let mut y = unit(HardSwish).add(net, "0", conv(16, 3).stride(2), x)?;
    let mut values = vec![y];
    for (at, &block) in network.blocks.iter().enumerate() {
        let dilation = if dilated && at >= DILATED_FROM { 2 } else { 1 };
        let name = (at + 1).to_string();
        y = net.scope(&name, |net| inverted(net, y, block, dilation))?;
        values.push(y);
    }
    let (name, channels) = ((network.blocks.len() + 1).to_string(), net.shape(y)?[0]);
    values.push(unit(HardSwish).add(net, &name, conv(6 * channels, 1), y)?);
    Ok(values)
}

fn inverted(net: &mut GraphBuilder, x: Value, block: Block, dilation: usize) -> Result<Value> {
    let Block {
        kernel,
        expanded,
        out,
        squeeze,
        activation,
        stride,
    } = block;
    let (unit, channels) = (unit(activation), net.shape(x)?[0]);
    let (mut y, mut at) = (x, 0);
    let mut name = || {
        at += 1;
        format!("block.{}", at - 1)
    };
    if expanded != channels {
        y = unit.add(net, &name(), conv(expanded, 1), y)?;
    }
    let depthwise = conv(expanded, kernel).groups(expanded);
    let depthwise = match dilation {
        1 => depthwise.stride(stride),
        _ => depthwise.dilation(dilation).padding(kernel / 2 * dilation),
    };
    y = unit.add(net, &name(), depthwise, y)?;
    if squeeze {
        let width = divisible((expanded / 4) as f64, 8);
        y = squeeze_excitation(net, &name(), width, [Relu, Activation::HardSigmoid], y)?;
    }
    y = unit.linear().add(net, &name(), conv(out, 1), y)?;
    match stride == 1 && channels == out {
        true => net.apply(Add, [y, x]),
        false => Ok(y),
    }
}
