//! U-Net: down to small images with many channels and up again, with a connection at every size.

use super::Options;
use super::blocks::{conv, conv_norm_relu};
use crate::op::{Concat, Conv2d, ConvTranspose2d, MaxPool2d, Pad2d};
use crate::{GraphBuilder, Result, Value};

/// Halvings of the image.
const LEVELS: u32 = 4;

pub(super) fn unet(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let width = |level: u32| options.width.saturating_mul(1 << level);
    let mut y = net.scope("inc.double_conv", |net| double_conv(net, x, width(0)))?;
    let mut values = Vec::new();
    for level in 1..=LEVELS {
        values.push(y);
        y = net.scope(&format!("down{level}.maxpool_conv"), |net| {
            let y = net.add("0", MaxPool2d::new(2), [y])?;
            net.scope("1.double_conv", |net| double_conv(net, y, width(level)))
        })?;
    }
    for (level, skip) in (0..LEVELS).rev().zip(values.into_iter().rev()) {
        y = net.scope(&format!("up{}", LEVELS - level), |net| {
            let layer = ConvTranspose2d::new(width(level), 2).stride(2);
            let y = net.add("up", layer, [y])?;
            let y = padded(net, y, skip)?;
            let y = net.apply(Concat, [skip, y])?;
            net.scope("conv.double_conv", |net| double_conv(net, y, width(level)))
        })?;
    }
    let y = net.add("outc.conv", Conv2d::new(options.classes, 1), [y])?;
    Ok(vec![y])
}

fn double_conv(net: &mut GraphBuilder, x: Value, channels: usize) -> Result<Value> {
    let y = conv_norm_relu(net, ["0", "1"], conv(channels, 3), x)?;
    conv_norm_relu(net, ["3", "4"], conv(channels, 3), y)
}

/// Zeros around a value that came out smaller, where halving an odd extent has lost a position.
fn padded(net: &mut GraphBuilder, y: Value, like: Value) -> Result<Value> {
    let extents = |value| net.shape(value).map(|shape| [shape[1], shape[2]]);
    let ([height, width], [wanted_height, wanted_width]) = (extents(y)?, extents(like)?);
    let (rows, columns) = (wanted_height - height, wanted_width - width);
    if rows + columns == 0 {
        return Ok(y);
    }
    let padding = [
        rows / 2,
        rows - rows / 2,
        columns / 2,
        columns - columns / 2,
    ];
    net.apply(Pad2d::new(padding), [y])
}
