//! Layer normalisation over the channels of each position.

use super::{
    Applies, Backward, Case, FORMULA, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved,
    Site, Sum, chain, cpu, factors, factors_or_neutral, hand_over, statistics, to_factors,
};
use crate::Result;
use crate::cpu::Real;
use crate::gpu::kernels::norm::channels;
use crate::gpu::record::Recording;
use crate::op::LayerNormChannels;

impl<T: Real> Operator<T> for LayerNormChannels {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        let factors = factors(self.affine, |at| places.whole(at))?;
        let (read, to) = ((places.inputs[0], factors), (places.kept()?, places.output));
        channels::forward(recording, self.epsilon, extents, read, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        let [gamma, _] = factors(self.affine, |at| places.whole(at))?;
        let read = [places.inputs[0], places.gradient, places.kept()?];
        let to = (
            to_factors(recording, places, extents[1])?,
            places.to_inputs[0],
        );
        channels::backward(recording, extents, read, gamma, to);
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        let [batch, _, plane] = self.extents(site.planned, site.input())?;
        Ok(Some(statistics(batch * plane)))
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        parameters: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        let [gamma, beta] = factors_or_neutral(self.affine, parameters, extents[1]);
        cpu::layer_norm_channels_forward(extents, self.epsilon, x[0], &gamma, &beta, y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let extents = self.extents(site.batch, site.input())?;
        let (epsilon, x) = (self.epsilon, saved.x[0]);
        if gradients.parameters.iter().any(Option::is_some) {
            let mut to = [(); 2].map(|()| vec![T::zero(); extents[1]]);
            let [ggamma, gbeta] = &mut to;
            cpu::layer_norm_channels_backward_parameters(extents, epsilon, x, gy, ggamma, gbeta)?;
            hand_over(to, gradients);
        }
        let Some(gx) = gradients.input(0) else {
            return Ok(());
        };
        let [gamma, _] = factors_or_neutral(self.affine, &saved.parameters, extents[1]);
        cpu::layer_norm_channels_backward_input(extents, epsilon, x, &gamma, gy, gx)
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let [batch, channels, plane] = self.extents(site.batch, site.input())?;
        // 16 invocations share the channels of a position, where 64 share other sums.
        let (terms, positions) = (chain(4 * channels), chain(batch * plane) + FORMULA);
        // Those of rows, an invocation adds up.
        let positions = positions.max(batch.min(256) + FORMULA);
        Ok(Rounding {
            parameters: vec![Sum::formula(terms + positions), Sum::products(positions)],
            ..Rounding::of(Sum::formula(terms), Sum::formula(terms))
        })
    }

    fn cases() -> Vec<Case> {
        let norm = LayerNormChannels::new();
        vec![
            Case::new("an image", norm, [3, 5, 4]),
            Case::new("whole vectors", norm, [16, 4, 4]).batch(4),
            Case::new("a signal, its own epsilon", norm.epsilon(1e-6), [33, 9]),
            Case::new("many channels", norm, [300, 3]).batch(2),
            Case::new("a row", norm, [9]).batch(1),
            Case::new("no factors", norm.affine(false), [6, 3, 3]),
            Case::new("no factors, a row", norm.affine(false), [6]),
            Case::new("positions in parts", norm, [2, 65, 67]),
        ]
    }
}
