//! The GPU held against the CPU reference: one module per family of kernels, then whole training
//! steps, errors and files. All tests share the devices in `common`.

mod accumulate;
mod activation;
mod autotune;
mod common;
mod compare;
mod conv2d;
mod errors;
mod half;
mod lifetime;
mod loss;
mod matmul;
mod optimizer;
mod pool2d;
mod profile;
mod properties;
mod reproducible;
mod startup;
mod training;
mod weights;
