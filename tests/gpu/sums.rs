//! Long sums: that they are made at all, where a driver lets an invocation make only so many iterations,
//! and that they keep their digits.

mod biases;
mod products;

use wgpu_cnn::op::Softmax;
use wgpu_cnn::{
    AvgPool2d, BatchNorm, Conv1d, Conv2d, GlobalPool, LayerNorm, Linear, Loss, MaxPool2d, Model,
    ModelBuilder, Op, Optimizer, Reference, Result, Target, Tensor, Trainer, ops,
};

use crate::common::{poisoned_gpus, random, tensor, uniform, wide};

/// Elements of one sign whose sum is to be right within `SHARE` of it.
const MANY: usize = 1 << 24;
const SHARE: f64 = 1e-6;

#[track_caller]
fn near(what: &str, got: f32, expected: f64) {
    let off = (f64::from(got) / expected - 1.0).abs();
    assert!(off <= SHARE, "{what}: {got} for {expected}, off by {off:e}");
}

/// A value whose sums are rounded at every step, and values of one sign about it.
fn fills() -> [(&'static str, Vec<f32>); 2] {
    let mut rng = random(7);
    let drawn = (0..MANY).map(|_| 0.5 + rng.f32()).collect();
    [("0.1", vec![0.1; MANY]), ("drawn", drawn)]
}

fn sum(values: &[f32]) -> f64 {
    values.iter().copied().map(f64::from).sum()
}

#[test]
fn sums_of_many_values_of_one_sign_keep_their_digits() {
    let Some((device, gpu)) = poisoned_gpus().next() else {
        return;
    };
    for (fill, values) in &fills() {
        let name = |what: &str| format!("{what}, {fill}, {device}");
        let total = sum(values);
        let image = tensor(gpu, [1, 1, 4096, 4096], values);
        let bias = ops::bias_gradient(&image).unwrap().to_vec().unwrap();
        near(&name("bias gradient"), bias[0], total);
        let rows = tensor(gpu, [MANY / 64, 64], values);
        let bias = ops::bias_gradient(&rows).unwrap().to_vec().unwrap();
        let column: f64 = values.iter().step_by(64).copied().map(f64::from).sum();
        near(&name("bias gradient of rows"), bias[0], column);

        let signal = tensor(gpu, [4, 1, 1024, 4096], values);
        let [zero, one] = [0.0, 1.0].map(|v| tensor(gpu, [1], &[v]));
        let layer = BatchNorm::new().momentum(1.0);
        let (_, found) =
            ops::batch_norm_forward(&signal, [&one, &zero], [&zero, &one], &layer).unwrap();
        let (count, mean) = (MANY as f64, found.running_mean.to_vec().unwrap()[0]);
        near(&name("mean"), mean, total / count);
        if *fill == "drawn" {
            let squares = values
                .iter()
                .map(|&v| (f64::from(v) - total / count).powi(2));
            let expected = squares.sum::<f64>() / (count - 1.0);
            let got = found.running_variance.to_vec().unwrap()[0];
            near(&name("variance"), got, expected);
        }

        let pooled = ops::avg_pool2d_forward(&image, &AvgPool2d::new(4096)).unwrap();
        near(&name("pool"), pooled.to_vec().unwrap()[0], total / count);

        let target = Target::Values(vec![0.0; MANY]);
        let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
        let loss = Loss::mean_squared_error();
        let (loss, _) = ops::loss(&rows, target, loss).unwrap();
        near(
            &name("squared error"),
            loss.to_vec().unwrap()[0],
            squares / count,
        );
    }
}

#[test]
fn weight_gradients_of_many_values_of_one_sign_keep_their_digits() {
    // Without subgroups the tiled cores run, which are slow on one channel.
    let [(_, same), (_, drawn)] = fills();
    for ((device, gpu), sides) in poisoned_gpus().zip([[4096, 1024], [1024, 256]]) {
        for ((fill, values), side) in [("0.1", &same), ("drawn", &drawn)].into_iter().zip(sides) {
            let len = side * side;
            let values = &values[..len];
            let name = |what: &str| format!("{what}, {fill}, {device}");
            let ones = vec![0.3; len];
            let expected = f64::from(0.3f32) * sum(values);
            // Long rows, and short ones.
            for shape in [[1, 1, side, side], [len / 256, 1, 16, 16]] {
                let [x, gy] = [values, &ones].map(|values| tensor(gpu, shape, values));
                let layer = Conv2d::new(1, 1);
                let gw = ops::conv2d_backward_weight(&x, &gy, &layer).unwrap();
                near(
                    &name(&format!("{shape:?}")),
                    gw.to_vec().unwrap()[0],
                    expected,
                );
            }
            let rows = [values, &ones].map(|values| tensor(gpu, [len, 1], values));
            let gw = ops::matmul(&rows[1], true, &rows[0], false).unwrap();
            near(&name("dense"), gw.to_vec().unwrap()[0], expected);
        }
        let x = tensor(gpu, [16, 2, 512, 512], &vec![0.1; 16 << 19]);
        for layer in [Conv2d::new(2, 1).groups(2), Conv2d::new(2, 1).stride(2)] {
            let step = if layer == Conv2d::new(2, 1).stride(2) {
                2
            } else {
                1
            };
            let out = 512 / step;
            let gy = tensor(gpu, [16, 2, out, out], &vec![0.3; 32 * out * out]);
            let gw = ops::conv2d_backward_weight(&x, &gy, &layer).unwrap();
            let expected = f64::from(0.1f32) * f64::from(0.3f32) * (16 * out * out) as f64;
            near(
                &format!("{layer:?}, {device}"),
                gw.to_vec().unwrap()[0],
                expected,
            );
        }
    }
}

#[test]
fn long_rows_of_layer_normalisation_keep_the_digits_of_their_gradients() {
    // The mean of h = gamma * gy alone, where the mean of h * x^ is nearly nothing: gx = h - mean(h) = 0.
    for (device, gpu) in poisoned_gpus() {
        let len = 16_384;
        let x: Vec<f32> = (0..len).map(|at| [1.0, -1.0][at % 2]).collect();
        let [x, gy, gamma] = [&x, &vec![0.1; len], &vec![1.0; len]].map(|v| v.to_vec());
        let [x, gy] = [x, gy].map(|values| tensor(gpu, [1, len], &values));
        let gamma = tensor(gpu, [len], &gamma);
        let statistics = tensor(gpu, [1, 2], &[0.0, 1.0]);
        let found = ops::layer_norm_backward(&x, &gamma, &statistics, &gy).unwrap();
        for got in found[0].to_vec().unwrap() {
            assert!(got.abs() <= 1e-7, "{device}: {got}");
        }
    }
}

#[test]
fn the_loss_of_many_rows_keeps_its_digits() {
    let Some((device, gpu)) = poisoned_gpus().next() else {
        return;
    };
    let rows = 300_000;
    let output = tensor(gpu, [rows, 2], &vec![0.0; 2 * rows]);
    let loss = Loss::cross_entropy();
    let (loss, _) = ops::loss(&output, &vec![1u32; rows], loss).unwrap();
    near(device, loss.to_vec().unwrap()[0], std::f64::consts::LN_2);
    let output = tensor(gpu, [4, 75_000], &vec![0.0; rows]);
    let (loss, _) = ops::loss(&output, &vec![1u32; 4], Loss::cross_entropy()).unwrap();
    near(device, loss.to_vec().unwrap()[0], 75_000f64.ln());
    // As many pixels, in two images.
    let output = tensor(gpu, [2, 2, 300, 500], &vec![0.0; 2 * rows]);
    let of = |target: Target, loss: Loss| ops::loss(&output, target, loss).unwrap().0;
    let loss = of(vec![1u8; rows].into(), Loss::cross_entropy().into());
    near(device, loss.to_vec().unwrap()[0], std::f64::consts::LN_2);
    let dice = Loss::dice().over_batch(true).smoothing(1e-3);
    let loss = of(vec![1.0; 2 * rows].into(), dice.into());
    near(device, loss.to_vec().unwrap()[0], 1.0 / 3.0);
}

/// A model of one layer, and a dense one at its end.
fn model(shape: &[usize], op: impl Into<Op>) -> Result<Model> {
    Model::builder(shape.to_vec())
        .push(op)
        .flatten()
        .dense(2)
        .build()
}

/// Networks with sums that are too long for one invocation of a software adapter.
fn long_networks() -> Vec<(&'static str, usize, Result<Model>)> {
    let plain = |shape: &[usize], layer: fn(ModelBuilder) -> ModelBuilder| {
        layer(Model::builder(shape.to_vec())).build()
    };
    vec![
        ("dense", 1, plain(&[262_144], |b| b.dense(2))),
        (
            "dense, many outputs",
            1,
            plain(&[3], |b| b.dense(262_144).relu().dense(2)),
        ),
        (
            "convolution of many outputs",
            1,
            model(&[1, 2, 2], Conv2d::new(65_537, 1)),
        ),
        (
            "convolution of many channels",
            1,
            plain(&[1, 2, 3], |b| b.conv2d(65_537, 1).relu().conv2d(2, [1, 2])),
        ),
        (
            "convolution over an image",
            1,
            model(&[1, 256, 257], Conv2d::new(2, 256)),
        ),
        (
            "convolution over a signal",
            1,
            model(&[3, 65_540], Conv1d::new(2, 65_537)),
        ),
        (
            "batch norm",
            8,
            plain(&[1, 512, 512], |b| b.batch_norm().global_avg_pool()),
        ),
        (
            "layer norm",
            1,
            plain(&[5, 512, 512], |b| {
                b.push(LayerNorm::new()).global_avg_pool()
            }),
        ),
        (
            "global average",
            2,
            plain(&[2, 256, 257], |b| b.conv2d(2, 1).global_avg_pool()),
        ),
        (
            "global maximum",
            2,
            plain(&[2, 256, 257], |b| b.conv2d(2, 1).global_max_pool()),
        ),
        (
            "global softmax",
            2,
            plain(&[2, 256, 257], |b| b.conv2d(2, 1).push(GlobalPool::Softmax)),
        ),
        (
            "average",
            1,
            plain(&[2, 257, 258], |b| {
                b.conv2d(1, 1).push(AvgPool2d::new(256).stride(1))
            }),
        ),
        (
            "maximum",
            1,
            plain(&[2, 257, 258], |b| {
                b.conv2d(1, 1).push(MaxPool2d::new(256).stride(1))
            }),
        ),
        (
            "softmax",
            2,
            plain(&[70_000], |b| b.layer_norm().push(Softmax::new())),
        ),
        (
            "log softmax",
            2,
            plain(&[70_000], |b| b.layer_norm().push(Softmax::new().log(true))),
        ),
        (
            "bias",
            1,
            plain(&[1, 1, 70_000], |b| b.push(Linear::new(2))),
        ),
        (
            "many windows",
            1,
            plain(&[1, 130, 130], |b| {
                b.conv2d(1, 1).push(AvgPool2d::new(66).stride(1))
            }),
        ),
        (
            "many windows",
            1,
            plain(&[1, 130, 130], |b| {
                b.conv2d(1, 1).push(MaxPool2d::new(66).stride(1))
            }),
        ),
        (
            "windows enough for a device, in a whole batch",
            1,
            plain(&[1, 110, 110], |b| {
                b.conv2d(1, 1).push(AvgPool2d::new(19).stride(1))
            }),
        ),
        (
            "windows enough for a device, in a whole batch",
            1,
            plain(&[1, 110, 110], |b| {
                b.conv2d(1, 1).push(MaxPool2d::new(19).stride(1))
            }),
        ),
    ]
}

#[test]
fn networks_with_long_sums_train_as_on_the_cpu() {
    for (device, gpu) in poisoned_gpus() {
        for (name, batch, model) in long_networks() {
            let model = model.unwrap();
            let (loss, optimizer) = (Loss::mean_squared_error(), Optimizer::sgd(0.1));
            let lens = [&model.input_shape(), &model.output_shape()].map(|shape| shape.len());
            let mut reference = Reference::<f64>::new(&model, loss.clone(), optimizer, 0).unwrap();
            let builder = Trainer::builder(model).loss(loss).optimizer(optimizer);
            let mut trainer = builder
                .batch(batch + 1)
                .on(gpu)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            // A whole batch, and a partial one, whose sums have the parts that the whole one's have.
            for rows in [batch + 1, batch] {
                let [x, wanted] = [1, 2].map(|seed| (seed, rows * lens[seed as usize - 1]));
                let [x, wanted] = [x, wanted].map(|(seed, len)| uniform(&mut random(seed), len));
                let what = format!("{name}, {rows} of {}, {device}", batch + 1);
                hold_step(
                    &what,
                    &mut trainer,
                    &mut reference,
                    &x,
                    Target::Values(wanted),
                );
            }
        }
    }
}

/// A step of a trainer, and its loss and gradients as the reference finds them for the same parameters.
fn hold_step(
    name: &str,
    trainer: &mut Trainer,
    reference: &mut Reference<f64>,
    x: &[f32],
    wanted: Target,
) {
    let parameters = trainer.model().parameters();
    let names: Vec<String> = parameters.map(|(name, _)| name.into()).collect();
    for name in &names {
        reference
            .set_parameter(name, &wide(&trainer.parameter(name).unwrap()))
            .unwrap();
    }
    let expected = reference.loss_and_gradients(&wide(x), &wanted).unwrap();
    trainer.step(x, wanted).unwrap();
    let loss = f64::from(trainer.loss().unwrap());
    let off = (loss / expected - 1.0).abs();
    assert!(off < 1e-5, "{name}: loss {loss} for {expected}");
    for parameter in names.iter().filter(|name| !name.contains("running")) {
        let (got, expected) = (
            trainer.gradient(parameter).unwrap(),
            reference.gradient(parameter).unwrap(),
        );
        let largest = expected.iter().fold(0.0f64, |most, g| most.max(g.abs()));
        for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let off = (f64::from(got) - expected).abs();
            let what = format!("{name}: {parameter} {at}");
            assert!(off <= 1e-4 * largest, "{what}: {got} for {expected}");
        }
    }
}

