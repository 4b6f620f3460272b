//! Two-dimensional convolution (cross-correlation, as every deep-learning library calls it).

use super::window::{Padding, Size2, Window, check_positions, check_signal};
use super::{
    Definition, Init, Pad2d, Pad2dGeometry, PaddingMode, ParameterSpec, countable, image, only,
    saturating_product,
};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// A two-dimensional convolution over `(N, C, H, W)` with weights `(O, C/groups, KH, KW)`:
///
/// `y[n,o,i,j] = b[o] + sum over c,p,q of w[o,c,p,q] * x[n,c, i*stride + p*dilation - padding, ...]`
///
/// where values outside the image are zero, or what [`PaddingMode`] says. Output extents follow
/// `floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1`.
///
/// ```
/// use wgpu_cnn::{Conv2d, Model, Padding};
/// let model = Model::builder([3, 32, 32])
///     .push(Conv2d::new(32, [3, 5]).stride([2, 1]).padding(Padding::Same))
///     .build()?;
/// assert_eq!(model.output_shape().to_string(), "[32, 16, 32]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    /// Output channels, the number of filters.
    pub out_channels: usize,
    /// Filter extents.
    pub kernel: Size2,
    /// Step between filter positions. Default 1.
    pub stride: Size2,
    /// How much lies around the image. Default none.
    pub padding: Padding,
    /// What lies around it. Default [`PaddingMode::Zeros`].
    pub padding_mode: PaddingMode,
    /// Distance between filter taps. Default 1.
    pub dilation: Size2,
    /// Blocks of channels that are convolved apart from each other. Default 1; equal to the number
    /// of channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a learned constant is added to each output channel. Default true.
    pub bias: bool,
    /// How the weights start. Default [`Init::HeUniform`].
    pub init: Init,
}

impl Conv2d {
    /// A convolution with `out_channels` filters of extent `kernel` (a number or `[height, width]`).
    pub fn new(out_channels: usize, kernel: impl Into<Size2>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into(),
            stride: Size2::ONE,
            padding: Padding::ZERO,
            padding_mode: PaddingMode::Zeros,
            dilation: Size2::ONE,
            groups: 1,
            bias: true,
            init: Init::default(),
        }
    }

    /// Sets the step between filter positions.
    pub fn stride(mut self, stride: impl Into<Size2>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets how much lies around the image: a number, `[height, width]`, `[top, bottom, left, right]`,
    /// [`Padding::Same`] or [`Padding::Causal`].
    pub fn padding(mut self, padding: impl Into<Padding>) -> Self {
        self.padding = padding.into();
        self
    }

    /// Sets what lies around the image. What is not zeros is laid around a copy of it, as in PyTorch.
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.padding_mode = mode;
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

    /// The resolved extents for an input of `[C, H, W]`, or of `[C, L]` taken as `[C, 1, L]`, over which the
    /// filter is one row high and nothing is padded above or below: [`Conv1d`](super::Conv1d) makes such.
    ///
    /// With another mode than zeros they are those of the convolution of the [padded](Self::padded) input,
    /// which has no padding of its own.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Conv2dGeometry> {
        let [in_channels, in_size @ ..] = image("conv2d", input)?;
        check_channels("conv2d", [in_channels, self.out_channels], self.groups)?;
        let padding = self.padding.resolve(self.kernel, self.dilation);
        check_signal("conv2d", input, self.kernel, padding)?;
        let (in_size, padding) = match self.padded(batch, input)? {
            Some(padded) => (padded.out_size(), [0; 4]),
            None => (in_size.into(), padding),
        };
        let window = Window {
            kernel: self.kernel,
            stride: self.stride,
            padding,
            dilation: self.dilation,
            ceil: false,
        };
        let out_size = window.output("conv2d", in_size)?;
        let geometry = Conv2dGeometry {
            batch,
            groups: self.groups,
            in_channels,
            in_size,
            out_channels: self.out_channels,
            out_size,
            kernel: self.kernel,
            stride: self.stride,
            padding,
            dilation: self.dilation,
        };
        geometry.check_elements("conv2d")?;
        Ok(geometry)
    }

    /// How the input is padded before it is convolved: `None` where nothing or zeros lie around it, which
    /// the convolution adds itself.
    ///
    /// # Errors
    ///
    /// Those of [`Pad2d::geometry`].
    pub fn padded(&self, batch: usize, input: &Shape) -> Result<Option<Pad2dGeometry>> {
        let padding = self.padding.resolve(self.kernel, self.dilation);
        match (self.padding_mode, padding) {
            (PaddingMode::Zeros, _) | (_, [0, 0, 0, 0]) => Ok(None),
            (mode, padding) => Ok(Some(Pad2d::new(padding).mode(mode).geometry(batch, input)?)),
        }
    }
}

/// Refuses channels that the groups do not divide.
pub(super) fn check_channels(name: &str, channels: [usize; 2], groups: usize) -> Result<()> {
    if channels.contains(&0) || groups == 0 {
        let reason = "channels and groups must not be zero";
        return Err(Error::argument(name, reason));
    }
    if channels.iter().all(|c| c.is_multiple_of(groups)) {
        return Ok(());
    }
    let expected = format!("input and output channels divisible by {groups} groups");
    let [inputs, outputs] = channels;
    Err(Error::shape(
        name,
        expected,
        format!("{inputs} and {outputs}"),
    ))
}

