//! When convolution as a product of unfolded images serves.

use super::{LOOP_LIMIT, Traits, Work};
use crate::op::{Conv2dGeometry, Size2};

/// Elements of the larger of the two unfolded images, of which there is one on either side of a product.
pub(super) fn scratch(geometry: &Conv2dGeometry) -> usize {
    let rows = (geometry.in_channels * geometry.kernel.area()).max(geometry.out_channels);
    geometry.batch * geometry.out_size.area() * rows
}

/// Whether a convolution can be a product of unfolded images.
pub(super) fn serves(traits: &Traits, geometry: &Conv2dGeometry) -> bool {
    let Size2 { height, width } = geometry.kernel;
    let most = traits.max_workgroups as usize;
    let pixels = geometry.in_size.area().max(geometry.out_size.area());
    geometry.groups == 1
        && height * (1 + width) <= LOOP_LIMIT
        && geometry.in_channels.max(geometry.out_channels) <= most
        && (geometry.batch * pixels).div_ceil(64) <= most
}

/// Whether that is faster than by rows of pixels, as measured on llvmpipe: where the rows are no longer than a half of a vector of
/// four, or a whole one in a weight gradient, and few, and channels and places fill the tiles of a product.
pub(super) fn pays(work: &Work, geometry: &Conv2dGeometry) -> bool {
    let longest = match work {
        Work::Conv2dBackwardWeight(_) => 4,
        Work::Conv2dForward(_) | Work::Conv2dBackwardInput(_) | Work::Matmul(..) => 2,
    };
    geometry.out_size.width <= longest
        && geometry.in_channels.min(geometry.out_channels) >= 64
        && geometry.out_size.area() <= 16
        && geometry.batch * geometry.out_size.area() >= 16
}
