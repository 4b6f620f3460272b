//! `Gpu::verify` on this machine's adapter, for small models that hold every operator between them:
//! with the cores for subgroups and without them, and with NaN around every buffer.

use wgpu_cnn::engine::catalogue::{ModelCase, models, pipelines};
use wgpu_cnn::{
    Conv2d, Error, Gpu, GpuBuilder, MaxPool2d, Model, Optimizer, Result, Trainer, VerifyReport,
};

use crate::common::{bits, labels, plain_gpu, poisoned_gpus, random, state, uniform};
use crate::device::device;

/// Products with the activations that become part of them.
fn plain() -> Result<Model> {
    Model::builder([1, 20, 18])
        .conv2d(6, 5)
        .relu()
        .max_pool2d(2)
        .push(
            Conv2d::new(10, [3, 4])
                .stride([1, 2])
                .padding([1, 0, 2, 1])
                .dilation([2, 1]),
        )
        .tanh()
        .push(MaxPool2d::new([2, 3]).stride([1, 2]))
        .flatten()
        .dense(33)
        .sigmoid()
        .dense(7)
        .build()
}

fn clean(builder: GpuBuilder) {
    let Some(gpu) = device(builder) else { return };
    for case in models().unwrap() {
        let report = gpu.verify(&case.model, case.batch).unwrap();
        assert!(report.passed(), "{}: {report}", case.name);
        complete(&case.model, &report);
    }
}

/// Whether a report speaks of every layer and is not empty talk.
fn complete(model: &Model, report: &VerifyReport) {
    let weights = model
        .parameters()
        .filter(|(name, _)| name.ends_with("weight"));
    let checks = report.checks.iter();
    let of_weights = checks.filter(|check| check.result == "weight gradient");
    let checked: usize = of_weights.map(|check| 1 + check.repeats).sum();
    assert_eq!(checked, weights.count(), "{report}");
    assert!(report.checks.iter().any(|check| check.exact));
    assert!(report.checks.iter().any(|check| check.worst > 0.0));
    assert_eq!(report.failed_kernels(), 0);
    assert!(report.kernels() > 30);
}

/// On buffers as programs have them; the others lie among NaN.
#[test]
fn every_operator_is_clean_without_subgroups() {
    clean(Gpu::builder().allow_subgroups(false));
}

#[test]
fn every_operator_is_clean_by_winograds_algorithm_on_subgroups() {
    clean_by(
        ["winograd-subgroup", "winograd-tiled"],
        "conv2d_winograd",
        0,
    );
}

#[test]
fn every_operator_is_clean_by_winograds_algorithm_on_tiles() {
    clean_by(["winograd-tiled"; 2], "conv2d_winograd", 1);
}

#[test]
fn every_operator_is_clean_by_fourier_transforms() {
    clean_by(["fft"; 2], "conv2d_fft", 2);
}

/// The models that have convolutions for a core, in halves too: every third one, another third on each core, since
/// they take minutes to compile; all of them with `WGPU_CNN_ALL_CORES=1`. A plan without a device finds them by
/// the second core.
fn clean_by([core, planned]: [&str; 2], kernels_begin: &str, third: usize) {
    let served = |case: &ModelCase| {
        let optimizer = Optimizer::sgd(0.1).into();
        let (model, loss, batch) = (&case.model, &case.loss, case.batch);
        let kernels = pipelines(model, loss, &optimizer, batch, false, Some(planned), false);
        let mut kernels = kernels.unwrap().into_iter();
        kernels.any(|pipeline| pipeline.kernel.starts_with(kernels_begin))
    };
    let learning = models().unwrap().into_iter();
    let learning = learning.filter(|case| case.model.parameter_count() > 0);
    let cases: Vec<ModelCase> = learning.filter(served).collect();
    assert!(cases.len() > 2);
    let Some(gpu) = device(Gpu::builder().poison(true).prefer_core(core)) else {
        return;
    };
    let all = std::env::var_os("WGPU_CNN_ALL_CORES").is_some();
    let asked = cases
        .iter()
        .enumerate()
        .filter(|(at, _)| all || at % 3 == third);
    for (_, case) in asked {
        let report = gpu.verify(&case.model, case.batch).unwrap();
        assert!(report.passed(), "{} on {core}: {report}", case.name);
        if !gpu.has_half_precision() {
            continue;
        }
        let builder = Trainer::builder(case.model.clone())
            .batch(case.batch)
            .loss(case.loss.clone())
            .optimizer(Optimizer::sgd(0.1))
            .half_precision(true);
        let report = builder.on(&gpu).unwrap().verify().unwrap();
        let name = case.name;
        assert!(report.passed(), "{name} in halves on {core}: {report}");
    }
}

#[test]
fn every_operator_is_clean_among_nan() {
    clean(Gpu::builder().poison(true));
}

#[test]
fn equal_layers_are_checked_once() {
    let Some(gpu) = plain_gpu() else { return };
    let block = |b: wgpu_cnn::ModelBuilder| b.push(Conv2d::new(4, 3).padding(1)).relu();
    let model = block(block(block(Model::builder([4, 6, 6]))))
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let report = gpu.verify(&model, 2).unwrap();
    let of = |layer: &str| {
        report
            .checks
            .iter()
            .filter(|c| c.layer.starts_with(layer))
            .count()
    };
    // The first computes no input gradient, and the second stands for the third.
    assert_eq!([of("layer 0"), of("layer 2"), of("layer 4")], [4, 5, 0]);
    assert_eq!(report.checks[4].repeats, 1);
    assert!(
        report
            .to_string()
            .contains("layer 2 (conv2d) + relu and 1 more")
    );
}

