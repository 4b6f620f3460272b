//! Batch and layer normalisation.

use super::places::resized;
use super::rounding::{FORMULA, chain};
use super::{
    Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::norm;
use crate::gpu::record::{Recording, Region};
use crate::op::{BatchNorm, LayerNorm};

/// Mean and deviation of so many groups.
fn statistics(groups: usize) -> Keeps {
    Keeps {
        label: "statistics",
        len: 2 * groups,
    }
}

/// Where the gradients of gamma and beta go: scratch where they are not wanted, since that of the
/// input follows from them.
fn to_parameters(recording: &mut Recording, places: &Backward, len: usize) -> Result<[Region; 2]> {
    let to = [places.to_parameter(0)?, places.to_parameter(1)?];
    Ok(to.map(|to| to.unwrap_or_else(|| recording.transient("gradient of no parameter", len))))
}

impl<T: Real> Operator<T> for BatchNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (gamma, beta) = (places.whole(0)?, places.whole(1)?);
        let (mean, variance) = (places.whole(2)?, places.whole(3)?);
        let (read, output) = ([places.inputs[0], gamma, beta], places.output);
        if site.is_training() {
            let statistics = [places.kept()?, mean, variance];
            norm::batch_forward(recording, self, &geometry, read, statistics, output);
        } else {
            let running = [mean, variance];
            norm::batch_forward_evaluation(recording, self, &geometry, read, running, output);
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
        let gamma = places.whole(0)?;
        let read = [places.inputs[0], places.gradient, places.kept()?, gamma];
        let to = to_parameters(recording, places, geometry.channels)?;
        norm::batch_backward(recording, &geometry, read, to, places.to_inputs[0]);
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
        let [gamma, beta, running_mean, running_variance] = [0, 1, 2, 3].map(|at| parameters[at]);
        let Kept {
            moments: [mean, variance],
            running,
            ..
        } = kept;
        if !site.is_training() {
            running.clear();
            let (mean, variance) = (running_mean, running_variance);
            return cpu::batch_norm_forward(
                &geometry,
                self.epsilon,
                x[0],
                mean,
                variance,
                gamma,
                beta,
                y,
            );
        }
        let mean = resized(mean, geometry.channels);
        let variance = resized(variance, geometry.channels);
        cpu::batch_norm_moments(&geometry, x[0], mean, variance)?;
        running.resize(2, Vec::new());
        running[0].clear();
        running[0].extend_from_slice(running_mean);
        running[1].clear();
        running[1].extend_from_slice(running_variance);
        let [new_mean, new_variance] = &mut running[..] else {
            return Ok(());
        };
        cpu::batch_norm_update_running(
            &geometry,
            self.momentum,
            mean,
            variance,
            new_mean,
            new_variance,
        )?;
        cpu::batch_norm_forward(
            &geometry,
            self.epsilon,
            x[0],
            mean,
            variance,
            gamma,
            beta,
            y,
        )
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.input())?;
        let (epsilon, x, gamma) = (self.epsilon, saved.x[0], saved.parameters[0]);
        let [mean, variance] = &saved.kept.moments;
        let mut to = [(); 2].map(|()| vec![T::zero(); geometry.channels]);
        let [ggamma, gbeta] = &mut to;
        cpu::batch_norm_backward_parameters(
            &geometry, epsilon, x, mean, variance, gy, ggamma, gbeta,
        )?;
        if let Some(gx) = gradients.input(0) {
            cpu::batch_norm_backward_input(
                &geometry, epsilon, x, mean, variance, gamma, ggamma, gbeta, gy, gx,
            )?;
        }
        hand_over(to, gradients);
        Ok(())
    }

    fn applies_activation(&self) -> bool {
        true
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
        ]
    }
}

impl<T: Real> Operator<T> for LayerNorm {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let extents = [site.batch, site.input().len()];
        let read = [places.inputs[0], places.whole(0)?, places.whole(1)?];
        let to = [places.kept()?, places.output.region];
        norm::layer_forward(recording, self.epsilon, extents, read, to);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let (len, gamma) = (site.input().len(), places.whole(0)?);
        let read = [places.inputs[0], places.gradient, places.kept()?, gamma];
        let to = to_parameters(recording, places, len)?;
        norm::layer_backward(recording, [site.batch, len], read, to, places.to_inputs[0]);
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
        let [gamma, beta] = [parameters[0], parameters[1]];
        cpu::layer_norm_forward(site.batch, self.epsilon, x[0], gamma, beta, y)
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
        match gradients.input(0) {
            Some(gx) => {
                cpu::layer_norm_backward_input(batch, epsilon, x, saved.parameters[0], gy, gx)
            }
            None => Ok(()),
        }
    }

    fn applies_activation(&self) -> bool {
        false
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
            Case::new(
                "beyond a workgroup, its own epsilon",
                norm.epsilon(1e-3),
                [4, 9, 8],
            ),
        ]
    }
}

/// Writes the gradients of gamma and beta where they are wanted.
fn hand_over<T: Real>(computed: [Vec<T>; 2], gradients: &mut Gradients<T>) {
    for (parameter, computed) in computed.iter().enumerate() {
        if let Some(to) = gradients.parameter(parameter) {
            to.copy_from_slice(computed);
        }
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
