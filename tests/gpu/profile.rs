//! Where the time goes: kernels, their arithmetic and memory, and clocks.

use wgpu_cnn::{
    Average, Clock, Error, Gpu, Group, Loss, Model, Optimizer, Profile, ProfileEntry, Schedule,
    Target, Trainer, wgpu,
};

use crate::common::{labels, plain_gpu, poisoned_gpus, random, state, uniform};

/// 2 channels of 6x6, 3 filters of 3x3, windows of 2x2, 5 outputs.
fn model() -> Model {
    Model::builder([2, 6, 6])
        .conv2d(3, 3)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(5)
        .build()
        .unwrap()
}

fn batch(examples: usize) -> (Vec<f32>, Vec<u32>) {
    let mut rng = random(41);
    (
        uniform(&mut rng, examples * 72),
        labels(&mut rng, examples, 5),
    )
}

fn profile(gpu: &Gpu, planned: usize, examples: usize) -> Profile {
    let builder = Trainer::builder(model()).batch(planned);
    let mut trainer = builder.optimizer(Optimizer::sgd(0.01)).on(gpu).unwrap();
    let (x, y) = batch(examples);
    trainer.profile(&x, &y).unwrap()
}

/// The entries of a layer's kernel.
fn of<'a>(profile: &'a Profile, layer: &'a str) -> impl Iterator<Item = &'a ProfileEntry> {
    profile
        .entries
        .iter()
        .filter(move |entry| entry.layer.starts_with(layer))
}

#[test]
fn the_kernels_of_a_step_are_all_there_in_their_order() {
    for (device, gpu) in poisoned_gpus() {
        let profile = profile(gpu, 4, 4);
        let mut layers: Vec<&str> = profile.entries.iter().map(|e| e.layer.as_str()).collect();
        layers.dedup();
        let expected = [
            "layer 0 (conv2d)",
            "layer 2 (max_pool2d)",
            "layer 4 (linear)",
            "loss",
            "layer 4 (linear)",
            "layer 2 (max_pool2d)",
            "layer 0 (conv2d)",
            "optimizer",
        ];
        assert_eq!(layers, expected, "{device}");
        let kernels: Vec<&str> = of(&profile, "layer 2").map(|entry| entry.kernel).collect();
        assert_eq!(kernels, ["pool2d_max_forward", "pool2d_max_backward"]);
        let kernels: Vec<&str> = of(&profile, "loss").map(|entry| entry.kernel).collect();
        assert_eq!(kernels, ["loss_cross_entropy", "loss_total"]);
        let kernels: Vec<&str> = of(&profile, "optimizer").map(|e| e.kernel).collect();
        assert_eq!(kernels, ["optimizer_sgd"]);
        assert!(profile.entries.iter().all(|entry| entry.runs == 1));
        assert_eq!((profile.batch, profile.steps), (4, 11));
    }
}

#[test]
fn arithmetic_and_memory_are_those_of_the_model() {
    for (device, gpu) in poisoned_gpus() {
        for (planned, examples) in [(4, 4), (16, 4), (5, 3)] {
            let profile = profile(gpu, planned, examples);
            let n = examples as u64;
            // Each of 3 x 4 x 4 outputs has a sum of 2 x 3 x 3 products. Forward and weight gradient.
            let flops: u64 = of(&profile, "layer 0").map(|entry| entry.flops).sum();
            assert_eq!(flops, 2 * (2 * n * 48 * 18), "{device}");
            // 12 inputs, 5 outputs: forward, both gradients.
            let flops: u64 = of(&profile, "layer 4").map(|entry| entry.flops).sum();
            assert_eq!(flops, 3 * (2 * n * 12 * 5), "{device}");
            assert_eq!(profile.total().flops, 4 * n * 48 * 18 + 6 * n * 60);
            // The input, the maxima and their places; buffers are whole vectors of four.
            for entry in of(&profile, "layer 2") {
                assert_eq!(entry.flops, 0);
                assert!(entry.bytes >= 4 * n * (48 + 2 * 12), "{device}: {entry:?}");
                assert!(
                    entry.bytes <= 4 * n * (2 * 48 + 2 * 12),
                    "{device}: {entry:?}"
                );
            }
            let forward = of(&profile, "layer 2").next().unwrap();
            assert_eq!(forward.bytes, 4 * n * (48 + 2 * 12), "{device}");
        }
    }
}

#[test]
fn times_and_rates_are_numbers() {
    let Some(gpu) = plain_gpu() else { return };
    let profile = profile(gpu, 8, 8);
    for entry in profile.entries.iter().chain(&profile.by_kernel()) {
        assert!(!entry.time.is_zero() && entry.bytes > 0, "{entry:?}");
        let share = entry.share_of_bandwidth(&profile.peaks);
        assert!(share.is_finite() && share > 0.0, "{entry:?}");
        let share = entry.share_of_arithmetic(&profile.peaks);
        assert!(share.is_finite() && (share > 0.0) == (entry.flops > 0));
    }
    assert!(profile.step.is_some_and(|step| !step.is_zero()));
    let total = profile.total();
    let sum: u64 = profile.by_kernel().iter().map(|sum| sum.bytes).sum();
    assert_eq!((total.bytes, total.runs), (sum, profile.entries.len()));
}

