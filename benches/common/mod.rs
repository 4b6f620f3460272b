//! What the benches share: the adapter and its peaks, criterion's settings, and rates in GFLOP/s.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Bencher, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use wgpu_cnn::Gpu;

pub type Group<'a> = BenchmarkGroup<'a, GigaFlops>;

/// The adapter, named in the output so that a software driver's figures are never taken for a
/// GPU's. Without one there is nothing to compare, and the process ends with an error.
/// `WGPU_CNN_BENCH_CORE` names a core that is taken wherever it serves.
pub fn adapter() -> Gpu {
    let builder = match std::env::var("WGPU_CNN_BENCH_CORE") {
        Ok(core) => Gpu::builder().prefer_core(core),
        Err(_) => Gpu::builder(),
    };
    let gpu = builder.build().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    });
    let info = gpu.info();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "gpu: {}, {} {}",
        info.name,
        info.backend,
        kind(info.device_type)
    );
    let peaks = gpu.peaks().unwrap();
    println!("gpu's peaks: {peaks}");
    println!("cpu: {threads} threads\n");
    gpu
}

/// The variable that has large benchmarks run on any adapter.
const FORCE: &str = "WGPU_CNN_BENCH_LARGE";

/// Whether to run large benchmarks, which a software adapter takes minutes for. Says so where not.
pub fn large(gpu: &Gpu, name: &str) -> bool {
    let software = gpu.info().device_type == wgpu_cnn::wgpu::DeviceType::Cpu;
    let forced = std::env::var(FORCE).is_ok_and(|value| value == "1");
    if software && !forced {
        println!(
            "{name} left out on a software adapter, which takes minutes for it; {FORCE}=1 runs it"
        );
    }
    !software || forced
}

/// What a benchmark took in each of its samples.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// [`Bencher::iter`], with an eye on the time.
    pub fn iter<R>(&mut self, bencher: &mut Bencher<GigaFlops>, mut run: impl FnMut() -> R) {
        bencher.iter_custom(|iterations| {
            let begin = Instant::now();
            (0..iterations).for_each(|_| drop(black_box(run())));
            let time = begin.elapsed();
            self.0.push(time.div_f64(iterations as f64));
            time
        });
    }

    /// Says what the median is of the adapter's peak. Says nothing of a benchmark that did not run
    /// or only ran as a test.
    pub fn print_share(mut self, gpu: &Gpu, work: &Throughput) {
        if self.0.len() < 5 {
            return;
        }
        self.0.sort();
        let nanoseconds = self.0[self.0.len() / 2].as_nanos() as f64;
        let peaks = gpu.peaks().unwrap();
        let (amount, peak, name) = match *work {
            Throughput::Elements(flops) => (flops, peaks.gflops, "GFLOP/s"),
            Throughput::Bytes(bytes) => (bytes, peaks.gigabytes_per_second, "GB/s"),
            _ => return,
        };
        let share = amount as f64 / nanoseconds / peak * 100.0;
        println!(
            "{:24}share:  {share:.1} % of the peak of {peak:.1} {name}\n",
            ""
        );
    }
}

fn kind(device: wgpu_cnn::wgpu::DeviceType) -> &'static str {
    use wgpu_cnn::wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    match device {
        DiscreteGpu => "discrete GPU",
        IntegratedGpu => "integrated GPU",
        VirtualGpu => "virtual GPU",
        Cpu => "software driver",
        Other => "device",
    }
}

/// Criterion with the arguments of the command line and rates in GFLOP/s.
pub fn criterion() -> Criterion<GigaFlops> {
    Criterion::default()
        .configure_from_args()
        .with_measurement(GigaFlops)
}

/// A group of few, evenly long samples: one of them is often a whole training step.
pub fn group<'a>(criterion: &'a mut Criterion<GigaFlops>, name: &str) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    group
}

/// Wall time, with `Throughput::Elements` counting floating-point operations.
pub struct GigaFlops;

impl Measurement for GigaFlops {
    type Intermediate = <WallTime as Measurement>::Intermediate;
    type Value = Duration;

    fn start(&self) -> Self::Intermediate {
        WallTime.start()
    }

    fn end(&self, start: Self::Intermediate) -> Duration {
        WallTime.end(start)
    }

    fn add(&self, left: &Duration, right: &Duration) -> Duration {
        *left + *right
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for GigaFlops {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        let Throughput::Elements(operations) = *throughput else {
            return WallTime
                .formatter()
                .scale_throughputs(typical, throughput, values);
        };
        // Operations per nanosecond.
        values
            .iter_mut()
            .for_each(|value| *value = operations as f64 / *value);
        "GFLOP/s"
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
