//! Sums of millions of terms in `f32`: within 1e-6 of the right ones, whatever they are part of. The
//! terms are alike, so that each rounding goes the same way; one by one they would be off by percents.

use approx::assert_relative_eq;
use wgpu_cnn::op::{Conv2dGeometry, LinearGeometry, Size2};
use wgpu_cnn::{
    AvgPool2d, BatchNorm, Conv2d, GlobalPool, Loss, MaxPool2d, Reduction, Softmax, Target, cpu,
};

/// Factors whose sums and products round badly.
const FACTORS: [[f32; 2]; 3] = [[0.1, 0.3], [0.7, 1.0], [1.300_001, 0.9]];

fn close(what: &str, got: &[f32], expected: f64) {
    for &got in got {
        let off = (f64::from(got) / expected - 1.0).abs();
        assert!(off < 1e-6, "{what}: {got}, not {expected}: off by {off:e}");
    }
}

/// The product of these, `count` times.
fn times(count: usize, factors: &[f32]) -> f64 {
    count as f64 * factors.iter().map(|&f| f64::from(f)).product::<f64>()
}

fn conv2d(input: [usize; 4], layer: Conv2d) -> Conv2dGeometry {
    let [batch, image @ ..] = input;
    layer.geometry(batch, &image.into()).unwrap()
}

#[test]
fn bias_gradients() {
    for [value, _] in FACTORS {
        let gradient = vec![value; 1 << 24];
        let g = conv2d([1, 1, 4096, 4096], Conv2d::new(1, 1));
        let mut sum = [f32::NAN];
        cpu::conv2d_backward_bias(&g, &gradient, &mut sum).unwrap();
        close("plane", &sum, times(1 << 24, &[value]));
        cpu::conv_transpose2d_backward_bias(&g, &gradient, &mut sum).unwrap();
        close("transpose", &sum, times(1 << 24, &[value]));
        let g = conv2d([1 << 23, 1, 1, 1], Conv2d::new(2, 1));
        let mut sums = [f32::NAN; 2];
        cpu::conv2d_backward_bias(&g, &gradient, &mut sums).unwrap();
        close("batch", &sums, times(1 << 23, &[value]));
        let g = LinearGeometry {
            rows: 1 << 23,
            in_features: 1,
            out_features: 2,
        };
        cpu::linear_backward_bias(&g, &gradient, &mut sums).unwrap();
        close("dense", &sums, times(1 << 23, &[value]));
    }
}

#[test]
fn convolutions() {
    // Pixels, images, channels, taps, filters: each a long sum of some pass.
    let shapes = [
        conv2d([1, 1, 1024, 1024], Conv2d::new(2, 1)),
        conv2d([1 << 20, 1, 1, 1], Conv2d::new(2, 1)),
        conv2d([1, 1 << 20, 1, 1], Conv2d::new(2, 1)),
        conv2d([1, 1, 1024, 1024], Conv2d::new(2, 1024)),
        conv2d([1, 1, 1, 1], Conv2d::new(1 << 20, 1)),
        conv2d([2, 700, 3, 3], Conv2d::new(2, 3)),
        conv2d([3, 4, 512, 512], Conv2d::new(4, 1)),
        conv2d([1, 7000, 3, 3], Conv2d::new(4, 3)),
    ];
    for g in shapes {
        for [a, b] in FACTORS {
            let [x, gy] = [g.input_len(), g.output_len()].map(|len| vec![a; len]);
            let w = vec![b; g.weight_len()];
            let (mut y, mut gx, mut gw) = (gy.clone(), x.clone(), w.clone());
            let terms = g.weight_len() / g.out_channels;
            cpu::conv2d_forward(&g, &x, &w, None, &mut y).unwrap();
            close("forward", &y, times(terms, &[a, b]));
            cpu::conv2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
            // Without padding, the taps of a window are as many as the windows over a pixel.
            let windows = g.kernel.area() * g.out_size.area() / g.in_size.area();
            if windows > 0 {
                close("input", &gx, times(g.out_channels * windows, &[a, b]));
            }
            cpu::conv2d_backward_weight(&g, &x, &gy, &mut gw).unwrap();
            close("weight", &gw, times(g.batch * g.out_size.area(), &[a, a]));
        }
    }
    // Every pixel in the middle lies under 64 x 64 windows.
    let g = conv2d([1, 1, 127, 127], Conv2d::new(1, 64));
    let [gy, w] = [g.output_len(), g.weight_len()].map(|len| vec![0.1; len]);
    let mut gx = vec![f32::NAN; g.input_len()];
    cpu::conv2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
    close(
        "windows",
        &gx[63 * 127 + 63..][..1],
        times(64 * 64, &[0.1, 0.1]),
    );
}

