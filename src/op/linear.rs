//! The dense (fully connected) layer.

use super::{Definition, Init, ParameterSpec, countable, only, saturating_product};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// `y = x W^T + b` along the last axis, with weights `(out, in)` as in PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Outputs per row.
    pub out_features: usize,
    /// Whether a learned constant is added to each output. Default true.
    pub bias: bool,
    /// How the weights start. Default [`Init::HeUniform`].
    pub init: Init,
}

impl Linear {
    /// A dense layer with `out_features` outputs.
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

    /// The resolved extents for `batch` examples of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<LinearGeometry> {
        if self.out_features == 0 {
            return Err(Error::argument(
                "linear",
                "output features must not be zero",
            ));
        }
        let [rows @ .., in_features] = &input[..] else {
            return Err(Error::shape("linear", "at least one input feature", input));
        };
        let (rows, in_features) = (elements(rows).saturating_mul(batch), *in_features);
        if in_features == 0 {
            return Err(Error::shape("linear", "at least one input feature", input));
        }
        let Self { out_features, .. } = *self;
        countable("linear", &[rows, in_features])?;
        countable("linear", &[rows, out_features])?;
        countable("linear", &[out_features, in_features])?;
        Ok(LinearGeometry {
            rows,
            in_features,
            out_features,
        })
    }
}

impl Definition for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("linear", inputs)?;
        self.geometry(1, input)?;
        let mut extents = input.to_vec();
        extents[input.rank() - 1] = self.out_features;
        Ok(extents.into())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let input = only("linear", inputs)?;
        let LinearGeometry {
            in_features,
            out_features,
            ..
        } = self.geometry(1, input)?;
        let fans = [in_features, out_features];
        self.init.check()?;
        let shape = Shape::from([out_features, in_features]);
        let weight = ParameterSpec::weight(shape, self.init, fans).in_pieces(1);
        let mut parameters = vec![weight];
        if self.bias {
            parameters.push(ParameterSpec::zeros("bias", [out_features].into()));
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
        Ok(self.geometry(1, only("linear", inputs)?)?.multiply_adds())
    }
}

/// Every extent of a dense layer, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinearGeometry {
    /// Rows: images times the leading axes.
    pub rows: usize,
    /// Inputs per row.
    pub in_features: usize,
    /// Outputs per row.
    pub out_features: usize,
}

impl LinearGeometry {
    /// Multiplications of one pass, forward or backward, each with its addition. Saturates.
    pub fn multiply_adds(&self) -> u64 {
        saturating_product(&[self.rows, self.in_features, self.out_features])
    }
}
