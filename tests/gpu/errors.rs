//! Every error is the right one, says what is wrong, and leaves everything as it was.

use wgpu_cnn::{
    Activation, BatchNorm, Conv2d, Gpu, LayerNorm, Loss, MaxPool2d, Model, Optimizer, Target,
    Tensor, Trainer, ops, wgpu,
};

use crate::common::{assert_error, bits, plain_gpu, poisoned_gpus, random, state, tensor, uniform};

fn model() -> Model {
    Model::builder([1, 6, 6])
        .conv2d(4, 3)
        .relu()
        .flatten()
        .dense(3)
        .build()
        .unwrap()
}

fn trainer(gpu: &Gpu) -> Trainer {
    Trainer::builder(model()).batch(4).seed(9).on(gpu).unwrap()
}

#[test]
fn a_refused_step_changes_nothing() {
    let nothing: &[f32] = &[];
    for (device, gpu) in poisoned_gpus() {
        let (mut spared, mut tried) = (trainer(gpu), trainer(gpu));
        assert_error(tried.loss(), "argument", &["loss", "no step"]);
        assert_error(
            tried.gradient("0.weight"),
            "argument",
            &["gradient", "no step"],
        );
        let mut rng = random(41);
        for _ in 0..3 {
            let x = uniform(&mut rng, 4 * 36);
            let y = [0u8, 2, 1, 0];
            assert_error(
                tried.step(&x[1..], &y),
                "shape",
                &["input", "[1, 6, 6]", "143"],
            );
            assert_error(tried.step(nothing, &y), "shape", &["input"]);
            let five = [&x[..], &x[..36]].concat();
            assert_error(tried.step(&five, &[0u8; 5]), "shape", &["at most 4", "5"]);
            assert_error(
                tried.step(&x, &y[1..]),
                "shape",
                &["labels", "4 labels", "3"],
            );
            assert_error(
                tried.step(&x, &[0u8, 1, 2, 3]),
                "argument",
                &["labels[3]", "class 3 of 3"],
            );
            assert_error(
                tried.step(&x, &[0i32, -1, 2, 1]),
                "argument",
                &["labels[1]"],
            );
            assert_error(
                tried.step(&x, &[0.5f32; 11]),
                "shape",
                &["4 rows of 3", "11"],
            );
            assert_error(tried.predict(&x[1..]), "shape", &["input", "143"]);
            assert_error(tried.predict(nothing), "shape", &["input"]);
            assert_error(
                tried.set_learning_rate(f64::NAN),
                "argument",
                &["learning rate", "NaN"],
            );
            assert_error(
                tried.set_learning_rate(-1.0),
                "argument",
                &["learning rate", "-1"],
            );
            assert_error(
                tried.parameter("1.weight"),
                "argument",
                &["1.weight", "0.weight", "3.bias"],
            );
            assert_error(tried.gradient("bias"), "argument", &["\"bias\"", "3.bias"]);
            assert_error(
                tried.set_parameter("3.bias", &[1.0; 2]),
                "shape",
                &["3.bias", "[3]", "2"],
            );
            assert_error(
                tried.set_parameter("nothing", &[1.0; 2]),
                "argument",
                &["nothing"],
            );
            for trainer in [&mut spared, &mut tried] {
                trainer.step(&x, &y).unwrap();
            }
            assert_eq!(spared.loss().unwrap(), tried.loss().unwrap(), "{device}");
        }
        assert_eq!(state(&spared), state(&tried), "{device}");
        let gradient = |trainer: &Trainer| bits(&trainer.gradient("0.weight").unwrap());
        assert_eq!(gradient(&spared), gradient(&tried), "{device}");
    }
}

#[test]
fn an_error_from_outside_refuses_a_call_and_no_more() {
    if plain_gpu().is_none() {
        return;
    }
    let gpu = Gpu::new().unwrap();
    let (mut spared, mut tried) = (trainer(&gpu), trainer(&gpu));
    let (x, y) = (uniform(&mut random(43), 4 * 36), [0u8, 2, 1, 0]);
    for _ in 0..6 {
        // An error that no scope catches, of the program's own use of the device.
        let _ = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE,
            mapped_at_creation: false,
        });
        assert_error(tried.step(&x, &y), "other", &["Usage"]);
        for trainer in [&mut spared, &mut tried] {
            trainer.step(&x, &y).unwrap();
        }
    }
    assert_eq!(state(&spared), state(&tried));
}

