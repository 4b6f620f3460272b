//! Golden cases: every operator, option, loss and optimizer, and whole networks, against values that
//! PyTorch has computed in float64. See `README.md` beside this file.
//!
//! `cargo test --release golden -- --nocapture` runs the cases of this folder, or of the folder that
//! the environment variable `WGPU_CNN_GOLDEN_DIR` names, and nothing else.

#[path = "../common/compare.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod compare;
#[path = "../common/device.rs"]
#[allow(dead_code)]
mod device;
mod faults;
mod format;
mod graph;
mod groups;
mod layers;
mod network;
mod on_cpu;
mod on_gpu;
mod options;
mod outputs;
mod refused;
mod report;
mod schedule;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use wgpu_cnn::Gpu;
use wgpu_cnn::engine::catalogue;

use format::{Case, Entry, Outputs};
use report::{Report, Verdict};
use work::Work;

/// Reading a case fails with a text, running it with that or an error of the library.
type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

/// What may be added to a tolerance, times the largest magnitude, where a driver's exp, log or tanh
/// is inexact.
const DRIVER_SLACK: f64 = 2e-5;

#[test]
fn golden() {
    let folder = std::env::var_os("WGPU_CNN_GOLDEN_DIR").filter(|folder| !folder.is_empty());
    run(&folder.map_or_else(own_folder, PathBuf::from));
}

#[test]
fn cases_of_our_own() {
    run(&own_folder().join("extra"));
}

#[test]
fn cases_of_the_second_set() {
    run(&own_folder().join("second"));
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Runs a folder's cases on the CPU reference and on the GPU.
fn run(folder: &Path) {
    let entries = format::read(folder).unwrap_or_else(|error| panic!("{error}"));
    let gpus = gpus();
    let mut report = Report::default();
    println!();
    for Entry {
        id,
        group,
        refused,
        case,
    } in &entries
    {
        if let Some(name) = refused {
            report.refuse(name);
            continue;
        }
        let verdicts = match case.as_ref().map(|case| (case, Work::of(case))) {
            Ok((case, Ok(work))) => [judge(case, &work, None), judge_on_gpus(case, &work, gpus)],
            Ok((_, Err(reason))) => not_run(&reason, gpus),
            Err(reason) => not_run(reason, gpus),
        };
        if let Some(line) = report.add(group, id, &verdicts) {
            println!("{line}");
        }
    }
    report.print(folder);
    let failed: usize = report.total.iter().map(|count| count.failed).sum();
    assert_eq!(failed, 0, "{failed} failed");
}

/// The verdicts on a case that cannot be run.
fn not_run(reason: &str, gpus: &[Gpu]) -> [Verdict; 2] {
    let failed = Verdict::Failed(reason.into());
    [
        failed.clone(),
        if gpus.is_empty() {
            Verdict::NotRun
        } else {
            failed
        },
    ]
}

/// A case passes on the GPU if it passes with subgroups and without.
fn judge_on_gpus(case: &Case, work: &Work, gpus: &[Gpu]) -> Verdict {
    let mut verdict = if gpus.is_empty() {
        Verdict::NotRun
    } else {
        Verdict::Passed
    };
    for (gpu, note) in gpus.iter().zip(["", " (without subgroups)"]) {
        match (judge(case, work, Some(gpu)), &mut verdict) {
            (Verdict::Failed(reason), Verdict::Failed(first)) => {
                *first += &format!("; {reason}{note}")
            }
            (Verdict::Failed(reason), verdict) => *verdict = Verdict::Failed(reason + note),
            (Verdict::PassedWithSlack(worst), verdict @ Verdict::Passed) => {
                *verdict = Verdict::PassedWithSlack(worst + note);
            }
            _ => {}
        }
    }
    verdict
}

fn judge(case: &Case, work: &Work, gpu: Option<&Gpu>) -> Verdict {
    let slack = if gpu.is_some() && work.is_transcendental() {
        DRIVER_SLACK
    } else {
        0.0
    };
    // A panic is a defect of its case, not the end of the others.
    let outputs = match catch_unwind(AssertUnwindSafe(|| outputs(case, work, gpu))) {
        Ok(Ok(outputs)) => outputs,
        Ok(Err(error)) => return Verdict::Failed(error.to_string()),
        Err(_) => return Verdict::Failed("it panicked".into()),
    };
    match outputs::compare(&outputs, &case.outputs, slack) {
        Ok(None) => Verdict::Passed,
        Ok(Some(worst)) => Verdict::PassedWithSlack(worst.to_string()),
        Err(reason) => Verdict::Failed(reason),
    }
}

fn outputs(case: &Case, work: &Work, gpu: Option<&Gpu>) -> Result<Outputs> {
    match (work, gpu) {
        (Work::Layer { op, training }, None) => on_cpu::layer(op, *training, case),
        (Work::Layer { op, training }, Some(gpu)) => on_gpu::layer(gpu, op, *training, case),
        (Work::Loss(loss), None) => on_cpu::loss(loss, case),
        (Work::Loss(loss), Some(gpu)) => on_gpu::loss(gpu, loss, case),
        (Work::Optimizer(optimizer), None) => on_cpu::optimizer(optimizer, case),
        (Work::Optimizer(optimizer), Some(gpu)) => on_gpu::optimizer(gpu, optimizer, case),
        (Work::Groups(groups), gpu) => groups.run(case, gpu),
        (Work::Average(average), None) => on_cpu::average(average, case),
        (Work::Average(average), Some(gpu)) => on_gpu::average(gpu, average, case),
        (Work::Rates(rates), gpu) => rates.run(gpu),
        (Work::Network(network), gpu) => network.run(case, gpu),
    }
}

/// The adapter's device, and one for each core that takes it wherever it serves; none where there is
/// no adapter.
fn gpus() -> &'static [Gpu] {
    static GPUS: OnceLock<Vec<Gpu>> = OnceLock::new();
    // A device at a time.
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock();
    GPUS.get_or_init(|| {
        let Some(gpu) = device::plain() else {
            println!("\nthe GPU's side is not run");
            return Vec::new();
        };
        println!("\ngpu: {}", gpu.info().name);
        let cores = catalogue::cores().filter(|core| !["subgroup", "rows"].contains(core));
        let preferring = cores.map(|core| device::device(Gpu::builder().prefer_core(core)));
        [Some(gpu.clone())]
            .into_iter()
            .chain(preferring)
            .flatten()
            .collect()
    })
}
