//! Trains convolutional neural networks on any GPU that [wgpu] reaches (Vulkan, Metal, DX12, WebGPU in a
//! browser), in readable WGSL, with no CUDA and no vendor library.
//!
//! # A first network
//!
//! ```no_run
//! use wgpu_cnn::prelude::*;
//! # let batches = [(vec![0.0f32; 64 * 784], vec![0u8; 64])];
//! # let images = vec![0.0f32; 784];
//!
//! let gpu = Gpu::new()?; // the best adapter; blocking
//! let model = Model::builder([1, 28, 28])
//!     .conv2d(32, 5).relu().max_pool2d(2)
//!     .conv2d(64, 5).relu().max_pool2d(2)
//!     .flatten().dense(128).relu().dense(10)
//!     .build()?; // every shape error is found here, and names the layer
//! let mut trainer = Trainer::builder(model)
//!     .batch(64).optimizer(Optimizer::adam(1e-3)).seed(7)
//!     .on(&gpu)?; // buffers, pipelines, bind groups: all made here
//! for (images, labels) in &batches {
//!     trainer.step(images, labels)?; // one submission, nothing created, a bounded queue
//! }
//! println!("loss {}", trainer.loss()?); // the only read-back
//! let logits = trainer.predict(&images)?;
//! trainer.save("weights.safetensors")?;
//! # Ok::<(), Error>(())
//! ```
//!
//! Without a GPU, [`on_cpu`](TrainerBuilder::on_cpu) in place of `on(&gpu)` trains the same model
//! with the same results within rounding.
//!
//! # Finding one's way
//!
//! * [`Model::builder`] writes a chain of layers down. Layers have a short form (`.conv2d(32, 5)`) and a full
//!   one (`.push(`[`Conv2d::new`]`(32, [3, 5]).stride([2, 1]))`); blocks such as
//!   [`residual`](ModelBuilder::residual) and [`concat`](ModelBuilder::concat) hold chains of their own.
//! * [`Model::graph`] writes down any other network: a [`GraphBuilder`], whose layers have the names that you
//!   give them and whose [`Value`]s can be used in any number of places. It has several inputs and outputs,
//!   layers in several places, and values that are not learned. Chains and graphs mix.
//! * [`Loss`] is what a training makes smaller, [`Losses`] one for each of several outputs, with weights.
//!   A loss of one's own ([`Losses::own`]) trains by [`Trainer::forward`], [`Trainer::backward`] and
//!   [`Trainer::update`].
//! * [`Trainer`] holds weights, optimizer and device, and steps over batches. Parameters and
//!   gradients are read and written by name; weights travel to and from PyTorch as safetensors.
//!   [`Trainer::profile`] says where the time of a step goes.
//! * [`Predictor`] is a model in use, without what training needs; [`Probe`] looks into one: values of layers, and
//!   gradients with respect to them and to the inputs. [`Held`] values go from one trainer to another without
//!   the host.
//! * [`Gpu`] is a device: the best adapter, one chosen through [`Gpu::builder`], or one that the
//!   program already has.
//! * [`ops`] are the kernels one by one on [`Tensor`]s; [`cpu`] are their twins on slices.
//! * [`zoo`] has well-known networks, from AlexNet to ConvNeXt and U-Net, under the names of their parameters in
//!   PyTorch.
//! * With the feature `data`, the module of that name reads files and folders of images, transforms them and makes
//!   batches, ahead on threads.
//! * [`distributed`] is training on several devices: ranks, in threads or processes, that add up their gradients in a
//!   fixed order and hold the same bits.
//! * [`guide`] has pages to read: the [architecture](guide::architecture), [how the kernels
//!   work](guide::kernels), what a step [costs](guide::cost), [half precision](guide::half_precision), what
//!   has been [measured](guide::benchmarks), and more.
//! * [`op`] is what each operator, loss and optimizer is: its hyper-parameters and its shapes.
//! * [`prelude`] is what a training program names.
//!
//! # What it promises
//!
//! * **Determinism.** The same seed on the same device and driver gives the same bits: no float
//!   atomics, long sums split and added in a fixed order, randomness from a counter.
//! * **PyTorch's numbers.** Layouts (NCHW, weights OIHW), parameter names, formulas and the treatment
//!   of NaN, ties and padding are PyTorch's. The CPU reference is held to finite differences, the
//!   kernels to the reference.
//! * **Errors, never panics.** Every fallible call returns [`Result`]; an [`Error`] says which layer,
//!   which limit, what was needed and what there is. After an error the trainer is as it was.
//! * **Memory known beforehand.** [`TrainerBuilder::memory`] says what a plan takes before anything
//!   is allocated, and [`memory_budget`](TrainerBuilder::memory_budget) bounds it. A step allocates
//!   nothing.
//!
//! # Features
//!
//! `native` (default): blocking calls, the Vulkan, Metal and DX12 back ends, the threaded CPU
//! reference. `webgpu`: the browser, where of two calls that differ in who waits the one that ends in `_async` is
//! there, and bytes take the place of files. `data`: from files to batches.
#![deny(missing_docs)]

