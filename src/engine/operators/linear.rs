//! The dense layer: a matrix product.

use super::pieces::{Layer, Part, Side};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Pieces, Rounding, Saved,
    Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{matmul, reduce};
use crate::gpu::record::Recording;
use crate::op::{Linear, LinearGeometry};

impl<T: Real> Operator<T> for Linear {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (layer, input) = (layer(&geometry, &places.parameters[0]), places.inputs[0]);
        let (input, bias) = (layer.columns_of(recording, input), places.bias()?);
        let product = |recording: &mut Recording, part: &Part, x, bias, to| {
            let geometry = of_part(&geometry, part);
            matmul::linear_forward(recording, &geometry, [x, part.weight], bias, to);
        };
        layer.to_rows(recording, &input, bias, places.output, product);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let layer = layer(&geometry, &places.parameters[0]);
        let (input, gradient) = (places.inputs[0], places.gradient);
        // Only a bias may be learned, and that takes the gradient as it is.
        let gradients = match places.to_pieces(0).is_some() || places.to_inputs[0].is_some() {
            true => layer.rows_of(recording, gradient),
            false => vec![],
        };
        let [bias_too, bias_alone] = layer.bias_gradient(places)?;
        if let Some(to) = places.to_pieces(0) {
            let input = layer.columns_of(recording, input);
            let values = [&gradients[..], &input];
            layer.to_weights(recording, values, to, |recording, part, [gy, x], to| {
                let geometry = of_part(&geometry, part);
                matmul::linear_backward_weight(recording, &geometry, [x, gy], (to, bias_too));
            });
        }
        if let Some(to) = bias_alone {
            let extents = [geometry.rows, geometry.out_features, 1];
            reduce::bias_gradient(recording, extents, gradient, to);
        }
        if let Some(to) = places.to_inputs[0] {
            let product = |recording: &mut Recording, part: &Part, gy, _, to| {
                let geometry = of_part(&geometry, part);
                matmul::linear_backward_input(recording, &geometry, [gy, part.weight], to);
            };
            layer.to_columns(recording, &gradients, None, to, product);
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

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
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

/// The layer by its weights `(out, in)`.
fn layer(geometry: &LinearGeometry, weight: &Pieces) -> Layer {
    let side = |channels| Side { channels, area: 1 };
    let sides = [side(geometry.out_features), side(geometry.in_features)];
    Layer::new(geometry.rows, 1, sides, weight)
}

fn of_part(geometry: &LinearGeometry, part: &Part) -> LinearGeometry {
    LinearGeometry {
        out_features: part.rows.len(),
        ..*geometry
    }
}
