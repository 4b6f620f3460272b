//! Convolutions with strides, and their input gradients, in which each pixel meets a part of the taps alone:
//! patches as transformers and ConvNeXt cut them, and what halves an image in a residual network.

use std::cell::LazyCell;

use criterion::Throughput;
use wgpu_cnn::{Conv2d, Gpu, Shape, Tensor, cpu, ops};

use crate::common::Group;
use crate::{filled, integers, on_cpu, on_gpu};

pub fn bench(group: &mut Group, gpu: &Gpu) {
    let patches = |size: usize| Conv2d::new(32, size).stride(size);
    let halving = Conv2d::new(64, 3).stride(2).padding(1);
    conv2d(group, gpu, "patches-16", [4, 3, 224, 224], &patches(16));
    conv2d(group, gpu, "patches-4", [4, 16, 112, 112], &patches(4));
    conv2d(group, gpu, "stride-2", [8, 64, 56, 56], &halving);
}

fn conv2d(group: &mut Group, gpu: &Gpu, name: &str, images: [usize; 4], layer: &Conv2d) {
    let [batch, image @ ..] = images;
    let geometry = layer.geometry(batch, &Shape::from(image)).unwrap();
    let output = [
        batch,
        geometry.out_channels,
        geometry.out_size.height,
        geometry.out_size.width,
    ];
    let x = integers(1, geometry.input_len(), 4);
    let w = integers(2, geometry.weight_len(), 4);
    let gy = integers(3, geometry.output_len(), 4);
    let x_gpu = Tensor::from_slice(gpu, images, &x).unwrap();
    let w_gpu = Tensor::from_slice(gpu, geometry.weight_shape(), &w).unwrap();
    let gy_gpu = Tensor::from_slice(gpu, output, &gy).unwrap();
    let work = Throughput::Elements(geometry.flops());
    group.throughput(work.clone());

    let id = format!("conv2d_forward-{name}");
    let forward = |y: &mut Vec<f32>| cpu::conv2d_forward(&geometry, &x, &w, None, y).unwrap();
    let reference = LazyCell::new(|| filled(gy.len(), forward));
    let run = || ops::conv2d_forward(&x_gpu, &w_gpu, None, layer).unwrap();
    on_gpu(group, (gpu, &work), &id, &reference, run, |y| {
        y.to_vec().unwrap()
    });
    on_cpu(group, &id, "cpu", &reference, forward);

    let id = format!("conv2d_backward_input-{name}");
    let backward = |gx: &mut Vec<f32>| cpu::conv2d_backward_input(&geometry, &gy, &w, gx).unwrap();
    let reference = LazyCell::new(|| filled(x.len(), backward));
    let run = || ops::conv2d_backward_input(&gy_gpu, &w_gpu, images, layer).unwrap();
    on_gpu(group, (gpu, &work), &id, &reference, run, |gx| {
        gx.to_vec().unwrap()
    });
    on_cpu(group, &id, "cpu", &reference, backward);
}
