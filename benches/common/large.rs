//! Products as large as those of networks for large images: what a hardware adapter needs to come
//! near its peak, and what a software adapter takes minutes for.
//!
//! A reference of all results would take longer than the benchmark, so some hundred of them, spread
//! over the whole, are computed directly from the definition. Inputs are small integers, and no sum
//! leaves what `f32` holds exactly, so that whole number must be the nearest.

use std::cell::LazyCell;

use criterion::Throughput;
use wgpu_cnn::{Conv2d, Gpu, Shape, Tensor, ops};

use crate::common::Group;
use crate::{checked_on_gpu, integers, near};

/// Rows and columns of the matrices.
const SIZE: usize = 4096;
/// Images of the convolutions by name: (N, C, H, W). There are as many filters as channels. The small ones at the
/// end of a residual network have fewer tiles than a large GPU has compute units.
const IMAGES: [(&str, [usize; 4]); 4] = [
    ("large", [256, 128, 56, 56]),
    ("64x256x14x14", [64, 256, 14, 14]),
    ("64x512x7x7", [64, 512, 7, 7]),
    ("8x512x7x7", [8, 512, 7, 7]),
];
/// Rows and columns of a filter; the padding is 1.
const KERNEL: usize = 3;
/// Results that are checked.
const CHECKED: usize = 300;
/// Square matrices.
pub fn matmul(group: &mut Group, gpu: &Gpu) {
    let inputs = LazyCell::new(|| {
        let [a, b] = [1, 2].map(|seed| integers(seed, SIZE * SIZE, 4));
        let tensors = [&a, &b].map(|m| Tensor::from_slice(gpu, [SIZE, SIZE], m).unwrap());
        (a, b, tensors)
    });
    let work = Throughput::Elements(2 * (SIZE as u64).pow(3));
    group.throughput(work.clone());
    let name = format!("matmul-{SIZE}");
    let run = || {
        let (.., [a, b]) = &*inputs;
        ops::matmul(a, false, b, false).unwrap()
    };
    checked_on_gpu(group, (gpu, &work), &name, run, |c| {
        let (a, b, _) = &*inputs;
        check(&name, &c.to_vec().unwrap(), |at| {
            let (row, column) = (at / SIZE, at % SIZE);
            (0..SIZE)
                .map(|k| a[row * SIZE + k] * b[k * SIZE + column])
                .sum()
        });
    });
}

/// Convolutions that keep channels and size, and their gradients.
pub fn conv2d(group: &mut Group, gpu: &Gpu) {
    for (name, images) in IMAGES {
        conv2d_of(group, gpu, name, images);
    }
}

fn conv2d_of(group: &mut Group, gpu: &Gpu, name: &str, images: [usize; 4]) {
    let layer = Conv2d::new(images[1], KERNEL).padding(1);
    let [batch, channels, height, width] = images;
    let shifted = |i, j| inside([height, width], [i, j]);
    let shape = Shape::from([channels, height, width]);
    let geometry = layer.geometry(batch, &shape).unwrap();
    let (needed, most) = (
        4 * geometry.input_len() as u64,
        gpu.limits().max_storage_buffer_binding_size,
    );
    if needed > most {
        println!("conv2d_*-{name} left out: {needed} bytes of images, the adapter binds {most}");
        return;
    }
    let weights = geometry.weight_shape();
    let data = LazyCell::new(|| {
        let lengths = [images, weights, images].map(|shape| shape.iter().product());
        [(1, lengths[0]), (2, lengths[1]), (3, lengths[2])]
            .map(|(seed, len)| integers(seed, len, 4))
    });
    let tensors = LazyCell::new(|| {
        let [x, w, gy] = &*data;
        [(images, x), (weights, w), (images, gy)]
            .map(|(shape, data)| Tensor::from_slice(gpu, shape, data).unwrap())
    });
    let work = Throughput::Elements(geometry.flops());
    group.throughput(work.clone());

    let id = format!("conv2d_forward-{name}");
    let run = || ops::conv2d_forward(&tensors[0], &tensors[1], None, &layer).unwrap();
    checked_on_gpu(group, (gpu, &work), &id, run, |y| {
        let [x, w, _] = &*data;
        check(&id, &y.to_vec().unwrap(), |at| {
            let [n, k, i, j] = place(at, images);
            let terms = places([channels, KERNEL, KERNEL]).map(|[c, p, q]| {
                let pixel = shifted(i + p, j + q).map(|[i, j]| x[index([n, c, i, j], images)]);
                pixel.unwrap_or(0.0) * w[index([k, c, p, q], weights)]
            });
            terms.sum()
        });
    });

    let id = format!("conv2d_backward_input-{name}");
    let run = || ops::conv2d_backward_input(&tensors[2], &tensors[1], images, &layer).unwrap();
    checked_on_gpu(group, (gpu, &work), &id, run, |gx| {
        let [_, w, gy] = &*data;
        check(&id, &gx.to_vec().unwrap(), |at| {
            let [n, c, i, j] = place(at, images);
            let terms = places([channels, KERNEL, KERNEL]).map(|[k, p, q]| {
                let (i, j) = (i + KERNEL - 1 - p, j + KERNEL - 1 - q);
                let gradient = shifted(i, j).map(|[i, j]| gy[index([n, k, i, j], images)]);
                gradient.unwrap_or(0.0) * w[index([k, c, p, q], weights)]
            });
            terms.sum()
        });
    });

    let id = format!("conv2d_backward_weight-{name}");
    let run = || ops::conv2d_backward_weight(&tensors[0], &tensors[2], &layer).unwrap();
    checked_on_gpu(group, (gpu, &work), &id, run, |gw| {
        let [x, _, gy] = &*data;
        check(&id, &gw.to_vec().unwrap(), |at| {
            let [k, c, p, q] = place(at, weights);
            let terms = places([batch, height, width]).map(|[n, i, j]| {
                let pixel = shifted(i + p, j + q).map(|[i, j]| x[index([n, c, i, j], images)]);
                pixel.unwrap_or(0.0) * gy[index([n, k, i, j], images)]
            });
            terms.sum()
        });
    });
}

/// A place of the padded image in the image, if it is inside.
fn inside([height, width]: [usize; 2], [i, j]: [usize; 2]) -> Option<[usize; 2]> {
    let inside = (1..=height).contains(&i) && (1..=width).contains(&j);
    inside.then(|| [i - 1, j - 1])
}

/// All places of a shape.
fn places(shape: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [_, rows, columns] = shape;
    (0..shape.iter().product())
        .map(move |at: usize| [at / (rows * columns), at / columns % rows, at % columns])
}

/// The place of an element.
fn place(at: usize, [_, b, c, d]: [usize; 4]) -> [usize; 4] {
    [at / (b * c * d), at / (c * d) % b, at / d % c, at % d]
}

/// The element at a place.
fn index([n, c, i, j]: [usize; 4], [_, channels, height, width]: [usize; 4]) -> usize {
    ((n * channels + c) * height + i) * width + j
}

/// Holds results from all over against the definition, the first and the last among them.
fn check(name: &str, got: &[f32], expected: impl Fn(usize) -> f32) {
    let mut nonzero = 0;
    for sample in 0..CHECKED {
        // The steps are no multiple of a row, so that all columns come up.
        let at = sample * (got.len() - 1) / (CHECKED - 1);
        let expected = expected(at);
        let got = got[at];
        assert!(
            near(got, expected),
            "{name}: element {at} is {got}, {expected} is right"
        );
        nonzero += usize::from(expected != 0.0);
    }
    assert!(nonzero > CHECKED / 2, "{name}: zeros prove nothing");
}
