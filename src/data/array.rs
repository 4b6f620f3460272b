//! Numbers of a shape on the host: what files hold, and what an example is.

use crate::op::{Target, brightness};
use crate::{Error, Result, Shape};

/// Elements of an array that this module makes larger than it was: 64 Mi, as of an image of 4096 x 4096
/// with four channels. What is larger is a mistake, or somebody's attempt to take all memory.
pub(super) const MOST: usize = 1 << 26;

/// Numbers of a shape, in row-major order: an image `(C, H, W)`, a signal `(C, L)`, or all of a data set,
/// `(N, ..)`.
///
/// ```
/// use wgpu_cnn::data::Array;
/// let image = Array::new([1, 2, 2], vec![0u8, 51, 102, 255])?;
/// assert_eq!(image.to_floats(), [0.0, 0.2, 0.4, 1.0]); // bytes are brightness
/// let signal = Array::new([1, 3], vec![-1.0f32, 0.0, 7.5])?;
/// assert_eq!(signal.to_floats(), [-1.0, 0.0, 7.5]);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    shape: Shape,
    values: Values,
}

/// The numbers of an [`Array`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// Brightness, from 0 (black) to 255.
    Bytes(Vec<u8>),
    /// Integers: labels, or counts.
    Integers(Vec<i64>),
    /// Real numbers.
    Floats(Vec<f32>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Self::Bytes(values)
    }
}

impl From<Vec<i64>> for Values {
    fn from(values: Vec<i64>) -> Self {
        Self::Integers(values)
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::Floats(values)
    }
}

impl Array {
    /// An array of these values.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are more or fewer than the shape says.
    pub fn new(shape: impl Into<Shape>, values: impl Into<Values>) -> Result<Self> {
        let (shape, values) = (shape.into(), values.into());
        if values.len() != shape.len() {
            return Err(Error::length("array", &shape, values.len()));
        }
        Ok(Self { shape, values })
    }

    /// Its extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its numbers.
    pub fn values(&self) -> &Values {
        &self.values
    }

    pub(super) fn into_parts(self) -> (Shape, Values) {
        (self.shape, self.values)
    }

    /// The numbers as a network takes them: bytes become 0 to 1, divided by 255 as torchvision's `ToTensor`
    /// does; integers, of which `f32` holds those within 2^24 exactly, and real numbers stay.
    pub fn to_floats(&self) -> Vec<f32> {
        match &self.values {
            Values::Bytes(values) => values.iter().map(|&value| brightness(value)).collect(),
            Values::Integers(values) => values.iter().map(|&value| value as f32).collect(),
            Values::Floats(values) => values.clone(),
        }
    }

    /// [`to_floats`](Self::to_floats) without a copy of what are such numbers already.
    pub(super) fn into_floats(self) -> Vec<f32> {
        match self.values {
            Values::Floats(values) => values,
            _ => self.to_floats(),
        }
    }

    /// The part of the example `index`: the first axis counts examples.
    pub(super) fn example(&self, index: usize) -> Option<Self> {
        let (&count, rest) = self.shape.split_first()?;
        let shape = Shape::from(rest);
        let range = (index < count).then(|| index * shape.len()..(index + 1) * shape.len())?;
        let values = match &self.values {
            Values::Bytes(values) => values.get(range)?.to_vec().into(),
            Values::Integers(values) => values.get(range)?.to_vec().into(),
            Values::Floats(values) => values.get(range)?.to_vec().into(),
        };
        Some(Self { shape, values })
    }

    /// The same numbers with an axis of extent 1 at `axis`, which the shape has.
    pub(super) fn with_axis(self, axis: usize) -> Self {
        let mut shape = self.shape.to_vec();
        shape.insert(axis, 1);
        Self {
            shape: shape.into(),
            values: self.values,
        }
    }
}

/// Bytes and integers are labels, real numbers are values.
impl From<Array> for Target {
    fn from(array: Array) -> Self {
        match array.values {
            Values::Bytes(labels) => labels.into(),
            Values::Integers(labels) => labels.into(),
            Values::Floats(values) => values.into(),
        }
    }
}
