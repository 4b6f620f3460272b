//! Planes made larger or smaller by interpolation.

use super::rounding::{FORMULA, chain};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::upsample2d;
use crate::gpu::record::Recording;
use crate::op::{Interpolation, Upsample2d};

impl<T: Real> Operator<T> for Upsample2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        upsample2d::forward(recording, &geometry, places.inputs[0], places.output);
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
            upsample2d::backward(recording, &geometry, places.gradient, to);
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
        cpu::upsample2d_forward(&geometry, x[0], y)
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
            Some(gx) => cpu::upsample2d_backward(&geometry, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    /// A nearest value is a copy, and its gradient a sum; else both are sums with weights.
    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        let [rows, columns] = geometry.axes();
        let readers = [rows.readers(), columns.readers()];
        let terms = match upsample2d::has_many_readers(&geometry) {
            false => readers[0] + readers[1],
            true => chain(readers[0].saturating_mul(readers[1])),
        };
        let [output, input] = match self.interpolation {
            Interpolation::Nearest => [Sum::copy(), Sum::products(terms)],
            Interpolation::Bilinear => [4, terms].map(|terms| Sum::scaled(terms + FORMULA)),
        };
        let reach = rows.reach() * columns.reach();
        Ok(Rounding::of(output, input.reach(reach)))
    }

    fn cases() -> Vec<Case> {
        let (nearest, bilinear) = (Upsample2d::nearest(), Upsample2d::bilinear());
        let corners = bilinear.align_corners(true);
        vec![
            Case::new("twice as large", Upsample2d::from(2), [3, 5, 3]),
            Case::new("to an odd size", nearest.size([7, 5]), [2, 4, 3]),
            Case::new("smaller", nearest.size([3, 4]), [2, 8, 5]),
            Case::new(
                "by a scale that is no fraction of the sizes",
                nearest.scale([1.7, 0.6]),
                [2, 5, 7],
            ),
            Case::new("one position to many", nearest.size([17, 19]), [2, 1, 1]),
            Case::new("a signal", nearest.scale([1.0, 2.5]), [2, 7]),
            Case::new("twice as large", bilinear, [3, 5, 4]),
            Case::new("to an odd size", bilinear.size([9, 7]), [2, 4, 5]),
            Case::new("smaller", bilinear.size([3, 4]), [2, 7, 9]),
            Case::new(
                "by a scale that is no fraction of the sizes",
                bilinear.scale([1.7, 0.6]),
                [2, 5, 7],
            ),
            Case::new("along one axis alone", bilinear.size([4, 6]), [2, 4, 3]),
            Case::new("one position to many", bilinear.size([17, 19]), [2, 1, 1]),
            Case::new("two rows to many", bilinear.size([40, 9]), [2, 2, 1]),
            Case::new("a signal", bilinear.scale([1.0, 2.0]), [2, 7]),
            Case::new("corners, larger", corners.size([7, 10]), [2, 4, 4]),
            Case::new("corners, smaller", corners.size([3, 5]), [2, 8, 6]),
            Case::new("corners, one row", corners.size([1, 5]), [2, 3, 3]),
            Case::new("corners, to many", corners.size([33, 40]), [1, 2, 2]).batch(2),
        ]
    }
}
