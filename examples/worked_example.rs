//! One step of backpropagation through a convolutional network small enough to follow by hand: an
//! input of 4x4, a filter of 2x2, sigmoid, max-pooling over overlapping windows of 2x2, and two
//! sigmoid outputs. Every matrix on the way forward and back is printed, the GPU's beside the CPU
//! reference's.
//!
//! ```sh
//! cargo run --release --example worked_example
//! ```
//!
//! The names: V is what the filter sees, A its sigmoid, P the pooled map, Z what the outputs add up
//! and Y their sigmoid, T what they should be, and dV stands for the gradient of the loss with
//! respect to V. The dense output layer is written as a convolution too, one whose filters U are as
//! large as their input: that is all a dense layer is.
//!
//! To look for: the windows of the pooling overlap, and two of them find their maximum at place 5 of
//! A. Place 5 of dA is the sum of what these two hand back, and the places that no window chose get
//! nothing.

use std::process::ExitCode;

use wgpu_cnn::{Activation, Conv2d, Error, Gpu, Loss, MaxPool2d, Result, Target, Tensor, cpu, ops};

#[rustfmt::skip]
const X: [f32; 16] = [ // (1, 1, 4, 4)
    0.0, 0.0, 3.0, 2.0,
    2.0, 0.0, 2.0, 3.0,
    2.0, 0.0, 2.0, 0.0,
    2.0, 2.0, 0.0, 2.0,
];
#[rustfmt::skip]
const W: [f32; 4] = [ // (1, 1, 2, 2)
    0.1,  0.2,
    0.3, -0.1,
];
const B: [f32; 1] = [0.1];
#[rustfmt::skip]
const U: [f32; 8] = [ // (2, 1, 2, 2)
     0.5, -0.4,
     0.3,  0.2,

    -0.2,  0.1,
     0.4, -0.3,
];
const C: [f32; 2] = [0.1, -0.1];
const T: [f32; 2] = [1.0, 0.0];

/// What is computed, with the shape it is printed in: planes, rows, columns.
const STEPS: [(&str, [usize; 3]); 17] = [
    ("V = X * W + b, convolution", [1, 3, 3]),
    ("A = sigmoid(V)", [1, 3, 3]),
    ("P = the maxima of A's windows", [1, 2, 2]),
    ("... and their places in A, row by row from 0", [1, 2, 2]),
    ("Z = P * U + c, the dense layer", [1, 1, 2]),
    ("Y = sigmoid(Z)", [1, 1, 2]),
    ("loss = mean of (Y - T)^2", [1, 1, 1]),
    ("dY = 2/2 (Y - T)", [1, 1, 2]),
    ("dZ = dY Y (1 - Y)", [1, 1, 2]),
    ("dU = dZ P, for each output", [2, 2, 2]),
    ("dc = dZ", [1, 1, 2]),
    ("dP = dZ U, summed over the outputs", [1, 2, 2]),
    (
        "dA = dP at the places of the maxima, summed where windows share one",
        [1, 3, 3],
    ),
    ("dV = dA A (1 - A)", [1, 3, 3]),
    ("dW = X * dV", [1, 2, 2]),
    ("db = the sum of dV", [1, 1, 1]),
    ("dX = dV, padded, * W, flipped", [1, 4, 4]),
];

/// The values of each step.
type Values = Vec<Vec<f32>>;

/// The convolution, the pooling and the dense layer.
fn layers() -> (Conv2d, MaxPool2d, Conv2d) {
    (
        Conv2d::new(1, 2),
        MaxPool2d::new(2).stride(1),
        Conv2d::new(2, 2),
    )
}

fn on_gpu(gpu: &Gpu) -> Result<Values> {
    let (conv, pool, dense) = layers();
    let x = Tensor::from_slice(gpu, [1, 1, 4, 4], &X)?;
    let w = Tensor::from_slice(gpu, [1, 1, 2, 2], &W)?;
    let b = Tensor::from_slice(gpu, [1], &B)?;
    let u = Tensor::from_slice(gpu, [2, 1, 2, 2], &U)?;
    let c = Tensor::from_slice(gpu, [2], &C)?;

    let v = ops::conv2d_forward(&x, &w, Some(&b), &conv)?;
    let a = ops::activation_forward(&v, Activation::Sigmoid)?;
    let (p, places) = ops::max_pool2d_forward(&a, &pool)?;
    let z = ops::conv2d_forward(&p, &u, Some(&c), &dense)?;
    let y = ops::activation_forward(&z, Activation::Sigmoid)?;
    let (loss, dy) = ops::loss(&y, T, Loss::mean_squared_error())?;

    let dz = ops::activation_backward(Activation::Sigmoid, &z, &y, &dy)?;
    let du = ops::conv2d_backward_weight(&p, &dz, &dense)?;
    let dc = ops::bias_gradient(&dz)?;
    let dp = ops::conv2d_backward_input(&dz, &u, p.shape(), &dense)?;
    let da = ops::max_pool2d_backward(&dp, &places, a.shape(), &pool)?;
    let dv = ops::activation_backward(Activation::Sigmoid, &v, &a, &da)?;
    let dw = ops::conv2d_backward_weight(&x, &dv, &conv)?;
    let db = ops::bias_gradient(&dv)?;
    let dx = ops::conv2d_backward_input(&dv, &w, x.shape(), &conv)?;

    let places = places
        .to_vec()?
        .into_iter()
        .map(|place| place as f32)
        .collect();
    let forward = [v, a, p].map(|tensor| tensor.to_vec());
    let rest = [z, y, loss, dy, dz, du, dc, dp, da, dv, dw, db, dx].map(|tensor| tensor.to_vec());
    forward
        .into_iter()
        .chain([Ok(places)])
        .chain(rest)
        .collect()
}

