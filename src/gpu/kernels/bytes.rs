//! Inputs that are given as bytes.

use super::{Read, ReadWrite, Recording, Region, blocks, flat_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::Bytes;

params! {
    struct Params {
        len: u32,
        plane: u32,
        rows: u32,
    }
}

pub(crate) const NUMBERS: Kernel = Kernel {
    name: "bytes",
    source: source!("bytes.wgsl"),
    blocks: &[&blocks::FLAT],
    bindings: &[Read, Read, ReadWrite],
    formats: &[],
    params: Params::LAYOUT,
    constants: &[],
};

/// The numbers that bytes stand for: of `batch` examples of `len` elements, whose channels have a row each.
pub(crate) fn numbers(
    recording: &mut Recording,
    of: &Bytes,
    [batch, len]: [usize; 2],
    [bytes, numbers]: [Region; 2],
) {
    let params = Params {
        len: (batch * len) as u32,
        plane: (len / of.rows()) as u32,
        rows: of.rows() as u32,
    };
    let table = of.numbers.iter().map(|number| number.to_bits()).collect();
    let table = recording.constant("numbers of bytes", table);
    let regions = [Some(bytes), Some(table), Some(numbers)];
    let grid = flat_grid((batch * len).div_ceil(4));
    recording.dispatch(&NUMBERS, &[], &regions, params, grid);
}
