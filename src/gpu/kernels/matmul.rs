//! The matrix product, and the dense layer that is made of it.

use super::{Output, Read, ReadWrite, Recording, Region};
use super::{constants, flag, group_grid, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy;
use crate::op::LinearGeometry;

params! {
    struct Params {
        m: u32,
        n: u32,
        k: u32,
    }
}

pub(crate) const TILED: Kernel = Kernel {
    name: "matmul",
    source: source!(
        "matmul.wgsl",
        "core/product_tiled.wgsl",
        "core/epilogue.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!(
        "TRANSPOSE_A", "TRANSPOSE_B", "HAS_BIAS", "A_ALONG_K", "B_ALONG_K"; epilogue
    ),
};

pub(crate) const SUBGROUP: Kernel = Kernel {
    name: "matmul_subgroup",
    source: source!(
        "matmul_subgroup.wgsl",
        "core/product_subgroup.wgsl",
        "core/epilogue4.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!(
        "TRANSPOSE_A", "TRANSPOSE_B", "A_VEC4", "B_VEC4", "OUTPUT_VEC4", "HAS_BIAS"; epilogue
    ),
};

/// A matrix and whether it is transposed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factor {
    pub region: Region,
    pub transposed: bool,
}

impl Factor {
    pub fn plain(region: Region) -> Self {
        Self {
            region,
            transposed: false,
        }
    }

    pub fn transposed(region: Region) -> Self {
        Self {
            region,
            transposed: true,
        }
    }
}

/// `C = A B + bias` through the output's epilogue, with A of `(m, k)` and B of `(k, n)` after their
/// transpositions.
pub(crate) fn matmul(
    recording: &mut Recording,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let regions = [
        Some(a.region),
        Some(b.region),
        bias,
        c.saved(),
        Some(c.region),
    ];
    let params = Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
    };
    let transposed = [
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias.is_some())),
    ];
    let mut constants = transposed.to_vec();
    constants.extend(c.constants());
    if strategy::subgroups_of_8(&recording.traits) {
        let [a_width, b_width] = [
            if a.transposed { m } else { k },
            if b.transposed { k } else { n },
        ];
        constants.extend([
            ("A_VEC4", whole_vectors(a_width)),
            ("B_VEC4", whole_vectors(b_width)),
            ("OUTPUT_VEC4", whole_vectors(n)),
        ]);
        recording.iterations(k.div_ceil(4));
        let grid = group_grid(m.div_ceil(16) * n.div_ceil(32));
        recording.dispatch(&SUBGROUP, &constants, &regions, params, grid);
    } else {
        constants.extend([
            ("A_ALONG_K", flag(!a.transposed)),
            ("B_ALONG_K", flag(b.transposed)),
        ]);
        let grid = product_grid(recording, [m, n, k], 1);
        recording.dispatch(&TILED, &constants, &regions, params, grid);
    }
    recording.flops(2 * (m * n) as u64 * k as u64);
}

/// The grid of the tiled product of C `(m, n)` with sums of length `k`, times slices.
pub(super) fn product_grid(
    recording: &mut Recording,
    [m, n, k]: [usize; 3],
    slices: usize,
) -> [u64; 3] {
    // A step along k makes one turn of the outer loop and 16 of the inner one.
    recording.iterations(k.div_ceil(16) * 17);
    let [x, y, _] = group_grid(m.div_ceil(TILE) * n.div_ceil(TILE));
    [x, y, slices as u64]
}

/// Rows and columns of C that a workgroup of the tiled core computes.
pub(super) const TILE: usize = 64;

/// `y = x W^T + b` through the output's epilogue.
pub(crate) fn linear_forward(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let LinearGeometry {
        rows,
        in_features,
        out_features,
    } = *geometry;
    let factors = [Factor::plain(input), Factor::transposed(weight)];
    matmul(
        recording,
        [rows, out_features, in_features],
        factors,
        bias,
        output,
    );
}

/// `gx = gy W`.
pub(crate) fn linear_backward_input(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [gradient_output, weight]: [Region; 2],
    output: Output,
) {
    let LinearGeometry {
        rows,
        in_features,
        out_features,
    } = *geometry;
    let factors = [Factor::plain(gradient_output), Factor::plain(weight)];
    matmul(
        recording,
        [rows, in_features, out_features],
        factors,
        None,
        output,
    );
}

/// `gW = gy^T x`.
pub(crate) fn linear_backward_weight(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let LinearGeometry {
        rows,
        in_features,
        out_features,
    } = *geometry;
    let factors = [Factor::transposed(gradient_output), Factor::plain(input)];
    let extents = [out_features, in_features, rows];
    matmul(recording, extents, factors, None, gradient_weight.into());
}
