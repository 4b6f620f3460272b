//! Shared devices, input data, and child processes.

use std::process::{Command, Output};
use std::sync::{LazyLock, OnceLock};

use wgpu_cnn::engine::Reference;
use wgpu_cnn::engine::catalogue::cores;
use wgpu_cnn::{Error, Gpu, Loss, Model, Optimizer, Reduction, Shape, Target, Tensor, Trainer};

use crate::compare::assert_same;
use crate::device::device;
pub use crate::device::plain as plain_gpu;

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
            // More than there are: few tiles are split wherever a sum is long enough.
            let builder = Gpu::builder()
                .compute_units(256)
                .poison(self.poison)
                .shader_checks(self.checks)
                .allow_subgroups(self.subgroups);
            let builder = match self.core {
                Some(core) => builder.prefer_core(core),
                None => builder,
            };
            device(builder)
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

/// Devices that take one core wherever it serves, whatever the table of strategies says; of `subgroup` and `rows` that is
/// every device with subgroups of 8.
static CORES: LazyLock<Vec<Variant>> = LazyLock::new(|| {
    let others = cores().filter(|core| !["subgroup", "rows"].contains(core));
    others.map(Variant::core).collect()
});

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

/// The nearest numbers in single precision.
pub fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

/// A model on whole numbers, so small that every sum is exact in f32: what it predicts and the
/// gradients of its parameters are the reference's numbers, on each of these devices.
pub fn assert_exact_step(
    name: &str,
    model: &Model,
    parameters: &[(String, Vec<f32>)],
    x: &[f32],
    devices: impl Iterator<Item = (&'static str, &'static Gpu)>,
) {
    let loss = Loss::mean_squared_error().reduction(Reduction::Sum);
    let (batch, optimizer) = (x.len() / model.input_shape().len(), Optimizer::sgd(0.0));
    let mut reference = Reference::<f64>::new(model, loss.clone(), optimizer, 0).unwrap();
    for (name, values) in parameters {
        reference.set_parameter(name, &wide(values)).unwrap();
    }
    let output = narrow(&reference.forward(&wide(x)).unwrap());
    let target = Target::Values(integers(&mut random(output.len() as u64), output.len()));
    reference.loss_and_gradients(&wide(x), &target).unwrap();
    for (device, gpu) in devices {
        let builder = Trainer::builder(model.clone())
            .batch(batch)
            .loss(loss.clone());
        let mut trainer = builder.optimizer(optimizer).on(gpu).unwrap();
        for (name, values) in parameters {
            trainer.set_parameter(name, values).unwrap();
        }
        let name = format!("{name}, {device}");
        assert_same(&name, &trainer.predict(x).unwrap(), &output);
        trainer.step(x, target.clone()).unwrap();
        for (parameter, _) in parameters {
            let expected = narrow(reference.gradient(parameter).unwrap());
            let name = format!("gradient of {parameter}, {name}");
            assert_same(&name, &trainer.gradient(parameter).unwrap(), &expected);
        }
    }
}

/// The bits of numbers, for comparisons that tell 0.0 from -0.0 and find NaN equal to itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The bits of all parameters.
pub fn state(trainer: &Trainer) -> Vec<Vec<u32>> {
    let names = trainer.model().parameters().map(|(name, _)| name);
    names
        .map(|name| bits(&trainer.parameter(name).unwrap()))
        .collect()
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

/// The name of an error's variant.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::NoAdapter { .. } => "no adapter",
        Error::Shape { .. } => "shape",
        Error::Limit { .. } => "limit",
        Error::OutOfMemory { .. } => "memory",
        Error::DeviceLost { .. } => "lost",
        Error::File { .. } => "file",
        Error::Argument { .. } => "argument",
        _ => "other",
    }
}

/// Demands an error of a kind whose message says `words`.
#[track_caller]
pub fn assert_error<T>(result: Result<T, Error>, expected: &str, words: &[&str]) {
    let Err(error) = result else {
        panic!("no error, expected one of kind {expected}: {words:?}")
    };
    assert_eq!(kind(&error), expected, "{error}");
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}
