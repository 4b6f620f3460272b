//! Which core serves which shape on which adapter, and how long sums are split.

mod again;
mod cores;
mod depthwise;
pub(crate) mod fft;
mod filters;
mod sums;
mod tiles;
mod unfolded;
pub(crate) mod winograd;

use std::collections::BTreeMap;

pub(crate) use again::{invocations, shares, weight_iterations};
pub(crate) use cores::Core;
pub(crate) use depthwise::{segment_parts, segments};
use filters::longest_split;
pub(crate) use filters::{packed_len, tap_splits, tap_sums, tap_tiles, tiled_len};
pub(crate) use sums::{
    LONGEST_GROUP_SUM, LOOP_LIMIT, SUMMED_SLABS, direct_iterations, group_iterations, group_parts,
    row_taps, rows_iterations, shared_iterations, strided_iterations, sum_parts, tiled_iterations,
};
use sums::{LONGEST_OF_IMAGES, MOST, ROOM};

pub(crate) use super::work::{Extents, Stored, Work};
use crate::op::{Conv2dGeometry, Size2};

/// What the choice of kernels and the layout of memory depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traits {
    /// A software driver, whose "workgroup memory" is no faster than any other.
    pub software: bool,
    /// Invocations in every subgroup, or 0 where that is not fixed or subgroups cannot be used.
    pub subgroup_size: u32,
    /// Whether a GPU has 128 vectors of registers for an invocation and no more, as Intel's for subgroups of 8.
    pub few_registers: bool,
    pub storage_alignment: u64,
    pub uniform_alignment: u64,
    /// The largest storage binding in bytes.
    pub max_binding: u64,
    /// The largest buffer in bytes.
    pub max_buffer: u64,
    /// Workgroups along one dimension of a grid.
    pub max_workgroups: u32,
    /// What work is shared by: compute units, SMs or cores, one at least.
    pub compute_units: u32,
    /// The core that is taken wherever it serves, in place of the table's choice.
    pub preferred: Option<Core>,
    /// Whether only cores serve that add up a sum's own products.
    pub direct_only: bool,
}

impl Traits {
    /// WebGPU's defaults, for planning without a device.
    pub const DEFAULT: Self = Self {
        software: false,
        subgroup_size: 0,
        few_registers: false,
        storage_alignment: 256,
        uniform_alignment: 256,
        max_binding: 128 << 20,
        max_buffer: 256 << 20,
        max_workgroups: 65_535,
        compute_units: 64,
        preferred: None,
        direct_only: false,
    };

    /// Whether cores for subgroups of exactly 8 serve: on software adapters, where workgroup memory
    /// is no faster than any other and sharing by shuffles is.
    pub fn subgroups_of_8(&self) -> bool {
        self.software && self.subgroup_size == 8
    }

    /// How many buffers of so many elements one binding holds.
    pub fn holds(&self, elements: usize) -> usize {
        let most = self.max_binding.min(self.max_buffer) / 4;
        usize::try_from(most).unwrap_or(usize::MAX) / elements.max(1)
    }

    /// Whether the loops of one invocation may make so many iterations.
    fn allows(&self, iterations: usize) -> bool {
        !self.software || iterations <= LOOP_LIMIT
    }
}

