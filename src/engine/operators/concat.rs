//! Values joined along their channels.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::record::Recording;
use crate::op::Concat;

/// The elements of an example of each input, and where they begin in the whole.
fn blocks(site: &Site) -> impl Iterator<Item = (usize, usize)> {
    site.inputs.iter().scan(0, |offset, shape| {
        let (len, begin) = (shape.len(), *offset);
        *offset += len;
        Some((len, begin))
    })
}

impl<T: Real> Operator<T> for Concat {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let stride = site.output.len();
        for ((len, offset), &input) in blocks(site).zip(&places.inputs) {
            let from = Block {
                stride: len,
                offset: 0,
            };
            let to = (places.output, Block { stride, offset });
            copy(recording, [site.batch, len], (input, from), to);
        }
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let stride = site.output.len();
        for ((len, offset), &to) in blocks(site).zip(&places.to_inputs) {
            if let Some(to) = to {
                let from = (places.gradient, Block { stride, offset });
                let to = (
                    to,
                    Block {
                        stride: len,
                        offset: 0,
                    },
                );
                copy(recording, [site.batch, len], from, to);
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
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        cpu::concat_forward(site.batch, x, y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        for ((_, offset), gx) in blocks(site).zip(&mut gradients.inputs) {
            if let Some(gx) = gx {
                cpu::concat_backward(site.batch, offset, gy, gx)?;
            }
        }
        Ok(())
    }

    fn applies(&self) -> Applies {
        Applies::Nothing
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        Ok(Rounding::of(Sum::copy(), Sum::copy()))
    }

    fn cases() -> Vec<Case> {
        vec![
            Case::joining("two images", Concat, [[4, 4, 4].into(), [8, 4, 4].into()]),
            Case::joining(
                "three signals of odd sizes",
                Concat,
                [[1, 5].into(), [3, 5].into(), [2, 5].into()],
            ),
            Case::joining("one row", Concat, [[6].into()]),
        ]
    }
}
