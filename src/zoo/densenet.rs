//! DenseNet: every layer of a block sees what all layers before it have made.

use super::Options;
use super::blocks::{classifier, conv, conv_norm_relu};
use crate::op::{Activation, AvgPool2d, BatchNorm, Concat, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

/// Four blocks of `depths` layers, each of which adds `growth` channels; between them the channels are halved.
pub(super) fn densenet(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    first: usize,
    growth: usize,
    depths: [usize; 4],
) -> Result<Vec<Value>> {
    let y = net.scope("features", |net| {
        let y = conv_norm_relu(net, ["conv0", "norm0"], conv(first, 7).stride(2), x)?;
        let mut y = net.apply(MaxPool2d::new(3).stride(2).padding(1), [y])?;
        for (block, depth) in (1..).zip(depths) {
            for layer in 1..=depth {
                let name = format!("denseblock{block}.denselayer{layer}");
                let new = net.scope(&name, |net| {
                    let y = norm_relu_conv(net, ["norm1", "conv1"], 4 * growth, 1, y)?;
                    norm_relu_conv(net, ["norm2", "conv2"], growth, 3, y)
                })?;
                y = net.apply(Concat, [y, new])?;
            }
            if block < depths.len() {
                y = net.scope(&format!("transition{block}"), |net| {
                    let half = net.shape(y)?[0] / 2;
                    let y = norm_relu_conv(net, ["norm", "conv"], half, 1, y)?;
                    net.apply(AvgPool2d::new(2), [y])
                })?;
            }
        }
        let y = net.add("norm5", BatchNorm::new(), [y])?;
        net.apply(Activation::Relu, [y])
    })?;
    Ok(vec![classifier(
        net,
        "classifier",
        None,
        options.classes,
        y,
    )?])
}

fn norm_relu_conv(
    net: &mut GraphBuilder,
    names: [&str; 2],
    channels: usize,
    kernel: usize,
    x: Value,
) -> Result<Value> {
    let y = net.add(names[0], BatchNorm::new(), [x])?;
    let y = net.apply(Activation::Relu, [y])?;
    net.add(names[1], conv(channels, kernel), [y])
}
