//! Pooling to a size that does not depend on the input's.

use std::ops::Range;

use super::window::LARGEST_EXTENT;
use super::{Definition, ParameterSpec, Pool2dGeometry, Size2, countable, image, like_image, only};
use crate::{Error, Result, Shape};

/// Mean pooling of `(N, C, H, W)` to `(N, C, OH, OW)` whatever `H` and `W` are: window `i` of an axis of `in`
/// values that becomes `out` begins at `floor(i * in / out)` and ends before `ceil((i + 1) * in / out)`, as in
/// PyTorch. Windows overlap where `out` does not divide `in`, and repeat values where it is larger.
///
/// ```
/// use wgpu_cnn::Model;
/// for input in [224, 100, 3] {
///     let model = Model::builder([8, input, input]).adaptive_avg_pool2d(7).build()?;
///     assert_eq!(model.output_shape().to_string(), "[8, 7, 7]");
/// }
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdaptiveAvgPool2d {
    /// Extents of an output plane. Of a signal, which is one row, the height is 1.
    pub size: Size2,
}

/// Max-pooling to a size that does not depend on the input's, over the windows of [`AdaptiveAvgPool2d`] and
/// with the contract of [`MaxPool2d`](crate::MaxPool2d).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdaptiveMaxPool2d {
    /// Extents of an output plane. Of a signal, which is one row, the height is 1.
    pub size: Size2,
}

