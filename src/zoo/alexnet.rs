//! AlexNet.

use super::Options;
use crate::op::{AdaptiveAvgPool2d, Conv2d, Flatten, MaxPool2d};
use crate::{GraphBuilder, Result, Value};

/// Five convolutions and three dense layers.
pub(super) fn alexnet(net: &mut GraphBuilder, x: Value, options: &Options) -> Result<Vec<Value>> {
    let pool = || MaxPool2d::new(3).stride(2);
    let y = net.chain("features", x, |features| {
        features
            .push(Conv2d::new(64, 11).stride(4).padding(2))
            .relu()
            .push(pool())
            .push(Conv2d::new(192, 5).padding(2))
            .relu()
            .push(pool())
            .push(Conv2d::new(384, 3).padding(1))
            .relu()
            .push(Conv2d::new(256, 3).padding(1))
            .relu()
            .push(Conv2d::new(256, 3).padding(1))
            .relu()
            .push(pool())
    })?;
    let y = net.apply(AdaptiveAvgPool2d::new(6), [y])?;
    let y = net.apply(Flatten, [y])?;
    let y = net.chain("classifier", y, |classifier| {
        classifier
            .push(options.dropout(0.5))
            .dense(4096)
            .relu()
            .push(options.dropout(0.5))
            .dense(4096)
            .relu()
            .dense(options.classes)
    })?;
    Ok(vec![y])
}
