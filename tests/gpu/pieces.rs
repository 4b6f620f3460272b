//! Parameters that are larger than a buffer may be: they lie in pieces, and train as any other. What
//! cannot be taken apart is refused, by name.

use wgpu_cnn::engine::catalogue::optimizers;
use wgpu_cnn::{
    Conv2d, ConvTranspose2d, Error, Gpu, Linear, Loss, MaxPool2d, Model, ModelBuilder, Optimizer,
    Result, Trainer, wgpu,
};

use crate::common::{labels, plain_gpu, poisoned_gpus, random, state, uniform};
use crate::compare::Expected;
use crate::device::device;
use crate::training::{Case, Race};

/// Convolutions, dense layers behind them that hold most of the weights, and a transpose convolution
/// with groups that are taken apart.
fn models() -> [Case; 3] {
    [
        Case::new(
            "convolutions and dense layers",
            6,
            Model::builder([3, 12, 12])
                .push(Conv2d::new(24, 5).padding(2).stride(2))
                .relu()
                .push(Conv2d::new(40, 3).padding(1).groups(2))
                .relu()
                .max_pool2d(2)
                .flatten()
                .dense(70)
                .relu()
                .dense(33)
                .sigmoid()
                .dense(10)
                .build(),
        ),
        Case::new(
            "transpose convolutions, depthwise, a value read again",
            3,
            Model::builder([6, 5, 5])
                .push(ConvTranspose2d::new(64, 3).stride(2))
                .relu()
                .residual(|b| b.push(Conv2d::new(64, 3).padding(1).groups(2)).relu())
                .push(Conv2d::new(32, 3).groups(32))
                .push(ConvTranspose2d::new(36, 3).groups(4))
                .tanh()
                .conv2d(2, 3)
                .flatten()
                .dense(4)
                .build(),
        )
        .optimizer(Optimizer::sgd(0.01)),
        Case::new(
            "rows of features",
            5,
            Model::builder([4, 20])
                .dense(81)
                .relu()
                .residual(|b| b.push(Linear::new(81).bias(false)))
                .layer_norm()
                .dense(3)
                .flatten()
                .dense(4)
                .build(),
        ),
    ]
}

/// A device whose buffers are so small that most weights of these models are larger.
fn small(binding: u64) -> Option<Gpu> {
    let limits = wgpu::Limits {
        max_storage_buffer_binding_size: binding,
        max_buffer_size: 8 * binding,
        ..plain_gpu()?.limits().clone()
    };
    device(Gpu::builder().limits(limits))
}

#[test]
fn ten_steps_in_pieces_equal_the_reference() {
    for case in &models() {
        for (device, gpu) in poisoned_gpus() {
            let trainer = case.builder().max_slab(8 << 10).on(gpu).unwrap();
            let mut race = Race::of(case, device, trainer);
            let mut rng = random(21);
            race.step("step 1", &case.data(&mut rng, case.batch));
            race.assert_gradients("step 1");
            for step in 2..=10 {
                let examples = if step % 3 == 0 { 2 } else { case.batch };
                race.step(&format!("step {step}"), &case.data(&mut rng, examples));
            }
            race.assert_parameters("step 10");
        }
    }
}

#[test]
fn every_optimizer_clips_and_accumulates_over_all_pieces() {
    let Some(gpu) = small(40 << 10) else { return };
    for (name, optimizer) in optimizers() {
        let [case, ..] = models();
        let case = case.optimizer(optimizer);
        let builder = case.builder().clip_norm(0.05).accumulate(2);
        let mut race = Race::of(&case, name, builder.on(&gpu).unwrap());
        race.exact.set_clip_norm(Some(0.05)).unwrap();
        race.rounded.set_clip_norm(Some(0.05)).unwrap();
        race.exact.set_accumulate(2).unwrap();
        race.rounded.set_accumulate(2).unwrap();
        let mut rng = random(4);
        for step in 0..4 {
            race.step(&format!("step {step}"), &case.data(&mut rng, 5));
        }
        race.assert_parameters("two updates");
    }
}

