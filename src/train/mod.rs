//! Training: a model, a loss and an optimizer, stepped over batches.

mod builder;
mod held;
mod own;
mod predictor;
mod probe;
mod profile;
mod trainer;
mod verify;

pub use builder::TrainerBuilder;
pub use held::Held;
pub use predictor::{Prediction, Predictor, PredictorBuilder};
pub use probe::{Looked, Probe, ProbeBuilder};
pub use trainer::Trainer;
