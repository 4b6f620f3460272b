//! Pieces of training by themselves, in any numbers: what kernels are held to.

use crate::cpu::{self, Real};
use crate::engine::operators::{self, Gradients, Kept, Saved, Site};
use crate::op::{Activation, Average, Loss, Op, Optimizer, Target};
use crate::{Result, Shape};

/// What a kernel computes, by the reference in any of its numbers.
pub(in crate::engine) trait Compute {
    /// The results from the inputs.
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>>;
}

/// The output and the running statistics, from the inputs and the parameters.
pub(in crate::engine) struct ForwardPass<'a> {
    pub op: &'a Op,
    pub site: Site<'a>,
}

/// The gradients of the parameters and of the inputs, from inputs, parameters, output and its
/// gradient, and what that goes through; empty where they are not wanted.
pub(in crate::engine) struct BackwardPass<'a> {
    pub pass: ForwardPass<'a>,
    pub wanted: Vec<bool>,
    /// The activation of which the gradient is given; from its argument, or its value.
    pub through: Option<Activation>,
    /// The positions that the forward pass chose.
    pub indices: Vec<u32>,
}

fn slices<T>(vectors: &[Vec<T>]) -> Vec<&[T]> {
    vectors.iter().map(Vec::as_slice).collect()
}

impl ForwardPass<'_> {
    pub fn run<T: Real>(&self, inputs: &[Vec<T>]) -> Result<(Vec<T>, Kept<T>)> {
        let (x, parameters) = inputs.split_at(self.site.inputs.len());
        let (mut y, mut kept) = (vec![T::zero(); self.site.len()], Kept::default());
        let (x, parameters) = (slices(x), slices(parameters));
        operators::forward(self.op, &self.site, &x, &parameters, &mut y, &mut kept)?;
        Ok((y, kept))
    }
}

impl Compute for ForwardPass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        let (y, kept) = self.run(inputs)?;
        Ok(std::iter::once(y).chain(kept.running).collect())
    }
}

impl Compute for BackwardPass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        let after = 2 + usize::from(self.through.is_some());
        let (before, after) = inputs.split_at(inputs.len() - after);
        let (x, parameters) = before.split_at(self.pass.site.inputs.len());
        let mut kept = match operators::kernels(self.pass.op).keeps(&self.pass.site)? {
            Some(_) => self.pass.run(before)?.1,
            None => Kept::default(),
        };
        kept.indices.clone_from(&self.indices);
        let all = parameters.iter().chain(x).zip(&self.wanted);
        let zeros = all.map(|(like, &wanted)| vec![T::zero(); if wanted { like.len() } else { 0 }]);
        let mut results: Vec<Vec<T>> = zeros.collect();
        let mut places = results.iter_mut().map(|place| match place.is_empty() {
            true => None,
            false => Some(&mut place[..]),
        });
        let mut gradients = Gradients {
            parameters: places.by_ref().take(parameters.len()).collect(),
            inputs: places.collect(),
        };
        let saved = Saved {
            x: slices(x),
            parameters: slices(parameters),
            y: &after[0],
            kept: &kept,
        };
        let mut gy = after[1].clone();
        if let (Some(activation), Some(saved)) = (self.through, after.get(2)) {
            cpu::activation_backward(activation, saved, saved, &after[1], &mut gy)?;
        }
        operators::backward(self.pass.op, &self.pass.site, &saved, &gy, &mut gradients)?;
        Ok(results)
    }
}

/// The loss and its gradient, from the model's output.
pub(in crate::engine) struct LossPass<'a> {
    pub loss: &'a Loss,
    pub shape: &'a Shape,
    pub batch: usize,
    pub target: Target,
}

impl LossPass<'_> {
    fn results<T: Real>(&self, output: &[T]) -> Result<[Vec<T>; 2]> {
        let (loss, target) = (self.loss, &self.target);
        let geometry = loss.geometry(self.batch, self.shape)?;
        let (normaliser, mut gradient) = (loss.normaliser(target, &geometry), output.to_vec());
        let total =
            cpu::loss_forward_backward(loss, &geometry, normaliser, output, target, &mut gradient)?;
        Ok([vec![total], gradient])
    }
}

impl Compute for LossPass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        Ok(self.results(&inputs[0])?.into())
    }
}

/// A loss of outputs `(n, ..)` that are there, and its gradient with respect to them.
pub(crate) fn loss_by_itself(
    shape: &Shape,
    output: &[f32],
    target: Target,
    loss: &Loss,
) -> Result<(f32, Vec<f32>)> {
    let [batch, example @ ..] = &shape[..] else {
        return Err(crate::Error::shape("output", "a batch (N, ...)", shape));
    };
    let pass = LossPass {
        loss,
        shape: &example.into(),
        batch: *batch,
        target,
    };
    let [total, gradient] = pass.results(output)?;
    Ok((total[0], gradient))
}

/// An average after an update, from the parameters and the average before.
pub(in crate::engine) struct AveragePass<'a> {
    pub own: &'a Average,
    pub update: u64,
}

impl Compute for AveragePass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        let mut averaged = inputs[1].clone();
        cpu::average_update(self.own, self.update, &inputs[0], &mut averaged)?;
        Ok(vec![averaged])
    }
}

/// The parameters and the state after an update, slab by slab, from gradient, parameter and state.
pub(in crate::engine) struct UpdatePass<'a> {
    /// Of each slab.
    pub optimizers: Vec<&'a Optimizer>,
    pub clip_norm: Option<f64>,
    pub step: u64,
    /// What gradients are multiplied by first.
    pub gradient_scale: f32,
}

impl Compute for UpdatePass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        let (mut rest, mut slabs) = (inputs, Vec::new());
        for optimizer in &self.optimizers {
            let (slab, others) = rest.split_at(2 + optimizer.state_slots());
            slabs.push(slab.to_vec());
            rest = others;
        }
        let scale = T::nearest(self.gradient_scale);
        let gradients = slabs.iter_mut().flat_map(|slab| &mut slab[0]);
        gradients.for_each(|gradient| *gradient *= scale);
        if let Some(most) = self.clip_norm {
            let norm = cpu::global_norm(slabs.iter().map(|slab| &slab[0][..]));
            let clip = cpu::clip_scale(most, norm);
            let gradients = slabs.iter_mut().flat_map(|slab| &mut slab[0]);
            gradients.for_each(|gradient| *gradient = T::nearest(clip * gradient.wide()));
        }
        for (slab, optimizer) in slabs.iter_mut().zip(&self.optimizers) {
            if let [gradient, parameter, state @ ..] = &mut slab[..] {
                cpu::optimizer_update(optimizer, self.step, parameter, gradient, state)?;
            }
        }
        Ok(slabs.concat())
    }
}
