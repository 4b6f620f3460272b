//! Two values, element by element: their sum and their product.

use super::{Definition, ParameterSpec, countable};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// The sum of two values, element by element: what joins the branches of a residual block (He et al.
/// 2016).
///
/// Beside two values of one shape `[C, ...]` it takes, on either side, one with a number for each channel,
/// `[C, 1, ...]`, or for each position, `[1, ...]`, which counts for all positions or channels; and one of
/// each. Such a value's gradient is the sum over those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Add;

/// The product of two values, element by element: what a gate does, as in squeeze and excitation (Hu et al.
/// 2018), where it has one number for each channel. The shapes are those that [`Add`] takes.
///
/// ```
/// use wgpu_cnn::op::{Mul, Spread};
/// let geometry = Mul.geometry(8, &[32, 7, 7].into(), &[32, 1, 1].into())?;
/// assert_eq!((geometry.left, geometry.right), (Spread::Whole, Spread::Channels));
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mul;

/// How a side of a sum or a product lies beside the result `(N, C, plane)`. Along the axes that it lacks,
/// each of its numbers counts for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spread {
    /// As the result, `(N, C, plane)`.
    Whole,
    /// A number for each channel, `(N, C)`.
    Channels,
    /// A number for each position, `(N, plane)`.
    Positions,
    /// A number for each example, `(N)`.
    Examples,
}

impl Spread {
    /// Whether each channel has numbers of its own.
    pub fn has_channels(self) -> bool {
        matches!(self, Self::Whole | Self::Channels)
    }

    /// Whether each position has numbers of its own.
    pub fn has_positions(self) -> bool {
        matches!(self, Self::Whole | Self::Positions)
    }
}

/// Every extent of a sum or a product of two values, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BroadcastGeometry {
    /// Examples.
    pub batch: usize,
    /// Channels of the result.
    pub channels: usize,
    /// Values of a channel of the result in one example.
    pub plane: usize,
    /// How the left side lies.
    pub left: Spread,
    /// How the right side lies.
    pub right: Spread,
}

impl BroadcastGeometry {
    /// Of two values of one shape, of `len` elements each.
    pub(crate) fn of_whole(len: usize) -> Self {
        Self {
            batch: 1,
            channels: 1,
            plane: len,
            left: Spread::Whole,
            right: Spread::Whole,
        }
    }

    /// The same with the sides in the other order.
    pub(crate) fn swapped(self) -> Self {
        let Self { left, right, .. } = self;
        Self {
            left: right,
            right: left,
            ..self
        }
    }

    /// Elements of a side. Saturates where they are more than `usize` holds.
    pub fn side_len(&self, side: Spread) -> usize {
        let channels = if side.has_channels() {
            self.channels
        } else {
            1
        };
        let plane = if side.has_positions() { self.plane } else { 1 };
        elements(&[self.batch, channels, plane])
    }

    /// Elements of the result. Saturates likewise.
    pub fn output_len(&self) -> usize {
        self.side_len(Spread::Whole)
    }
}

/// The extents of the result, and how both sides lie in it.
fn spread(name: &str, inputs: &[&Shape]) -> Result<(Shape, [Spread; 2])> {
    let &[left, right] = inputs else {
        return Err(Error::shape(name, "two values", inputs.len()));
    };
    let unfit = || {
        let expected = format!(
            "two values of {left}, or one with a number for each channel or for each position"
        );
        Error::shape(name, expected, right)
    };
    if left.rank() != right.rank() {
        return Err(unfit());
    }
    let pairs = left.iter().zip(&right[..]);
    let extents: Option<Vec<usize>> = pairs
        .map(|pair| match pair {
            (left, right) if left == right => Some(*left),
            (1, extent) | (extent, 1) if *extent > 0 => Some(*extent),
            _ => None,
        })
        .collect();
    let output = Shape::from(extents.ok_or_else(unfit)?);
    let of = |side: &Shape| {
        let whole = |axes: std::ops::Range<usize>| side.get(axes.clone()) == output.get(axes);
        let channels = whole(0..1.min(output.rank()));
        let ones = side.iter().skip(1).all(|&extent| extent == 1);
        match (channels, whole(1.min(output.rank())..output.rank())) {
            (true, true) => Some(Spread::Whole),
            (true, false) if ones => Some(Spread::Channels),
            (false, true) => Some(Spread::Positions),
            (false, false) if ones => Some(Spread::Examples),
            _ => None,
        }
    };
    match [of(left), of(right)] {
        [Some(left), Some(right)] => Ok((output, [left, right])),
        _ => Err(unfit()),
    }
}

