//! Devices, and training on one.

use pollster::block_on;
use wgpu_cnn::{Error, Gpu, GpuBuilder, Loss, Trainer, wgpu};

use crate::call::Call;
use crate::draw::Draw;
use crate::graph;
use crate::model::random;
use crate::ops::gpu;
use crate::train::{builder, model, used, usual};

const ASKED: &[&str] = &[
    "Gpu::info",
    "Gpu::limits",
    "Gpu::device",
    "Gpu::queue",
    "Gpu::has_half_precision",
    "Gpu::compute_units",
];

const BUILDER: &[&str] = &[
    "Gpu::builder",
    "GpuBuilder::adapter",
    "GpuBuilder::number",
    "GpuBuilder::power_preference",
    "GpuBuilder::allow_software",
    "GpuBuilder::in_turn",
    "GpuBuilder::allow_subgroups",
    "GpuBuilder::shader_checks",
    "GpuBuilder::poison",
    "GpuBuilder::prefer_core",
    "GpuBuilder::compute_units",
    "GpuBuilder::limits",
    "GpuBuilder::pipeline_cache",
    "GpuBuilder::build",
    "GpuBuilder::build_async",
];

const MADE: &[&str] = &[
    "Gpu::new",
    "Gpu::new_async",
    "Gpu::from_wgpu",
    "Gpu::on_compiled",
];

const REPORTS: &[&str] = &[
    "Trainer::profile",
    "Trainer::profile_async",
    "Profile::total",
    "Profile::by_kernel",
    "ProfileEntry::gflops",
    "ProfileEntry::gigabytes_per_second",
    "ProfileEntry::share_of_arithmetic",
    "ProfileEntry::share_of_bandwidth",
    "Gpu::peaks",
    "Gpu::peaks_async",
];

const VERIFY: &[&str] = &[
    "Gpu::verify",
    "Gpu::verify_async",
    "Trainer::verify",
    "Trainer::verify_async",
    "VerifyReport::passed",
    "VerifyReport::failed",
    "VerifyReport::kernels",
    "VerifyReport::failed_kernels",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::on_device(ASKED, |_| {
            let _ = (gpu().info(), gpu().limits(), gpu().device(), gpu().queue());
            let _ = (gpu().has_half_precision(), gpu().compute_units());
            true
        }),
        Call::medium(&["TrainerBuilder::memory"], |d| memory(d).is_ok()),
        Call::on_device(&["TrainerBuilder::on", "TrainerBuilder::on_async"], |d| {
            let builder = match d.flag() {
                true => small_batch(d),
                false => usual(d),
            };
            let made = if d.flag() {
                builder.on(gpu())
            } else {
                block_on(builder.on_async(gpu()))
            };
            made.and_then(|mut trainer| used(d, &mut trainer)).is_ok()
        }),
        Call::on_device(&["Losses::own"], |d| {
            let made = graph::own().and_then(|builder| builder.on(gpu()));
            made.and_then(|mut trainer| graph::used(d, &mut trainer))
                .is_ok()
        }),
        Call::slow(
            &[
                "TrainerBuilder::autotune",
                "TrainerBuilder::autotune_file",
                "TrainerBuilder::autotune_budget",
            ],
            |d| {
                let path = std::env::temp_dir().join("wgpu-cnn-calls/no/autotune.json");
                let off = usual(d).autotune(d.flag()).autotune(false);
                let time = std::time::Duration::from_nanos(d.number() as u64);
                let off = off.autotune_budget(time);
                off.on(gpu()).is_ok() && usual(d).autotune_file(path).memory(gpu()).is_ok()
            },
        ),
        Call::slow(BUILDER, |d| device(d).is_ok()),
        Call::slow(MADE, |d| {
            let made = if d.flag() {
                Gpu::new()
            } else {
                block_on(Gpu::new_async())
            };
            made.is_ok_and(|made| {
                let (device, queue) = (made.device().clone(), made.queue().clone());
                let own = Gpu::from_wgpu(made.info().clone(), device, queue);
                own.is_ok_and(|own| {
                    own.on_compiled(|done, all| assert!((1..=all).contains(&done)));
                    !format!("{own:?}").is_empty() && usual(d).on(&own).is_ok()
                })
            })
        }),
        Call::slow(REPORTS, |d| profiled(d).is_ok()),
        Call::slow(VERIFY, |d| verified(d).is_ok()),
    ]
}

