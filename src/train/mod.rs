//! Training: a model, a loss and an optimizer, stepped over batches.

mod builder;
mod checkpoint;
mod groups;
mod held;
mod own;
mod predictor;
mod probe;
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
pub use held::Held;
pub use predictor::{Prediction, Predictor, PredictorBuilder};
pub use probe::{Looked, Probe, ProbeBuilder};
pub use schedule::{Cyclic, OneCycle, Schedule};
pub use trainer::Trainer;
