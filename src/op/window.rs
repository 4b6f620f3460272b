//! Windows that slide over a plane: what convolution and pooling have in common.

use crate::{Error, Result, Shape};

/// A height and a width. Converts from one number (both) and from `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size2 {
    /// Along the rows' axis, downwards.
    pub height: usize,
    /// Along a row.
    pub width: usize,
}

impl Size2 {
    /// One by one.
    pub const ONE: Self = Self {
        height: 1,
        width: 1,
    };

    /// Height times width, saturating where the product outgrows `usize`.
    pub fn area(self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl From<usize> for Size2 {
    fn from(both: usize) -> Self {
        Self {
            height: both,
            width: both,
        }
    }
}

impl From<[usize; 2]> for Size2 {
    fn from([height, width]: [usize; 2]) -> Self {
        Self { height, width }
    }
}

/// What surrounds a plane. Converts from one number, `[height, width]` (each on both sides) and
/// `[top, bottom, left, right]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// So many rows and columns.
    Explicit {
        /// Rows above.
        top: usize,
        /// Rows below.
        bottom: usize,
        /// Columns before.
        left: usize,
        /// Columns after.
        right: usize,
    },
    /// `dilation * (kernel - 1)` in all, so that at stride 1 the output is as large as the input
    /// (and at stride s its extent is the input's over s, rounded up). An odd total puts the larger
    /// half below and to the right, as PyTorch does: an even kernel K at dilation 1 gets K/2 - 1
    /// before and K/2 after.
    Same,
    /// As much as [`Same`](Self::Same), all of it above and to the left: an output depends on nothing
    /// after it.
    Causal,
}

impl Padding {
    /// None at all.
    pub const ZERO: Self = Self::Explicit {
        top: 0,
        bottom: 0,
        left: 0,
        right: 0,
    };

    /// `[top, bottom, left, right]` in rows and columns.
    pub(crate) fn resolve(self, kernel: Size2, dilation: Size2) -> [usize; 4] {
        let reach =
            |kernel: usize, dilation: usize| dilation.saturating_mul(kernel.saturating_sub(1));
        let rows = reach(kernel.height, dilation.height);
        let columns = reach(kernel.width, dilation.width);
        match self {
            Self::Explicit {
                top,
                bottom,
                left,
                right,
            } => [top, bottom, left, right],
            Self::Same => [
                rows / 2,
                rows - rows / 2,
                columns / 2,
                columns - columns / 2,
            ],
            Self::Causal => [rows, 0, columns, 0],
        }
    }
}

impl From<usize> for Padding {
    fn from(all: usize) -> Self {
        [all; 4].into()
    }
}

impl From<[usize; 2]> for Padding {
    fn from([height, width]: [usize; 2]) -> Self {
        [height, height, width, width].into()
    }
}

impl From<[usize; 4]> for Padding {
    fn from([top, bottom, left, right]: [usize; 4]) -> Self {
        Self::Explicit {
            top,
            bottom,
            left,
            right,
        }
    }
}

/// What a layer's extents are at most: the kernels compute positions in 32 bits.
pub(super) const LARGEST_EXTENT: usize = 1 << 24;

/// What a kernel spans with so much between its taps, saturating.
pub(super) fn dilated(kernel: usize, dilation: usize) -> usize {
    (kernel - 1).saturating_mul(dilation).saturating_add(1)
}

/// Refuses a window over a signal that reaches beyond its only row: a signal has no height to grow or to
/// pad. So a two-dimensional layer that is one row high is the one-dimensional layer.
pub(super) fn check_signal(
    name: &str,
    input: &Shape,
    kernel: Size2,
    [top, bottom, ..]: [usize; 4],
) -> Result<()> {
    if input.rank() != 2 || (kernel.height <= 1 && top == 0 && bottom == 0) {
        return Ok(());
    }
    let Size2 { height, width } = kernel;
    Err(Error::shape(
        name,
        format!("a window one row high, without rows of padding, for the signal {input}"),
        format!("{height}x{width} with {top} rows of padding above and {bottom} below"),
    ))
}

/// Refuses windows with positions that no computation holds: those of a geometry that a program wrote
/// itself.
pub(super) fn check_positions(
    name: &str,
    [input, output, kernel, stride, dilation]: [Size2; 5],
    [top, bottom, left, right]: [usize; 4],
) -> Result<()> {
    let end = |[input, output, kernel, stride, dilation]: [usize; 5],
               [before, behind]: [usize; 2]| {
        let window = output
            .checked_mul(stride)?
            .checked_add(kernel.checked_mul(dilation)?)?;
        let plane = input.checked_add(before)?.checked_add(behind)?;
        isize::try_from(window.checked_add(plane)?).ok()
    };
    let sizes = [input, output, kernel, stride, dilation];
    let rows = end(sizes.map(|size| size.height), [top, bottom]);
    let columns = end(sizes.map(|size| size.width), [left, right]);
    match (rows, columns) {
        (Some(_), Some(_)) => Ok(()),
        _ => Err(Error::argument(name, "windows that end beyond all numbers")),
    }
}

/// A window that slides over a plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub kernel: Size2,
    pub stride: Size2,
    /// `[top, bottom, left, right]`.
    pub padding: [usize; 4],
    pub dilation: Size2,
    /// Whether a last window that does not fit whole counts, if it begins before the padding behind
    /// the input.
    pub ceil: bool,
}

