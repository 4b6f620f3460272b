//! Values around planes.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::pad2d;
use crate::gpu::record::Recording;
use crate::op::{Pad2d, PaddingMode};

impl<T: Real> Operator<T> for Pad2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        pad2d::forward(recording, &geometry, places.inputs[0], places.output);
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
            pad2d::backward(recording, &geometry, places.gradient, to);
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
        cpu::pad2d_forward(&self.geometry(site.batch, site.input())?, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        match gradients.input(0) {
            Some(gx) => cpu::pad2d_backward(&geometry, gy, gx),
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
        let places = self.geometry(site.batch, site.input())?.most_places();
        let sum = Sum::products(places.height + places.width);
        Ok(Rounding::of(Sum::copy(), sum))
    }

    fn cases() -> Vec<Case> {
        let of = |padding: [usize; 4], mode| Pad2d::new(padding).mode(mode);
        let modes = PaddingMode::ALL.into_iter();
        let mut cases: Vec<Case> = modes
            .clone()
            .map(|mode| Case::new("four sides", of([1, 3, 2, 0], mode), [2, 4, 5]))
            .collect();
        cases.extend(modes.map(|mode| Case::new("a signal", of([0, 0, 3, 2], mode), [3, 7])));
        cases.extend([
            Case::new(
                "one pixel",
                of([2, 1, 0, 3], PaddingMode::Replicate),
                [2, 1, 1],
            ),
            Case::new(
                "far beyond the edge",
                of([9, 0, 1, 30], PaddingMode::Replicate),
                [1, 3, 2],
            ),
            Case::new(
                "as much as there is",
                of([3, 2, 4, 4], PaddingMode::Reflect),
                [2, 4, 5],
            ),
            Case::new(
                "all over again",
                of([4, 4, 5, 5], PaddingMode::Circular),
                [2, 4, 5],
            ),
            Case::new("nothing", Pad2d::new(0), [2, 3, 3]).batch(1),
        ]);
        cases
    }
}
