//! Convolution of 3x3 at stride 1 by Winograd's algorithm: the cores `winograd-subgroup` and `winograd-tiled`.

use super::conv2d::conv2d_params;
use super::conv2d_again;
use super::conv2d_rows::needs_edge_loads;
use super::product::{Product, product};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, whole_vectors};
use crate::gpu::kernel::{Format, Kernel, Params as _, params, source};
use crate::gpu::strategy::winograd::{self, Form, POINTS, TILES, Winograd};
use crate::gpu::strategy::{Core, Extents};
use crate::op::Conv2dGeometry;

conv2d_params! {
    /// Of the convolution that runs: for an input gradient, the roles are swapped.
    struct Params {
        first_tile: u32,
        octets: u32,
        out_quads: u32,
        chunk_octets: u32,
        pad_top: u32,
        pad_left: u32,
        backward: u32,
        has_bias: u32,
    }
}

params! {
    struct WeightParams {
        groups: u32,
        in_channels: u32,
        out_channels: u32,
        octets: u32,
        backward: u32,
    }
}

/// Of rows that begin anywhere, without subgroups.
pub(crate) const INPUT: Kernel = Kernel {
    name: "conv2d_winograd_input",
    source: source!("conv2d_winograd_input.wgsl"),
    blocks: &[&blocks::WINOGRAD_INPUT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Input")],
    params: Params::LAYOUT,
    constants: &[],
};

/// Of rows of whole vectors, which lanes share.
pub(crate) const INPUT_SHARED: Kernel = Kernel {
    name: "conv2d_winograd_input_shared",
    source: source!("conv2d_winograd_input_shared.wgsl"),
    blocks: &[&blocks::WINOGRAD_INPUT, &blocks::SLIDE],
    constants: &["PAD_LEFT", "EDGE_LOADS"],
    ..INPUT
};

pub(crate) const WEIGHT: Kernel = Kernel {
    name: "conv2d_winograd_weight",
    source: source!("conv2d_winograd_weight.wgsl"),
    blocks: &[&blocks::WINOGRAD_POINTS, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Weight")],
    params: WeightParams::LAYOUT,
    constants: &[],
};

pub(crate) const PRODUCT: Kernel = Kernel {
    name: "conv2d_winograd_product",
    source: source!("conv2d_winograd_product.wgsl"),
    blocks: &[&blocks::WINOGRAD, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &["WIDE"],
};

pub(crate) const PRODUCT_TILED: Product = product!(
    "conv2d_winograd_product_tiled",
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params,
    constants: [],
    source: "conv2d_winograd_product_tiled.wgsl",
    blocks: [&blocks::WINOGRAD, &blocks::ELEMENT_QUADS]
);

pub(crate) const OUTPUT: Kernel = Kernel {
    name: "conv2d_winograd_output",
    source: source!("conv2d_winograd_output.wgsl"),
    blocks: &[&blocks::WINOGRAD_OUTPUT, &blocks::EPILOGUE4],
    bindings: &[Read, Read, Read, ReadWrite, Read, Read],
    formats: &[(2, "Saved"), (3, "Output"), (4, "Input"), (5, "Weight")],
    params: Params::LAYOUT,
    constants: &[],
};

/// Of a weight gradient: the output's gradient at the points.
pub(crate) const GRADIENT: Kernel = Kernel {
    name: "conv2d_winograd_gradient",
    source: source!("conv2d_winograd_gradient.wgsl"),
    blocks: &[&blocks::WINOGRAD, &blocks::WINOGRAD_POINTS],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Gradient")],
    params: Params::LAYOUT,
    constants: &["WHOLE"],
};

pub(crate) const WEIGHT_PRODUCT: Kernel = Kernel {
    name: "conv2d_winograd_weight_product",
    source: source!("conv2d_winograd_weight_product.wgsl"),
    constants: &["WIDE"],
    ..PRODUCT
};

pub(crate) const WEIGHT_OUTPUT: Kernel = Kernel {
    name: "conv2d_winograd_weight_output",
    source: source!("conv2d_winograd_weight_output.wgsl"),
    blocks: &[&blocks::WINOGRAD, &blocks::WINOGRAD_POINTS, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &[],
};

pub(crate) const OUTPUT_ODD: Kernel = Kernel {
    name: "conv2d_winograd_output_odd",
    source: source!("conv2d_winograd_output_odd.wgsl"),
    blocks: &[&blocks::WINOGRAD_OUTPUT, &blocks::EPILOGUE],
    ..OUTPUT
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &INPUT,
    &INPUT_SHARED,
    &WEIGHT,
    &PRODUCT,
    PRODUCT_TILED.by_4x4,
    PRODUCT_TILED.by_8x4,
    &OUTPUT,
    &OUTPUT_ODD,
    &GRADIENT,
    &WEIGHT_PRODUCT,
    &WEIGHT_OUTPUT,
];

/// `y = conv(x, w) + b` through the output's epilogue.
pub(super) fn forward(
    recording: &mut Recording,
    form: Form,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let [top, _, left, _] = geometry.padding;
    let run = Run {
        geometry: *geometry,
        padding: [top, left],
        backward: false,
        plan: Winograd::of(geometry, false),
        form,
    };
    run.record(recording, inputs, bias, output);
}

/// The input gradient, which is itself a convolution of the output gradient, as in the core for rows.
pub(super) fn backward_input(
    recording: &mut Recording,
    form: Form,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let [top, _, left, _] = geometry.padding;
    let run = Run {
        geometry: geometry.swapped(),
        padding: [2 - top, 2 - left],
        backward: true,
        plan: Winograd::of(geometry, true),
        form,
    };
    run.record(recording, inputs, bias, output);
}

/// The weight gradient: chunk by chunk, the tiles of the input and of the output's gradient at the points, and what their
/// products add to the sums there; then what comes of these.
pub(super) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    gradient_weight: Region,
) {
    let [top, _, left, _] = geometry.padding;
    let run = Run {
        geometry: *geometry,
        padding: [top, left],
        backward: false,
        plan: Winograd::of(geometry, false),
        form: Form::Subgroup,
    };
    run.record_weight(recording, inputs, gradient_weight);
    conv2d_again::weight(recording, geometry, inputs, gradient_weight);
}

/// A convolution as it runs.
struct Run {
    geometry: Conv2dGeometry,
    /// Above and to the left.
    padding: [usize; 2],
    backward: bool,
    plan: Winograd,
    form: Form,
}

impl Run {
    /// Chunk by chunk, the tiles at the points, the sums there, and what comes of them.
    fn record(
        &self,
        recording: &mut Recording,
        [input, weight]: [Region; 2],
        bias: Option<Region>,
        output: Output,
    ) {
        let plan = &self.plan;
        let weights = self.weights(recording, weight);
        let traits = recording.traits;
        let chunks = recording.parts(|| plan.chunks(&traits));
        let most = plan.chunk(chunks);
        let [values, sums] = plan.scratch(most);
        let values = recording.transient("tiles at Winograd's points", values);
        let sums = recording.transient("sums at Winograd's points", sums);
        let product = recording.parts(|| plan.product(&traits, plan.tiles.min(most)).tile()[0]);
        for chunk in 0..chunks {
            let first = chunk * most;
            // Of a smaller batch than was planned for, the last chunks may be empty.
            let here = plan.tiles.saturating_sub(first).clamp(1, most);
            let params = Params {
                has_bias: bias.is_some().into(),
                ..self.params(first, most, here)
            };
            self.input(recording, [input, values], params, here);
            let regions = [values, weights, sums];
            match self.form {
                Form::Subgroup => self.product(recording, regions, params, here),
                Form::Tiled => self.tiled(recording, product, regions, params, here),
            }
            // None where the chunk is empty.
            let tiles = here.min(plan.tiles.saturating_sub(first));
            recording.flops(plan.flops(&self.geometry, tiles));

            let constants = output.constants(recording);
            let regions = [
                Some(sums),
                bias,
                output.saved(),
                Some(output.region),
                Some(input),
                Some(weight),
            ];
            recording.iterations(winograd::iterations(4 * plan.quads));
            let quads = 2 * self.geometry.groups * plan.octets;
            let grid = [quads as u64, here.div_ceil(16) as u64, 1];
            let kernel = match whole_vectors(self.geometry.out_size.width) {
                1.0 => &OUTPUT,
                _ => &OUTPUT_ODD,
            };
            recording.dispatch(kernel, &constants, &regions, params, grid);
            let share = self.geometry.flops() as f64 * tiles as f64 / plan.tiles as f64;
            recording.stands_for((share as u64).max(1));
        }
    }

    fn record_weight(
        &self,
        recording: &mut Recording,
        [input, gradient_output]: [Region; 2],
        gradient_weight: Region,
    ) {
        let (plan, geometry) = (&self.plan, &self.geometry);
        let traits = recording.traits;
        let chunks = recording.parts(|| plan.weight_chunks(&traits));
        let most = plan.chunk(chunks);
        let [values, gradients] = plan.weight_scratch(geometry, most);
        let values = recording.transient("tiles at Winograd's points", values);
        let gradients = recording.transient("gradients at Winograd's points", gradients);
        let sums = recording.transient("weight gradient at Winograd's points", plan.weights());
        let [in_quads, out_quads] = [geometry.in_channels, geometry.out_channels]
            .map(|channels| (channels / geometry.groups).div_ceil(4));
        for chunk in 0..chunks {
            let first = chunk * most;
            let here = plan.tiles.saturating_sub(first).clamp(1, most);
            let params = self.params(first, most, here);
            self.input(recording, [input, values], params, here);
            let regions = [gradient_output, gradients].map(Some);
            let quads = (geometry.groups * out_quads) as u64;
            let grid = [quads, here.div_ceil(16) as u64, 1];
            let whole = [("WHOLE", whole_vectors(geometry.out_size.width))];
            recording.dispatch(&GRADIENT, &whole, &regions, params, grid);
            let regions = [values, gradients, sums].map(Some);
            let octets = if plan.wide { 4 } else { 2 };
            let grid = [
                (geometry.groups * plan.octets / octets) as u64,
                in_quads.div_ceil(8) as u64,
                POINTS as u64,
            ];
            let constants = [("WIDE", flag(plan.wide))];
            recording.iterations(here.div_ceil(8));
            recording.dispatch(&WEIGHT_PRODUCT, &constants, &regions, params, grid);
            let tiles = here.min(plan.tiles.saturating_sub(first));
            recording.flops(plan.flops(geometry, tiles));
        }
        let params = self.params(0, most, 0);
        let regions = [sums, gradient_weight].map(Some);
        let grid = flat_grid(geometry.out_channels * 4 * in_quads);
        recording.dispatch(&WEIGHT_OUTPUT, &[], &regions, params, grid);
        recording.stands_for(geometry.flops().max(1));
    }

    /// Of a chunk of at most so many tiles, and those that there are.
    fn params(&self, first_tile: usize, tiles: usize, here: usize) -> Params {
        Params {
            first_tile: first_tile as u32,
            octets: (tiles / 8) as u32,
            out_quads: (2 * self.plan.octets) as u32,
            chunk_octets: here.div_ceil(8) as u32,
            pad_top: self.padding[0] as u32,
            pad_left: self.padding[1] as u32,
            backward: self.backward.into(),
            ..Params::of(&self.geometry)
        }
    }

    /// So many tiles of the input at the points.
    fn input(&self, recording: &mut Recording, regions: [Region; 2], params: Params, tiles: usize) {
        let (regions, [_, left]) = (regions.map(Some), self.padding);
        let mut constants = Vec::new();
        let quads = (self.geometry.groups * self.plan.quads) as u64;
        let whole = whole_vectors(self.geometry.in_size.width) == 1.0;
        let (kernel, side) = match self.form {
            Form::Subgroup if whole => {
                let edges = needs_edge_loads(&self.geometry, left);
                constants.extend([("PAD_LEFT", left as f64), ("EDGE_LOADS", flag(edges))]);
                (&INPUT_SHARED, 8)
            }
            Form::Subgroup | Form::Tiled => (&INPUT, 16),
        };
        let grid = [quads, tiles.div_ceil(side) as u64, 1];
        recording.dispatch(kernel, &constants, &regions, params, grid);
    }

    /// The sums at the points for subgroups, from values and weights there.
    fn product(
        &self,
        recording: &mut Recording,
        regions: [Region; 3],
        params: Params,
        tiles: usize,
    ) {
        let (plan, regions) = (&self.plan, regions.map(Some));
        let octets = if plan.wide { 4 } else { 2 };
        let grid = [
            (self.geometry.groups * plan.octets / octets) as u64,
            tiles.div_ceil(TILES) as u64,
            POINTS as u64,
        ];
        recording.iterations(plan.quads);
        let constants = [("WIDE", flag(plan.wide))];
        recording.dispatch(&PRODUCT, &constants, &regions, params, grid);
    }

    /// The same by the tiled core with so many rows.
    fn tiled(
        &self,
        recording: &mut Recording,
        rows: usize,
        [values, weights, sums]: [Region; 3],
        params: Params,
        tiles: usize,
    ) {
        let tiled = [Core::Tiled32, Core::Tiled64, Core::Tiled128];
        let core = tiled.into_iter().find(|core| core.tile()[0] == rows);
        let extents = Extents {
            m: params.out_channels as usize,
            n: tiles,
            k: params.in_channels as usize,
            slices: POINTS * self.geometry.groups,
        };
        let constants = vec![("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)];
        let regions = [weights, values, sums].map(Some);
        let core = core.unwrap_or(Core::Tiled32);
        PRODUCT_TILED.dispatch(recording, core, extents, constants, &regions, params);
    }

    /// The filters at the points.
    fn weights(&self, recording: &mut Recording, weight: Region) -> Region {
        let Conv2dGeometry {
            groups,
            in_channels,
            out_channels,
            ..
        } = self.geometry;
        let params = WeightParams {
            groups: groups as u32,
            in_channels: (in_channels / groups) as u32,
            out_channels: (out_channels / groups) as u32,
            octets: self.plan.octets as u32,
            backward: self.backward.into(),
        };
        let len = self.plan.weights();
        let memory = ("weights at Winograd's points", Format::F32, len);
        let record = |recording: &mut Recording, values| {
            let (regions, grid) = ([Some(weight), Some(values)], flat_grid(len / POINTS));
            recording.dispatch(&WEIGHT, &[], &regions, params, grid);
        };
        recording.prepared(&WEIGHT, (&[], params), weight, memory, record)
    }
}