#[test]
fn huge_values_have_a_mean_and_a_norm() {
    for (device, gpu) in poisoned_gpus() {
        // One workgroup, and several.
        for len in [6, 20_000] {
            let values: Vec<f32> = (0..len).map(|at| [1e30, -2e30, 3e30][at % 3]).collect();
            let x = tensor(gpu, [2, 1, len / 2], &values);
            let [gamma, beta, mean, variance] =
                [2.0, 0.5, 0.0, 1.0].map(|value| tensor(gpu, [1], &[value]));
            let layer = BatchNorm::new().momentum(1.0);
            let running = [&mean, &variance];
            let (y, found) = ops::batch_norm_forward(&x, [&gamma, &beta], running, &layer).unwrap();
            let y: Vec<f32> = y.to_vec().unwrap();
            assert!(
                y.iter().all(|&y| y == 0.5),
                "{device}, {len}: {:?}",
                &y[..3]
            );
            let [mean, variance] = [found.running_mean, found.running_variance];
            near(device, mean.to_vec().unwrap()[0], sum(&values) / len as f64);
            assert_eq!(
                variance.to_vec().unwrap(),
                [f32::INFINITY],
                "{device}, {len}"
            );
            let found = [&mean, &variance];
            let y = ops::batch_norm_forward_evaluation(&x, [&gamma, &beta], found, &layer);
            let y: Vec<f32> = y.unwrap().to_vec().unwrap();
            assert!(y.iter().all(|&y| y == 0.5), "{device}, {len}, evaluation");

            // What is not a number stays none.
            let mut values = values;
            values[len - 1] = f32::NAN;
            let x = tensor(gpu, [2, 1, len / 2], &values);
            let (y, _) = ops::batch_norm_forward(&x, [&gamma, &beta], running, &layer).unwrap();
            let y: Vec<f32> = y.to_vec().unwrap();
            assert!(
                y.iter().all(|y| y.is_nan()),
                "{device}, {len}: {:?}",
                &y[..3]
            );
        }
    }
}

