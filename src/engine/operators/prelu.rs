//! ReLU with learned slopes.

use super::rounding::chain;
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::prelu;
use crate::gpu::record::Recording;
use crate::op::Prelu;

impl<T: Real> Operator<T> for Prelu {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let read = [places.inputs[0], places.whole(0)?];
        prelu::forward(recording, &geometry, read, places.output);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (input, gradient) = (places.inputs[0], places.gradient);
        if let Some(to) = places.to_parameter(0)? {
            prelu::backward_weight(recording, &geometry, [input, gradient], to);
        }
        if let Some(to) = places.to_inputs[0] {
            let read = [input, gradient, places.whole(0)?];
            prelu::backward_input(recording, &geometry, read, to);
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
        parameters: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        cpu::prelu_forward(&geometry, x[0], parameters[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (x, weight) = (saved.x[0], saved.parameters[0]);
        if let Some(gw) = gradients.parameter(0) {
            cpu::prelu_backward_weight(&geometry, x, gy, gw)?;
        }
        if let Some(gx) = gradients.input(0) {
            cpu::prelu_backward_input(&geometry, x, weight, gy, gx)?;
        }
        Ok(())
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let values = self.geometry(site.batch, site.input())?.count();
        Ok(Rounding {
            // On absolute values there is nothing to add up.
            parameters: vec![Sum::formula(chain(values))],
            ..Rounding::of(Sum::formula(1), Sum::formula(1))
        })
    }

    fn cases() -> Vec<Case> {
        let (one, each) = (Prelu::new(), Prelu::new().per_channel(true));
        vec![
            Case::new("an image", each, [3, 5, 3]),
            Case::new("whole vectors", each, [4, 8, 8]).batch(4),
            Case::new("a signal", each, [2, 9]),
            Case::new("a row", each, [7]).batch(5),
            Case::new("one weight", one, [3, 5, 3]),
            Case::new("one weight, one number", one, [1]).batch(9),
            Case::new("channels in parts", each, [2, 65, 67]),
            Case::new("one weight in parts", one, [2, 65, 67]),
        ]
    }
}
