//! The small networks that are timed, and looked at as machine code.

use wgpu_cnn::{Conv2d, Model};

pub fn lenet(input: [usize; 3]) -> Model {
    #[rustfmt::skip]
    let model = Model::builder(input)
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(10);
    model.build().unwrap()
}

pub fn vgg(input: [usize; 3]) -> Model {
    let conv = |channels| Conv2d::new(channels, 3).padding(1);
    let blocks = [32, 64, 128]
        .into_iter()
        .fold(Model::builder(input), |model, channels| {
            model
                .push(conv(channels))
                .relu()
                .push(conv(channels))
                .relu()
                .max_pool2d(2)
        });
    blocks
        .flatten()
        .dense(256)
        .relu()
        .dense(10)
        .build()
        .unwrap()
}
