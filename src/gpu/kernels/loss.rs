//! Losses and their gradients.

use super::loss_classes as classes;
use super::{Read, ReadWrite, Recording, Region, blocks};
use super::{loss_dice as dice, loss_elements as elements, reduce};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::gpu::strategy::group_iterations;
use crate::op::{Loss, LossGeometry};

pub(crate) use super::loss_classes::MOST_CLASSES;

params! {
    struct TotalParams {
        len: u32,
        scale: f32,
    }
}

pub(crate) const TOTAL: Kernel = Kernel {
    name: "loss_total",
    source: source!("loss_total.wgsl"),
    blocks: &[&blocks::REDUCE],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: TotalParams::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &classes::CROSS_ENTROPY,
    &classes::CROSS_ENTROPY_DENSE,
    &classes::CROSS_ENTROPY_MASS,
    &classes::CROSS_ENTROPY_LONG,
    &classes::LIKELIHOOD,
    &elements::ELEMENTWISE,
    &dice::SUMS,
    &dice::FACTORS,
    &dice::GRADIENT,
    &TOTAL,
];

/// What the outputs should have been, on the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    /// `(N)` or `(N, plane)` as u32, for the losses of classes.
    pub labels: Region,
    /// As the outputs, for the other losses and for probabilities.
    pub values: Region,
    /// What [`Loss::weights`] gives.
    pub weights: Option<Region>,
}

/// What a loss is computed from, and where its gradient goes.
pub(super) struct Buffers<'a> {
    /// Of this batch, and of the largest one, for which transient buffers are sized.
    pub geometry: &'a LossGeometry,
    pub planned: &'a LossGeometry,
    pub output: Region,
    pub targets: Targets,
    pub gradient: Region,
}

/// The loss of a batch and its gradient with respect to the model's output. Both are sums over the
/// batch times a scale that [`set_step`] fills in, since it may depend on the target. The partial
/// sums are sized for `planned`, the geometry of the largest batch.
pub(crate) fn loss(
    recording: &mut Recording,
    loss: &Loss,
    [geometry, planned]: [&LossGeometry; 2],
    output: Region,
    targets: Targets,
    [total, gradient]: [Region; 2],
) {
    let buffers = Buffers {
        geometry,
        planned,
        output,
        targets,
        gradient,
    };
    let (partial, sums) = match loss {
        Loss::CrossEntropy(options) => classes::cross_entropy(recording, options, &buffers),
        Loss::NegativeLogLikelihood(_) => classes::likelihood(recording, &buffers),
        Loss::Dice(options) => dice::dice(recording, options, &buffers),
        Loss::MeanSquaredError(_) => elements::SQUARED.record(recording, &buffers),
        Loss::L1(_) => elements::ABSOLUTE.record(recording, &buffers),
        Loss::SmoothL1 { beta, .. } => elements::smooth(*beta).record(recording, &buffers),
        Loss::Huber { delta, .. } => elements::huber(*delta).record(recording, &buffers),
        Loss::BinaryCrossEntropy(_) => elements::BINARY.record(recording, &buffers),
        Loss::KlDivergence(_) => elements::DIVERGENCE.record(recording, &buffers),
    };
    let (partial, sums) = reduce::fewer_values(recording, partial, sums);
    let params = TotalParams {
        len: sums as u32,
        scale: 1.0,
    };
    let regions = [Some(partial), Some(total)];
    recording.iterations(group_iterations(sums));
    recording.dispatch(&TOTAL, &[], &regions, params, [1, 1, 1]);
    recording.varies(Varies::LossTotal);
}

/// What a step says of its loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossStep {
    /// What the sum of the batch's losses is multiplied by.
    pub scale: f32,
    /// What their gradient is multiplied by: 1 where those of several batches are summed up first.
    pub gradient_scale: f32,
    /// What the gradient, but not the loss, is multiplied by beside: the loss's share of a sum of
    /// several losses.
    pub weight: f64,
    /// Whether the target is values or probabilities rather than labels.
    pub soft: bool,
}

impl LossStep {
    /// Of labels, undivided.
    pub const UNIT: Self = Self {
        scale: 1.0,
        gradient_scale: 1.0,
        weight: 1.0,
        soft: false,
    };

    /// What the gradient is multiplied by.
    pub(super) fn of_gradient(&self) -> f32 {
        (f64::from(self.gradient_scale) * self.weight) as f32
    }
}

/// Fills in what changes from step to step in a loss's params.
pub(crate) fn set_step(loss: &Loss, params: &mut [u8], step: LossStep) {
    match loss {
        Loss::CrossEntropy(_) => classes::set_cross_entropy(params, step),
        Loss::NegativeLogLikelihood(_) => classes::set_likelihood(params, step),
        Loss::Dice(_) => dice::set(params, step),
        Loss::MeanSquaredError(_)
        | Loss::L1(_)
        | Loss::SmoothL1 { .. }
        | Loss::Huber { .. }
        | Loss::BinaryCrossEntropy(_)
        | Loss::KlDivergence(_) => elements::set(params, step),
    }
}

/// Fills in what changes from step to step in the params of the loss's total.
pub(crate) fn set_total_step(params: &mut [u8], step: LossStep) {
    super::edit(params, |params: &mut TotalParams| {
        params.scale = step.scale;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scale in params of a kernel once a step has filled them in.
    fn scale(kernel: &Kernel, loss: impl Into<Loss>, step: LossStep) -> f32 {
        let mut params = vec![0; 4 * kernel.params.len()];
        set_step(&loss.into(), &mut params, step);
        let scale = kernel.params.iter().position(|(name, _)| *name == "scale");
        let at = 4 * scale.unwrap();
        bytemuck::pod_read_unaligned(&params[at..at + 4])
    }

    #[test]
    fn a_weight_scales_the_gradient_and_not_the_loss() {
        let step = LossStep {
            scale: 0.5,
            gradient_scale: 0.5,
            weight: 0.25,
            soft: true,
        };
        let of_classes = [
            scale(&classes::CROSS_ENTROPY, Loss::cross_entropy(), step),
            scale(&classes::LIKELIHOOD, Loss::nll(), step),
            scale(&dice::GRADIENT, Loss::dice(), step),
        ];
        assert_eq!(of_classes, [0.125; 3]);
        for loss in [
            Loss::l1(),
            Loss::huber(2.0),
            Loss::binary_cross_entropy().into(),
        ] {
            assert_eq!(scale(&elements::ELEMENTWISE, loss, step), 0.125);
        }
        let mut params = [0; 8];
        set_total_step(&mut params, step);
        assert_eq!(params[4..], 0.5f32.to_le_bytes());
    }
}
