//! Devices as they come: a program's own, two at a time, lost, and with low limits.

mod limits;
mod lost;
mod recover;
mod two;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use wgpu_cnn::{Gpu, Model, Tensor, Trainer, wgpu};

use crate::common::{assert_error, plain_gpu, random, uniform};

fn model() -> Model {
    Model::builder([1, 6, 6])
        .conv2d(4, 3)
        .relu()
        .flatten()
        .dense(3)
        .build()
        .unwrap()
}

/// The adapter that tests run on, as a program that uses wgpu itself has it.
fn foreign_adapter() -> Option<(wgpu::Adapter, wgpu::AdapterInfo)> {
    let wanted = plain_gpu()?.info().name.clone();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let named = |adapter: &wgpu::Adapter| adapter.get_info().name == wanted;
    let adapter = adapters.into_iter().find(named)?;
    let info = adapter.get_info();
    Some((adapter, info))
}

/// A device of it: default limits, no features.
pub fn foreign_device() -> Option<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    let (adapter, info) = foreign_adapter()?;
    let device = pollster::block_on(adapter.request_device(&Default::default()));
    let (device, queue) = device.unwrap();
    Some((info, device, queue))
}

#[test]
fn many_threads_on_one_device_do_not_take_it_for_lost() {
    let Some(gpu) = plain_gpu() else { return };
    let work = |seed: usize| {
        let mut trainer = Trainer::builder(model()).batch(4).on(gpu).unwrap();
        let (x, y) = (vec![0.5; 4 * 36], [0u8, 1, 2, 0]);
        for at in 0..20 {
            trainer.step(&x, &y).unwrap();
            let value = (seed * 1000 + at) as f32;
            let tensor = Tensor::from_slice(gpu, [1], &[value]).unwrap();
            assert_eq!(tensor.to_vec().unwrap(), [value]);
            // Asks whether the device is there, and does nothing.
            (0..1000).for_each(|_| trainer.update().unwrap());
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|seed| drop(scope.spawn(move || work(seed))));
    });
}

#[test]
fn a_queue_or_a_description_of_another_device_is_refused() {
    let Some((info, device, queue)) = foreign_device() else {
        return;
    };
    let (_, other, theirs) = foreign_device().unwrap();
    let uncaptured = Arc::new(AtomicUsize::new(0));
    for device in [&device, &other] {
        let counted = uncaptured.clone();
        device.on_uncaptured_error(Arc::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let take = |info: &wgpu::AdapterInfo, device: &wgpu::Device, queue: &wgpu::Queue| {
        Gpu::from_wgpu(info.clone(), device.clone(), queue.clone())
    };
    let nothing = |device: &wgpu::Device| device.create_command_encoder(&Default::default());
    // With and without work on its way.
    for busy in [false, true] {
        if busy {
            theirs.submit([nothing(&other).finish()]);
            queue.submit([nothing(&device).finish()]);
        }
        let says = ["queue", "another device"];
        assert_error(take(&info, &device, &theirs), "argument", &says);
        assert_error(take(&info, &other, &queue), "argument", &says);
        take(&info, &device, &queue).unwrap();
        take(&info, &other, &theirs).unwrap();
    }
    let mut wrong = info.clone();
    wrong.subgroup_min_size = 2 * info.subgroup_min_size + 1;
    assert_error(take(&wrong, &device, &queue), "argument", &["info"]);
    let told = uncaptured.load(Ordering::Relaxed);
    assert_eq!(told, 0, "the user's handler was told");
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
