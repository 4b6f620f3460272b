//! The CPU reference held against finite differences, against definitions over random windows, and
//! against what long sums are. Nothing here needs a GPU.

#[path = "../common/cases.rs"]
mod cases;
mod catalogue;
#[path = "../common/compare.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod compare;
mod differences;
mod extremes;
mod gradients;
mod gradients_operators;
mod losses;
mod resize;
mod sums;
mod windows;
