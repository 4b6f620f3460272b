//! Normalisation, a file an operator.

pub(crate) mod batch;
pub(crate) mod channels;
pub(crate) mod group;
pub(crate) mod layer;

use super::reduce::{by_some, reduce_iterations, reducers, sum_parts};
use super::{Incoming, Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, plane_unit, vectors, whole_vectors};

/// Whether a kernel finds gamma, and beta with it.
fn affine(gamma: Option<Region>) -> (&'static str, f64) {
    ("AFFINE", flag(gamma.is_some()))
}

/// Whether a kernel finds another value to add.
fn added(output: Output) -> (&'static str, f64) {
    ("HAS_ADDEND", flag(output.addend.is_some()))
}

/// Where the parts of the gradients of gamma and beta go: where these do, if there is one part.
fn partial_gradients(
    recording: &mut Recording,
    gradients: [Region; 2],
    parts: usize,
    len: usize,
) -> [Region; 2] {
    match parts {
        1 => gradients,
        _ => [(); 2].map(|()| recording.transient("norm gradient parts", parts * len)),
    }
}

/// The gradients of gamma and beta from their parts.
fn sum_gradients(
    recording: &mut Recording,
    partial: [Region; 2],
    gradients: [Region; 2],
    parts: usize,
    len: usize,
) {
    for (partial, to) in partial.into_iter().zip(gradients).filter(|_| parts > 1) {
        sum_parts(recording, partial, parts, [1, len, 1], None, to.into());
    }
}
