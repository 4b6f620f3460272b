//! The weight gradient of a convolution of 3x3 by Winograd's algorithm: F(3x3, 4x4), and of 1x3, F(3, 4), at the points that
//! [`conv2d_winograd`](super::conv2d_winograd) has.

use super::conv2d_winograd::{Layout, NOT_ALONG_K, PRODUCT, Params, Run};
use super::product::{Product, product};
use super::{Read, ReadWrite, Recording, Region};
use super::{blocks, conv2d_again, flag, flat_grid, reduce, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, source};
use crate::gpu::strategy::Extents;
use crate::gpu::strategy::winograd::{Form, Winograd};
use crate::op::Conv2dGeometry;

/// The output's gradient at the points.
pub(crate) const GRADIENT: Kernel = Kernel {
    name: "conv2d_winograd_gradient",
    source: source!("conv2d_winograd_gradient.wgsl"),
    blocks: &[&blocks::WINOGRAD_LAYOUT, &blocks::WINOGRAD_VALUES],
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

pub(crate) const WEIGHT_PRODUCT_TILED: Product = product!(
    "conv2d_winograd_weight_product_tiled",
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params,
    constants: [],
    source: "conv2d_winograd_weight_product_tiled.wgsl",
    blocks: [&blocks::WINOGRAD],
    quads: [&blocks::VECTOR_QUADS]
);

pub(crate) const WEIGHT_OUTPUT: Kernel = Kernel {
    name: "conv2d_winograd_weight_output",
    source: source!("conv2d_winograd_weight_output.wgsl"),
    blocks: &[&blocks::WINOGRAD, &blocks::WINOGRAD_POINTS, &blocks::FLAT],
    bindings: &[Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    &GRADIENT,
    &WEIGHT_PRODUCT,
    WEIGHT_PRODUCT_TILED.by_4x4,
    WEIGHT_PRODUCT_TILED.by_8x4,
    &WEIGHT_OUTPUT,
];

/// The weight gradient: chunk by chunk, the tiles of the input and of the output's gradient at the points, and what their
/// products add to the sums there; then what comes of these.
pub(super) fn backward_weight(
    recording: &mut Recording,
    form: Form,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    gradient_weight: Region,
) {
    let lying = geometry.lying();
    let [top, _, left, _] = lying.padding;
    let run = Run {
        geometry: lying,
        padding: [top, left],
        backward: false,
        layout: Layout::of_weights(form),
        plan: Winograd::of(geometry, false),
        form,
    };
    run.record_weight(recording, inputs, gradient_weight);
    conv2d_again::weight(recording, geometry, inputs, gradient_weight);
}

impl Run {
    fn record_weight(
        &self,
        recording: &mut Recording,
        [input, gradient]: [Region; 2],
        gradient_weight: Region,
    ) {
        let (plan, geometry) = (&self.plan, &self.geometry);
        let traits = recording.traits;
        let chunks = recording.parts(|| plan.weight_chunks(&traits, self.form));
        let most = plan.chunk(chunks);
        let [values, gradients] = plan.weight_scratch(geometry, most);
        let values = recording.transient("tiles at Winograd's points", values);
        let gradients = recording.transient("gradients at Winograd's points", gradients);
        let parts = recording.parts(|| plan.weight_parts(&traits, self.form, geometry, most));
        let (len, label) = (plan.weights(), "weight gradient at Winograd's points");
        let sums = recording.transient(label, parts * len);
        let out_quads = (geometry.out_channels / geometry.groups).div_ceil(4);
        for chunk in 0..chunks {
            let first = chunk * most;
            let here = plan.tiles.saturating_sub(first).clamp(1, most);
            let params = Params {
                parts: parts as u32,
                ..self.params(first, most, here)
            };
            self.input(recording, [input, values], params, here);
            let regions = [gradient, gradients].map(Some);
            let grid = self.layout.grid(geometry.groups * out_quads, here);
            let whole = ("WHOLE", whole_vectors(geometry.out_size.width));
            let [layout, one_row] = self.constants();
            let constants = [whole, layout, one_row];
            recording.dispatch(&GRADIENT, &constants, &regions, params, grid);
            let regions = [values, gradients, sums];
            match self.form {
                Form::Subgroup => self.weight_product(recording, regions, params, here),
                Form::Tiled => self.tiled_to_weights(recording, regions, params, here),
            }
            let tiles = here.min(plan.tiles.saturating_sub(first));
            recording.flops(plan.flops(geometry, tiles));
        }
        let mut total = sums;
        if parts > 1 {
            total = recording.transient("weight gradient of all parts at Winograd's points", len);
            reduce::sum_parts(recording, sums, parts, [1, len, 1], None, total.into());
        }
        let params = self.params(0, most, 0);
        let regions = [total, gradient_weight].map(Some);
        let grid = flat_grid(geometry.out_channels * 4 * plan.quads);
        recording.dispatch(&WEIGHT_OUTPUT, &[self.one_row()], &regions, params, grid);
        recording.stands_for(geometry.flops().max(1));
    }

    /// What a chunk adds to the gradients at the points, for subgroups.
    fn weight_product(
        &self,
        recording: &mut Recording,
        regions: [Region; 3],
        params: Params,
        tiles: usize,
    ) {
        let plan = &self.plan;
        let octets = if plan.wide { 4 } else { 2 };
        let grid = [
            (self.geometry.groups * plan.octets / octets) as u64,
            plan.quads.div_ceil(8) as u64,
            plan.points() as u64,
        ];
        let (constants, regions) = ([("WIDE", flag(plan.wide))], regions.map(Some));
        recording.iterations(tiles.div_ceil(8));
        recording.dispatch(&WEIGHT_PRODUCT, &constants, &regions, params, grid);
    }

    /// The same by a tiled core.
    fn tiled_to_weights(
        &self,
        recording: &mut Recording,
        [values, gradients, sums]: [Region; 3],
        params: Params,
        tiles: usize,
    ) {
        let parts = params.parts as usize;
        let extents = Extents {
            m: params.out_channels as usize,
            n: params.in_channels as usize,
            k: tiles.div_ceil(parts),
            slices: self.plan.points() * self.geometry.groups * parts,
        };
        let regions = [gradients, values, sums].map(Some);
        let core = Winograd::weight_product(&self.geometry);
        let constants = NOT_ALONG_K.to_vec();
        WEIGHT_PRODUCT_TILED.dispatch(recording, core, extents, constants, &regions, params);
    }
}
