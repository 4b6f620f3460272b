//! When Winograd's algorithm serves, and how its work is shared.

use super::{Core, LONGEST_OF_IMAGES, MOST, Traits, Work, again, group_channels, shared};
use crate::op::{Conv2dGeometry, Size2, saturating_product};

/// Results of a tile in a row.
const TILE: usize = 4;

/// Tiles that a subgroup multiplies at once.
pub(crate) const TILES: usize = 64;

/// How the products at the points are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By tiles in registers, for subgroups of 8.
    Subgroup,
    /// By tiles in workgroup memory, on GPUs.
    Tiled,
}

/// A convolution as it runs, for one group: an input gradient is one with the roles changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Winograd {
    /// Tiles of all images.
    pub tiles: usize,
    /// Quads of the channels that are read.
    pub quads: usize,
    /// Whether tiles of 32 channels are written, rather than 16.
    pub wide: bool,
    /// Octets of the channels that are written, filled up to such tiles.
    pub octets: usize,
    /// Whether filters have one row, 1x3, and tiles too: F(4, 3) in place of F(4x4, 3x3).
    pub one_row: bool,
    groups: usize,
}

/// Channels of a group that are read and that are written, and the size of the images that are.
fn ends(geometry: &Conv2dGeometry, backward: bool) -> ([usize; 2], Size2) {
    let [from, to] = group_channels(geometry);
    match backward {
        true => ([to, from], geometry.in_size),
        false => ([from, to], geometry.out_size),
    }
}

impl Winograd {
    /// Of a convolution of a geometry, whichever way it runs.
    pub fn of(geometry: &Conv2dGeometry, backward: bool) -> Self {
        let geometry = geometry.lying();
        let ([from, to], size) = ends(&geometry, backward);
        let one_row = geometry.kernel.height == 1;
        let wide = to.next_multiple_of(32) == to.next_multiple_of(16);
        let tile = if wide { 32 } else { 16 };
        let down = size.height.div_ceil(if one_row { 1 } else { TILE });
        Self {
            tiles: geometry.batch * down * size.width.div_ceil(TILE),
            quads: from.div_ceil(4),
            wide,
            octets: to.next_multiple_of(tile) / 8,
            one_row,
            groups: geometry.groups,
        }
    }

    /// Rows of results of a tile.
    fn rows(&self) -> usize {
        if self.one_row { 1 } else { TILE }
    }

    /// Points that a tile is made at.
    pub fn points(&self) -> usize {
        if self.one_row { 6 } else { 36 }
    }

    /// Elements of the filters at the points.
    pub fn weights(&self) -> usize {
        self.points() * self.groups * self.octets * 8 * self.quads * 4
    }

    /// Elements of so many tiles' pixels at the points, and of their sums.
    pub fn scratch(&self, tiles: usize) -> [usize; 2] {
        [4 * self.quads, 8 * self.octets]
            .map(|channels| self.points() * self.groups * channels * tiles)
    }

    /// Chunks that the tiles are split into, as far as a buffer holds one: of 4 MiB between the dispatches on a software adapter,
    /// which a cache holds, and of 64 on a GPU, so that dispatches are few and fill it.
    pub fn chunks(&self, traits: &Traits) -> usize {
        const CACHE: usize = 1 << 20;
        const ROOM: usize = 1 << 24;
        /// Chunks of large images on a software adapter, as far as each takes no more than on a GPU.
        const MANY: usize = 128;
        let [values, sums] = self.scratch(TILES);
        let shared = (self.tiles / TILES / MANY).saturating_mul(values + sums);
        let elements = match traits.software {
            true => shared.clamp(CACHE, ROOM),
            false => ROOM,
        };
        let room = (elements / (values + sums)).max(1);
        let most = traits.holds(values.max(sums)).max(1);
        self.tiles.div_ceil(TILES * room.min(most)).clamp(1, MOST)
    }

    /// Elements of so many tiles of the input and of the output's gradient at the points, for a weight gradient.
    pub fn weight_scratch(&self, geometry: &Conv2dGeometry, tiles: usize) -> [usize; 2] {
        let quads = group_channels(geometry)[1].div_ceil(4);
        [self.quads, quads].map(|quads| self.points() * self.groups * 4 * quads * tiles)
    }

