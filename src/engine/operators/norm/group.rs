//! Group and instance normalisation.

use super::{
    Applies, Backward, Case, FORMULA, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved,
    Site, Sum, chain, cpu, factors, factors_or_neutral, hand_over, statistics, to_factors,
};
use crate::Result;
use crate::cpu::Real;
use crate::gpu::kernels::norm::group;
use crate::gpu::record::Recording;
use crate::op::{GroupNorm, InstanceNorm};

impl<T: Real> Operator<T> for GroupNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let factors = factors(self.affine, |at| places.whole(at))?;
        let (read, to) = ((places.inputs[0], factors), (places.kept()?, places.output));
        group::forward(recording, self.epsilon, &geometry, read, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let [gamma, _] = factors(self.affine, |at| places.whole(at))?;
        let read = (places.inputs[0], places.incoming(), places.kept()?);
        let to = (
            to_factors(recording, places, geometry.channels)?,
            places.to_inputs[0],
        );
        group::backward(recording, &geometry, read, gamma, to);
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        let [rows, _] = self.geometry(site.planned, site.input())?.rows();
        Ok(Some(statistics(rows)))
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
        let [gamma, beta] = factors_or_neutral(self.affine, parameters, geometry.channels);
        cpu::group_norm_forward(&geometry, self.epsilon, x[0], &gamma, &beta, y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (epsilon, x) = (self.epsilon, saved.x[0]);
        if gradients.parameters.iter().any(Option::is_some) {
            let mut to = [(); 2].map(|()| vec![T::zero(); geometry.channels]);
            let [ggamma, gbeta] = &mut to;
            cpu::group_norm_backward_parameters(&geometry, epsilon, x, gy, ggamma, gbeta)?;
            hand_over(to, gradients);
        }
        let Some(gx) = gradients.input(0) else {
            return Ok(());
        };
        let [gamma, _] = factors_or_neutral(self.affine, &saved.parameters, geometry.channels);
        cpu::group_norm_backward_input(&geometry, epsilon, x, &gamma, gy, gx)
    }

    fn applies(&self) -> Applies {
        Applies::Everything
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.input())?;
        let [_, len] = geometry.rows();
        let per_group = geometry.channels / geometry.groups;
        let planes = chain(geometry.plane) + site.batch.min(256) + FORMULA;
        let terms = chain(len).max(chain(geometry.plane) + chain(per_group));
        Ok(Rounding {
            parameters: vec![Sum::formula(terms + planes), Sum::products(planes)],
            ..Rounding::of(Sum::formula(terms), Sum::formula(terms))
        })
    }

    fn cases() -> Vec<Case> {
        let norm = GroupNorm::new(2);
        vec![
            Case::new("an image", norm, [6, 5, 4]),
            Case::new("whole vectors", norm, [8, 4, 4]).batch(4),
            Case::new(
                "one group, its own epsilon",
                GroupNorm::new(1).epsilon(1e-3),
                [3, 9],
            ),
            Case::new("one channel a group", GroupNorm::new(5), [5, 3, 2]),
            Case::new("a row", norm, [10]).batch(1),
            Case::new("many examples", norm, [4, 3]).batch(300),
            Case::new("no factors", norm.affine(false), [6, 3, 3]),
            Case::new("planes in parts", norm, [2, 129, 131]).batch(2),
            Case::new("groups in parts", GroupNorm::new(1), [5, 65, 67]).batch(2),
            Case::new("instances", InstanceNorm::new(), [3, 5, 4]),
            Case::new(
                "instances with factors",
                InstanceNorm::new().affine(true).epsilon(1e-3),
                [3, 7],
            )
            .batch(1),
        ]
    }
}
