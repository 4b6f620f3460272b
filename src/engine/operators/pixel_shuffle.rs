//! Channels laid out as pixels, and pixels as channels: each is the gradient of the other.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::pixel_shuffle::{Towards, shuffle};
use crate::gpu::record::Recording;
use crate::op::{PixelShuffle, PixelUnshuffle};

/// One of the two: the way its kernel and the reference go, and the way back.
macro_rules! shuffle {
    ($operator:ident: $there:ident $forward:ident, $back:ident $backward:ident, $cases:expr) => {
        impl<T: Real> Operator<T> for $operator {
            fn record_forward(
                &self,
                site: &Site,
                recording: &mut Recording,
                places: &Forward,
            ) -> Result<()> {
                let geometry = self.geometry(site.batch, site.input())?;
                let (from, to) = (places.inputs[0], places.output);
                shuffle(recording, &geometry, Towards::$there, from, to);
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
                    let from = places.gradient;
                    shuffle(recording, &geometry, Towards::$back, from, to);
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
                cpu::$forward(&self.geometry(site.batch, site.input())?, x[0], y)
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
                    Some(gx) => cpu::$backward(&geometry, gy, gx),
                    None => Ok(()),
                }
            }

            fn applies(&self) -> Applies {
                Applies::Values
            }

            fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
                false
            }

            fn rounding(&self, _: &Site) -> Result<Rounding> {
                Ok(Rounding::of(Sum::copy(), Sum::copy()))
            }

            fn cases() -> Vec<Case> {
                $cases
            }
        }
    };
}

shuffle!(
    PixelShuffle: Pixels pixel_shuffle, Channels pixel_unshuffle,
    vec![
        Case::new("rows of whole vectors", PixelShuffle::new(2), [8, 3, 4]),
        Case::new("three by three", PixelShuffle::new(3), [18, 2, 5]),
        Case::new("one pixel", PixelShuffle::new(2), [4, 1, 1]),
        Case::new("nothing moved", PixelShuffle::new(1), [3, 3, 2]),
    ]
);
shuffle!(
    PixelUnshuffle: Channels pixel_unshuffle, Pixels pixel_shuffle,
    vec![
        Case::new("rows of whole vectors", PixelUnshuffle::new(2), [3, 6, 8]),
        Case::new("three by three", PixelUnshuffle::new(3), [2, 9, 6]),
        Case::new("to one pixel", PixelUnshuffle::new(5), [2, 5, 5]),
    ]
);