impl Definition for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("conv2d", inputs)?;
        let geometry = self.geometry(1, input)?;
        Ok(super::like_image(
            input,
            geometry.out_channels,
            geometry.out_size,
        ))
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let input = only("conv2d", inputs)?;
        let geometry = self.geometry(1, input)?;
        let [o, i, kh, kw] = geometry.weight_shape();
        let shape = if input.rank() == 2 {
            [o, i, kw].into()
        } else {
            [o, i, kh, kw].into()
        };
        let fans = [[i, kh, kw], [o / self.groups, kh, kw]].map(|fan| elements(&fan));
        self.init.check()?;
        let weight = ParameterSpec::weight(shape, self.init, fans).in_pieces(self.groups);
        let mut parameters = vec![weight];
        if self.bias {
            parameters.push(ParameterSpec::zeros("bias", [o].into()));
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
        Ok(self.geometry(1, only("conv2d", inputs)?)?.multiply_adds())
    }
}

/// Every extent of a convolution, resolved: what the kernels and their CPU twins compute from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conv2dGeometry {
    /// Images.
    pub batch: usize,
    /// Channel groups.
    pub groups: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// Extents of an input plane.
    pub in_size: Size2,
    /// Channels of the output.
    pub out_channels: usize,
    /// Extents of an output plane.
    pub out_size: Size2,
    /// Extents of the filter.
    pub kernel: Size2,
    /// Step between filter positions.
    pub stride: Size2,
    /// Zeros around the input: `[top, bottom, left, right]`.
    pub padding: [usize; 4],
    /// Distance between filter taps.
    pub dilation: Size2,
}

impl Conv2dGeometry {
    /// The same with the roles of input and output changed: an input gradient is a convolution of the output's gradient.
    /// What the padding is then is the caller's to say.
    pub(crate) fn swapped(&self) -> Self {
        Self {
            in_channels: self.out_channels,
            in_size: self.out_size,
            out_channels: self.in_channels,
            out_size: self.in_size,
            ..*self
        }
    }

    /// Of signals that stand upright, images of one column, the same of signals that lie: they are the same in memory.
    pub(crate) fn lying(&self) -> Self {
        let sizes = [self.in_size, self.out_size, self.kernel];
        if sizes.iter().any(|size| size.width > 1) {
            return *self;
        }
        let turned = |size: Size2| Size2 {
            height: size.width,
            width: size.height,
        };
        let [top, bottom, left, right] = self.padding;
        Self {
            in_size: turned(self.in_size),
            out_size: turned(self.out_size),
            kernel: turned(self.kernel),
            stride: turned(self.stride),
            padding: [left, right, top, bottom],
            dilation: turned(self.dilation),
            ..*self
        }
    }

    /// `[N, C, H, W]`.
    pub fn input_shape(&self) -> [usize; 4] {
        let Size2 { height, width } = self.in_size;
        [self.batch, self.in_channels, height, width]
    }

    /// `[N, O, OH, OW]`.
    pub fn output_shape(&self) -> [usize; 4] {
        let Size2 { height, width } = self.out_size;
        [self.batch, self.out_channels, height, width]
    }

    /// `[O, C/groups, KH, KW]`; no input channels without a group.
    pub fn weight_shape(&self) -> [usize; 4] {
        let Size2 { height, width } = self.kernel;
        let inputs = self.in_channels.checked_div(self.groups).unwrap_or(0);
        [self.out_channels, inputs, height, width]
    }

    /// Elements of the input, `(N, C, H, W)`. This length and the others saturate where the product
    /// outgrows its type.
    pub fn input_len(&self) -> usize {
        elements(&self.input_shape())
    }

    /// Elements of the output, `(N, O, OH, OW)`.
    pub fn output_len(&self) -> usize {
        elements(&self.output_shape())
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        elements(&self.weight_shape())
    }

    /// Additions and multiplications of one pass, forward or backward, padding counted.
    pub fn flops(&self) -> u64 {
        self.multiply_adds().saturating_mul(2)
    }

    /// Multiplications of one pass, each with its addition, padding counted. Saturates.
    pub fn multiply_adds(&self) -> u64 {
        saturating_product(&[self.batch, self.out_size.area(), self.weight_len()])
    }

    /// Refuses tensors of more elements than a program can count.
    pub(super) fn check_elements(&self, name: &str) -> Result<()> {
        countable(name, &self.input_shape())?;
        countable(name, &self.output_shape())?;
        countable(name, &self.weight_shape())
    }

    /// Refuses what is no convolution, of a geometry that a program wrote itself.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        check_channels(name, [self.in_channels, self.out_channels], self.groups)?;
        let &Self {
            in_size,
            out_size,
            kernel,
            stride,
            dilation,
            ..
        } = self;
        let sizes = [in_size, out_size, kernel, stride, dilation];
        if sizes.iter().any(|size| size.area() == 0) {
            let reason = "extents, stride and dilation must not be zero";
            return Err(Error::argument(name, reason));
        }
        check_positions(name, sizes, self.padding)?;
        self.check_elements(name)
    }
}
