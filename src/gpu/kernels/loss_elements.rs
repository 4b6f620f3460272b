//! Losses that are a sum over elements.

use super::loss::{Buffers, LossStep};
use super::{Read, ReadWrite, Recording, Region, blocks, edit, flag, group_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::record::Varies;

params! {
    struct ElementwiseParams {
        len: u32,
        turns: u32,
        scale: f32,
        outputs: u32,
        positive_extent: u32,
        positive_inner: u32,
        weight_extent: u32,
        weight_inner: u32,
    }
}

pub(crate) const ELEMENTWISE: Kernel = Kernel {
    name: "loss_elementwise",
    source: source!("loss_elementwise.wgsl"),
    blocks: &[&blocks::EXPONENTIAL, &blocks::REDUCE, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[],
    params: ElementwiseParams::LAYOUT,
    constants: &["KIND", "HAS_WEIGHTS", "BOUND"],
};

/// A function of an element and its target.
pub(super) struct Function {
    /// The number of the function in the shader.
    kind: u32,
    /// Where a square ends.
    bound: f64,
}

pub(super) const SQUARED: Function = function(0);
pub(super) const BINARY: Function = function(1);
pub(super) const ABSOLUTE: Function = function(2);
pub(super) const DIVERGENCE: Function = function(5);

const fn function(kind: u32) -> Function {
    Function { kind, bound: 1.0 }
}

/// The square up to `beta`, and what is linear beyond; without a square, the absolute value.
pub(super) fn smooth(beta: f64) -> Function {
    match beta as f32 {
        0.0 => ABSOLUTE,
        bound => Function {
            kind: 3,
            bound: bound.into(),
        },
    }
}

/// As [`smooth`], times `delta`.
pub(super) fn huber(delta: f64) -> Function {
    Function {
        kind: 4,
        bound: f64::from(delta as f32),
    }
}

impl Function {
    /// The losses of workgroups of elements, and how many there are; and the gradient.
    pub(super) fn record(&self, recording: &mut Recording, buffers: &Buffers) -> (Region, usize) {
        let (geometry, planned) = (buffers.geometry, buffers.planned);
        let (outputs, len) = (geometry.outputs(), geometry.rows * geometry.outputs());
        let most = planned.rows * planned.outputs();
        let turns = turns(recording, len);
        let partial = recording.transient("partial losses", most.div_ceil(64 * turns));
        let [positive, weight] = geometry.weights;
        let params = ElementwiseParams {
            len: len as u32,
            turns: turns as u32,
            scale: 1.0,
            outputs: outputs as u32,
            positive_extent: positive.extent as u32,
            positive_inner: positive.inner as u32,
            weight_extent: weight.extent as u32,
            weight_inner: weight.inner as u32,
        };
        let weights = buffers.targets.weights;
        let constants = [
            ("KIND", self.kind.into()),
            ("HAS_WEIGHTS", flag(weights.is_some())),
            ("BOUND", self.bound),
        ];
        let read = [Some(buffers.output), Some(buffers.targets.values), weights];
        let to = [Some(partial), Some(buffers.gradient)];
        let regions = [&read[..], &to].concat();
        let groups = len.div_ceil(64 * turns);
        recording.iterations(turns);
        let grid = group_grid(groups);
        recording.dispatch(&ELEMENTWISE, &constants, &regions, params, grid);
        recording.varies(Varies::Loss);
        (partial, groups)
    }
}

/// Elements that an invocation takes, of so many: as many as still fill a device, and no more than can be
/// added up in a row.
pub(super) fn turns(recording: &mut Recording, elements: usize) -> usize {
    const GROUPS: usize = 512;
    recording.parts(|| (elements / (64 * GROUPS)).clamp(1, 16))
}

pub(super) fn set(params: &mut [u8], step: LossStep) {
    edit(params, |params: &mut ElementwiseParams| {
        params.scale = step.of_gradient();
    });
}
