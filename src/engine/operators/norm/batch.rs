//! Batch normalisation.

use super::{
    Applies, Backward, Case, FORMULA, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved,
    Site, Sum, chain, cpu, factors, factors_or_neutral, hand_over, or_scratch, statistics,
    to_factors,
};
use crate::Result;
use crate::cpu::Real;
use crate::engine::operators::Mode;
use crate::engine::operators::places::resized;
use crate::gpu::kernels::activation;
use crate::gpu::kernels::norm::batch;
use crate::gpu::record::Recording;
use crate::model::{Graph, Node};
use crate::op::{BatchNorm, Op};

/// The normalisations that training folds batches into, with their places, in the order in which they compute.
pub(in crate::engine) fn normalisations(
    graph: &Graph,
) -> impl Iterator<Item = (usize, &Node, &BatchNorm)> {
    let nodes = graph.nodes().iter().enumerate();
    let trained = nodes.filter(|(_, node)| Mode::Training.of(node) == Mode::Training);
    trained.filter_map(|(at, node)| {
        let Op::BatchNorm(norm) = &node.op else {
            return None;
        };
        Some((at, node, norm))
    })
}

/// The running estimates after a batch with this mean and unbiased variance, from those before: mean, variance,
/// and the number of batches where they are averages of all of them.
pub(in crate::engine) fn fold<T: Real>(
    norm: &BatchNorm,
    own: [&[T]; 2],
    running: &[&[T]],
) -> Vec<Vec<T>> {
    let batches = running.get(2).map(|batches| batches[0]);
    let share = match (norm.momentum, batches) {
        (Some(momentum), _) => momentum,
        (None, batches) => 1.0 / (batches.unwrap_or(T::zero()).wide() + 1.0),
    };
    let estimates = own.iter().zip(running).map(|(own, running)| {
        let mut folded = running.to_vec();
        cpu::fold_running(share, own, &mut folded);
        folded
    });
    let counted = batches.map(|batches| vec![batches + T::one()]);
    estimates.chain(counted).collect()
}

