//! How the sums of a weight gradient are shared where they are computed again by their definition.

use super::{LOOP_LIMIT, Traits};
use crate::op::{Conv2dGeometry, saturating_product};

/// Invocations of a workgroup that share each sum of a weight gradient where it is computed again by its definition.
const MOST_SHARES: usize = 64;

/// Invocations that share such a sum, as long as it is.
pub(crate) fn shares(geometry: &Conv2dGeometry) -> usize {
    let fits = |shares: &usize| weight_iterations(geometry, *shares) <= LOOP_LIMIT;
    let powers = (0..).map(|power| 1 << power);
    let mut shares = powers.take_while(|shares| *shares < MOST_SHARES);
    shares.find(fits).unwrap_or(MOST_SHARES)
}

/// Invocations that there are for all filters, of which each has a tap of four, or a share of one.
pub(crate) fn invocations(geometry: &Conv2dGeometry, shares: usize) -> usize {
    let quads = (geometry.in_channels / geometry.groups).div_ceil(4);
    let factors = [geometry.out_channels, quads, geometry.kernel.area(), shares];
    let count = saturating_product(&factors);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Iterations that the loops of an invocation make for its share: blocks of 512 products, four in a turn.
pub(crate) fn weight_iterations(geometry: &Conv2dGeometry, shares: usize) -> usize {
    const BLOCK: usize = 512;
    let products = geometry.out_size.area();
    let blocks = geometry.batch.saturating_mul(products.div_ceil(BLOCK));
    let turns = 1 + products.min(BLOCK).div_ceil(4);
    let of_blocks = blocks.div_ceil(shares).saturating_mul(turns);
    of_blocks.saturating_add(shares + 8)
}

/// Whether a weight gradient can be computed again on an adapter.
pub(super) fn serves(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let shares = shares(geometry);
    invocations(geometry, shares) <= u32::MAX as usize / 2
        && traits.allows(weight_iterations(geometry, shares))
}
