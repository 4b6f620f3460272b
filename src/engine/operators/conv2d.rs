//! Convolution.

use super::pieces::{Layer, Part};
use super::{
    Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{conv2d, reduce};
use crate::gpu::record::Recording;
use crate::op::{Conv1d, Conv2d, Conv2dGeometry, Padding};

impl<T: Real> Operator<T> for Conv2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let layer = Layer::of_convolution(&geometry, &places.parameters[0]);
        let input = layer.columns_of(recording, places.inputs[0]);
        let product = |recording: &mut Recording, part: &Part, x, bias, to| {
            let geometry = part.geometry(&geometry);
            conv2d::forward(recording, &geometry, [x, part.weight], bias, to);
        };
        layer.to_rows(recording, &input, places.bias()?, places.output, product);
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
        let gradients = layer.rows_of(recording, gradient);
        if let Some(to) = places.to_pieces(0) {
            let input = layer.columns_of(recording, input);
            let values = [&gradients[..], &input];
            layer.to_weights(recording, values, to, |recording, part, [gy, x], to| {
                conv2d::backward_weight(recording, &part.geometry(&geometry), [x, gy], to);
            });
        }
        if let Some(to) = places.to_parameter(1)? {
            let area = geometry.out_size.area();
            let extents = [geometry.batch, geometry.out_channels, area];
            reduce::bias_gradient(recording, extents, gradient, to);
        }
        if let Some(to) = places.to_inputs[0] {
            let product = |recording: &mut Recording, part: &Part, gy, bias, to| {
                let geometry = part.geometry(&geometry);
                conv2d::backward_input(recording, &geometry, [gy, part.weight], bias, to);
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
        cpu::conv2d_forward(&geometry, x[0], parameters[0], bias, y)
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
            cpu::conv2d_backward_weight(&geometry, saved.x[0], gy, gw)?;
        }
        if let Some(gb) = gradients.parameter(1) {
            cpu::conv2d_backward_bias(&geometry, gy, gb)?;
        }
        if let Some(gx) = gradients.input(0) {
            cpu::conv2d_backward_input(&geometry, gy, saved.parameters[0], gx)?;
        }
        Ok(())
    }

    fn applies_activation(&self) -> bool {
        true
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (reads, pixels) = (reads(&geometry), geometry.batch * geometry.out_size.area());
        Ok(Rounding {
            parameters: vec![Sum::products(pixels); 2],
            ..Rounding::of(
                Sum::products(reads.forward + 1),
                Sum::products(reads.backward),
            )
        })
    }

    fn cases() -> Vec<Case> {
        let same = |channels, kernel: usize| Conv2d::new(channels, kernel).padding(Padding::Same);
        vec![
            Case::new("one pixel", Conv2d::new(1, 1), [1, 1, 1]).batch(1),
            Case::new("one channel", Conv2d::new(6, 5), [1, 12, 11]),
            Case::new("whole vectors", same(8, 3), [4, 8, 8]).batch(4),
            Case::new("odd sizes, even kernel", same(5, 4), [3, 9, 7]),
            Case::new("no bias", same(4, 1).bias(false), [5, 6, 3]),
            Case::new(
                "strided, padded on four sides, dilated",
                Conv2d::new(10, [3, 4])
                    .stride([1, 2])
                    .padding([1, 0, 2, 1])
                    .dilation([2, 1]),
                [6, 9, 12],
            ),
            Case::new(
                "stride beyond the kernel",
                Conv2d::new(4, 2).stride(3),
                [3, 8, 11],
            ),
            Case::new("groups", same(6, 3).groups(2), [4, 7, 5]),
            Case::new("depthwise", same(8, 3).groups(8), [8, 6, 5]),
            Case::new(
                "wide kernel",
                Conv2d::new(3, [1, 11]).padding([0, 9]),
                [2, 5, 6],
            ),
            Case::new("beyond a tile", same(33, 3), [17, 6, 6]).batch(2),
            Case::new(
                "weight gradients in parts",
                Conv2d::new(4, 2).groups(2),
                [2, 63, 66],
            ),
            Case::new(
                "weight gradients of long rows",
                Conv2d::new(2, [1, 3]),
                [1, 2, 600],
            ),
            Case::new("a sum over many channels", Conv2d::new(1, 3), [3650, 3, 3]).batch(1),
            Case::new(
                "a signal",
                Conv1d::new(6, 5).dilation(2).padding_same(),
                [3, 41],
            ),
        ]
    }
}

/// The products that an element of the output sums up, and one of the input's gradient.
pub(super) struct Reads {
    pub forward: usize,
    pub backward: usize,
}

pub(super) fn reads(geometry: &Conv2dGeometry) -> Reads {
    let [out_channels, in_channels, height, width] = geometry.weight_shape();
    Reads {
        forward: in_channels * height * width,
        backward: out_channels / geometry.groups * height * width,
    }
}
