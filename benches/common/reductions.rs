//! Sums over large images, of which there are few: what a GPU is filled with only if each sum is split. On
//! a software adapter there is one image in place of 8.

use std::cell::LazyCell;

use criterion::Throughput;
use wgpu_cnn::op::BatchNormGeometry;
use wgpu_cnn::{AvgPool2d, BatchNorm, Gpu, Shape, Tensor, cpu, ops, wgpu};

use crate::common::Group;
use crate::{checked_on_gpu, filled, integers, on_cpu, on_gpu};

const CHANNELS: usize = 64;
const SIDE: usize = 256;
/// What normalised values may be off by.
const TOLERANCE: f64 = 1e-5;

pub fn bench(group: &mut Group, gpu: &Gpu) {
    let software = gpu.info().device_type == wgpu::DeviceType::Cpu;
    let batch = if software { 1 } else { 8 };
    let x = integers(1, batch * CHANNELS * SIDE * SIDE, 4);
    let images = Tensor::from_slice(gpu, [batch, CHANNELS, SIDE, SIDE], &x).unwrap();
    let read = Throughput::Bytes(4 * x.len() as u64);
    group.throughput(read.clone());

    let shape = Shape::from([CHANNELS, SIDE, SIDE]);
    let layer = AvgPool2d::new(SIDE);
    let geometry = layer.geometry(batch, &shape).unwrap();
    let pool = |y: &mut Vec<f32>| cpu::avg_pool2d_forward(&geometry, true, &x, y).unwrap();
    let reference = LazyCell::new(|| filled(batch * CHANNELS, pool));
    let run = || ops::avg_pool2d_forward(&images, &layer).unwrap();
    let to_vec = |y: &Tensor| y.to_vec().unwrap();
    on_gpu(
        group,
        (gpu, &read),
        "global_avg_pool",
        &reference,
        run,
        to_vec,
    );
    on_cpu(group, "global_avg_pool", "cpu", &reference, pool);

    let sums = |to: &mut Vec<f32>| {
        to.fill(0.0);
        for (at, plane) in x.chunks(SIDE * SIDE).enumerate() {
            to[at % CHANNELS] += plane.iter().sum::<f32>();
        }
    };
    let reference = LazyCell::new(|| filled(CHANNELS, sums));
    let run = || ops::bias_gradient(&images).unwrap();
    on_gpu(
        group,
        (gpu, &read),
        "bias_gradient",
        &reference,
        run,
        to_vec,
    );

    batch_norm(group, gpu, &images, &x);
}

/// In training: the statistics, and the output.
fn batch_norm(group: &mut Group, gpu: &Gpu, images: &Tensor, x: &[f32]) {
    let (layer, plane) = (BatchNorm::new(), SIDE * SIDE);
    let geometry = BatchNormGeometry {
        batch: x.len() / (CHANNELS * plane),
        channels: CHANNELS,
        plane,
    };
    let [ones, zeros] = [1.0, 0.0].map(|value| vec![value; CHANNELS]);
    let [one, zero] = [&ones, &zeros].map(|v| Tensor::from_slice(gpu, [CHANNELS], v).unwrap());
    let run = || ops::batch_norm_forward(images, [&one, &zero], [&zero, &one], &layer).unwrap();
    let verify = |(y, _): &(Tensor, _)| {
        let wide: Vec<f64> = x.iter().copied().map(f64::from).collect();
        let [mut mean, mut variance] = [(); 2].map(|()| vec![0.0; CHANNELS]);
        cpu::batch_norm_moments(&geometry, &wide, &mut mean, &mut variance).unwrap();
        for (at, (y, x)) in y.to_vec().unwrap().iter().zip(&wide).enumerate() {
            let channel = at / plane % CHANNELS;
            let expected = (x - mean[channel]) / (variance[channel] + layer.epsilon).sqrt();
            let off = (f64::from(*y) - expected).abs();
            assert!(
                off <= TOLERANCE,
                "batch_norm/gpu: element {at} is {y}, not {expected}"
            );
        }
    };
    // Read three times, and written once.
    let work = Throughput::Bytes(16 * x.len() as u64);
    group.throughput(work.clone());
    checked_on_gpu(group, (gpu, &work), "batch_norm", run, verify);
}
