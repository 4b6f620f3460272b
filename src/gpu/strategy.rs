//! Which core serves which shape on which adapter, and how long sums are split.

mod depthwise;
pub(crate) mod fft;
mod filters;
mod tiles;
mod unfolded;
pub(crate) mod winograd;

use std::collections::BTreeMap;

pub(crate) use depthwise::{segment_parts, segments};
use filters::longest_split;
pub(crate) use filters::{packed_len, tap_splits, tap_sums, tap_tiles, tiled_len};

pub(crate) use super::work::{Extents, Stored, Work};
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
    fn subgroups_of_8(&self) -> bool {
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

/// A way to compute a product or a convolution. Most are files of `shaders/core`, which the kernels
/// of several operations build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Core {
    /// The blocked product, with tiles in workgroup memory that have 32 rows and columns:
    /// `product_4x4.wgsl` with `product.wgsl`.
    Tiled32,
    /// The same with 64: the same two files.
    Tiled64,
    /// Tiles of 128 x 64: `product_8x4.wgsl` with `product.wgsl`.
    Tiled128,
    /// The blocked product without workgroup memory, for subgroups of 8: `product_subgroup.wgsl`.
    Subgroup,
    /// Convolution by rows of pixels, shared by a subgroup of 8: `rows.wgsl`, and `taps.wgsl` for
    /// the weight gradient.
    Rows,
    /// Convolution by strips of pixels with any stride and dilation, for the same subgroups:
    /// `strided.wgsl`, and `strided_taps.wgsl` for the weight gradient.
    Strided,
    /// Convolution of single channels by strips of columns: `depthwise_forward.wgsl`,
    /// `depthwise_backward_input.wgsl`, and a kernel of its own for the weight gradient.
    Depthwise,
    /// Convolution as one product of unfolded images, for subgroups of 8: `conv2d_unfold.wgsl`,
    /// `product_subgroup.wgsl` and `conv2d_fold.wgsl`.
    Unfolded,
    /// Convolution of 3x3 by Winograd's algorithm, for subgroups of 8: `conv2d_winograd_*.wgsl`.
    WinogradSubgroup,
    /// The same on the blocked product, for GPUs.
    WinogradTiled,
    /// Convolution with large filters by Fourier transforms of blocks: `conv2d_fft_*.wgsl`.
    Fft,
    /// Convolution with an invocation per output, or per 16 channels of one. No file: the kernels
    /// `conv2d_direct_*.wgsl` have little in common.
    Direct,
}

impl Core {
    pub const ALL: [Self; 12] = [
        Self::Tiled32,
        Self::Tiled64,
        Self::Tiled128,
        Self::Subgroup,
        Self::Rows,
        Self::Strided,
        Self::Depthwise,
        Self::Unfolded,
        Self::WinogradSubgroup,
        Self::WinogradTiled,
        Self::Fft,
        Self::Direct,
    ];

    /// Its name in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiled32 => "tiled-32",
            Self::Tiled64 => "tiled-64",
            Self::Tiled128 => "tiled-128",
            Self::Subgroup => "subgroup",
            Self::Rows => "rows",
            Self::Strided => "strided",
            Self::Depthwise => "depthwise",
            Self::Unfolded => "unfolded",
            Self::WinogradSubgroup => "winograd-subgroup",
            Self::WinogradTiled => "winograd-tiled",
            Self::Fft => "fft",
            Self::Direct => "direct",
        }
    }

    /// Whether this program has it. A page has the cores alone that it can meet: browsers offer no subgroups, Winograd's
    /// algorithm on tiles is the autotuner's choice, and Fourier transforms are that or a software adapter's.
    pub const fn exists(self) -> bool {
        match self {
            Self::Tiled32 | Self::Tiled64 | Self::Tiled128 | Self::Depthwise | Self::Direct => true,
            Self::Subgroup
            | Self::Rows
            | Self::Strided
            | Self::Unfolded
            | Self::WinogradSubgroup
            | Self::WinogradTiled
            | Self::Fft => !cfg!(target_arch = "wasm32"),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|core| core.name() == name)
    }

    /// Rows and columns of C that a workgroup of the tiled cores computes. The others have no tiles.
    pub fn tile(self) -> [usize; 2] {
        match self {
            Self::Tiled32 => [32, 32],
            Self::Tiled64 => [64, 64],
            Self::Tiled128 => [128, 64],
            Self::Subgroup
            | Self::Rows
            | Self::Strided
            | Self::Depthwise
            | Self::Unfolded
            | Self::WinogradSubgroup
            | Self::WinogradTiled
            | Self::Fft
            | Self::Direct => [1, 1],
        }
    }
}

