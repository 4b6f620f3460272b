//! Examples in memory.

use super::array::Array;
use super::dataset::{Dataset, Example};
use crate::op::Target;
use crate::{Error, Result, Shape};

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is learned from.
    Train,
    /// What is only looked at in the end.
    Test,
}

/// Examples in memory: what files of many examples hold, or numbers of one's own.
///
/// ```
/// use wgpu_cnn::data::{Array, Dataset, Memory};
/// let images = Array::new([2, 1, 4, 4], vec![0.5f32; 32])?;
/// let memory = Memory::new(images, [3u8, 1])?;
/// assert_eq!(memory.len(), 2);
/// assert_eq!(memory.get(0)?.input.shape()[..], [1, 4, 4]);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    inputs: Array,
    targets: Target,
    /// Labels or values of an example.
    each: usize,
    classes: Vec<String>,
}

impl Memory {
    /// The examples along the first axis of `inputs`, with as many labels or values each. The labels of a
    /// NumPy file are an [`Array`], too: `Memory::new(Array::read_npy("x.npy")?, Array::read_npy("y.npy")?)`.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is no example, or a number of targets that is none for each.
    pub fn new(inputs: Array, targets: impl Into<Target>) -> Result<Self> {
        let targets = targets.into();
        let (shape, count) = (inputs.shape(), count(&targets));
        let examples = shape.first().copied().unwrap_or(0);
        if shape.is_empty() || examples == 0 {
            return Err(Error::shape(
                "inputs",
                "examples along the first axis",
                shape,
            ));
        }
        if count == 0 || !count.is_multiple_of(examples) {
            let expected = format!("as many for each of {examples} examples");
            return Err(Error::shape("targets", expected, count));
        }
        Ok(Self {
            each: count / examples,
            inputs,
            targets,
            classes: Vec::new(),
        })
    }

    /// Gives the classes names, the first of them to the class 0.
    pub fn class_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.classes = names.into_iter().map(Into::into).collect();
        self
    }

    /// All inputs, `(N, ..)`.
    pub fn inputs(&self) -> &Array {
        &self.inputs
    }

    /// All labels or values.
    pub fn targets(&self) -> &Target {
        &self.targets
    }

    /// The shape of an example's input.
    pub fn example_shape(&self) -> Shape {
        self.inputs.shape()[1..].into()
    }
}

impl Dataset for Memory {
    fn len(&self) -> usize {
        self.inputs.shape()[0]
    }

    fn get(&self, index: usize) -> Result<Example> {
        let Some(input) = self.inputs.example(index) else {
            let reason = format!("{index} of {} examples", self.len());
            return Err(Error::argument("index", reason));
        };
        let range = index * self.each..(index + 1) * self.each;
        let target = match &self.targets {
            Target::Labels(labels) => Target::Labels(labels[range].to_vec()),
            Target::WideLabels(labels) => Target::WideLabels(labels[range].to_vec()),
            Target::Values(values) => Target::Values(values[range].to_vec()),
        };
        Ok(Example { input, target })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }
}

/// How many labels or values a target has.
pub(super) fn count(target: &Target) -> usize {
    match target {
        Target::Labels(labels) => labels.len(),
        Target::WideLabels(labels) => labels.len(),
        Target::Values(values) => values.len(),
    }
}
