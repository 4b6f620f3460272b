//! Values and gradients inside a model: GPU against CPU, the CPU against finite differences and against the
//! reference's own input gradient, in either mode.

use wgpu_cnn::engine::Reference;
use wgpu_cnn::engine::catalogue::models;
use wgpu_cnn::{Gpu, Looked, Loss, Losses, Model, Optimizer, Probe, ProbeBuilder, Target, Trainer};

use crate::common::{
    assert_error, bits, each_core, plain_gpu, poisoned_gpus, random, state, uniform, wide,
};

/// Names of everything that a model has.
fn names(model: &Model) -> Vec<String> {
    let table = model.to_string();
    let rows = table.lines().skip(1).filter(|row| !row.starts_with(' '));
    let names = rows.map(|row| row.split_whitespace().next().unwrap().to_string());
    let mut names: Vec<String> = names.filter(|name| name != "total").collect();
    names.push("input".into());
    names
}

fn assert_close(name: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let largest = expected
        .iter()
        .fold(1e-3f32, |most, value| most.max(value.abs()));
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let apart = (got - expected).abs();
        assert!(
            apart <= tolerance * largest,
            "{name} at {at}: {got}, not {expected}"
        );
    }
}

fn assert_all_close(name: &str, got: &Looked, expected: &Looked) {
    assert_close(name, &[got.loss.unwrap()], &[expected.loss.unwrap()], 1e-3);
    for (got, expected) in [
        (&got.values, &expected.values),
        (&got.gradients, &expected.gradients),
    ] {
        for ((a, got), (b, expected)) in got.iter().zip(expected) {
            assert_eq!(a, b);
            assert_close(&format!("{name}, {a}"), got, expected, 2e-3);
        }
    }
}

#[test]
fn every_value_and_gradient_of_every_model_is_that_of_the_cpu_in_either_mode() {
    let devices: Vec<(&str, &Gpu)> = each_core().collect();
    for (at, case) in models().unwrap().into_iter().enumerate() {
        let names = names(&case.model);
        let mut rng = random(5);
        let x = uniform(&mut rng, case.batch * case.model.input_shape().len());
        let target = Target::Values(uniform(
            &mut rng,
            case.batch * case.model.output_shape().len(),
        ));
        for training in [false, true] {
            let builder = || -> ProbeBuilder {
                let builder = Probe::builder(case.model.clone()).loss(Loss::mean_squared_error());
                builder.batch(case.batch).training(training).seed(3)
            };
            let all = || builder().values(&names).gradients(&names);
            let mut cpu = all().on_cpu().unwrap();
            let expected = cpu.run(&x, target.clone()).unwrap();
            let (device, gpu) = devices[at % devices.len()];
            let mut probe = all().on(gpu).unwrap();
            let name = format!("{}, {device}, training {training}", case.name);
            let first = probe.run(&x, target.clone()).unwrap();
            assert_all_close(&name, &first, &expected);
            // A second look sees the same: nothing has moved.
            assert_eq!(probe.run(&x, target.clone()).unwrap(), first, "{name}");
            // What is not asked for is fused, and changes no more than the order of sums.
            let mut few = builder().gradients(["input"]).on(gpu).unwrap();
            let few = few.run(&x, target.clone()).unwrap();
            let expected = expected.gradient("input").unwrap();
            assert_close(&name, few.gradient("input").unwrap(), expected, 2e-3);
        }
    }
}

#[test]
fn gradients_of_the_input_are_those_of_the_reference_in_training_and_of_differences_in_evaluation()
{
    let model = Model::builder([2, 6, 6])
        .conv2d(3, 3)
        .batch_norm()
        .tanh()
        .dropout(0.5)
        .flatten()
        .dense(2)
        .build()
        .unwrap();
    let mut rng = random(8);
    let x = uniform(&mut rng, 3 * 72);
    let labels = [0u8, 1, 1];
    let builder = |training| {
        let builder = Probe::builder(model.clone())
            .batch(3)
            .seed(4)
            .training(training);
        builder.gradients(["input"])
    };
    let got = builder(true).on_cpu().unwrap().run(&x, &labels).unwrap();
    let adam = Optimizer::adam(0.1);
    let mut exact = Reference::<f64>::new(&model, Loss::default(), adam, 4).unwrap();
    let target = Target::from(&labels);
    let (loss, gradient) = exact.loss_and_input_gradient(&wide(&x), &target).unwrap();
    assert_close("loss", &[got.loss.unwrap()], &[loss as f32], 1e-5);
    let gradient: Vec<f32> = gradient.iter().map(|&value| value as f32).collect();
    assert_close("training", got.gradient("input").unwrap(), &gradient, 1e-4);
    let got = builder(false).on_cpu().unwrap().run(&x, &labels).unwrap();
    let differences = (0..x.len()).map(|at| {
        let at_distance = |distance: f64| {
            let mut moved = wide(&x);
            moved[at] += distance;
            exact.loss(&moved, &target).unwrap()
        };
        ((at_distance(1e-5) - at_distance(-1e-5)) / 2e-5) as f32
    });
    let differences: Vec<f32> = differences.collect();
    assert_close(
        "evaluation",
        got.gradient("input").unwrap(),
        &differences,
        1e-4,
    );
}

