//! Ranges along an axis, and channels in another order.

use std::ops::Range;

use super::concat::{self, Block};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, vectors, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::SelectGeometry;

params! {
    struct BlockParams {
        len: u32,
        row: u32,
        input_row: u32,
        shift: u32,
    }
}

params! {
    struct ChannelsParams {
        len: u32,
        in_channels: u32,
        channels: u32,
        plane: u32,
        groups: u32,
    }
}

pub(crate) const BLOCK: Kernel = Kernel {
    name: "select_block",
    source: source!("select_block.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Saved"), (2, "Output")],
    params: BlockParams::LAYOUT,
    constants: &["VEC4"],
};

pub(crate) const CHANNELS: Kernel = Kernel {
    name: "select_channels",
    source: source!("select_channels.wgsl"),
    blocks: &[&blocks::EPILOGUE4, &blocks::FLAT],
    bindings: &[Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (2, "Saved"), (3, "Output")],
    params: ChannelsParams::LAYOUT,
    constants: &["SHUFFLE", "PLANE_VEC4"],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[&BLOCK, &CHANNELS];

/// A range along the middle axis.
pub(crate) fn slice(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    range: &Range<usize>,
    input: Region,
    output: Output,
) {
    let &SelectGeometry { extent, inner, .. } = geometry;
    let rows = [range.len() * inner, extent * inner];
    let offset = range.start * inner;
    let shift = [offset, offset];
    block(recording, geometry.outer, rows, shift, (input, output));
}

/// The gradient of what a range was taken from, zero outside of it. Where it is added to what is there,
/// only the range is touched.
pub(crate) fn slice_backward(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    range: &Range<usize>,
    gradient_output: Region,
    output: Output,
) {
    let &SelectGeometry {
        outer,
        extent,
        inner,
    } = geometry;
    let (whole, len, offset) = (extent * inner, range.len() * inner, range.start * inner);
    if output.accumulate {
        let from = Block {
            stride: len,
            offset: 0,
        };
        let to = Block {
            stride: whole,
            offset,
        };
        concat::copy(
            recording,
            [outer, len],
            (gradient_output, from),
            (output, to),
        );
        return;
    }
    let shift = [offset, 0usize.wrapping_sub(offset)];
    block(
        recording,
        outer,
        [whole, len],
        shift,
        (gradient_output, output),
    );
}

/// Rows of `row` elements from rows of `input_row`, in which they lie `shift` further on, modulo 2^32.
fn block(
    recording: &mut Recording,
    rows: usize,
    [row, input_row]: [usize; 2],
    [offset, shift]: [usize; 2],
    (input, output): (Region, Output),
) {
    let len = rows * row;
    let params = BlockParams {
        len: len as u32,
        row: row as u32,
        input_row: input_row as u32,
        shift: shift as u32,
    };
    let whole = [row, input_row, offset].map(|extent| extent.is_multiple_of(4));
    let mut constants = vec![("VEC4", flag(whole == [true; 3]))];
    constants.extend(output.constants(recording));
    let regions = [Some(input), output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    recording.dispatch(&BLOCK, &constants, &regions, params, grid);
}

/// Channels in another order: that of a shuffle of so many groups. Its gradient is a shuffle of as many
/// groups as a group has channels.
pub(crate) fn shuffle(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    groups: usize,
    input: Region,
    output: Output,
) {
    let channels = [geometry.extent; 2];
    let order = (None, groups);
    reorder(recording, geometry, channels, order, (input, output));
}

/// The channels with these numbers.
pub(crate) fn permute(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    index: &[usize],
    input: Region,
    output: Output,
) {
    let lists = lists(index.iter().map(|&channel| vec![channel as u32]));
    let lists = recording.constant("channels", lists);
    let channels = [geometry.extent, index.len()];
    reorder(
        recording,
        geometry,
        channels,
        (Some(lists), 1),
        (input, output),
    );
}

/// The gradient of what channels were taken from: the sum over the places of each, in their order.
pub(crate) fn permute_backward(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    index: &[usize],
    gradient_output: Region,
    output: Output,
) {
    let mut places = vec![vec![]; geometry.extent];
    for (place, &channel) in (0..).zip(index) {
        if let Some(places) = places.get_mut(channel) {
            places.push(place);
        }
    }
    recording.iterations(places.iter().map(Vec::len).max().unwrap_or(0));
    let lists = recording.constant("channels", lists(places.into_iter()));
    let channels = [index.len(), geometry.extent];
    let (order, ends) = ((Some(lists), 1), (gradient_output, output));
    reorder(recording, geometry, channels, order, ends);
}

/// Lists of channels as the kernel reads them: where each begins and where the last one ends, and then the
/// lists.
fn lists(lists: impl ExactSizeIterator<Item = Vec<u32>>) -> Vec<u32> {
    let mut begins = vec![lists.len() as u32 + 1];
    let mut all = Vec::new();
    for list in lists {
        all.extend(list);
        begins.push(begins[0] + all.len() as u32);
    }
    begins.extend(all);
    begins
}

fn reorder(
    recording: &mut Recording,
    geometry: &SelectGeometry,
    [in_channels, channels]: [usize; 2],
    (lists, groups): (Option<Region>, usize),
    (input, output): (Region, Output),
) {
    let len = geometry.len_of(channels);
    let params = ChannelsParams {
        len: len as u32,
        in_channels: in_channels as u32,
        channels: channels as u32,
        plane: geometry.inner as u32,
        groups: groups as u32,
    };
    let mut constants = vec![
        ("SHUFFLE", flag(lists.is_none())),
        ("PLANE_VEC4", whole_vectors(geometry.inner)),
    ];
    constants.extend(output.constants(recording));
    let regions = [Some(input), lists, output.saved(), Some(output.region)];
    let grid = flat_grid(vectors(len));
    recording.dispatch(&CHANNELS, &constants, &regions, params, grid);
}
