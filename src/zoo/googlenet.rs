//! GoogLeNet: blocks of four branches side by side.

use super::Options;
use super::blocks::{classifier, conv, unit};
use crate::op::{Activation, AdaptiveAvgPool2d, Concat, Flatten, Linear, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

/// Channels of a block: of the first branch, of the two layers of the second and the third, and of the last.
type Channels = [usize; 6];

pub(super) fn googlenet(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let pool = |kernel| MaxPool2d::new(kernel).stride(2).ceil_mode(true);
    let y = unit(net, "conv1", conv(64, 7).stride(2), x)?;
    let y = net.apply(pool(3), [y])?;
    let y = unit(net, "conv2", conv(64, 1), y)?;
    let y = unit(net, "conv3", conv(192, 3), y)?;
    let y = net.apply(pool(3), [y])?;
    let y = block(net, "inception3a", [64, 96, 128, 16, 32, 32], y)?;
    let y = block(net, "inception3b", [128, 128, 192, 32, 96, 64], y)?;
    let y = net.apply(pool(3), [y])?;
    let first = block(net, "inception4a", [192, 96, 208, 16, 48, 64], y)?;
    let y = block(net, "inception4b", [160, 112, 224, 24, 64, 64], first)?;
    let y = block(net, "inception4c", [128, 128, 256, 24, 64, 64], y)?;
    let second = block(net, "inception4d", [112, 144, 288, 32, 64, 64], y)?;
    let y = block(net, "inception4e", [256, 160, 320, 32, 128, 128], second)?;
    let y = net.apply(pool(2), [y])?;
    let y = block(net, "inception5a", [256, 160, 320, 32, 128, 128], y)?;
    let y = block(net, "inception5b", [384, 192, 384, 48, 128, 128], y)?;
    let mut heads = Vec::new();
    if options.auxiliary {
        for (name, value) in [("aux1", first), ("aux2", second)] {
            heads.push(net.scope(name, |net| auxiliary(net, value, options))?);
        }
    }
    let dropout = Some(options.dropout(0.2));
    let y = classifier(net, "fc", dropout, options.classes, y)?;
    Ok([vec![y], heads].concat())
}

fn block(net: &mut GraphBuilder, name: &str, channels: Channels, x: Value) -> Result<Value> {
    let [ones, before_threes, threes, before_fives, fives, pooled] = channels;
    net.scope(name, |net| {
        let first = unit(net, "branch1", conv(ones, 1), x)?;
        let second = unit(net, "branch2.0", conv(before_threes, 1), x)?;
        let second = unit(net, "branch2.1", conv(threes, 3), second)?;
        // 5x5 in the paper, 3x3 in torchvision and so in its weights.
        let third = unit(net, "branch3.0", conv(before_fives, 1), x)?;
        let third = unit(net, "branch3.1", conv(fives, 3), third)?;
        let last = net.apply(MaxPool2d::new(3).stride(1).padding(1).ceil_mode(true), [x])?;
        let last = unit(net, "branch4.1", conv(pooled, 1), last)?;
        net.apply(Concat, [first, second, third, last])
    })
}

/// A classifier that helps the layers below it to learn.
fn auxiliary(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Value> {
    let y = net.apply(AdaptiveAvgPool2d::new(4), [x])?;
    let y = unit(net, "conv", conv(128, 1), y)?;
    let y = net.apply(Flatten, [y])?;
    let y = net.add("fc1", Linear::new(1024), [y])?;
    let y = net.apply(Activation::Relu, [y])?;
    let y = net.apply(options.dropout(0.7), [y])?;
    net.add("fc2", Linear::new(options.classes), [y])
}
