//! Which class was taken for which.

use std::fmt;

use super::{Metric, Predictions, largest, name_of, share};
use crate::{Error, Result};

/// How often each class was taken for each, and what follows from it: accuracy, precision, recall, F1 and
/// intersection over union. Of outputs `[C, H, W]` and `[C, L]` it counts pixels and moments, and leaves out
/// those with the ignored label of the output's loss. What is predicted is as in
/// [`Accuracy`](crate::Accuracy).
///
/// A share of nothing is NaN, such as the recall of a class that no label has. Means are over the classes
/// that occur: `sklearn`'s `f1_score(average="macro")` and `balanced_accuracy_score`, and the mean of
/// `torchvision`'s intersections over union without those that are NaN.
///
/// ```
/// use wgpu_cnn::{ConfusionMatrix, Metric, Prediction, Target};
/// // One pixel of each example, of two classes; the last label is ignored.
/// let (outputs, labels) = ([1.0, 0.0, 0.2, 0.7, 3.0, 2.0, 0.0, 0.0], Target::from([0u8, 1, 1, 255]));
/// let prediction = Prediction::new(&[2, 1, 1].into(), &outputs, Some(&labels))?;
/// let mut confusion = ConfusionMatrix::new();
/// confusion.update(&prediction.ignored_label(255).into())?;
/// assert_eq!((confusion.count(1, 0), confusion.counted()), (1, 3));
/// assert_eq!(confusion.intersection_over_union(1), 0.5);
/// assert_eq!(confusion.recall(1), 0.5);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfusionMatrix {
    output: Option<String>,
    names: Vec<String>,
    classes: usize,
    /// `[actual][predicted]`.
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// Of nothing yet. The classes are those of the first outputs that it is given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the output with a name in place of that of the first loss.
    pub fn of(mut self, output: &str) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Sets what the classes are called where it is displayed.
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The classes; none before the first batch.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How often one class was taken for another; 0 where there is no such class.
    pub fn count(&self, actual: usize, predicted: usize) -> u64 {
        match actual < self.classes && predicted < self.classes {
            true => self.counts[actual * self.classes + predicted],
            false => 0,
        }
    }

    /// All that counted.
    pub fn counted(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share that is right: the accuracy, for pixels that of pixels.
    pub fn accuracy(&self) -> f64 {
        let right = (0..self.classes).map(|class| self.count(class, class));
        share(right.sum(), self.counted())
    }

    /// Of what was taken for a class the share that is of it.
    pub fn precision(&self, class: usize) -> f64 {
        share(self.count(class, class), self.predicted(class))
    }

    /// Of what is of a class the share that was taken for it.
    pub fn recall(&self, class: usize) -> f64 {
        share(self.count(class, class), self.actual(class))
    }

    /// The harmonic mean of precision and recall of a class: twice what is of it and taken for it, over the sum of
    /// what is and what was.
    pub fn f1(&self, class: usize) -> f64 {
        let both = self.actual(class) + self.predicted(class);
        share(2 * self.count(class, class), both)
    }

    /// Of what is of a class or was taken for it the share that is both: the Jaccard index.
    pub fn intersection_over_union(&self, class: usize) -> f64 {
        let both = self.count(class, class);
        share(both, self.actual(class) + self.predicted(class) - both)
    }

    /// The mean of [`f1`](Self::f1) over the classes that occur, as labels or predictions.
    pub fn mean_f1(&self) -> f64 {
        self.mean(Self::f1)
    }

    /// The mean of [`intersection_over_union`](Self::intersection_over_union) over the classes that occur, as
    /// labels or predictions.
    pub fn mean_intersection_over_union(&self) -> f64 {
        self.mean(Self::intersection_over_union)
    }

    /// The mean of [`recall`](Self::recall) over the classes that labels have: the balanced accuracy.
    pub fn mean_recall(&self) -> f64 {
        self.mean(Self::recall)
    }

    /// The mean over the classes of which it is a number.
    fn mean(&self, of: fn(&Self, usize) -> f64) -> f64 {
        let values = (0..self.classes).map(|class| of(self, class));
        let (mut sum, mut count) = (0.0, 0);
        for value in values.filter(|value| !value.is_nan()) {
            sum += value;
            count += 1;
        }
        sum / f64::from(count)
    }

    fn actual(&self, class: usize) -> u64 {
        (0..self.classes)
            .map(|other| self.count(class, other))
            .sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.classes)
            .map(|other| self.count(other, class))
            .sum()
    }

    /// Makes room for so many classes.
    fn begin(&mut self, classes: usize) -> Result<()> {
        if self.classes == 0 {
            let len = classes.saturating_mul(classes);
            let mut counts = Vec::new();
            let room = counts.try_reserve_exact(len);
            room.map_err(|_| Error::OutOfMemory {
                what: format!("a confusion matrix of {classes} classes"),
                needed: (len as u64).saturating_mul(8),
                available: None,
            })?;
            counts.resize(len, 0);
            (self.classes, self.counts) = (classes, counts);
        }
        match self.classes == classes {
            true => Ok(()),
            false => {
                let expected = format!("{} classes, as before", self.classes);
                Err(Error::shape("confusion matrix", expected, classes))
            }
        }
    }

    fn class_name(&self, class: usize) -> String {
        let named = self.names.get(class).map(|name| format!(" {name}"));
        format!("{class}{}", named.unwrap_or_default())
    }
}

impl Metric for ConfusionMatrix {
    fn reset(&mut self) {
        (self.classes, self.counts) = (0, vec![]);
    }

    fn update(&mut self, predictions: &Predictions<'_>) -> Result<()> {
        let prediction = predictions.pick(self.output.as_deref())?;
        let classes = prediction.classes();
        self.begin(classes)?;
        let counts = &mut self.counts;
        prediction.for_each_position(|numbers, label| {
            counts[label * classes + largest(numbers)] += 1;
        })
    }

    fn values(&self) -> Vec<(String, f64)> {
        let name = |value| name_of(self.output.as_deref(), value);
        vec![
            (name("accuracy"), self.accuracy()),
            (name("mean recall"), self.mean_recall()),
            (name("mean F1"), self.mean_f1()),
            (
                name("mean intersection over union"),
                self.mean_intersection_over_union(),
            ),
        ]
    }
}

impl fmt::Display for ConfusionMatrix {
    /// A row for each class, with how often it was taken for each, and the share that is right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = (0..self.classes).map(|c| self.class_name(c)).collect();
        let widest = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let first = widest(&mut names.iter().map(|name| name.chars().count())).max(6);
        let cell = widest(&mut self.counts.iter().map(|count| count.to_string().len())).max(4) + 2;
        write!(f, "{:first$}", "actual")?;
        for class in 0..self.classes {
            write!(f, "{class:>cell$}")?;
        }
        writeln!(f, "{:>9}", "right")?;
        for (class, name) in names.iter().enumerate() {
            write!(f, "{name:first$}")?;
            for predicted in 0..self.classes {
                write!(f, "{:>cell$}", self.count(class, predicted))?;
            }
            match self.recall(class) {
                recall if recall.is_nan() => writeln!(f, "{:>9}", "-")?,
                recall => writeln!(f, "{:>7.1} %", recall * 100.0)?,
            }
        }
        Ok(())
    }
}
