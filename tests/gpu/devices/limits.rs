//! Devices that were made with lower limits than the kernels need.

use wgpu_cnn::{Gpu, Trainer, ops, wgpu};

use super::model;
use crate::common::{plain_gpu, tensor};
use crate::errors::assert_error;

#[test]
fn a_device_too_small_for_the_kernels_is_refused_by_name() {
    let Some(gpu) = plain_gpu() else { return };
    let limits = || gpu.limits().clone();
    let devices = [
        wgpu::Limits {
            max_compute_invocations_per_workgroup: 128,
            ..limits()
        },
        wgpu::Limits {
            max_compute_workgroup_storage_size: 4096,
            ..limits()
        },
        wgpu::Limits {
            max_storage_buffers_per_shader_stage: 4,
            ..limits()
        },
    ];
    let names = [
        "max_compute_invocations_per_workgroup of 256, the device has 128",
        "max_compute_workgroup_storage_size of 8704, the device has 4096",
        "max_storage_buffers_per_shader_stage of 8, the device has 4",
    ];
    for (limits, name) in devices.into_iter().zip(names) {
        let gpu = Gpu::builder().limits(limits).build().unwrap();
        assert_error(Trainer::builder(model()).on(&gpu), "limit", &[name]);
        let x = tensor(&gpu, [2], &[1.0, 2.0]);
        assert_error(ops::add(&x, &x), "limit", &[name]);
    }
}
