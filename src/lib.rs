//! wgpu-cnn
pub mod cpu;
pub mod engine;
mod error;
mod gpu;
mod model;
pub mod op;
#[cfg(feature = "native")]
pub mod ops;
mod shape;
mod train;
pub use engine::{MemoryReport, Reference};
pub use error::{Error, Result};
pub use gpu::{Element, Gpu, GpuBuilder, Tensor};
pub use model::{Model, ModelBuilder};
pub use op::{
    Activation, Adam, AvgPool1d, AvgPool2d, BatchNorm, Conv1d, Conv2d, ConvTranspose2d, CrossEntropy,
    GlobalPool, Init, LayerNorm, Linear, Loss, MaxPool1d, MaxPool2d, Op, Optimizer, Padding,
    Reduction, RmsProp, Sgd, Size2, Softmax, Target,
};
pub use shape::Shape;
pub use train::{Trainer, TrainerBuilder};
pub use wgpu;