#[test]
fn products() {
    for [a, b] in FACTORS {
        for (m, n, k) in [
            (2, 1, 1 << 22),
            (2, 2, 1 << 22),
            (2, 4, 1 << 22),
            (5, 6, 1 << 20),
        ] {
            let (x, w) = (vec![a; m * k], vec![b; n * k]);
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let mut c = vec![f32::NAN; m * n];
                cpu::matmul(m, n, k, &x, ta, &w, tb, &mut c).unwrap();
                close("matmul", &c, times(k, &[a, b]));
            }
        }
    }
}

/// Of probabilities of 1/2 and as large a target.
fn dice_of_halves(rows: usize) -> f64 {
    let rows = rows as f64;
    1.0 - (0.5 * rows + 1.0) / (rows + 1.0)
}

#[test]
fn losses() {
    let rows = 1 << 20;
    let run = |loss: Loss, classes: usize, output: f32, target: Target| {
        let output = vec![output; rows * classes];
        let g = loss.geometry(rows, &[classes].into()).unwrap();
        let normaliser = loss.normaliser(&target, &g);
        let mut gradient = output.clone();
        cpu::loss_forward_backward(&loss, &g, normaliser, &output, &target, &mut gradient).unwrap()
    };
    let half = || Target::Values(vec![0.5; rows]);
    let ln2 = std::f64::consts::LN_2;
    let loss = run(Loss::binary_cross_entropy().into(), 1, 0.0, half());
    close("binary cross-entropy", &[loss], ln2);
    let loss = run(Loss::mean_squared_error(), 1, 0.8, half());
    close("squared error", &[loss], f64::from(0.8f32 - 0.5).powi(2));
    for (name, loss, expected) in [
        ("l1", Loss::l1(), f64::from(0.8f32 - 0.5)),
        (
            "huber",
            Loss::huber(0.1),
            0.1 * (f64::from(0.8f32 - 0.5) - 0.05),
        ),
        (
            "divergence",
            Loss::kl_divergence(),
            0.5 * (0.5f64.ln() - f64::from(0.8f32)),
        ),
        (
            "dice",
            Loss::dice().sigmoid().over_batch(true).into(),
            dice_of_halves(rows),
        ),
    ] {
        let output = if name == "dice" { 0.0 } else { 0.8 };
        close(name, &[run(loss, 1, output, half())], expected);
    }
    let labels = Target::from(vec![1u8; rows]);
    let loss = run(Loss::nll().into(), 2, -0.1, labels);
    close("likelihood", &[loss], f64::from(0.1f32));
    let sum = Loss::mean_squared_error().reduction(Reduction::Sum);
    let loss = run(sum, 1, 0.8, half());
    close(
        "its sum",
        &[loss],
        rows as f64 * f64::from(0.8f32 - 0.5).powi(2),
    );
    let labels = Target::Labels(vec![1; rows]);
    let loss = run(Loss::cross_entropy().into(), 2, 0.3, labels);
    close("cross-entropy", &[loss], ln2);
    let loss = run(
        Loss::cross_entropy().into(),
        2,
        0.3,
        Target::Values(vec![0.5; 2 * rows]),
    );
    close("with probabilities", &[loss], ln2);
    // One row of as many classes.
    let loss = Loss::from(Loss::cross_entropy().label_smoothing(0.1));
    let g = loss.geometry(1, &[rows].into()).unwrap();
    let (output, mut gradient) = (vec![0.3; rows], vec![f32::NAN; rows]);
    let target = Target::Labels(vec![7]);
    let loss = cpu::loss_forward_backward(&loss, &g, 1.0, &output, &target, &mut gradient);
    close("classes", &[loss.unwrap()], (rows as f64).ln());
    close("its gradient", &gradient[8..], 0.9 / rows as f64);
}

