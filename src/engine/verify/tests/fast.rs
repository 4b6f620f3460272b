//! Faults that are seeded into the kernels of fast algorithms, and found.

use Change::{Constant, Param};

use super::*;
use crate::Conv1d;

/// What of a dispatch is another.
#[derive(Clone, Copy)]
enum Change {
    Param(&'static str, fn(u32) -> u32),
    Constant(&'static str, fn(f64) -> f64),
}

impl Change {
    fn make(self, dispatch: &mut Dispatch) {
        match self {
            Param(name, change) => set_param(dispatch, name, change),
            Constant(name, change) => set_constant(dispatch, name, change),
        }
    }
}

/// A fault in the dispatches of a kernel.
type KernelFault = (&'static str, Change);

/// Some models pass, and with each of some faults one of them fails. `is_of` says whether a kernel is the one that a fault
/// names.
fn all_are_found(
    gpu: &Gpu,
    core: &str,
    models: &[Model],
    faults: &[KernelFault],
    is_of: fn(&str, &str) -> bool,
) {
    for model in models {
        let report = gpu.verify(model, 3).unwrap();
        assert!(report.passed(), "{core}: {report}");
    }
    for (number, &(kernel, change)) in faults.iter().enumerate() {
        let tamper = |lowered: &mut Lowered| {
            let dispatches = lowered.recording.dispatches.iter_mut();
            dispatches
                .filter(|dispatch| is_of(dispatch.kernel.name, kernel))
                .for_each(|dispatch| change.make(dispatch));
        };
        let found = |model: &Model| {
            let report = pollster::block_on(verify(gpu, model, 3, &tamper)).unwrap();
            !report.passed()
        };
        let found = models.iter().any(found);
        assert!(found, "{core}: fault {number} in {kernel} passes");
    }
}

/// Faults in the kernels of Winograd's algorithm, whose results have a tolerance also on whole numbers. What is not
/// written at all is none: the NaN that is there before leads to a tile that is computed again by its definition.
#[rustfmt::skip]
const WINOGRAD_FAULTS: [KernelFault; 12] = [
    ("conv2d_winograd_input", Param("pad_left", |pad| pad + 1)),
    ("conv2d_winograd_input", Param("in_height", |rows| rows - 1)),
    ("conv2d_winograd_input", Param("first_tile", |tile| tile + 1)),
    ("conv2d_winograd_weight", Constant("MATRICES", |matrices| 1.0 - matrices)),
    ("conv2d_winograd_weight", Param("backward", |backward| 1 - backward)),
    ("conv2d_winograd_weight", Param("out_channels", |channels| channels - 1)),
    ("conv2d_winograd_product", Param("in_channels", |channels| channels - 4)),
    ("conv2d_winograd_output", Param("batch", |batch| batch - 1)),
    ("conv2d_winograd_output", Param("has_bias", |_| 0)),
    ("conv2d_winograd_output", Constant("ACTIVATION_A", |slope| slope + 1e-3)),
    ("conv2d_winograd_output", Param("first_tile", |tile| tile + 1)),
    ("conv2d_winograd_output", Constant("ONE_ROW", |_| 1.0)),
];

/// The same of weight gradients.
#[rustfmt::skip]
const WINOGRAD_WEIGHT_FAULTS: [KernelFault; 7] = [
    ("conv2d_winograd_gradient", Param("out_width", |columns| columns - 1)),
    ("conv2d_winograd_gradient", Param("out_height", |rows| rows - 1)),
    ("conv2d_winograd_gradient", Param("first_tile", |tile| tile + 1)),
    ("conv2d_winograd_weight_product", Param("chunk_octets", |octets| octets - 1)),
    ("conv2d_winograd_weight_product", Param("first_tile", |_| 0)),
    ("conv2d_winograd_weight_output", Param("in_channels", |channels| channels - 1)),
    ("conv2d_winograd_weight_output", Constant("ONE_ROW", |_| 1.0)),
];

/// Channels for several quads; tiles for several chunks, by the 4 MiB that one takes on a software adapter; and filters of
/// one row.
fn models_for_winograd() -> [Model; 3] {
    let layer = |channels| Conv2d::new(channels, 3).padding(1);
    let small = Model::builder([5, 9, 12]).push(layer(8)).leaky_relu(0.25);
    let small = small.push(layer(6).padding(0)).flatten().dense(3);
    let large = Model::builder([5, 80, 80]).push(layer(6));
    let large = large.avg_pool2d(20).flatten().dense(3);
    let row = |channels| Conv2d::new(channels, [1, 3]);
    let rows = Model::builder([5, 2, 30]).push(row(8)).leaky_relu(0.25);
    let rows = rows.push(row(6)).flatten().dense(3);
    [small, large, rows].map(|model| model.build().unwrap())
}

#[test]
fn faults_in_winograds_algorithm_fail() {
    for core in ["winograd-subgroup", "winograd-tiled"] {
        let Some(gpu) = crate::device::device(Gpu::builder().prefer_core(core)) else {
            return;
        };
        if !crate::device::Capability::Subgroups8.is_on(&gpu) && core == "winograd-subgroup" {
            continue;
        }
        // A fault names the kernels of all variants.
        let is_of = |name: &str, kernel: &str| {
            let variant = name.strip_prefix(kernel);
            let variants = ["_shared", "_odd", "_tiled"];
            let is_variant = |name: &str| variants.iter().any(|begin| name.starts_with(begin));
            variant.is_some_and(|variant| variant.is_empty() || is_variant(variant))
        };
        let models = models_for_winograd();
        all_are_found(&gpu, core, &models, &WINOGRAD_FAULTS, is_of);
        all_are_found(&gpu, core, &models, &WINOGRAD_WEIGHT_FAULTS, is_of);
    }
}

/// The same for Fourier transforms. What is not finite leads to results that are computed again, as there.
#[rustfmt::skip]
const FFT_FAULTS: [KernelFault; 23] = [
    ("conv2d_fft_input", Param("pad_left", |pad| pad + 1)),
    ("conv2d_fft_input", Param("in_height", |rows| rows - 1)),
    ("conv2d_fft_input", Param("in_channels", |channels| channels - 1)),
    ("conv2d_fft_input", Param("first_tile", |tile| tile + 1)),
    ("conv2d_fft_input", Constant("ALONE", |alone| 1.0 - alone)),
    ("conv2d_fft_weight", Param("kernel_width", |taps| taps - 1)),
    ("conv2d_fft_weight", Param("reach_width", |taps| taps - 1)),
    ("conv2d_fft_weight", Constant("PLANE", |plane| 1.0 - plane)),
    ("conv2d_fft_product", Constant("BACKWARD", |backward| 1.0 - backward)),
    ("conv2d_fft_product", Param("in_channels", |channels| channels - 4)),
    ("conv2d_fft_product", Param("parts_across", |parts| parts + 1)),
    ("conv2d_fft_output", Param("batch", |batch| batch - 1)),
    ("conv2d_fft_output", Constant("HAS_BIAS", |_| 0.0)),
    ("conv2d_fft_output", Constant("ACTIVATION_A", |slope| slope + 1e-3)),
    ("conv2d_fft_output", Param("reach_width", |taps| taps + 1)),
    ("conv2d_fft_output", Param("span_width", |results| results - 1)),
    ("conv2d_fft_weight_product", Param("chunk_tiles", |tiles| tiles - 1)),
    ("conv2d_fft_output", Param("first_tile", |tile| tile - tile.min(1))),
    ("conv2d_fft_weight_product", Param("first_tile", |tile| tile - tile.min(1))),
    ("conv2d_fft_weight_product", Constant("CONTINUED", |_| 0.0)),
    ("conv2d_fft_weight_product", Param("batch", |batch| batch - 1)),
    ("conv2d_fft_weight_output", Param("kernel_width", |taps| taps - 1)),
    ("conv2d_fft_weight_output", Constant("PLANE", |plane| 1.0 - plane)),
];

/// A signal longer than a block, with more channels than a quad; images; and parts of filters for blocks of several chunks.
fn models_for_fft() -> [Model; 3] {
    let signal = Model::builder([6, 2100]).push(Conv1d::new(5, 40));
    let signal = signal.leaky_relu(0.25).push(Conv1d::new(6, 9));
    let layer = |channels| Conv2d::new(channels, [3, 4]).padding(1);
    let images = Model::builder([5, 9, 12]).push(layer(8)).leaky_relu(0.25);
    let chunks = Model::builder([36, 60, 9]).push(Conv2d::new(36, [18, 2]).groups(36));
    let images = images.push(layer(6).padding(0));
    [signal, images, chunks].map(|model| {
        let model = model.avg_pool2d([1, 7]).flatten().dense(3);
        model.build().unwrap()
    })
}

#[test]
fn faults_in_fourier_transforms_fail() {
    let Some(gpu) = crate::device::device(Gpu::builder().prefer_core("fft")) else {
        return;
    };
    let is = |name: &str, kernel: &str| name == kernel;
    all_are_found(&gpu, "fft", &models_for_fft(), &FFT_FAULTS, is);
}
