//! Pages to read, beside the reference.

/// How the kernels work: tiles, split sums, and what is part of what.
#[doc = include_str!("kernels.md")]
pub mod kernels {}

/// What a training step costs: how time and memory grow with batch, channels and image size.
#[doc = include_str!("cost.md")]
pub mod cost {}
