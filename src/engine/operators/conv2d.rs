//! Convolution.

use std::borrow::Cow;

use super::pieces::{Layer, Part};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::cpu::{self, Real};
use crate::gpu::kernels::{conv2d, pad2d, reduce};
use crate::gpu::record::{Recording, Region, Storage};
use crate::op::{Conv1d, Conv2d, Conv2dGeometry, Padding, PaddingMode, Size2};
use crate::{Error, Result};

impl Conv2d {
    /// Elements of the padded input of the planned batch.
    fn planned_len(&self, site: &Site) -> Result<usize> {
        Ok(self.geometry(site.planned, site.input())?.input_len())
    }

    /// The input as it is convolved, where that is not the input itself: zeros are added on the way.
    fn pad(&self, site: &Site, recording: &mut Recording, input: Region) -> Result<Region> {
        let Some(padded) = self.padded(site.batch, site.input())? else {
            return Ok(input);
        };
        let (len, label) = (self.planned_len(site)?, "padded input");
        let to = recording.buffer_of(input.format, label, len, Storage::Transient);
        pad2d::forward(recording, &padded, input, to.into());
        Ok(to)
    }

    /// The same for the reference.
    fn padded_values<'a, T: Real>(&self, site: &Site, x: &'a [T]) -> Result<Cow<'a, [T]>> {
        let Some(padded) = self.padded(site.batch, site.input())? else {
            return Ok(x.into());
        };
        let mut around = zeros(padded.output_len())?;
        cpu::pad2d_forward(&padded, x, &mut around)?;
        Ok(around.into())
    }
}

impl<T: Real> Operator<T> for Conv2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let layer = Layer::of_convolution(&geometry, &places.parameters[0]);
        let input = self.pad(site, recording, places.inputs[0])?;
        let input = layer.columns_of(recording, input);
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
        // Only a bias may be learned, and that takes the gradient as it is.
        let gradients = match places.to_pieces(0).is_some() || places.to_inputs[0].is_some() {
            true => layer.rows_of(recording, gradient),
            false => vec![],
        };
        let [bias_too, bias_alone] = layer.bias_gradient(places)?;
        if let Some(to) = places.to_pieces(0) {
            let input = self.pad(site, recording, input)?;
            let input = layer.columns_of(recording, input);
            let values = [&gradients[..], &input];
            layer.to_weights(recording, values, to, |recording, part, [gy, x], to| {
                let geometry = part.geometry(&geometry);
                conv2d::backward_weight(recording, &geometry, [x, gy], (to, bias_too));
            });
        }
        if let Some(to) = bias_alone {
            let area = geometry.out_size.area();
            let extents = [geometry.batch, geometry.out_channels, area];
            reduce::bias_gradient(recording, extents, gradient, to);
        }
        if let Some(to) = places.to_inputs[0] {
            let product = |recording: &mut Recording, part: &Part, gy, bias, to| {
                let geometry = part.geometry(&geometry);
                conv2d::backward_input(recording, &geometry, [gy, part.weight], bias, to);
            };
            match self.padded(site.batch, site.input())? {
                None => layer.to_columns(recording, &gradients, None, to, product),
                Some(padded) => {
                    let len = self.planned_len(site)?;
                    let gradient = recording.transient("gradient of the padded input", len);
                    layer.to_columns(recording, &gradients, None, gradient.into(), product);
                    pad2d::backward(recording, &padded, gradient, to);
                }
            }
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
        let (bias, x) = (parameters.get(1).copied(), self.padded_values(site, x[0])?);
        cpu::conv2d_forward_by(site.direct_only, &geometry, &x, parameters[0], bias, y)
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
            let x = self.padded_values(site, saved.x[0])?;
            cpu::conv2d_backward_weight_by(site.direct_only, &geometry, &x, gy, gw)?;
        }
        if let Some(gb) = gradients.parameter(1) {
            cpu::conv2d_backward_bias(&geometry, gy, gb)?;
        }
        if let Some(gx) = gradients.input(0) {
            let (weight, direct) = (saved.parameters[0], site.direct_only);
            match self.padded(site.batch, site.input())? {
                None => cpu::conv2d_backward_input_by(direct, &geometry, gy, weight, gx)?,
                Some(padded) => {
                    let mut around = zeros(padded.output_len())?;
                    cpu::conv2d_backward_input_by(direct, &geometry, gy, weight, &mut around)?;
                    cpu::pad2d_backward(&padded, &around, gx)?;
                }
            }
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
        let (mut reads, pixels) = (reads(&geometry), geometry.batch * geometry.out_size.area());
        if let Some(padded) = self.padded(site.batch, site.input())? {
            let places = padded.most_places();
            reads.backward += places.height + places.width;
        }
        Ok(Rounding {
            parameters: vec![Sum::products(pixels); 2],
            ..Rounding::of(
                Sum::products(reads.forward + 1),
                Sum::products(reads.backward),
            )
        })
    }

    fn cases() -> Vec<Case> {
        let mut cases = vec![
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
            Case::new(
                "mirrored",
                same(5, [3, 4]).padding_mode(PaddingMode::Reflect),
                [3, 6, 5],
            ),
            Case::new(
                "repeated, strided, groups",
                Conv2d::new(4, [5, 3])
                    .stride([2, 1])
                    .padding([2, 1])
                    .groups(2)
                    .padding_mode(PaddingMode::Replicate),
                [4, 8, 9],
            ),
            Case::new(
                "circular",
                same(8, 3).padding_mode(PaddingMode::Circular),
                [4, 6, 6],
            )
            .batch(4),
            Case::new(
                "a causal signal, repeated",
                Conv1d::new(4, 3)
                    .causal()
                    .dilation(2)
                    .padding_mode(PaddingMode::Replicate),
                [3, 17],
            ),
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
            Case::new("a filter of one row", same(9, [1, 3]), [6, 3, 12]),
            Case::new(
                "a signal that stands upright",
                Conv2d::new(5, [3, 1]).padding([2, 1, 0, 0]),
                [4, 14, 1],
            ),
        ];
        cases.extend(depthwise_cases());
        cases
    }
}

fn same(channels: usize, kernel: impl Into<Size2>) -> Conv2d {
    Conv2d::new(channels, kernel).padding(Padding::Same)
}

fn depthwise_cases() -> [Case; 3] {
    [
        Case::new("depthwise", same(8, 3).groups(8), [8, 6, 5]),
        Case::new(
            "depthwise, strided, whole vectors",
            Conv2d::new(6, 5).stride(2).padding(2).groups(6),
            [6, 9, 16],
        ),
        Case::new(
            "depthwise, dilated",
            same(4, 3).dilation([3, 2]).groups(4),
            [4, 9, 12],
        ),
    ]
}

/// Memory for the padded input, whose extents may be far beyond those of input and output.
fn zeros<T: Real>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(len);
    reserved.map_err(|_| Error::OutOfMemory {
        what: "conv2d: padded input".into(),
        needed: (len as u64).saturating_mul(size_of::<T>() as u64),
        available: None,
    })?;
    values.resize(len, T::zero());
    Ok(values)
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
