//! What several networks are made of.

use crate::op::{Activation, BatchNorm, Conv2d, Dropout, Flatten, GlobalPool, Linear, Mul};
use crate::{GraphBuilder, Result, Value};

/// A convolution without a bias, padded so that it keeps the size of an image at stride 1.
pub(super) fn conv(out_channels: usize, kernel: usize) -> Conv2d {
    let layer = Conv2d::new(out_channels, kernel).padding(kernel / 2);
    layer.bias(false)
}

/// A convolution and a batch norm, under these names.
pub(super) fn conv_norm(
    net: &mut GraphBuilder,
    [conv, norm]: [&str; 2],
    layer: Conv2d,
    x: Value,
) -> Result<Value> {
    let y = net.add(conv, layer, [x])?;
    net.add(norm, BatchNorm::new(), [y])
}

/// A convolution, a batch norm and a ReLU.
pub(super) fn conv_norm_relu(
    net: &mut GraphBuilder,
    names: [&str; 2],
    layer: Conv2d,
    x: Value,
) -> Result<Value> {
    let y = conv_norm(net, names, layer, x)?;
    net.apply(Activation::Relu, [y])
}

/// A convolution, a batch norm and an activation, called `<name>.0`, `<name>.1` and `<name>.2`: torchvision's
/// `Conv2dNormActivation`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub norm: BatchNorm,
    pub activation: Option<Activation>,
}

impl Unit {
    pub fn new(activation: Activation) -> Self {
        Self {
            norm: BatchNorm::new(),
            activation: Some(activation),
        }
    }

    /// The same with another batch norm.
    pub fn norm(self, norm: BatchNorm) -> Self {
        Self { norm, ..self }
    }

    /// The same without an activation.
    pub fn linear(self) -> Self {
        Self {
            activation: None,
            ..self
        }
    }

    pub fn add(self, net: &mut GraphBuilder, name: &str, layer: Conv2d, x: Value) -> Result<Value> {
        net.chain(name, x, |chain| {
            let chain = chain.push(layer).push(self.norm);
            match self.activation {
                Some(activation) => chain.push(activation),
                None => chain,
            }
        })
    }
}

/// A convolution, a batch norm and a ReLU, called `<name>.conv` and `<name>.bn`: torchvision's `BasicConv2d`.
pub(super) fn unit(net: &mut GraphBuilder, name: &str, layer: Conv2d, x: Value) -> Result<Value> {
    net.scope(name, |net| {
        let y = net.add("conv", layer, [x])?;
        let y = net.add("bn", BatchNorm::new().epsilon(0.001), [y])?;
        net.apply(Activation::Relu, [y])
    })
}

/// Squeeze and excitation (Hu et al. 2018): each channel times a number that follows from the means of all.
/// `inner` and `gate` are the activations of its two layers.
pub(super) fn squeeze_excitation(
    net: &mut GraphBuilder,
    name: &str,
    squeeze: usize,
    [inner, gate]: [Activation; 2],
    x: Value,
) -> Result<Value> {
    let channels = net.shape(x)?[0];
    net.scope(name, |net| {
        let y = net.apply(GlobalPool::Average, [x])?;
        let y = net.add("fc1", Conv2d::new(squeeze, 1), [y])?;
        let y = net.apply(inner, [y])?;
        let y = net.add("fc2", Conv2d::new(channels, 1), [y])?;
        let y = net.apply(gate, [y])?;
        net.apply(Mul, [x, y])
    })
}

/// The mean over all positions, dropout, and a dense layer of this name.
pub(super) fn classifier(
    net: &mut GraphBuilder,
    name: &str,
    dropout: Option<Dropout>,
    classes: usize,
    x: Value,
) -> Result<Value> {
    let y = net.apply(GlobalPool::Average, [x])?;
    let mut y = net.apply(Flatten, [y])?;
    if let Some(dropout) = dropout {
        y = net.apply(dropout, [y])?;
    }
    net.add(name, Linear::new(classes), [y])
}

/// The multiple of `divisor` next to a number of channels that was scaled, but not less than nine tenths of it.
pub(super) fn divisible(channels: f64, divisor: usize) -> usize {
    let step = divisor as f64;
    let nearest = ((channels + step / 2.0) / step).floor().max(1.0) as usize * divisor;
    match (nearest as f64) < 0.9 * channels {
        true => nearest + divisor,
        false => nearest,
    }
}
