//! What a model is given.

use super::Graph;
use crate::{Error, Result};

/// An input of a batch, `(N, ..)`: real numbers, or the bytes of an input that
/// [takes them](crate::Model::take_bytes).
#[derive(Debug, Clone, Copy)]
pub enum Input<'a, T = f32> {
    /// Real numbers.
    Numbers(&'a [T]),
    /// Bytes, 0 to 255.
    Bytes(&'a [u8]),
}

/// The inputs of a batch, each `(N, ..)` of the shape of its input, in the order in which the model has
/// them. A slice, a vector or an array is that of a single input; a list of these has one for each.
///
/// ```
/// use wgpu_cnn::{Input, Inputs};
/// let (image, numbers) = (vec![0.5; 64], [1.0, 2.0]);
/// let one = Inputs::from(&image);
/// let two = Inputs::from([&image[..], &numbers]);
/// # let _: (Inputs, Inputs) = (one, two);
/// // Where the model takes an image as bytes.
/// let image = vec![128u8; 64];
/// let one = Inputs::from(&image);
/// let two = Inputs::from([Input::Bytes(&image), Input::Numbers(&numbers)]);
/// # let _: (Inputs, Inputs) = (one, two);
/// ```
#[derive(Debug, Clone)]
pub struct Inputs<'a, T = f32>(Vec<Input<'a, T>>);

impl<'a, T> From<&'a [T]> for Inputs<'a, T> {
    fn from(input: &'a [T]) -> Self {
        Self(vec![Input::Numbers(input)])
    }
}

impl<'a, T> From<&'a Vec<T>> for Inputs<'a, T> {
    fn from(input: &'a Vec<T>) -> Self {
        Self::from(input.as_slice())
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Inputs<'a, T> {
    fn from(input: &'a [T; N]) -> Self {
        Self::from(input.as_slice())
    }
}

impl<'a, T, const N: usize> From<[&'a [T]; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a [T]; N]) -> Self {
        inputs.into_iter().collect()
    }
}

impl<'a, T, const N: usize> From<[&'a Vec<T>; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a Vec<T>; N]) -> Self {
        inputs.into_iter().map(Vec::as_slice).collect()
    }
}

impl<'a, T, const N: usize, const M: usize> From<[&'a [T; M]; N]> for Inputs<'a, T> {
    fn from(inputs: [&'a [T; M]; N]) -> Self {
        inputs.into_iter().map(<[T; M]>::as_slice).collect()
    }
}

impl<'a, T> From<Vec<&'a [T]>> for Inputs<'a, T> {
    fn from(inputs: Vec<&'a [T]>) -> Self {
        inputs.into_iter().collect()
    }
}

impl<'a, T> FromIterator<&'a [T]> for Inputs<'a, T> {
    fn from_iter<I: IntoIterator<Item = &'a [T]>>(inputs: I) -> Self {
        inputs.into_iter().map(Input::Numbers).collect()
    }
}

impl<'a> From<&'a [u8]> for Inputs<'a> {
    fn from(input: &'a [u8]) -> Self {
        Self(vec![Input::Bytes(input)])
    }
}

impl<'a> From<&'a Vec<u8>> for Inputs<'a> {
    fn from(input: &'a Vec<u8>) -> Self {
        Self::from(input.as_slice())
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Inputs<'a> {
    fn from(input: &'a [u8; N]) -> Self {
        Self::from(input.as_slice())
    }
}

impl<'a, T, const N: usize> From<[Input<'a, T>; N]> for Inputs<'a, T> {
    fn from(inputs: [Input<'a, T>; N]) -> Self {
        Self(inputs.into())
    }
}

impl<'a, T> FromIterator<Input<'a, T>> for Inputs<'a, T> {
    fn from_iter<I: IntoIterator<Item = Input<'a, T>>>(inputs: I) -> Self {
        Self(inputs.into_iter().collect())
    }
}

impl<'a, T> Input<'a, T> {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Elements from a place to another, as far as there are so many.
    fn part(&self, begin: usize, end: usize) -> Self {
        let range = begin.min(self.len())..end.min(self.len());
        match self {
            Self::Numbers(numbers) => Self::Numbers(&numbers[range]),
            Self::Bytes(bytes) => Self::Bytes(&bytes[range]),
        }
    }

    /// Refuses bytes for an input of numbers, and the other way round.
    fn check_kind(&self, name: &str, takes_bytes: bool) -> Result<()> {
        match (self, takes_bytes) {
            (Self::Numbers(_), false) | (Self::Bytes(_), true) => Ok(()),
            (Self::Numbers(_), true) => {
                let reason = "are real numbers, where the model takes bytes";
                Err(Error::argument(format!("values of {name}"), reason))
            }
            (Self::Bytes(_), false) => {
                let reason =
                    "are bytes, where the model takes real numbers: Model::take_bytes changes that";
                Err(Error::argument(format!("values of {name}"), reason))
            }
        }
    }
}

impl<'a> Input<'a> {
    /// What goes to a device.
    pub(crate) fn raw(self) -> &'a [u8] {
        match self {
            Self::Numbers(numbers) => bytemuck::cast_slice(numbers),
            Self::Bytes(bytes) => bytes,
        }
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
    /// Each input.
    pub(crate) fn list(&self) -> &[Input<'a, T>] {
        &self.0
    }

    /// Whether there is not a single value.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|input| input.len() == 0)
    }

    /// The numbers of each, of what is never bytes.
    pub(crate) fn numbers(&self, what: &str) -> Result<Vec<&'a [T]>> {
        let numbers = self.0.iter().map(|input| match input {
            Input::Numbers(numbers) => Ok(*numbers),
            Input::Bytes(_) => Err(Error::argument(what, "are bytes, not real numbers")),
        });
        numbers.collect()
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
            given.check_kind(&name, graph.bytes(input).is_some())?;
            if given.len() == 0 || !given.len().is_multiple_of(shape.len()) {
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
            let end = begin.saturating_add(count);
            given.part(begin.saturating_mul(len), end.saturating_mul(len))
        });
        Self(part.collect())
    }
}
