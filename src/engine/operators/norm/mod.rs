//! Normalisation, a file an operator.

mod batch;
mod channels;
mod group;
mod layer;

use std::borrow::Cow;

pub(in crate::engine) use batch::{fold, normalisations};

use super::{
    Applies, Backward, Case, FORMULA, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved,
    Site, Sum, chain,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::record::{Recording, Region};

/// Mean and deviation of so many groups.
fn statistics(groups: usize) -> Keeps {
    Keeps {
        label: "statistics",
        len: 2 * groups,
    }
}

/// Where gamma and beta lie, the first parameters if there are any.
fn factors(affine: bool, whole: impl Fn(usize) -> Result<Region>) -> Result<[Option<Region>; 2]> {
    match affine {
        true => Ok([Some(whole(0)?), Some(whole(1)?)]),
        false => Ok([None; 2]),
    }
}

/// Gamma and beta, or what stands for them where there are none.
fn factors_or_neutral<'a, T: Real>(
    affine: bool,
    parameters: &[&'a [T]],
    len: usize,
) -> [Cow<'a, [T]>; 2] {
    match affine {
        true => [parameters[0].into(), parameters[1].into()],
        false => [vec![T::one(); len].into(), vec![T::zero(); len].into()],
    }
}

/// Where the gradients of gamma and beta go, if either is wanted; the other one is scratch then.
fn to_factors(
    recording: &mut Recording,
    places: &Backward,
    len: usize,
) -> Result<Option<[Region; 2]>> {
    let to = [places.to_parameter(0)?, places.to_parameter(1)?];
    Ok(match to {
        [None, None] => None,
        to => Some(or_scratch(recording, to, len)),
    })
}

/// Scratch where a gradient is not wanted.
fn or_scratch(recording: &mut Recording, to: [Option<Region>; 2], len: usize) -> [Region; 2] {
    to.map(|to| to.unwrap_or_else(|| recording.transient("gradient of no parameter", len)))
}

/// Writes the gradients of gamma and beta where they are wanted.
fn hand_over<T: Real>(computed: [Vec<T>; 2], gradients: &mut Gradients<T>) {
    for (parameter, computed) in computed.iter().enumerate() {
        if let Some(to) = gradients.parameter(parameter) {
            to.copy_from_slice(computed);
        }
    }
}
