//! Which tiles a product takes, and into how many parts its sums are split to fill a device. What the tiled cores
//! take is estimated, in multiply-adds that a compute unit makes at its best.
//!
//! The numbers are fitted to what 157 products and convolutions of training steps took on an NVIDIA H100, of 132
//! units: the tile that is estimated to be the fastest takes at most 11 % longer there than the fastest, and less
//! than 1 % in the mean.

use super::{Core, Traits, Work};

/// Largest first, which is taken where two are as fast.
const TILES: [Core; 3] = [Core::Tiled128, Core::Tiled64, Core::Tiled32];

/// The shortest part of a split sum that is worth a workgroup of its own.
const SHORTEST: usize = 256;

/// Results of all parts of sums that are split to fill a device: 32 MiB.
const ROOM: usize = 1 << 23;

/// What a tile makes of a compute unit.
struct Rate {
    /// The share of its best that the unit comes to with workgroups enough.
    share: f64,
    /// As many workgroups take no longer than one.
    least: f64,
}

/// Weight gradients gather both factors, and the smaller a tile, the more of that for each multiplication.
fn rate(work: &Work, core: Core) -> Rate {
    let gathers = match work {
        Work::Conv2dBackwardWeight(_) => true,
        Work::Matmul(..) | Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) => false,
    };
    let [images, weights] = match core {
        Core::Tiled128 => [(1.0, 1.33), (0.9, 1.0)],
        Core::Tiled64 => [(0.85, 1.33), (0.77, 1.0)],
        // Lean tiles, which nobody has timed, are taken for others of their size. The rest have no tiles.
        Core::Tiled32
        | Core::TiledLean
        | Core::Subgroup
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft
        | Core::Direct => [(0.5, 3.0), (0.5, 1.0)],
    };
    let (share, least) = if gathers { weights } else { images };
    Rate { share, least }
}

/// The tile that is estimated to be the fastest, of those that a GPU has registers for.
pub(super) fn fastest(traits: &Traits, work: &Work) -> Core {
    let fits = |core: &Core| *core != Core::Tiled128 || !traits.few_registers;
    let tiles = TILES.into_iter().filter(fits);
    let costs = tiles.map(|core| (core, cost(traits, work, core)));
    let best = costs.min_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(Core::Tiled32, |(core, _)| core)
}

/// What a product is estimated to take on a tiled core, with the parts that its sums are split into there.
pub(super) fn cost(traits: &Traits, work: &Work, core: Core) -> f64 {
    estimate(traits, work, core, super::sum_parts(traits, work, core))
}

/// Parts that the sums of a product are split into, `least` at least, so that it is estimated to be the fastest:
/// the device is full, and parts that are made and added up cost less than what stood idle.
pub(super) fn parts(traits: &Traits, work: &Work, core: Core, least: usize) -> usize {
    /// Turns of all units that are worth looking at.
    const TURNS: usize = 8;
    let extents = work.extents();
    let room = ROOM / (extents.m * extents.n * extents.slices).max(1);
    let most = (extents.k / SHORTEST).min(room).max(least);
    let units = traits.compute_units as usize;
    let of_turns = |turns: usize| units.saturating_mul(turns) / extents.tiles(core.tile()).max(1);
    let splits = (1..=TURNS).map(|turns| of_turns(turns).clamp(least, most));
    let cost = |parts: &usize| estimate(traits, work, core, *parts);
    std::iter::once(least)
        .chain(splits)
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .unwrap_or(least)
}

/// What a product takes on a tiled core, with its sums in so many parts.
fn estimate(traits: &Traits, work: &Work, core: Core, parts: usize) -> f64 {
    /// What a result of a part costs that is written, and read again to be added up.
    const ADDED: f64 = 64.0;
    /// What it costs to begin the dispatch that does so: 4 microseconds there.
    const BEGUN: f64 = 530_000.0;
    let (extents, tile) = (work.extents().split(parts), core.tile());
    let units = f64::from(traits.compute_units);
    let each = extents.tiles(tile) as f64 / units;
    // With few workgroups for each unit, those that have one more are waited for.
    let each = if each < 4.0 { each.ceil() } else { each };
    let Rate { share, least } = rate(work, core);
    let product = each.max(least) * (tile[0] * tile[1]) as f64 * extents.k as f64 / share;
    let results = extents.m as f64 * extents.n as f64 * extents.slices as f64;
    match parts {
        1 => product,
        // What is gained must be worth the memory, and more than the estimate is off by.
        _ => 1.1 * product + results * ADDED / units + BEGUN,
    }
}
