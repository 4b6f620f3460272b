//! SqueezeNet: blocks that squeeze the channels before they expand them.

use super::Options;
use crate::op::{Activation, Concat, Conv2d, Flatten, GlobalPool, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

/// What comes one after the other in `features`.
enum Part {
    Pool,
    /// A block that squeezes to the first number of channels, and expands to twice the second.
    Fire(usize, usize),
}
use Part::{Fire, Pool};

pub(super) fn squeezenet1_0(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let parts = [
        Pool,
        Fire(16, 64),
        Fire(16, 64),
        Fire(32, 128),
        Pool,
        Fire(32, 128),
        Fire(48, 192),
        Fire(48, 192),
        Fire(64, 256),
        Pool,
        Fire(64, 256),
    ];
    squeezenet(net, x, options, Conv2d::new(96, 7).stride(2), &parts)
}

pub(super) fn squeezenet1_1(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
) -> Result<Vec<Value>> {
    let parts = [
        Pool,
        Fire(16, 64),
        Fire(16, 64),
        Pool,
        Fire(32, 128),
        Fire(32, 128),
        Pool,
        Fire(48, 192),
        Fire(48, 192),
        Fire(64, 256),
        Fire(64, 256),
    ];
    squeezenet(net, x, options, Conv2d::new(64, 3).stride(2), &parts)
}

fn squeezenet(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    first: Conv2d,
    parts: &[Part],
) -> Result<Vec<Value>> {
    let y = net.scope("features", |net| {
        let y = net.add("0", first, [x])?;
        let mut y = net.add("1", Activation::Relu, [y])?;
        for (at, part) in (2..).zip(parts) {
            let name = at.to_string();
            y = match *part {
                Pool => net.add(&name, MaxPool2d::new(3).stride(2).ceil_mode(true), [y])?,
                Fire(squeeze, expand) => net.scope(&name, |net| fire(net, y, squeeze, expand))?,
            };
        }
        Ok(y)
    })?;
    let y = net.chain("classifier", y, |classifier| {
        let dropout = options.dropout(0.5);
        classifier
            .push(dropout)
            .conv2d(options.classes, 1)
            .relu()
            .push(GlobalPool::Average)
    })?;
    Ok(vec![net.apply(Flatten, [y])?])
}

fn fire(net: &mut GraphBuilder, x: Value, squeeze: usize, expand: usize) -> Result<Value> {
    let mut layer = |name, layer: Conv2d, x| {
        let y = net.add(name, layer, [x])?;
        net.apply(Activation::Relu, [y])
    };
    let y = layer("squeeze", Conv2d::new(squeeze, 1), x)?;
    let small = layer("expand1x1", Conv2d::new(expand, 1), y)?;
    let large = layer("expand3x3", Conv2d::new(expand, 3).padding(1), y)?;
    net.apply(Concat, [small, large])
}
