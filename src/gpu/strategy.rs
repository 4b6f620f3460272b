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

/// Which core convolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConvStrategy {
    /// The blocked product with tiles in workgroup memory.
    Tiled,
    /// Rows of pixels shared by a subgroup of 8.
    Rows,
    /// An invocation per output.
    Direct,
}

/// Whether cores for subgroups of exactly 8 serve: on software adapters, where workgroup memory is
/// no faster than any other and sharing by shuffles is.
pub(crate) fn subgroups_of_8(traits: &Traits) -> bool {
    traits.software && traits.subgroup_size == 8
}

/// The core for a convolution's forward pass.
pub(crate) fn conv2d_forward(traits: &Traits, geometry: &Conv2dGeometry) -> ConvStrategy {
    let plain = geometry.stride == Size2::ONE && geometry.dilation == Size2::ONE;
    if subgroups_of_8(traits) && geometry.groups == 1 && plain {
        ConvStrategy::Rows
    } else if few_channels(geometry) {
        ConvStrategy::Direct
    } else {
        ConvStrategy::Tiled
    }
}

/// The core for a convolution's input gradient.
pub(crate) fn conv2d_backward_input(traits: &Traits, geometry: &Conv2dGeometry) -> ConvStrategy {
    // As a convolution of the output gradient its padding must not be negative.
    let [top, _, left, _] = geometry.padding;
    let within = top < geometry.kernel.height && left < geometry.kernel.width;
    match conv2d_forward(traits, geometry) {
        ConvStrategy::Rows if !within => ConvStrategy::Tiled,
        strategy => strategy,
    }
}

/// The core for a convolution's weight gradient.
pub(crate) fn conv2d_backward_weight(traits: &Traits, geometry: &Conv2dGeometry) -> ConvStrategy {
    // The taps core has a workgroup per tile of 16 channels and 8 filter rows along one dimension.
    let rows = geometry.in_channels * geometry.kernel.height;
    let tiles = geometry.out_channels.div_ceil(16) * rows.div_ceil(8);
    match conv2d_forward(traits, geometry) {
        ConvStrategy::Rows if tiles > 65_535 => ConvStrategy::Tiled,
        strategy => strategy,
    }
}

/// Whether a group has so few channels that tiles of 64 would be nearly empty.
fn few_channels(geometry: &Conv2dGeometry) -> bool {
    let channels = |all: usize| all / geometry.groups;
    geometry.groups > 1 && channels(geometry.in_channels).max(channels(geometry.out_channels)) <= 8
}

/// Parts that the long sum of a weight gradient is split into, so that its few tiles fill the
/// device; the parts are added in a fixed order. `tiles` is the number of tiles of the product,
/// `inner` the length of the sum.
pub(crate) fn weight_gradient_parts(tiles: usize, inner: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 64;
    /// The shortest sum worth a workgroup of its own.
    const SHORTEST: usize = 256;
    let busy = (WANTED / tiles.max(1)).clamp(1, (inner / SHORTEST).max(1));
    // Each step of 16 makes one turn more than it is long.
    busy.max(inner.div_ceil(LOOP_LIMIT / 17 * 16))
}

/// Parts that the values of a channel are split into for the bias gradient of `channels` planes.
pub(crate) fn bias_parts(batch: usize, channels: usize, plane: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 64;
    /// The shortest sum worth a workgroup of its own.
    const SHORTEST: usize = 4096;
    let values = batch * plane;
    let busy = (WANTED / channels).clamp(1, (values / SHORTEST).max(1));
    busy.max(values.div_ceil(64 * LOOP_LIMIT))
}

/// Parts that the output rows of all images are split into for the taps core. `tiles` is the number
/// of its workgroups per part, `strips` the strips of four pixels in an output row.
pub(crate) fn tap_splits(tiles: usize, rows: usize, strips: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 96;
    let wanted = WANTED.div_ceil(tiles);
    let longest = (LOOP_LIMIT / (1 + strips)).max(1);
    let per_split = rows.div_ceil(wanted.min(rows)).min(longest);
    rows.div_ceil(per_split)
}

/// Iterations that the loops of one invocation may make in all on a software adapter. Mesa's
/// llvmpipe ends every loop without a word after 65,535 of them.
pub(crate) const LOOP_LIMIT: usize = 60_000;
