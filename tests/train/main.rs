//! The everyday job around a training step, on GPUs and on the CPU: checkpoints, what is learned and how, schedules,
//! averages, predictors, probes, and trainers that hand values to each other.
#![allow(clippy::needless_borrows_for_generic_args)] // targets are lent and given

mod average;
mod checkpoint;
#[path = "../common/gpu.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod common;
#[path = "../common/compare.rs"]
#[allow(dead_code)]
mod compare;
#[path = "../common/device.rs"]
#[allow(dead_code)]
mod device;
mod direct;
mod distributed;
mod held;
mod learned;
mod predictor;
mod prepare;
mod probe;
mod schedule;
