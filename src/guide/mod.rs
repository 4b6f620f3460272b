//! Pages to read, beside the reference.
//!
//! They are files of `src/guide`, and can be read there too. Where a page links to another one or to an
//! item, it defines the link once more in the file, for readers of the file; the definition here comes
//! first and is the one that counts in the documentation.

/// The folders and the files: what may know what, and how a model becomes kernels that run.
///
/// [kernels]: crate::guide::kernels
/// [direct]: crate::TrainerBuilder::direct_only
/// [contributing]: https://github.com/wgpu-cnn/wgpu-cnn/blob/main/CONTRIBUTING.md
#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// How the kernels work: tiles, split sums, and what is part of what.
///
/// [half precision]: crate::guide::half_precision
/// [peaks]: crate::Gpu::peaks
/// [profiling]: crate::guide::profiling
/// [isa]: crate::guide::isa
/// [accuracy]: crate::guide::accuracy#convolutions-by-fast-algorithms
/// [contributing]: https://github.com/wgpu-cnn/wgpu-cnn/blob/main/CONTRIBUTING.md
#[doc = include_str!("kernels.md")]
pub mod kernels {}

/// What the compilers of real GPUs make of the kernels, and how to read their table.
#[doc = include_str!("isa.md")]
pub mod isa {}

/// What a training step costs: how time and memory grow with batch, channels and image size.
///
/// [memory]: crate::TrainerBuilder::memory
#[doc = include_str!("cost.md")]
pub mod cost {}

/// What has been measured, on which machine, and what was aimed at.
///
/// [half precision]: crate::guide::half_precision
/// [cost]: crate::guide::cost
/// [kernels]: crate::guide::kernels#long-sums-few-tiles
/// [isa]: crate::guide::isa
#[doc = include_str!("benchmarks.md")]
pub mod benchmarks {}

/// How well trained networks do, beside PyTorch's, and what fast algorithms round.
///
/// [machine]: crate::guide::benchmarks#the-machine
#[doc = include_str!("accuracy.md")]
pub mod accuracy {}

/// Where the time of a training step goes, kernel by kernel.
///
/// [profile]: crate::Trainer::profile
/// [peaks]: crate::Gpu::peaks
/// [machine]: crate::guide::benchmarks#the-machine
#[doc = include_str!("profiling.md")]
pub mod profiling {}

/// Kernels chosen by measurement in place of the built-in table.
///
/// [autotune]: crate::TrainerBuilder::autotune
/// [kernels]: crate::guide::kernels#which-core-for-which-shape
#[doc = include_str!("autotuning.md")]
pub mod autotuning {}

/// Values stored as `f16`: what it saves and what it costs.
///
/// [half_precision]: crate::TrainerBuilder::half_precision
/// [benchmarks]: crate::guide::benchmarks
/// [accuracy]: crate::guide::accuracy
/// [kernels]: crate::guide::kernels#what-is-stored-how
#[doc = include_str!("half_precision.md")]
pub mod half_precision {}

/// From PyTorch: the everyday job side by side, and weights on their way there and back.
///
/// [save]: crate::Trainer::save
/// [load]: crate::Trainer::load
/// [load_async]: crate::Trainer::load_async
/// [weights]: crate::Weights
/// [report]: crate::LoadReport
/// [save_options]: crate::SaveOptions
/// [builder]: crate::Trainer::builder
/// [zoo]: crate::zoo
/// [graph]: crate::GraphBuilder
#[doc = include_str!("pytorch.md")]
pub mod pytorch {}

/// Training on several devices: ranks, the order of their sums, what ends with whom, and what it costs.
#[doc = include_str!("distributed.md")]
pub mod distributed {}

/// Data: files, transforms, loaders, and how they compare with torchvision's.
///
/// [data]: crate::data
/// [distributed]: crate::guide::distributed
#[cfg(feature = "data")]
#[doc = include_str!("data.md")]
pub mod data {}
