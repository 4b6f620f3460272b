//! Batches as an iterator gives them.

use super::{Input, Inputs, Targets};
use crate::{Error, Result};

/// What holds the inputs of a batch: a vector, an array or a slice of a single input, or a list of these
/// with one for each.
pub trait AsInputs {
    /// The inputs.
    fn as_inputs(&self) -> Inputs<'_>;
}

macro_rules! single_inputs {
    ($($number:ty),*) => {$(
        impl AsInputs for [$number] {
            fn as_inputs(&self) -> Inputs<'_> {
                self.into()
            }
        }
        impl AsInputs for Vec<$number> {
            fn as_inputs(&self) -> Inputs<'_> {
                self.into()
            }
        }
        impl<const N: usize> AsInputs for [$number; N] {
            fn as_inputs(&self) -> Inputs<'_> {
                self.into()
            }
        }
    )*};
}
single_inputs!(f32, u8);

impl AsInputs for Inputs<'_> {
    fn as_inputs(&self) -> Inputs<'_> {
        self.clone()
    }
}

macro_rules! lists_of_inputs {
    ($($input:ty),*) => {$(
        impl AsInputs for Vec<$input> {
            fn as_inputs(&self) -> Inputs<'_> {
                self.iter().map(|input| &input[..]).collect()
            }
        }
        impl<const N: usize> AsInputs for [$input; N] {
            fn as_inputs(&self) -> Inputs<'_> {
                self.iter().map(|input| &input[..]).collect()
            }
        }
    )*};
}
lists_of_inputs!(&[f32], &Vec<f32>, Vec<f32>);

impl AsInputs for Vec<Input<'_>> {
    fn as_inputs(&self) -> Inputs<'_> {
        self.iter().copied().collect()
    }
}

impl<const N: usize> AsInputs for [Input<'_>; N] {
    fn as_inputs(&self) -> Inputs<'_> {
        self.iter().copied().collect()
    }
}

impl<I: AsInputs + ?Sized> AsInputs for &I {
    fn as_inputs(&self) -> Inputs<'_> {
        (**self).as_inputs()
    }
}

/// A batch with its targets, or what may be one: what an iterator gives to
/// [`evaluate`](crate::Trainer::evaluate). A pair of inputs and targets is one, owned or lent, and so is a
/// `Result` of it, as a loader gives.
///
/// ```
/// use wgpu_cnn::IntoBatch;
/// fn batches(_: impl IntoIterator<Item = impl IntoBatch>) {}
/// let owned = vec![(vec![0.5f32; 8], vec![0u8, 1])];
/// batches(&owned);
/// batches([(&owned[0].0[..], &owned[0].1[..])]);
/// batches(owned.into_iter().map(Ok::<_, wgpu_cnn::Error>));
/// ```
pub trait IntoBatch {
    /// What holds the inputs.
    type Inputs: AsInputs;

    /// The inputs and the targets.
    ///
    /// # Errors
    /// What kept the batch from being made.
    fn into_batch(self) -> Result<(Self::Inputs, Targets)>;
}

impl<I: AsInputs, T: Into<Targets>> IntoBatch for (I, T) {
    type Inputs = I;

    fn into_batch(self) -> Result<(I, Targets)> {
        Ok((self.0, self.1.into()))
    }
}

impl<'a, I: AsInputs, T> IntoBatch for &'a (I, T)
where
    &'a T: Into<Targets>,
{
    type Inputs = &'a I;

    fn into_batch(self) -> Result<(&'a I, Targets)> {
        Ok((&self.0, (&self.1).into()))
    }
}

impl<B: IntoBatch, E: Into<Error>> IntoBatch for std::result::Result<B, E> {
    type Inputs = B::Inputs;

    fn into_batch(self) -> Result<(B::Inputs, Targets)> {
        self.map_err(Into::into)?.into_batch()
    }
}
