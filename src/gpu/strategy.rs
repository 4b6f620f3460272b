//! Which core serves which shape on which adapter.

use crate::op::{Conv2dGeometry, Size2};

/// What the choice of kernels and the layout of memory depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// A software driver, whose "workgroup memory" is no faster than any other.
    pub software: bool,
    /// Invocations in every subgroup, or 0 where that is not fixed or subgroups cannot be used.
    pub subgroup_size: u32,
    pub storage_alignment: u64,
    pub uniform_alignment: u64,
    /// The largest storage binding in bytes.
    pub max_binding: u64,
    /// The largest buffer in bytes.
    pub max_buffer: u64,
}

impl Traits {
    /// WebGPU's defaults, for planning without a device.
    #[cfg(test)]
    pub const DEFAULT: Self = Self {
        software: false,
        subgroup_size: 0,
        storage_alignment: 256,
        uniform_alignment: 256,
        max_binding: 128 << 20,
        max_buffer: 256 << 20,
    };
}

/// Parts that the long sum of a weight gradient is split into, so that its few tiles fill the
/// device; the parts are added in a fixed order. `tiles` is the number of tiles of the product,
/// `inner` the length of the sum.
pub(crate) fn weight_gradient_splits(tiles: usize, inner: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 64;
    /// The shortest sum worth a workgroup of its own.
    const SHORTEST: usize = 256;
    (WANTED / tiles.max(1)).clamp(1, (inner / SHORTEST).max(1))
}

/// Whether the rows core convolves: no groups, stride 1, dilation 1, on subgroups of 8. It is faster
/// than the tiled product wherever workgroup memory is no faster than any other.
pub(crate) fn conv2d_by_rows(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let plain = geometry.stride == Size2::ONE && geometry.dilation == Size2::ONE;
    traits.software && traits.subgroup_size == 8 && geometry.groups == 1 && plain
}

/// Whether the rows core computes the input gradient too: its padding must not be negative.
pub(crate) fn conv2d_backward_input_by_rows(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let [top, _, left, _] = geometry.padding;
    let within = top < geometry.kernel.height && left < geometry.kernel.width;
    within && conv2d_by_rows(traits, geometry)
}

/// Parts that the output rows of all images are split into for the taps core. `tiles` is the number
/// of its workgroups per part, `strips` the strips of four pixels in an output row.
pub(crate) fn tap_splits(tiles: usize, rows: usize, strips: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 96;
    let wanted = WANTED
        .div_ceil(tiles)
        .max((rows * (1 + strips)).div_ceil(LOOP_LIMIT));
    let per_split = rows.div_ceil(wanted.min(rows));
    rows.div_ceil(per_split)
}

/// Iterations that the loops of one invocation may make in all. Mesa's llvmpipe ends every loop
/// without a word after 65,535 of them.
pub(crate) const LOOP_LIMIT: usize = 50_000;