/// `w - 0.5 * clipped gradient` of `(w x)^2` at w = 1, with clipping to a norm of 1.
fn clipped(gpu: &wgpu_cnn::Gpu, inputs: &[f32]) -> Vec<f32> {
    let model = Model::builder([inputs.len()])
        .push(Linear::new(1).bias(false))
        .build()
        .unwrap();
    let builder = Trainer::builder(model)
        .loss(Loss::mean_squared_error())
        .optimizer(Optimizer::sgd(0.5))
        .clip_norm(1.0)
        .batch(1);
    let mut trainer = builder.on(gpu).unwrap();
    let name: String = trainer.model().parameters().next().unwrap().0.into();
    trainer
        .set_parameter(&name, &vec![1.0; inputs.len()])
        .unwrap();
    trainer.step(inputs, Target::Values(vec![0.0])).unwrap();
    trainer.parameter(&name).unwrap()
}

#[test]
fn gradients_are_clipped_whatever_their_squares() {
    for (device, gpu) in poisoned_gpus() {
        for x in [0.1f32, 10.0, 1e8, 1e10, 3e15, 8e18] {
            // 2 x^2 is the gradient: up to 1e38, whose square is beyond all numbers.
            let gradient = 2.0 * f64::from(x) * f64::from(x);
            let expected = 1.0 - 0.5 * gradient * (1.0 / (gradient + 1e-6)).min(1.0);
            let [w] = clipped(gpu, &[x])[..] else {
                panic!("one parameter");
            };
            assert!((f64::from(w) - expected).abs() < 1e-6, "{x}, {device}: {w}");
        }
        // A norm of several: gradients of 3 and 4 shares.
        let w = clipped(gpu, &[3e9, 4e9]);
        assert!(
            (w[0] - 0.7).abs() < 1e-6 && (w[1] - 0.6).abs() < 1e-6,
            "{device}: {w:?}"
        );
        let w = clipped(gpu, &[f32::NAN, 1.0]);
        assert!(w.iter().all(|w| w.is_nan()), "{device}: {w:?}");
    }
}