fn on_cpu() -> Result<Values> {
    let (conv, pool, dense) = layers();
    let conv = conv.geometry(1, &[1, 4, 4].into())?;
    let pool = pool.geometry(1, &[1, 3, 3].into())?;
    let dense = dense.geometry(1, &[1, 2, 2].into())?;
    let mse = Loss::mean_squared_error();

    let (mut v, mut a) = ([0.0; 9], [0.0; 9]);
    cpu::conv2d_forward(&conv, &X, &W, Some(&B), &mut v)?;
    cpu::activation_forward(Activation::Sigmoid, &v, &mut a)?;
    let (mut p, mut places) = ([0.0; 4], [0; 4]);
    cpu::max_pool2d_forward(&pool, &a, &mut p, &mut places)?;
    let (mut z, mut y, mut dy) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    cpu::conv2d_forward(&dense, &p, &U, Some(&C), &mut z)?;
    cpu::activation_forward(Activation::Sigmoid, &z, &mut y)?;
    let target = Target::from(&T);
    let outputs = mse.geometry(1, &[2].into())?;
    let count = mse.normaliser(&target, &outputs);
    let loss = cpu::loss_forward_backward(&mse, &outputs, count, &y, &target, &mut dy)?;

    let (mut dz, mut du, mut dc, mut dp) = ([0.0; 2], [0.0; 8], [0.0; 2], [0.0; 4]);
    cpu::activation_backward(Activation::Sigmoid, &z, &y, &dy, &mut dz)?;
    cpu::conv2d_backward_weight(&dense, &p, &dz, &mut du)?;
    cpu::conv2d_backward_bias(&dense, &dz, &mut dc)?;
    cpu::conv2d_backward_input(&dense, &dz, &U, &mut dp)?;
    let (mut da, mut dv) = ([0.0; 9], [0.0; 9]);
    cpu::max_pool2d_backward(&pool, &dp, &places, &mut da)?;
    cpu::activation_backward(Activation::Sigmoid, &v, &a, &da, &mut dv)?;
    let (mut dw, mut db, mut dx) = ([0.0; 4], [0.0; 1], [0.0; 16]);
    cpu::conv2d_backward_weight(&conv, &X, &dv, &mut dw)?;
    cpu::conv2d_backward_bias(&conv, &dv, &mut db)?;
    cpu::conv2d_backward_input(&conv, &dv, &W, &mut dx)?;

    let places = places.map(|place| place as f32);
    #[rustfmt::skip]
    let values: [&[f32]; 17] = [
        &v, &a, &p, &places, &z, &y, &[loss],
        &dy, &dz, &du, &dc, &dp, &da, &dv, &dw, &db, &dx,
    ];
    Ok(values.map(<[f32]>::to_vec).into())
}

/// Prints a matrix of each device, side by side, and returns their largest difference.
fn print(title: &str, [planes, rows, columns]: [usize; 3], devices: &[&[f32]]) -> f32 {
    println!("{title}");
    let decimals = if devices[0].iter().all(|value| value.fract() == 0.0) {
        0
    } else {
        4
    };
    for row in 0..planes * rows {
        if row > 0 && row % rows == 0 {
            println!();
        }
        let mut line = String::new();
        for values in devices {
            let cells = values[row * columns..(row + 1) * columns].iter();
            let cells: String = cells.map(|value| format!("{value:9.decimals$}")).collect();
            line += &format!("{cells:<40}");
        }
        println!("{}", line.trim_end());
    }
    println!();
    let pairs = devices[0].iter().zip(devices[devices.len() - 1]);
    pairs
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

fn run() -> Result<()> {
    let gpu = match Gpu::new() {
        Ok(gpu) => Some(gpu),
        Err(error @ Error::NoAdapter { .. }) => {
            println!("{error}; here is the CPU reference alone\n");
            None
        }
        Err(error) => return Err(error),
    };
    let mut devices = Vec::new();
    if let Some(gpu) = &gpu {
        devices.push((gpu.info().name.clone(), on_gpu(gpu)?));
    }
    devices.push(("CPU reference".to_owned(), on_cpu()?));

    let header: String = devices
        .iter()
        .map(|(name, _)| format!("   {name:<37}"))
        .collect();
    println!("{}\n", header.trim_end());
    let mut difference = 0.0f32;
    for (at, (title, shape)) in STEPS.iter().enumerate() {
        let values: Vec<&[f32]> = devices.iter().map(|(_, values)| &values[at][..]).collect();
        difference = difference.max(print(title, *shape, &values));
    }
    if gpu.is_some() {
        println!("largest difference between GPU and CPU: {difference:e}");
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