/// What differs from training in one piece is the order of sums alone, and in half precision too.
#[test]
fn a_training_in_pieces_stays_close_to_that_in_one() {
    for (device, gpu) in poisoned_gpus() {
        for (case, half) in models().iter().zip([true, false, true]) {
            let [one, several] = [u64::MAX, 8 << 10].map(|slab| {
                let builder = case.builder().optimizer(Optimizer::sgd(0.05));
                let builder = builder.max_slab(slab).half_precision(half);
                let mut trainer = builder.clone().on(gpu).unwrap();
                let mut again = builder.on(gpu).unwrap();
                let mut rng = random(9);
                let steps = (0..5).map(|_| {
                    let (x, target) = case.data(&mut rng, case.batch);
                    again.step(&x, target.clone()).unwrap();
                    trainer.step(&x, target).unwrap();
                    trainer.loss().unwrap()
                });
                let losses: Vec<f32> = steps.collect();
                assert_eq!(state(&trainer), state(&again), "{}, {device}", case.name);
                losses
            });
            for (one, several) in one.iter().zip(&several) {
                let off = (one - several).abs() / one.abs();
                assert!(off < if half { 2e-2 } else { 1e-4 }, "{}: {off}", case.name);
            }
        }
    }
}

#[test]
fn parameters_in_pieces_are_set_read_saved_and_loaded_whole() {
    let Some(gpu) = small(20 << 10) else { return };
    let file = std::env::temp_dir().join(format!("pieces-{}.safetensors", std::process::id()));
    for case in &models() {
        let builder = case.builder().batch(1);
        let whole = builder.clone().on(plain_gpu().unwrap()).unwrap();
        let mut pieces = builder.clone().on(&gpu).unwrap();
        assert_eq!(
            state(&pieces),
            state(&whole),
            "{} begins elsewhere",
            case.name
        );
        let largest = case
            .model
            .parameters()
            .max_by_key(|(_, shape)| shape.len())
            .unwrap();
        assert!(largest.1.len() * 4 > 20 << 10, "{} is small", largest.0);
        for (name, shape) in case.model.parameters() {
            let values: Vec<f32> = (0..shape.len()).map(|at| at as f32 - 0.5).collect();
            pieces.set_parameter(name, &values).unwrap();
            assert_eq!(pieces.parameter(name).unwrap(), values, "{name}");
        }
        whole.save(&file).unwrap();
        pieces.load(&file).unwrap();
        assert_eq!(state(&pieces), state(&whole));
        pieces.save(&file).unwrap();
        let again = builder.weights(&file).on(plain_gpu().unwrap());
        assert_eq!(state(&again.unwrap()), state(&whole));
        let memory = pieces.memory().unwrap();
        assert!(memory.parameters >= 4 * case.model.parameter_count() as u64);
        assert_eq!(memory.gradients, memory.parameters);
    }
    std::fs::remove_file(file).unwrap();
}

