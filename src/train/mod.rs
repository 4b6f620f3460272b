//! Training: a model, a loss and an optimizer, stepped over batches.

mod average;
mod builder;
mod own;
mod profile;
mod rate;
mod schedule;
mod trainer;
mod verify;

pub use builder::TrainerBuilder;
pub use schedule::{Cyclic, OneCycle, Schedule};
pub use trainer::Trainer;
