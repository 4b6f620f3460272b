//! The matrix product, and the dense layer that is made of it.

use super::product::{Product, product};
use super::{Output, Read, ReadWrite, Recording, Region, reduce};
use super::{blocks, flag, group_grid, whole_vectors};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, Core, Extents, Work};
use crate::op::LinearGeometry;

params! {
    struct Params {
        m: u32,
        n: u32,
        k: u32,
    }
}

params! {
    struct TiledParams {
        m: u32,
        n: u32,
        k: u32,
        parts: u32,
    }
}

pub(crate) const TILED: Product = product!(
    "matmul",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "A"), (1, "B"), (3, "Saved"), (4, "Output")],
    params: TiledParams,
    constants: ["TRANSPOSE_A", "TRANSPOSE_B", "HAS_BIAS"],
    source: "matmul.wgsl",
    blocks: [&blocks::EPILOGUE]
);

pub(crate) const SUBGROUP: Kernel = Kernel {
    name: "matmul_subgroup",
    source: source!("matmul_subgroup.wgsl"),
    blocks: &[&blocks::PRODUCT_SUBGROUP, &blocks::EPILOGUE4],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "A"), (1, "B"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &[
        "TRANSPOSE_A",
        "TRANSPOSE_B",
        "A_VEC4",
        "B_VEC4",
        "OUTPUT_VEC4",
        "HAS_BIAS",
    ],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[TILED.by_4x4, TILED.by_8x8, &SUBGROUP];

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
    let work = Work::Matmul([m, n, k], [a.transposed, b.transposed]);
    match recording.core(&work) {
        Core::Subgroup => by_subgroups(recording, &work, [m, n, k], [a, b], bias, c),
        core @ (Core::Tiled32
        | Core::Tiled64
        | Core::Tiled128
        | Core::Rows
        | Core::Strided
        | Core::Direct) => by_tiles(recording, &work, core, [m, n, k], [a, b], bias, c),
    }
}

/// The product without workgroup memory.
fn by_subgroups(
    recording: &mut Recording,
    work: &Work,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let a_width = if a.transposed { m } else { k };
    let b_width = if b.transposed { k } else { n };
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias.is_some())),
        ("A_VEC4", whole_vectors(a_width)),
        ("B_VEC4", whole_vectors(b_width)),
        ("OUTPUT_VEC4", whole_vectors(n)),
    ];
    constants.extend(c.constants(recording));
    let (a, b) = (Some(a.region), Some(b.region));
    let regions = [a, b, bias, c.saved(), Some(c.region)];
    let [m32, n32, k32] = [m, n, k].map(|extent| extent as u32);
    let params = Params {
        m: m32,
        n: n32,
        k: k32,
    };
    recording.iterations(k.div_ceil(4));
    let grid = group_grid(m.div_ceil(16) * n.div_ceil(32));
    recording.dispatch(&SUBGROUP, &constants, &regions, params, grid);
    recording.flops(work.flops());
}

/// The product by tiles in workgroup memory. Parts of the sums go to slabs of their own, and what happens
/// to a result to their sum.
fn by_tiles(
    recording: &mut Recording,
    work: &Work,
    core: Core,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let most = recording.traits.holds(m * n);
    let parts = recording.parts(|| strategy::sum_parts(work, core.side(), most));
    let (to, bias_now) = match parts {
        1 => (c, bias),
        _ => {
            let parts = recording.transient("product parts", parts * m * n);
            (parts.into(), None)
        }
    };
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias_now.is_some())),
        ("A_ALONG_K", flag(!a.transposed)),
        ("B_ALONG_K", flag(b.transposed)),
    ];
    constants.extend(to.constants(recording));
    let (a, b) = (Some(a.region), Some(b.region));
    let regions = [a, b, bias_now, to.saved(), Some(to.region)];
    let params = TiledParams {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        parts: parts as u32,
    };
    let extents = Extents {
        m,
        n,
        k: k.div_ceil(parts),
        slices: parts,
    };
    TILED.dispatch(recording, core, extents, constants, &regions, params);
    recording.flops(work.flops());
    if parts > 1 {
        reduce::sum_parts(recording, to.region, parts, [m, n], bias, c);
    }
}

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