#[test]
fn a_trainer_that_cannot_be_is_refused() {
    let Some(gpu) = plain_gpu() else { return };
    let with = |optimizer: Optimizer| Trainer::builder(model()).optimizer(optimizer).on(gpu);
    assert_error(
        with(Optimizer::sgd(f64::NAN).into()),
        "argument",
        &["learning rate", "NaN"],
    );
    assert_error(
        with(Optimizer::adam(f64::INFINITY).into()),
        "argument",
        &["learning rate"],
    );
    assert_error(
        with(Optimizer::adam(1e300).into()),
        "argument",
        &["learning rate", "32 bits"],
    );
    for norm in [1e-320, 1e300, f64::NAN] {
        let clipped = Trainer::builder(model()).clip_norm(norm);
        assert_error(clipped.clone().on(gpu), "argument", &["clip_norm"]);
        assert_error(clipped.on_cpu(), "argument", &["clip_norm"]);
    }
    assert_error(
        with(Optimizer::sgd(0.1).momentum(-0.5).into()),
        "argument",
        &["momentum", "-0.5"],
    );
    assert_error(
        Trainer::builder(model()).batch(0).on(gpu),
        "argument",
        &["batch", "zero"],
    );
    assert_error(
        Trainer::builder(model()).batch(0).memory(gpu),
        "argument",
        &["batch", "zero"],
    );
    assert_error(
        Trainer::builder(model()).in_flight(0).on(gpu),
        "argument",
        &["in_flight"],
    );
    let batch = usize::MAX / 8;
    assert_error(
        Trainer::builder(model()).batch(batch).on(gpu),
        "limit",
        &["model: input", "the largest that fits is"],
    );
    let nothing = Model::builder([4]).relu().build().unwrap();
    assert_error(
        Trainer::builder(nothing).on(gpu),
        "argument",
        &["nothing to learn"],
    );
    let image = Model::builder([1, 6, 6]).conv2d(4, 3).build().unwrap();
    let weighted = Loss::cross_entropy().class_weights([1.0; 3]);
    assert_error(
        Trainer::builder(image).loss(weighted).on(gpu),
        "shape",
        &["cross-entropy", "4 class weights"],
    );
    let loss = Loss::mean_squared_error();
    let mut squared = Trainer::builder(model())
        .batch(1)
        .loss(loss)
        .on(gpu)
        .unwrap();
    assert_error(
        squared.step(&[0.0; 36], &[1u8]),
        "argument",
        &["values, not labels"],
    );
}

#[test]
fn shapes_are_refused_where_the_model_is_built() {
    let build = |layer: Conv2d| Model::builder([2, 5, 5]).relu().push(layer).build();
    let layer = "layer 1 (conv2d)";
    assert_error(
        build(Conv2d::new(3, 7)),
        "shape",
        &[layer, "at least 7x7", "5x5"],
    );
    assert_error(
        build(Conv2d::new(3, 3).groups(2)),
        "shape",
        &[layer, "2 groups", "2 and 3"],
    );
    assert_error(build(Conv2d::new(0, 3)), "argument", &[layer, "zero"]);
    assert_error(
        build(Conv2d::new(3, 3).stride(0)),
        "argument",
        &[layer, "zero"],
    );
    let pool = Model::builder([2, 5, 5])
        .push(MaxPool2d::new(2).padding(2))
        .build();
    assert_error(pool, "argument", &["layer 0 (max_pool2d)", "half"]);
    assert_error(
        Model::builder([2, 5]).flatten().conv2d(1, 1).build(),
        "shape",
        &[layer],
    );
}

