//! The dense layer over the channels of each pixel: a convolution with a filter of one pixel.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site,
};
use crate::Result;
use crate::cpu::Real;
use crate::gpu::record::Recording;
use crate::op::{Conv2d, PointwiseLinear};

/// The operator that computes it.
fn of<T: Real>(convolution: &Conv2d) -> &impl Operator<T> {
    convolution
}

impl<T: Real> Operator<T> for PointwiseLinear {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        of::<T>(&self.convolution()).record_forward(site, recording, places)
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        of::<T>(&self.convolution()).record_backward(site, recording, places)
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        of::<T>(&self.convolution()).keeps(site)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        parameters: &[&[T]],
        y: &mut [T],
        kept: &mut Kept<T>,
    ) -> Result<()> {
        of::<T>(&self.convolution()).forward(site, x, parameters, y, kept)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        of::<T>(&self.convolution()).backward(site, saved, gy, gradients)
    }

    fn applies(&self) -> Applies {
        of::<T>(&self.convolution()).applies()
    }

    fn hands_gradient_on(&self, site: &Site, input: usize) -> bool {
        of::<T>(&self.convolution()).hands_gradient_on(site, input)
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        of::<T>(&self.convolution()).rounding(site)
    }

    fn cases() -> Vec<Case> {
        let linear = PointwiseLinear::new;
        vec![
            Case::new("whole vectors", linear(16), [8, 4, 4]),
            Case::new("odd sizes, no bias", linear(5).bias(false), [7, 3, 5]),
            Case::new("a signal", linear(6), [3, 11]).batch(1),
        ]
    }
}
