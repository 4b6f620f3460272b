//! When convolution by Fourier transforms serves, and how its work is shared.

use super::{Core, LOOP_LIMIT, MOST, Traits, Work, again, group_channels};
use crate::op::{Conv2dGeometry, Size2, saturating_product};

/// Points of a block: `POINTS` of `core/fft_block.wgsl`.
pub(crate) const POINTS: usize = 2048;

/// Tiles that an invocation multiplies at once, at most.
pub(crate) const TILES: usize = 8;

/// One side of a block, and how a filter and its results share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Side {
    /// Results of a tile.
    pub span: usize,
    /// Taps of a part of the filter, gaps counted.
    pub reach: usize,
    /// Parts of the filter.
    pub parts: usize,
    /// Tiles of an image, and those whose blocks the parts of the filter read behind them.
    pub tiles: usize,
}

impl Side {
    /// Of a block of so many points, for a filter of so many taps, gaps counted.
    fn of(points: usize, taps: usize, results: usize) -> Self {
        let whole = taps <= points / 2 + 1;
        let reach = if whole { taps } else { points / 2 };
        let span = points + 1 - reach;
        let (parts, span) = match whole {
            true => (1, span),
            false => (taps.div_ceil(reach), reach),
        };
        Self {
            span,
            reach,
            parts,
            tiles: results.div_ceil(span).saturating_add(parts - 1),
        }
    }

    /// By how much the first block begins before the image that is read, for a padding of so much.
    pub fn begins(&self, padding: usize, backward: bool) -> i64 {
        let reversed = (self.parts - 1) * self.span + self.reach - 1;
        match backward {
            true => reversed as i64 - padding as i64,
            false => padding as i64,
        }
    }
}

/// A pass of a convolution as it runs: an input gradient is a convolution with the roles changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fft {
    /// Whether a block has rows.
    pub plane: bool,
    pub down: Side,
    pub across: Side,
    /// Blocks of all images.
    pub tiles: usize,
    /// Quads of all groups' channels: those of the input, and those of the output.
    pub quads: [usize; 2],
    /// Elements of the filters at their frequencies.
    pub weights: usize,
}

/// The taps of one side of a filter with the gaps between them.
fn taps(kernel: usize, dilation: usize) -> usize {
    (kernel - 1).saturating_mul(dilation).saturating_add(1)
}

impl Fft {
    /// Of a convolution that runs as it is: forward, or for a weight gradient.
    pub fn of(geometry: &Conv2dGeometry) -> Self {
        let Conv2dGeometry {
            batch,
            groups,
            kernel,
            dilation,
            out_size: results,
            ..
        } = *geometry;
        let plane = kernel.height > 1;
        let [rows, columns] = if plane { [32, 64] } else { [1, POINTS] };
        let down = Side::of(rows, taps(kernel.height, dilation.height), results.height);
        let across = Side::of(columns, taps(kernel.width, dilation.width), results.width);
        let quads = group_channels(geometry).map(|channels| channels.div_ceil(4));
        let weights = [
            down.parts,
            across.parts,
            geometry.out_channels,
            4 * quads[0],
            POINTS,
        ];
        Self {
            plane,
            down,
            across,
            tiles: saturated(&[batch, down.tiles, across.tiles]),
            quads: quads.map(|quads| groups * quads),
            weights: saturated(&weights),
        }
    }

    /// Of the input gradient of a convolution, whose filters lie as those of the forward pass do.
    pub fn of_input_gradient(geometry: &Conv2dGeometry) -> Self {
        Self {
            weights: Self::of(geometry).weights,
            ..Self::of(&geometry.swapped())
        }
    }

    /// Of the pass that a piece of work is.
    pub fn of_work(work: &Work) -> Option<Self> {
        match work {
            Work::Matmul(..) => None,
            Work::Conv2dForward(geometry) | Work::Conv2dBackwardWeight(geometry) => {
                Some(Self::of(geometry))
            }
            Work::Conv2dBackwardInput(geometry) => Some(Self::of_input_gradient(geometry)),
        }
    }

    /// Tiles whose blocks lie behind that of a tile whose results depend on them, in the order of tiles.
    pub fn behind(&self) -> usize {
        let rows = (self.down.parts - 1).saturating_mul(self.across.tiles);
        rows.saturating_add(self.across.parts - 1)
    }

