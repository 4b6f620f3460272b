//! Convolution of 3x3 or 1x3 at stride 1 by Winograd's algorithm: the cores `winograd-subgroup` and `winograd-tiled`.

use super::conv2d::conv2d_params;
use super::conv2d_rows::needs_edge_loads;
use super::product::{Product, product};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, whole_vectors};
use crate::gpu::kernel::{Format, Kernel, Params as _, params, source};
use crate::gpu::strategy::winograd::{Form, TILES, Winograd};
use crate::gpu::strategy::{Core, Extents};
use crate::op::{Conv2dGeometry, Size2};

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
        points: u32,
        parts: u32,
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
    blocks: &[&blocks::WINOGRAD_VALUES, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[(0, "Weight")],
    params: WeightParams::LAYOUT,
    constants: &["MATRICES"],
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
    blocks: [&blocks::WINOGRAD],
    quads: [&blocks::VECTOR_QUADS]
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
    let geometry = geometry.lying();
    let [top, _, left, _] = geometry.padding;
    let run = Run {
        geometry,
        padding: [top, left],
        backward: false,
        layout: Layout::of_images(form),
        plan: Winograd::of(&geometry, false),
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
    let geometry = geometry.lying();
    let [top, _, left, _] = geometry.padding;
    let Size2 { height, width } = geometry.kernel;
    let run = Run {
        geometry: geometry.swapped(),
        padding: [height - 1 - top, width - 1 - left],
        backward: true,
        layout: Layout::of_images(form),
        plan: Winograd::of(&geometry, true),
        form,
    };
    run.record(recording, inputs, bias, output);
}

/// Matrices whose neighbours along k are none in memory.
pub(super) const NOT_ALONG_K: [(&str, f64); 2] = [("A_ALONG_K", 0.0), ("B_ALONG_K", 0.0)];

/// The tiled core with so many rows.
fn tiled_core(rows: usize) -> Core {
    let tiled = [Core::Tiled64, Core::Tiled128];
    let core = tiled.into_iter().find(|core| core.tile()[0] == rows);
    core.unwrap_or(Core::Tiled32)
}

/// How what is between the dispatches lies in memory: `core/winograd_layout.wgsl`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// For subgroups: tiles by eight, and channels by four.
    Octets,
    /// Tiles are neighbours: for a product that sums over channels.
    Tiles,
    /// Channels are neighbours: for one that sums over tiles.
    Channels,
}

impl Layout {
    /// Of a convolution that makes images.
    fn of_images(form: Form) -> Self {
        match form {
            Form::Subgroup => Self::Octets,
            Form::Tiled => Self::Tiles,
        }
    }

    /// Of one that makes a gradient of weights.
    pub fn of_weights(form: Form) -> Self {
        match form {
            Form::Subgroup => Self::Octets,
            Form::Tiled => Self::Channels,
        }
    }

    pub fn constant(self) -> (&'static str, f64) {
        let number = match self {
            Self::Octets => 0.0,
            Self::Tiles => 1.0,
            Self::Channels => 2.0,
        };
        ("LAYOUT", number)
    }

    /// Workgroups for so many quads of channels and so many tiles, filled up: products take whole octets of them.
    pub fn grid(self, quads: usize, tiles: usize) -> [u64; 3] {
        let [across, down] = match self {
            Self::Octets | Self::Tiles => [1, 16],
            Self::Channels => [4, 4],
        };
        let rows = tiles.next_multiple_of(16) / down;
        [quads.div_ceil(across) as u64, rows as u64, 1]
    }
}

/// A convolution as it runs.
pub(super) struct Run {
    pub geometry: Conv2dGeometry,
    /// Above and to the left.
    pub padding: [usize; 2],
    pub backward: bool,
    pub layout: Layout,
    pub plan: Winograd,
    pub form: Form,
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

            let mut constants = output.constants(recording).to_vec();
            constants.extend(self.constants());
            let regions = [
                Some(sums),
                bias,
                output.saved(),
                Some(output.region),
                Some(input),
                Some(weight),
            ];
            recording.iterations(plan.iterations());
            let quads = 2 * self.geometry.groups * plan.octets;
            let grid = self.layout.grid(quads, here);
            let kernel = match whole_vectors(self.geometry.out_size.width) {
                1.0 => &OUTPUT,
                _ => &OUTPUT_ODD,
            };
            recording.dispatch(kernel, &constants, &regions, params, grid);
            let share = self.geometry.flops() as f64 * tiles as f64 / plan.tiles as f64;
            recording.stands_for((share as u64).max(1));
        }
    }

    pub fn one_row(&self) -> (&'static str, f64) {
        ("ONE_ROW", flag(self.plan.one_row))
    }

    /// Of a transform of images.
    pub fn constants(&self) -> [(&'static str, f64); 2] {
        [self.layout.constant(), self.one_row()]
    }

    /// Of a chunk of at most so many tiles, and those that there are.
    pub fn params(&self, first_tile: usize, tiles: usize, here: usize) -> Params {
        Params {
            first_tile: first_tile as u32,
            octets: (tiles / 8) as u32,
            out_quads: (2 * self.plan.octets) as u32,
            chunk_octets: here.div_ceil(8) as u32,
            pad_top: self.padding[0] as u32,
            pad_left: self.padding[1] as u32,
            backward: self.backward.into(),
            points: self.plan.points() as u32,
            ..Params::of(&self.geometry)
        }
    }

    /// So many tiles of the input at the points.
    pub fn input(
        &self,
        recording: &mut Recording,
        regions: [Region; 2],
        params: Params,
        tiles: usize,
    ) {
        let (regions, [_, left]) = (regions.map(Some), self.padding);
        let mut constants = self.constants().to_vec();
        let quads = self.geometry.groups * self.plan.quads;
        let whole = whole_vectors(self.geometry.in_size.width) == 1.0;
        if self.form == Form::Subgroup && whole {
            let edges = needs_edge_loads(&self.geometry, left);
            constants.extend([("PAD_LEFT", left as f64), ("EDGE_LOADS", flag(edges))]);
            let grid = [quads as u64, tiles.div_ceil(8) as u64, 1];
            return recording.dispatch(&INPUT_SHARED, &constants, &regions, params, grid);
        }
        let grid = self.layout.grid(quads, tiles);
        recording.dispatch(&INPUT, &constants, &regions, params, grid);
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
            plan.points() as u64,
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
        let extents = Extents {
            m: params.out_channels as usize,
            n: tiles,
            k: params.in_channels as usize,
            slices: self.plan.points() * self.geometry.groups,
        };
        let regions = [weights, values, sums].map(Some);
        let (core, constants) = (tiled_core(rows), NOT_ALONG_K.to_vec());
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
        let matrices = ("MATRICES", flag(self.form == Form::Tiled));
        let constants = [matrices, self.one_row()];
        let len = self.plan.weights();
        let memory = ("weights at Winograd's points", Format::F32, len);
        let record = |recording: &mut Recording, values| {
            let (regions, grid) = (
                [Some(weight), Some(values)],
                flat_grid(len / self.plan.points()),
            );
            recording.dispatch(&WEIGHT, &constants, &regions, params, grid);
        };
        recording.prepared(&WEIGHT, (&constants, params), weight, memory, record)
    }
}
