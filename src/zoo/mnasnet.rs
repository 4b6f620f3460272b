//! MNASNet-B1: found by a search for what is fast on a phone.

use super::Options;
use super::blocks::{conv, divisible};
use crate::op::{Add, BatchNorm, Flatten, GlobalPool};
use crate::{GraphBuilder, ModelBuilder, Result, Value};

/// Kernel, stride, expansion and depth of each stage.
const STAGES: [[usize; 4]; 6] = [
    [3, 2, 3, 3],
    [5, 2, 3, 3],
    [5, 2, 6, 3],
    [3, 1, 6, 2],
    [5, 2, 6, 4],
    [3, 1, 6, 1],
];

/// The network with all channels times `width`, but for those of the last layer.
pub(super) fn mnasnet(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    width: f64,
) -> Result<Vec<Value>> {
    let channels = [32, 16, 24, 40, 80, 96, 192, 320];
    let channels = channels.map(|channels| divisible(f64::from(channels) * width, 8));
    // In front of the stages a convolution and a block without expansion, which share their chain.
    let mut y = net.chain("layers", x, |layers| {
        let layers = layers.push(conv(channels[0], 3).stride(2));
        let layers = layers.push(norm()).relu();
        depthwise(layers, channels[0], channels[1], 3, 1)
    })?;
    for (at, [kernel, stride, expansion, depth]) in STAGES.into_iter().enumerate() {
        for block in 0..depth {
            let stride = if block == 0 { stride } else { 1 };
            let name = format!("layers.{}.{block}.layers", 8 + at);
            y = inverted(net, &name, y, [kernel, stride, expansion, channels[2 + at]])?;
        }
    }
    y = net.scope("layers", |net| {
        let y = net.add("14", conv(1280, 1), [y])?;
        let y = net.add("15", norm(), [y])?;
        net.add("16", crate::Activation::Relu, [y])
    })?;
    let y = net.apply(GlobalPool::Average, [y])?;
    let y = net.apply(Flatten, [y])?;
    let y = net.chain("classifier", y, |classifier| {
        classifier.push(options.dropout(0.2)).dense(options.classes)
    })?;
    Ok(vec![y])
}

/// Its batch norm, whose momentum is meant for TensorFlow.
fn norm() -> BatchNorm {
    BatchNorm::new().momentum(1.0 - 0.9997)
}

/// A block that expands the channels, convolves each by itself, and projects them; with a residual connection
/// where the shape stays.
fn inverted(
    net: &mut GraphBuilder,
    name: &str,
    x: Value,
    [kernel, stride, expansion, out]: [usize; 4],
) -> Result<Value> {
    let channels = net.shape(x)?[0];
    let y = net.chain(name, x, |layers| {
        let expanded = channels * expansion;
        let layers = layers.push(conv(expanded, 1)).push(norm()).relu();
        depthwise(layers, expanded, out, kernel, stride)
    })?;
    match stride == 1 && channels == out {
        true => net.apply(Add, [y, x]),
        false => Ok(y),
    }
}

fn depthwise(
    layers: ModelBuilder,
    channels: usize,
    out: usize,
    kernel: usize,
    stride: usize,
) -> ModelBuilder {
    let layer = conv(channels, kernel).stride(stride).groups(channels);
    let layers = layers.push(layer).push(norm()).relu();
    layers.push(conv(out, 1)).push(norm())
}
