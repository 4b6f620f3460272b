//! Well-known networks, small enough for any adapter.

use wgpu_cnn::{Conv1d, Conv2d, Model, ModelBuilder, Result};

/// A network with the name that options know it by.
pub type Network = (&'static str, fn() -> Result<Model>);

/// All of them.
pub const NETWORKS: [Network; 5] = [
    ("lenet-5", lenet5),
    ("vgg", vgg),
    ("resnet", resnet),
    ("mobilenet", mobilenet),
    ("tdnn", tdnn),
];

/// LeNet-5 on images of 32 by 32 (LeCun et al. 1998).
pub fn lenet5() -> Result<Model> {
    Model::builder([1, 32, 32])
        .conv2d(6, 5)
        .tanh()
        .avg_pool2d(2)
        .conv2d(16, 5)
        .tanh()
        .avg_pool2d(2)
        .conv2d(120, 5)
        .tanh()
        .flatten()
        .dense(84)
        .tanh()
        .dense(10)
        .build()
}

/// A VGG for images of 32 by 32 (Simonyan and Zisserman 2015).
pub fn vgg() -> Result<Model> {
    let mut model = Model::builder([3, 32, 32]);
    for channels in [32, 64, 128] {
        for _ in 0..2 {
            model = model.push(Conv2d::new(channels, 3).padding(1)).relu();
        }
        model = model.max_pool2d(2);
    }
    model.flatten().dense(256).relu().dense(10).build()
}

/// A residual network with batch normalisation (He et al. 2016): a block of equal shapes, and one
/// that halves the image and doubles the channels.
pub fn resnet() -> Result<Model> {
    let conv = |b: ModelBuilder, channels, stride| {
        b.push(
            Conv2d::new(channels, 3)
                .stride(stride)
                .padding(1)
                .bias(false),
        )
        .batch_norm()
    };
    let mut model = conv(Model::builder([3, 32, 32]), 16, 1).relu();
    for channels in [16, 32, 64] {
        if channels > 16 {
            model = model
                .residual_with(
                    |body| conv(conv(body, channels, 2).relu(), channels, 1),
                    |shortcut| {
                        shortcut
                            .push(Conv2d::new(channels, 1).stride(2).bias(false))
                            .batch_norm()
                    },
                )
                .relu();
        }
        model = model
            .residual(|body| conv(conv(body, channels, 1).relu(), channels, 1))
            .relu();
    }
    model.global_avg_pool().flatten().dense(10).build()
}

/// A network of separable convolutions, each one depthwise and one pointwise (Howard et al. 2017).
pub fn mobilenet() -> Result<Model> {
    let mut model = Model::builder([3, 32, 32])
        .push(Conv2d::new(16, 3).stride(2).padding(1).bias(false))
        .batch_norm()
        .relu();
    let mut channels = 16;
    for (out_channels, stride) in [(32, 1), (64, 2), (64, 1), (128, 2)] {
        let depthwise = Conv2d::new(channels, 3)
            .groups(channels)
            .stride(stride)
            .padding(1);
        model = model.push(depthwise.bias(false)).batch_norm().relu();
        model = model
            .push(Conv2d::new(out_channels, 1).bias(false))
            .batch_norm()
            .relu();
        channels = out_channels;
    }
    model
        .global_avg_pool()
        .flatten()
        .dropout(0.2)
        .dense(10)
        .build()
}

/// A time-delay network over 40 channels of a signal (Waibel et al. 1989): wider and wider contexts
/// through dilation, then the mean over time.
pub fn tdnn() -> Result<Model> {
    Model::builder([40, 100])
        .push(Conv1d::new(64, 5))
        .relu()
        .push(Conv1d::new(64, 3).dilation(2))
        .relu()
        .push(Conv1d::new(64, 3).dilation(3))
        .relu()
        .push(Conv1d::new(96, 1))
        .relu()
        .global_avg_pool()
        .flatten()
        .dense(32)
        .relu()
        .dense(8)
        .build()
}
