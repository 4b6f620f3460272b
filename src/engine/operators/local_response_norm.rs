//! Local response normalisation.

use super::rounding::FORMULA;
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::local_response_norm;
use crate::gpu::record::Recording;
use crate::op::LocalResponseNorm;

impl<T: Real> Operator<T> for LocalResponseNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        let (input, to) = (places.inputs[0], (places.kept, places.output));
        local_response_norm::forward(recording, self, extents, input, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        if let Some(to) = places.to_inputs[0] {
            let read = [places.inputs[0], places.gradient, places.kept()?];
            local_response_norm::backward(recording, self, extents, read, to);
        }
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        Ok(site.is_training().then(|| Keeps {
            label: "squares",
            len: site.planned_len(),
        }))
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        cpu::local_response_norm_forward(extents, self, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::local_response_norm_backward(extents, self, saved.x[0], gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let [_, channels, _] = self.extents(site.batch, site.input())?;
        let window = self.size.min(channels);
        // Two roots and their products, or the driver's power.
        let sum = Sum::formula(2 * FORMULA + window.min(16) + window.div_ceil(16));
        Ok(match local_response_norm::takes_roots(self) {
            true => Rounding::of(sum, sum),
            false => Rounding::of(sum.driver(), sum.driver()),
        })
    }

    fn cases() -> Vec<Case> {
        let norm = LocalResponseNorm::new(5);
        let strong = norm.alpha(1.0);
        vec![
            Case::new("AlexNet's", norm.k(2.0), [7, 3, 4]),
            Case::new("a signal", strong, [9, 11]).batch(1),
            Case::new("a row", LocalResponseNorm::new(3).alpha(0.5).beta(0.5), [6]),
            Case::new("wider than the input", strong.k(0.5), [3, 3, 3]),
            Case::new(
                "an even window",
                LocalResponseNorm::new(4).alpha(0.3).beta(1.0),
                [8, 4, 4],
            ),
            Case::new("a power that is no root", strong.beta(0.6), [6, 3, 3]),
            Case::new("one channel", LocalResponseNorm::new(1).alpha(2.0), [2, 5]),
            Case::new(
                "a window of many channels",
                LocalResponseNorm::new(41).alpha(3.0),
                [70, 3],
            ),
        ]
    }
}
