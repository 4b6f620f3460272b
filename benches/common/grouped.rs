//! Convolutions whose groups have few channels: a channel each, as in MobileNets, and 8 to 48, as in RegNets.
//! Ids are `kernel/conv2d_<kind>_<pass>/<gpu|cpu>`.

use std::cell::LazyCell;

use criterion::Throughput;
use wgpu_cnn::{Conv2d, Gpu, Shape, Tensor, cpu, ops};

use crate::common::Group;
use crate::{filled, integers, on_cpu, on_gpu};

pub fn bench(group: &mut Group, gpu: &Gpu) {
    let depthwise = |channels, kernel| Conv2d::new(channels, kernel).groups(channels);
    let layers = [
        ("depthwise", depthwise(96, 3).padding(1), [8, 96, 32, 32]),
        (
            "depthwise_strided",
            depthwise(96, 3).padding(1).stride(2),
            [8, 96, 32, 32],
        ),
        (
            "depthwise_small",
            depthwise(240, 5).padding(2),
            [8, 240, 7, 7],
        ),
        (
            "grouped_8",
            Conv2d::new(64, 3).padding(1).groups(8),
            [8, 64, 16, 16],
        ),
        (
            "grouped_16",
            Conv2d::new(208, 3).padding(1).groups(13),
            [8, 208, 8, 8],
        ),
    ];
    for (kind, layer, images) in layers {
        passes(group, gpu, kind, &layer, images);
    }
}

fn passes(group: &mut Group, gpu: &Gpu, kind: &str, layer: &Conv2d, images: [usize; 4]) {
    let [batch, image @ ..] = images;
    let geometry = layer.geometry(batch, &Shape::from(image)).unwrap();
    let lengths = [
        geometry.input_len(),
        geometry.weight_len(),
        geometry.output_len(),
    ];
    let [x, w, gy] = [(1, lengths[0]), (2, lengths[1]), (3, lengths[2])]
        .map(|(seed, len)| integers(seed, len, 4));
    let tensor = |shape: [usize; 4], data: &[f32]| Tensor::from_slice(gpu, shape, data).unwrap();
    let output = [
        batch,
        geometry.out_channels,
        geometry.out_size.height,
        geometry.out_size.width,
    ];
    let (x_gpu, gy_gpu) = (tensor(images, &x), tensor(output, &gy));
    let w_gpu = tensor(geometry.weight_shape(), &w);
    let work = Throughput::Elements(geometry.flops());
    group.throughput(work.clone());
    let to_vec = |tensor: &Tensor| tensor.to_vec().unwrap();

    let name = format!("conv2d_{kind}_forward");
    let forward = |y: &mut Vec<f32>| cpu::conv2d_forward(&geometry, &x, &w, None, y).unwrap();
    let reference = LazyCell::new(|| filled(lengths[2], forward));
    let run = || ops::conv2d_forward(&x_gpu, &w_gpu, None, layer).unwrap();
    on_gpu(group, (gpu, &work), &name, &reference, run, to_vec);
    on_cpu(group, &name, "cpu", &reference, forward);

    let name = format!("conv2d_{kind}_backward_input");
    let backward = |gx: &mut Vec<f32>| cpu::conv2d_backward_input(&geometry, &gy, &w, gx).unwrap();
    let reference = LazyCell::new(|| filled(lengths[0], backward));
    let run = || ops::conv2d_backward_input(&gy_gpu, &w_gpu, images, layer).unwrap();
    on_gpu(group, (gpu, &work), &name, &reference, run, to_vec);
    on_cpu(group, &name, "cpu", &reference, backward);

    let name = format!("conv2d_{kind}_backward_weight");
    let backward = |gw: &mut Vec<f32>| cpu::conv2d_backward_weight(&geometry, &x, &gy, gw).unwrap();
    let reference = LazyCell::new(|| filled(lengths[1], backward));
    let run = || ops::conv2d_backward_weight(&x_gpu, &gy_gpu, layer).unwrap();
    on_gpu(group, (gpu, &work), &name, &reference, run, to_vec);
    on_cpu(group, &name, "cpu", &reference, backward);
}
