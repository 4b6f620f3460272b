//! Everything in the catalogue on the GPU, held against the CPU reference by the verifier: each case of
//! each operator by itself, each model in training, and `verify` itself.

#[path = "../common/cases.rs"]
mod cases;
mod catalogue;
#[path = "../common/gpu.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod common;
#[path = "../common/compare.rs"]
#[allow(dead_code)]
mod compare;
#[path = "../common/device.rs"]
#[allow(dead_code)]
mod device;
mod pieces;
mod verify;