    /// Chunks that the tiles of a weight gradient are split into. For subgroups each sum over a chunk is one chain, and the
    /// blocked product has blocks of its own.
    pub fn weight_chunks(&self, traits: &Traits, form: Form) -> usize {
        const LONGEST: usize = 1024;
        let fewest = match form {
            Form::Subgroup => self.tiles.div_ceil(LONGEST),
            Form::Tiled => 1,
        };
        self.chunks(traits).max(fewest).min(MOST)
    }

    /// Parts that the sums over a chunk of so many tiles are split into, so that they fill a GPU, and none is too long.
    pub fn weight_parts(
        &self,
        traits: &Traits,
        form: Form,
        geometry: &Conv2dGeometry,
        tiles: usize,
    ) -> usize {
        /// Workgroups for each compute unit, which has room for two at once.
        const WORKGROUPS: usize = 3;
        /// Tiles of a part at least.
        const FEWEST: usize = 64;
        if form == Form::Subgroup {
            return 1;
        }
        let [from, to] = group_channels(geometry);
        let [rows, columns] = Self::weight_product(geometry).tile();
        let blocks = self.points() * self.groups * to.div_ceil(rows) * from.div_ceil(columns);
        let wanted = (WORKGROUPS * traits.compute_units as usize).div_ceil(blocks);
        let most = traits
            .holds(self.weights())
            .min(MOST / (self.points() * self.groups));
        let least = tiles.div_ceil(LONGEST_OF_IMAGES);
        wanted.min(tiles / FEWEST).max(least).min(most).max(1)
    }

    /// Additions and multiplications for so many tiles, but for the transforms.
    pub fn flops(&self, geometry: &Conv2dGeometry, tiles: usize) -> u64 {
        let [from, to] = group_channels(geometry);
        saturating_product(&[2, self.points(), self.groups, from, to, tiles])
    }

    /// The tiled core for the products of so many tiles: the largest tiles of which there are enough and which are
    /// not mostly empty.
    pub fn product(&self, traits: &Traits, tiles: usize) -> Core {
        let extents = [8 * self.octets, tiles];
        let wanted = (traits.compute_units as usize).div_ceil(self.points() * self.groups);
        largest(extents, wanted)
    }

    /// The same of a weight gradient, whose sums are in as many parts as it takes.
    pub fn weight_product(geometry: &Conv2dGeometry) -> Core {
        let [from, to] = group_channels(geometry);
        largest([to, from], 1)
    }

    /// Iterations that the loops of an invocation make where a tile is computed again by its definition: of each of its rows
    /// 4 to store it, and for each channel that is read 6 pixels of each row of a filter, two at a time.
    pub fn iterations(&self) -> usize {
        let filter_rows = if self.one_row { 1 } else { 3 };
        self.rows() * (5 + 4 * self.quads * (1 + 4 * filter_rows))
    }

    /// Tiles of a chunk.
    pub fn chunk(&self, chunks: usize) -> usize {
        self.tiles.div_ceil(chunks).next_multiple_of(TILES)
    }
}

/// The tiled core with the largest tiles of which so many are wanted, and which are not mostly empty.
fn largest([rows, columns]: [usize; 2], wanted: usize) -> Core {
    let blocks = |tile: [usize; 2]| rows.div_ceil(tile[0]) * columns.div_ceil(tile[1]);
    let padded = |tile: [usize; 2]| (blocks(tile) * tile[0] * tile[1]) as f64;
    let good = |core: &Core| {
        blocks(core.tile()) >= wanted && padded(core.tile()) <= 1.3 * padded([32, 32])
    };
    let cores = [Core::Tiled128, Core::Tiled64];
    cores.into_iter().find(good).unwrap_or(Core::Tiled32)
}

/// The convolution that a piece of work is, and whether it runs backward to its input.
fn pass(work: &Work) -> Option<(&Conv2dGeometry, bool)> {
    match work {
        Work::Conv2dBackwardWeight(geometry) => Some((geometry, false)),
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => {
            work.image_pass()
        }
    }
}

