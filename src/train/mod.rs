//! Training: a model, a loss and an optimizer, stepped over batches.

mod profile;
mod trainer;

pub use trainer::{Trainer, TrainerBuilder};
