//! Training: a model, a loss and an optimizer, stepped over batches.

mod average;
mod builder;
mod checkpoint;
pub mod distributed;
#[cfg(all(test, feature = "native"))]
mod dropped_tests;
mod evaluate;
#[cfg(all(test, feature = "native"))]
mod evaluate_tests;
mod groups;
mod held;
mod log;
mod metrics;
mod origin;
mod own;
mod predictor;
mod probe;
mod profile;
mod rate;
mod rebuild;
mod schedule;
mod trainer;
mod verify;
mod weights;

pub use builder::TrainerBuilder;
#[cfg(feature = "native")]
pub use checkpoint::Checkpoints;
pub use evaluate::Evaluation;
pub use groups::Group;
pub use held::Held;
pub use log::{Log, LogRow};
pub use metrics::{Accuracy, ConfusionMatrix, MeanErrors, Metric, Prediction, Predictions};
pub use predictor::{PendingPrediction, Predictor, PredictorBuilder};
pub use probe::{Looked, Probe, ProbeBuilder};
pub use schedule::{Cyclic, OneCycle, Schedule};
pub use trainer::Trainer;
