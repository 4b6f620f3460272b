//! What a trainer's calls mean, on GPUs and on the CPU alike.

use wgpu_cnn::{
    CrossEntropy, Loss, Model, Optimizer, Reduction, Target, Trainer, TrainerBuilder, engine,
};

use crate::common::{assert_error, poisoned_gpus, random, uniform};

/// The trainer on GPUs with and without subgroups, and on the CPU.
pub fn everywhere(builder: &TrainerBuilder) -> Vec<(&'static str, Trainer)> {
    let gpus = poisoned_gpus().map(|(device, gpu)| (device, builder.clone().on(gpu).unwrap()));
    let cpu = ("cpu", builder.clone().on_cpu().unwrap());
    gpus.chain([cpu]).collect()
}

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean];

fn rows(loss: CrossEntropy) -> TrainerBuilder {
    let model = Model::builder([2]).dense(3).build().unwrap();
    Trainer::builder(model).batch(4).loss(loss)
}

const X: [f32; 8] = [0.5, -1.0, 2.0, 0.25, -0.75, 1.5, 1.0, -2.0];

#[test]
fn a_label_out_of_range_is_refused_as_it_was_given() {
    let ignoring = rows(Loss::cross_entropy().ignored_label(-1));
    for (device, mut trainer) in everywhere(&ignoring) {
        let mut refused = |target: Target, at: usize, label: &str| {
            let words = [&*format!("labels[{at}]"), &*format!("class {label} of 3")];
            assert_error(trainer.step(&X, target), "argument", &words);
        };
        refused([0i64, 1, 1 << 40, i64::MIN].into(), 2, "1099511627776");
        refused([0i64, 1, 2, i64::MIN].into(), 3, "-9223372036854775808");
        refused([0, u32::MAX, 2, 1].into(), 1, "4294967295");
        refused([0, u64::MAX, 2, 1].into(), 1, "18446744073709551615");
        refused([0i64, 1, 0xffff_ffff, 0].into(), 2, "4294967295");
        refused([0, -1, -2, 1i8].into(), 2, "-2");
        assert_error(trainer.loss(), "argument", &["no step"]);
        trainer.step(&X, [0i64, -1, 2, 1]).unwrap();
        assert!(trainer.loss().unwrap() > 0.0, "{device}");
    }
    for (_, mut trainer) in everywhere(&rows(Loss::cross_entropy())) {
        let words = ["labels[1]", "class -1 of 3"];
        assert_error(trainer.step(&X, [0i32, -1, 2, 1]), "argument", &words);
    }
}

/// Whatever number is ignored, a batch with such labels is the batch without them.
#[test]
fn any_label_can_be_the_ignored_one() {
    for ignored in [i64::MIN, -100, -1, 0, 2, 255, 1 << 32, i64::MAX] {
        let counted = if ignored == 0 { 1u8 } else { 0 };
        let ignoring = rows(Loss::cross_entropy().ignored_label(ignored));
        for (device, mut some) in everywhere(&ignoring) {
            let mut all = rows(Loss::cross_entropy()).on_cpu().unwrap();
            all.step(&X[..2], [counted]).unwrap();
            let labels = [i64::from(counted), ignored, ignored];
            some.step(&X[..6], labels.to_vec()).unwrap();
            let [a, b] = [&some, &all].map(|trainer| trainer.loss().unwrap());
            assert!((a - b).abs() < 1e-6, "{device}, {ignored}: {a} and {b}");
            let [a, b] = [&some, &all].map(|trainer| trainer.gradient("0.weight").unwrap());
            let off = a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-6);
            assert!(!off, "{device}, {ignored}: {a:?} and {b:?}");
        }
    }
}

/// `y = x` at first, with `x^2` as the loss of an example.
fn squares(reduction: Reduction, rate: f64, accumulate: usize) -> Vec<(&'static str, Trainer)> {
    let model = Model::builder([1]).dense(1).build().unwrap();
    let builder = Trainer::builder(model)
        .batch(2)
        .accumulate(accumulate)
        .loss(Loss::mean_squared_error().reduction(reduction))
        .optimizer(Optimizer::sgd(rate));
    let mut trainers = everywhere(&builder);
    for (_, trainer) in &mut trainers {
        trainer.set_parameter("0.weight", &[1.0]).unwrap();
        trainer.set_parameter("0.bias", &[0.0]).unwrap();
    }
    trainers
}

