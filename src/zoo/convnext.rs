//! ConvNeXt: what vision transformers have taught about convolutions.

use super::Options;
use crate::op::{
    Activation, Add, Conv2d, Flatten, GlobalPool, Init, LayerNormChannels, Linear, PointwiseLinear,
    Scale,
};
use crate::{GraphBuilder, Result, Value};

/// Stages of 3, 3, `third` and 3 blocks, each twice as wide as the one before.
pub(super) fn convnext(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    width: usize,
    third: usize,
    stochastic_depth: f64,
) -> Result<Vec<Value>> {
    let y = net.add("features.0.0", Conv2d::new(width, 4).stride(4), [x])?;
    let mut y = net.add("features.0.1", norm(), [y])?;
    let (depths, mut before) = ([3, 3, third, 3], 0);
    let last = depths.iter().sum::<usize>() - 1;
    for (stage, depth) in depths.into_iter().enumerate() {
        if stage > 0 {
            y = net.scope(&format!("features.{}", 2 * stage), |net| {
                let y = net.add("0", norm(), [y])?;
                net.add("1", Conv2d::new(width << stage, 2).stride(2), [y])
            })?;
        }
        for block in 0..depth {
            let name = format!("features.{}.{block}", 2 * stage + 1);
            let drop = options.stochastic_depth(stochastic_depth, before, last);
            y = net.scope(&name, |net| {
                let body = body(net, y, width << stage)?;
                let body = net.apply(drop, [body])?;
                net.apply(Add, [body, y])
            })?;
            before += 1;
        }
    }
    let y = net.apply(GlobalPool::Average, [y])?;
    let y = net.add("classifier.0", norm(), [y])?;
    let y = net.apply(Flatten, [y])?;
    Ok(vec![net.add(
        "classifier.2",
        Linear::new(options.classes),
        [y],
    )?])
}

/// The norm over the channels of each pixel.
fn norm() -> LayerNormChannels {
    LayerNormChannels::new().epsilon(1e-6)
}

/// A depthwise convolution, two dense layers over the channels of each pixel, and a learned factor for each
/// channel, which starts small.
fn body(net: &mut GraphBuilder, x: Value, channels: usize) -> Result<Value> {
    let depthwise = Conv2d::new(channels, 7).padding(3).groups(channels);
    let y = net.add("block.0", depthwise, [x])?;
    let y = net.add("block.2", norm(), [y])?;
    let y = net.add("block.3", PointwiseLinear::new(4 * channels), [y])?;
    let y = net.apply(Activation::Gelu, [y])?;
    let y = net.add("block.5", PointwiseLinear::new(channels), [y])?;
    let scale = Scale::new().init(Init::Constant(1e-6));
    let y = net.add("scale", scale, [y])?;
    net.rename("scale.weight", "layer_scale", [channels, 1, 1])?;
    Ok(y)
}
