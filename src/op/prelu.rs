//! ReLU with a learned slope for negative values.

use super::{Definition, Init, ParameterSpec, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// `x` where `x > 0`, else `weight * x`, with a learned weight for all values or one for each channel (He
/// et al. 2015). The weight is the gradient at 0 too.
///
/// ```
/// use wgpu_cnn::{Model, Prelu};
/// let model = Model::builder([8, 5, 5]).prelu().push(Prelu::new().per_channel(true)).build()?;
/// let shapes = model.parameters().map(|(name, shape)| format!("{name} {shape}"));
/// assert_eq!(shapes.collect::<Vec<_>>(), ["0.weight [1]", "1.weight [8]"]);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prelu {
    /// Whether each channel, the first axis of an example, has a weight of its own. Default false, as in
    /// PyTorch: one for all.
    pub per_channel: bool,
    /// What the weights start with. Default 0.25.
    pub init: f32,
}

impl Default for Prelu {
    fn default() -> Self {
        Self {
            per_channel: false,
            init: 0.25,
        }
    }
}

impl Prelu {
    /// One weight, which starts with 0.25.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether each channel has a weight of its own.
    pub fn per_channel(mut self, per_channel: bool) -> Self {
        self.per_channel = per_channel;
        self
    }

    /// Sets what the weights start with.
    pub fn init(mut self, init: f32) -> Self {
        self.init = init;
        self
    }

    /// The resolved extents for `batch` examples of shape `input`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where there are weights by channel and no channels, [`Error::Argument`] where there
    /// are more elements than can be addressed.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<PreluGeometry> {
        countable("prelu", &input.batched(batch))?;
        let (channels, plane) = match input[..] {
            _ if !self.per_channel => (1, input.len()),
            [channels, ref plane @ ..] => (channels, elements(plane)),
            [] => return Err(Error::shape("prelu", "channels [C, ...]", input)),
        };
        Ok(PreluGeometry {
            batch,
            channels,
            plane,
        })
    }
}

/// Every extent of a ReLU with learned slopes, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PreluGeometry {
    /// Examples.
    pub batch: usize,
    /// Weights: 1 where all values share it.
    pub channels: usize,
    /// Values of an example that share a weight, one after the other.
    pub plane: usize,
}

impl PreluGeometry {
    /// Values that share a weight in the whole batch. Saturates where the product outgrows `usize`.
    pub fn count(&self) -> usize {
        self.batch.saturating_mul(self.plane)
    }

    /// Values of the whole batch. Saturates where the product outgrows `usize`.
    pub fn input_len(&self) -> usize {
        elements(&[self.batch, self.channels, self.plane])
    }
}

impl Definition for Prelu {
    fn name(&self) -> &'static str {
        "prelu"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("prelu", inputs)?;
        self.geometry(1, input).map(|_| input.clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        let geometry = self.geometry(1, only("prelu", inputs)?)?;
        let init = Init::Constant(self.init);
        init.check()?;
        Ok(vec![ParameterSpec {
            init,
            ..ParameterSpec::zeros("weight", [geometry.channels].into())
        }])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_one_or_one_for_each_channel() {
        let extents = |layer: Prelu, shape: &[usize]| {
            let geometry = layer.geometry(2, &shape.into()).unwrap();
            [geometry.batch, geometry.channels, geometry.plane]
        };
        let (one, each) = (Prelu::new(), Prelu::new().per_channel(true));
        assert_eq!(extents(one, &[3, 4, 5]), [2, 1, 60]);
        assert_eq!(extents(one, &[]), [2, 1, 1]);
        assert_eq!(extents(each, &[3, 4, 5]), [2, 3, 20]);
        assert_eq!(extents(each, &[7]), [2, 7, 1]);
        assert!(each.geometry(2, &[0usize; 0].into()).is_err());
        assert!(one.geometry(usize::MAX, &[2].into()).is_err());
        let weights = |layer: Prelu| layer.parameters(&[&[3, 4].into()]);
        assert!(weights(one.init(f32::NAN)).is_err());
        assert_eq!(weights(each).unwrap()[0].shape.to_string(), "[3]");
    }
}
