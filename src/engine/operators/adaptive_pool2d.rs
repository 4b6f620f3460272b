//! Pooling to a size.

use super::places::resized;
use super::pool2d::{argmax, max_rounding, mean_rounding};
use super::rounding::{FORMULA, chain};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::adaptive_pool2d;
use crate::gpu::record::Recording;
use crate::op::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AdaptivePool2dGeometry};

/// The terms of a sum over the windows that cover a position, row by row.
fn covering(geometry: &AdaptivePool2dGeometry) -> usize {
    let covering = geometry.covering();
    covering.height + covering.width
}

impl<T: Real> Operator<T> for AdaptiveAvgPool2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        adaptive_pool2d::avg_forward(recording, &geometry, places.inputs[0], places.output);
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
            adaptive_pool2d::avg_backward(recording, &geometry, places.gradient, to);
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
        cpu::adaptive_avg_pool2d_forward(&geometry, x[0], y)
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
            Some(gx) => cpu::adaptive_avg_pool2d_backward(&geometry, gy, gx),
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
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(ordinary) = geometry.ordinary() {
            return Ok(mean_rounding(&ordinary));
        }
        let window = geometry.largest_window();
        let terms = match adaptive_pool2d::parts_of_windows(&geometry) {
            0 => window.height + window.width + FORMULA,
            _ => chain(window.area()),
        };
        let input = Sum::scaled(covering(&geometry) + FORMULA);
        Ok(Rounding::of(Sum::scaled(terms), input))
    }

    fn cases() -> Vec<Case> {
        let pool = |size: [usize; 2]| AdaptiveAvgPool2d::new(size);
        vec![
            Case::new("windows that overlap", pool([3, 2]), [3, 7, 5]),
            Case::new("windows side by side", pool([2, 4]), [2, 8, 8]),
            Case::new("a whole plane", pool([1, 1]), [3, 4, 5]),
            Case::new("larger than the input", pool([5, 7]), [2, 3, 4]),
            Case::new("one pixel to many", pool([6, 6]), [3, 1, 1]),
            Case::new("one way larger, one way smaller", pool([9, 2]), [2, 4, 5]),
            Case::new("a signal", pool([1, 6]), [3, 20]),
            Case::new("large windows", pool([2, 3]), [1, 37, 50]),
            Case::new("windows in parts", pool([2, 1]), [1, 131, 80]).batch(2),
        ]
    }
}

impl<T: Real> Operator<T> for AdaptiveMaxPool2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (input, kept) = (places.inputs[0], places.kept()?);
        adaptive_pool2d::max_forward(recording, &geometry, input, places.output, kept);
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
            let read = [places.gradient, places.kept()?];
            adaptive_pool2d::max_backward(recording, &geometry, read, to);
        }
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        Ok(Some(argmax(site)))
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        kept: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let indices = resized(&mut kept.indices, y.len());
        cpu::adaptive_max_pool2d_forward(&geometry, x[0], y, indices)
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
            Some(gx) => cpu::adaptive_max_pool2d_backward(&geometry, gy, &saved.kept.indices, gx),
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
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(ordinary) = geometry.ordinary() {
            return Ok(max_rounding(&ordinary));
        }
        let input = Sum::products(covering(&geometry));
        Ok(Rounding::of(Sum::copy(), input))
    }

    fn cases() -> Vec<Case> {
        let pool = |size: [usize; 2]| AdaptiveMaxPool2d::new(size);
        vec![
            Case::new("windows that overlap", pool([3, 2]), [3, 7, 5]),
            Case::new("windows side by side", pool([2, 4]), [2, 8, 8]),
            Case::new("a whole plane", pool([1, 1]), [3, 4, 5]),
            Case::new("larger than the input", pool([5, 7]), [2, 3, 4]),
            Case::new("one pixel to many", pool([6, 6]), [3, 1, 1]),
            Case::new("a signal", pool([1, 6]), [3, 20]),
            Case::new("large windows", pool([2, 3]), [1, 37, 50]),
            Case::new("windows in parts", pool([2, 1]), [1, 131, 80]).batch(2),
        ]
    }
}
