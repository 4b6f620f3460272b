//! Training: a model, a loss and an optimizer, stepped over batches.

mod average;
mod builder;
mod checkpoint;
mod groups;
mod own;
mod profile;
mod rate;
mod schedule;
mod trainer;
mod verify;
mod weights;

pub use builder::TrainerBuilder;
#[cfg(feature = "native")]
pub use checkpoint::Checkpoints;
pub use groups::Group;
pub use schedule::{Cyclic, OneCycle, Schedule};
pub use trainer::Trainer;