/// Whether it can do a piece of work.
pub(super) fn serves(traits: &Traits, work: &Work, form: Form) -> bool {
    let Some((geometry, backward)) = pass(work) else {
        return false;
    };
    let lying = geometry.lying();
    let known = [[3, 3], [1, 3]].map(Size2::from).contains(&lying.kernel);
    let plain = geometry.stride == Size2::ONE && geometry.dilation == Size2::ONE;
    // As a convolution of the output gradient its padding must not be negative.
    let [top, _, left, _] = lying.padding;
    let Size2 { height, width } = lying.kernel;
    let reached = !backward || top < height && left < width;
    let plan = Winograd::of(geometry, backward);
    let Winograd {
        quads,
        octets,
        groups,
        ..
    } = plan;
    let grid = groups * plan.points().max(quads).max(2 * octets) <= traits.max_workgroups as usize;
    let again = match work {
        Work::Conv2dBackwardWeight(_) => again::serves(traits, geometry),
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => {
            traits.allows(plan.iterations())
        }
    };
    !traits.direct_only
        && known
        && plain
        && reached
        && (shared(geometry) || form == Form::Tiled)
        && grid
        && again
}

/// Elements of its largest buffer at least.
pub(super) fn scratch(work: &Work) -> usize {
    pass(work).map_or(0, |(geometry, backward)| {
        let winograd = Winograd::of(geometry, backward);
        let [values, sums] = match work {
            Work::Conv2dBackwardWeight(_) => winograd.weight_scratch(geometry, TILES),
            Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => {
                winograd.scratch(TILES)
            }
        };
        winograd.weights().max(values).max(sums)
    })
}

/// What decides whether it pays.
struct Shape {
    /// Channels that are read and that are written.
    channels: [usize; 2],
    tiles: usize,
    one_row: bool,
    /// Whether most of each tile lies inside the image.
    inside: bool,
}

impl Shape {
    fn of(work: &Work) -> Option<Self> {
        let (geometry, backward) = pass(work)?;
        let (channels, size) = ends(geometry, backward);
        let plan = Winograd::of(geometry, backward);
        Some(Self {
            channels,
            tiles: plan.tiles,
            one_row: plan.one_row,
            inside: 2 * geometry.batch * size.area() >= plan.tiles * plan.rows() * TILE,
        })
    }
}

/// Whether it is faster for subgroups than the core for rows, as measured on llvmpipe: where there are channels to make
/// up for the transforms, tiles to make up for those of the weights and to fill a subgroup's 64, and most of each tile lies
/// inside the image.
pub(super) fn pays(work: &Work) -> bool {
    const TILES: usize = 32;
    Shape::of(work).is_some_and(|shape| {
        // Of channels that are read and that are written, and of pairs of them. A filter of one row spares half of the
        // multiplications, not three quarters.
        let (fewest, pairs) = match shape.one_row {
            true => ([32, 32], 4096),
            false => ([16, 32], 1024),
        };
        let [from, to] = shape.channels;
        let channels = from >= fewest[0] && to >= fewest[1] && from * to >= pairs;
        channels && shape.tiles >= TILES && shape.inside
    })
}

/// Whether it is faster on the blocked product than that product itself: where there are channels to make up for what
/// moves between the dispatches, and enough to multiply at each point to fill a GPU. As measured on an NVIDIA H200, with
/// 2^23 products at a point both take the same time. With four times as many, 128 channels take two thirds of the time in all
/// passes, 512 half, and 64 take three quarters forward, but as much as before in weight gradients.
///
/// Filters of one row are left to the autotuner, as nothing was measured. By what they move and spare they need three times as many
/// channels: 32 bytes a result and channel between the dispatches and around them, in place of 45, where direct sums have 8, so 24
/// in place of 37 more; and 1.5 multiplications for 3, not 2.25 for 9, so 1.5 in place of 6.75 fewer. On a GPU with less bandwidth for its
/// arithmetic it is more yet.
pub(super) fn fills(traits: &Traits, work: &Work) -> bool {
    /// At each point, for each compute unit.
    const PRODUCTS: usize = 1 << 16;
    let fewest = match work {
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => 64,
        Work::Conv2dBackwardWeight(_) => 128,
    };
    let fills = |shape: Shape| {
        let [from, to] = shape.channels;
        let products = saturating_product(&[from, to, shape.tiles]) / PRODUCTS as u64;
        !shape.one_row
            && from.min(to) >= fewest
            && products >= u64::from(traits.compute_units)
            && shape.inside
    };
    // Where registers are few, its tiles of 128 rows are left to the autotuner, as others are.
    let known = !traits.software && !traits.few_registers;
    known && Shape::of(work).is_some_and(fills)
}
