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
    Activation, Conv2d, Init, Linear, Loss, MaxPool2d, Op, Optimizer, Padding, Reduction, Size2,
    Target,
};
pub use shape::Shape;
pub use train::{Trainer, TrainerBuilder};
pub use wgpu;