pub mod cpu;
#[cfg(feature = "data")]
pub mod data;
pub mod engine;
mod error;
mod file;
mod gpu;
pub mod guide;
mod model;
pub mod op;
pub mod ops;
pub mod prelude;
mod shape;
mod table;
mod train;
pub mod zoo;

pub use engine::{Check, MemoryReport, Profile, ProfileEntry, Reference, VerifyReport};
pub use error::{Error, Result};
pub use gpu::{Clock, Element, Gpu, GpuBuilder, Peaks, Tensor};
pub use model::{
    AsInputs, Branch, GraphBuilder, Input, Inputs, IntoBatch, LayerSummary, LoadReport, Losses,
    Model, ModelBuilder, Pattern, SaveOptions, Summary, Targets, Value, Weights,
};
pub use op::{
    Activation, Adadelta, Adagrad, Adam, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Add, Average,
    AvgPool1d, AvgPool2d, BatchNorm, BinaryCrossEntropy, ChannelPermute, ChannelShuffle, Concat,
    Conv1d, Conv2d, ConvTranspose2d, CrossEntropy, Dice, DropUnit, Dropout, Flatten, GlobalPool,
    GroupNorm, Init, InstanceNorm, LayerNorm, LayerNormChannels, Linear, Lion, LocalResponseNorm,
    Loss, MaxPool1d, MaxPool2d, Mul, NAdam, NegativeLogLikelihood, Op, Optimizer, Pad2d, Padding,
    PaddingMode, PixelShuffle, PixelUnshuffle, PointwiseLinear, Prelu, Reduction, Reshape, RmsProp,
    Scale, Sgd, Size2, Slice, Softmax, Target, Upsample2d,
};
pub use shape::Shape;
#[cfg(feature = "native")]
pub use train::Checkpoints;
pub use train::distributed;
pub use train::{
    Accuracy, ConfusionMatrix, Cyclic, Evaluation, Group, Held, Log, LogRow, Looked, MeanErrors,
    Metric, OneCycle, PendingPrediction, Prediction, Predictions, Predictor, PredictorBuilder,
    Probe, ProbeBuilder, Schedule, Trainer, TrainerBuilder,
};
pub use wgpu;

/// The way to a device in tests: these take the one of the folder `tests`, which knows the crate by
/// its name.
#[cfg(all(test, feature = "native"))]
#[path = "../tests/common/device.rs"]
mod device;
#[cfg(all(test, feature = "native"))]
extern crate self as wgpu_cnn;

/// The README's samples, compiled with the other tests of the documentation.
#[cfg(all(doctest, feature = "native"))]
#[doc = include_str!("../README.md")]
struct Readme;