/// The cores that can do a piece of work on an adapter and are not known to be far slower, the one first that is expected to be the fastest: the
/// table's choice, those that are for a kind of work alone, tiles by what they are estimated to take.
#[cfg(feature = "native")]
pub(crate) fn candidates(traits: &Traits, work: &Work) -> Vec<Core> {
    let other = by_sums(traits, work);
    let worth = |core: Core| core != Core::Fft || fft::may_pay(traits, work, other);
    let serves = |core: &Core| serves(*core, traits, work) && worth(*core);
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
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 => (2, tiles::cost(traits, work, core)),
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
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 => work.extents().slices <= MOST,
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
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 => {
            let weights = work.image_pass();
            weights.map_or(0, |(geometry, backward)| tiled_len(geometry, backward))
        }
        Core::Subgroup | Core::Direct => 0,
    }
}

/// What is known to be fast.
fn table(traits: &Traits, work: &Work) -> Core {
    let other = by_sums(traits, work);
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

/// Whether the direct core computes 16 channels of a pixel at once.
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

/// The longest sum of an invocation for results that are activations, of which there are many. As one chain
/// of products of one sign it is off by 1.6e-4 of itself at most, as a chain of blocks by a few 1e-6.
const LONGEST_OF_IMAGES: usize = 16_384;

/// Results of all parts of split sums: 16 MiB.
const ROOM: usize = 1 << 22;

/// Parts of split sums at most: within the workgroups of one dimension.
const MOST: usize = 32_768;

/// Parts that the sums of a product are split into; the parts are added in a fixed order. Few tiles fill the
/// device so, and no sum is long enough to lose digits. Where many parts have no room, there are
/// at least so many that none is longer than those of images, as far as a buffer holds them.
pub(crate) fn sum_parts(traits: &Traits, work: &Work, core: Core) -> usize {
    /// The longest sum of an invocation, where there is room.
    const LONGEST: usize = 1024;
    let Extents { m, n, k, slices } = work.extents();
    let longest = match work {
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) => LONGEST_OF_IMAGES,
        Work::Matmul(..) | Work::Conv2dBackwardWeight(_) => LONGEST,
    };
    let short = (k / longest).min(ROOM / (m * n * slices).max(1));
    let least = short.max(k.div_ceil(LONGEST_OF_IMAGES)).max(1);
    let wanted = match core {
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 => tiles::parts(traits, work, core, least),
        Core::Subgroup
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft
        | Core::Direct => least,
    };
    let within_loops = match traits.software {
        true => k.div_ceil(LOOP_LIMIT / 37 * 32),
        false => 1,
    };
    let most = traits.holds(m * n * slices).max(1);
    let wanted = wanted.min(most).max(within_loops);
    wanted.min(MOST / slices.max(1)).max(1)
}

/// Iterations that the loops of an invocation of the tiled cores make for sums of length `k`: a turn
/// for each block, 4 at most for its steps, and one for each term.
pub(crate) fn tiled_iterations(k: usize) -> usize {
    k.div_ceil(32) * 37
}

/// Iterations that the loops of an invocation of the direct core make for sums of length `k`: a turn for each
/// tap, filter row and channel, and the search for the first taps of a phase.
pub(crate) fn direct_iterations(geometry: &Conv2dGeometry, k: usize) -> usize {
    3 * k + geometry.kernel.height + geometry.kernel.width
}

/// Iterations that the loops of an invocation of the strided core make for sums of length `k`: a turn
/// for each term, and the search for the first taps of a phase.
pub(crate) fn strided_iterations(geometry: &Conv2dGeometry, k: usize) -> usize {
    k + geometry.kernel.height + geometry.kernel.width
}

/// Iterations that the loops of an invocation of the core for rows of pixels make: a turn for each filter row
/// of each channel, and within it one for each vector of taps.
pub(crate) fn rows_iterations(channels: usize, kernel: Size2) -> usize {
    channels * kernel.height * (1 + kernel.width.div_ceil(row_taps(kernel.width)))
}

/// Taps of a filter row that the core for rows of pixels takes at once: all of a short one.
pub(crate) fn row_taps(width: usize) -> usize {
    if width <= 5 { width } else { 4 }
}

/// Values that a workgroup of 64 adds up at most: 256 an invocation, in blocks of 16.
pub(crate) const LONGEST_GROUP_SUM: usize = 16_384;

/// Slabs that an invocation adds up at most, in blocks of 16.
pub(crate) const SUMMED_SLABS: usize = 256;

/// Parts that each of several sums of so many values is split into, a workgroup of 64 for each part: as
/// many as fill a device, and enough that none is too long.
pub(crate) fn group_parts(sums: usize, values: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 512;
    /// The shortest sum worth a workgroup of its own.
    const SHORTEST: usize = 4096;
    let busy = (WANTED / sums.max(1)).clamp(1, (values / SHORTEST).max(1));
    busy.max(values.div_ceil(LONGEST_GROUP_SUM))
}

/// Iterations that the loops of an invocation make where 64 share so many values, in blocks.
pub(crate) fn group_iterations(values: usize) -> usize {
    let turns = values.div_ceil(64);
    turns + turns.div_ceil(16)
}

/// Iterations that the loops of one invocation may make in all on a software adapter. Mesa's
/// llvmpipe ends every loop without a word after 65,535 of them.
pub(crate) const LOOP_LIMIT: usize = 60_000;

#[cfg(test)]
mod tests;