    /// Parts of a filter.
    pub fn parts(&self) -> usize {
        self.down.parts.saturating_mul(self.across.parts)
    }

    /// Elements of the blocks of so many tiles of the input, and of as many of the output.
    pub fn scratch(&self, tiles: usize) -> [usize; 2] {
        let [from, to] = self.quads;
        [(from, tiles.saturating_add(self.behind())), (to, tiles)]
            .map(|(quads, tiles)| saturated(&[4 * POINTS, quads, tiles]))
    }

    /// Chunks that the tiles are split into, so that what is between the dispatches takes little memory, as far as a
    /// buffer holds it.
    pub fn chunks(&self, traits: &Traits) -> usize {
        /// Elements of both: 16 MiB, or 64 where there is a device to fill.
        const ROOM: [usize; 2] = [1 << 22, 1 << 24];
        let room = ROOM[usize::from(!traits.software)];
        let [values, sums] = self.scratch(TILES);
        let most = (room / values.saturating_add(sums)).max(1);
        // The blocks that are read behind each chunk are transformed for it: no more than those of its own.
        let most = most.max(self.behind() / TILES);
        let [from, to] = self
            .quads
            .map(|quads| traits.holds(saturated(&[4 * POINTS, quads])));
        let held = from.saturating_sub(self.behind()).min(to) / TILES;
        let most = most.min(held.max(1));
        self.tiles.div_ceil(TILES * most).clamp(1, MOST)
    }

    /// Blocks of the input that are transformed in all chunks.
    pub fn read(&self, chunks: usize) -> usize {
        let behind = chunks.saturating_mul(self.behind());
        self.tiles.saturating_add(behind)
    }

    /// Tiles that an invocation multiplies at once: the more the fewer loads, which cost more than registers on a software
    /// adapter, unless most of them were none.
    pub fn together(&self, traits: &Traits) -> usize {
        match traits.software && self.tiles > TILES / 2 {
            true => TILES,
            false => TILES / 2,
        }
    }

    /// Tiles of a chunk.
    pub fn chunk(&self, chunks: usize) -> usize {
        self.tiles.div_ceil(chunks).next_multiple_of(TILES)
    }

    /// Additions and multiplications at the frequencies of so many tiles.
    pub fn flops(&self, geometry: &Conv2dGeometry, tiles: usize) -> u64 {
        let [from, _] = group_channels(geometry);
        let parts = self.parts();
        saturating_product(&[8, POINTS / 2, parts, from, geometry.out_channels, tiles])
    }
}

fn saturated(factors: &[usize]) -> usize {
    usize::try_from(saturating_product(factors)).unwrap_or(usize::MAX)
}

/// Whether four taps are taken in a turn where results are computed again by their definition.
pub(crate) fn long(channels: usize, kernel: Size2) -> bool {
    channels.saturating_mul(kernel.area()) > LOOP_LIMIT / 2
}

/// Iterations that the loops of an invocation make where its results are computed again by their definition, and to
/// store them.
pub(crate) fn iterations(channels: usize, kernel: Size2) -> usize {
    let turns = match long(channels, kernel) {
        true => kernel.area().div_ceil(4),
        false => kernel.area(),
    };
    channels.saturating_mul(1 + turns).saturating_add(64)
}

/// Whether it can do a piece of work.
pub(super) fn serves(traits: &Traits, work: &Work) -> bool {
    let (Some(plan), Some(geometry)) = (Fft::of_work(work), work.geometry()) else {
        return false;
    };
    let channels = match work {
        Work::Conv2dBackwardInput(_) => geometry.out_channels,
        Work::Conv2dForward(_) | Work::Conv2dBackwardWeight(_) | Work::Matmul(..) => {
            geometry.in_channels
        }
    };
    let of_group = channels / geometry.groups;
    let quads = of_group.div_ceil(4);
    let parts = plan.parts();
    let most = traits.max_workgroups as usize;
    let turns = parts.saturating_mul(quads);
    let (grid, fits) = match work {
        Work::Conv2dBackwardWeight(_) => {
            let pairs = plan.quads[1].saturating_mul(quads);
            (
                [pairs, geometry.out_channels, parts, 1],
                again::serves(traits, geometry),
            )
        }
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => (
            [plan.quads[0], plan.quads[1], geometry.out_channels, parts],
            traits.allows(turns.max(iterations(of_group, geometry.kernel))),
        ),
    };
    !traits.direct_only
        && geometry.stride == Size2::ONE
        && grid.into_iter().all(|groups| groups <= most)
        && plan.chunk(MOST).saturating_add(plan.behind()) <= most
        && counts(geometry)
        && fits
}