impl Window {
    /// The extents of the plane of window positions over a plane of extents `input`. The one place
    /// where this arithmetic lives.
    pub fn output(&self, name: &str, input: Size2) -> Result<Size2> {
        let Self {
            kernel,
            stride,
            padding: [top, bottom, left, right],
            dilation,
            ceil,
        } = *self;
        if [kernel, stride, dilation]
            .iter()
            .any(|size| size.height.min(size.width) == 0)
        {
            let reason = "kernel, stride and dilation must not be zero";
            return Err(Error::argument(name, reason));
        }
        let largest = LARGEST_EXTENT;
        let extents = [kernel, stride, dilation, input].map(|s| s.height.max(s.width));
        if extents
            .into_iter()
            .chain([top, bottom, left, right])
            .any(|extent| extent > largest)
        {
            return Err(Error::argument(
                name,
                format!("an extent is larger than {largest}"),
            ));
        }
        let positions =
            |input: usize, kernel, stride: usize, [before, behind]: [usize; 2], dilation| {
                // An extent that outgrows `usize` is larger than any that has room for it.
                let extent = dilated(kernel, dilation);
                let rounding = if ceil { stride - 1 } else { 0 };
                let room = (input + before + behind + rounding).checked_sub(extent)?;
                // The last position's number; if it begins in the padding behind, it does not count.
                let last = room / stride;
                let counts = !ceil || last * stride < input + before;
                Some(last + usize::from(counts))
            };
        let height = positions(
            input.height,
            kernel.height,
            stride.height,
            [top, bottom],
            dilation.height,
        );
        let width = positions(
            input.width,
            kernel.width,
            stride.width,
            [left, right],
            dilation.width,
        );
        match (height, width) {
            (Some(height), Some(width)) => Ok(Size2 { height, width }),
            _ => Err(Error::shape(
                name,
                format!(
                    "a padded input of at least {}x{} for its dilated {}x{} kernel",
                    dilated(kernel.height, dilation.height),
                    dilated(kernel.width, dilation.width),
                    kernel.height,
                    kernel.width
                ),
                format!(
                    "{}x{}",
                    input.height + top + bottom,
                    input.width + left + right
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, padding: [usize; 4], dilation: usize) -> Window {
        let (kernel, stride) = (kernel.into(), stride.into());
        Window {
            kernel,
            stride,
            padding,
            dilation: dilation.into(),
            ceil: false,
        }
    }

    #[test]
    fn same_padding_of_even_kernels_is_one_smaller_before_than_after() {
        let padding = Padding::Same.resolve(Size2::from([4, 3]), Size2::ONE);
        assert_eq!(padding, [1, 2, 1, 1]);
        let padding = Padding::Causal.resolve(Size2::from([4, 3]), Size2::from([1, 5]));
        assert_eq!(padding, [3, 0, 10, 0]);
        for (kernel, stride) in [(4, 1), (3, 2), (5, 3), (1, 2)] {
            let padding = Padding::Same.resolve(kernel.into(), Size2::ONE);
            let output = window(kernel, stride, padding, 1)
                .output("t", 13.into())
                .unwrap();
            assert_eq!(output.height, 13usize.div_ceil(stride));
        }
    }

    #[test]
    fn windows_that_do_not_fit_are_refused() {
        let fits = |kernel, stride, dilation| {
            window(kernel, stride, [0; 4], dilation).output("t", 5.into())
        };
        assert_eq!(fits(5, 1, 1).unwrap(), Size2::ONE);
        assert_eq!(fits(3, 7, 2).unwrap(), Size2::ONE);
        assert!(matches!(fits(6, 1, 1), Err(Error::Shape { .. })));
        assert!(matches!(fits(0, 1, 1), Err(Error::Argument { .. })));
        assert!(matches!(fits(3, 0, 1), Err(Error::Argument { .. })));
        assert!(matches!(
            fits(usize::MAX, 1, usize::MAX),
            Err(Error::Argument { .. })
        ));
    }

    #[test]
    fn ceil_mode_counts_a_window_that_begins_inside_the_input() {
        let positions = |input: usize, kernel, stride, padding| {
            let window = Window {
                ceil: true,
                ..window(kernel, stride, [padding; 4], 1)
            };
            window.output("t", input.into()).unwrap().height
        };
        assert_eq!(positions(7, 3, 2, 0), 3);
        assert_eq!(positions(8, 3, 2, 0), 4);
        assert_eq!(positions(4, 2, 3, 1), 2); // a third would begin in the padding behind
        assert_eq!(positions(2, 3, 2, 0), 1); // the window is larger than the input
        assert_eq!(positions(5, 2, 3, 0), 2);
        assert_eq!(positions(6, 1, 3, 0), 2);
    }
}
