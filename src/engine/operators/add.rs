//! The sum of two values.

use super::{
    Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::cpu::Real;
use crate::gpu::kernels::{activation, add};
use crate::gpu::record::Recording;
use crate::op::Add;
use crate::{Result, Shape};

impl<T: Real> Operator<T> for Add {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let read = [places.inputs[0], places.inputs[1]];
        add::add(recording, site.len(), read, places.output);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        for to in places.to_inputs.iter().copied().flatten() {
            activation::forward(recording, site.len(), places.gradient, to);
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        _: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let terms = x[0].iter().zip(x[1]);
        y.iter_mut().zip(terms).for_each(|(y, (&a, &b))| *y = a + b);
        Ok(())
    }

    fn backward(
        &self,
        _: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        for gx in gradients.inputs.iter_mut().flatten() {
            gx.copy_from_slice(gy);
        }
        Ok(())
    }

    fn applies_activation(&self) -> bool {
        true
    }

    fn hands_gradient_on(&self) -> bool {
        true
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        Ok(Rounding::of(Sum::products(2), Sum::copy()))
    }

    fn cases() -> Vec<Case> {
        let pair = |shape: [usize; 3]| [Shape::from(shape), Shape::from(shape)];
        vec![
            Case::joining("whole vectors", Add, pair([4, 4, 4])),
            Case::joining("odd sizes", Add, pair([3, 5, 1])),
        ]
    }
}
