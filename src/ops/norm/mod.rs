//! Normalisation, a file an operator.

mod batch;
mod channels;
mod group;
mod layer;

pub use batch::*;
pub use channels::*;
pub use group::*;
pub use layer::*;

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::record::Region;
use crate::{Error, Result, Shape};

/// Gamma and beta as places, if an operator of this name has them, which it says with `affine`.
fn factors(
    name: &str,
    affine: bool,
    factors: Option<[&Tensor; 2]>,
    shape: &Shape,
) -> Result<Option<[Tensor; 2]>> {
    match (affine, factors) {
        (true, Some([gamma, beta])) => {
            expect("gamma", gamma, shape)?;
            expect("beta", beta, shape)?;
            Ok(Some([gamma.clone(), beta.clone()]))
        }
        (false, None) => Ok(None),
        (true, None) => Err(Error::argument(name, "gamma and beta are missing")),
        (false, Some(_)) => Err(Error::argument(name, "without gamma and beta")),
    }
}

/// Gamma alone.
fn gamma_of(
    name: &str,
    affine: bool,
    gamma: Option<&Tensor>,
    shape: &Shape,
) -> Result<Option<Tensor>> {
    let both = gamma.map(|gamma| [gamma, gamma]);
    Ok(factors(name, affine, both, shape)?.map(|[gamma, _]| gamma))
}

/// Where they lie for a call.
fn places(call: &Call, factors: &Option<[Tensor; 2]>) -> Result<[Option<Region>; 2]> {
    Ok(match factors {
        Some([gamma, beta]) => call.inputs([("gamma", gamma), ("beta", beta)])?.map(Some),
        None => [None; 2],
    })
}

/// Where gamma lies.
fn place(call: &Call, gamma: &Option<Tensor>) -> Result<Option<Region>> {
    gamma
        .as_ref()
        .map(|gamma| call.input("gamma", gamma))
        .transpose()
}
