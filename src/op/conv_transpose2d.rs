//! Transpose convolution: a convolution's input gradient as a layer of its own.

use super::window::{Padding, Size2, Window};
use super::{Conv2dGeometry, Definition, Init, ParameterSpec, image, like_image, only};
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

    fn check_channels(&self, in_channels: usize) -> Result<()> {
        let name = "conv_transpose2d";
        if self.out_channels == 0 || self.groups == 0 {
            return Err(Error::argument(
                name,
                "output channels and groups must not be zero",
            ));
        }
        if ![in_channels, self.out_channels]
            .iter()
            .all(|c| c.is_multiple_of(self.groups))
        {
            return Err(Error::shape(
                name,
                format!(
                    "input and output channels divisible by {} groups",
                    self.groups
                ),
                format!("{in_channels} and {}", self.out_channels),
            ));
        }
        Ok(())
    }

    /// The extents of the convolution that this layer is the transpose of: its output is this
    /// layer's input, its input gradient this layer's output.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Conv2dGeometry> {
        let name = "conv_transpose2d";
        let [in_channels, in_height, in_width] = image(name, input)?;
        self.check_channels(in_channels)?;
        let Self {
            kernel,
            stride,
            output_padding,
            dilation,
            ..
        } = *self;
        let padding = self.padding.resolve(kernel, dilation);
        let window = Window {
            kernel,
            stride,
            padding,
            dilation,
            ceil: false,
        };
        window.output(name, Size2::from(1 << 24)).map_err(|_| {
            Error::argument(
                name,
                "kernel, stride and dilation must be between 1 and 2^24",
            )
        })?;
        let fits = |added: usize, stride: usize, dilation: usize| added < stride.max(dilation);
        if !fits(output_padding.height, stride.height, dilation.height)
            || !fits(output_padding.width, stride.width, dilation.width)
        {
            let reason = "must be smaller than the stride or the dilation";
            return Err(Error::argument(format!("{name} output padding"), reason));
        }
        let [top, bottom, left, right] = padding;
        let extent = |input: usize,
                      kernel: usize,
                      stride: usize,
                      cut: usize,
                      dilation: usize,
                      added: usize| {
            let whole = (input - 1) * stride + (kernel - 1) * dilation + 1 + added;
            whole.checked_sub(cut).filter(|&extent| extent > 0)
        };
        let height = extent(
            in_height,
            kernel.height,
            stride.height,
            top + bottom,
            dilation.height,
            output_padding.height,
        );
        let width = extent(
            in_width,
            kernel.width,
            stride.width,
            left + right,
            dilation.width,
            output_padding.width,
        );
        let (Some(height), Some(width)) = (height, width) else {
            return Err(Error::shape(
                name,
                "an output larger than its padding",
                input,
            ));
        };
        Ok(Conv2dGeometry {
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
        })
    }
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
        let fans = [o * kh * kw, i / self.groups * kh * kw];
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
}
