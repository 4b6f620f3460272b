//! ResNet-18 (He et al. 2016), and what its products are.

use wgpu_cnn::{Conv2d, MaxPool2d, Model, ModelBuilder};

/// Outputs of the last layer.
pub const CLASSES: usize = 1000;

/// Channels of the four stages, of two blocks each.
const STAGES: [usize; 4] = [64, 128, 256, 512];

/// The stride of a block: all stages but the first begin by halving the image.
fn stride(stage: usize, block: usize) -> usize {
    if stage > 0 && block == 0 { 2 } else { 1 }
}

pub fn model(input: [usize; 3]) -> Model {
    let stem = Conv2d::new(64, 7).stride(2).padding(3).bias(false);
    let pool = MaxPool2d::new(3).stride(2).padding(1);
    let mut model = Model::builder(input)
        .push(stem)
        .batch_norm()
        .relu()
        .push(pool);
    for (stage, channels) in STAGES.into_iter().enumerate() {
        for block in 0..2 {
            let stride = stride(stage, block);
            let conv = |stride| {
                Conv2d::new(channels, 3)
                    .stride(stride)
                    .padding(1)
                    .bias(false)
            };
            let body = |body: ModelBuilder| {
                body.push(conv(stride))
                    .batch_norm()
                    .relu()
                    .push(conv(1))
                    .batch_norm()
            };
            let shorter = Conv2d::new(channels, 1).stride(2).bias(false);
            model = match stride {
                1 => model.residual(body),
                _ => model.residual_with(body, |shortcut| shortcut.push(shorter).batch_norm()),
            };
            model = model.relu();
        }
    }
    let head = model.global_avg_pool().flatten().dense(CLASSES);
    head.build().unwrap()
}

/// Of each convolution and dense layer, the weights and the positions that each is used at.
pub fn products(side: usize) -> Vec<(usize, usize)> {
    let mut products = vec![(3 * 64 * 49, (side / 2).pow(2))];
    let (mut from, mut side) = (64, side / 4);
    for (stage, channels) in STAGES.into_iter().enumerate() {
        for block in 0..2 {
            let stride = stride(stage, block);
            side /= stride;
            products.push((from * channels * 9, side * side));
            products.push((channels * channels * 9, side * side));
            if stride > 1 {
                products.push((from * channels, side * side));
            }
            from = channels;
        }
    }
    products.push((from * CLASSES, 1));
    products
}
