//! Half precision: activations and weights stored as f16, against the same training in f32.

use wgpu_cnn::{
    AvgPool2d, Branch, Conv2d, ConvTranspose2d, Gpu, Loss, MaxPool2d, Model, ModelBuilder,
    Optimizer, Padding, Reduction, Target, Trainer, TrainerBuilder,
};

use crate::common::{
    assert_error, bits, each_core, labels, plain_gpu, poisoned_gpus, random, state, uniform,
};
use crate::devices::foreign_device;
use crate::training::{Case, cases};

/// Half of the distance between neighbours in f16, relatively.
const EPSILON: f64 = 1.0 / 2048.0;

/// The devices of an iterator that can do it, with a line where there is none.
fn capable(
    gpus: impl Iterator<Item = (&'static str, &'static Gpu)>,
) -> Vec<(&'static str, &'static Gpu)> {
    let gpus: Vec<_> = gpus.filter(|(_, gpu)| gpu.has_half_precision()).collect();
    if gpus.is_empty() {
        eprintln!("skipped: no device with SHADER_F16");
    }
    gpus
}

fn capable_gpu() -> Option<&'static Gpu> {
    let gpus = capable(plain_gpu().map(|gpu| ("plain", gpu)).into_iter());
    gpus.first().map(|(_, gpu)| *gpu)
}

fn same(channels: usize, kernel: usize) -> Conv2d {
    Conv2d::new(channels, kernel).padding(Padding::Same)
}

/// Models that make small integers, halves and quarters of such.
fn exact_models() -> Vec<(&'static str, Model)> {
    let models: [(&str, ModelBuilder); 5] = [
        (
            "strides, groups, dilation, odd widths",
            Model::builder([4, 13, 11])
                .push(Conv2d::new(6, 3).stride(2).padding(1).groups(2))
                .relu()
                .push(Conv2d::new(6, 3).dilation([2, 1]).padding([2, 1]).groups(6))
                .relu()
                .residual(|body| body.push(same(6, 3).groups(3)).relu().push(same(6, 2)))
                .relu()
                .push(MaxPool2d::new(2).stride([3, 2]))
                .relu()
                .flatten()
                .dense(3),
        ),
        (
            "whole vectors, branches, a transpose convolution",
            Model::builder([2, 8, 8])
                .push(same(16, 3))
                .relu()
                .max_pool2d(2)
                .concat([
                    Branch::new(|b| b.push(same(4, 3))),
                    Branch::new(|b| b.conv2d(6, 1).relu()),
                ])
                .leaky_relu(0.5)
                .push(ConvTranspose2d::new(4, 3).stride(2).padding(1))
                .relu()
                .push(AvgPool2d::new(2).stride(1))
                .dropout(0.5)
                .push(ConvTranspose2d::new(5, 3))
                .push(MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true))
                .flatten()
                .dense(6),
        ),
        (
            "dense layers, and dropout at the end",
            Model::builder([20])
                .dense(9)
                .relu()
                .dense(33)
                .residual(|body| body.dense(33).relu())
                .dense(40)
                .relu()
                .dense(4)
                .dropout(0.5),
        ),
        (
            "wide filters, a value added to itself, a view at the end",
            Model::builder([3, 4, 20])
                .push(Conv2d::new(5, [1, 11]).padding([0, 5]))
                .relu()
                .residual(|body| body)
                .push(Conv2d::new(20, [3, 2]))
                .leaky_relu(0.25)
                .push(Conv2d::new(3, 2).stride(2))
                .flatten(),
        ),
        (
            "pools of whole planes, and an activation at the end",
            Model::builder([3, 4, 4])
                .push(same(8, 3))
                .concat([
                    Branch::new(|b| b.global_max_pool()),
                    Branch::new(|b| b.global_avg_pool()),
                ])
                .relu()
                .flatten()
                .dense(5)
                .relu(),
        ),
    ];
    models
        .map(|(name, model)| (name, model.build().unwrap()))
        .into()
}

/// Weights of -1 and 1, about six of them in each sum, and biases of -2 to 2.
fn sparse(rng: &mut fastrand::Rng, shape: &wgpu_cnn::Shape) -> Vec<f32> {
    let fan_in = shape.len() / shape[0];
    let value = |_| match shape.iter().len() {
        1 => rng.i8(-2..=2).into(),
        _ if rng.usize(0..fan_in.max(6)) < 6 => [-1.0, 1.0][rng.usize(0..2)],
        _ => 0.0,
    };
    (0..shape.len()).map(value).collect()
}

fn small_integers(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.i8(-2..=2).into()).collect()
}