/// What is said of a plan that a device refuses.
fn refused(made: Result<Trainer>) -> (&'static str, String) {
    match made.unwrap_err() {
        Error::Limit {
            limit,
            what,
            needed,
            available,
        } => {
            assert!(needed > available, "{what} needs {needed} of {available}");
            (limit, what)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_parameter_that_cannot_be_taken_apart_is_refused_with_its_layer() {
    let Some(gpu) = small(16 << 10) else { return };
    let on = |model: Result<Model>, slab: u64| {
        let builder = Trainer::builder(model.unwrap()).batch(1).max_slab(slab);
        refused(builder.on(&gpu))
    };
    let norm = || {
        Model::builder([60, 8])
            .flatten()
            .layer_norm()
            .dense(2)
            .build()
    };
    let wide = || Model::builder([2000]).dense(2).build();
    let binding = "max_storage_buffer_binding_size";
    assert_eq!(
        on(norm(), 1 << 10),
        (
            "max_slab",
            "layer 1 (layer_norm): parameter 1.weight".into()
        )
    );
    assert_eq!(
        on(wide(), 4 << 10),
        ("max_slab", "layer 0 (linear): parameter 0.weight".into())
    );
    let long = Model::builder([5000]).layer_norm().dense(2).build();
    let (limit, what) = on(long, u64::MAX);
    assert_eq!(
        (limit, what.as_str()),
        (binding, "layer 0 (layer_norm): parameter 0.weight")
    );
    Trainer::builder(wide().unwrap()).batch(1).on(&gpu).unwrap();
}

/// The largest batch that an error speaks of.
fn told(what: &str) -> usize {
    let (_, rest) = what
        .split_once("the largest that fits is ")
        .unwrap_or_else(|| panic!("{what}"));
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap();
    rest[..end].parse().unwrap()
}

#[test]
fn a_batch_that_is_too_large_is_refused_with_the_largest_that_fits() {
    let Some(gpu) = small(64 << 10) else { return };
    let chain = || {
        let model = Model::builder([2, 8, 8]).conv2d(6, 3).relu();
        model.conv2d(3, 3).batch_norm().flatten().dense(5)
    };
    let wide = || Model::builder([7]).dense(900).relu().dense(3);
    let wide_output = || Model::builder([7]).dense(900);
    let wide_input = || Model::builder([900]).dense(3);
    let mse = Loss::mean_squared_error();
    for (model, many, layer) in [
        (chain().build(), 200, "layer 0 (conv2d): input"),
        (wide().build(), 30, "layer 0 (linear): output"),
        (wide_output().build(), 150, "model: target values"),
        (wide_input().build(), 30, "layer 0 (linear): input"),
    ] {
        let model = model.unwrap();
        let on = |batch: usize| {
            let builder = Trainer::builder(model.clone()).loss(mse.clone());
            builder.batch(batch).on(&gpu)
        };
        for batch in [many, 100_000, usize::MAX / 2] {
            let (_, what) = refused(on(batch));
            assert!(what.contains(&format!("at a batch of {batch}")), "{what}");
            assert!(what.contains("accumulate"), "{what}");
            let fits = told(&what);
            on(fits).unwrap();
            assert_eq!(told(&refused(on(fits + 1)).1), fits);
            assert!(batch > many || what.contains(layer), "{what}");
        }
        let verified = gpu.verify(&model, many).unwrap_err().to_string();
        assert!(verified.contains("the largest that fits is"), "{verified}");
    }
    let huge = Model::builder([1, 200, 200])
        .conv2d(2, 3)
        .global_avg_pool()
        .flatten()
        .dense(2);
    let huge = huge.build().unwrap();
    for batch in [1, 3] {
        let builder = Trainer::builder(huge.clone()).batch(batch);
        let (_, what) = refused(builder.on(&gpu));
        assert!(what.contains("not even one example fits"), "{what}");
    }
}

#[test]
fn a_budget_is_checked_before_anything_is_made() {
    let Some(gpu) = plain_gpu() else { return };
    // 320 GB of parameters, of which a machine could not hold a copy.
    let mut model = Model::builder([200_000]);
    for _ in 0..40 {
        model = model.dense(5_000).dense(200_000);
    }
    let builder = Trainer::builder(model.build().unwrap()).batch(1);
    let builder = builder.loss(Loss::mean_squared_error());
    let refused = builder.memory_budget(1 << 30).on(gpu).unwrap_err();
    let Error::OutOfMemory {
        needed, available, ..
    } = refused
    else {
        panic!("{refused}");
    };
    assert!(needed > 320 << 30 && available == Some(1 << 30), "{needed}");
}

/// Asks for the test of the dense layers that most of AlexNet's and VGG's weights are in: gigabytes, and
/// minutes on a software adapter.
const LARGE: &str = "WGPU_CNN_TEST_LARGE";

#[test]
fn the_first_dense_layers_of_alexnet_and_vgg_train_within_default_limits() {
    if std::env::var(LARGE).is_err() || plain_gpu().is_none() {
        return;
    }
    let limits = wgpu::Limits::default();
    let gpu = Gpu::builder().limits(limits).build().unwrap();
    for (name, features) in [("AlexNet", 9_216), ("VGG", 25_088)] {
        let model = Model::builder([features]).dense(4_096).relu().dense(10);
        let builder = Trainer::builder(model.build().unwrap()).batch(4);
        let builder = builder.optimizer(Optimizer::sgd(1e-4));
        let mut rng = random(1);
        let (x, y) = (uniform(&mut rng, 4 * features), labels(&mut rng, 4, 10));
        let mut cpu = builder.clone().on_cpu().unwrap();
        let begin = std::time::Instant::now();
        let mut trainer = builder.on(&gpu).unwrap();
        println!("{name}: {:.1?} to make", begin.elapsed());
        println!("{}", trainer.memory().unwrap());
        for step in 1..=2 {
            let begin = std::time::Instant::now();
            trainer.step(&x, &y[..]).unwrap();
            let loss = trainer.loss().unwrap();
            println!("{:.1?}: step {step}, loss {loss}", begin.elapsed());
            cpu.step(&x, &y[..]).unwrap();
            near(&[loss], &[cpu.loss().unwrap()]);
            for parameter in ["0.weight", "0.bias", "2.weight"] {
                let [got, expected] = [&trainer, &cpu].map(|t| t.gradient(parameter).unwrap());
                near(&got, &expected);
                let [got, expected] = [&trainer, &cpu].map(|t| t.parameter(parameter).unwrap());
                near(&got, &expected);
            }
        }
    }
}

/// The networks whole, in the order of torchvision: that there is a plan for them.
#[test]
fn alexnet_and_vgg_have_a_plan_within_default_limits() {
    if plain_gpu().is_none() {
        return;
    }
    let limits = wgpu::Limits::default();
    let gpu = device(Gpu::builder().limits(limits)).unwrap();
    let conv =
        |channels, kernel: usize, padding: usize| Conv2d::new(channels, kernel).padding(padding);
    let head = |b: ModelBuilder| {
        let b = b.flatten().dropout(0.5).dense(4096).relu();
        b.dropout(0.5).dense(4096).relu().dense(1000)
    };
    let pool = |b: ModelBuilder| b.push(MaxPool2d::new(3).stride(2));
    let alexnet = Model::builder([3, 224, 224]).push(conv(64, 11, 2).stride(4));
    let alexnet = pool(pool(alexnet.relu()).push(conv(192, 5, 2)).relu());
    let alexnet = alexnet.push(conv(384, 3, 1)).relu().push(conv(256, 3, 1));
    let alexnet = pool(alexnet.relu().push(conv(256, 3, 1)).relu());
    let mut vgg = Model::builder([3, 224, 224]);
    for (layers, channels) in [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)] {
        vgg = (0..layers).fold(vgg, |b, _| b.push(conv(channels, 3, 1)).relu());
        vgg = vgg.max_pool2d(2);
    }
    for (name, body, count) in [("AlexNet", alexnet, 61_100_840), ("VGG", vgg, 138_357_544)] {
        let model = head(body).build().unwrap();
        assert_eq!(model.parameter_count(), count, "{name}");
        for half in [false, true]
            .into_iter()
            .filter(|half| !half || gpu.has_half_precision())
        {
            let builder = Trainer::builder(model.clone()).batch(8);
            let memory = builder.half_precision(half).memory(&gpu).unwrap();
            assert!(memory.gradients >= 4 * count as u64, "{name}: {memory}");
        }
    }
}

/// Within 1e-4 of the largest.
#[track_caller]
fn near(got: &[f32], expected: &[f32]) {
    let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let expected = Expected {
        values: expected.iter().map(|&value| value.into()).collect(),
        tolerances: vec![1e-4 * f64::from(largest); expected.len()],
    };
    expected.assert("within 1e-4 of the largest", got);
}
