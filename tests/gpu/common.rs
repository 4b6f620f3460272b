//! Shared devices, input data, and child processes.

use std::process::{Command, Output};
use std::sync::OnceLock;

use wgpu_cnn::{Error, Gpu, Shape, Tensor};

/// The variable that makes a missing adapter a failure.
pub const REQUIRE: &str = "WGPU_CNN_REQUIRE_GPU";

/// A device of this suite. Poison fills all memory with NaN and puts NaN around every buffer;
/// checks compile the shaders with naga's bounds checks; without subgroups the strategy table takes
/// the tiled cores where it would take those for subgroups of 8.
struct Variant {
    name: &'static str,
    poison: bool,
    checks: bool,
    subgroups: bool,
    /// The core that it takes wherever that serves.
    core: Option<&'static str>,
    gpu: OnceLock<Option<Gpu>>,
}

impl Variant {
    const fn new(name: &'static str, poison: bool, checks: bool, subgroups: bool) -> Self {
        Self {
            name,
            poison,
            checks,
            subgroups,
            core: None,
            gpu: OnceLock::new(),
        }
    }

    /// Poisoned, with one core wherever it serves.
    const fn core(name: &'static str) -> Self {
        let mut variant = Self::new(name, true, false, true);
        variant.core = Some(name);
        variant
    }

    fn gpu(&'static self) -> Option<&'static Gpu> {
        let create = || {
            let builder = Gpu::builder()
                .poison(self.poison)
                .shader_checks(self.checks)
                .allow_subgroups(self.subgroups);
            let builder = match self.core {
                Some(core) => builder.prefer_core(core),
                None => builder,
            };
            accept(builder.build(), required())
        };
        self.gpu.get_or_init(create).as_ref()
    }
}

static VARIANTS: [Variant; 4] = [
    Variant::new("poison", true, false, true),
    Variant::new("poison, no subgroups", true, false, false),
    Variant::new("poison, checks", true, true, true),
    Variant::new("checks, no subgroups", false, true, false),
];

/// Devices that take one core wherever it serves, whatever the table of strategies says.
static CORES: [Variant; 5] = [
    Variant::core("tiled-32"),
    Variant::core("tiled-64"),
    Variant::core("tiled-128"),
    Variant::core("strided"),
    Variant::core("direct"),
];

/// [`each_gpu`] and a device for each core: what the tables of products and convolutions run on.
pub fn each_core() -> impl Iterator<Item = (&'static str, &'static Gpu)> {
    let cores = CORES.iter();
    each_gpu().chain(cores.filter_map(|variant| Some((variant.name, variant.gpu()?))))
}

/// Every device, with its name: what the tables of kernels run on.
pub fn each_gpu() -> impl Iterator<Item = (&'static str, &'static Gpu)> {
    VARIANTS
        .iter()
        .filter_map(|variant| Some((variant.name, variant.gpu()?)))
}

/// The poisoned devices with and without subgroups: both sets of cores, at their usual speed.
pub fn poisoned_gpus() -> impl Iterator<Item = (&'static str, &'static Gpu)> {
    each_gpu().take(2)
}

/// A device as a user makes it.
pub fn plain_gpu() -> Option<&'static Gpu> {
    static PLAIN: OnceLock<Option<Gpu>> = OnceLock::new();
    PLAIN
        .get_or_init(|| accept(Gpu::new(), required()))
        .as_ref()
}

fn required() -> bool {
    std::env::var(REQUIRE).is_ok_and(|value| value == "1")
}

/// A device, or none where that is allowed: then one line says so.
fn accept(gpu: Result<Gpu, Error>, required: bool) -> Option<Gpu> {
    match gpu {
        Ok(gpu) => Some(gpu),
        Err(error) if required => panic!("{REQUIRE}=1, but {error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Runs one test of this binary, by its full name, in a process of its own.
pub fn child(test: &str, environment: &[(&str, &str)]) -> Output {
    let binary = std::env::current_exe().unwrap();
    let mut command = Command::new(binary);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.envs(environment.iter().copied()).output().unwrap()
}

/// A generator of its own for every test, so that data do not depend on the order of tests.
pub fn random(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed)
}

/// Numbers within (-1, 1).
pub fn uniform(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.f32() * 2.0 - 1.0).collect()
}

/// Whole numbers within -4..=4: sums of their products are exact in f32, in any order.
pub fn integers(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.i8(-4..=4).into()).collect()
}

/// One of the two kinds of data.
pub type Fill = fn(&mut fastrand::Rng, usize) -> Vec<f32>;

pub fn labels(rng: &mut fastrand::Rng, len: usize, classes: u32) -> Vec<u32> {
    (0..len).map(|_| rng.u32(0..classes)).collect()
}

pub fn tensor(gpu: &Gpu, shape: impl Into<Shape>, data: &[f32]) -> Tensor {
    Tensor::from_slice(gpu, shape, data).unwrap()
}

/// The same numbers in double precision.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

/// The bits of numbers, for comparisons that tell 0.0 from -0.0 and find NaN equal to itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_missing_adapter_is_a_failure_where_a_gpu_is_required_and_a_line_elsewhere() {
    let none = || {
        Err(Error::NoAdapter {
            reason: "nothing here".into(),
        })
    };
    assert!(accept(none(), false).is_none());
    assert!(std::panic::catch_unwind(|| accept(none(), true)).is_err());

    let test = "activation::relu_passes_nan_both_ways";
    let absent = ("WGPU_CNN_ADAPTER", "an adapter that does not exist");
    let failed = child(test, &[absent, (REQUIRE, "1")]);
    assert!(!failed.status.success());
    let skipped = child(test, &[absent, (REQUIRE, "0")]);
    assert!(skipped.status.success());
    let said = String::from_utf8_lossy(&skipped.stderr).into_owned();
    assert!(
        said.lines()
            .any(|line| line.starts_with("skipped: no graphics adapter")),
        "{said}"
    );
}

/// What two processes compare of their results.
pub fn digest(state: &[Vec<u32>]) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new(); // with fixed keys
    state.hash(&mut hasher);
    format!("digest {:016x}", hasher.finish())
}

/// Bytes of this process's resident memory.
#[cfg(target_os = "linux")]
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
