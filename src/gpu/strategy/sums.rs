//! How long sums may be, into how many parts they are split, and how many iterations that makes.

use super::{Core, Extents, Traits, Work, tiles};
use crate::op::{Conv2dGeometry, Size2};

/// The longest sum of an invocation for results that are activations, of which there are many. As one chain
/// of products of one sign it is off by 1.6e-4 of itself at most, as a chain of blocks by a few 1e-6.
pub(super) const LONGEST_OF_IMAGES: usize = 16_384;

/// Results of all parts of split sums: 16 MiB.
pub(super) const ROOM: usize = 1 << 22;

/// Parts of split sums at most: within the workgroups of one dimension.
pub(super) const MOST: usize = 32_768;

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
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 | Core::TiledLean => {
            tiles::parts(traits, work, core, least)
        }
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
        true => k.div_ceil(LOOP_LIMIT / OF_32 * 32),
        false => 1,
    };
    let most = traits.holds(m * n * slices).max(1);
    let wanted = wanted.min(most).max(within_loops);
    wanted.min(MOST / slices.max(1)).max(1)
}

/// Iterations of the tiled cores' loops for 32 products: a turn for the block, 4 at most for its steps, one for each
/// product, and 5 for the sums of the rows of A.
const OF_32: usize = 42;

/// Iterations that the loops of an invocation of the tiled cores make for sums of length `k`.
pub(crate) fn tiled_iterations(k: usize) -> usize {
    k.div_ceil(32) * OF_32
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

/// Values that a workgroup adds up at most, in blocks of 16: 256 an invocation, or 2048 where there are 8.
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
    shared_iterations(values, 64)
}

/// The same where so many share them.
pub(crate) fn shared_iterations(values: usize, invocations: usize) -> usize {
    let turns = values.div_ceil(invocations);
    turns + turns.div_ceil(16)
}

/// Iterations that the loops of one invocation may make in all on a software adapter. Mesa's
/// llvmpipe ends every loop without a word after 65,535 of them.
pub(crate) const LOOP_LIMIT: usize = 60_000;
