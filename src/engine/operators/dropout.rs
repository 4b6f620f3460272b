//! Dropout. Its gradient is the same mask on the gradient.

use super::{
    Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::dropout;
use crate::gpu::record::Recording;
use crate::op::Dropout;

impl Dropout {
    /// The mask on `from`, or in evaluation nothing but a copy.
    fn masked<T: Real>(self, site: &Site, from: &[T], to: &mut [T]) -> Result<()> {
        if site.is_training() {
            let masks = site.masks;
            return cpu::dropout(
                self.probability,
                masks.seed,
                masks.step,
                site.layer,
                from,
                to,
            );
        }
        to.copy_from_slice(from);
        Ok(())
    }
}

impl<T: Real> Operator<T> for Dropout {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let (input, to) = (places.inputs[0], places.output);
        dropout::dropout(
            recording,
            self.probability,
            site.layer,
            site.len(),
            input,
            to,
        );
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        if let Some(to) = places.to_inputs[0] {
            let from = places.gradient;
            dropout::dropout(
                recording,
                self.probability,
                site.layer,
                site.len(),
                from,
                to,
            );
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        self.masked(site, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        match gradients.input(0) {
            Some(gx) => self.masked(site, gy, gx),
            None => Ok(()),
        }
    }

    fn applies_activation(&self) -> bool {
        false
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        let sum = Sum::formula(1).reach(1.0 - self.probability);
        Ok(Rounding::of(sum, sum))
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new("a row", Dropout::new(0.5), [19]).batch(5),
            Case::new("an image", Dropout::new(0.2), [4, 3, 3]),
            Case::new("nothing dropped", Dropout::new(0.0), [6]),
        ]
    }
}
