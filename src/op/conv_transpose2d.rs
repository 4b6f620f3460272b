//! Transpose convolution: a convolution's input gradient as a layer of its own.

use super::conv2d::check_channels;
use super::window::{LARGEST_EXTENT, Padding, Size2, check_signal, dilated};
use super::{Conv2dGeometry, Definition, Init, ParameterSpec, image, like_image, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// A two-dimensional transpose convolution (Zeiler et al. 2010, "deconvolution") over
/// `(N, C, H, W)` with weights `(C, O/groups, KH, KW)` as in PyTorch: what a convolution of `O`
/// channels to `C` does to a gradient on its way back. Output extents are
/// `(H - 1) * stride - top - bottom + dilation * (KH - 1) + output_padding + 1`.
///
/// ```
/// use wgpu_cnn::{ConvTranspose2d, Model};
/// let model = Model::builder([8, 7, 7])
///     .push(ConvTranspose2d::new(4, 3).stride(2).padding(1).output_padding(1))
///     .build()?;
/// assert_eq!(model.output_shape().to_string(), "[4, 14, 14]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ConvTranspose2d {
    /// Output channels.
    pub out_channels: usize,
    /// Filter extents.
    pub kernel: Size2,
    /// Distance between the places that neighbouring inputs write to. Default 1.
    pub stride: Size2,
    /// Rows and columns cut off the output. Default none.
    pub padding: Padding,
    /// Rows and columns added to the output's lower and right side, fewer than the stride or the
    /// dilation: they choose among the sizes that the convolution maps to one. Default none.
    pub output_padding: Size2,
    /// Distance between filter taps. Default 1.
    pub dilation: Size2,
    /// Blocks of channels that are convolved apart from each other. Default 1.
    pub groups: usize,
    /// Whether a learned constant is added to each output channel. Default true.
    pub bias: bool,
    /// How the weights start. Default [`Init::HeUniform`].
    pub init: Init,
}

impl ConvTranspose2d {
    /// A transpose convolution to `out_channels` with filters of extent `kernel`.
    pub fn new(out_channels: usize, kernel: impl Into<Size2>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into(),
            stride: Size2::ONE,
            padding: Padding::ZERO,
            output_padding: Size2::from(0),
            dilation: Size2::ONE,
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }

    /// Sets the stride.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets what is cut off the output: a number, `[height, width]` or
    /// `[top, bottom, left, right]`.
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets the rows and columns added below and to the right.
    pub fn output_padding(mut self, padding: impl Into<Size2>) -> Self {
        self.output_padding = padding.into();
        self
    }

    /// Sets the distance between filter taps.
    pub fn dilation(mut self, dilation: impl Into<Size2>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Sets the number of channel groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Leaves the bias out or puts it in.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets how the weights start.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// The extents of the convolution that this layer is the transpose of: its output is this
    /// layer's input, its input gradient this layer's output.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Conv2dGeometry> {
        let name = "conv_transpose2d";
        let [in_channels, in_height, in_width] = image(name, input)?;
        check_channels(name, [in_channels, self.out_channels], self.groups)?;
        let Self {
            kernel,
            stride,
            output_padding,
            dilation,
            ..
        } = *self;
        let padding = self.padding.resolve(kernel, dilation);
        check_signal(name, input, kernel, padding)?;
        check_extents([kernel, stride, dilation], padding)?;
        let fits = |added: usize, stride: usize, dilation: usize| added < stride.max(dilation);
        if !fits(output_padding.height, stride.height, dilation.height)
            || !fits(output_padding.width, stride.width, dilation.width)
        {
            let reason = "must be smaller than the stride or the dilation";
            return Err(Error::argument(format!("{name} output padding"), reason));
        }
        let [top, bottom, left, right] = padding;
        let height = extent(
            [in_height, kernel.height, stride.height, dilation.height],
            output_padding.height,
            [top, bottom],
        )?;
        let width = extent(
            [in_width, kernel.width, stride.width, dilation.width],
            output_padding.width,
            [left, right],
        )?;
        if input.rank() == 2 && height != 1 {
            let expected = format!("an output one row high for the signal {input}");
            return Err(Error::shape(name, expected, format!("{height} rows")));
        }
        let geometry = Conv2dGeometry {
            batch,
            groups: self.groups,
            in_channels: self.out_channels,
            in_size: Size2 { height, width },
            out_channels: in_channels,
            out_size: Size2 {
                height: in_height,
                width: in_width,
            },
            kernel,
            stride,
            padding,
            dilation,
        };
        geometry.check_elements(name)?;
        Ok(geometry)
    }
}

/// Refuses kernel, stride, dilation and padding that the kernels compute no positions with.
fn check_extents(sizes: [Size2; 3], padding: [usize; 4]) -> Result<()> {
    let name = "conv_transpose2d";
    let extents = sizes.map(|size| [size.height, size.width]);
    let fits = |extent: &usize| (1..=LARGEST_EXTENT).contains(extent);
    if !extents.as_flattened().iter().all(fits) {
        let reason = "kernel, stride and dilation must be between 1 and 2^24";
        return Err(Error::argument(name, reason));
    }
    if padding.iter().any(|&extent| extent > LARGEST_EXTENT) {
        let reason = format!("{padding:?} is larger than 2^24");
        return Err(Error::argument(format!("{name} padding"), reason));
    }
    Ok(())
}

/// The extent of the output along an axis: what the windows span, and what is added behind, without the
/// padding, which is cut off on both sides.
fn extent(
    [input, kernel, stride, dilation]: [usize; 4],
    added: usize,
    [before, behind]: [usize; 2],
) -> Result<usize> {
    let name = "conv_transpose2d";
    let whole = (input - 1)
        .saturating_mul(stride)
        .saturating_add(dilated(kernel, dilation))
        .saturating_add(added);
    let extent = whole.saturating_sub(before.saturating_add(behind));
    if extent == 0 {
        let expected = format!("an output larger than its padding of {before} and {behind}");
        return Err(Error::shape(name, expected, whole));
    }
    if extent > LARGEST_EXTENT {
        let reason = format!("an output extent is larger than {LARGEST_EXTENT}");
        return Err(Error::argument(name, reason));
    }
    Ok(extent)
}

impl Definition for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("conv_transpose2d", inputs)?;
        Ok(like_image(
            input,
            self.out_channels,
            self.geometry(1, input)?.in_size,
        ))
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let input = only("conv_transpose2d", inputs)?;
        let [i, o, kh, kw] = self.geometry(1, input)?.weight_shape();
        let shape = if input.rank() == 2 {
            [i, o, kw].into()
        } else {
            [i, o, kh, kw].into()
        };
        // PyTorch's fan-in of a transpose convolution is that of the transposed layout.
        let fans = [[o, kh, kw], [i / self.groups, kh, kw]].map(|fan| elements(&fan));
        self.init.check()?;
        let weight = ParameterSpec::weight(shape, self.init, fans).in_pieces(self.groups);
        let mut parameters = vec![weight];
        if self.bias {
            parameters.push(ParameterSpec::zeros("bias", [self.out_channels].into()));
        }
        Ok(parameters)
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

    fn reads_half(&self, parameter: usize) -> bool {
        parameter == 0
    }

    fn multiply_adds(&self, inputs: &[&Shape]) -> Result<u64> {
        let geometry = self.geometry(1, only("conv_transpose2d", inputs)?)?;
        Ok(geometry.multiply_adds())
    }
}
