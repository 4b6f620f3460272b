//! What a model is given.

use super::Graph;
use crate::{Error, Result};

/// The inputs of a batch, each `(N, ..)` of the shape of its input, in the order in which the model has
/// them. A slice, a vector or an array is that of a single input; a list of these has one for each.
///
/// ```
/// use wgpu_cnn::Inputs;
/// let (image, numbers) = (vec![0.5; 64], [1.0, 2.0]);
/// let one = Inputs::from(&image);
/// let two = Inputs::from([&image[..], &numbers]);
/// # let _: (Inputs, Inputs) = (one, two);
/// ```
#[derive(Debug, Clone)]
pub struct Inputs<'a, T = f32>(Vec<&'a [T]>);

impl<'a, T> From<&'a [T]> for Inputs<'a, T> {
    fn from(input: &'a [T]) -> Self {
        Self(vec![input])
    }
}

impl<'a, T> From<&'a Vec<T>> for Inputs<'a, T> {
    fn from(input: &'a Vec<T>) -> Self {
        Self(vec![input])
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Inputs<'a, T> {
    fn from(input: &'a [T; N]) -> Self {
        Self(vec![input])
    }
}

impl<'a, T, const N: usize> From<[&'a [T]; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a [T]; N]) -> Self {
        Self(inputs.into())
    }
}

impl<'a, T, const N: usize> From<[&'a Vec<T>; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a Vec<T>; N]) -> Self {
        Self(inputs.map(Vec::as_slice).into())
    }
}

impl<'a, T, const N: usize, const M: usize> From<[&'a [T; M]; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a [T; M]; N]) -> Self {
        Self(inputs.map(<[T; M]>::as_slice).into())
    }
}

impl<'a, T> From<Vec<&'a [T]>> for Inputs<'a, T> {
    fn from(inputs: Vec<&'a [T]>) -> Self {
        Self(inputs)
    }
}

impl<'a, T> FromIterator<&'a [T]> for Inputs<'a, T> {
    fn from_iter<I: IntoIterator<Item = &'a [T]>>(inputs: I) -> Self {
        Self(inputs.into_iter().collect())
    }
}

/// `2 inputs, one for each of the model's`.
pub(crate) fn one_each(what: &str, count: usize, whose: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s, one for each {whose}"),
    }
}

impl<'a, T> Inputs<'a, T> {
    /// One slice for each input.
    pub(crate) fn slices(&self) -> &[&'a [T]] {
        &self.0
    }

    /// The number of examples, the same in each.
    pub(crate) fn examples(&self, graph: &Graph) -> Result<usize> {
        let (inputs, given) = (graph.inputs(), &self.0);
        if given.len() != inputs.len() {
            let expected = one_each("input", inputs.len(), "of the model's");
            return Err(Error::shape("inputs", expected, given.len()));
        }
        let mut examples = None;
        for (&input, given) in inputs.iter().zip(given) {
            let (shape, name) = (graph.shape(input), graph.value_name(input));
            if given.is_empty() || !given.len().is_multiple_of(shape.len()) {
                let expected = format!("one or more whole examples of {shape}");
                let got = format!("{} elements", given.len());
                return Err(Error::shape(name, expected, got));
            }
            let count = given.len() / shape.len();
            let first = *examples.get_or_insert(count);
            if count != first {
                return Err(Error::shape(
                    name,
                    format!("{first} examples, as in input"),
                    count,
                ));
            }
        }
        Ok(examples.unwrap_or(0))
    }

    /// The examples from a place on, so many at most; the inputs have been checked.
    pub(crate) fn part(&self, graph: &Graph, begin: usize, count: usize) -> Self {
        let inputs = graph.inputs().iter().zip(&self.0);
        let part = inputs.map(|(&input, given)| {
            let len = graph.shape(input).len();
            let end = begin.saturating_add(count).saturating_mul(len);
            &given[(begin * len).min(given.len())..end.min(given.len())]
        });
        Self(part.collect())
    }
}
