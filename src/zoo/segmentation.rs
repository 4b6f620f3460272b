//! Networks that give classes for each pixel: FCN, DeepLab v3 and LR-ASPP.

use super::Options;
use super::blocks::{conv, conv_norm_relu};
use super::mobilenet_v3::{LARGE, features};
use super::resnet::ResNet;
use crate::op::{Activation, Add, Concat, Conv2d, GlobalPool, Mul, Upsample2d};
use crate::{GraphBuilder, Result, Value};

/// The block of the large MobileNet v3 after which an image has an eighth of its size.
const EIGHTH: usize = 4;

pub(super) fn fcn(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    blocks: [usize; 4],
) -> Result<Vec<Value>> {
    let backbone = ResNet::dilated(blocks);
    let [.., third, last] = net.scope("backbone", |net| backbone.stages(net, x))?;
    let y = net.scope("classifier", |net| fcn_head(net, last, options))?;
    outputs(net, x, y, third, options)
}

pub(super) fn deeplab_resnet(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    blocks: [usize; 4],
) -> Result<Vec<Value>> {
    let backbone = ResNet::dilated(blocks);
    let [.., third, last] = net.scope("backbone", |net| backbone.stages(net, x))?;
    let y = net.scope("classifier", |net| deeplab_head(net, last, options))?;
    outputs(net, x, y, third, options)
}

pub(super) fn deeplab_mobilenet(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let values = net.scope("backbone", |net| features(net, x, LARGE, true))?;
    let last = values[values.len() - 1];
    let y = net.scope("classifier", |net| deeplab_head(net, last, options))?;
    outputs(net, x, y, values[EIGHTH], options)
}

pub(super) fn lraspp(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let values = net.scope("backbone", |net| features(net, x, LARGE, true))?;
    let (low, high) = (values[EIGHTH], values[values.len() - 1]);
    let y = net.scope("classifier", |net| {
        let y = conv_norm_relu(net, ["cbr.0", "cbr.1"], conv(128, 1), high)?;
        let gate = net.apply(GlobalPool::Average, [high])?;
        let gate = net.add("scale.1", conv(128, 1), [gate])?;
        let gate = net.apply(Activation::Sigmoid, [gate])?;
        let y = net.apply(Mul, [y, gate])?;
        let y = resized(net, "upsampled", y, low)?;
        let low = net.add("low_classifier", Conv2d::new(options.classes, 1), [low])?;
        let high = net.add("high_classifier", Conv2d::new(options.classes, 1), [y])?;
        net.apply(Add, [low, high])
    })?;
    Ok(vec![resized(net, "out", y, x)?])
}

/// The classes of each pixel of `x`, and what an auxiliary classifier says of `auxiliary`.
fn outputs(
    net: &mut GraphBuilder,
    x: Value,
    y: Value,
    auxiliary: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let mut outputs = vec![resized(net, "out", y, x)?];
    if options.auxiliary {
        let y = net.scope("aux_classifier", |net| fcn_head(net, auxiliary, options))?;
        outputs.push(resized(net, "aux", y, x)?);
    }
    Ok(outputs)
}

/// The value in the size of another.
fn resized(net: &mut GraphBuilder, name: &str, y: Value, like: Value) -> Result<Value> {
    let [height, width] = [1, 2].map(|axis| net.shape(like).map(|shape| shape[axis]));
    net.add(name, Upsample2d::bilinear().size([height?, width?]), [y])
}

/// Two convolutions.
fn fcn_head(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Value> {
    let channels = net.shape(x)?[0] / 4;
    let y = conv_norm_relu(net, ["0", "1"], conv(channels, 3), x)?;
    let y = net.apply(options.dropout(0.1), [y])?;
    net.add("4", Conv2d::new(options.classes, 1), [y])
}

/// Filters of several dilations and the mean of the image, side by side.
fn deeplab_head(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Value> {
    let y = net.scope("0", |net| {
        let mut branches = vec![conv_norm_relu(
            net,
            ["convs.0.0", "convs.0.1"],
            conv(256, 1),
            x,
        )?];
        for (at, rate) in (1..).zip([12, 24, 36]) {
            let names = [0, 1].map(|layer| format!("convs.{at}.{layer}"));
            let layer = conv(256, 3).dilation(rate).padding(rate);
            branches.push(conv_norm_relu(net, [&names[0], &names[1]], layer, x)?);
        }
        let mean = net.apply(GlobalPool::Average, [x])?;
        let mean = conv_norm_relu(net, ["convs.4.1", "convs.4.2"], conv(256, 1), mean)?;
        branches.push(resized(net, "convs.4", mean, x)?);
        let y = net.apply(Concat, branches)?;
        let y = conv_norm_relu(net, ["project.0", "project.1"], conv(256, 1), y)?;
        net.apply(options.dropout(0.5), [y])
    })?;
    let y = conv_norm_relu(net, ["1", "2"], conv(256, 3), y)?;
    net.add("4", Conv2d::new(options.classes, 1), [y])
}
