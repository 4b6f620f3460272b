//! What a loader reads from.

use super::Array;
use crate::Result;
use crate::op::Target;

/// An input and what a network should make of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// An image `(C, H, W)`, or whatever the network takes.
    pub input: Array,
    /// A class, or labels or values, as many for each example of a data set.
    pub target: Target,
}

/// Examples by number. Threads ask at once, in any order: [`get`](Self::get) must give the same example for
/// the same number, or a run cannot be repeated.
///
/// ```
/// use wgpu_cnn::data::{Array, Dataset, Example};
/// struct Ramps; // 100 signals, each of them steeper than the one before
/// impl Dataset for Ramps {
///     fn len(&self) -> usize {
///         100
///     }
///     fn get(&self, index: usize) -> wgpu_cnn::Result<Example> {
///         let values: Vec<f32> = (0..8).map(|at| (at * index) as f32).collect();
///         let input = Array::new([1, 8], values)?;
///         Ok(Example { input, target: [index as f32].into() })
///     }
/// }
/// assert_eq!(Ramps.get(2)?.input.to_floats()[3], 6.0);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// The number of examples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The example of a number below [`len`](Self::len).
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for an example whose file cannot be read or decoded, which a loader
    /// may [skip](super::LoaderBuilder::skip_damaged); other errors are never skipped.
    fn get(&self, index: usize) -> Result<Example>;

    /// The classes' names in the order of their numbers; empty where there are no classes, or no names.
    fn classes(&self) -> &[String] {
        &[]
    }
}

impl<D: Dataset + ?Sized> Dataset for std::sync::Arc<D> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<Example> {
        (**self).get(index)
    }

    fn classes(&self) -> &[String] {
        (**self).classes()
    }
}