#[test]
fn the_loss_is_the_last_steps() {
    for accumulate in [1, 2, 3, 5, 9] {
        for (device, mut trainer) in squares(Reduction::Mean, 0.0, accumulate) {
            for x in 1..6u8 {
                let loss = f32::from(x * x);
                trainer.step(&[f32::from(x)], [0.0]).unwrap();
                assert_eq!(trainer.loss().unwrap(), loss, "{device}, {accumulate}");
                trainer.predict(&[9.0, 9.0, 9.0]).unwrap();
                assert_eq!(trainer.loss().unwrap(), loss, "{device}, {accumulate}");
            }
            trainer.update().unwrap();
            assert_eq!(trainer.loss().unwrap(), 25.0, "{device}, {accumulate}");
        }
    }
    // Before the update that the step makes; of a partial batch, over the examples that are there.
    for reduction in REDUCTIONS {
        for (device, mut trainer) in squares(reduction, 0.125, 2) {
            let mut losses = Vec::new();
            for x in [&[1.0, 3.0][..], &[2.0], &[4.0], &[1.0, 1.0]] {
                trainer.step(x, vec![0.0; x.len()]).unwrap();
                losses.push(trainer.loss().unwrap());
            }
            let (w, b) = match reduction {
                // Gradients 2 (1 + 9 + 4) / 3 and 2 (1 + 3 + 2) / 3.
                Reduction::Mean | Reduction::BatchMean => {
                    (1.0f32 - 0.125 * 28.0 / 3.0, -0.125 * 4.0f32)
                }
                Reduction::Sum => (1.0 - 0.125 * 28.0, -0.125 * 12.0),
            };
            let square = |x: f32| (w * x + b) * (w * x + b);
            let expected = match reduction {
                Reduction::Mean | Reduction::BatchMean => [5.0, 4.0, square(4.0), square(1.0)],
                Reduction::Sum => [10.0, 4.0, square(4.0), 2.0 * square(1.0)],
            };
            for (got, expected) in losses.iter().zip(expected) {
                assert!(
                    (got - expected).abs() < 1e-5 * expected,
                    "{device}: {losses:?}"
                );
            }
        }
    }
}

#[test]
fn the_loss_of_ignored_rows_is_pytorchs() {
    for reduction in REDUCTIONS {
        let loss = Loss::cross_entropy().ignored_label(-100);
        let builder = rows(loss.reduction(reduction)).accumulate(3);
        for (device, mut trainer) in everywhere(&builder) {
            trainer.set_parameter("0.weight", &[0.0; 6]).unwrap();
            trainer.step(&X, [0i8, -100, -100, 1]).unwrap();
            let expected = match reduction {
                Reduction::Mean => 3.0f32.ln(),
                Reduction::Sum => 2.0 * 3.0f32.ln(),
                Reduction::BatchMean => 0.5 * 3.0f32.ln(),
            };
            assert!(
                (trainer.loss().unwrap() - expected).abs() < 1e-6,
                "{device}"
            );
            trainer.step(&X[..4], [-100i8, -100]).unwrap();
            match reduction {
                Reduction::Mean => assert!(trainer.loss().unwrap().is_nan(), "{device}"),
                Reduction::Sum | Reduction::BatchMean => {
                    assert_eq!(trainer.loss().unwrap(), 0.0, "{device}");
                }
            }
            // What counts of the group is what it was.
            let gradient = trainer.gradient("0.bias").unwrap();
            assert!(gradient.iter().all(|value| value.is_finite()), "{device}");
            assert!(gradient[0] < 0.0, "{device}: {gradient:?}");
        }
    }
}

#[test]
fn a_gradient_is_of_a_learned_parameter_and_of_a_step() {
    let model = Model::builder([2]).dense(4).batch_norm().dense(3);
    let builder = Trainer::builder(model.build().unwrap()).batch(4);
    for (_, mut trainer) in everywhere(&builder) {
        let nothing = ["gradient", "no step"];
        assert_error(trainer.gradient("0.weight"), "argument", &nothing);
        assert_error(trainer.loss(), "argument", &["loss", "no step"]);
        trainer.update().unwrap();
        trainer.predict(&X).unwrap();
        assert!(trainer.step(&X, [9u8; 4]).is_err());
        assert_error(trainer.gradient("2.bias"), "argument", &nothing);
        let statistic = ["\"1.running_var\"", "statistic"];
        assert_error(trainer.gradient("1.running_var"), "argument", &statistic);
        trainer.step(&X, [0u8, 1, 2, 0]).unwrap();
        assert_eq!(trainer.gradient("2.bias").unwrap().len(), 3);
        assert_error(trainer.gradient("1.running_var"), "argument", &statistic);
        assert_error(trainer.gradient("3.bias"), "argument", &["\"3.bias\""]);
    }
}

#[test]
fn options_that_the_cpu_cannot_keep_are_refused_there() {
    let file = std::env::temp_dir().join("wgpu-cnn-no-such-folder/choices.json");
    let refused = |builder: TrainerBuilder, option: &str| {
        assert_error(builder.on_cpu(), "argument", &[option, "for GPUs"]);
    };
    let plain = || rows(Loss::cross_entropy());
    refused(plain().memory_budget(1 << 40), "memory_budget");
    refused(plain().memory_budget(0), "memory_budget");
    refused(plain().half_precision(true), "half_precision");
    refused(plain().autotune_file(&file), "autotune_file");
    assert_error(plain().in_flight(0).on_cpu(), "argument", &["in_flight"]);
    // These say how a GPU goes about it, and change nothing.
    let mut losses = Vec::new();
    for builder in [
        plain(),
        plain().memory_budget(u64::MAX).half_precision(false),
        plain().max_slab(4).in_flight(1).autotune(true),
        plain().autotune_file(file).autotune(false),
    ] {
        let mut trainer = builder.on_cpu().unwrap();
        trainer.step(&X, [0u8, 1, 2, 0]).unwrap();
        trainer.step(&X, [0u8, 1, 2, 0]).unwrap();
        losses.push(trainer.loss().unwrap());
    }
    assert!(losses.iter().all(|loss| *loss == losses[0]), "{losses:?}");
}

