//! Pooling: over windows, and over whole planes.

use super::places::resized;
use super::rounding::{FORMULA, chain};
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{pool2d, pool2d_large};
use crate::gpu::record::Recording;
use crate::op::{AvgPool1d, AvgPool2d, GlobalPool, MaxPool1d, MaxPool2d, Pool2dGeometry};

/// The positions of the maxima.
pub(super) fn argmax(site: &Site) -> Keeps {
    Keeps {
        label: "argmax",
        len: site.planned_len(),
    }
}

/// The terms of a sum over windows that cover a position, or over the positions of a window: row by row.
fn by_rows(geometry: &Pool2dGeometry) -> usize {
    geometry.kernel.height + geometry.kernel.width
}

/// A maximum is a copy, and its gradient the sum over the windows that it won.
pub(super) fn max_rounding(geometry: &Pool2dGeometry) -> Rounding {
    Rounding::of(Sum::copy(), Sum::products(by_rows(geometry)))
}

pub(super) fn mean_rounding(geometry: &Pool2dGeometry) -> Rounding {
    let terms = match pool2d_large::parts_of_windows(geometry) {
        0 => by_rows(geometry) + FORMULA,
        _ => chain(geometry.kernel.area()),
    };
    Rounding::of(Sum::scaled(terms), Sum::scaled(by_rows(geometry) + FORMULA))
}

impl<T: Real> Operator<T> for MaxPool2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (input, kept) = (places.inputs[0], places.kept()?);
        pool2d::max_forward(recording, &geometry, input, places.output, kept);
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
            pool2d::max_backward(recording, &geometry, read, to);
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
        cpu::max_pool2d_forward(&geometry, x[0], y, indices)
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
            Some(gx) => cpu::max_pool2d_backward(&geometry, gy, &saved.kept.indices, gx),
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
        Ok(max_rounding(&self.geometry(site.batch, site.input())?))
    }

    fn cases() -> Vec<Case> {
        let pool = |kernel: usize| MaxPool2d::new(kernel);
        vec![
            Case::new("windows side by side", pool(2), [3, 8, 6]),
            Case::new("a rest that no window sees", pool(2), [2, 7, 5]),
            Case::new(
                "stride beyond the kernel",
                pool(2).stride([3, 2]),
                [2, 9, 7],
            ),
            Case::new(
                "overlapping, padded, the last windows cut",
                pool(3).stride(2).padding(1).ceil_mode(true),
                [4, 10, 6],
            ),
            Case::new(
                "dilated",
                MaxPool2d::new([2, 3]).stride(1).dilation([2, 1]),
                [3, 6, 5],
            ),
            Case::new("one pixel", pool(1), [2, 1, 1]),
            Case::new("a signal", MaxPool1d::new(3).stride(2), [3, 41]),
            Case::new(
                "large windows",
                pool(20).stride(7).padding(9).dilation([1, 2]),
                [2, 33, 40],
            ),
            Case::new("windows in parts", pool(96).stride(3), [1, 99, 100]).batch(2),
        ]
    }
}

impl<T: Real> Operator<T> for AvgPool2d {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (input, to) = (places.inputs[0], places.output);
        pool2d::avg_forward(recording, &geometry, self.count_include_pad, input, to);
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
            let count = self.count_include_pad;
            pool2d::avg_backward(recording, &geometry, count, places.gradient, to);
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
        cpu::avg_pool2d_forward(&geometry, self.count_include_pad, x[0], y)
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
            Some(gx) => cpu::avg_pool2d_backward(&geometry, self.count_include_pad, gy, gx),
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
        Ok(mean_rounding(&self.geometry(site.batch, site.input())?))
    }

    fn cases() -> Vec<Case> {
        let pool = |kernel: usize| AvgPool2d::new(kernel);
        vec![
            Case::new("windows side by side", pool(2), [3, 8, 6]),
            Case::new(
                "overlapping, padded",
                pool(3).stride(2).padding(1),
                [4, 9, 5],
            ),
            Case::new(
                "padding not counted, the last windows cut",
                pool(3)
                    .stride(2)
                    .padding(1)
                    .count_include_pad(false)
                    .ceil_mode(true),
                [2, 10, 6],
            ),
            Case::new(
                "stride beyond the kernel",
                AvgPool2d::new([1, 2]).stride(3),
                [2, 7, 8],
            ),
            Case::new(
                "a signal",
                AvgPool1d::new(2).count_include_pad(false).padding(1),
                [3, 21],
            ),
            Case::new(
                "large windows",
                pool(20).stride(7).padding(9).count_include_pad(false),
                [2, 33, 30],
            ),
            Case::new("windows in parts", pool(96).stride(3), [1, 99, 100]).batch(2),
        ]
    }
}

