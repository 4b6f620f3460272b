//! Inception v3: filters taken apart into smaller ones.

use super::Options;
use super::blocks::{classifier, conv, unit};
use crate::op::{AvgPool2d, Concat, Conv2d, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

pub(super) fn inception_v3(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let y = unit(net, "Conv2d_1a_3x3", valid(32, 3).stride(2), x)?;
    let y = unit(net, "Conv2d_2a_3x3", valid(32, 3), y)?;
    let y = unit(net, "Conv2d_2b_3x3", conv(64, 3), y)?;
    let y = net.apply(MaxPool2d::new(3).stride(2), [y])?;
    let y = unit(net, "Conv2d_3b_1x1", conv(80, 1), y)?;
    let y = unit(net, "Conv2d_4a_3x3", valid(192, 3), y)?;
    let mut y = net.apply(MaxPool2d::new(3).stride(2), [y])?;
    for (name, pooled) in [("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)] {
        y = net.scope(name, |net| block_a(net, y, pooled))?;
    }
    y = net.scope("Mixed_6a", |net| block_b(net, y))?;
    for (name, channels) in [
        ("Mixed_6b", 128),
        ("Mixed_6c", 160),
        ("Mixed_6d", 160),
        ("Mixed_6e", 192),
    ] {
        y = net.scope(name, |net| block_c(net, y, channels))?;
    }
    let mut heads = Vec::new();
    if options.auxiliary {
        heads.push(net.scope("AuxLogits", |net| {
            let y = net.apply(AvgPool2d::new(5).stride(3), [y])?;
            let y = unit(net, "conv0", conv(128, 1), y)?;
            let y = unit(net, "conv1", valid(768, 5), y)?;
            classifier(net, "fc", None, options.classes, y)
        })?);
    }
    y = net.scope("Mixed_7a", |net| block_d(net, y))?;
    for name in ["Mixed_7b", "Mixed_7c"] {
        y = net.scope(name, |net| block_e(net, y))?;
    }
    let dropout = Some(options.dropout(0.5));
    let y = classifier(net, "fc", dropout, options.classes, y)?;
    Ok([vec![y], heads].concat())
}

/// A convolution without padding.
fn valid(out_channels: usize, kernel: usize) -> Conv2d {
    Conv2d::new(out_channels, kernel).bias(false)
}

/// A convolution with a filter of one row, or of one column, that keeps the size of an image.
fn row(out_channels: usize, width: usize) -> Conv2d {
    let layer = Conv2d::new(out_channels, [1, width]).padding([0, width / 2]);
    layer.bias(false)
}

fn column(out_channels: usize, height: usize) -> Conv2d {
    let layer = Conv2d::new(out_channels, [height, 1]).padding([height / 2, 0]);
    layer.bias(false)
}

/// Layers one after the other, by name.
fn branch<const N: usize>(
    net: &mut GraphBuilder,
    x: Value,
    layers: [(&str, Conv2d); N],
) -> Result<Value> {
    let mut layers = layers.into_iter();
    layers.try_fold(x, |y, (name, layer)| unit(net, name, layer, y))
}

/// The mean over 3x3 positions, and a 1x1 convolution.
fn pooled(net: &mut GraphBuilder, x: Value, channels: usize) -> Result<Value> {
    let y = net.apply(AvgPool2d::new(3).stride(1).padding(1), [x])?;
    unit(net, "branch_pool", conv(channels, 1), y)
}

fn block_a(net: &mut GraphBuilder, x: Value, channels: usize) -> Result<Value> {
    let ones = branch(net, x, [("branch1x1", conv(64, 1))])?;
    let fives = [("branch5x5_1", conv(48, 1)), ("branch5x5_2", conv(64, 5))];
    let fives = branch(net, x, fives)?;
    let threes = [
        ("branch3x3dbl_1", conv(64, 1)),
        ("branch3x3dbl_2", conv(96, 3)),
        ("branch3x3dbl_3", conv(96, 3)),
    ];
    let threes = branch(net, x, threes)?;
    let pooled = pooled(net, x, channels)?;
    net.apply(Concat, [ones, fives, threes, pooled])
}

/// Halves the image.
fn block_b(net: &mut GraphBuilder, x: Value) -> Result<Value> {
    let single = branch(net, x, [("branch3x3", valid(384, 3).stride(2))])?;
    let double = [
        ("branch3x3dbl_1", conv(64, 1)),
        ("branch3x3dbl_2", conv(96, 3)),
        ("branch3x3dbl_3", valid(96, 3).stride(2)),
    ];
    let double = branch(net, x, double)?;
    let pooled = net.apply(MaxPool2d::new(3).stride(2), [x])?;
    net.apply(Concat, [single, double, pooled])
}

fn block_c(net: &mut GraphBuilder, x: Value, channels: usize) -> Result<Value> {
    let ones = branch(net, x, [("branch1x1", conv(192, 1))])?;
    let single = [
        ("branch7x7_1", conv(channels, 1)),
        ("branch7x7_2", row(channels, 7)),
        ("branch7x7_3", column(192, 7)),
    ];
    let single = branch(net, x, single)?;
    let double = [
        ("branch7x7dbl_1", conv(channels, 1)),
        ("branch7x7dbl_2", column(channels, 7)),
        ("branch7x7dbl_3", row(channels, 7)),
        ("branch7x7dbl_4", column(channels, 7)),
        ("branch7x7dbl_5", row(192, 7)),
    ];
    let double = branch(net, x, double)?;
    let pooled = pooled(net, x, 192)?;
    net.apply(Concat, [ones, single, double, pooled])
}

/// Halves the image.
fn block_d(net: &mut GraphBuilder, x: Value) -> Result<Value> {
    let threes = [
        ("branch3x3_1", conv(192, 1)),
        ("branch3x3_2", valid(320, 3).stride(2)),
    ];
    let threes = branch(net, x, threes)?;
    let sevens = [
        ("branch7x7x3_1", conv(192, 1)),
        ("branch7x7x3_2", row(192, 7)),
        ("branch7x7x3_3", column(192, 7)),
        ("branch7x7x3_4", valid(192, 3).stride(2)),
    ];
    let sevens = branch(net, x, sevens)?;
    let pooled = net.apply(MaxPool2d::new(3).stride(2), [x])?;
    net.apply(Concat, [threes, sevens, pooled])
}

fn block_e(net: &mut GraphBuilder, x: Value) -> Result<Value> {
    let ones = branch(net, x, [("branch1x1", conv(320, 1))])?;
    let y = branch(net, x, [("branch3x3_1", conv(384, 1))])?;
    let single = [
        unit(net, "branch3x3_2a", row(384, 3), y)?,
        unit(net, "branch3x3_2b", column(384, 3), y)?,
    ];
    let single = net.apply(Concat, single)?;
    let double = [
        ("branch3x3dbl_1", conv(448, 1)),
        ("branch3x3dbl_2", conv(384, 3)),
    ];
    let y = branch(net, x, double)?;
    let double = [
        unit(net, "branch3x3dbl_3a", row(384, 3), y)?,
        unit(net, "branch3x3dbl_3b", column(384, 3), y)?,
    ];
    let double = net.apply(Concat, double)?;
    let pooled = pooled(net, x, 192)?;
    net.apply(Concat, [ones, single, double, pooled])
}
