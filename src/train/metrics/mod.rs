//! What predictions are worth, beside the loss.

mod accuracy;
mod confusion;
mod errors;

pub use accuracy::Accuracy;
pub use confusion::ConfusionMatrix;
pub use errors::MeanErrors;

use crate::op::Target;
use crate::{Error, Result, Shape};

/// A measure of predictions, computed batch by batch: [`Accuracy`], [`ConfusionMatrix`], [`MeanErrors`], or
/// one of your own.
///
/// ```
/// use wgpu_cnn::{Metric, Model, Predictions, Trainer};
/// /// How often the first class is given more than all others together.
/// #[derive(Default)]
/// struct Sure([u64; 2]);
///
/// impl Metric for Sure {
///     fn reset(&mut self) {
///         self.0 = [0; 2];
///     }
///     fn update(&mut self, predictions: &Predictions) -> wgpu_cnn::Result<()> {
///         predictions.first()?.for_each_position(|logits, _| {
///             let odds: f32 = logits[1..].iter().map(|z| (z - logits[0]).exp()).sum();
///             self.0[0] += u64::from(odds < 1.0);
///             self.0[1] += 1;
///         })
///     }
///     fn values(&self) -> Vec<(String, f64)> {
///         vec![("sure".into(), self.0[0] as f64 / self.0[1] as f64)]
///     }
/// }
///
/// let model = Model::builder([2]).dense(3).build()?;
/// let mut trainer = Trainer::builder(model).on_cpu()?;
/// let batches = [([0.5f32; 8], [0u8, 1, 2, 0])];
/// let evaluation = trainer.evaluate_with(&batches, &mut [&mut Sure::default()])?;
/// assert!((0.0..=1.0).contains(&evaluation.metric("sure").unwrap()));
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub trait Metric {
    /// Forgets what it has counted. [`evaluate_with`](crate::Trainer::evaluate_with) begins with it.
    fn reset(&mut self);

    /// Counts a batch in.
    ///
    /// # Errors
    /// Outputs or targets that it cannot be computed from.
    fn update(&mut self, predictions: &Predictions<'_>) -> Result<()>;

    /// What it comes to, each number with a name.
    fn values(&self) -> Vec<(String, f64)>;
}

/// The outputs of a batch, with what they should have been.
#[derive(Debug, Clone)]
pub struct Predictions<'a> {
    all: Vec<Prediction<'a>>,
    /// The one that counts where none is named.
    first: usize,
}

impl<'a> Predictions<'a> {
    pub(crate) fn new(all: Vec<Prediction<'a>>, first: usize) -> Self {
        Self { all, first }
    }

    /// The output of the first loss.
    ///
    /// # Errors
    /// None: a model has an output at least.
    pub fn first(&self) -> Result<&Prediction<'a>> {
        let none = || Error::argument("predictions", "there is no output");
        self.all.get(self.first).ok_or_else(none)
    }

    /// The output with a name.
    ///
    /// # Errors
    /// [`Error::Argument`] where the model has none of this name.
    pub fn named(&self, output: &str) -> Result<&Prediction<'a>> {
        let found = self.all.iter().find(|one| one.name == output);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.all.iter().map(|one| &one.name[..]).collect();
            Error::argument(
                format!("output {output:?}"),
                format!("the model has {names:?}"),
            )
        })
    }

    /// The output with a name, or that of the first loss.
    fn pick(&self, output: Option<&str>) -> Result<&Prediction<'a>> {
        output.map_or_else(|| self.first(), |name| self.named(name))
    }
}

impl<'a> From<Prediction<'a>> for Predictions<'a> {
    fn from(one: Prediction<'a>) -> Self {
        Self::new(vec![one], 0)
    }
}

/// An output of a batch, with what it should have been.
///
/// ```
/// use wgpu_cnn::{Accuracy, Metric, Prediction, Target};
/// let (logits, labels) = ([0.1, 0.9, 0.8, 0.2], Target::from([1u8, 1]));
/// let mut accuracy = Accuracy::new();
/// accuracy.update(&Prediction::new(&[2].into(), &logits, Some(&labels))?.into())?;
/// assert_eq!(accuracy.value(), 0.5);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prediction<'a> {
    name: String,
    shape: Shape,
    values: &'a [f32],
    examples: usize,
    target: Option<&'a Target>,
    ignored: Option<i128>,
}

impl<'a> Prediction<'a> {
    /// Outputs of examples of a shape, `(N, ..)`, and their target, where there is one.
    ///
    /// # Errors
    /// [`Error::Shape`] where the values are no whole examples.
    pub fn new(shape: &Shape, values: &'a [f32], target: Option<&'a Target>) -> Result<Self> {
        let examples = values.len().checked_div(shape.len()).unwrap_or(0);
        if examples.checked_mul(shape.len()) != Some(values.len()) || examples == 0 {
            let expected = format!("one or more whole examples of {shape}");
            return Err(Error::shape("prediction", expected, values.len()));
        }
        Ok(Self {
            name: "output".into(),
            shape: shape.clone(),
            values,
            examples,
            target,
            ignored: None,
        })
    }

    pub(crate) fn called(mut self, name: String, ignored: Option<i128>) -> Self {
        (self.name, self.ignored) = (name, ignored);
        self
    }

