//! VGG.

use super::Options;
use crate::op::{AdaptiveAvgPool2d, Conv2d, Flatten};
use crate::{GraphBuilder, Result, Value};

/// Five stages of 3x3 convolutions, `depths` of them in each, with or without batch norms.
pub(super) fn vgg(
    net: &mut GraphBuilder,
    x: Value,
    options: &Options,
    depths: [usize; 5],
    norm: bool,
) -> Result<Vec<Value>> {
    let y = net.chain("features", x, |mut features| {
        for (depth, channels) in depths.into_iter().zip([64, 128, 256, 512, 512]) {
            for _ in 0..depth {
                features = features.push(Conv2d::new(channels, 3).padding(1));
                if norm {
                    features = features.batch_norm();
                }
                features = features.relu();
            }
            features = features.max_pool2d(2);
        }
        features
    })?;
    let y = net.apply(AdaptiveAvgPool2d::new(7), [y])?;
    let y = net.apply(Flatten, [y])?;
    let y = net.chain("classifier", y, |classifier| {
        classifier
            .dense(4096)
            .relu()
            .push(options.dropout(0.5))
            .dense(4096)
            .relu()
            .push(options.dropout(0.5))
            .dense(options.classes)
    })?;
    Ok(vec![y])
}
