//! Convolution at stride 1 by Fourier transforms of blocks: the core `fft`.

use super::conv2d::conv2d_params;
use super::conv2d_again;
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag};
use crate::gpu::kernel::{Format, Kernel, Params as _, params, source};
use crate::gpu::strategy::fft::{self, Fft, POINTS, TILES};
use crate::op::Conv2dGeometry;

conv2d_params! {
    /// Of the convolution that runs: for an input gradient, the roles are swapped.
    struct Params {
        kernel_height: u32,
        kernel_width: u32,
        dilation_height: u32,
        dilation_width: u32,
        pad_top: i32,
        pad_left: i32,
        span_height: u32,
        span_width: u32,
        reach_height: u32,
        reach_width: u32,
        parts_down: u32,
        parts_across: u32,
        tiles_down: u32,
        tiles_across: u32,
        first_tile: u32,
        chunk_tiles: u32,
    }
}

params! {
    struct WeightParams {
        in_channels: u32,
        out_channels: u32,
        kernel_height: u32,
        kernel_width: u32,
        reach_height: u32,
        reach_width: u32,
        parts_across: u32,
    }
}

pub(crate) const INPUT: Kernel = Kernel {
    name: "conv2d_fft_input",
    source: source!("conv2d_fft_input.wgsl"),
    blocks: &[&blocks::FFT, &blocks::FFT_STORE, &blocks::FFT_TILES],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input")],
    params: Params::LAYOUT,
    constants: &["ALONE"],
};

pub(crate) const WEIGHT: Kernel = Kernel {
    name: "conv2d_fft_weight",
    source: source!("conv2d_fft_weight.wgsl"),
    blocks: &[&blocks::FFT, &blocks::FFT_STORE, &blocks::FFT_FILTERS],
    bindings: &[Read, ReadWrite, Read],
    formats: &[(0, "Weight")],
    params: WeightParams::LAYOUT,
    constants: &["DILATION_H", "DILATION_W"],
};

pub(crate) const PRODUCT: Kernel = Kernel {
    name: "conv2d_fft_product",
    source: source!("conv2d_fft_product.wgsl"),
    blocks: &[&blocks::FFT_TILES, &blocks::FFT_PAIRS, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &["BACKWARD", "WIDE"],
};

pub(crate) const OUTPUT: Kernel = Kernel {
    name: "conv2d_fft_output",
    source: source!("conv2d_fft_output.wgsl"),
    blocks: &[
        &blocks::FFT,
        &blocks::FFT_TILES,
        &blocks::EPILOGUE,
        &blocks::FLAT,
        &blocks::TIMES_ZERO,
        &blocks::ENDED,
    ],
    bindings: &[Read, Read, Read, ReadWrite, Read, Read, Read],
    formats: &[(2, "Saved"), (3, "Output"), (4, "Input"), (5, "Weight")],
    params: Params::LAYOUT,
    constants: &["BACKWARD", "HAS_BIAS", "LONG"],
};

pub(crate) const WEIGHT_PRODUCT: Kernel = Kernel {
    name: "conv2d_fft_weight_product",
    source: source!("conv2d_fft_weight_product.wgsl"),
    constants: &["CONTINUED"],
    ..PRODUCT
};

pub(crate) const WEIGHT_OUTPUT: Kernel = Kernel {
    name: "conv2d_fft_weight_output",
    source: source!("conv2d_fft_weight_output.wgsl"),
    blocks: &[&blocks::FFT, &blocks::FFT_TILES, &blocks::FFT_FILTERS],
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &INPUT,
    &WEIGHT,
    &PRODUCT,
    &OUTPUT,
    &WEIGHT_PRODUCT,
    &WEIGHT_OUTPUT,
];

/// `y = conv(x, w) + b` through the output's epilogue.
pub(super) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let run = Run {
        geometry: *geometry,
        backward: false,
        plan: Fft::of(geometry),
    };
    run.record(recording, inputs, bias, output);
}

/// The input gradient, which is a convolution of the output gradient.
pub(super) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let run = Run {
        geometry: geometry.swapped(),
        backward: true,
        plan: Fft::of_input_gradient(geometry),
    };
    run.record(recording, inputs, bias, output);
}