/// A model with a view and a dropout whose inputs others read too.
fn forked() -> Model {
    let mut net = Model::graph();
    let x = net.input([2, 3, 3]);
    let conv = net
        .add("trunk.conv", wgpu_cnn::Conv2d::new(2, 3).padding(1), [x])
        .unwrap();
    let relu = net
        .add("trunk.relu", wgpu_cnn::Activation::Relu, [conv])
        .unwrap();
    let flat = net.add("flat", wgpu_cnn::Flatten, [relu]).unwrap();
    let dropped = net
        .add("dropped", wgpu_cnn::Dropout::new(0.5), [relu])
        .unwrap();
    let other = net.add("other", wgpu_cnn::Flatten, [dropped]).unwrap();
    let left = net.add("left", wgpu_cnn::Linear::new(2), [flat]).unwrap();
    let right = net.add("right", wgpu_cnn::Linear::new(2), [other]).unwrap();
    let sum = net.add("sum", wgpu_cnn::Add, [left, right]).unwrap();
    net.build([sum]).unwrap()
}

#[test]
fn the_gradient_of_a_view_is_what_comes_by_it_and_not_by_others() {
    let Some(gpu) = plain_gpu() else { return };
    let names = ["flat", "dropped", "trunk", "trunk.conv", "other"];
    let builder = || Probe::builder(forked()).gradients(names).values(names);
    for mut probe in [builder().on(gpu).unwrap(), builder().on_cpu().unwrap()] {
        let looked = probe.run(&[0.3; 18], &[1u8]).unwrap();
        let [flat, dropped, trunk, other] =
            ["flat", "dropped", "trunk", "other"].map(|name| looked.gradient(name).unwrap());
        assert!(flat != dropped && flat.iter().any(|&g| g != 0.0));
        let sum: Vec<f32> = flat.iter().zip(dropped).map(|(a, b)| a + b).collect();
        assert_close("the trunk", trunk, &sum, 1e-6);
        assert_eq!(dropped, other);
        assert_eq!(
            looked.value("flat").unwrap(),
            looked.value("trunk").unwrap()
        );
    }
}

#[test]
fn a_gradient_of_ones_own_picks_a_class_and_leaves_the_trainer_alone() {
    let Some(gpu) = plain_gpu() else { return };
    let model = Model::builder([1, 8, 8])
        .conv2d(4, 3)
        .batch_norm()
        .relu()
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let x = uniform(&mut random(2), 2 * 64);
    let train = |builder: wgpu_cnn::TrainerBuilder, gpu: Option<&Gpu>| {
        let builder = builder.batch(2);
        let mut trainer = match gpu {
            Some(gpu) => builder.on(gpu).unwrap(),
            None => builder.on_cpu().unwrap(),
        };
        trainer.step(&x, &[0u8, 2]).unwrap();
        trainer
    };
    for gpu in [Some(gpu), None] {
        let trainer = train(Trainer::builder(model.clone()), gpu);
        let before = state(&trainer);
        for training in [true, false] {
            let builder = trainer.probe().unwrap().loss(Losses::own_first());
            let builder = builder
                .training(training)
                .values(["2"])
                .gradients(["2", "input"]);
            let mut probe = match gpu {
                Some(gpu) => builder.on(gpu).unwrap(),
                None => builder.on_cpu().unwrap(),
            };
            let class = |class: usize| {
                move |outputs: &[(String, Vec<f32>)]| {
                    assert_eq!(outputs[0].1.len(), 6);
                    let ones = (0..6).map(|at| f32::from(u8::from(at % 3 == class)));
                    vec![ones.collect()]
                }
            };
            let [first, second, again] = [0, 1, 0].map(|at| probe.run_with(&x, class(at)).unwrap());
            assert_eq!(first, again);
            assert_eq!(first.values, second.values);
            assert!(first.gradients != second.gradients);
            assert_eq!(probe.look(&x).unwrap().values, first.values);
            let wrong = probe.run_with(&x, |_| vec![vec![0.0; 5]]);
            assert_error(wrong, "shape", &["gradient"]);
            assert_error(probe.run(&x, &[0u8, 1]), "argument", &["caller's"]);
        }
        assert_eq!(state(&trainer), before);
        assert!(bits(&x) == bits(&x));
    }
}

