//! Losses and their gradients.

use super::{Read, ReadWrite, Recording, Region, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::{Loss, LossGeometry};

params! {
    struct CrossEntropyParams {
        rows: u32,
        classes: u32,
        scale: f32,
        soft: u32,
    }
}

params! {
    struct MeanSquaredErrorParams {
        rows: u32,
        len: u32,
        scale: f32,
    }
}

params! {
    struct TotalParams {
        rows: u32,
        scale: f32,
    }
}

pub(crate) const CROSS_ENTROPY: Kernel = Kernel {
    name: "loss_cross_entropy",
    source: source!(
        "loss_cross_entropy.wgsl",
        "core/reduce.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, ReadWrite, ReadWrite],
    params: CrossEntropyParams::LAYOUT,
    constants: &[],
};

pub(crate) const MEAN_SQUARED_ERROR: Kernel = Kernel {
    name: "loss_mean_squared_error",
    source: source!(
        "loss_mean_squared_error.wgsl",
        "core/reduce.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    params: MeanSquaredErrorParams::LAYOUT,
    constants: &[],
};

pub(crate) const TOTAL: Kernel = Kernel {
    name: "loss_total",
    source: source!("loss_total.wgsl", "core/reduce.wgsl"),
    bindings: &[Read, ReadWrite],
    params: TotalParams::LAYOUT,
    constants: &[],
};

/// What the outputs should have been, on the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    /// `(N)` as u32, for the cross-entropy on labels.
    pub labels: Region,
    /// `(N, classes)`, for the squared error and for the cross-entropy on probabilities.
    pub values: Region,
}

/// Says in a cross-entropy's params whether the target is probabilities rather than labels, which
/// can change from step to step.
pub(crate) fn set_soft(params: &mut [u8], soft: bool) {
    let params = &mut params[..size_of::<CrossEntropyParams>()];
    let mut values: CrossEntropyParams = bytemuck::pod_read_unaligned(params);
    values.soft = soft.into();
    params.copy_from_slice(bytemuck::bytes_of(&values));
}

/// The loss of a batch and its gradient with respect to the model's output.
pub(crate) fn loss(
    recording: &mut Recording,
    loss: Loss,
    geometry: &LossGeometry,
    output: Region,
    targets: Targets,
    [total, gradient]: [Region; 2],
) {
    let LossGeometry {
        rows,
        classes,
        scale,
    } = *geometry;
    let (rows32, classes32, scale) = (rows as u32, classes as u32, scale as f32);
    let row_loss = recording.transient("loss per example", rows);
    let grid = flat_grid(rows, 1);
    match loss {
        Loss::CrossEntropy(_) => {
            let params = CrossEntropyParams {
                rows: rows32,
                classes: classes32,
                scale,
                soft: 0,
            };
            let Targets { labels, values } = targets;
            let regions = [output, labels, values, row_loss, gradient].map(Some);
            recording.dispatch(&CROSS_ENTROPY, &[], &regions, params, grid);
        }
        Loss::MeanSquaredError(_) => {
            let params = MeanSquaredErrorParams {
                rows: rows32,
                len: classes32,
                scale,
            };
            let regions = [output, targets.values, row_loss, gradient].map(Some);
            recording.dispatch(&MEAN_SQUARED_ERROR, &[], &regions, params, grid);
        }
    }
    let params = TotalParams {
        rows: rows32,
        scale,
    };
    let regions = [Some(row_loss), Some(total)];
    recording.dispatch(&TOTAL, &[], &regions, params, [1, 1, 1]);
}