impl<T: Real> Operator<T> for GlobalPool {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (input, output) = (places.inputs[0], places.output);
        match self {
            Self::Max => pool2d::max_forward(recording, &geometry, input, output, places.kept()?),
            Self::Average => pool2d::avg_forward(recording, &geometry, true, input, output),
            Self::Softmax => {
                let to = [output.region, places.kept()?];
                pool2d::softmax_forward(recording, &geometry, input, to);
            }
        }
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (Some(to), gradient) = (places.to_inputs[0], places.gradient) else {
            return Ok(());
        };
        match self {
            Self::Max => {
                pool2d::max_backward(recording, &geometry, [gradient, places.kept()?], to);
            }
            Self::Average => pool2d::avg_backward(recording, &geometry, true, gradient, to),
            Self::Softmax => {
                let read = [places.inputs[0], places.output, places.kept()?, gradient];
                pool2d::softmax_backward(recording, &geometry, read, to);
            }
        }
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        Ok(match self {
            Self::Max => Some(argmax(site)),
            Self::Average => None,
            Self::Softmax => Some(Keeps {
                label: "softmax",
                len: 2 * site.planned_len(),
            }),
        })
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
        match self {
            Self::Max => {
                let indices = resized(&mut kept.indices, y.len());
                cpu::max_pool2d_forward(&geometry, x[0], y, indices)
            }
            Self::Average => cpu::avg_pool2d_forward(&geometry, true, x[0], y),
            Self::Softmax => cpu::softmax_pool_forward(&geometry, x[0], y),
        }
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let Some(gx) = gradients.input(0) else {
            return Ok(());
        };
        match self {
            Self::Max => cpu::max_pool2d_backward(&geometry, gy, &saved.kept.indices, gx),
            Self::Average => cpu::avg_pool2d_backward(&geometry, true, gy, gx),
            Self::Softmax => cpu::softmax_pool_backward(&geometry, saved.x[0], gy, gx),
        }
    }

    fn applies(&self) -> Applies {
        match self {
            Self::Max | Self::Average => Applies::Values,
            Self::Softmax => Applies::Nothing,
        }
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        Ok(match self {
            Self::Max => max_rounding(&geometry),
            Self::Average => mean_rounding(&geometry),
            Self::Softmax => {
                let terms = match geometry.in_size.area() {
                    len @ ..=pool2d_large::LARGEST_WINDOW => len + FORMULA,
                    len => chain(len),
                };
                let sum = Sum::formula(terms).driver();
                Rounding {
                    from_stored_value: true,
                    ..Rounding::of(sum, sum)
                }
            }
        })
    }

    fn cases() -> Vec<Case> {
        Self::ALL
            .into_iter()
            .flat_map(|pool| {
                [
                    Case::new("an image", pool, [3, 4, 5]),
                    Case::new("one pixel", pool, [2, 1, 1]),
                    Case::new("a signal", pool, [4, 9]),
                    Case::new("a large image", pool, [2, 17, 18]),
                    Case::new("an image in parts", pool, [1, 95, 97]).batch(2),
                ]
            })
            .collect()
    }
}