#[test]
fn the_table_names_everything() {
    let Some(gpu) = plain_gpu() else { return };
    let profile = profile(gpu, 8, 8);
    let text = profile.to_string();
    assert!(text.starts_with(&gpu.info().name), "{text}");
    for entry in &profile.entries {
        let row = |line: &str| line.starts_with(&entry.layer) && line.contains(entry.kernel);
        assert!(text.lines().any(row), "{entry:?} in\n{text}");
    }
    for needed in [
        "batch 8",
        "timed by",
        "peaks",
        "GFLOP/s",
        "an ordinary step",
    ] {
        assert!(text.contains(needed), "{needed:?} in\n{text}");
    }
}

#[test]
fn a_profile_trains_as_so_many_steps() {
    for (device, gpu) in poisoned_gpus() {
        for accumulate in [1, 3] {
            let builder = || {
                Trainer::builder(model())
                    .batch(4)
                    .optimizer(Optimizer::adam(1e-2))
                    .clip_norm(0.5)
                    .accumulate(accumulate)
                    .schedule(Schedule::exponential(0.75))
                    .group(Group::new("0.*").learning_rate(0.5))
                    .average(Average::ema(0.5))
                    .checkpoint_every(7)
            };
            let (x, y) = batch(3);
            let mut profiled = builder().on(gpu).unwrap();
            let profile = profiled.profile(&x, &y).unwrap();
            let mut stepped = builder().on(gpu).unwrap();
            for _ in 0..profile.steps * accumulate {
                stepped.step(&x, &y).unwrap();
            }
            let what = format!("{device}, {accumulate}");
            // Weights, the optimizer's numbers, the average, and all counts.
            let whole = [&mut profiled, &mut stepped].map(|trainer| {
                let (loss, bytes) = (trainer.loss(), trainer.checkpoint_bytes());
                trainer.record([("a", 1.0)]).unwrap();
                let row = trainer.log().rows()[0].clone();
                let counts = (row.update, row.batch, row.examples, row.learning_rate);
                let from = trainer.recover(gpu).unwrap();
                (loss, bytes, counts, from)
            });
            assert!(whole[0] == whole[1], "{what}");
            assert_eq!(whole[0].2.0, 11, "{what}");
            assert_eq!(state(&profiled), state(&stepped), "{what}: recovered");
            let loss = of(&profile, "loss").next().unwrap();
            assert_eq!(loss.runs, accumulate, "{device}");
            let update = of(&profile, "optimizer").last().unwrap();
            assert_eq!((update.kernel, update.runs), ("optimizer_adam", 1));
        }
    }
}

/// A device of the program's own, without timestamps.
fn without_timestamps() -> Option<Gpu> {
    let info = plain_gpu()?.info().clone();
    let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.into_iter().find(|a| a.get_info() == info)?;
    let request = adapter.request_device(&wgpu::DeviceDescriptor::default());
    let (device, queue) = pollster::block_on(request).unwrap();
    Some(Gpu::from_wgpu(info, device, queue).unwrap())
}

#[test]
fn without_timestamps_the_wall_clock_serves() {
    let Some(gpu) = without_timestamps() else {
        return;
    };
    let profile = profile(&gpu, 4, 4);
    assert_eq!(profile.clock, Clock::Wall);
    assert!(profile.to_string().contains("timed by wall clock"));
    assert!(profile.entries.iter().all(|entry| !entry.time.is_zero()));
    let timestamps = plain_gpu().unwrap().device().features();
    if timestamps.contains(wgpu::Features::TIMESTAMP_QUERY) {
        let profile = self::profile(plain_gpu().unwrap(), 4, 4);
        assert_eq!(profile.clock, Clock::Timestamps);
    }
}

#[test]
fn more_kernels_than_a_query_set_holds_are_timed_too() {
    let Some(gpu) = plain_gpu() else { return };
    // Forward and backward are 2,060 kernels; a query set has room for 2,048.
    let mut builder = Model::builder([4]);
    for _ in 0..1030 {
        builder = builder.residual(|body| body.tanh());
    }
    let model = builder.dense(2).build().unwrap();
    let mut trainer = Trainer::builder(model).batch(2).on(gpu).unwrap();
    let profile = trainer.profile(&[0.1; 8], &[0u8, 1]).unwrap();
    assert!(profile.entries.len() > 2048, "{}", profile.entries.len());
    assert!(profile.entries.iter().all(|entry| !entry.time.is_zero()));
}

#[test]
fn peaks_are_measured_once() {
    let Some(gpu) = plain_gpu() else { return };
    let peaks = gpu.peaks().unwrap();
    for peak in [peaks.gflops, peaks.gigabytes_per_second] {
        assert!(peak.is_finite() && peak > 0.0, "{peaks:?}");
    }
    assert_eq!(gpu.peaks(), Ok(peaks));
    assert_eq!(gpu.clone().peaks(), Ok(peaks));
}

#[test]
fn what_cannot_be_profiled_is_refused() {
    let (x, y) = batch(4);
    let mut trainer = Trainer::builder(model()).batch(4).on_cpu().unwrap();
    let refused = trainer.profile(&x, &y).unwrap_err();
    assert!(
        matches!(&refused, Error::Argument { argument, .. } if argument == "profile"),
        "{refused}"
    );
    let Some(gpu) = plain_gpu() else { return };
    let loss = Loss::mean_squared_error();
    let builder = Trainer::builder(model()).batch(3).loss(loss);
    let mut trainer = builder.on(gpu).unwrap();
    let before = state(&trainer);
    assert!(trainer.profile(&x, Target::Values(vec![0.0; 20])).is_err());
    assert!(trainer.profile(&x[..72], &y[..1]).is_err());
    assert_eq!(state(&trainer), before);
}
