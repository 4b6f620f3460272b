//! Dropout. Its gradient is the same mask on the gradient.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::Real;
use crate::cpu::{dropout_from, dropout_spans_from};
use crate::gpu::kernels::Output;
use crate::gpu::kernels::dropout::{self, Extents};
use crate::gpu::record::Recording;
use crate::gpu::record::Region;
use crate::op::dropout::Stream;
use crate::op::{DropUnit, Dropout};

impl Dropout {
    /// The mask on `from`, or in evaluation nothing but a copy.
    fn masked<T: Real>(self, site: &Site, from: &[T], to: &mut [T]) -> Result<()> {
        if !site.is_training() {
            to.copy_from_slice(from);
            return Ok(());
        }
        let (masks, layer, probability) = (site.masks, site.layer, self.probability);
        let stream = Stream::new(masks.seed, masks.updates, layer);
        let first = masks.examples.wrapping_mul(self.masks(site.input()) as u64);
        match self.span(site.batch, site.input()) {
            None => dropout_from(probability, stream, first, from, to),
            Some(span) => dropout_spans_from(probability, span, stream, first, from, to),
        }
    }

    fn record(self, site: &Site, recording: &mut Recording, from: Region, to: Output) {
        let extents = Extents {
            len: site.len(),
            span: self.span(site.batch, site.input()),
            masks: self.masks(site.input()),
        };
        dropout::dropout(recording, self.probability, site.layer, extents, from, to);
    }
}

impl<T: Real> Operator<T> for Dropout {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        self.record(site, recording, places.inputs[0], places.output);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        if let Some(to) = places.to_inputs[0] {
            self.record(site, recording, places.gradient, to);
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
        self.masked(site, x[0], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        match gradients.input(0) {
            Some(gx) => self.masked(site, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Nothing
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        let sum = Sum::formula(1).reach(1.0 - self.probability);
        Ok(Rounding::of(sum, sum))
    }

    fn cases() -> Vec<Case> {
        let of = |probability, unit| Dropout::new(probability).unit(unit);
        vec![
            Case::new("a row", Dropout::new(0.5), [19]).batch(5),
            Case::new("an image", Dropout::new(0.2), [4, 3, 3]),
            Case::new("nothing dropped", Dropout::new(0.0), [6]),
            Case::new("channels", of(0.3, DropUnit::Channel), [5, 3, 3]).batch(7),
            Case::new("channels of one value", of(0.3, DropUnit::Channel), [13]).batch(5),
            Case::new(
                "channels of whole vectors",
                of(0.3, DropUnit::Channel),
                [6, 2, 4],
            ),
            Case::new("examples", of(0.2, DropUnit::Example), [3, 2, 5]).batch(9),
            Case::new("a batch", of(0.1, DropUnit::Batch), [3, 7]),
        ]
    }
}
