//! The dense layer over the channels of each pixel.

use super::{Conv2d, Conv2dGeometry, Definition, Init, ParameterSpec};
use crate::{Error, Result, Shape};

/// A dense layer over the channels of each pixel of `(N, C, H, W)`, or of each position of `(N, C, L)`:
/// `y[o] = sum over c of weight[o, c] * x[c] + bias[o]`. Its parameters are those of a dense layer, `weight`
/// `[out, in]` and `bias` `[out]`, and its computation that of a convolution with a filter of one pixel: nothing
/// is brought into another order, as it is where such a layer is written with the channels last.
///
/// ```
/// use wgpu_cnn::{Conv2d, Init, Model, Padding, PointwiseLinear, Scale};
/// // The block of ConvNeXt (Liu et al. 2022), but for its normalisation.
/// let model = Model::builder([96, 14, 14])
///     .residual(|body| {
///         body.push(Conv2d::new(96, 7).padding(Padding::Same).groups(96))
///             .push(PointwiseLinear::new(4 * 96))
///             .gelu()
///             .push(PointwiseLinear::new(96))
///             .push(Scale::new().init(Init::Constant(1e-6)))
///     })
///     .build()?;
/// let (name, shape) = model.parameters().nth(2).unwrap();
/// assert_eq!((name, shape.to_string().as_str()), ("0.body.1.weight", "[384, 96]"));
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PointwiseLinear {
    /// Channels of the output.
    pub out_features: usize,
    /// Whether a learned constant is added to each output channel. Default true.
    pub bias: bool,
    /// How the weights start. Default [`Init::HeUniform`].
    pub init: Init,
}

impl PointwiseLinear {
    /// A dense layer with `out_features` outputs for each pixel.
    pub fn new(out_features: usize) -> Self {
        Self {
            out_features,
            bias: true,
            init: Init::default(),
        }
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

    /// The resolved extents for `batch` examples of shape `input`: those of a convolution.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input is no image and no signal, [`Error::Argument`] where there are no
    /// outputs.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Conv2dGeometry> {
        if self.out_features == 0 {
            let reason = "output features must not be zero";
            return Err(Error::argument("pointwise_linear", reason));
        }
        self.convolution().geometry(batch, input)
    }

    /// The convolution that computes it.
    pub(crate) fn convolution(&self) -> Conv2d {
        let layer = Conv2d::new(self.out_features, 1);
        layer.bias(self.bias).init(self.init)
    }
}

impl Definition for PointwiseLinear {
    fn name(&self) -> &'static str {
        "pointwise_linear"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        if let &[input] = inputs {
            self.geometry(1, input)?;
        }
        self.convolution().output_shape(inputs)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let mut parameters = self.convolution().parameters(inputs)?;
        // Without the filter's axes, which are 1.
        if let Some(weight) = parameters.first_mut() {
            weight.shape = weight.shape.get(..2).unwrap_or(&[]).into();
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
        self.convolution().reads_half(parameter)
    }

    fn multiply_adds(&self, inputs: &[&Shape]) -> Result<u64> {
        self.convolution().multiply_adds(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_parameters_are_those_of_a_dense_layer() {
        let layer = PointwiseLinear::new(6);
        for (input, output) in [
            ([4, 3, 5].into(), [6, 3, 5].into()),
            ([4, 9].into(), [6, 9].into()),
        ] {
            let (input, output): (Shape, Shape) = (input, output);
            assert_eq!(layer.output_shape(&[&input]).unwrap(), output);
            let parameters = layer.parameters(&[&input]).unwrap();
            let shapes: Vec<_> = parameters
                .iter()
                .map(|p| (p.name, p.shape.to_string()))
                .collect();
            assert_eq!(
                shapes,
                [("weight", "[6, 4]".into()), ("bias", "[6]".into())]
            );
        }
        let image = Shape::from([4, 3, 5]);
        assert!(layer.output_shape(&[&[4].into()]).is_err());
        assert!(layer.output_shape(&[&image, &image]).is_err());
        for outputs in [0, usize::MAX] {
            assert!(
                PointwiseLinear::new(outputs)
                    .output_shape(&[&image])
                    .is_err()
            );
        }
        let init = Init::Constant(f32::NAN);
        assert!(layer.init(init).parameters(&[&image]).is_err());
    }
}
