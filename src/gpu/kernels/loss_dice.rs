//! The Dice loss: probabilities, their sums, and the gradient that follows from these.

use super::loss::{Buffers, LossStep, Targets};
use super::{
    Output, Read, ReadWrite, Recording, Region, blocks, edit, flag, flat_grid, group_grid,
};
use super::{activation, reduce, softmax};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;
use crate::gpu::strategy::{self, group_iterations};
use crate::op::{Activation, Dice, DiceOutput, LossGeometry, SoftmaxGeometry, Target};

params! {
    struct DiceParams {
        examples: u32,
        classes: u32,
        plane: u32,
        scale: f32,
        soft: u32,
        ignored: u32,
        parts: u32,
        over_batch: u32,
    }
}

params! {
    struct FactorsParams {
        len: u32,
        smoothing: f32,
    }
}

pub(crate) const SUMS: Kernel = Kernel {
    name: "loss_dice_sums",
    source: source!("loss_dice_sums.wgsl"),
    blocks: &[&blocks::DICE, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[],
    params: DiceParams::LAYOUT,
    constants: &[],
};

pub(crate) const FACTORS: Kernel = Kernel {
    name: "loss_dice_factors",
    source: source!("loss_dice_factors.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, ReadWrite, ReadWrite],
    formats: &[],
    params: FactorsParams::LAYOUT,
    constants: &[],
};

pub(crate) const GRADIENT: Kernel = Kernel {
    name: "loss_dice_gradient",
    source: source!("loss_dice_gradient.wgsl"),
    blocks: &[&blocks::DICE, &blocks::FLAT],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[],
    params: DiceParams::LAYOUT,
    constants: &["SOFTMAX"],
};

/// The losses of the classes, and how many there are; and the gradient.
pub(super) fn dice(
    recording: &mut Recording,
    options: &Dice,
    buffers: &Buffers,
) -> (Region, usize) {
    let (geometry, planned) = (buffers.geometry, buffers.planned);
    let (lines, planned_lines) = (coefficients(geometry), coefficients(planned));
    let p = recording.transient("probabilities", planned_lines * planned.plane);
    probabilities(recording, options.output, geometry, buffers.output, p);
    let parts = recording.parts(|| strategy::group_parts(lines, geometry.plane));
    let mut params = DiceParams {
        examples: geometry.rows as u32,
        classes: geometry.classes as u32,
        plane: geometry.plane as u32,
        scale: 1.0,
        soft: 0,
        ignored: Target::IGNORED,
        parts: parts as u32,
        over_batch: options.over_batch.into(),
    };
    let Targets { labels, values, .. } = buffers.targets;
    let partial = recording.transient("sums of parts", 2 * parts * planned_lines);
    recording.iterations(2 * group_iterations(geometry.plane.div_ceil(parts)));
    let (regions, grid) = (
        [p, labels, values, partial].map(Some),
        group_grid(parts * lines),
    );
    recording.dispatch(&SUMS, &[], &regions, params, grid);
    recording.varies(Varies::Loss);
    // The examples that share sums are so many more parts of them.
    let [slabs, own, most] = match options.over_batch {
        true => [parts * geometry.rows, geometry.classes, geometry.classes],
        false => [parts, lines, planned_lines],
    };
    let sums = recording.transient("sums", 2 * most);
    reduce::sum_parts(
        recording,
        partial,
        slabs,
        [1, 2 * own, 1],
        None,
        sums.into(),
    );
    let losses = recording.transient("losses of classes", most);
    let factors = recording.transient("factors", 2 * most);
    let of_sums = FactorsParams {
        len: own as u32,
        smoothing: options.smoothing as f32,
    };
    let regions = [sums, losses, factors].map(Some);
    recording.dispatch(&FACTORS, &[], &regions, of_sums, flat_grid(own));
    params.parts = 1;
    let softmax = flag(options.output == DiceOutput::Softmax);
    let regions = [p, labels, values, factors, buffers.gradient].map(Some);
    recording.iterations(2 * geometry.classes);
    let grid = flat_grid(geometry.positions());
    recording.dispatch(&GRADIENT, &[("SOFTMAX", softmax)], &regions, params, grid);
    recording.varies(Varies::Loss);
    (losses, own)
}

/// Classes of all examples.
fn coefficients(geometry: &LossGeometry) -> usize {
    geometry.rows * geometry.classes
}

fn probabilities(
    recording: &mut Recording,
    of: DiceOutput,
    geometry: &LossGeometry,
    output: Region,
    to: Region,
) {
    match of {
        DiceOutput::Softmax => {
            let lines = SoftmaxGeometry {
                outer: geometry.rows,
                extent: geometry.classes,
                inner: geometry.plane,
            };
            softmax::forward(recording, false, &lines, output, to);
        }
        DiceOutput::Sigmoid => {
            let to = Output {
                activation: Some(Activation::Sigmoid),
                ..to.into()
            };
            let len = geometry.rows * geometry.outputs();
            activation::forward(recording, len, output, to);
        }
    }
}

pub(super) fn set(params: &mut [u8], step: LossStep) {
    edit(params, |params: &mut DiceParams| {
        params.scale = step.of_gradient();
        params.soft = step.soft.into();
    });
}
