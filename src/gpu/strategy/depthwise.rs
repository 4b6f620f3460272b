//! When the core for depthwise convolution serves, and how its work is shared.

use super::{LONGEST_OF_IMAGES, MOST, ROOM, Traits, Work};
use crate::op::Conv2dGeometry;

/// Taps of a filter along either side at most.
const LARGEST: usize = 7;

/// Invocations that keep a device busy.
fn wanted(traits: &Traits) -> usize {
    if traits.software { 1024 } else { 65_536 }
}

/// Whether it can do a piece of work.
pub(super) fn serves(work: &Work) -> bool {
    let Some(geometry) = work.geometry() else {
        return false;
    };
    let Conv2dGeometry {
        groups,
        in_channels,
        in_size,
        out_channels,
        out_size,
        kernel,
        stride,
        padding: [top, _, left, _],
        dilation,
        ..
    } = *geometry;
    let backward = matches!(work, Work::Conv2dBackwardInput(_));
    // The gradient of a channel of which several are made is not one sum of a filter's taps.
    let single = groups == in_channels && (!backward || groups == out_channels);
    let written = if backward { in_size } else { out_size };
    let along = |kernel: usize, stride: usize, dilation: usize, padding: usize, written: usize| {
        let near = stride <= 2 && dilation == 1;
        // Strips and segments of pixels that are further apart than an image is wide would be empty.
        let apart = stride == 1 && dilation <= written.max(1);
        let reached = !backward || padding <= (kernel - 1) * dilation;
        kernel <= LARGEST && (near || apart) && reached
    };
    let sizes = [
        [
            kernel.height,
            stride.height,
            dilation.height,
            top,
            written.height,
        ],
        [
            kernel.width,
            stride.width,
            dilation.width,
            left,
            written.width,
        ],
    ];
    single
        && sizes
            .into_iter()
            .all(|[k, s, d, p, w]| along(k, s, d, p, w))
}

/// Elements of the parts of a weight gradient at least.
pub(super) fn scratch(work: &Work) -> usize {
    match work {
        Work::Conv2dBackwardWeight(geometry) => {
            let pixels = geometry.batch * geometry.out_size.area();
            geometry.weight_len() * pixels.div_ceil(LONGEST_OF_IMAGES)
        }
        Work::Matmul(..) | Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) => 0,
    }
}

/// Segments that each column of so many rows is split into, where there are so many columns: enough to
/// fill a device with, and none longer than `longest`.
pub(crate) fn segments(traits: &Traits, columns: usize, rows: usize, longest: usize) -> usize {
    /// The shortest segment that is worth the rows that it begins before its own.
    const SHORTEST: usize = 8;
    let busy = wanted(traits).div_ceil(columns.max(1));
    let busy = busy.clamp(1, rows.div_ceil(SHORTEST).max(1));
    busy.max(rows.div_ceil(longest)).max(1)
}

/// Parts that the segments of each channel's weight gradient are shared by: enough to fill a device with, and
/// no sum too long, as far as there is room for their results, `len` of each part.
pub(crate) fn segment_parts(
    traits: &Traits,
    channels: usize,
    len: usize,
    segments: usize,
) -> usize {
    /// Segments that an invocation adds up, where there is room.
    const LONGEST: usize = 128;
    let busy = wanted(traits).div_ceil(channels.max(1));
    let room = (ROOM / len.max(1)).max(segments.div_ceil(8 * LONGEST));
    let most = traits.holds(len).min(segments).min(MOST);
    busy.max(segments.div_ceil(LONGEST))
        .min(room)
        .min(most)
        .max(1)
}
