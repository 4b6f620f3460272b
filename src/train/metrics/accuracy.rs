//! How often a prediction is right.

use super::{Metric, Predictions, largest, name_of, ranks_before, share};
use crate::{Error, Result};

/// The share of examples whose class is predicted; of outputs `[C, H, W]` and `[C, L]` the share of pixels and
/// moments. Those with the [ignored label](crate::CrossEntropy::ignored_label) of the output's loss do not count.
///
/// The prediction is the class with the largest number; ties and NaN are as in `torch.argmax`: the first of equal
/// ones, and NaN before all. A target of probabilities stands for its largest.
///
/// ```
/// use wgpu_cnn::{Accuracy, Model, Trainer};
/// let model = Model::builder([2]).dense(3).build()?;
/// let mut trainer = Trainer::builder(model).on_cpu()?;
/// let test = [([0.0f32, 1.0, 1.0, 0.0], [0u8, 2])];
/// let (mut first, mut top) = (Accuracy::new(), Accuracy::top(3));
/// let evaluation = trainer.evaluate_with(&test, &mut [&mut first, &mut top])?;
/// assert_eq!(evaluation.metric("accuracy"), Some(first.value()));
/// assert_eq!(evaluation.metric("top 3 accuracy"), Some(1.0)); // of three
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    output: Option<String>,
    kind: Kind,
    right: u64,
    counted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Whether the label is among so many.
    Top(usize),
    /// Whether an output is on the right side of a threshold.
    Above(f32),
}

impl Default for Accuracy {
    fn default() -> Self {
        Self::top(1)
    }
}

impl Accuracy {
    /// How often the class is the predicted one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often the class is among the `k` with the largest numbers, of equal ones the first. More than
    /// there are classes is an error of [`update`](Metric::update), and so are none.
    pub fn top(k: usize) -> Self {
        Self::of_kind(Kind::Top(k))
    }

    /// How often an output is above a threshold where its target, of values, is above a half: for outputs that
    /// are independent of each other, such as those of the
    /// [binary cross-entropy](crate::Loss::binary_cross_entropy), where a threshold of 0 is a probability of a
    /// half. Each output counts. NaN is above nothing.
    pub fn above(threshold: f32) -> Self {
        Self::of_kind(Kind::Above(threshold))
    }

    fn of_kind(kind: Kind) -> Self {
        Self {
            output: None,
            kind,
            right: 0,
            counted: 0,
        }
    }

    /// Takes the output with a name in place of that of the first loss.
    pub fn of(mut self, output: &str) -> Self {
        self.output = Some(output.into());
        self
    }

    /// The share of right ones; NaN where there was none.
    pub fn value(&self) -> f64 {
        share(self.right, self.counted)
    }

    /// The right ones.
    pub fn right(&self) -> u64 {
        self.right
    }

    /// All that counted.
    pub fn counted(&self) -> u64 {
        self.counted
    }
}

impl Metric for Accuracy {
    fn reset(&mut self) {
        (self.right, self.counted) = (0, 0);
    }

    fn update(&mut self, predictions: &Predictions<'_>) -> Result<()> {
        let prediction = predictions.pick(self.output.as_deref())?;
        let (mut right, mut counted) = (0, 0);
        match self.kind {
            Kind::Top(k) => {
                check(k, prediction.classes())?;
                prediction.for_each_position(|numbers, label| {
                    right += u64::from(match k {
                        1 => largest(numbers) == label,
                        _ => place(numbers, label) < k,
                    });
                    counted += 1;
                })?;
            }
            Kind::Above(threshold) => {
                let targets = prediction.target_values()?;
                for (output, target) in prediction.values().iter().zip(targets) {
                    right += u64::from((*output > threshold) == (*target > 0.5));
                    counted += 1;
                }
            }
        }
        self.right += right;
        self.counted += counted;
        Ok(())
    }

    fn values(&self) -> Vec<(String, f64)> {
        let name = match self.kind {
            Kind::Top(1) => "accuracy".into(),
            Kind::Top(k) => format!("top {k} accuracy"),
            Kind::Above(_) => "binary accuracy".into(),
        };
        vec![(name_of(self.output.as_deref(), &name), self.value())]
    }
}

/// Refuses what says nothing of any output.
fn check(k: usize, classes: usize) -> Result<()> {
    if classes < 2 {
        let reason = "needs two classes or more: of outputs by themselves it is Accuracy::above";
        return Err(Error::argument("accuracy", reason));
    }
    if k == 0 || k > classes {
        let reason = format!("the top {k} of {classes} classes");
        return Err(Error::argument("accuracy", reason));
    }
    Ok(())
}

/// How many classes come before one.
fn place(numbers: &[f32], class: usize) -> usize {
    let before = (0..numbers.len()).filter(|&other| ranks_before(numbers, other, class));
    before.count()
}