/// The cores that can do a piece of work on an adapter and are not known to be far slower, the one first that is expected to be the fastest: the
/// table's choice, those that are for a kind of work alone, tiles by what they are estimated to take.
#[cfg(feature = "native")]
pub(crate) fn candidates(traits: &Traits, work: &Work) -> Vec<Core> {
    let other = by_sums(traits, work);
    let worth = |core: Core| match core {
        Core::Fft => fft::may_pay(traits, work, other),
        Core::TiledLean => traits.few_registers,
        Core::Tiled32
        | Core::Tiled64
        | Core::Tiled128
        | Core::Subgroup
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Direct => true,
    };
    let serves = |core: &Core| worth(*core) && serves(*core, traits, work);
    let mut cores: Vec<Core> = Core::ALL.into_iter().filter(serves).collect();
    let table = table(traits, work);
    let place = |core: Core| match core {
        _ if core == table => (0, 0.0),
        Core::Subgroup
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft => (1, 0.0),
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 | Core::TiledLean => {
            (2, tiles::cost(traits, work, core))
        }
        Core::Direct => (3, 0.0),
    };
    cores.sort_by(|a, b| {
        place(*a)
            .partial_cmp(&place(*b))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    cores
}

/// Cores that were measured to be the fastest, by [`choice_key`].
pub(crate) type Choices = BTreeMap<String, Core>;

/// What a choice is known by: the work, and whether a core that serves otherwise is left out, since what is the
/// fastest may then be another.
pub(crate) fn choice_key(traits: &Traits, stored: &Stored) -> String {
    let others = Traits {
        direct_only: false,
        ..*traits
    };
    let left_out = |core| serves(core, &others, &stored.work);
    let fast = [Core::WinogradSubgroup, Core::WinogradTiled, Core::Fft];
    match traits.direct_only && fast.into_iter().any(left_out) {
        true => format!("{stored} by direct sums"),
        false => stored.to_string(),
    }
}

/// The core for a piece of work: the preferred one, the one that was chosen for it, or the table's.
pub(crate) fn core(traits: &Traits, chosen: Option<Core>, work: &Work) -> Core {
    let serving = |core: &Core| serves(*core, traits, work);
    let preferred = traits.preferred.filter(serving);
    let other = || {
        chosen
            .filter(serving)
            .unwrap_or_else(|| table(traits, work))
    };
    preferred.unwrap_or_else(other)
}

/// Whether a core can do a piece of work on an adapter.
pub(crate) fn serves(core: Core, traits: &Traits, work: &Work) -> bool {
    if !core.exists() || traits.holds(scratch(core, work)) == 0 {
        return false;
    }
    let k = work.extents().k;
    // Here a sum is one chain of products, which loses digits; the tiled cores make it of blocks and parts.
    let short = match work {
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) => k <= LONGEST_OF_IMAGES,
        Work::Matmul(..) | Work::Conv2dBackwardWeight(_) => true,
    };
    match core {
        // Long sums are split. Slices that are too many belong to groups of few channels.
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 | Core::TiledLean => {
            work.extents().slices <= MOST
        }
        Core::Subgroup => traits.subgroups_of_8() && work.geometry().is_none(),
        Core::Rows => short && traits.subgroups_of_8() && rows_serve(traits, work),
        Core::Strided => short && traits.subgroups_of_8() && strided_serves(traits, work),
        Core::Depthwise => short && depthwise::serves(work),
        Core::Unfolded => {
            let serves = |geometry| unfolded::serves(traits, geometry);
            traits.subgroups_of_8() && work.geometry().is_some_and(serves)
        }
        Core::WinogradSubgroup => {
            let form = winograd::Form::Subgroup;
            short && traits.subgroups_of_8() && winograd::serves(traits, work, form)
        }
        Core::WinogradTiled => short && winograd::serves(traits, work, winograd::Form::Tiled),
        Core::Fft => fft::serves(traits, work),
        Core::Direct => match work {
            Work::Matmul(..) => false,
            Work::Conv2dBackwardWeight(_) => true,
            Work::Conv2dForward(geometry) | Work::Conv2dBackwardInput(geometry) => {
                short && traits.allows(direct_iterations(geometry, k))
            }
        },
    }
}

/// Elements of the buffer that a core keeps weights in as it reads them, or the parts of their gradient
/// as it writes them: with what fills whole tiles up, it may outgrow what a layer's own buffers need.
fn scratch(core: Core, work: &Work) -> usize {
    match core {
        Core::Rows | Core::Strided => match work {
            Work::Matmul(..) => 0,
            Work::Conv2dForward(geometry) => packed_len(geometry, false),
            Work::Conv2dBackwardInput(geometry) => packed_len(geometry, true),
            Work::Conv2dBackwardWeight(geometry) => {
                let rows = geometry.batch * geometry.out_size.height;
                tap_sums(geometry) * rows.div_ceil(longest_split(geometry))
            }
        },
        Core::Depthwise => depthwise::scratch(work),
        Core::Unfolded => work.geometry().map_or(0, unfolded::scratch),
        Core::WinogradSubgroup | Core::WinogradTiled => winograd::scratch(work),
        Core::Fft => fft::scratch(work),
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 | Core::TiledLean => {
            let weights = work.image_pass();
            weights.map_or(0, |(geometry, backward)| tiled_len(geometry, backward))
        }
        Core::Subgroup | Core::Direct => 0,
    }
}

/// What is known to be fast.
fn table(traits: &Traits, work: &Work) -> Core {
    let other = by_sums(traits, work);
    // Asked first, so that what follows is not in a program without the core.
    let exists = Core::Fft.exists();
    let pays = exists && fft::pays(traits, work, other) && serves(Core::Fft, traits, work);
    if pays { Core::Fft } else { other }
}

/// What is known to be fast but for Fourier transforms.
fn by_sums(traits: &Traits, work: &Work) -> Core {
    match work.geometry() {
        None if serves(Core::Subgroup, traits, work) => Core::Subgroup,
        Some(geometry) if geometry.groups > 1 && serves(Core::Depthwise, traits, work) => {
            Core::Depthwise
        }
        Some(_) if winograd::pays(work) && serves(Core::WinogradSubgroup, traits, work) => {
            Core::WinogradSubgroup
        }
        Some(_) if winograd::fills(traits, work) && serves(Core::WinogradTiled, traits, work) => {
            Core::WinogradTiled
        }
        Some(geometry)
            if unfolded::pays(work, geometry) && serves(Core::Unfolded, traits, work) =>
        {
            Core::Unfolded
        }
        Some(_) if serves(Core::Rows, traits, work) => Core::Rows,
        Some(_) if serves(Core::Strided, traits, work) => Core::Strided,
        Some(geometry) if direct(work, geometry) && serves(Core::Direct, traits, work) => {
            Core::Direct
        }
        _ => {
            // Where tiles share nothing but a CPU's memory, the smallest are compiled the fastest: SwiftShader writes
            // an instruction for each word of them that it fills with zeros, as a browser wants it.
            let tile = match traits.software && !traits.subgroups_of_8() {
                true => Core::Tiled32,
                false => tiles::fastest(traits, work),
            };
            let serves = serves(tile, traits, work);
            if serves { tile } else { Core::Direct }
        }
    }
}

/// Whether a group has channels enough on both sides for a subgroup to share what it loads.
fn shared(geometry: &Conv2dGeometry) -> bool {
    geometry.groups == 1
        || group_channels(geometry)
            .into_iter()
            .all(|channels| channels >= 2)
}

/// Whether the core for rows of pixels can do a convolution.
fn rows_serve(traits: &Traits, work: &Work) -> bool {
    let Some(geometry) = work.geometry() else {
        return false;
    };
    let plain = geometry.stride == Size2::ONE && geometry.dilation == Size2::ONE;
    let fits = match work {
        Work::Conv2dBackwardInput(_) => {
            // As a convolution of the output gradient its padding must not be negative.
            let [top, _, left, _] = geometry.padding;
            top < geometry.kernel.height && left < geometry.kernel.width
        }
        // It sums a row at least by itself, which must not be long enough to lose digits.
        Work::Conv2dBackwardWeight(_) => {
            taps_serve(traits, geometry) && geometry.out_size.width <= LONGEST_ROW
        }
        Work::Conv2dForward(_) | Work::Matmul(..) => true,
    };
    let [from, to] = group_channels(geometry);
    let channels = match work {
        Work::Conv2dBackwardInput(_) => to,
        Work::Conv2dForward(_) => from,
        Work::Conv2dBackwardWeight(_) | Work::Matmul(..) => 0,
    };
    let fits = fits && rows_iterations(channels, geometry.kernel) <= LOOP_LIMIT;
    plain && shared(geometry) && fits && tiles_serve(traits, geometry)
}

/// Whether the core for strips of pixels can do a convolution.
fn strided_serves(traits: &Traits, work: &Work) -> bool {
    let Some(geometry) = work.geometry() else {
        return false;
    };
    let fits = match work {
        Work::Conv2dBackwardWeight(_) => taps_serve(traits, geometry),
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => {
            strided_iterations(geometry, work.extents().k) <= LOOP_LIMIT
        }
    };
    shared(geometry) && fits && tiles_serve(traits, geometry)
}

/// Channels of one group: those of the input and those of the output.
fn group_channels(geometry: &Conv2dGeometry) -> [usize; 2] {
    [geometry.in_channels, geometry.out_channels].map(|channels| channels / geometry.groups)
}

/// Whether a grid has room for all groups' tiles of 16 channels, whichever way the convolution runs.
fn tiles_serve(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let tiles = |channels: usize| geometry.groups * channels.div_ceil(16);
    let most = group_channels(geometry).into_iter().map(tiles).max();
    most <= Some(traits.max_workgroups as usize)
}

/// The longest output row that the core for rows of pixels takes for a weight gradient.
const LONGEST_ROW: usize = 512;

/// Whether the cores for weight gradients have room: for a workgroup per tile of 16 channels and 8
/// filter rows along one dimension of the grid, and for a turn per strip of an output row.
fn taps_serve(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let [rows, channels] = tap_tiles(geometry);
    rows * channels <= traits.max_workgroups as usize
        && geometry.out_size.width.div_ceil(4) + 2 <= LOOP_LIMIT
}

/// Whether a group has so few channels that tiles would be nearly empty, or an image so few, as in
/// the first layer, that a product would find more addresses than it multiplies.
fn direct(work: &Work, geometry: &Conv2dGeometry) -> bool {
    let [from, to] = group_channels(geometry);
    let few = geometry.groups > 1 && from.max(to) <= 8;
    few || (from <= 4 && wide(work))
}

/// Whether the direct core computes 16 or 32 channels of a pixel at once.
pub(crate) fn wide(work: &Work) -> bool {
    let Extents { m, k, .. } = work.extents();
    matches!(work, Work::Conv2dForward(_)) && m >= 8 && k <= WIDE_TAPS
}

/// Taps of all input channels of a group for which the wide direct kernel has room.
pub(crate) const WIDE_TAPS: usize = 128;

/// Taps that the filters of the wide kernel have room for, one of few numbers, since each is a pipeline of its own.
pub(crate) fn wide_room(taps: usize) -> usize {
    taps.next_multiple_of(32)
}

/// Quads of channels that an invocation of the wide kernel computes: 8 where there are as many, the filters leave room
/// for many workgroups, and registers are enough.
pub(crate) fn wide_quads(traits: &Traits, extents: &Extents) -> usize {
    let many = extents.m > 16 && extents.k <= 32;
    if many && !traits.few_registers { 8 } else { 4 }
}

/// Rows of a tile of the core for subgroups: 16, or 64, which make half as many loads but take lavapipe half a
/// second to compile, where that pays and leaves work for all cores.
pub(crate) fn subgroup_rows(traits: &Traits, [m, n, k]: [usize; 3], parts: usize) -> usize {
    /// Multiply-adds of a product that takes tens of milliseconds.
    const LARGE: usize = 1 << 26;
    let tall = m.div_ceil(64) * n.div_ceil(32) * parts;
    let pays = m > 32 && m.saturating_mul(n).saturating_mul(k) >= LARGE;
    match pays && tall >= 2 * traits.compute_units as usize {
        true => 64,
        false => 16,
    }
}

#[cfg(test)]
mod tests;
