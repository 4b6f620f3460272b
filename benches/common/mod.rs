//! What the benches share: the adapter, criterion's settings, and rates in GFLOP/s.

use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use wgpu_cnn::Gpu;

pub type Group<'a> = BenchmarkGroup<'a, GigaFlops>;

/// The adapter, named in the output so that a software driver's figures are never taken for a
/// GPU's. Without one there is nothing to compare, and the process ends with an error.
pub fn adapter() -> Gpu {
    let gpu = Gpu::new().unwrap_or_else(|error| {
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
    println!("cpu: {threads} threads\n");
    gpu
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
