//! Losses of classes, one of which is right.

use super::loss::{Buffers, LossStep, Targets};
use super::{Read, ReadWrite, Recording, Region, blocks, edit, flag, group_grid};
use super::{loss_elements, reduce, softmax};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::gpu::strategy::{self, group_iterations};
use crate::op::{CrossEntropy, LossGeometry, SoftmaxGeometry, Target};

params! {
    struct CrossEntropyParams {
        rows: u32,
        classes: u32,
        plane: u32,
        scale: f32,
        soft: u32,
        smoothing: f32,
        ignored: u32,
        has_ignored: u32,
        parts: u32,
        turns: u32,
    }
}

params! {
    struct LikelihoodParams {
        len: u32,
        classes: u32,
        plane: u32,
        turns: u32,
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

pub(crate) const CROSS_ENTROPY_DENSE: Kernel = Kernel {
    name: "loss_cross_entropy_dense",
    source: source!("loss_cross_entropy_dense.wgsl"),
    blocks: CROSS_ENTROPY.blocks,
    bindings: CROSS_ENTROPY.bindings,
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

pub(crate) const LIKELIHOOD: Kernel = Kernel {
    name: "loss_likelihood",
    source: source!("loss_likelihood.wgsl"),
    blocks: &[&blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: LikelihoodParams::LAYOUT,
    constants: &["HAS_WEIGHTS"],
};

/// Most classes that one workgroup takes.
pub(crate) const MOST_CLASSES: usize = 4096;

/// The losses of the rows, of workgroups of pixels or of parts of the classes, and how many there are;
/// and the gradient.
pub(super) fn cross_entropy(
    recording: &mut Recording,
    options: &CrossEntropy,
    buffers: &Buffers,
) -> (Region, usize) {
    let geometry = buffers.geometry;
    let (rows, planned) = (geometry.positions(), buffers.planned.positions());
    let (classes, plane) = (geometry.classes, geometry.plane);
    // An invocation takes no longer row than that of a softmax.
    let dense = plane > 1 && classes <= softmax::LONGEST_LINE;
    let parts = recording.parts(|| match classes {
        ..=MOST_CLASSES => 1,
        _ => strategy::group_parts(rows, classes).max(2),
    });
    let turns = match dense {
        true => loss_elements::turns(recording, rows),
        false => 1,
    };
    let losses = if dense {
        planned.div_ceil(64 * turns)
    } else {
        planned
    };
    let partial = recording.transient("losses of parts", parts * losses);
    let params = params_of(options, geometry, [parts, turns]);
    let Targets {
        labels,
        values,
        weights,
    } = buffers.targets;
    let constants = [("HAS_WEIGHTS", flag(weights.is_some()))];
    let [labels, values] = [labels, values].map(Some);
    let to = [Some(partial), Some(buffers.gradient)];
    let read = [Some(buffers.output), labels, values, weights];
    if parts == 1 {
        let regions = [&read[..], &to].concat();
        let (kernel, iterations, groups) = match dense {
            true => {
                let groups = rows.div_ceil(64 * turns);
                (&CROSS_ENTROPY_DENSE, 3 * classes * turns, groups)
            }
            false => (&CROSS_ENTROPY, 4 * classes.div_ceil(64), rows),
        };
        recording.iterations(iterations);
        recording.dispatch(kernel, &constants, &regions, params, group_grid(groups));
        recording.varies(Varies::Loss);
        return (partial, groups);
    }
    let statistics = recording.transient("softmax", 2 * planned);
    let masses = recording.transient("target masses of parts", parts * planned);
    let mass = recording.transient("target masses", planned);
    let lines = SoftmaxGeometry {
        outer: geometry.rows,
        extent: classes,
        inner: plane,
    };
    softmax::statistics(recording, &lines, parts, buffers.output, statistics, None);
    let (iterations, grid) = (
        group_iterations(classes.div_ceil(parts)),
        group_grid(parts * rows),
    );
    recording.iterations(iterations);
    let regions = [labels, values, weights, Some(masses)];
    recording.dispatch(&CROSS_ENTROPY_MASS, &constants, &regions, params, grid);
    recording.varies(Varies::Loss);
    reduce::sum_parts(recording, masses, parts, [1, rows, 1], None, mass.into());
    let regions = [&read[..], &[Some(statistics), Some(mass)], &to].concat();
    recording.iterations(iterations);
    recording.dispatch(&CROSS_ENTROPY_LONG, &constants, &regions, params, grid);
    recording.varies(Varies::Loss);
    (partial, parts * rows)
}

fn params_of(
    options: &CrossEntropy,
    geometry: &LossGeometry,
    [parts, turns]: [usize; 2],
) -> CrossEntropyParams {
    CrossEntropyParams {
        rows: geometry.positions() as u32,
        classes: geometry.classes as u32,
        plane: geometry.plane as u32,
        scale: 1.0,
        soft: 0,
        smoothing: options.label_smoothing as f32,
        ignored: Target::IGNORED,
        has_ignored: options.ignored_label.is_some().into(),
        parts: parts as u32,
        turns: turns as u32,
    }
}

/// The losses of workgroups of elements, and how many there are; and the gradient.
pub(super) fn likelihood(recording: &mut Recording, buffers: &Buffers) -> (Region, usize) {
    let len = buffers.geometry.rows * buffers.geometry.outputs();
    let planned = buffers.planned.rows * buffers.planned.outputs();
    let turns = loss_elements::turns(recording, len);
    let partial = recording.transient("partial losses", planned.div_ceil(64 * turns));
    let params = LikelihoodParams {
        len: len as u32,
        classes: buffers.geometry.classes as u32,
        plane: buffers.geometry.plane as u32,
        turns: turns as u32,
        scale: 1.0,
    };
    let Targets {
        labels, weights, ..
    } = buffers.targets;
    let constants = [("HAS_WEIGHTS", flag(weights.is_some()))];
    let to = [Some(partial), Some(buffers.gradient)];
    let regions = [&[Some(buffers.output), Some(labels), weights][..], &to].concat();
    let groups = len.div_ceil(64 * turns);
    recording.iterations(turns);
    let grid = group_grid(groups);
    recording.dispatch(&LIKELIHOOD, &constants, &regions, params, grid);
    recording.varies(Varies::Loss);
    (partial, groups)
}

pub(super) fn set_cross_entropy(params: &mut [u8], step: LossStep) {
    edit(params, |params: &mut CrossEntropyParams| {
        params.scale = step.of_gradient();
        params.soft = step.soft.into();
    });
}

pub(super) fn set_likelihood(params: &mut [u8], step: LossStep) {
    edit(params, |params: &mut LikelihoodParams| {
        params.scale = step.of_gradient();
    });
}
