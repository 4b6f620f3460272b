//! Training: a model, a loss and an optimizer, stepped over batches.

mod builder;
mod checkpoint;
mod own;
mod profile;
mod trainer;
mod verify;

pub use builder::TrainerBuilder;
#[cfg(feature = "native")]
pub use checkpoint::Checkpoints;
pub use trainer::Trainer;