#[test]
fn what_cannot_be_verified_is_an_error() {
    let Some(gpu) = plain_gpu() else { return };
    let model = plain().unwrap();
    assert!(matches!(gpu.verify(&model, 0), Err(Error::Argument { .. })));
    let large = gpu.verify(&model, 1 << 40);
    assert!(matches!(large, Err(Error::Limit { .. })), "{large:?}");
    let nothing = Model::builder([4]).relu().build().unwrap();
    assert!(matches!(
        gpu.verify(&nothing, 2),
        Err(Error::Argument { .. })
    ));
    let single = Model::builder([4]).dense(3).batch_norm().build().unwrap();
    assert!(matches!(gpu.verify(&single, 1), Err(Error::Shape { .. })));
}

/// A trainer that has some steps behind it.
fn trained(builder: wgpu_cnn::TrainerBuilder, gpu: &Gpu) -> Trainer {
    let mut trainer = builder.batch(3).seed(5).on(gpu).unwrap();
    (0..3).for_each(|step| one_step(&mut trainer, step));
    trainer
}

fn one_step(trainer: &mut Trainer, step: u64) {
    let mut rng = random(step);
    let x = uniform(&mut rng, 3 * trainer.model().input_shape().len());
    let classes = trainer.model().output_shape().len() as u32;
    trainer.step(&x, labels(&mut rng, 3, classes)).unwrap();
}

#[test]
fn a_trainer_goes_on_after_verification_as_if_nothing_had_been() {
    let Some(gpu) = plain_gpu() else { return };
    let model = || {
        Model::builder([2, 9, 8])
            .push(Conv2d::new(6, 3).padding(1))
            .batch_norm()
            .relu()
            .dropout(0.25)
            .max_pool2d(2)
            .flatten()
            .dense(5)
            .build()
            .unwrap()
    };
    let mut halves = vec![false];
    halves.extend(gpu.has_half_precision().then_some(true));
    for half in halves {
        for accumulate in [1, 2] {
            let builder = || {
                Trainer::builder(model())
                    .half_precision(half)
                    .accumulate(accumulate)
                    .clip_norm(1.0)
            };
            let [mut one, mut other] = [(); 2].map(|()| trained(builder(), gpu));
            let report = one.verify().unwrap();
            assert!(report.passed(), "half {half}, {accumulate}: {report}");
            let checked = |result: &str| report.checks.iter().any(|check| check.result == result);
            assert_eq!(checked("half precision"), half, "{report}");
            assert_eq!(checked("sum added to"), accumulate == 2, "{report}");
            assert!(checked("loss") && checked("parameters") && checked("running_mean"));
            let told = |trainer: &Trainer| {
                let gradient = bits(&trainer.gradient("0.weight").unwrap());
                (trainer.loss().unwrap().to_bits(), gradient, state(trainer))
            };
            assert_eq!(told(&one), told(&other), "half {half}, {accumulate}");
            for step in 3..6 {
                one_step(&mut one, step);
                one_step(&mut other, step);
            }
            assert_eq!(told(&one), told(&other), "half {half}, {accumulate}");
        }
    }
}

#[test]
fn the_choices_of_a_trainer_are_those_that_are_verified() {
    let Some(gpu) = poisoned_gpus().next().map(|(_, gpu)| gpu) else {
        return;
    };
    let model = Model::builder([3, 8, 8])
        .conv2d(8, 3)
        .flatten()
        .dense(4)
        .build()
        .unwrap();
    let file = format!("wgpu-cnn-verify-{}.json", std::process::id());
    let file = std::env::temp_dir().join(file);
    let builder = Trainer::builder(model).batch(4).autotune_file(&file);
    let mut trainer = builder.on(gpu).unwrap();
    std::fs::remove_file(file).unwrap();
    let kernels = |names: &[String]| names.join(" ");
    let names = |report: &VerifyReport| -> Vec<String> {
        report
            .checks
            .iter()
            .map(|check| check.kernel.clone())
            .collect()
    };
    let report = trainer.verify().unwrap();
    assert!(report.passed(), "{report}");
    let x = vec![0.5; 4 * 3 * 8 * 8];
    let profile = trainer.profile(&x, [0u8, 1, 2, 3]).unwrap();
    let verified = kernels(&names(&report));
    for entry in &profile.entries {
        assert!(
            verified.contains(entry.kernel),
            "{}: {report}",
            entry.kernel
        );
    }
}

#[test]
fn there_is_nothing_to_verify_on_the_cpu() {
    let model = plain().unwrap();
    let mut trainer = Trainer::builder(model).on_cpu().unwrap();
    assert!(matches!(trainer.verify(), Err(Error::Argument { .. })));
}

#[test]
fn results_that_are_zero_by_their_nature_are_no_failure() {
    let Some(gpu) = plain_gpu() else { return };
    let models = [
        Model::builder([5]).dense(1),
        Model::builder([5]).dense(1).layer_norm(),
        Model::builder([5]).dense(1).softmax(),
        Model::builder([5]).dense(2).dropout(0.9),
    ];
    for model in models {
        for batch in [1, 3] {
            let report = gpu.verify(&model.clone().build().unwrap(), batch).unwrap();
            assert!(report.passed(), "{report}");
        }
    }
    let loss = wgpu_cnn::Loss::cross_entropy().class_weights([0.0, 1.0]);
    let model = Model::builder([5]).dense(2).build().unwrap();
    let builder = Trainer::builder(model).loss(loss).batch(1);
    let report = builder.on(gpu).unwrap().verify().unwrap();
    assert!(report.passed(), "{report}");
}
