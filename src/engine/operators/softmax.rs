//! Softmax and its logarithm.

use super::rounding::{FORMULA, chain};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::softmax;
use crate::gpu::record::Recording;
use crate::op::Softmax;

impl<T: Real> Operator<T> for Softmax {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let to = places.output.region;
        softmax::forward(recording, self.log, &geometry, places.inputs[0], to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        if let Some(to) = places.to_inputs[0] {
            let geometry = self.geometry(site.batch, site.input())?;
            let read = [places.output, places.gradient];
            softmax::backward(recording, self.log, &geometry, read, to);
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
        let geometry = self.geometry(site.batch, site.input())?;
        cpu::softmax_forward(&geometry, self.log, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::softmax_backward(&geometry, self.log, saved.y, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Nothing
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        let terms = match geometry.extent {
            ..=softmax::LONGEST_LINE => geometry.extent + FORMULA,
            extent => chain(extent),
        };
        let sum = Sum::formula(terms);
        // The gradient follows from the value; that of the logarithm takes its exponential.
        let input = if self.log { sum.driver() } else { sum };
        Ok(Rounding::of(sum.driver(), input))
    }

    fn cases() -> Vec<Case> {
        let softmax = Softmax::new();
        vec![
            Case::new("a row", softmax, [10]),
            Case::new("an odd row", softmax, [2, 7]),
            Case::new("along the channels", softmax.axis(0), [5, 3, 4]),
            Case::new("logarithm of a row", softmax.log(true), [10]),
            Case::new(
                "logarithm along the channels",
                softmax.log(true).axis(0),
                [5, 3, 4],
            ),
            Case::new(
                "logarithm along many channels",
                softmax.log(true).axis(0),
                [1100, 2],
            ),
            Case::new("a long row", softmax, [1100]),
        ]
    }
}
