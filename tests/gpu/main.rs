//! The GPU held against the CPU reference: one module per family of kernels, then whole training
//! steps, errors and files, and what a textbook says of either. All tests share the devices in `common`.
#![allow(clippy::needless_borrows_for_generic_args)] // targets are lent and given

mod accumulate;
mod activation;
mod adaptive_pool2d;
mod autotune;
mod broadcast;
mod bytes;
mod calls;
#[path = "../common/gpu.rs"]
mod common;
#[path = "../common/compare.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod compare;
mod concat;
mod conv2d;
#[path = "../common/device.rs"]
#[allow(dead_code)]
mod device;
mod devices;
mod dropout;
mod errors;
mod graph;
mod half;
mod lifetime;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad2d;
mod pieces;
mod pixel_shuffle;
mod pool2d;
mod prelu;
mod profile;
mod properties;
#[path = "../common/soak/mod.rs"]
mod random_models;
mod reproducible;
mod required;
mod select;
mod soak;
mod softmax;
mod startup;
mod sums;
mod textbook;
mod trainer;
mod training;
mod upsample2d;
mod weights;