    /// Sets a label whose positions count for nothing. The trainer takes that of the output's loss.
    pub fn ignored_label(mut self, label: i64) -> Self {
        self.ignored = Some(label.into());
        self
    }

    /// The output's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of one example.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The outputs, `(N, ..)`.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The number of examples, N.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// What the outputs should have been.
    ///
    /// # Errors
    /// [`Error::Argument`] where the output has no loss, and so no target.
    pub fn target(&self) -> Result<&'a Target> {
        let reason = "has no loss, and so no target";
        self.target
            .ok_or_else(|| Error::argument(format!("output {}", self.name), reason))
    }

    /// The classes: the extent of the first axis.
    pub fn classes(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The target values, one for each output.
    ///
    /// # Errors
    /// [`Error::Argument`] for labels, [`Error::Shape`] for another number of values than of outputs.
    pub fn target_values(&self) -> Result<&'a [f32]> {
        match self.target()? {
            Target::Values(values) if values.len() == self.values.len() => Ok(values),
            Target::Values(values) => {
                let what = format!("target of {}", self.name);
                Err(Error::shape(
                    what,
                    self.values.len().to_string(),
                    values.len(),
                ))
            }
            Target::Labels(_) | Target::WideLabels(_) => {
                let what = format!("target of {}", self.name);
                Err(Error::argument(what, "is labels, not values"))
            }
        }
    }

    /// Gives each example, or of outputs `[C, H, W]` and `[C, L]` each pixel and moment: its numbers for
    /// the classes, and its label. Those with the ignored label are left out. A target of probabilities
    /// stands for the class with the largest, as in `torch.argmax`.
    ///
    /// # Errors
    /// [`Error::Argument`] where the output has no target or a label is no class; [`Error::Shape`] where
    /// there are not as many labels as positions.
    pub fn for_each_position(&self, mut each: impl FnMut(&[f32], usize)) -> Result<()> {
        let (target, classes) = (self.target()?, self.classes());
        let plane = self.shape.len() / classes;
        let labels: Vec<Option<usize>> = match target {
            Target::Labels(labels) => self.classes_of(labels.iter().map(|&label| label.into()))?,
            Target::WideLabels(labels) => self.classes_of(labels.iter().copied())?,
            Target::Values(_) => {
                let mut labels = Vec::with_capacity(self.examples * plane);
                let largest = |row: &[f32]| labels.push(Some(largest(row)));
                columns(self.target_values()?, [classes, plane], largest);
                labels
            }
        };
        let mut labels = labels.into_iter();
        columns(self.values, [classes, plane], |row| {
            if let Some(Some(label)) = labels.next() {
                each(row, label);
            }
        });
        Ok(())
    }

    /// The class of each position; `None` where it is ignored.
    fn classes_of(
        &self,
        labels: impl ExactSizeIterator<Item = i128>,
    ) -> Result<Vec<Option<usize>>> {
        let classes = self.classes();
        let positions = self.values.len() / classes;
        if labels.len() != positions {
            let what = format!("labels of {}", self.name);
            return Err(Error::shape(what, positions.to_string(), labels.len()));
        }
        let class = |(at, label)| {
            if Some(label) == self.ignored {
                return Ok(None);
            }
            let class = usize::try_from(label).ok().filter(|&class| class < classes);
            let none = || {
                let reason = format!("class {label} of {classes}");
                Error::argument(format!("labels[{at}]"), reason)
            };
            class.map(Some).ok_or_else(none)
        };
        labels.enumerate().map(class).collect()
    }
}

/// Calls `each` with the numbers of every position of `values (N, classes, plane)`, in order.
fn columns(values: &[f32], [classes, plane]: [usize; 2], mut each: impl FnMut(&[f32])) {
    if plane == 1 {
        values.chunks_exact(classes).for_each(each);
        return;
    }
    // Some positions at a time, so that each plane is read along its rows.
    const BLOCK: usize = 64;
    let mut block = vec![0.0; BLOCK * classes];
    for example in values.chunks_exact(classes * plane) {
        for begin in (0..plane).step_by(BLOCK) {
            let count = BLOCK.min(plane - begin);
            for class in 0..classes {
                let row = &example[class * plane + begin..][..count];
                for (at, &value) in row.iter().enumerate() {
                    block[at * classes + class] = value;
                }
            }
            block.chunks_exact(classes).take(count).for_each(&mut each);
        }
    }
}

/// Whether a class comes before another in the order of their numbers, as in a stable descending sort of
/// PyTorch's: the larger first, NaN before all, and of equal ones (0 and -0, too, and two NaN) the first. So
/// the class that comes before all others is that of `torch.argmax`.
fn ranks_before(numbers: &[f32], class: usize, other: usize) -> bool {
    let (a, b) = (numbers[class], numbers[other]);
    match (a.is_nan(), b.is_nan()) {
        (true, false) => true,
        (false, true) => false,
        (true, true) => class < other,
        (false, false) => a > b || (a == b && class < other),
    }
}

/// The class with the largest number, as `torch.argmax`.
fn largest(numbers: &[f32]) -> usize {
    let before = |best, class| match ranks_before(numbers, class, best) {
        true => class,
        false => best,
    };
    (0..numbers.len()).fold(0, before)
}

/// A share, NaN of nothing.
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// The name of a value of an output, where that was named.
fn name_of(output: Option<&str>, value: &str) -> String {
    match output {
        Some(output) => format!("{output} {value}"),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests;
