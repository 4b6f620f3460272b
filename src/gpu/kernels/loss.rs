//! Losses and their gradients.

use super::{Read, ReadWrite, Recording, Region, blocks, flag, flat_grid, group_grid};
use super::{reduce, softmax};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::gpu::strategy::{self, group_iterations};
use crate::op::{CrossEntropy, Loss, LossGeometry, SoftmaxGeometry, Target};

params! {
    struct CrossEntropyParams {
        rows: u32,
        classes: u32,
        scale: f32,
        soft: u32,
        smoothing: f32,
        ignored: u32,
        has_ignored: u32,
        parts: u32,
    }
}

params! {
    struct ElementwiseParams {
        len: u32,
        scale: f32,
    }
}

params! {
    struct TotalParams {
        len: u32,
        scale: f32,
    }
}

pub(crate) const CROSS_ENTROPY: Kernel = Kernel {
    name: "loss_cross_entropy",
    source: source!("loss_cross_entropy.wgsl"),
    blocks: &[
        &blocks::CROSS_ENTROPY,
        &blocks::EXPONENTIAL,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: CrossEntropyParams::LAYOUT,
    constants: &[],
};

pub(crate) const CROSS_ENTROPY_MASS: Kernel = Kernel {
    name: "loss_cross_entropy_mass",
    source: source!("loss_cross_entropy_mass.wgsl"),
    blocks: &[&blocks::CROSS_ENTROPY, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[],
    params: CrossEntropyParams::LAYOUT,
    constants: &[],
};

pub(crate) const CROSS_ENTROPY_LONG: Kernel = Kernel {
    name: "loss_cross_entropy_long",
    source: source!("loss_cross_entropy_long.wgsl"),
    blocks: &[
        &blocks::CROSS_ENTROPY,
        &blocks::EXPONENTIAL,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: CrossEntropyParams::LAYOUT,
    constants: &[],
};

pub(crate) const ELEMENTWISE: Kernel = Kernel {
    name: "loss_elementwise",
    source: source!("loss_elementwise.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: ElementwiseParams::LAYOUT,
    constants: &["BINARY"],
};

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
    &CROSS_ENTROPY,
    &CROSS_ENTROPY_MASS,
    &CROSS_ENTROPY_LONG,
    &ELEMENTWISE,
    &TOTAL,
];

/// Most classes that one workgroup takes.
pub(crate) const MOST_CLASSES: usize = 4096;

/// What the outputs should have been, on the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    /// `(N)` as u32, for the cross-entropy on labels.
    pub labels: Region,
    /// `(N, classes)`, for the other losses and for the cross-entropy on probabilities.
    pub values: Region,
    /// `(classes)`, where the classes have weights.
    pub class_weights: Option<Region>,
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
    let (partial, sums) = match loss {
        Loss::CrossEntropy(options) => {
            let to = [planned.rows, geometry.rows, geometry.classes];
            cross_entropy(recording, options, to, output, targets, gradient)
        }
        Loss::MeanSquaredError(_) | Loss::BinaryCrossEntropy(_) => {
            let groups = |geometry: &LossGeometry| (geometry.rows * geometry.classes).div_ceil(64);
            let partial = recording.transient("partial losses", groups(planned));
            let len = geometry.rows * geometry.classes;
            let params = ElementwiseParams {
                len: len as u32,
                scale: 1.0,
            };
            let constants = [("BINARY", flag(matches!(loss, Loss::BinaryCrossEntropy(_))))];
            let regions = [output, targets.values, partial, gradient].map(Some);
            recording.dispatch(&ELEMENTWISE, &constants, &regions, params, flat_grid(len));
            recording.varies(Varies::Loss);
            (partial, groups(geometry))
        }
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

/// The losses of the examples, or of parts of their classes, and how many there are; and the gradient.
fn cross_entropy(
    recording: &mut Recording,
    options: &CrossEntropy,
    [planned, rows, classes]: [usize; 3],
    output: Region,
    targets: Targets,
    gradient: Region,
) -> (Region, usize) {
    let parts = recording.parts(|| match classes {
        ..=MOST_CLASSES => 1,
        _ => strategy::group_parts(rows, classes).max(2),
    });
    let partial = recording.transient("losses of parts", parts * planned);
    let params = CrossEntropyParams {
        rows: rows as u32,
        classes: classes as u32,
        scale: 1.0,
        soft: 0,
        smoothing: options.label_smoothing as f32,
        ignored: Target::IGNORED,
        has_ignored: options.ignored_label.is_some().into(),
        parts: parts as u32,
    };
    let Targets {
        labels,
        values,
        class_weights,
    } = targets;
    let constants = [("HAS_WEIGHTS", flag(class_weights.is_some()))];
    let [labels, values] = [labels, values].map(Some);
    let to = [Some(partial), Some(gradient)];
    let read = [Some(output), labels, values, class_weights];
    if parts == 1 {
        recording.iterations(4 * classes.div_ceil(64));
        let (regions, grid) = ([&read[..], &to].concat(), group_grid(rows));
        recording.dispatch(&CROSS_ENTROPY, &constants, &regions, params, grid);
        recording.varies(Varies::Loss);
        return (partial, rows);
    }
    let lines = SoftmaxGeometry {
        outer: rows,
        extent: classes,
        inner: 1,
    };
    let statistics = recording.transient("softmax", 2 * planned);
    softmax::statistics(recording, &lines, parts, output, statistics, None);
    let (iterations, grid) = (
        group_iterations(classes.div_ceil(parts)),
        group_grid(parts * rows),
    );
    let masses = recording.transient("target masses of parts", parts * planned);
    recording.iterations(iterations);
    let regions = [labels, values, class_weights, Some(masses)];
    recording.dispatch(&CROSS_ENTROPY_MASS, &constants, &regions, params, grid);
    recording.varies(Varies::Loss);
    let mass = recording.transient("target masses", planned);
    reduce::sum_parts(recording, masses, parts, [1, rows, 1], None, mass.into());
    let regions = [&read[..], &[Some(statistics), Some(mass)], &to].concat();
    recording.iterations(iterations);
    recording.dispatch(&CROSS_ENTROPY_LONG, &constants, &regions, params, grid);
    recording.varies(Varies::Loss);
    (partial, parts * rows)
}

/// What a step says of its loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LossStep {
    /// What the sum of the batch's losses is multiplied by.
    pub scale: f32,
    /// What their gradient is multiplied by: 1 where those of several batches are summed up first.
    pub gradient_scale: f32,
    /// Whether the target is probabilities rather than labels.
    pub soft: bool,
}

impl LossStep {
    /// Of labels, undivided.
    pub const UNIT: Self = Self {
        scale: 1.0,
        gradient_scale: 1.0,
        soft: false,
    };
}

/// Fills in what changes from step to step in a loss's params.
pub(crate) fn set_step(loss: &Loss, params: &mut [u8], step: LossStep) {
    match loss {
        Loss::CrossEntropy(CrossEntropy { .. }) => {
            super::edit(params, |params: &mut CrossEntropyParams| {
                params.scale = step.gradient_scale;
                params.soft = step.soft.into();
            });
        }
        Loss::MeanSquaredError(_) | Loss::BinaryCrossEntropy(_) => {
            super::edit(params, |params: &mut ElementwiseParams| {
                params.scale = step.gradient_scale
            });
        }
    }
}

/// Fills in what changes from step to step in the params of the loss's total.
pub(crate) fn set_total_step(params: &mut [u8], step: LossStep) {
    super::edit(params, |params: &mut TotalParams| {
        params.scale = step.scale;
    });
}
