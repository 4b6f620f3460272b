//! What a recording asks of the device's limits: it may have been made with any.

use super::kernel::{ARGUMENT, needs};
use super::record::{Dispatch, Recording};
use super::{DUMMY, Gpu};
use crate::{Error, Result};

impl Gpu {
    /// Whether the device can run the kernels of a recording. The sizes of buffers and grids were
    /// looked after when they were recorded.
    pub(super) fn check_limits(&self, recording: &Recording) -> Result<()> {
        let mut dispatches = recording.dispatches.iter();
        dispatches.try_for_each(|dispatch| check(&self.inner.limits, dispatch))
    }
}

/// Limits by name: what a device has of each, and what is needed.
macro_rules! limits {
    ($limits:ident: $($name:ident >= $needed:expr),* $(,)?) => {
        [$((stringify!($name), u64::from($limits.$name), u64::from($needed))),*]
    };
}

/// Whether a device with these limits can run a dispatch.
fn check(limits: &wgpu::Limits, dispatch: &Dispatch) -> Result<()> {
    let buffers = dispatch.kernel.bindings.len() as u32;
    // The params come after the storage buffers.
    let (buffers, last) = match dispatch.argument {
        None => (buffers + 1, buffers),
        Some(_) => (buffers + 2, ARGUMENT),
    };
    let absent = dispatch.bindings.contains(&None);
    // What any kernel may need is asked of every device, so that one is not refused for one model and
    // taken for the next.
    let mut limits = limits![limits:
        max_compute_invocations_per_workgroup >= needs::INVOCATIONS,
        max_compute_workgroup_size_x >= needs::INVOCATIONS,
        max_compute_workgroup_size_y >= 1u32,
        max_compute_workgroup_size_z >= 1u32,
        max_compute_workgroup_storage_size >= needs::WORKGROUP_MEMORY,
        max_storage_buffers_per_shader_stage >= needs::STORAGE_BUFFERS,
        max_uniform_buffers_per_shader_stage >= 1u32,
        max_buffers_and_acceleration_structures_per_shader_stage >= buffers,
        max_bind_groups >= 1u32,
        max_bindings_per_bind_group >= last + 1,
        max_uniform_buffer_binding_size >= dispatch.kernel.params_size(),
        max_storage_buffer_binding_size >= if absent { DUMMY } else { 0 },
    ]
    .into_iter();
    match limits.find(|(_, available, needed)| available < needed) {
        Some((limit, available, needed)) => Err(Error::Limit {
            limit,
            what: dispatch.what(),
            needed,
            available,
        }),
        None => Ok(()),
    }
}
