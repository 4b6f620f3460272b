//! How far values are off.

use super::{Metric, Predictions, name_of};
use crate::Result;

/// The mean absolute and the mean squared error of outputs against targets of values, over all elements.
///
/// ```
/// use wgpu_cnn::{Loss, MeanErrors, Model, Trainer};
/// let model = Model::builder([2]).dense(1).build()?;
/// let mut trainer = Trainer::builder(model).loss(Loss::huber(1.0)).on_cpu()?;
/// let test = [([0.0f32, 1.0, 1.0, 0.0], [0.5f32, -0.5])];
/// let mut errors = MeanErrors::new();
/// let evaluation = trainer.evaluate_with(&test, &mut [&mut errors])?;
/// assert_eq!(evaluation.metric("mean absolute error"), Some(errors.absolute()));
/// assert!(errors.absolute() <= errors.squared().sqrt());
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeanErrors {
    output: Option<String>,
    absolute: f64,
    squared: f64,
    counted: u64,
}

impl MeanErrors {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the output with a name in place of that of the first loss.
    pub fn of(mut self, output: &str) -> Self {
        self.output = Some(output.into());
        self
    }

    /// The mean of `|output - target|`; NaN where there was none.
    pub fn absolute(&self) -> f64 {
        self.absolute / self.counted as f64
    }

    /// The mean of `(output - target)^2`; NaN where there was none.
    pub fn squared(&self) -> f64 {
        self.squared / self.counted as f64
    }
}

impl Metric for MeanErrors {
    fn reset(&mut self) {
        (self.absolute, self.squared, self.counted) = (0.0, 0.0, 0);
    }

    fn update(&mut self, predictions: &Predictions<'_>) -> Result<()> {
        let prediction = predictions.pick(self.output.as_deref())?;
        let targets = prediction.target_values()?;
        for (&output, &target) in prediction.values().iter().zip(targets) {
            let error = f64::from(output) - f64::from(target);
            self.absolute += error.abs();
            self.squared += error * error;
        }
        self.counted += targets.len() as u64;
        Ok(())
    }

    fn values(&self) -> Vec<(String, f64)> {
        let name = |value| name_of(self.output.as_deref(), value);
        vec![
            (name("mean absolute error"), self.absolute()),
            (name("mean squared error"), self.squared()),
        ]
    }
}
