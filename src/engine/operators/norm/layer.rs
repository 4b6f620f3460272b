//! Layer normalisation.

use super::{
    Applies, Backward, Case, FORMULA, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved,
    Site, Sum, chain, cpu, factors, factors_or_neutral, hand_over, statistics, to_factors,
};
use crate::Result;
use crate::cpu::Real;
use crate::gpu::kernels::norm::layer;
use crate::gpu::record::Recording;
use crate::op::LayerNorm;

impl<T: Real> Operator<T> for LayerNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let extents = [site.batch, site.input().len()];
        let factors = factors(self.affine, |at| places.whole(at))?;
        let (read, to) = ((places.inputs[0], factors), (places.kept()?, places.output));
        layer::forward(recording, self.epsilon, extents, read, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let len = site.input().len();
        let [gamma, _] = factors(self.affine, |at| places.whole(at))?;
        let read = [places.inputs[0], places.gradient, places.kept()?];
        let to = (to_factors(recording, places, len)?, places.to_inputs[0]);
        layer::backward(recording, [site.batch, len], read, gamma, to);
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        Ok(Some(statistics(site.planned)))
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        parameters: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let len = site.input().len();
        let [gamma, beta] = factors_or_neutral(self.affine, parameters, len);
        cpu::layer_norm_forward(site.batch, self.epsilon, x[0], &gamma, &beta, y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let (batch, epsilon, x) = (site.batch, self.epsilon, saved.x[0]);
        if gradients.parameters.iter().any(Option::is_some) {
            let mut to = [(); 2].map(|()| vec![T::zero(); site.input().len()]);
            let [ggamma, gbeta] = &mut to;
            cpu::layer_norm_backward_parameters(batch, epsilon, x, gy, ggamma, gbeta)?;
            hand_over(to, gradients);
        }
        let Some(gx) = gradients.input(0) else {
            return Ok(());
        };
        let len = site.input().len();
        let [gamma, _] = factors_or_neutral(self.affine, &saved.parameters, len);
        cpu::layer_norm_backward_input(batch, epsilon, x, &gamma, gy, gx)
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let (terms, rows) = (chain(site.input().len()), site.batch.min(256) + FORMULA);
        Ok(Rounding {
            parameters: vec![Sum::formula(terms + rows), Sum::products(rows)],
            ..Rounding::of(Sum::formula(terms), Sum::formula(terms))
        })
    }

    fn cases() -> Vec<Case> {
        let norm = LayerNorm::new();
        vec![
            Case::new("an image", norm, [3, 5, 4]),
            Case::new("a row", norm, [9]).batch(1),
            Case::new("many rows", norm, [5]).batch(300),
            Case::new("a row in parts", norm, [1, 129, 131]).batch(2),
            Case::new("no factors", norm.affine(false), [3, 5]),
            Case::new(
                "no factors, a row in parts",
                norm.affine(false),
                [1, 129, 131],
            )
            .batch(2),
            Case::new(
                "beyond a workgroup, its own epsilon",
                norm.epsilon(1e-3),
                [4, 9, 8],
            ),
        ]
    }
}
