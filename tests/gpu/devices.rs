//! Devices as they come: a program's own, two at a time, lost, and with low limits.

mod limits;
mod lost;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use wgpu_cnn::{Gpu, Model, Tensor, Trainer, wgpu};

use crate::common::{plain_gpu, random, uniform};
use crate::errors::assert_error;

fn model() -> Model {
    Model::builder([1, 6, 6])
        .conv2d(4, 3)
        .relu()
        .flatten()
        .dense(3)
        .build()
        .unwrap()
}

/// A device as a program that uses wgpu itself has it: default limits, no features.
pub fn foreign_device() -> Option<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    let wanted = plain_gpu()?.info().name.clone();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters
        .into_iter()
        .find(|adapter| adapter.get_info().name == wanted)?;
    let device = pollster::block_on(adapter.request_device(&Default::default()));
    let (device, queue) = device.unwrap();
    Some((adapter.get_info(), device, queue))
}

#[test]
fn a_device_of_the_users_own_works_and_stays_theirs() {
    let Some((info, device, queue)) = foreign_device() else {
        return;
    };
    let (lost, uncaptured) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
    let (told, counted) = (lost.clone(), uncaptured.clone());
    device.set_device_lost_callback(move |reason, _| *told.lock().unwrap() = Some(reason));
    device.on_uncaptured_error(Arc::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let gpu = Gpu::from_wgpu(info, device.clone(), queue).unwrap();
    assert!(!gpu.device().features().contains(wgpu::Features::SUBGROUP));
    let mut theirs = Trainer::builder(model()).batch(4).seed(9).on(&gpu).unwrap();
    let mut ours = Trainer::builder(model()).batch(4).seed(9).on_cpu().unwrap();
    let (x, y) = (uniform(&mut random(42), 4 * 36), [0u8, 1, 2, 0]);
    for _ in 0..3 {
        theirs.step(&x, &y).unwrap();
        ours.step(&x, &y).unwrap();
        let (theirs, ours) = (theirs.loss().unwrap(), ours.loss().unwrap());
        assert!((theirs - ours).abs() < 1e-5, "{theirs} {ours}");
    }
    assert_error(Tensor::from_slice(&gpu, [2], &[1.0]), "shape", &["[2]"]);
    assert_eq!(
        uncaptured.load(Ordering::Relaxed),
        0,
        "an error of the library's own escaped"
    );
    let impossible = wgpu::BufferDescriptor {
        label: None,
        size: 16,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE,
        mapped_at_creation: false,
    };
    let _ = device.create_buffer(&impossible);
    assert_eq!(
        uncaptured.load(Ordering::Relaxed),
        1,
        "the user's handler is not there any more"
    );
    theirs.step(&x, &y).unwrap();
    device.destroy();
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    assert_eq!(
        *lost.lock().unwrap(),
        Some(wgpu::DeviceLostReason::Destroyed)
    );
}
