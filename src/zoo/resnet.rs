//! ResNet, ResNeXt and Wide ResNet, as classifiers and, dilated, as the first part of networks that segment.

use super::Options;
use super::blocks::{classifier, conv, conv_norm, conv_norm_relu};
use crate::op::{Activation, Add, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

/// Blocks of two 3x3 convolutions, `blocks` of them in each of four stages.
pub(super) fn basic(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    blocks: [usize; 4],
) -> Result<Vec<Value>> {
    ResNet::basic(blocks).classifier(net, x, options)
}

/// Blocks of three convolutions, of which the second one is over `groups` groups of `group_width` channels in
/// the first stage.
pub(super) fn bottleneck(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    blocks: [usize; 4],
    groups: usize,
    group_width: usize,
) -> Result<Vec<Value>> {
    let network = ResNet {
        groups,
        group_width,
        ..ResNet::bottleneck(blocks)
    };
    network.classifier(net, x, options)
}

/// What the networks of the family differ in.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResNet {
    /// Blocks of each stage.
    blocks: [usize; 4],
    /// Whether a block is three convolutions, of which the second one is over fewer channels.
    bottleneck: bool,
    /// Of the 3x3 convolutions of a bottleneck, and the channels of each in the first stage.
    groups: usize,
    group_width: usize,
    /// Whether the last two stages dilate their filters in place of halving the image.
    dilated: bool,
}

impl ResNet {
    const fn basic(blocks: [usize; 4]) -> Self {
        Self {
            blocks,
            bottleneck: false,
            groups: 1,
            group_width: 64,
            dilated: false,
        }
    }

    const fn bottleneck(blocks: [usize; 4]) -> Self {
        Self {
            bottleneck: true,
            ..Self::basic(blocks)
        }
    }

    /// That of networks that segment.
    pub const fn dilated(blocks: [usize; 4]) -> Self {
        Self {
            dilated: true,
            ..Self::bottleneck(blocks)
        }
    }

    fn classifier(
        &self,
        net: &mut GraphBuilder,
        x: Value,
        options: &Options,
    ) -> Result<Vec<Value>> {
        let [.., y] = self.stages(net, x)?;
        Ok(vec![classifier(net, "fc", None, options.classes, y)?])
    }

    /// What each of the four stages gives.
    pub fn stages(&self, net: &mut GraphBuilder, x: Value) -> Result<[Value; 4]> {
        let y = conv_norm_relu(net, ["conv1", "bn1"], conv(64, 7).stride(2), x)?;
        let mut y = net.apply(MaxPool2d::new(3).stride(2).padding(1), [y])?;
        let (mut values, mut dilation) = ([y; 4], 1);
        for (stage, value) in values.iter_mut().enumerate() {
            let (channels, before) = (64 << stage, dilation);
            let mut stride = if stage == 0 { 1 } else { 2 };
            if self.dilated && stage >= 2 {
                dilation *= stride;
                stride = 1;
            }
            for block in 0..self.blocks[stage] {
                let name = format!("layer{}.{block}", stage + 1);
                y = net.scope(&name, |net| match block {
                    0 => self.block(net, y, channels, stride, before),
                    _ => self.block(net, y, channels, 1, dilation),
                })?;
            }
            *value = y;
        }
        Ok(values)
    }

    fn block(
        &self,
        net: &mut GraphBuilder,
        x: Value,
        channels: usize,
        stride: usize,
        dilation: usize,
    ) -> Result<Value> {
        let (y, out) = if self.bottleneck {
            let (width, out) = (channels * self.group_width / 64 * self.groups, channels * 4);
            let middle = conv(width, 3).padding(dilation).dilation(dilation);
            let middle = middle.stride(stride).groups(self.groups);
            let y = conv_norm_relu(net, ["conv1", "bn1"], conv(width, 1), x)?;
            let y = conv_norm_relu(net, ["conv2", "bn2"], middle, y)?;
            (conv_norm(net, ["conv3", "bn3"], conv(out, 1), y)?, out)
        } else {
            let first = conv(channels, 3).stride(stride);
            let y = conv_norm_relu(net, ["conv1", "bn1"], first, x)?;
            let y = conv_norm(net, ["conv2", "bn2"], conv(channels, 3), y)?;
            (y, channels)
        };
        let shortcut = match stride != 1 || net.shape(x)?[0] != out {
            true => {
                let names = ["downsample.0", "downsample.1"];
                conv_norm(net, names, conv(out, 1).stride(stride), x)?
            }
            false => x,
        };
        let y = net.apply(Add, [y, shortcut])?;
        net.apply(Activation::Relu, [y])
    }
}