#[test]
fn normalisation() {
    let count = 1 << 22;
    for [value, other] in FACTORS {
        // Two values by turns: their mean, and half of their distance squared.
        let x: Vec<f32> = [value, other].repeat(count / 2);
        let (value, other) = (f64::from(value), f64::from(other));
        let (middle, spread) = ((value + other) / 2.0, (value - other).abs() / 2.0);
        for shape in [[1, 1, 2048, 2048], [count, 1, 1, 1]] {
            let [batch, image @ ..] = shape;
            let layer = BatchNorm::new().epsilon(0.0);
            let g = layer.geometry(batch, &image.into()).unwrap();
            let (mut mean, mut variance) = ([f32::NAN], [f32::NAN]);
            cpu::batch_norm_moments(&g, &x, &mut mean, &mut variance).unwrap();
            close("mean", &mean, middle);
            close("variance", &variance, spread.powi(2));
            let (mut ggamma, mut gbeta) = ([f32::NAN], [f32::NAN]);
            let gradients = (&mut ggamma, &mut gbeta);
            cpu::batch_norm_backward_parameters(
                &g,
                0.0,
                &x,
                &[0.0],
                &[1.0],
                &x,
                gradients.0,
                gradients.1,
            )
            .unwrap();
            close("gbeta", &gbeta, middle * count as f64);
            close(
                "ggamma",
                &ggamma,
                (middle.powi(2) + spread.powi(2)) * count as f64,
            );
        }
        let (ones, zeros, mut y) = (vec![1.0; count], vec![0.0; count], vec![f32::NAN; count]);
        cpu::layer_norm_forward(1, 0.0, &x, &ones, &zeros, &mut y).unwrap();
        let normalised = (value - other).signum();
        for (at, &y) in y[..10].iter().enumerate() {
            let sign = if at % 2 == 0 { 1.0 } else { -1.0 };
            assert_relative_eq!(f64::from(y), sign * normalised, max_relative = 1e-6);
        }
        let (mut ggamma, mut gbeta) = ([f32::NAN; 2], [f32::NAN; 2]);
        let gradients = (&mut ggamma, &mut gbeta);
        cpu::layer_norm_backward_parameters(count / 2, 0.0, &x, &x, gradients.0, gradients.1)
            .unwrap();
        close("gbeta", &gbeta[..1], value * (count / 2) as f64);
        close("gbeta", &gbeta[1..], other * (count / 2) as f64);
        close(
            "ggamma",
            &ggamma[..1],
            value * normalised * (count / 2) as f64,
        );
    }
}

#[test]
fn softmax() {
    let count = 1 << 22;
    let layer = Softmax::new();
    let g = layer.geometry(1, &[count].into()).unwrap();
    let (x, mut y, mut gx) = (
        vec![0.3; count],
        vec![f32::NAN; count],
        vec![f32::NAN; count],
    );
    for log in [false, true] {
        cpu::softmax_forward(&g, log, &x, &mut y).unwrap();
        let share = 1.0 / count as f64;
        close("softmax", &y, if log { share.ln() } else { share });
    }
    // The gradient of one value alone: that of the others is the sum's.
    let gy = vec![0.1; count];
    let y = vec![-(count as f32).ln(); count];
    cpu::softmax_backward(&g, true, &y, &gy, &mut gx).unwrap();
    assert!(gx.iter().all(|gx| gx.abs() < 1e-6 * 0.1), "{}", gx[0]);
}

#[test]
fn pools() {
    for [value, _] in FACTORS {
        let x = vec![value; 1 << 22];
        let side = Size2::from(2048);
        let avg = AvgPool2d::new(side)
            .geometry(1, &[1, 2048, 2048].into())
            .unwrap();
        let mut y = [f32::NAN];
        cpu::avg_pool2d_forward(&avg, true, &x, &mut y).unwrap();
        close("mean", &y, value.into());
        let whole = GlobalPool::Softmax
            .geometry(1, &[1, 2048, 2048].into())
            .unwrap();
        let x: Vec<f32> = [value, 2.0 * value].repeat(1 << 21);
        cpu::softmax_pool_forward(&whole, &x, &mut y).unwrap();
        let [a, b] = [1.0, 2.0].map(|factor| factor * f64::from(value));
        let weighted = (a * a.exp() + b * b.exp()) / (a.exp() + b.exp());
        close("softmax", &y, weighted);
    }
    // Under every window of 64 x 64 lies the pixel in the middle.
    let image = [1, 127, 127].into();
    let gy = vec![0.1f32; 64 * 64];
    let mut gx = vec![f32::NAN; 127 * 127];
    let middle = 63 * 127 + 63;
    let avg = AvgPool2d::new(64).stride(1).geometry(1, &image).unwrap();
    cpu::avg_pool2d_backward(&avg, true, &gy, &mut gx).unwrap();
    close("windows", &gx[middle..=middle], 0.1f32.into());
    let max = MaxPool2d::new(64).stride(1).geometry(1, &image).unwrap();
    cpu::max_pool2d_backward(&max, &gy, &vec![middle as u32; 64 * 64], &mut gx).unwrap();
    close("maxima", &gx[middle..=middle], times(64 * 64, &[0.1]));
}

#[test]
fn norms() {
    for [value, _] in FACTORS {
        let gradient = vec![value; 1 << 22];
        let norm = cpu::global_norm([&gradient[..], &gradient]);
        close(
            "norm",
            &[norm as f32],
            times(1 << 23, &[value, value]).sqrt(),
        );
    }
}