fn geometry(name: &str, batch: usize, inputs: [&Shape; 2]) -> Result<BroadcastGeometry> {
    let (output, [left, right]) = spread(name, &inputs)?;
    countable(name, &output.batched(batch))?;
    Ok(BroadcastGeometry {
        batch,
        channels: output.first().copied().unwrap_or(1),
        plane: elements(output.get(1..).unwrap_or(&[])),
        left,
        right,
    })
}

impl Add {
    /// The resolved extents for `batch` examples of these shapes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the two do not fit together: they differ along an axis where neither is 1, or
    /// one has some of the positions and not all.
    pub fn geometry(&self, batch: usize, left: &Shape, right: &Shape) -> Result<BroadcastGeometry> {
        geometry("add", batch, [left, right])
    }
}

impl Mul {
    /// The resolved extents for `batch` examples of these shapes.
    ///
    /// # Errors
    ///
    /// Those of [`Add::geometry`].
    pub fn geometry(&self, batch: usize, left: &Shape, right: &Shape) -> Result<BroadcastGeometry> {
        geometry("mul", batch, [left, right])
    }
}

macro_rules! definition {
    ($operator:ident, $name:literal) => {
        impl Definition for $operator {
            fn name(&self) -> &'static str {
                $name
            }

            fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
                Ok(spread($name, inputs)?.0)
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

definition!(Add, "add");
definition!(Mul, "mul");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_side_may_have_one_channel_or_one_position() {
        use Spread::{Channels, Examples, Positions, Whole};
        let resolved = |left: &[usize], right: &[usize]| {
            let geometry = Mul.geometry(2, &left.into(), &right.into())?;
            let BroadcastGeometry {
                channels, plane, ..
            } = geometry;
            Ok::<_, Error>(([channels, plane], geometry.left, geometry.right))
        };
        let image = [3, 5, 4];
        let fits: [(&[usize], &[usize], _); 12] = [
            (&image, &image, ([3, 20], Whole, Whole)),
            (&image, &[3, 1, 1], ([3, 20], Whole, Channels)),
            (&[1, 5, 4], &image, ([3, 20], Positions, Whole)),
            (&[1, 1, 1], &image, ([3, 20], Examples, Whole)),
            (&[3, 1, 1], &[1, 5, 4], ([3, 20], Channels, Positions)),
            (&[3, 1, 1], &[1, 1, 1], ([3, 1], Whole, Positions)),
            (&[1, 5, 4], &[1, 1, 1], ([1, 20], Whole, Channels)),
            (&[3, 9], &[3, 1], ([3, 9], Whole, Channels)),
            (&[1, 9], &[3, 9], ([3, 9], Positions, Whole)),
            (&[7], &[7], ([7, 1], Whole, Whole)),
            (&[7], &[1], ([7, 1], Whole, Positions)),
            (&[], &[], ([1, 1], Whole, Whole)),
        ];
        for (left, right, expected) in fits {
            assert_eq!(
                resolved(left, right).unwrap(),
                expected,
                "{left:?} {right:?}"
            );
            let (extents, left_lies, right_lies) = expected;
            let swapped = (extents, right_lies, left_lies);
            assert_eq!(
                resolved(right, left).unwrap(),
                swapped,
                "{right:?} {left:?}"
            );
        }
        let unfit: [(&[usize], &[usize]); 8] = [
            (&image, &[3]),
            (&image, &[1, 3, 1]),
            (&image, &[3, 5, 1]),
            (&image, &[3, 1, 4]),
            (&image, &[1, 5, 1]),
            (&image, &[3, 4, 5]),
            (&[3, 5, 1], &[3, 1, 4]),
            (&[3, 0], &[3, 1]),
        ];
        for (left, right) in unfit {
            assert!(resolved(left, right).is_err(), "{left:?} {right:?}");
            assert!(resolved(right, left).is_err(), "{right:?} {left:?}");
        }
        let huge: Shape = [usize::MAX, 2].into();
        assert!(Add.geometry(1, &huge, &huge).is_err());
        assert!(Add.geometry(usize::MAX, &[2].into(), &[1].into()).is_err());
    }
}
