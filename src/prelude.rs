//! What a training program names, for `use wgpu_cnn::prelude::*`. [`Result`](crate::Result) is not
//! among it, so that the standard library's keeps its name.
//!
//! ```
//! use wgpu_cnn::prelude::*;
//!
//! fn train(images: &[f32], labels: Vec<u8>) -> Result<f32, Error> {
//!     let model = Model::builder([1, 8, 8])
//!         .push(Conv2d::new(4, 3).padding(Padding::Same))
//!         .relu().max_pool2d(2).flatten().dense(3)
//!         .build()?;
//!     let mut trainer = Trainer::builder(model)
//!         .optimizer(Optimizer::sgd(0.1).momentum(0.9))
//!         .loss(Loss::cross_entropy().label_smoothing(0.1))
//!         .on_cpu()?;
//!     trainer.step(images, labels)?;
//!     trainer.loss()
//! }
//! # assert!(train(&[0.5; 128], vec![0, 2])? > 0.0);
//! # Ok::<(), Error>(())
//! ```

pub use crate::{
    Accuracy, Activation, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Add, Average, AvgPool1d, AvgPool2d,
    BatchNorm, Branch, ChannelPermute, ChannelShuffle, Concat, ConfusionMatrix, Conv1d, Conv2d,
    ConvTranspose2d, DropUnit, Dropout, Error, Flatten, GlobalPool, Gpu, GraphBuilder, Group,
    GroupNorm, Init, InstanceNorm, LayerNorm, LayerNormChannels, Linear, LocalResponseNorm, Loss,
    Losses, MaxPool1d, MaxPool2d, MeanErrors, Metric, Model, ModelBuilder, Mul, Optimizer, Pad2d,
    Padding, PaddingMode, Pattern, PixelShuffle, PixelUnshuffle, PointwiseLinear, Predictor, Prelu,
    Probe, Reduction, Reshape, SaveOptions, Scale, Schedule, Shape, Slice, Softmax, Target,
    Trainer, TrainerBuilder, Upsample2d, Value, Weights,
};
