//! The extents of a tensor.

use std::fmt;
use std::ops::Deref;

/// The extents of a tensor, outermost first: `[N, C, H, W]` for a batch of images, `[C, H, W]` for
/// one of them. Derefs to a slice.
///
/// ```
/// use wgpu_cnn::Shape;
/// let shape = Shape::from([3, 32, 32]);
/// assert_eq!(shape.len(), 3072);
/// assert_eq!(shape.rank(), 3);
/// assert_eq!(shape.to_string(), "[3, 32, 32]");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The number of elements, saturating where the product outgrows `usize`.
    pub fn len(&self) -> usize {
        elements(self)
    }

    /// Whether there is no element: an extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// This shape with an axis of extent `batch` in front.
    pub fn batched(&self, batch: usize) -> Self {
        Self(
            std::iter::once(batch)
                .chain(self.0.iter().copied())
                .collect(),
        )
    }
}

/// The elements of a tensor of these extents, saturating where the product outgrows `usize`: no tensor
/// and no slice has as many.
pub(crate) fn elements(extents: &[usize]) -> usize {
    extents
        .iter()
        .fold(1, |product, &extent| product.saturating_mul(extent))
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(extents: [usize; N]) -> Self {
        Self(extents.to_vec())
    }
}

impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Self(extents.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Self(extents)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
