//! ShuffleNet v2: half of the channels passes a block by, and all are shuffled after it.

use super::Options;
use super::blocks::{classifier, conv, conv_norm, conv_norm_relu};
use crate::op::{ChannelShuffle, Concat, MaxPool2d, Slice};
use crate::{GraphBuilder, Result, Value};

/// Three stages with these channels, and a last convolution.
pub(super) fn v2(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    channels: [usize; 3],
    last: usize,
) -> Result<Vec<Value>> {
    let y = conv_norm_relu(net, ["conv1.0", "conv1.1"], conv(24, 3).stride(2), x)?;
    let mut y = net.apply(MaxPool2d::new(3).stride(2).padding(1), [y])?;
    for ((stage, channels), blocks) in (2..).zip(channels).zip([4, 8, 4]) {
        for block in 0..blocks {
            y = net.scope(&format!("stage{stage}.{block}"), |net| match block {
                0 => halving(net, y, channels / 2),
                _ => keeping(net, y, channels / 2),
            })?;
        }
    }
    let y = conv_norm_relu(net, ["conv5.0", "conv5.1"], conv(last, 1), y)?;
    Ok(vec![classifier(net, "fc", None, options.classes, y)?])
}

/// A block that halves the image: both branches see all channels.
fn halving(net: &mut GraphBuilder, x: Value, half: usize) -> Result<Value> {
    let channels = net.shape(x)?[0];
    let depthwise = conv(channels, 3).stride(2).groups(channels);
    let y = conv_norm(net, ["branch1.0", "branch1.1"], depthwise, x)?;
    let left = conv_norm_relu(net, ["branch1.2", "branch1.3"], conv(half, 1), y)?;
    let right = branch(net, x, half, 2)?;
    shuffled(net, left, right)
}

/// A block that keeps the size.
fn keeping(net: &mut GraphBuilder, x: Value, half: usize) -> Result<Value> {
    let left = net.apply(Slice::channels(0..half), [x])?;
    let right = net.apply(Slice::channels(half..2 * half), [x])?;
    let right = branch(net, right, half, 1)?;
    shuffled(net, left, right)
}

fn branch(net: &mut GraphBuilder, x: Value, half: usize, stride: usize) -> Result<Value> {
    let depthwise = conv(half, 3).stride(stride).groups(half);
    let y = conv_norm_relu(net, ["branch2.0", "branch2.1"], conv(half, 1), x)?;
    let y = conv_norm(net, ["branch2.3", "branch2.4"], depthwise, y)?;
    conv_norm_relu(net, ["branch2.5", "branch2.6"], conv(half, 1), y)
}

fn shuffled(net: &mut GraphBuilder, left: Value, right: Value) -> Result<Value> {
    let y = net.apply(Concat, [left, right])?;
    net.apply(ChannelShuffle::new(2), [y])
}