/// What a training computes: loss and gradients of a whole batch and of a part of one, then outputs.
fn results(mut trainer: Trainer, batch: usize) -> Vec<(String, Vec<f32>)> {
    let mut rng = random(81);
    let model = trainer.model().clone();
    for (name, shape) in model.parameters() {
        let values = sparse(&mut rng, shape);
        trainer.set_parameter(name, &values).unwrap();
    }
    let [inputs, outputs] = [model.input_shape(), model.output_shape()].map(|shape| shape.len());
    let mut results = Vec::new();
    for examples in [batch, batch - 1] {
        let x = small_integers(&mut rng, examples * inputs);
        let y = small_integers(&mut rng, examples * outputs);
        trainer.step(&x, Target::Values(y)).unwrap();
        results.push(("loss".into(), vec![trainer.loss().unwrap()]));
        for (name, _) in model.parameters() {
            results.push((name.to_owned(), trainer.gradient(name).unwrap()));
        }
    }
    let x = small_integers(&mut rng, (2 * batch + 1) * inputs);
    results.push(("output".into(), trainer.predict(&x).unwrap()));
    results
}

#[test]
fn values_that_f16_holds_give_the_bits_of_f32() {
    const BATCH: usize = 5;
    for (name, model) in exact_models() {
        // Bounds checks make no difference to formats, but kernels that take long to compile; small tiles are what a
        // device without subgroups takes.
        // Fast algorithms round where the others are exact.
        let others = ["checks", "tiled-32", "tiled-64", "winograd", "fft"];
        let gpus = each_core().filter(|(device, _)| !others.iter().any(|of| device.contains(of)));
        for (device, gpu) in capable(gpus) {
            let of = |half| {
                let builder = Trainer::builder(model.clone())
                    .loss(Loss::mean_squared_error().reduction(Reduction::Sum))
                    .optimizer(Optimizer::sgd(0.0))
                    .half_precision(half)
                    .batch(BATCH);
                results(builder.on(gpu).unwrap(), BATCH)
            };
            for ((what, half), (_, single)) in of(true).iter().zip(of(false)) {
                assert_eq!(bits(half), bits(&single), "{what} of {name}, {device}");
                assert!(
                    single.iter().any(|value| *value != 0.0),
                    "{what} of {name} is zero"
                );
            }
        }
    }
}

/// How far two lists of numbers are apart, beside the length of the second.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32, y: f32| (f64::from(x) - f64::from(y)).powi(2);
    let distance: f64 = a.iter().zip(b).map(|(&x, &y)| square(x, y)).sum();
    let length: f64 = b.iter().map(|&y| square(y, 0.0)).sum();
    (distance / length.max(f64::MIN_POSITIVE)).sqrt()
}

/// A trainer for a case in either precision.
fn trainers(case: &Case, gpu: &Gpu) -> [Trainer; 2] {
    [true, false].map(|half| {
        let builder = Trainer::builder(case.model.clone())
            .batch(case.batch)
            .loss(case.loss.clone())
            .optimizer(case.optimizer)
            .half_precision(half)
            .seed(5);
        builder.on(gpu).unwrap()
    })
}

/// Every value on the way, and every weight, is off by an epsilon at most, and what is computed from
/// them by about as much; where a max-pool takes another of two values as good as equal, by more.
#[test]
fn losses_and_gradients_of_a_step_are_those_of_f32_within_its_roundings() {
    for case in &cases() {
        for (device, gpu) in capable(poisoned_gpus()) {
            let [mut half, mut single] = trainers(case, gpu);
            let (x, target) = case.data(&mut random(82), case.batch);
            for trainer in [&mut half, &mut single] {
                trainer.step(&x, target.clone()).unwrap();
            }
            let what = format!("{}, {device}", case.name);
            let losses = [&half, &single].map(|trainer| [trainer.loss().unwrap()]);
            let off = apart(&losses[0], &losses[1]);
            assert!(off < 16.0 * EPSILON, "loss of {what}: {off:e}");
            for (name, _) in case.model.parameters() {
                let [a, b] = [&half, &single].map(|trainer| trainer.gradient(name).unwrap());
                let off = apart(&a, &b);
                assert!(off < 64.0 * EPSILON, "gradient of {name}, {what}: {off:e}");
            }
            let outputs = [half, single].map(|mut trainer| trainer.predict(&x).unwrap());
            let off = apart(&outputs[0], &outputs[1]);
            assert!(off < 64.0 * EPSILON, "output of {what}: {off:e}");
        }
    }
}

