//! A learned factor for each channel.

use super::{Definition, Init, ParameterSpec, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// A learned factor for each channel of `(N, C, ...)`, and perhaps a learned offset:
/// `y = weight[c] * x + bias[c]`. Parameters: `weight` and `bias`, `[C]` each.
///
/// ```
/// use wgpu_cnn::{Init, Model, Scale};
/// // The layer scale of ConvNeXt (Liu et al. 2022), which begins close to zero.
/// let model = Model::builder([96, 8, 8])
///     .residual(|body| body.conv2d(96, 1).push(Scale::new().init(Init::Constant(1e-6))))
///     .build()?;
/// assert_eq!(model.parameters().last().unwrap().1.to_string(), "[96]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Whether a learned offset is added. Default false.
    pub bias: bool,
    /// How the factors start. Default 1.
    pub init: Init,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            bias: false,
            init: Init::Constant(1.0),
        }
    }
}

impl Scale {
    /// Factors that start at 1, without offsets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves the offsets out or puts them in. They start at 0.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets how the factors start.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input has no channels or no elements.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<ScaleGeometry> {
        countable("scale", &input.batched(batch))?;
        match input[..] {
            [channels, ref plane @ ..] if !input.is_empty() => Ok(ScaleGeometry {
                batch,
                channels,
                plane: elements(plane),
            }),
            _ => Err(Error::shape("scale", "channels [C, ...]", input)),
        }
    }
}

impl Definition for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("scale", inputs)?;
        self.geometry(1, input)?;
        Ok(input.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let channels = self.geometry(1, only("scale", inputs)?)?.channels;
        self.init.check()?;
        let weight = ParameterSpec::weight([channels].into(), self.init, [1, 1]);
        let bias = ParameterSpec::zeros("bias", [channels].into());
        Ok([weight]
            .into_iter()
            .chain(self.bias.then_some(bias))
            .collect())
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

/// Every extent of a [`Scale`], resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScaleGeometry {
    /// Examples.
    pub batch: usize,
    /// Channels, each with a factor.
    pub channels: usize,
    /// Values of a channel in one example.
    pub plane: usize,
}
