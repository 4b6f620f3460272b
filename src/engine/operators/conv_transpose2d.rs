//! Transpose convolution. Its geometry is that of the convolution whose transpose it is, which takes
//! this layer's output gradient to its input gradient.

use super::conv2d::reads;
use super::pieces::{Layer, Part};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{conv2d, reduce};
use crate::gpu::record::Recording;
use crate::op::ConvTranspose2d;

impl<T: Real> Operator<T> for ConvTranspose2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let layer = Layer::of_convolution(&geometry, &places.parameters[0]);
        let input = layer.rows_of(recording, places.inputs[0]);
        let product = |recording: &mut Recording, part: &Part, x, bias, to| {
            let geometry = part.geometry(&geometry);
            conv2d::backward_input(recording, &geometry, [x, part.weight], bias, to);
        };
        layer.to_columns(recording, &input, places.bias()?, places.output, product);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let layer = Layer::of_convolution(&geometry, &places.parameters[0]);
        let (input, gradient) = (places.inputs[0], places.gradient);
        // Only a bias may be learned, and that takes the gradient as it is.
        let gradients = match places.to_pieces(0).is_some() || places.to_inputs[0].is_some() {
            true => layer.columns_of(recording, gradient),
            false => vec![],
        };
        if let Some(to) = places.to_pieces(0) {
            let input = layer.rows_of(recording, input);
            let values = [&input[..], &gradients];
            layer.to_weights(recording, values, to, |recording, part, [x, gy], to| {
                conv2d::backward_weight(recording, &part.geometry(&geometry), [gy, x], (to, None));
            });
        }
        if let Some(to) = places.to_parameter(1)? {
            let area = geometry.in_size.area();
            let extents = [geometry.batch, geometry.in_channels, area];
            reduce::bias_gradient(recording, extents, gradient, to);
        }
        if let Some(to) = places.to_inputs[0] {
            let product = |recording: &mut Recording, part: &Part, gy, bias, to| {
                let geometry = part.geometry(&geometry);
                conv2d::forward(recording, &geometry, [gy, part.weight], bias, to);
            };
            layer.to_rows(recording, &gradients, None, to, product);
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
        cpu::conv_transpose2d_forward_by(site.direct_only, &geometry, x[0], parameters[0], bias, y)
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
            cpu::conv2d_backward_weight_by(site.direct_only, &geometry, gy, saved.x[0], gw)?;
        }
        if let Some(gb) = gradients.parameter(1) {
            cpu::conv_transpose2d_backward_bias(&geometry, gy, gb)?;
        }
        if let Some(gx) = gradients.input(0) {
            cpu::conv2d_forward_by(
                site.direct_only,
                &geometry,
                gy,
                saved.parameters[0],
                None,
                gx,
            )?;
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
        let (reads, area) = (reads(&geometry), geometry.out_size.area());
        let bias = geometry.batch * geometry.in_size.area();
        Ok(Rounding {
            parameters: vec![Sum::products(geometry.batch * area), Sum::products(bias)],
            ..Rounding::of(
                Sum::products(reads.backward + 1),
                Sum::products(reads.forward),
            )
        })
    }

    fn cases() -> Vec<Case> {
        let layer = |channels, kernel: usize| ConvTranspose2d::new(channels, kernel);
        vec![
            Case::new("one pixel", layer(3, 2), [2, 1, 1]),
            Case::new(
                "strided, padded, output padding",
                layer(6, 3).stride(2).padding(1).output_padding(1),
                [4, 5, 4],
            ),
            Case::new(
                "stride beyond the kernel, groups, no bias",
                layer(4, 2).stride(3).groups(2).bias(false),
                [2, 6, 7],
            ),
            Case::new(
                "dilated",
                ConvTranspose2d::new(5, [2, 3]).dilation([2, 1]),
                [3, 5, 6],
            ),
            Case::new("patches", layer(5, 3).stride(3), [4, 3, 5]),
            Case::new("beyond a tile", layer(33, 3), [17, 4, 5]).batch(2),
        ]
    }
}