#[test]
fn large_windows_have_the_maximum_that_small_ones_have() {
    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;
    // Values, and where the maximum is: ties, NaN and infinities in different parts of a window.
    type Case = (&'static str, &'static [(usize, f32)], usize);
    let cases: [Case; 7] = [
        ("one", &[(9_000, 2.0)], 9_000),
        ("a tie", &[(8_000, 2.0), (70, 2.0), (9_999, 2.0)], 70),
        ("a tie of zeros", &[(5, 0.0), (3, -0.0), (9_000, 0.0)], 3),
        ("NaN", &[(100, INF), (7_000, NAN), (8_000, 3.0)], 7_000),
        (
            "the last NaN",
            &[(100, NAN), (101, NAN), (9_000, NAN)],
            9_000,
        ),
        ("infinity", &[(9_999, INF), (1, 5.0)], 9_999),
        ("all negative infinity", &[], 0),
    ];
    for (device, gpu) in poisoned_gpus() {
        for (name, values, place) in cases {
            let low = if values.is_empty() { -INF } else { -1.0 };
            let mut x = vec![low; 10_000];
            values.iter().for_each(|&(at, value)| x[at] = value);
            let image = tensor(gpu, [1, 1, 100, 100], &x);
            let (y, argmax) = ops::max_pool2d_forward(&image, &MaxPool2d::new(100)).unwrap();
            let (y, argmax) = (y.to_vec().unwrap(), argmax.to_vec().unwrap());
            assert_eq!(argmax, [place as u32], "{name}, {device}");
            assert_eq!(y[0].to_bits(), x[place].to_bits(), "{name}, {device}");
            let argmax = Tensor::from_slice(gpu, [1, 1, 1, 1], &argmax).unwrap();
            let gy = tensor(gpu, [1, 1, 1, 1], &[7.0]);
            let shape = [1, 1, 100, 100];
            let gx = ops::max_pool2d_backward(&gy, &argmax, shape, &MaxPool2d::new(100));
            let gx: Vec<f32> = gx.unwrap().to_vec().unwrap();
            assert_eq!((gx[place], sum(&gx)), (7.0, 7.0), "{name}, {device}");
        }
    }
}
