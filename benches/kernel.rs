//! Single kernels on the GPU, beside their CPU twins and the `gemm` crate: `cargo bench --bench
//! kernel`. Every result is checked before it is timed.
//!
//! Ids are `kernel/<operation>/<gpu|cpu|gemm>`. `matmul-4096` and the convolutions that end in
//! `-large`, `-64x256x14x14`, `-64x512x7x7` and `-8x512x7x7` run on the GPU alone, and not on a software
//! adapter unless `WGPU_CNN_BENCH_LARGE=1`.
//!
//! The GPU's figures are those of the public functions in `ops`, which make their output and their
//! bind groups in each call: tenths of a millisecond, and the first touch of the output's memory. A
//! training step pays for neither. Each is followed by its share of the adapter's peak.

mod common;
#[path = "common/grouped.rs"]
mod grouped;
#[path = "common/im2col.rs"]
mod im2col;
#[path = "common/large.rs"]
mod large;
#[path = "common/reductions.rs"]
mod reductions;
#[path = "common/strided.rs"]
mod strided;

use std::cell::LazyCell;

use common::{Group, Samples};
use criterion::{BenchmarkId, Throughput};
use gemm::Parallelism;
use wgpu_cnn::{Conv2d, Gpu, MaxPool2d, Shape, Tensor, cpu, ops, wgpu};

/// Images of the convolutions and the pooling: (N, C, H, W).
const IMAGES: [usize; 4] = [16, 64, 32, 32];

fn main() {
    let gpu = common::adapter();
    let mut criterion = common::criterion();
    let mut group = common::group(&mut criterion, "kernel");
    conv2d(&mut group, &gpu);
    strided::bench(&mut group, &gpu);
    grouped::bench(&mut group, &gpu);
    max_pool2d(&mut group, &gpu);
    reductions::bench(&mut group, &gpu);
    for size in [256, 512, 1024] {
        matmul(&mut group, &gpu, size);
    }
    if common::large(&gpu, "matmul-4096 and the large convolutions") {
        large::matmul(&mut group, &gpu);
        large::conv2d(&mut group, &gpu);
    }
    group.finish();
    criterion.final_summary();
}

/// 64 filters of 3x3 over 64 channels, with a padding of 1.
fn conv2d(group: &mut Group, gpu: &Gpu) {
    let layer = Conv2d::new(64, 3).padding(1);
    let [batch, channels, height, width] = IMAGES;
    let geometry = layer
        .geometry(batch, &Shape::from([channels, height, width]))
        .unwrap();
    let (x_len, w_len, y_len) = (
        geometry.input_len(),
        geometry.weight_len(),
        geometry.output_len(),
    );
    let [x, w, gy] = [(1, x_len), (2, w_len), (3, y_len)].map(|(seed, len)| integers(seed, len, 4));
    let tensor = |shape: [usize; 4], data: &[f32]| Tensor::from_slice(gpu, shape, data).unwrap();
    // Input and output have the same shape.
    let (x_gpu, gy_gpu) = (tensor(IMAGES, &x), tensor(IMAGES, &gy));
    let w_gpu = tensor(geometry.weight_shape(), &w);
    let work = Throughput::Elements(geometry.flops());
    group.throughput(work.clone());

    let forward = |y: &mut Vec<f32>| cpu::conv2d_forward(&geometry, &x, &w, None, y).unwrap();
    let reference = LazyCell::new(|| filled(y_len, forward));
    let run = || ops::conv2d_forward(&x_gpu, &w_gpu, None, &layer).unwrap();
    on_gpu(
        group,
        (gpu, &work),
        "conv2d_forward",
        &reference,
        run,
        |y| y.to_vec().unwrap(),
    );
    on_cpu(group, "conv2d_forward", "cpu", &reference, forward);
    let library = |y: &mut Vec<f32>| im2col::conv2d_forward(&geometry, &x, &w, y);
    on_cpu(group, "conv2d_forward", "gemm", &reference, library);

    let backward = |gx: &mut Vec<f32>| cpu::conv2d_backward_input(&geometry, &gy, &w, gx).unwrap();
    let reference = LazyCell::new(|| filled(x_len, backward));
    let run = || ops::conv2d_backward_input(&gy_gpu, &w_gpu, IMAGES, &layer).unwrap();
    on_gpu(
        group,
        (gpu, &work),
        "conv2d_backward_input",
        &reference,
        run,
        |gx| gx.to_vec().unwrap(),
    );
    on_cpu(group, "conv2d_backward_input", "cpu", &reference, backward);

    let backward = |gw: &mut Vec<f32>| cpu::conv2d_backward_weight(&geometry, &x, &gy, gw).unwrap();
    let reference = LazyCell::new(|| filled(w_len, backward));
    let run = || ops::conv2d_backward_weight(&x_gpu, &gy_gpu, &layer).unwrap();
    on_gpu(
        group,
        (gpu, &work),
        "conv2d_backward_weight",
        &reference,
        run,
        |gw| gw.to_vec().unwrap(),
    );
    on_cpu(group, "conv2d_backward_weight", "cpu", &reference, backward);
}