#[test]
fn a_trainer_is_refused_alike_on_gpu_and_cpu() {
    let plain = || rows(Loss::cross_entropy());
    let image = Model::builder([1, 6, 6]).conv2d(4, 3).build().unwrap();
    let nothing = Model::builder([4]).relu().build().unwrap();
    let missing = std::env::temp_dir().join("wgpu-cnn-no-such-file");
    let builders = [
        plain().batch(0),
        plain().in_flight(0),
        plain().in_flight(65),
        plain().accumulate(0),
        plain().clip_norm(f64::NAN),
        plain().clip_norm(0.0),
        plain().optimizer(Optimizer::sgd(-1.0)),
        plain().optimizer(Optimizer::adam(f64::NAN)),
        plain().optimizer(Optimizer::adam(0.1).betas([0.9, 1.0])),
        plain().loss(Loss::cross_entropy().label_smoothing(1.5)),
        plain().loss(Loss::cross_entropy().class_weights([1.0; 4])),
        plain().loss(Loss::cross_entropy().class_weights([1.0, -1.0, 1.0])),
        plain().weights(&missing),
        Trainer::builder(image).loss(Loss::binary_cross_entropy().positive_weights([3], [1.0; 3])),
        Trainer::builder(nothing),
        // Several at once: the first one to be told is the same.
        plain().weights(&missing).clip_norm(-1.0).accumulate(0),
        plain().batch(0).optimizer(Optimizer::sgd(-1.0)),
    ];
    for (at, builder) in builders.iter().enumerate() {
        let on_cpu = builder.clone().on_cpu().map(drop).unwrap_err();
        for (device, gpu) in poisoned_gpus() {
            let on_gpu = builder.clone().on(gpu).map(drop).unwrap_err();
            assert_eq!(on_gpu, on_cpu, "{device}, builder {at}");
        }
    }
}

#[test]
fn a_prediction_of_any_length_is_that_of_its_examples() {
    for (device, mut trainer) in everywhere(&rows(Loss::cross_entropy())) {
        let x = uniform(&mut random(72), 2 * 19);
        let whole = trainer.predict(&x).unwrap();
        assert_eq!(whole.len(), 3 * 19);
        for (row, x) in whole.chunks(3).zip(x.chunks(2)) {
            for (a, b) in row.iter().zip(trainer.predict(x).unwrap()) {
                assert!((a - b).abs() < 1e-6, "{device}: {a} and {b}");
            }
        }
        assert_error(trainer.predict(&x[1..]), "shape", &["input", "37"]);
    }
}

#[test]
fn a_question_to_the_reference_changes_nothing() {
    let model = Model::builder([1, 5, 5]).conv2d(3, 3).batch_norm().relu();
    let model = model.dropout(0.3).flatten().dense(3).build().unwrap();
    let optimizer = Optimizer::sgd(0.1).momentum(0.9);
    let new = || engine::Reference::<f32>::new(&model, Loss::default(), optimizer, 3).unwrap();
    let [mut asked, mut left] = [new(), new()];
    for reference in [&mut asked, &mut left] {
        reference.set_accumulate(2).unwrap();
        let error = reference.gradient("0.weight").map(<[f32]>::len);
        assert_error(error, "argument", &["no step"]);
    }
    let mut rng = random(71);
    for _ in 0..4 {
        let (x, labels) = (uniform(&mut rng, 4 * 25), Target::from([0u8, 1, 2, 0]));
        let other = uniform(&mut rng, 3 * 25);
        let target = Target::from([2u8, 2, 1]);
        let loss = asked.loss_and_gradients(&other, &target).unwrap();
        let (again, gx) = asked.loss_and_input_gradient(&other, &target).unwrap();
        assert_eq!((loss, gx.len()), (again, other.len()));
        asked.loss(&other, &target).unwrap();
        asked.forward(&other).unwrap();
        assert_eq!(asked.parameters(), left.parameters());
        let losses = [&mut asked, &mut left].map(|r| r.step(&x, &labels).unwrap());
        assert_eq!(losses[0], losses[1]);
        assert_eq!(asked.gradient("0.weight"), left.gradient("0.weight"));
        assert_eq!(asked.parameters(), left.parameters());
    }
    assert_eq!((asked.steps(), asked.updates()), (4, 2));
}
