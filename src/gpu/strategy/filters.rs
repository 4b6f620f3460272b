//! Filters as cores read them, and parts of their gradients as cores write them.

use super::{LOOP_LIMIT, MOST, ROOM, group_channels, row_taps};
use crate::gpu::work::Phases;
use crate::op::{Conv2dGeometry, Size2};

/// Elements of the filters as the cores for rows of pixels read them, in tiles of 16 channels.
pub(crate) fn packed_len(geometry: &Conv2dGeometry, backward: bool) -> usize {
    let Size2 { height, width } = geometry.kernel;
    let [from, to] = group_channels(geometry);
    let (from, to) = if backward { (to, from) } else { (from, to) };
    geometry.groups
        * to.next_multiple_of(16)
        * from
        * height
        * width.next_multiple_of(row_taps(width))
}

/// Elements of the filters as the tiled cores read them, with whole vectors of the rows of a product.
pub(crate) fn tiled_len(geometry: &Conv2dGeometry, backward: bool) -> usize {
    let [from, to] = group_channels(geometry);
    let (channels, rows) = match backward {
        true => (to, from * Phases::of(geometry).rows),
        false => (from, to),
    };
    let taps = geometry.kernel.area() * if backward { from } else { to } / rows;
    geometry.groups * taps * channels * rows.next_multiple_of(4)
}

/// Tiles of the weight gradient along its filter rows, 8 each, and its output channels, 16 of one group each.
pub(crate) fn tap_tiles(geometry: &Conv2dGeometry) -> [usize; 2] {
    let [from, to] = group_channels(geometry);
    let rows = from * geometry.kernel.height;
    [rows.div_ceil(8), geometry.groups * to.div_ceil(16)]
}

/// Elements of a part of the weight gradient as the cores for taps write it, in those tiles.
pub(crate) fn tap_sums(geometry: &Conv2dGeometry) -> usize {
    let Size2 { width, .. } = geometry.kernel;
    let [rows, channels] = tap_tiles(geometry);
    rows * channels * 16 * 8 * width.next_multiple_of(row_taps(width))
}

/// Output rows that one part of their sums takes at most.
pub(super) fn longest_split(geometry: &Conv2dGeometry) -> usize {
    (LOOP_LIMIT / (2 + geometry.out_size.width.div_ceil(4))).max(1)
}

/// Parts that the output rows of all images are split into for the taps cores. `tiles` is the number of
/// their workgroups per part, `most` how many parts a buffer holds.
pub(crate) fn tap_splits(geometry: &Conv2dGeometry, tiles: usize, most: usize) -> usize {
    /// Workgroups that keep a device busy.
    const WANTED: usize = 96;
    /// Strips, and rows of them, that an invocation adds up where there is room for the parts.
    const LONGEST: [usize; 2] = [1024, 128];
    let rows = geometry.batch * geometry.out_size.height;
    let strips = geometry.out_size.width.div_ceil(4);
    let most = most.max(1);
    let wanted = WANTED.div_ceil(tiles).min(most);
    let short = (LONGEST[0] / strips.max(1)).clamp(1, LONGEST[1]);
    let room = rows.div_ceil((ROOM / tap_sums(geometry).max(1)).clamp(1, most));
    let longest = short
        .max(room)
        .min(longest_split(geometry))
        .max(rows.div_ceil(MOST));
    let per_split = rows.div_ceil(wanted.min(rows)).min(longest);
    rows.div_ceil(per_split)
}
