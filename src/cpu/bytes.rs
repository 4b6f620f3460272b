//! Inputs that are given as bytes.

use super::Real;
use crate::op::Bytes;

/// The numbers that bytes stand for: of examples of `len` elements, whose channels have a row each.
pub(crate) fn bytes_to_numbers<T: Real>(of: &Bytes, len: usize, bytes: &[u8]) -> Vec<T> {
    let planes = bytes.chunks(len / of.rows()).zip((0..of.rows()).cycle());
    let numbers = planes.flat_map(|(plane, row)| {
        let row = &of.numbers[256 * row..];
        plane.iter().map(|&byte| T::nearest(row[usize::from(byte)]))
    });
    numbers.collect()
}