/// Windows of 2x2. The rate is that of the bytes that have to be moved.
fn max_pool2d(group: &mut Group, gpu: &Gpu) {
    let layer = MaxPool2d::new(2);
    let [batch, channels, height, width] = IMAGES;
    let geometry = layer
        .geometry(batch, &Shape::from([channels, height, width]))
        .unwrap();
    let (x_len, y_len) = (geometry.input_len(), geometry.output_len());
    let (x, gy) = (integers(1, x_len, 1000), integers(2, y_len, 1000));
    let pooled = [
        batch,
        channels,
        geometry.out_size.height,
        geometry.out_size.width,
    ];
    let x_gpu = Tensor::from_slice(gpu, IMAGES, &x).unwrap();
    let gy_gpu = Tensor::from_slice(gpu, pooled, &gy).unwrap();
    let work = Throughput::Bytes(4 * (x_len + 2 * y_len) as u64);
    group.throughput(work.clone());

    let empty = || (vec![0.0; y_len], vec![0; y_len]);
    let forward = |(y, argmax): &mut (Vec<f32>, Vec<u32>)| {
        cpu::max_pool2d_forward(&geometry, &x, y, argmax).unwrap();
    };
    let both = |y: &[f32], argmax: &[u32]| -> Vec<f32> {
        y.iter()
            .copied()
            .chain(argmax.iter().map(|&at| at as f32))
            .collect()
    };
    let mut expected = empty();
    forward(&mut expected);
    let reference = LazyCell::new(|| both(&expected.0, &expected.1));
    let run = || ops::max_pool2d_forward(&x_gpu, &layer).unwrap();
    on_gpu(
        group,
        (gpu, &work),
        "max_pool2d_forward",
        &reference,
        run,
        |(y, argmax)| both(&y.to_vec().unwrap(), &argmax.to_vec().unwrap()),
    );
    let verify = |(y, argmax): &(Vec<f32>, Vec<u32>)| {
        check("max_pool2d_forward/cpu", &both(y, argmax), &reference);
    };
    time(group, "max_pool2d_forward", "cpu", empty(), forward, verify);

    let argmax = &expected.1;
    let argmax_gpu = Tensor::from_slice(gpu, pooled, argmax).unwrap();
    let backward =
        |gx: &mut Vec<f32>| cpu::max_pool2d_backward(&geometry, &gy, argmax, gx).unwrap();
    let reference = LazyCell::new(|| filled(x_len, backward));
    let run = || ops::max_pool2d_backward(&gy_gpu, &argmax_gpu, IMAGES, &layer).unwrap();
    on_gpu(
        group,
        (gpu, &work),
        "max_pool2d_backward",
        &reference,
        run,
        |gx| gx.to_vec().unwrap(),
    );
    on_cpu(group, "max_pool2d_backward", "cpu", &reference, backward);
}

