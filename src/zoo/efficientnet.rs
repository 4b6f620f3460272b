//! EfficientNet and EfficientNetV2: blocks like those of MobileNet v3, of several sizes by one rule.

use super::Options;
use super::blocks::{Unit, conv, divisible, squeeze_excitation};
use crate::op::{Activation, Add, BatchNorm, Flatten, GlobalPool};
use crate::{GraphBuilder, Result, Value};

/// A stage: whether its blocks are fused, that is, expand with the filter itself and without squeeze and
/// excitation; expansion, kernel, stride of its first block, channels, and blocks.
type Stage = (bool, usize, usize, usize, usize, usize);

/// What the networks of the family differ in.
#[derive(Debug, Clone, Copy)]
struct EfficientNet<'a> {
    first: usize,
    stages: &'a [Stage],
    last: usize,
    norm: BatchNorm,
    dropout: f64,
}

/// EfficientNet-B0 with `width` times as many channels and `depth` times as many blocks.
pub(super) fn b(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    width: f64,
    depth: f64,
    dropout: f64,
) -> Result<Vec<Value>> {
    let channels = |channels: usize| divisible(channels as f64 * width, 8);
    let stages = [
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ];
    let stages = stages.map(|(expansion, kernel, stride, out, blocks)| {
        let blocks = (f64::from(blocks) * depth).ceil() as usize;
        (false, expansion, kernel, stride, channels(out), blocks)
    });
    // From B5 on it is that of TensorFlow.
    let norm = match width >= 1.6 {
        true => BatchNorm::new().epsilon(0.001).momentum(0.01),
        false => BatchNorm::new(),
    };
    let network = EfficientNet {
        first: channels(32),
        stages: &stages,
        last: 4 * channels(320),
        norm,
        dropout,
    };
    network.classifier(net, x, options)
}

/// EfficientNetV2.
fn v2(first: usize, stages: &[Stage], dropout: f64) -> EfficientNet<'_> {
    EfficientNet {
        first,
        stages,
        last: 1280,
        norm: BatchNorm::new().epsilon(0.001),
        dropout,
    }
}

pub(super) fn v2_s(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let stages = [
        (true, 1, 3, 1, 24, 2),
        (true, 4, 3, 2, 48, 4),
        (true, 4, 3, 2, 64, 4),
        (false, 4, 3, 2, 128, 6),
        (false, 6, 3, 1, 160, 9),
        (false, 6, 3, 2, 256, 15),
    ];
    v2(24, &stages, 0.2).classifier(net, x, options)
}

pub(super) fn v2_m(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let stages = [
        (true, 1, 3, 1, 24, 3),
        (true, 4, 3, 2, 48, 5),
        (true, 4, 3, 2, 80, 5),
        (false, 4, 3, 2, 160, 7),
        (false, 6, 3, 1, 176, 14),
        (false, 6, 3, 2, 304, 18),
        (false, 6, 3, 1, 512, 5),
    ];
    v2(24, &stages, 0.3).classifier(net, x, options)
}

pub(super) fn v2_l(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let stages = [
        (true, 1, 3, 1, 32, 4),
        (true, 4, 3, 2, 64, 7),
        (true, 4, 3, 2, 96, 7),
        (false, 4, 3, 2, 192, 10),
        (false, 6, 3, 1, 224, 19),
        (false, 6, 3, 2, 384, 25),
        (false, 6, 3, 1, 640, 7),
    ];
    v2(32, &stages, 0.4).classifier(net, x, options)
}

impl EfficientNet<'_> {
    fn classifier(
        &self,
        net: &mut GraphBuilder,
        x: Value,
        options: &Options,
    ) -> Result<Vec<Value>> {
        let unit = Unit::new(Activation::Silu).norm(self.norm);
        let mut y = unit.add(net, "features.0", conv(self.first, 3).stride(2), x)?;
        let blocks = self.stages.iter().map(|stage| stage.5).sum();
        let mut before = 0;
        for (at, stage) in (1..).zip(self.stages) {
            for block in 0..stage.5 {
                let name = format!("features.{at}.{block}.block");
                let stride = if block == 0 { stage.3 } else { 1 };
                let body = net.scope(&name, |net| match stage.0 {
                    true => fused(net, unit, y, stage, stride),
                    false => inverted(net, unit, y, stage, stride),
                })?;
                y = match stride == 1 && net.shape(y)? == net.shape(body)? {
                    true => {
                        let depth = options.stochastic_depth(0.2, before, blocks);
                        let body = net.apply(depth, [body])?;
                        net.apply(Add, [body, y])?
                    }
                    false => body,
                };
                before += 1;
            }
        }
        let name = format!("features.{}", self.stages.len() + 1);
        let y = unit.add(net, &name, conv(self.last, 1), y)?;
        let y = net.apply(GlobalPool::Average, [y])?;
        let y = net.apply(Flatten, [y])?;
        let y = net.chain("classifier", y, |classifier| {
            let dropout = options.dropout(self.dropout);
            classifier.push(dropout).dense(options.classes)
        })?;
        Ok(vec![y])
    }
}

/// Expands the channels, convolves each by itself, weighs them by squeeze and excitation, and projects them.
fn inverted(
    net: &mut GraphBuilder,
    unit: Unit,
    x: Value,
    &(_, expansion, kernel, _, out, _): &Stage,
    stride: usize,
) -> Result<Value> {
    let channels = net.shape(x)?[0];
    let expanded = channels * expansion;
    let first = usize::from(expansion != 1);
    let mut y = x;
    if expansion != 1 {
        y = unit.add(net, "0", conv(expanded, 1), y)?;
    }
    let names = [0, 1, 2].map(|at| (first + at).to_string());
    let depthwise = conv(expanded, kernel).stride(stride).groups(expanded);
    y = unit.add(net, &names[0], depthwise, y)?;
    let activations = [Activation::Silu, Activation::Sigmoid];
    y = squeeze_excitation(net, &names[1], (channels / 4).max(1), activations, y)?;
    unit.linear().add(net, &names[2], conv(out, 1), y)
}

/// Expands the channels with the filter itself, and projects them.
fn fused(
    net: &mut GraphBuilder,
    unit: Unit,
    x: Value,
    &(_, expansion, kernel, _, out, _): &Stage,
    stride: usize,
) -> Result<Value> {
    let channels = net.shape(x)?[0];
    if expansion == 1 {
        return unit.add(net, "0", conv(out, kernel).stride(stride), x);
    }
    let wide = conv(channels * expansion, kernel).stride(stride);
    let y = unit.add(net, "0", wide, x)?;
    unit.linear().add(net, "1", conv(out, 1), y)
}
