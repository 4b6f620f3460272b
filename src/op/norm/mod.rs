//! Normalisation, a file an operator.

mod batch;
mod channels;
mod group;
mod layer;

pub(crate) use batch::check_momentum;
pub use batch::{BatchNorm, BatchNormGeometry};
pub use channels::LayerNormChannels;
pub use group::{GroupNorm, GroupNormGeometry, InstanceNorm};
pub use layer::LayerNorm;

use super::{Init, ParameterSpec};
use crate::Shape;

/// Gamma, which begins as ones, and beta, as zeros; neither where there is no affine map.
fn affine(affine: bool, shape: &Shape) -> Vec<ParameterSpec> {
    let ones = || ParameterSpec {
        init: Init::Constant(1.0),
        ..ParameterSpec::zeros("weight", shape.clone())
    };
    match affine {
        true => vec![ones(), ParameterSpec::zeros("bias", shape.clone())],
        false => vec![],
    }
}