/// Square matrices.
fn matmul(group: &mut Group, gpu: &Gpu, size: usize) {
    let name = format!("matmul-{size}");
    let [a, b] = [1, 2].map(|seed| integers(seed, size * size, 4));
    let [a_gpu, b_gpu] = [&a, &b].map(|m| Tensor::from_slice(gpu, [size, size], m).unwrap());
    let work = Throughput::Elements(2 * (size as u64).pow(3));
    group.throughput(work.clone());

    let product =
        |c: &mut Vec<f32>| cpu::matmul(size, size, size, &a, false, &b, false, c).unwrap();
    let reference = LazyCell::new(|| filled(size * size, product));
    let run = || ops::matmul(&a_gpu, false, &b_gpu, false).unwrap();
    on_gpu(group, (gpu, &work), &name, &reference, run, |c| {
        c.to_vec().unwrap()
    });
    on_cpu(group, &name, "cpu", &reference, product);
    let library = |c: &mut Vec<f32>| im2col::matmul([size; 3], &a, &b, c, Parallelism::Rayon(0));
    on_cpu(group, &name, "gemm", &reference, library);
}

/// Times a function of `ops`, from the call to the end of its kernels, and says what that is of the
/// adapter's peak.
fn on_gpu<R>(
    group: &mut Group,
    (gpu, work): (&Gpu, &Throughput),
    name: &str,
    reference: &[f32],
    run: impl Fn() -> R,
    result: impl Fn(&R) -> Vec<f32>,
) {
    let verify = |output: &R| check(&format!("{name}/gpu"), &result(output), reference);
    checked_on_gpu(group, (gpu, work), name, run, verify);
}

/// The same with a check of one's own.
fn checked_on_gpu<R>(
    group: &mut Group,
    (gpu, work): (&Gpu, &Throughput),
    name: &str,
    run: impl Fn() -> R,
    verify: impl Fn(&R),
) {
    let run = |output: &mut Option<R>| {
        *output = Some(run());
        gpu.device()
            .poll(wgpu::PollType::wait_indefinitely())
            .unwrap();
    };
    let verify = |output: &Option<R>| output.iter().for_each(&verify);
    time(group, name, "gpu", None, run, verify).print_share(gpu, work);
}

/// Times a function that writes into a slice.
fn on_cpu(
    group: &mut Group,
    name: &str,
    side: &str,
    reference: &[f32],
    run: impl FnMut(&mut Vec<f32>),
) {
    let output = vec![0.0; reference.len()];
    let verify = |output: &Vec<f32>| check(&format!("{name}/{side}"), output, reference);
    time(group, name, side, output, run, verify);
}

/// Runs once and checks the result, then times.
fn time<S>(
    group: &mut Group,
    name: &str,
    side: &str,
    mut state: S,
    mut run: impl FnMut(&mut S),
    verify: impl Fn(&S),
) -> Samples {
    let (mut checked, mut samples) = (false, Samples::default());
    group.bench_function(BenchmarkId::new(name, side), |bencher| {
        if !checked {
            run(&mut state);
            verify(&state);
            checked = true;
        }
        samples.iter(bencher, || run(&mut state));
    });
    samples
}

/// All inputs are small integers, so that every sum is a whole number, exact in any order: what a fast algorithm makes
/// of it is near it or wrong.
fn check(name: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{name}: number of results");
    let nonzero = expected.iter().filter(|&&value| value != 0.0).count();
    let enough = nonzero >= expected.len() / 8;
    assert!(
        enough,
        "{name}: {nonzero} results that are not 0 prove nothing"
    );
    if let Some(at) = (0..got.len()).find(|&at| !near(got[at], expected[at])) {
        panic!(
            "{name}: element {at} is {}, the reference's {}",
            got[at], expected[at]
        );
    }
}

/// Whether a result is that whole number, but for what fast algorithms round.
fn near(got: f32, expected: f32) -> bool {
    (got - expected).abs() < 0.25
}

/// What `write` makes of a vector of `len`.
fn filled(len: usize, write: impl FnOnce(&mut Vec<f32>)) -> Vec<f32> {
    let mut values = vec![0.0; len];
    write(&mut values);
    values
}

/// Integers from `-most` to `most`, hashed from their place.
fn integers(seed: u32, len: usize, most: u32) -> Vec<f32> {
    let value = |at: u32| {
        let mut bits = (at ^ seed.rotate_left(16)).wrapping_mul(0x9e37_79b9);
        bits = (bits ^ (bits >> 15)).wrapping_mul(0x85eb_ca6b);
        ((bits ^ (bits >> 13)) % (2 * most + 1)) as f32 - most as f32
    };
    (0..len as u32).map(value).collect()
}
