//! Training: a model, a loss and an optimizer, stepped over batches.

mod builder;
mod evaluate;
#[cfg(all(test, feature = "native"))]
mod evaluate_tests;
mod log;
mod metrics;
mod own;
mod profile;
mod trainer;
mod verify;

pub use builder::TrainerBuilder;
pub use evaluate::Evaluation;
pub use log::{Log, LogRow};
pub use metrics::{Accuracy, ConfusionMatrix, MeanErrors, Metric, Prediction, Predictions};
pub use trainer::Trainer;
