//! Training: a model, a loss and an optimizer, stepped over batches.

mod trainer;

pub use trainer::{Trainer, TrainerBuilder};