/// A value at a bound that f16 rounds towards zero is at the bound all the same.
#[test]
fn nothing_passes_a_bound_that_has_been_reached() {
    let model = || {
        let front = Model::builder([1]).dense(4).hard_tanh(-0.8, 0.8);
        front.dense(1).build().unwrap()
    };
    for (device, gpu) in capable(poisoned_gpus()) {
        let builder = Trainer::builder(model()).loss(Loss::mean_squared_error());
        let mut trainer = builder.batch(1).half_precision(true).on(gpu).unwrap();
        trainer
            .set_parameter("0.weight", &[5.0, -5.0, 0.25, -0.25])
            .unwrap();
        trainer.set_parameter("0.bias", &[0.0; 4]).unwrap();
        trainer.set_parameter("2.weight", &[1.0; 4]).unwrap();
        trainer.step(&[1.0], &[9.0f32]).unwrap();
        let gradient = trainer.gradient("0.weight").unwrap();
        let passes: Vec<bool> = gradient.iter().map(|g| *g != 0.0).collect();
        assert_eq!(passes, [false, false, true, true], "{device}");
    }
}

/// Images of noise with a bright quarter, whose number is the label.
fn quarters(rng: &mut fastrand::Rng, examples: usize) -> (Vec<f32>, Vec<u32>) {
    let labels = labels(rng, examples, 4);
    let mut x = uniform(rng, examples * 144);
    for (at, value) in x.iter_mut().enumerate() {
        let [example, y, x] = [at / 144, at / 12 % 12, at % 12];
        let quarter = (y / 6 * 2 + x / 6) as u32;
        *value += f32::from(u8::from(quarter == labels[example]));
    }
    (x, labels)
}

fn classifier() -> TrainerBuilder {
    let model = Model::builder([1, 12, 12])
        .conv2d(6, 3)
        .relu()
        .max_pool2d(2)
        .conv2d(8, 3)
        .relu()
        .flatten()
        .dense(16)
        .relu()
        .dense(4)
        .build();
    let builder = Trainer::builder(model.unwrap()).batch(16).seed(3);
    builder.optimizer(Optimizer::sgd(0.02).momentum(0.5))
}

/// An operator of each kind that is not exact, and all that a step can be asked for.
fn normalised() -> TrainerBuilder {
    let model = Model::builder([1, 12, 12])
        .push(Conv2d::new(6, 3).padding(1).bias(false))
        .batch_norm()
        .silu()
        .residual(|body| body.push(same(6, 3)).batch_norm().relu())
        .gelu()
        .dropout(0.2)
        .concat([
            Branch::new(|b| b.push(MaxPool2d::new(2))),
            Branch::new(|b| b.avg_pool2d(2).tanh()),
        ])
        .concat([
            Branch::new(|b| b.global_avg_pool()),
            Branch::new(|b| b.global_softmax_pool()),
        ])
        .flatten()
        .layer_norm()
        .dense(12)
        .softplus()
        .softmax()
        .dense(4)
        .build();
    let builder = Trainer::builder(model.unwrap()).batch(16).seed(1);
    let builder = builder.optimizer(Optimizer::sgd(0.5).momentum(0.5));
    builder.clip_norm(1.0).accumulate(2).max_slab(2048)
}

/// The losses of so many steps, of which every fifth is on a part of a batch.
fn losses(trainer: &mut Trainer, steps: usize) -> Vec<f32> {
    let mut rng = random(83);
    let step = |at: usize| {
        let (x, y) = quarters(&mut rng, if at % 5 == 4 { 11 } else { 16 });
        trainer.step(&x, &y).unwrap();
        trainer.loss().unwrap()
    };
    (0..steps).map(step).collect()
}

#[test]
fn a_training_stays_close_to_that_in_f32_and_its_loss_falls() {
    for (builder, falls_to) in [(classifier(), 0.5), (normalised(), 0.9)] {
        for (device, gpu) in capable(poisoned_gpus()) {
            let [half, single] = [true, false].map(|half| {
                let builder = builder.clone().half_precision(half);
                losses(&mut builder.on(gpu).unwrap(), 60)
            });
            // Ten steps, each of which adds its roundings to those before.
            let off = apart(&half[..10], &single[..10]);
            assert!(off < 10.0 * EPSILON, "{device}: {off:e}");
            let off = apart(&half, &single);
            assert!(off < 60.0 * EPSILON, "{device}: {off:e}");
            let [first, last] = [&half[..10], &half[50..]].map(|part| part.iter().sum::<f32>());
            assert!(last < falls_to * first, "{device}: {first} {last}");
        }
    }
}

#[test]
fn two_trainings_give_the_same_bits() {
    for (device, gpu) in capable(poisoned_gpus()) {
        let [first, second] = [(), ()].map(|()| {
            let mut trainer = normalised().half_precision(true).on(gpu).unwrap();
            let losses = losses(&mut trainer, 8);
            (bits(&losses), state(&trainer))
        });
        assert_eq!(first, second, "{device}");
    }
}

