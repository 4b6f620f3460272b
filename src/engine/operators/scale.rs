//! A learned factor for each channel.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
    chain,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::scale;
use crate::gpu::record::Recording;
use crate::op::{Init, Scale};

impl<T: Real> Operator<T> for Scale {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (read, bias) = ([places.inputs[0], places.whole(0)?], places.bias()?);
        scale::forward(recording, &geometry, read, bias, places.output);
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
        let to = [places.to_parameter(0)?, places.to_parameter(1)?];
        scale::backward_parameters(recording, &geometry, [input, gradient], to);
        if let Some(to) = places.to_inputs[0] {
            scale::backward_input(recording, &geometry, [places.whole(0)?, gradient], to);
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
        let bias = parameters.get(1).copied();
        cpu::scale_forward(&geometry, x[0], parameters[0], bias, y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        if let Some(gw) = gradients.parameter(0) {
            cpu::scale_backward_weight(&geometry, saved.x[0], gy, gw)?;
        }
        if let Some(gb) = gradients.parameter(1) {
            cpu::scale_backward_bias(&geometry, gy, gb)?;
        }
        if let Some(gx) = gradients.input(0) {
            cpu::scale_backward_input(&geometry, saved.parameters[0], gy, gx)?;
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
        let geometry = self.geometry(site.batch, site.input())?;
        let values = geometry.batch * geometry.plane;
        let terms = values.min(chain(values)) + 1;
        Ok(Rounding {
            parameters: vec![Sum::products(terms); 2],
            ..Rounding::of(Sum::products(2), Sum::products(1))
        })
    }

    fn cases() -> Vec<Case> {
        let scale = Scale::new();
        vec![
            Case::new("whole vectors", scale.bias(true), [5, 4, 4]),
            Case::new("odd sizes", scale.bias(true), [3, 5, 3]),
            Case::new("no offset", scale, [4, 3, 2]).batch(1),
            Case::new("a signal", scale.init(Init::Constant(0.5)), [3, 11]),
            Case::new("a row", scale.bias(true), [9]).batch(5),
            Case::new("many rows", scale.bias(true), [3]).batch(300),
            Case::new("a sum in parts", scale.bias(true), [1, 129, 131]).batch(2),
        ]
    }
}