impl<T: Real> Operator<T> for BatchNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let [gamma, beta] = factors(self.affine, |at| places.whole(at))?;
        let first = self.first_statistic();
        let (mean, variance) = (places.whole(first)?, places.whole(first + 1)?);
        let (read, output) = ([Some(places.inputs[0]), gamma, beta], places.output);
        if !site.is_training() {
            let running = [mean, variance];
            batch::forward_evaluation(recording, self, &geometry, read, running, output);
            return Ok(());
        }
        let counts = self.momentum.is_none();
        let counts = counts && !site.folds_later;
        let batches = counts.then(|| places.whole(first + 2)).transpose()?;
        let running = batch::Running {
            mean,
            variance,
            batches,
            folds_later: site.folds_later,
        };
        let to = (places.kept()?, running);
        batch::forward(recording, self, &geometry, read, to, output);
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
        let (channels, output) = (geometry.channels, places.to_inputs[0]);
        if !site.is_training() {
            let first = self.first_statistic();
            let running = [places.whole(first)?, places.whole(first + 1)?];
            let (factors, mut incoming) =
                (to_factors(recording, places, channels)?, places.incoming());
            if factors.is_none()
                && let Some(through) = incoming.through.take()
            {
                // No sums are made in which it could go through the activation.
                activation::turn(recording, through, site.len(), incoming.region);
            }
            let (read, to) = ((places.inputs[0], incoming), (factors, output));
            let norm = (self, &geometry);
            batch::backward_evaluation(recording, norm, read, gamma, running, to);
            return Ok(());
        }
        // That of the input follows from those of gamma and beta.
        let to = [places.to_parameter(0)?, places.to_parameter(1)?];
        let to = or_scratch(recording, to, channels);
        let read = (places.inputs[0], places.incoming(), places.kept()?);
        batch::backward(recording, &geometry, read, gamma, to, output);
        Ok(())
    }

    fn keeps(&self, site: &Site) -> Result<Option<Keeps>> {
        let channels = self.geometry(site.batch, site.input())?.channels;
        Ok(site.is_training().then(|| statistics(channels)))
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        parameters: &[&[T]],
        y: &mut [T],
        kept: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (epsilon, channels) = (self.epsilon, geometry.channels);
        let [gamma, beta] = factors_or_neutral(self.affine, parameters, channels);
        let estimates = &parameters[self.first_statistic()..];
        let Kept {
            moments: [mean, variance],
            running,
            ..
        } = kept;
        running.clear();
        if !site.is_training() {
            let [mean, variance] = [estimates[0], estimates[1]];
            return cpu::batch_norm_forward(
                &geometry, epsilon, x[0], mean, variance, &gamma, &beta, y,
            );
        }
        let mean = resized(mean, channels);
        let variance = resized(variance, channels);
        cpu::batch_norm_moments(&geometry, x[0], mean, variance)?;
        let own = [mean.to_vec(), cpu::unbiased(&geometry, variance)?];
        match site.folds_later {
            true => running.extend(own),
            false => running.extend(fold(self, own.each_ref().map(Vec::as_slice), estimates)),
        }
        cpu::batch_norm_forward(&geometry, epsilon, x[0], mean, variance, &gamma, &beta, y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (epsilon, x, channels) = (self.epsilon, saved.x[0], geometry.channels);
        let [gamma, _] = factors_or_neutral(self.affine, &saved.parameters, channels);
        let first = self.first_statistic();
        let [mean, variance] = match site.is_training() {
            true => [0, 1].map(|at| &saved.kept.moments[at][..]),
            false => [0, 1].map(|at| saved.parameters[first + at]),
        };
        let mut to = [(); 2].map(|()| vec![T::zero(); channels]);
        let [ggamma, gbeta] = &mut to;
        cpu::batch_norm_backward_parameters(
            &geometry, epsilon, x, mean, variance, gy, ggamma, gbeta,
        )?;
        match gradients.input(0) {
            Some(gx) if site.is_training() => cpu::batch_norm_backward_input(
                &geometry, epsilon, x, mean, variance, &gamma, ggamma, gbeta, gy, gx,
            )?,
            Some(gx) => {
                cpu::batch_norm_backward_input_eval(&geometry, epsilon, variance, &gamma, gy, gx)?
            }
            None => {}
        }
        hand_over(to, gradients);
        Ok(())
    }

    fn applies(&self) -> Applies {
        Applies::Everything
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let rows = chain(self.geometry(site.batch, site.input())?.count());
        let terms = if site.is_training() { rows } else { FORMULA };
        Ok(Rounding {
            parameters: vec![Sum::formula(terms + rows), Sum::products(rows)],
            running: Sum::formula(terms),
            ..Rounding::of(Sum::formula(terms), Sum::formula(terms))
        })
    }

    fn cases() -> Vec<Case> {
        let norm = BatchNorm::new();
        vec![
            Case::new("an image", norm, [3, 5, 4]),
            Case::new("whole vectors", norm, [4, 8, 8]).batch(4),
            Case::new("a row", norm, [7]).batch(5),
            Case::new(
                "a signal, its own options",
                norm.epsilon(1e-3).momentum(0.25),
                [2, 9],
            ),
            Case::new("channels in parts", norm, [2, 65, 67]),
            Case::new("no factors", norm.affine(false), [3, 5, 4]),
            Case::new("an average of all batches", norm.momentum(None), [3, 7]),
            Case::new(
                "an average of all batches, in parts and without factors",
                norm.momentum(None).affine(false),
                [2, 65, 67],
            ),
            Case::new("frozen", norm.frozen(true), [3, 5, 4]),
            Case::new(
                "frozen, without factors",
                norm.frozen(true).affine(false).momentum(None),
                [7],
            ),
            Case::new("frozen, in parts", norm.frozen(true), [2, 65, 67]),
            Case::new(
                "frozen, one value per channel",
                norm.frozen(true).epsilon(1e-3),
                [4],
            )
            .batch(1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::engine::operators::Mode;

    #[test]
    fn a_gradient_that_is_not_wanted_changes_none_of_the_others() {
        let shape = Shape::from([2, 3]);
        let site = Site {
            batch: 4,
            planned: 4,
            inputs: vec![&shape],
            output: &shape,
            mode: Mode::Training,
            layer: 0,
            masks: Default::default(),
            folds_later: false,
            direct_only: true,
        };
        let x: Vec<f64> = (0..24).map(|at| f64::from(at * 37 % 11) - 5.0).collect();
        let gy: Vec<f64> = x.iter().map(|x| (0.7 * x).sin()).collect();
        let parameters = [[2.0, 0.5], [0.1, -0.3], [0.0; 2], [1.0; 2]];
        let parameters: Vec<&[f64]> = parameters.iter().map(|p| &p[..]).collect();
        let (norm, mut y, mut kept) = (BatchNorm::new(), vec![0.0; 24], Kept::default());
        norm.forward(&site, &[&x], &parameters, &mut y, &mut kept)
            .unwrap();
        let saved = Saved {
            x: vec![&x],
            parameters,
            y: &y,
            kept: &kept,
        };
        let run = |wanted: [bool; 3]| {
            let mut results = [vec![0.0; 24], vec![0.0; 2], vec![0.0; 2]];
            let [gx, ggamma, gbeta] = &mut results;
            let mut gradients = Gradients {
                inputs: vec![wanted[0].then_some(&mut gx[..])],
                parameters: vec![
                    wanted[1].then_some(&mut ggamma[..]),
                    wanted[2].then_some(&mut gbeta[..]),
                ],
            };
            norm.backward(&site, &saved, &gy, &mut gradients).unwrap();
            results
        };
        let all = run([true; 3]);
        assert!(all.iter().flatten().all(|&value| value != 0.0));
        for absent in 0..3 {
            let mut wanted = [true; 3];
            wanted[absent] = false;
            for (at, (some, all)) in run(wanted).iter().zip(&all).enumerate() {
                match at == absent {
                    true => assert!(some.iter().all(|&value| value == 0.0)),
                    false => assert_eq!(some, all),
                }
            }
        }
    }
}
