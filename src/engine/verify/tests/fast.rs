//! Faults that are seeded into the kernels of fast algorithms, and found.

use super::*;
use crate::Conv1d;

/// A fault in the kernels whose names begin like this.
type KernelFault = (&'static str, fn(&mut Dispatch));

/// Faults in the kernels of Winograd's algorithm, whose results have a tolerance also on whole numbers. What is not
/// written at all is none: the NaN that is there before leads to a tile that is computed again by its definition.
const WINOGRAD_FAULTS: [KernelFault; 10] = [
    ("conv2d_winograd_input", |d| {
        set_constant(d, "PAD_LEFT", |pad| pad + 1.0)
    }),
    ("conv2d_winograd_input", |d| {
        set_param(d, "in_height", |rows| rows - 1)
    }),
    ("conv2d_winograd_input", |d| {
        set_param(d, "first_tile", |tile| tile + 1)
    }),
    ("conv2d_winograd_weight", |d| {
        set_constant(d, "BACKWARD", |backward| 1.0 - backward)
    }),
    ("conv2d_winograd_weight", |d| {
        set_param(d, "out_channels", |channels| channels - 1)
    }),
    ("conv2d_winograd_product", |d| {
        set_param(d, "in_channels", |channels| channels - 4)
    }),
    ("conv2d_winograd_output", |d| {
        set_param(d, "batch", |batch| batch - 1)
    }),
    ("conv2d_winograd_output", |d| {
        set_constant(d, "HAS_BIAS", |_| 0.0)
    }),
    ("conv2d_winograd_output", |d| {
        set_constant(d, "ACTIVATION_A", |slope| slope + 1e-3)
    }),
    ("conv2d_winograd_output", |d| {
        set_param(d, "first_tile", |tile| tile + 1)
    }),
];

#[test]
fn faults_in_winograds_algorithm_fail() {
    for core in ["winograd-subgroup", "winograd-tiled"] {
        let Some(gpu) = crate::device::device(Gpu::builder().prefer_core(core)) else {
            return;
        };
        if !crate::device::Capability::Subgroups8.is_on(&gpu) && core == "winograd-subgroup" {
            continue;
        }
        let layer = |channels| Conv2d::new(channels, 3).padding(1);
        let model = Model::builder([5, 9, 12]).push(layer(8)).leaky_relu(0.25);
        let model = model.push(layer(6).padding(0)).flatten().dense(3);
        let model = model.build().unwrap();
        let report = gpu.verify(&model, 3).unwrap();
        assert!(report.passed(), "{core}: {report}");
        for (number, (kernel, change)) in WINOGRAD_FAULTS.into_iter().enumerate() {
            let tamper = |lowered: &mut Lowered| {
                let dispatches = lowered.recording.dispatches.iter_mut();
                dispatches
                    .filter(|dispatch| dispatch.kernel.name.starts_with(kernel))
                    .for_each(change);
            };
            let report = pollster::block_on(verify(&gpu, &model, 3, &tamper)).unwrap();
            assert!(
                !report.passed(),
                "{core}: fault {number} in {kernel} passes"
            );
        }
    }
}

/// The same for Fourier transforms. What is not finite leads to results that are computed again, as there.
const FFT_FAULTS: [KernelFault; 23] = [
    ("conv2d_fft_input", |d| {
        set_param(d, "pad_left", |pad| pad + 1)
    }),
    ("conv2d_fft_input", |d| {
        set_param(d, "in_height", |rows| rows - 1)
    }),
    ("conv2d_fft_input", |d| {
        set_param(d, "in_channels", |channels| channels - 1)
    }),
    ("conv2d_fft_input", |d| {
        set_param(d, "first_tile", |tile| tile + 1)
    }),
    ("conv2d_fft_input", |d| {
        set_constant(d, "ALONE", |alone| 1.0 - alone)
    }),
    ("conv2d_fft_weight", |d| {
        set_param(d, "kernel_width", |taps| taps - 1)
    }),
    ("conv2d_fft_weight", |d| {
        set_param(d, "reach_width", |taps| taps - 1)
    }),
    ("conv2d_fft_weight", |d| {
        set_constant(d, "PLANE", |plane| 1.0 - plane)
    }),
    ("conv2d_fft_product", |d| {
        set_constant(d, "BACKWARD", |backward| 1.0 - backward)
    }),
    ("conv2d_fft_product", |d| {
        set_param(d, "in_channels", |channels| channels - 4)
    }),
    ("conv2d_fft_product", |d| {
        set_param(d, "parts_across", |parts| parts + 1)
    }),
    ("conv2d_fft_output", |d| {
        set_param(d, "batch", |batch| batch - 1)
    }),
    ("conv2d_fft_output", |d| {
        set_constant(d, "HAS_BIAS", |_| 0.0)
    }),
    ("conv2d_fft_output", |d| {
        set_constant(d, "ACTIVATION_A", |slope| slope + 1e-3)
    }),
    ("conv2d_fft_output", |d| {
        set_param(d, "reach_width", |taps| taps + 1)
    }),
    ("conv2d_fft_output", |d| {
        set_param(d, "span_width", |results| results - 1)
    }),
    ("conv2d_fft_weight_product", |d| {
        set_param(d, "chunk_tiles", |tiles| tiles - 1)
    }),
    ("conv2d_fft_output", |d| {
        set_param(d, "first_tile", |tile| tile - tile.min(1))
    }),
    ("conv2d_fft_weight_product", |d| {
        set_param(d, "first_tile", |tile| tile - tile.min(1))
    }),
    ("conv2d_fft_weight_product", |d| {
        set_constant(d, "CONTINUED", |_| 0.0)
    }),
    ("conv2d_fft_weight_product", |d| {
        set_param(d, "batch", |batch| batch - 1)
    }),
    ("conv2d_fft_weight_output", |d| {
        set_param(d, "kernel_width", |taps| taps - 1)
    }),
    ("conv2d_fft_weight_output", |d| {
        set_constant(d, "PLANE", |plane| 1.0 - plane)
    }),
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
    let models = models_for_fft();
    for model in &models {
        let report = gpu.verify(model, 3).unwrap();
        assert!(report.passed(), "{report}");
    }
    for (number, (kernel, change)) in FFT_FAULTS.into_iter().enumerate() {
        let tamper = |lowered: &mut Lowered| {
            let dispatches = lowered.recording.dispatches.iter_mut();
            dispatches
                .filter(|dispatch| dispatch.kernel.name == kernel)
                .for_each(change);
        };
        let found = |model: &Model| {
            let report = pollster::block_on(verify(&gpu, model, 3, &tamper)).unwrap();
            !report.passed()
        };
        assert!(
            models.iter().any(found),
            "fault {number} in {kernel} passes"
        );
    }
}
