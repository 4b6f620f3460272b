//! MobileNet v2: residual blocks that are narrow outside and wide inside.

use super::Options;
use super::blocks::{Unit, conv, conv_norm};
use crate::op::{Activation, Add, Flatten, GlobalPool};
use crate::{GraphBuilder, Result, Value};

/// Expansion, channels, blocks and stride of each stage.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

pub(super) fn mobilenet_v2(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let unit = Unit::new(Activation::Relu6);
    let mut y = unit.add(net, "features.0", conv(32, 3).stride(2), x)?;
    let mut at = 1;
    for [expansion, channels, blocks, stride] in STAGES {
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            let name = format!("features.{at}.conv");
            y = net.scope(&name, |net| inverted(net, y, expansion, channels, stride))?;
            at += 1;
        }
    }
    let y = unit.add(net, &format!("features.{at}"), conv(1280, 1), y)?;
    let y = net.apply(GlobalPool::Average, [y])?;
    let y = net.apply(Flatten, [y])?;
    let y = net.chain("classifier", y, |classifier| {
        classifier.push(options.dropout(0.2)).dense(options.classes)
    })?;
    Ok(vec![y])
}

fn inverted(
    net: &mut GraphBuilder,
    x: Value,
    expansion: usize,
    out: usize,
    stride: usize,
) -> Result<Value> {
    let (unit, channels) = (Unit::new(Activation::Relu6), net.shape(x)?[0]);
    let wide = channels * expansion;
    let depthwise = conv(wide, 3).stride(stride).groups(wide);
    let y = if expansion == 1 {
        let y = unit.add(net, "0", depthwise, x)?;
        conv_norm(net, ["1", "2"], conv(out, 1), y)?
    } else {
        let y = unit.add(net, "0", conv(wide, 1), x)?;
        let y = unit.add(net, "1", depthwise, y)?;
        conv_norm(net, ["2", "3"], conv(out, 1), y)?
    };
    match stride == 1 && channels == out {
        true => net.apply(Add, [x, y]),
        false => Ok(y),
    }
}