#[test]
fn values_on_their_way_are_rounded_and_nan_and_infinity_pass() {
    let model = Model::builder([6, 1, 1])
        .push(Conv2d::new(6, 1).groups(6).bias(false))
        .leaky_relu(0.5)
        .relu()
        .push(Conv2d::new(6, 1).groups(6).bias(false))
        .build();
    let builder = Trainer::builder(model.unwrap())
        .batch(4)
        .loss(Loss::mean_squared_error());
    for (device, gpu) in capable(each_core()) {
        let mut trainer = builder.clone().half_precision(true).on(gpu).unwrap();
        trainer.set_parameter("0.weight", &[1.0; 6]).unwrap();
        trainer.set_parameter("3.weight", &[1.0; 6]).unwrap();
        let x = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e6,
            65504.0,
            2049.0,
        ];
        let got = trainer.predict(&x).unwrap();
        assert!(got[0].is_nan(), "{device}: {got:?}");
        let rest = [f32::INFINITY, 0.0, f32::INFINITY, 65504.0, 2048.0];
        assert_eq!(got[1..], rest, "{device}");
        // 1/3 with 11 digits, while the parameter itself keeps all of its own.
        trainer.set_parameter("3.weight", &[1.0 / 3.0; 6]).unwrap();
        let got = trainer.predict(&[1.0; 6]).unwrap();
        assert_ne!(got[0], 1.0 / 3.0, "{device}");
        assert!(apart(&got, &[1.0 / 3.0; 6]) <= 2.0 * EPSILON, "{device}");
        assert_eq!(trainer.parameter("3.weight").unwrap(), [1.0 / 3.0; 6]);
    }
}

#[test]
fn activations_take_less_memory_and_the_copies_of_the_weights_are_counted() {
    let Some(gpu) = capable_gpu() else { return };
    let model = Model::builder([3, 32, 32])
        .push(same(16, 3))
        .relu()
        .max_pool2d(2)
        .push(same(32, 3))
        .relu()
        .flatten()
        .dense(10)
        .build();
    let builder = Trainer::builder(model.unwrap()).batch(32);
    let [half, single] =
        [true, false].map(|half| builder.clone().half_precision(half).memory(gpu).unwrap());
    let copies = half.parameters - half.gradients;
    assert_eq!(copies, half.gradients.div_ceil(32) * 16);
    assert_eq!(single.gradients, single.parameters);
    assert!(half.activations < single.activations, "{half}; {single}");
    // The two convolutions' values and the pool's.
    let values = 4 * 32 * (16 * 1024 + 16 * 256 + 32 * 256);
    let saved = single.activations_unshared - half.activations_unshared;
    assert!(saved >= values / 2, "{saved} {values}");
    let trainer = builder.half_precision(true).on(gpu).unwrap();
    assert_eq!(trainer.memory(), Some(half));
}

#[test]
fn weights_are_saved_loaded_and_set_in_f32() {
    let Some(gpu) = capable_gpu() else { return };
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-half-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("weights.safetensors");
    let mut half = classifier().half_precision(true).on(gpu).unwrap();
    losses(&mut half, 5);
    half.save(&file).unwrap();
    let mut single = classifier().weights(&file).on(gpu).unwrap();
    assert_eq!(state(&half), state(&single));
    let (x, _) = quarters(&mut random(84), 40);
    let before = half.predict(&x).unwrap();
    assert!(apart(&before, &single.predict(&x).unwrap()) < 8.0 * EPSILON);

    let name = "8.weight";
    let doubled = |values: Vec<f32>| values.iter().map(|v| 2.0 * v).collect::<Vec<f32>>();
    half.set_parameter("8.bias", &[0.0; 4]).unwrap();
    let before = half.predict(&x).unwrap();
    let weights = doubled(half.parameter(name).unwrap());
    half.set_parameter(name, &weights).unwrap();
    assert_eq!(half.predict(&x).unwrap(), doubled(before.clone()));
    half.load(&file).unwrap();
    assert_eq!(state(&half), state(&single));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn devices_without_f16_and_the_cpu_refuse_it() {
    let builder = classifier().half_precision(true);
    assert_error(builder.clone().on_cpu(), "argument", &["half_precision"]);
    let Some((info, device, queue)) = foreign_device() else {
        return;
    };
    let gpu = Gpu::from_wgpu(info, device, queue).unwrap();
    assert!(!gpu.has_half_precision());
    assert_error(builder.memory(&gpu), "argument", &["half_precision"]);
    let says = ["half_precision", "SHADER_F16"];
    assert_error(builder.on(&gpu), "argument", &says);
    classifier().on(&gpu).unwrap();
}
