//! Parts of a value: a range along an axis, and channels in another order.

use std::ops::Range;

use super::{Definition, ParameterSpec, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// A range of each example along one axis. Its gradient is zero outside of the range.
///
/// ```
/// use wgpu_cnn::{Model, Slice};
/// let model = Model::builder([6, 8, 8])
///     .push(Slice::channels(3..6))
///     .push(Slice::rows(1..8))
///     .build()?;
/// assert_eq!(model.output_shape().to_string(), "[3, 7, 8]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slice {
    /// The axis, counted without the batch: 0 are the channels.
    pub axis: usize,
    /// The first place that is taken.
    pub from: usize,
    /// The place behind the last.
    pub to: usize,
}

impl Slice {
    /// A range along an axis, which is counted without the batch.
    pub fn new(axis: usize, range: Range<usize>) -> Self {
        let Range {
            start: from,
            end: to,
        } = range;
        Self { axis, from, to }
    }

    /// A range of channels.
    pub fn channels(range: Range<usize>) -> Self {
        Self::new(0, range)
    }

    /// A range of the rows of images `[C, H, W]`, or of the positions of signals `[C, L]`.
    pub fn rows(range: Range<usize>) -> Self {
        Self::new(1, range)
    }

    /// A range of the columns of images `[C, H, W]`.
    pub fn columns(range: Range<usize>) -> Self {
        Self::new(2, range)
    }

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input has no such axis, or the range is empty or goes beyond it.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<SelectGeometry> {
        countable("slice", &input.batched(batch))?;
        let &Self { axis, from, to } = self;
        let Some(&extent) = input.get(axis) else {
            let expected =
                format!("an input with an axis {axis}, counted from 0 without the batch");
            return Err(Error::shape("slice", expected, input));
        };
        if from >= to || to > extent {
            let expected = format!("a range within 0..{extent} that is not empty");
            return Err(Error::shape("slice", expected, format!("{from}..{to}")));
        }
        Ok(SelectGeometry {
            outer: batch * elements(&input[..axis]), // countable
            extent,
            inner: elements(&input[axis + 1..]),
        })
    }
}

/// Channels in the order of ShuffleNet (Zhang et al. 2018): the channels as a matrix `(groups, C /
/// groups)`, transposed, so that each group gives to all of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelShuffle {
    /// Groups, which divide the channels.
    pub groups: usize,
}

impl ChannelShuffle {
    /// The channels of this many groups, mixed.
    pub fn new(groups: usize) -> Self {
        Self { groups }
    }

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the groups do not divide the channels.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<SelectGeometry> {
        let geometry = channels("channel_shuffle", batch, input)?;
        self.check(geometry.extent)?;
        Ok(geometry)
    }

    /// Refuses groups that do not divide the channels.
    pub(crate) fn check(&self, channels: usize) -> Result<()> {
        match channels.checked_rem(self.groups) {
            Some(0) => Ok(()),
            _ => {
                let expected = format!("channels divisible by {} groups", self.groups);
                Err(Error::shape("channel_shuffle", expected, channels))
            }
        }
    }
}

/// Channels by their numbers: channel `j` of the output is channel `index[j]` of the input. A channel may
/// be taken several times, and its gradient is then the sum of theirs, or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChannelPermute {
    /// The input's channel for each of the output's.
    pub index: Vec<usize>,
}

impl ChannelPermute {
    /// The channels with these numbers, in this order.
    pub fn new(index: impl Into<Vec<usize>>) -> Self {
        Self {
            index: index.into(),
        }
    }

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where a number is not that of a channel, or there is none.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<SelectGeometry> {
        let geometry = channels("channel_permute", batch, input)?;
        check_index(&self.index, geometry.extent)?;
        countable(
            "channel_permute",
            &[geometry.outer, self.index.len(), geometry.inner],
        )?;
        Ok(geometry)
    }
}