/// Whether positions before and behind an image can be counted in `i32`.
fn counts(geometry: &Conv2dGeometry) -> bool {
    const MOST: usize = 1 << 29;
    let [top, _, left, _] = geometry.padding;
    let sides = [geometry.in_size, geometry.out_size, geometry.dilation];
    let sides = sides.into_iter().flat_map(|size| [size.height, size.width]);
    sides.chain([top, left]).all(|extent| extent <= MOST)
}

/// Whether it is known to be faster than another core that serves, as measured on llvmpipe.
pub(super) fn pays(traits: &Traits, work: &Work, other: Core) -> bool {
    traits.software && gain(traits, work, other) > 1.2
}

/// Whether it may be faster than another core that serves, so that it is worth the time to measure it.
#[cfg(feature = "native")]
pub(super) fn may_pay(traits: &Traits, work: &Work, other: Core) -> bool {
    gain(traits, work, other) > 0.2
}

/// How many times as long another core is counted to take.
///
/// What it takes is counted in blocks that are transformed, and in products of blocks of four channels with four, in
/// additions and multiplications that the core for rows makes in the time of one, as measured on llvmpipe. Counts of bytes
/// give about the same on GPUs that make 30 operations in the time of a byte of memory and 10 in that of one of a
/// cache; nothing was measured there.
fn gain(traits: &Traits, work: &Work, other: Core) -> f64 {
    const BLOCK: f64 = 2.8e6;
    const PRODUCT: f64 = 0.53e6;
    let (Some(plan), Some(geometry)) = (Fft::of_work(work), work.geometry()) else {
        return 0.0;
    };
    let [from, to] = plan.quads.map(|quads| quads as f64);
    let tiles = plan.tiles as f64;
    let parts = plan.parts() as f64;
    let read = plan.read(plan.chunks(traits)) as f64;
    let blocks = read * from + tiles * to + plan.weights as f64 / (4 * POINTS) as f64;
    let products = tiles * from * to / geometry.groups as f64 * parts;
    let taken = BLOCK * blocks + PRODUCT * products;
    slower(traits, work, other) * work.flops() as f64 / taken
}

/// How many times as long another core takes for an operation as the core for rows does in full tiles.
fn slower(traits: &Traits, work: &Work, other: Core) -> f64 {
    let (few, tiled) = match traits.software {
        true => (30.0, 10.0),
        false => (4.0, 1.0),
    };
    match other {
        Core::Direct => few,
        Core::Tiled32 | Core::Tiled64 | Core::Tiled128 | Core::TiledLean => tiled,
        Core::Rows | Core::Strided => empty(work),
        Core::Subgroup
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft => 1.0,
    }
}

/// The size of tiles of 16 channels, or of 8 where there are no more, beside what is in them; of a weight gradient's also
/// that of 8 filter rows.
fn empty(work: &Work) -> f64 {
    let Some(geometry) = work.geometry() else {
        return 1.0;
    };
    let [from, to] = group_channels(geometry);
    let beside = |count: usize, tile: usize| count.next_multiple_of(tile) as f64 / count as f64;
    let channels = |count: usize| beside(count, if count <= 8 { 8 } else { 16 });
    match work {
        Work::Matmul(..) => 1.0,
        Work::Conv2dForward(_) => channels(to),
        Work::Conv2dBackwardInput(_) => channels(from),
        Work::Conv2dBackwardWeight(_) => channels(to) * beside(from * geometry.kernel.height, 8),
    }
}

/// Elements of its largest buffer at least: as many chunks as there may be leave each the fewest tiles.
pub(super) fn scratch(work: &Work) -> usize {
    Fft::of_work(work).map_or(0, |plan| {
        let [values, sums] = plan.scratch(plan.chunk(MOST));
        plan.weights.max(values).max(sums)
    })
}
