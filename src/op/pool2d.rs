//! Two-dimensional pooling.

use super::window::{Padding, Size2, window_output};
use super::{image, like_image};
use crate::{Error, Result, Shape};

/// The maximum over a sliding window of `(N, C, H, W)`, plane by plane.
///
/// The contract, which is PyTorch's: the first maximum in row-major order wins a tie and 0.0 ties
/// with -0.0; padding never wins; NaN wins over everything, and the last NaN of a window gives the
/// index; a window of negative infinities gives its first position inside the image. The gradient
/// of an output goes to its maximum alone; where windows overlap, gradients add up.
///
/// ```
/// use wgpu_cnn::{MaxPool2d, Model};
/// let model = Model::builder([1, 5, 5]).push(MaxPool2d::new(3).stride(1)).build()?;
/// assert_eq!(model.output_shape().to_string(), "[1, 3, 3]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MaxPool2d {
    /// Window extents.
    pub kernel: Size2,
    /// Step between windows. Default the window's extents.
    pub stride: Size2,
    /// Positions around the image that never win. At most half of the window. Default none.
    pub padding: Padding,
    /// Distance between the window's positions. Default 1.
    pub dilation: Size2,
}

impl MaxPool2d {
    /// Windows of extent `kernel` that touch without overlapping.
    pub fn new(kernel: impl Into<Size2>) -> Self {
        let kernel = kernel.into();
        Self {
            kernel,
            stride: kernel,
            padding: Padding::ZERO,
            dilation: Size2::ONE,
        }
    }

    /// Sets the step between windows.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets the padding: a number, `[height, width]` or `[top, bottom, left, right]`.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets the distance between the window's positions.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// The resolved extents for an input of `[C, H, W]`, or of `[C, L]` taken as `[C, 1, L]`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Pool2dGeometry> {
        let [channels, in_size @ ..] = image("max_pool2d", input)?;
        let in_size = Size2::from(in_size);
        let padding = self.padding.resolve(self.kernel, self.dilation);
        let [top, bottom, left, right] = padding;
        // Every window holds at least one position of the image: PyTorch's rule, for each side.
        if top.max(bottom) > self.kernel.height / 2 || left.max(right) > self.kernel.width / 2 {
            return Err(Error::argument(
                "max_pool2d padding",
                format!(
                    "{padding:?} is more than half of the {}x{} window",
                    self.kernel.height, self.kernel.width
                ),
            ));
        }
        let out_size = window_output(
            "max_pool2d",
            in_size,
            self.kernel,
            self.stride,
            padding,
            self.dilation,
        )?;
        Ok(Pool2dGeometry {
            planes: batch * channels,
            in_size,
            out_size,
            kernel: self.kernel,
            stride: self.stride,
            padding,
            dilation: self.dilation,
        })
    }

    pub(crate) fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(like_image(
            input,
            image("max_pool2d", input)?[0],
            self.geometry(1, input)?.out_size,
        ))
    }
}

/// Every extent of a pooling, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2dGeometry {
    /// Images times channels.
    pub planes: usize,
    /// Extents of an input plane.
    pub in_size: Size2,
    /// Extents of an output plane.
    pub out_size: Size2,
    /// Window extents.
    pub kernel: Size2,
    /// Step between windows.
    pub stride: Size2,
    /// Padding: `[top, bottom, left, right]`.
    pub padding: [usize; 4],
    /// Distance between the window's positions.
    pub dilation: Size2,
}

impl Pool2dGeometry {
    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.planes * self.in_size.area()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.planes * self.out_size.area()
    }
}
