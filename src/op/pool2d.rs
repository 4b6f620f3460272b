//! Pooling: one number for each window of a plane.

use super::window::{Padding, Size2, Window, check_positions, check_signal};
use super::{Definition, ParameterSpec, countable, image, like_image, only};
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
    /// Whether a last window that does not fit whole counts too. Default false.
    pub ceil_mode: bool,
}

impl MaxPool2d {
    /// Windows of extent `kernel` that touch without overlapping.
    pub fn new(kernel: impl Into<Size2>) -> Self {
        let kernel = kernel.into();
        let (padding, dilation) = (Padding::ZERO, Size2::ONE);
        Self {
            kernel,
            stride: kernel,
            padding,
            dilation,
            ceil_mode: false,
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

    /// Sets whether a last window that does not fit whole counts too.
    pub fn ceil_mode(mut self, ceil: bool) -> Self {
        self.ceil_mode = ceil;
        self
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Pool2dGeometry> {
        let Self {
            kernel,
            stride,
            padding,
            dilation,
            ceil_mode: ceil,
        } = *self;
        let padding = padding.resolve(kernel, dilation);
        geometry(
            "max_pool2d",
            batch,
            input,
            Window {
                kernel,
                stride,
                padding,
                dilation,
                ceil,
            },
        )
    }
}

impl Definition for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("max_pool2d", inputs)?;
        output_shape(input, &self.geometry(1, input)?)
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

/// The mean over a sliding window of `(N, C, H, W)`, plane by plane.
///
/// ```
/// use wgpu_cnn::{AvgPool2d, Model};
/// let pool = AvgPool2d::new(3).stride(2).padding(1).count_include_pad(false);
/// let model = Model::builder([1, 5, 5]).push(pool).build()?;
/// assert_eq!(model.output_shape().to_string(), "[1, 3, 3]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AvgPool2d {
    /// Window extents.
    pub kernel: Size2,
    /// Step between windows. Default the window's extents.
    pub stride: Size2,
    /// Zeros around the image. At most half of the window. Default none.
    pub padding: Padding,
    /// Whether a last window that does not fit whole counts too. Default false.
    pub ceil_mode: bool,
    /// Whether the padding counts as values, that is, whether the sum over a window is divided by
    /// its extent within the padded image rather than within the image. Default true.
    pub count_include_pad: bool,
}

impl AvgPool2d {
    /// Windows of extent `kernel` that touch without overlapping.
    pub fn new(kernel: impl Into<Size2>) -> Self {
        let kernel = kernel.into();
        let padding = Padding::ZERO;
        Self {
            kernel,
            stride: kernel,
            padding,
            ceil_mode: false,
            count_include_pad: true,
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

    /// Sets whether a last window that does not fit whole counts too.
    pub fn ceil_mode(mut self, ceil: bool) -> Self {
        self.ceil_mode = ceil;
        self
    }

    /// Sets whether the padding counts as values.
    pub fn count_include_pad(mut self, count: bool) -> Self {
        self.count_include_pad = count;
        self
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Pool2dGeometry> {
        let Self {
            kernel,
            stride,
            padding,
            ceil_mode: ceil,
            ..
        } = *self;
        let (padding, dilation) = (padding.resolve(kernel, Size2::ONE), Size2::ONE);
        geometry(
            "avg_pool2d",
            batch,
            input,
            Window {
                kernel,
                stride,
                padding,
                dilation,
                ceil,
            },
        )
    }
}

impl Definition for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("avg_pool2d", inputs)?;
        output_shape(input, &self.geometry(1, input)?)
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

/// How all positions of a plane become one: `(N, C, H, W)` to `(N, C, 1, 1)`. After a scan of a
/// signal with a small network, this says whether the pattern is anywhere in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GlobalPool {
    /// Their maximum, with the contract of [`MaxPool2d`].
    Max,
    /// Their mean.
    Average,
    /// Their mean weighted with their own softmax, `sum of softmax(x) * x`: between mean and
    /// maximum, and every position learns.
    Softmax,
}

impl GlobalPool {
    /// Every kind.
    pub(crate) const ALL: [Self; 3] = [Self::Max, Self::Average, Self::Softmax];

    /// The extents of the pooling over whole planes.
    pub fn geometry(self, batch: usize, input: &Shape) -> Result<Pool2dGeometry> {
        let [_, height, width] = image(Definition::name(&self), input)?;
        let (kernel, stride, dilation) = (Size2 { height, width }, Size2::ONE, Size2::ONE);
        let window = Window {
            kernel,
            stride,
            padding: [0; 4],
            dilation,
            ceil: false,
        };
        geometry(Definition::name(&self), batch, input, window)
    }
}

impl Definition for GlobalPool {
    fn name(&self) -> &'static str {
        match self {
            Self::Max => "global_max_pool",
            Self::Average => "global_avg_pool",
            Self::Softmax => "global_softmax_pool",
        }
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only(self.name(), inputs)?;
        output_shape(input, &self.geometry(1, input)?)
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
        let &Self {
            planes,
            in_size,
            out_size,
            kernel,
            stride,
            dilation,
            padding,
        } = self;
        let sizes = [stride, dilation, in_size, out_size];
        if sizes.iter().any(|size| size.area() == 0) {
            let reason = "stride, dilation and extents must not be zero";
            return Err(Error::argument(name, reason));
        }
        check_positions(name, [in_size, out_size, kernel, stride, dilation], padding)?;
        countable(name, &[planes, in_size.height, in_size.width])?;
        countable(name, &[planes, out_size.height, out_size.width])
    }
}

fn geometry(name: &str, batch: usize, input: &Shape, window: Window) -> Result<Pool2dGeometry> {
    let [channels, in_size @ ..] = image(name, input)?;
    let in_size = Size2::from(in_size);
    let Window {
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = window;
    let [top, bottom, left, right] = padding;
    // What pools whole planes fits a signal as it is.
    check_signal(name, input, kernel, padding)?;
    // PyTorch's rule, for each side: without it a window could lie wholly in the padding.
    if top.max(bottom) > kernel.height / 2 || left.max(right) > kernel.width / 2 {
        let size = format!("{}x{}", kernel.height, kernel.width);
        let reason = format!("{padding:?} is more than half of the {size} window");
        return Err(Error::argument(format!("{name} padding"), reason));
    }
    let out_size = window.output(name, in_size)?;
    countable(name, &input.batched(batch))?;
    countable(name, &[batch, channels, out_size.height, out_size.width])?;
    Ok(Pool2dGeometry {
        planes: batch.saturating_mul(channels),
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        dilation,
    })
}

fn output_shape(input: &Shape, geometry: &Pool2dGeometry) -> Result<Shape> {
    Ok(like_image(input, input[0], geometry.out_size))
}
