//! From nothing to the first loss: `cargo bench --bench startup`, or `cargo bench --bench startup -- vgg` for those
//! whose names contain that.
//!
//! Each sample is a process of its own. `cold` runs without the driver's own cache of compiled shaders
//! (Mesa's, which `MESA_SHADER_CACHE_DISABLE` turns off; that of another driver stays), `warm` with it,
//! and `cached` with `Gpu::builder().pipeline_cache` in its place. `device` is the time to a device,
//! `plan` from there to a trainer, `first step` from there to the first loss; `start-up` is the last two
//! together. Of each the smallest sample and the middle one are printed. `vgg-64` is with Winograd's algorithm where the
//! adapter takes it, and `vgg-64-direct` without; the two take turns, as a machine's speed changes.
//!
//! `recording` is the time until a call of `step` returns that finds the device idle: one submission is
//! recorded and handed to the driver. With 64 images most of the difference to one image is their copy.

#[path = "common/networks.rs"]
mod networks;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use networks::{lenet, vgg};
use wgpu_cnn::{Gpu, GpuBuilder, Model, Optimizer, Trainer};

const CHILD: &str = "WGPU_CNN_STARTUP_CHILD";
const FOLDER: &str = "WGPU_CNN_STARTUP_FOLDER";
const NETWORK: &str = "WGPU_CNN_STARTUP_NETWORK";
const SAMPLES: usize = 5;
const BATCH: usize = 64;

/// A network as it is started.
struct Case {
    name: &'static str,
    input: [usize; 3],
    model: fn([usize; 3]) -> Model,
    direct_only: bool,
}

const LENET: Case = Case {
    name: "lenet-64",
    input: [1, 28, 28],
    model: lenet,
    direct_only: false,
};
const VGG: Case = Case {
    name: "vgg-64",
    input: [3, 32, 32],
    model: vgg,
    direct_only: false,
};
const VGG_DIRECT: Case = Case {
    name: "vgg-64-direct",
    direct_only: true,
    ..VGG
};
/// Those that are compared side by side.
const CASES: [&[Case]; 2] = [&[LENET], &[VGG, VGG_DIRECT]];

fn main() {
    if let Ok(mode) = std::env::var(CHILD) {
        return child(&mode);
    }
    let gpu = device(Gpu::builder());
    let info = gpu.info();
    println!("gpu: {}, {}", info.name, info.backend);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    println!("cpu: {cpus} threads\n");
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<&String> = asked.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_asked = |case: &&Case| {
        let mut names = names.iter();
        names.len() == 0 || names.any(|name| case.name.contains(name.as_str()))
    };
    for cases in CASES {
        let cases: Vec<&Case> = cases.iter().filter(is_asked).collect();
        for mode in ["cold", "warm", "cached"] {
            compare(&cases, mode);
        }
    }
    if is_asked(&&LENET) {
        recording(&gpu, BATCH);
        recording(&gpu, 1);
    }
}

/// Samples of some networks in turn.
fn compare(cases: &[&Case], mode: &str) {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-startup-{}", std::process::id()));
    let round = || cases.iter().map(|case| sample(case, mode, &folder));
    if mode != "cold" {
        round().for_each(drop); // fills the cache
    }
    let rounds: Vec<Vec<[f64; 3]>> = (0..SAMPLES).map(|_| round().collect()).collect();
    for (place, case) in cases.iter().enumerate() {
        let samples = rounds.iter().map(|round| round[place]);
        let column = |at: usize| samples.clone().map(|sample| sample[at]).collect();
        let sums = samples.clone().map(|[_, plan, step]| plan + step).collect();
        println!(
            "startup/{}/{mode}: start-up {} (plan {}, first step {}), device {}",
            case.name,
            seconds(sums),
            seconds(column(1)),
            seconds(column(2)),
            seconds(column(0))
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
}

fn device(builder: GpuBuilder) -> Gpu {
    builder.build().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    })
}

fn trainer(gpu: &Gpu, case: &Case) -> Trainer {
    let builder = Trainer::builder((case.model)(case.input)).batch(BATCH);
    let builder = builder.optimizer(Optimizer::sgd(0.01).momentum(0.9));
    builder.direct_only(case.direct_only).on(gpu).unwrap()
}

fn data(case: &Case) -> (Vec<f32>, Vec<u8>) {
    let pixels =
        (0..BATCH * case.input.iter().product::<usize>()).map(|at| (at * 37 % 101) as f32 / 101.0);
    (
        pixels.collect(),
        (0..BATCH).map(|image| (image % 10) as u8).collect(),
    )
}

/// Starts a process and reads what it measured.
fn sample(case: &Case, mode: &str, folder: &Path) -> [f64; 3] {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(CHILD, mode).env(FOLDER, folder);
    command.env(NETWORK, case.name);
    match mode {
        "warm" => command.env_remove("MESA_SHADER_CACHE_DISABLE"),
        _ => command.env("MESA_SHADER_CACHE_DISABLE", "true"),
    };
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
    numbers.try_into().unwrap_or_else(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        eprintln!("error: {mode}: {errors}");
        std::process::exit(1);
    })
}

fn child(mode: &str) {
    let name = std::env::var(NETWORK).unwrap();
    let mut cases = CASES.into_iter().flatten();
    let case = cases.find(|case| case.name == name).unwrap();
    let (input, labels) = data(case);
    let begin = Instant::now();
    let gpu = device(match (mode, std::env::var_os(FOLDER)) {
        ("cached", Some(folder)) => Gpu::builder().pipeline_cache(folder),
        _ => Gpu::builder(),
    });
    let ready = begin.elapsed();
    let mut trainer = trainer(&gpu, case);
    let planned = begin.elapsed();
    trainer.step(&input, &labels).unwrap();
    assert!(trainer.loss().unwrap().is_finite());
    let stepped = begin.elapsed();
    let times = [ready, planned - ready, stepped - planned];
    println!(
        "{}",
        times.map(|time| time.as_secs_f64().to_string()).join(" ")
    );
}

fn recording(gpu: &Gpu, images: usize) {
    let mut trainer = trainer(gpu, &LENET);
    let (mut input, mut labels) = data(&LENET);
    input.truncate(images * 784);
    labels.truncate(images);
    let mut times = Vec::new();
    for _ in 0..100 {
        let begin = Instant::now();
        trainer.step(&input, &labels).unwrap();
        times.push(begin.elapsed());
        trainer.loss().unwrap(); // the device is idle again
    }
    times.drain(..10);
    times.sort();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (least, middle) = (micros(times[0]), micros(times[times.len() / 2]));
    println!("recording/lenet-64/{images}: {least:.0}..{middle:.0} us");
}

/// The smallest and the middle one.
fn seconds(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    format!("{:.2}..{:.2} s", times[0], times[times.len() / 2])
}