#[test]
fn what_a_probe_cannot_see_is_an_error() {
    let Some(gpu) = plain_gpu() else { return };
    let builder = || Probe::builder(forked());
    assert_error(
        builder().values(["nothing"]).on(gpu),
        "argument",
        &["nothing"],
    );
    assert_error(builder().gradients(["tru"]).on_cpu(), "argument", &["tru"]);
    assert_error(builder().batch(0).on(gpu), "argument", &["batch"]);
    assert_error(builder().memory_budget(9).on(gpu), "memory", &[]);
    assert_error(builder().memory_budget(9).on_cpu(), "argument", &[]);
    assert_error(builder().weights("no file").on_cpu(), "file", &[]);
    let mut probe = builder().gradients(["left"]).on(gpu).unwrap();
    assert_error(probe.run(&[0.0; 36], &[0u8, 1]), "shape", &["at most 1"]);
    assert_error(probe.run(&[0.0; 18], &[7u8]), "argument", &[]);
    assert_error(probe.run_with(&[0.0; 18], |_| vec![]), "argument", &["own"]);
    assert_error(
        probe.run(&[0.0; 18], &[1u8]).unwrap().value("left"),
        "argument",
        &["left"],
    );
    let mut blind = builder().values(["left"]).on_cpu().unwrap();
    assert_error(blind.run(&[0.0; 18], &[0u8]), "argument", &["look"]);
    assert_eq!(blind.look(&[0.0; 18]).unwrap().loss, None);
}

/// Dropout's masks are a trainer's own, as its precision is and the cores that were chosen for it.
#[test]
fn a_trainers_probe_sees_what_the_trainer_computes() {
    let model = || {
        let model = Model::builder([2, 5, 5]).conv2d(4, 3).relu().flatten();
        model.dropout(0.5).dense(3).build().unwrap()
    };
    let builder = || Trainer::builder(model()).batch(4).seed(11);
    let x = uniform(&mut random(8), 4 * 50);
    let labels = [0u8, 1, 2, 1];
    let path = std::env::temp_dir().join(format!("wgpu-cnn-{}-probe.json", std::process::id()));
    let mut trainers = vec![("cpu", None, builder().on_cpu().unwrap())];
    for (device, gpu) in each_core().chain(poisoned_gpus()) {
        let plain = builder().on(gpu).unwrap();
        trainers.push((device, Some(gpu), plain));
        if gpu.has_half_precision() {
            let half = builder().half_precision(true).freeze("0.weight");
            trainers.push((device, Some(gpu), half.on(gpu).unwrap()));
        }
    }
    if let Some(gpu) = plain_gpu() {
        let tuned = builder().autotune_file(&path).on(gpu).unwrap();
        trainers.push(("tuned", Some(gpu), tuned));
    }
    for (device, gpu, mut trainer) in trainers {
        let before = trainer.probe().unwrap().training(true).gradients(["input"]);
        let after = trainer.probe().unwrap().values(["4"]);
        let on = |builder: ProbeBuilder| match gpu {
            Some(gpu) => builder.on(gpu).unwrap(),
            None => builder.on_cpu().unwrap(),
        };
        let expected = trainer.predict(&x).unwrap();
        let mut follower = on(after);
        let looked = follower.look(&x).unwrap();
        assert_eq!(
            bits(looked.value("4").unwrap()),
            bits(&expected),
            "{device}"
        );
        let looked = on(before).run(&x, &labels).unwrap();
        trainer.step(&x, &labels).unwrap();
        let (got, expected) = (looked.loss.unwrap(), trainer.loss().unwrap());
        assert_eq!(
            got.to_bits(),
            expected.to_bits(),
            "{device}: {got}, {expected}"
        );
        follower.follow(&trainer).unwrap();
        let (looked, expected) = (follower.look(&x).unwrap(), trainer.predict(&x).unwrap());
        let got = looked.value("4").unwrap();
        assert_eq!(bits(got), bits(&expected), "{device} a step later");
    }
    let mut probe = builder()
        .on_cpu()
        .unwrap()
        .probe()
        .unwrap()
        .on_cpu()
        .unwrap();
    let wider = Model::builder([2, 5, 5]).conv2d(5, 3).relu().flatten();
    let wider = wider.dropout(0.5).dense(3).build().unwrap();
    let other = Trainer::builder(wider).on_cpu().unwrap();
    assert_error(probe.follow(&other), "argument", &["follow"]);
    let _ = std::fs::remove_file(path);
    let half = Probe::builder(model()).half_precision(true);
    assert_error(half.on_cpu(), "argument", &["half_precision"]);
}