macro_rules! adaptive_pool {
    ($name:ident, $called:literal) => {
        impl Definition for $name {
            fn name(&self) -> &'static str {
                $called
            }

            fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
                let input = only($called, inputs)?;
                let geometry = self.geometry(1, input)?;
                Ok(like_image(input, input[0], geometry.out_size))
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

adaptive_pool!(AdaptiveAvgPool2d, "adaptive_avg_pool2d");
adaptive_pool!(AdaptiveMaxPool2d, "adaptive_max_pool2d");

impl AdaptiveAvgPool2d {
    /// Planes of this size: a number, or `[height, width]`.
    pub fn new(size: impl Into<Size2>) -> Self {
        let size = size.into();
        Self { size }
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<AdaptivePool2dGeometry> {
        geometry("adaptive_avg_pool2d", batch, input, self.size)
    }
}

impl AdaptiveMaxPool2d {
    /// Planes of this size: a number, or `[height, width]`.
    pub fn new(size: impl Into<Size2>) -> Self {
        let size = size.into();
        Self { size }
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<AdaptivePool2dGeometry> {
        geometry("adaptive_max_pool2d", batch, input, self.size)
    }
}

fn geometry(
    name: &str,
    batch: usize,
    input: &Shape,
    out_size: Size2,
) -> Result<AdaptivePool2dGeometry> {
    let [channels, in_size @ ..] = image(name, input)?;
    if input.rank() == 2 && out_size.height != 1 {
        let expected = format!("one row, for the signal {input}");
        let got = format!("{} rows", out_size.height);
        return Err(Error::shape(name, expected, got));
    }
    let geometry = AdaptivePool2dGeometry {
        planes: batch.saturating_mul(channels),
        in_size: in_size.into(),
        out_size,
    };
    geometry.check(name)?;
    Ok(geometry)
}

/// Every extent of a pooling to a size, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AdaptivePool2dGeometry {
    /// Images times channels.
    pub planes: usize,
    /// Extents of an input plane.
    pub in_size: Size2,
    /// Extents of an output plane.
    pub out_size: Size2,
}

impl AdaptivePool2dGeometry {
    /// Elements of the input, saturating where the product outgrows `usize`.
    pub fn input_len(&self) -> usize {
        self.planes.saturating_mul(self.in_size.area())
    }

    /// Elements of the output, saturating like those of the input.
    pub fn output_len(&self) -> usize {
        self.planes.saturating_mul(self.out_size.area())
    }

    /// Refuses what is no pooling, of a geometry that a program wrote itself.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        for Size2 { height, width } in [self.in_size, self.out_size] {
            if height.min(width) == 0 || height.max(width) > LARGEST_EXTENT {
                let reason = format!("{height}x{width} is not within 1x1..={LARGEST_EXTENT}");
                return Err(Error::argument(format!("{name} size"), reason));
            }
            countable(name, &[self.planes, height, width])?;
        }
        Ok(())
    }

    /// The ordinary pooling that it is, where the windows are all of one size and do not overlap: whole
    /// planes among them.
    pub(crate) fn ordinary(&self) -> Option<Pool2dGeometry> {
        let Self {
            planes,
            in_size,
            out_size,
        } = *self;
        let divides = |input: usize, output: usize| input.is_multiple_of(output);
        let both =
            divides(in_size.height, out_size.height) && divides(in_size.width, out_size.width);
        let kernel = Size2 {
            height: in_size.height / out_size.height,
            width: in_size.width / out_size.width,
        };
        both.then_some(Pool2dGeometry {
            planes,
            in_size,
            out_size,
            kernel,
            stride: kernel,
            padding: [0; 4],
            dilation: Size2::ONE,
        })
    }

    /// The rows and columns of the window of output `at` of a plane.
    pub(crate) fn window(&self, at: usize) -> [Range<usize>; 2] {
        let Self {
            in_size, out_size, ..
        } = *self;
        [
            span(at / out_size.width, in_size.height, out_size.height),
            span(at % out_size.width, in_size.width, out_size.width),
        ]
    }

    /// The largest window's extents.
    pub(crate) fn largest_window(&self) -> Size2 {
        Size2 {
            height: longest(self.in_size.height, self.out_size.height),
            width: longest(self.in_size.width, self.out_size.width),
        }
    }

    /// Windows that reach a position at most, along each axis.
    pub(crate) fn covering(&self) -> Size2 {
        Size2 {
            height: longest(self.out_size.height, self.in_size.height),
            width: longest(self.out_size.width, self.in_size.width),
        }
    }
}

/// Window `i` of an axis: what part `i` of `output` equal ones touches of `input` values. With the two
/// exchanged, it is the windows that reach position `i`.
fn span(i: usize, input: usize, output: usize) -> Range<usize> {
    // In 64 bits whatever the machine: extents have up to 25.
    let [place, input, output] = [i, input, output].map(|extent| extent as u64);
    let end = ((place + 1) * input).div_ceil(output);
    (place * input / output) as usize..end as usize
}

/// The length of the longest of these windows, or one more.
fn longest(input: usize, output: usize) -> usize {
    let rest = usize::from(!input.is_multiple_of(output));
    (input / output + 2 * rest).min(input).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_what_they_reach_are_the_same_relation() {
        for (input, output) in (1..20).flat_map(|i| (1..20).map(move |o| (i, o))) {
            let windows: Vec<_> = (0..output).map(|i| span(i, input, output)).collect();
            assert_eq!(windows[0].start, 0);
            assert_eq!(windows[output - 1].end, input);
            for window in &windows {
                assert!(!window.is_empty() && window.len() <= longest(input, output));
            }
            for place in 0..input {
                let over: Vec<_> = (0..output)
                    .filter(|&i| windows[i].contains(&place))
                    .collect();
                assert_eq!(over, span(place, output, input).collect::<Vec<_>>());
                assert!(over.len() <= longest(output, input));
            }
        }
    }

    #[test]
    fn hostile_sizes_are_refused() {
        let image = &[1, 4, 4].into();
        for size in [0, LARGEST_EXTENT + 1, usize::MAX] {
            let average = AdaptiveAvgPool2d::new([size, 1]).geometry(1, image);
            let maximum = AdaptiveMaxPool2d::new([1, size]).geometry(1, image);
            assert!(average.is_err() && maximum.is_err(), "{size}");
        }
        assert!(
            AdaptiveAvgPool2d::new(2)
                .geometry(usize::MAX, image)
                .is_err()
        );
        let said = AdaptiveMaxPool2d::new(2).geometry(1, &[2, 9].into());
        assert!(
            said.unwrap_err()
                .to_string()
                .contains("one row, for the signal [2, 9]")
        );
    }

    #[test]
    fn what_divides_evenly_is_ordinary() {
        let ordinary = |size: [usize; 2]| {
            let geometry = AdaptiveAvgPool2d::new(size).geometry(1, &[1, 6, 8].into());
            geometry.unwrap().ordinary().map(|pool| pool.kernel)
        };
        assert_eq!(ordinary([1, 1]), Some([6, 8].into()));
        assert_eq!(ordinary([3, 2]), Some([2, 4].into()));
        assert_eq!([ordinary([3, 3]), ordinary([12, 8])], [None; 2]);
    }
}