/// What a model would take, of whatever layers and for a batch of any size; none of it is made.
fn memory(d: &mut Draw) -> Result<u64, Error> {
    let report = match d.flag() {
        true => builder(d).memory(gpu())?,
        false => {
            let trainer = Trainer::builder(random(d)?).loss(Loss::mean_squared_error());
            trainer.batch(d.number()).memory(gpu())?
        }
    };
    Ok(report.total())
}

/// Options of a trainer that takes no more than some megabytes.
fn small_batch(d: &mut Draw) -> wgpu_cnn::TrainerBuilder {
    let builder = builder(d);
    match builder.memory(gpu()) {
        Ok(report) if report.total() > 64 << 20 => builder.batch(d.below(3)),
        _ => builder,
    }
}

fn device(d: &mut Draw) -> Result<(), Error> {
    let mut limits = wgpu::Limits::default();
    if d.flag() {
        limits.max_buffer_size = d.number() as u64;
        limits.max_storage_buffer_binding_size = d.number() as _;
        limits.max_compute_workgroups_per_dimension = d.number() as u32;
    }
    let preference = d.pick(&[
        wgpu::PowerPreference::None,
        wgpu::PowerPreference::LowPower,
        wgpu::PowerPreference::HighPerformance,
    ]);
    let builder: GpuBuilder = Gpu::builder();
    let mut builder = builder
        .power_preference(preference)
        .allow_software(d.flag());
    builder = builder
        .allow_subgroups(d.flag())
        .shader_checks(d.flag())
        .poison(d.flag());
    if d.flag() {
        builder = builder.limits(limits);
    }
    if d.flag() {
        builder = builder.compute_units(d.number() as u32);
    }
    if d.flag() {
        builder = builder.in_turn(d.number());
    }
    if d.is_hostile() {
        builder = builder.number(d.number());
    }
    if d.is_hostile() {
        builder = builder.adapter("none of this name").prefer_core("no core");
    }
    if d.is_hostile() {
        builder = builder.pipeline_cache(std::env::temp_dir().join("wgpu-cnn-calls/\0"));
    }
    let made = if d.flag() {
        builder.build()
    } else {
        block_on(builder.build_async())
    };
    made.map(drop)
}

fn profiled(d: &mut Draw) -> Result<(), Error> {
    let mut trainer = usual(d).on(gpu())?;
    let [inputs, outputs] = [
        trainer.model().input_shape(),
        trainer.model().output_shape(),
    ]
    .map(|shape| 2 * shape.len());
    let (input, target) = (d.floats::<f32>(inputs), d.floats::<f32>(outputs));
    let mut profile = match d.flag() {
        true => trainer.profile(&input, &target)?,
        false => block_on(trainer.profile_async(&input, &target))?,
    };
    if let Some(first) = profile.entries.first_mut() {
        (first.runs, first.flops, first.bytes) = (usize::MAX, u64::MAX, u64::MAX);
        first.time = std::time::Duration::MAX;
    }
    let (total, sums) = (profile.total(), profile.by_kernel());
    assert!(!sums.is_empty() && !profile.to_string().is_empty());
    let _ = (total.gflops(), total.gigabytes_per_second());
    let peaks = if d.flag() {
        gpu().peaks()?
    } else {
        block_on(gpu().peaks_async())?
    };
    let _ = (
        total.share_of_arithmetic(&peaks),
        total.share_of_bandwidth(&peaks),
    );
    Ok(())
}

fn verified(d: &mut Draw) -> Result<(), Error> {
    let (model, batch) = (model(d), d.number());
    let batch = if batch < 1 << 30 { batch % 9 } else { batch };
    let report = match d.below(4) {
        0 => gpu().verify(&model, batch)?,
        1 => block_on(gpu().verify_async(&model, batch))?,
        2 => usual(d).on(gpu())?.verify()?,
        _ => block_on(usual(d).on(gpu())?.verify_async())?,
    };
    assert!(report.passed(), "{report}");
    let failed = (report.failed().count(), report.failed_kernels());
    assert_eq!((failed, report.kernels() > 0), ((0, 0), true));
    Ok(())
}