/// The weight gradient: chunk by chunk, the blocks of both at their frequencies and what they add to the sums there; then
/// what comes of these.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let plan = &Fft::of(geometry);
    let traits = recording.traits;
    let chunks = recording.parts(|| plan.chunks(&traits));
    let most = plan.chunk(chunks);
    let [values, gradients] = plan.scratch(most);
    let values = recording.transient("blocks at their frequencies", values);
    let gradients = recording.transient("gradients at their frequencies", gradients);
    let sums = recording.transient("weight gradient at its frequencies", plan.weights);
    let twiddles = twiddles(recording);
    let [from, to] = plan.quads.map(|quads| quads as u64);
    let of_group = from / geometry.groups as u64;
    let parts = plan.parts() as u64;
    let plane = ("PLANE", flag(plan.plane));
    // The blocks of the output gradient are those of an input without padding.
    let of_gradient = Conv2dGeometry {
        in_channels: geometry.out_channels,
        in_size: geometry.out_size,
        padding: [0; 4],
        ..*geometry
    };
    for chunk in 0..chunks {
        let first = chunk * most;
        let here = plan.tiles.saturating_sub(first).clamp(1, most);
        let of_chunk = |geometry| params(geometry, plan, false, [first, here]);
        let (own, of_gradient) = (of_chunk(geometry), of_chunk(&of_gradient));
        let regions = [input, twiddles, values].map(Some);
        let grid = [from, (here + plan.behind()) as u64, 1];
        recording.dispatch(&INPUT, &[plane, ("ALONE", 0.0)], &regions, own, grid);
        let regions = [gradient_output, twiddles, gradients].map(Some);
        let grid = [to, here as u64, 1];
        recording.dispatch(
            &INPUT,
            &[plane, ("ALONE", 1.0)],
            &regions,
            of_gradient,
            grid,
        );
        let regions = [values, gradients, sums].map(Some);
        let grid = [frequencies(plan), to * of_group, parts];
        let constants = [plane, ("CONTINUED", flag(chunk > 0))];
        recording.iterations(here);
        recording.dispatch(&WEIGHT_PRODUCT, &constants, &regions, own, grid);
        let tiles = here.min(plan.tiles.saturating_sub(first));
        recording.flops(plan.flops(geometry, tiles));
    }
    let all = params(geometry, plan, false, [0, plan.tiles]);
    let regions = [sums, twiddles, gradient_weight].map(Some);
    let grid = [of_group, geometry.out_channels as u64, parts];
    recording.dispatch(&WEIGHT_OUTPUT, &[plane], &regions, all, grid);
    recording.stands_for(geometry.flops().max(1));
    conv2d_again::weight(
        recording,
        geometry,
        [input, gradient_output],
        gradient_weight,
    );
}

/// A convolution as it runs.
struct Run {
    geometry: Conv2dGeometry,
    backward: bool,
    plan: Fft,
}

impl Run {
    /// Chunk by chunk, the blocks at their frequencies, the sums there, and what comes of them.
    fn record(
        &self,
        recording: &mut Recording,
        [input, weight]: [Region; 2],
        bias: Option<Region>,
        output: Output,
    ) {
        let (plan, geometry) = (&self.plan, &self.geometry);
        let weights = weights(recording, geometry, plan, self.backward, weight);
        let traits = recording.traits;
        let chunks = recording.parts(|| plan.chunks(&traits));
        let most = plan.chunk(chunks);
        let [values, sums] = plan.scratch(most);
        let values = recording.transient("blocks at their frequencies", values);
        let sums = recording.transient("sums at the frequencies", sums);
        let together = recording.parts(|| plan.together(&traits));
        let twiddles = twiddles(recording);
        for chunk in 0..chunks {
            let first = chunk * most;
            // Of a smaller batch than was planned for, the last chunks may be empty.
            let here = plan.tiles.saturating_sub(first).clamp(1, most);
            let params = params(geometry, plan, self.backward, [first, here]);
            let constants = [("PLANE", flag(plan.plane)), ("ALONE", 0.0)];
            let regions = [input, twiddles, values].map(Some);
            let [from, to] = plan.quads.map(|quads| quads as u64);
            let grid = [from, (here + plan.behind()) as u64, 1];
            recording.dispatch(&INPUT, &constants, &regions, params, grid);

            let both = [
                ("PLANE", flag(plan.plane)),
                ("BACKWARD", flag(self.backward)),
            ];
            let mut constants = both.to_vec();
            constants.push(("WIDE", flag(together == TILES)));
            let parts = plan.parts();
            recording.iterations(parts * plan.quads[0] / geometry.groups);
            let regions = [values, weights, sums].map(Some);
            let grid = [frequencies(plan), to, here.div_ceil(together) as u64];
            recording.dispatch(&PRODUCT, &constants, &regions, params, grid);
            // None where the chunk is empty.
            let tiles = here.min(plan.tiles.saturating_sub(first));
            recording.flops(plan.flops(geometry, tiles));

            let mut constants = both.to_vec();
            let channels = geometry.in_channels / geometry.groups;
            let long = traits.software && fft::long(channels, geometry.kernel);
            constants.extend([("HAS_BIAS", flag(bias.is_some())), ("LONG", flag(long))]);
            constants.extend(output.constants(recording));
            let regions = [
                Some(sums),
                bias,
                output.saved(),
                Some(output.region),
                Some(input),
                Some(weight),
                Some(twiddles),
            ];
            recording.iterations(fft::iterations(channels, geometry.kernel));
            recording.dispatch(&OUTPUT, &constants, &regions, params, [to, here as u64, 1]);
            let share = geometry.flops() as f64 * tiles as f64 / plan.tiles as f64;
            recording.stands_for((share as u64).max(1));
        }
    }
}