#[test]
fn single_operations_refuse_what_does_not_fit() {
    for (_, gpu) in poisoned_gpus() {
        assert_error(
            Tensor::from_slice(gpu, [2, 2], &[1.0; 3]),
            "shape",
            &["[2, 2]", "3"],
        );
        assert_error(
            Tensor::<f32>::from_slice(gpu, [0], &[]),
            "shape",
            &["above zero"],
        );
        let of = |shape: &[usize]| tensor(gpu, shape, &vec![1.0; shape.iter().product()]);
        let (x, w) = (of(&[1, 2, 5, 5]), of(&[3, 2, 3, 3]));
        let layer = Conv2d::new(3, 3);
        let wrong = ops::conv2d_forward(&x, &of(&[3, 1, 3, 3]), None, &layer);
        assert_error(wrong, "shape", &["weight", "[3, 2, 3, 3]", "[3, 1, 3, 3]"]);
        let wrong = ops::conv2d_forward(&x, &w, Some(&of(&[2])), &layer);
        assert_error(wrong, "shape", &["bias", "[3]", "[2]"]);
        let wrong = ops::conv2d_backward_weight(&x, &of(&[1, 3, 5, 5]), &layer);
        assert_error(wrong, "shape", &["output gradient", "[1, 3, 3, 3]"]);
        let wrong = ops::conv2d_backward_input(&of(&[1, 3, 3, 3]), &w, [1, 3, 5, 5], &layer);
        assert_error(wrong, "shape", &["weight"]);
        assert_error(
            ops::conv2d_forward(&of(&[5]), &w, None, &layer),
            "shape",
            &["conv2d"],
        );
        assert_error(
            ops::matmul(&x, false, &w, false),
            "shape",
            &["matmul a", "matrix"],
        );
        let (a, b) = (of(&[2, 3]), of(&[2, 3]));
        assert_error(ops::matmul(&a, false, &b, false), "shape", &["3 rows", "2"]);
        let wrong = ops::activation_backward(Activation::Relu, &a, &a, &of(&[6]));
        assert_error(wrong, "shape", &["output gradient"]);
        assert_error(ops::bias_gradient(&of(&[3])), "shape", &["(N, C, ...)"]);
        let labels = Target::Labels(vec![0, 3]);
        assert_error(
            ops::loss(&a, labels, Loss::default()),
            "argument",
            &["labels[1]"],
        );
        for slope in [f32::NAN, f32::INFINITY, -1.0] {
            let leaky = Activation::LeakyRelu { slope };
            assert_error(ops::activation_forward(&a, leaky), "argument", &["slope"]);
            let gradient = ops::activation_backward(leaky, &a, &a, &a);
            assert_error(gradient, "argument", &["slope"]);
        }
        let row = of(&[3]);
        for epsilon in [f64::NAN, f64::INFINITY, 1e300, -1.0] {
            let layer = LayerNorm::new().epsilon(epsilon);
            let normalised = ops::layer_norm_forward(&a, [&row, &row], &layer);
            assert_error(normalised, "argument", &["layer_norm epsilon"]);
            let layer = BatchNorm::new().epsilon(epsilon);
            let normalised = ops::batch_norm_forward(&a, [&row, &row], [&row, &row], &layer);
            assert_error(normalised, "argument", &["batch_norm epsilon"]);
        }
        let rate = ops::optimizer_update(Optimizer::sgd(1e300), 1, &a, &a, &[]);
        assert_error(rate, "argument", &["learning rate"]);
        let sum = ops::matmul(&a, false, &b, true).unwrap().to_vec().unwrap();
        assert_eq!(sum, [3.0; 4]); // the device works as before
    }
}

#[test]
fn an_adapter_that_is_not_there_is_named_beside_those_that_are() {
    let Some(gpu) = plain_gpu() else { return };
    let none = Gpu::builder().adapter("no such adapter").build();
    assert_error(none, "no adapter", &["no such adapter", &gpu.info().name]);
    let upper = gpu.info().name.to_uppercase();
    assert_eq!(
        Gpu::builder().adapter(upper).build().unwrap().info().name,
        gpu.info().name
    );
}

#[test]
fn limits_that_the_adapter_does_not_have_are_named() {
    let Some(gpu) = plain_gpu() else { return };
    let limits = wgpu::Limits {
        max_bind_groups: 1 << 30,
        ..gpu.limits().clone()
    };
    let refused = Gpu::builder().limits(limits).build();
    assert_error(
        refused,
        "limit",
        &["max_bind_groups", &(1u32 << 30).to_string()],
    );
}

#[test]
fn tensors_beyond_the_limits_name_the_layer_and_the_limit() {
    let Some(gpu) = plain_gpu() else { return };
    let small = wgpu::Limits {
        max_storage_buffer_binding_size: 64 << 10,
        max_buffer_size: 128 << 10,
        ..gpu.limits().clone()
    };
    let gpu = Gpu::builder().limits(small).build().unwrap();
    let on = |batch: usize, model: Model| Trainer::builder(model).batch(batch).on(&gpu);
    let words = ["max_storage_buffer_binding_size", "65536"];
    assert_error(
        on(1000, model()),
        "limit",
        &["max_buffer_size", "131072", "model: input", "1000"],
    );
    assert_error(
        on(300, model()),
        "limit",
        &[words[0], words[1], "layer 0 (conv2d)", "300"],
    );
    let data = vec![0.0f32; 40_000];
    assert_error(
        Tensor::from_slice(&gpu, [40_000], &data),
        "limit",
        &["max_buffer_size"],
    );
    let long = tensor(&gpu, [20_000], &data[..20_000]);
    let words = [words[0], words[1], "add: left needs"];
    assert_error(ops::add(&long, &long), "limit", &words);
    // What fits works.
    let mut trainer = on(4, model()).unwrap();
    trainer.step(&[0.5; 4 * 36], &[0u8, 1, 2, 0]).unwrap();
    assert!(trainer.loss().unwrap() > 0.0);
}
