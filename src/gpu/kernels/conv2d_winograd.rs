//! Convolution of 3x3 at stride 1 by Winograd's algorithm: the cores `winograd-subgroup` and `winograd-tiled`.

use super::conv2d::conv2d_params;
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
    }
}

params! {
    struct WeightParams {
        groups: u32,
        in_channels: u32,
        out_channels: u32,
        octets: u32,
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
    constants: &["EDGE_LOADS"],
    ..INPUT
};

pub(crate) const WEIGHT: Kernel = Kernel {
    name: "conv2d_winograd_weight",
    source: source!("conv2d_winograd_weight.wgsl"),
    blocks: &[&blocks::WINOGRAD_POINTS, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Weight")],
    params: WeightParams::LAYOUT,
    constants: &["BACKWARD"],
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
            let params = self.params(first, most);
            // Of a smaller batch than was planned for, the last chunks may be empty.
            let here = plan.tiles.saturating_sub(first).clamp(1, most);
            self.input(recording, [input, values], params, here);
            let regions = [values, weights, sums];
            match self.form {
                Form::Subgroup => self.product(recording, regions, params, here),
                Form::Tiled => self.tiled(recording, product, regions, params, here),
            }
            // None where the chunk is empty.
            let tiles = here.min(plan.tiles.saturating_sub(first));
            recording.flops(plan.flops(&self.geometry, tiles));

            let constants = self.output_constants(recording, bias.is_some(), &output);
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
            let grid = [quads as u64, here.div_ceil(64) as u64, 1];
            let kernel = match whole_vectors(self.geometry.out_size.width) {
                1.0 => &OUTPUT,
                _ => &OUTPUT_ODD,
            };
            recording.dispatch(kernel, &constants, &regions, params, grid);
            let share = self.geometry.flops() as f64 * tiles as f64 / plan.tiles as f64;
            recording.stands_for((share as u64).max(1));
        }
    }

    fn params(&self, first_tile: usize, tiles: usize) -> Params {
        Params {
            first_tile: first_tile as u32,
            octets: (tiles / 8) as u32,
            out_quads: (2 * self.plan.octets) as u32,
            ..Params::of(&self.geometry)
        }
    }

    fn padding_constants(&self) -> [(&'static str, f64); 2] {
        let [top, left] = self.padding.map(|padding| padding as f64);
        [("PAD_TOP", top), ("PAD_LEFT", left)]
    }

    /// So many tiles of the input at the points.
    fn input(&self, recording: &mut Recording, regions: [Region; 2], params: Params, tiles: usize) {
        let (regions, [_, left]) = (regions.map(Some), self.padding);
        let mut constants = self.padding_constants().to_vec();
        let quads = (self.geometry.groups * self.plan.quads) as u64;
        let whole = whole_vectors(self.geometry.in_size.width) == 1.0;
        let (kernel, side) = match self.form {
            Form::Subgroup if whole => {
                let edges = needs_edge_loads(&self.geometry, left);
                constants.push(("EDGE_LOADS", flag(edges)));
                (&INPUT_SHARED, 8)
            }
            Form::Subgroup | Form::Tiled => (&INPUT, 64),
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

    fn output_constants(
        &self,
        recording: &mut Recording,
        has_bias: bool,
        output: &Output,
    ) -> Vec<(&'static str, f64)> {
        let mut constants = self.padding_constants().to_vec();
        constants.extend([
            ("BACKWARD", flag(self.backward)),
            ("HAS_BIAS", flag(has_bias)),
        ]);
        constants.extend(output.constants(recording));
        constants
    }

    /// The filters at the points.
    fn weights(&self, recording: &mut Recording, weight: Region) -> Region {
        let Conv2dGeometry {
            groups,
            in_channels,
            out_channels,
            ..
        } = self.geometry;
        let constants = [("BACKWARD", flag(self.backward))];
        let params = WeightParams {
            groups: groups as u32,
            in_channels: (in_channels / groups) as u32,
            out_channels: (out_channels / groups) as u32,
            octets: self.plan.octets as u32,
        };
        let len = self.plan.weights();
        let memory = ("weights at Winograd's points", Format::F32, len);
        let record = |recording: &mut Recording, values| {
            let (regions, grid) = ([Some(weight), Some(values)], flat_grid(len / (4 * POINTS)));
            recording.dispatch(&WEIGHT, &constants, &regions, params, grid);
        };
        recording.prepared(&WEIGHT, &constants, weight, memory, record)
    }
}