/// Refuses numbers of no channel.
pub(crate) fn check_index(index: &[usize], channels: usize) -> Result<()> {
    let outside = index.iter().find(|&&channel| channel >= channels);
    let got = match outside {
        Some(channel) => channel.to_string(),
        None if index.is_empty() => "none".into(),
        None => return Ok(()),
    };
    let expected = format!("numbers of channels below {channels}");
    Err(Error::shape("channel_permute", expected, got))
}

fn channels(name: &str, batch: usize, input: &Shape) -> Result<SelectGeometry> {
    countable(name, &input.batched(batch))?;
    match input[..] {
        [extent, ref plane @ ..] if !input.is_empty() => Ok(SelectGeometry {
            outer: batch,
            extent,
            inner: elements(plane),
        }),
        _ => Err(Error::shape(name, "channels [C, ...]", input)),
    }
}

/// The extents around the axis along which something is taken: `(outer, extent, inner)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SelectGeometry {
    /// Of the axes before it, the batch among them.
    pub outer: usize,
    /// Of the axis itself, in the input.
    pub extent: usize,
    /// Of the axes behind it.
    pub inner: usize,
}

impl SelectGeometry {
    /// Elements where the axis has this extent. Saturates where they are more than `usize` holds.
    pub fn len_of(&self, extent: usize) -> usize {
        elements(&[self.outer, extent, self.inner])
    }
}

/// The input's shape with another extent along an axis.
fn with_extent(input: &Shape, axis: usize, extent: usize) -> Shape {
    let mut extents = input.to_vec();
    if let Some(of_axis) = extents.get_mut(axis) {
        *of_axis = extent;
    }
    extents.into()
}

macro_rules! definition {
    ($operator:ident, $name:literal, |$layer:ident, $input:ident| $output:expr) => {
        impl Definition for $operator {
            fn name(&self) -> &'static str {
                $name
            }

            fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
                let ($layer, $input) = (self, only($name, inputs)?);
                $layer.geometry(1, $input)?;
                Ok($output)
            }

            fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
                Ok(Vec::new())
            }

            fn is_view(&self) -> bool {
                false
            }

            fn is_identity_in_evaluation(&self) -> bool {
                false
            }

            fn check_training(&self, _: usize, _: &[&Shape]) -> Result<()> {
                Ok(())
            }

            fn reads_half(&self, _: usize) -> bool {
                false
            }

            fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
                Ok(0)
            }
        }
    };
}

definition!(Slice, "slice", |slice, input| with_extent(
    input,
    slice.axis,
    slice.to - slice.from
));
definition!(ChannelShuffle, "channel_shuffle", |_shuffle, input| input
    .clone());
definition!(ChannelPermute, "channel_permute", |permute, input| {
    with_extent(input, 0, permute.index.len())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_part_of_the_input_is_refused() {
        let image: Shape = [6, 4, 5].into();
        let slices = [
            Slice::channels(0..7),
            Slice::channels(3..3),
            Slice::rows(4..4),
            Slice::rows(0..5),
            Slice::columns(2..usize::MAX),
            Slice::new(3, 0..1),
            Slice::new(usize::MAX, 0..1),
            Slice {
                axis: 0,
                from: 3,
                to: 1,
            },
        ];
        for slice in slices {
            assert!(slice.output_shape(&[&image]).is_err(), "{slice:?}");
        }
        let shape = Slice::columns(2..5).output_shape(&[&image]).unwrap();
        assert_eq!(shape, [6, 4, 3].into());
        assert!(Slice::channels(0..1).geometry(usize::MAX, &image).is_err());
        for groups in [0, 4, 5, 12, usize::MAX] {
            assert!(ChannelShuffle::new(groups).geometry(1, &image).is_err());
        }
        for groups in [1, 2, 3, 6] {
            ChannelShuffle::new(groups).geometry(1, &image).unwrap();
        }
        for index in [vec![], vec![6], vec![0, usize::MAX]] {
            assert!(ChannelPermute::new(index).geometry(1, &image).is_err());
        }
        let permute = ChannelPermute::new([5, 5, 0, 1, 2, 3, 4, 0]);
        let shape = permute.output_shape(&[&image]).unwrap();
        assert_eq!(shape, [8, 4, 5].into());
    }
}
