//! Operators that give their input another shape. A plan has no kernels for them: their value is that of
//! their input.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::Real;
use crate::engine::internal;
use crate::gpu::record::Recording;
use crate::op::{Flatten, Reshape};

macro_rules! view {
    ($view:ident, $cases:expr) => {
        impl<T: Real> Operator<T> for $view {
            fn record_forward(&self, _: &Site, _: &mut Recording, _: &Forward) -> Result<()> {
                Err(internal("a view was recorded"))
            }

            fn record_backward(&self, _: &Site, _: &mut Recording, _: &Backward) -> Result<()> {
                Err(internal("a view was recorded"))
            }

            fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
                Ok(None)
            }

            fn forward(
                &self,
                _: &Site,
                x: &[&[T]],
                _: &[&[T]],
                y: &mut [T],
                _: &mut Kept<T>,
            ) -> Result<()> {
                y.copy_from_slice(x[0]);
                Ok(())
            }

            fn backward(
                &self,
                _: &Site,
                _: &Saved<T>,
                gy: &[T],
                gradients: &mut Gradients<T>,
            ) -> Result<()> {
                if let Some(gx) = gradients.input(0) {
                    gx.copy_from_slice(gy);
                }
                Ok(())
            }

            fn applies(&self) -> Applies {
                Applies::Nothing
            }

            fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
                true
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

view!(
    Flatten,
    vec![
        Case::new("an image", Flatten, [3, 4, 5]),
        Case::new("a row", Flatten, [7]),
    ]
);
view!(
    Reshape,
    vec![
        Case::new("an image", Reshape::new([6, 10]), [3, 4, 5]),
        Case::new("a row", Reshape::new([2, 2, 2]), [8]),
    ]
);