/// Workgroups of a product that have all frequencies of a block.
fn frequencies(plan: &Fft) -> u64 {
    let count = if plan.plane { 32 * 33 } else { POINTS / 2 + 1 };
    count.div_ceil(64) as u64
}

fn params(
    geometry: &Conv2dGeometry,
    plan: &Fft,
    backward: bool,
    [first_tile, tiles]: [usize; 2],
) -> Params {
    let [top, _, left, _] = geometry.padding;
    let Fft { down, across, .. } = plan;
    Params {
        kernel_height: geometry.kernel.height as u32,
        kernel_width: geometry.kernel.width as u32,
        dilation_height: geometry.dilation.height as u32,
        dilation_width: geometry.dilation.width as u32,
        pad_top: down.begins(top, backward) as i32,
        pad_left: across.begins(left, backward) as i32,
        span_height: down.span as u32,
        span_width: across.span as u32,
        reach_height: down.reach as u32,
        reach_width: across.reach as u32,
        parts_down: down.parts as u32,
        parts_across: across.parts as u32,
        tiles_down: down.tiles as u32,
        tiles_across: across.tiles as u32,
        first_tile: first_tile as u32,
        chunk_tiles: tiles as u32,
        ..Params::of(geometry)
    }
}

/// `exp(-2 pi i n / 2048)`, as the bits of pairs, for `n < 256`.
fn twiddles(recording: &mut Recording) -> Region {
    let numbers = (0..256).flat_map(|n| {
        let (sin, cos) = (-std::f64::consts::TAU * f64::from(n) / POINTS as f64).sin_cos();
        [cos, sin].map(|number| (number as f32).to_bits())
    });
    recording.constant("roots of unity", numbers.collect())
}

/// The filters at their frequencies: the same for a forward pass and its input gradient.
fn weights(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    plan: &Fft,
    backward: bool,
    weight: Region,
) -> Region {
    let [from, to] = match backward {
        true => [geometry.out_channels, geometry.in_channels],
        false => [geometry.in_channels, geometry.out_channels],
    };
    let in_channels = from / geometry.groups;
    let constants = [
        ("PLANE", flag(plan.plane)),
        ("DILATION_H", geometry.dilation.height as f64),
        ("DILATION_W", geometry.dilation.width as f64),
    ];
    let params = WeightParams {
        in_channels: in_channels as u32,
        out_channels: to as u32,
        kernel_height: geometry.kernel.height as u32,
        kernel_width: geometry.kernel.width as u32,
        reach_height: plan.down.reach as u32,
        reach_width: plan.across.reach as u32,
        parts_across: plan.across.parts as u32,
    };
    let twiddles = twiddles(recording);
    let parts = plan.parts();
    let quads = in_channels.div_ceil(4);
    let memory = ("weights at their frequencies", Format::F32, plan.weights);
    let record = |recording: &mut Recording, values| {
        let regions = [Some(weight), Some(values), Some(twiddles)];
        let grid = [quads, to, parts].map(|count| count as u64);
        recording.dispatch(&WEIGHT, &constants, &regions, params, grid);
    };
    recording.prepared(&WEIGHT, (&constants, params), weight, memory, record)
}
