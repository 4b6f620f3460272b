//! The dense layer: a matrix product.

use super::{
    Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{matmul, reduce};
use crate::gpu::record::Recording;
use crate::op::Linear;

impl<T: Real> Operator<T> for Linear {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let read = [places.inputs[0], places.parameters[0]];
        let bias = places.parameters.get(1).copied();
        matmul::linear_forward(recording, &geometry, read, bias, places.output);
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
        if let Some(to) = places.to_parameter(0) {
            matmul::linear_backward_weight(recording, &geometry, [input, gradient], to);
        }
        if let Some(to) = places.to_parameter(1) {
            let extents = [geometry.rows, geometry.out_features, 1];
            reduce::bias_gradient(recording, extents, gradient, to);
        }
        if let Some(to) = places.to_inputs[0] {
            let read = [gradient, places.parameters[0]];
            matmul::linear_backward_input(recording, &geometry, read, to);
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
        cpu::linear_forward(&geometry, x[0], parameters[0], bias, y)
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
            cpu::linear_backward_weight(&geometry, saved.x[0], gy, gw)?;
        }
        if let Some(gb) = gradients.parameter(1) {
            cpu::linear_backward_bias(&geometry, gy, gb)?;
        }
        if let Some(gx) = gradients.input(0) {
            cpu::linear_backward_input(&geometry, gy, saved.parameters[0], gx)?;
        }
        Ok(())
    }

    fn applies_activation(&self) -> bool {
        true
    }

    fn hands_gradient_on(&self) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        Ok(Rounding {
            parameters: vec![Sum::products(geometry.rows); 2],
            ..Rounding::of(
                Sum::products(geometry.in_features + 1),
                Sum::products(geometry.out_features),
            )
        })
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::new("one number", Linear::new(1), [1]).batch(1),
            Case::new("whole vectors", Linear::new(64), [32]).batch(16),
            Case::new("odd sizes", Linear::new(33), [37]).batch(5),
            Case::new("a long sum", Linear::new(7), [300]).batch(2),
            Case::new("a sum in parts", Linear::new(6), [2101]).batch(2),
            Case::new("many rows", Linear::new(3), [2]).batch(300),
            Case::new("many rows of many numbers", Linear::new(33), [2]).batch(300),
            Case::new(
                "along the last axis, no bias",
                Linear::new(5).bias(false),
                [3, 4, 6],
            ),
        ]
    }
}
