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
        parts: u32,
    }
}

pub(crate) const TILED: Product = product!(
    "matmul",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "A"), (1, "B"), (3, "Saved"), (4, "Output")],
    params: Params,
    constants: ["TRANSPOSE_A", "TRANSPOSE_B", "HAS_BIAS"],
    source: "matmul.wgsl",
    blocks: [&blocks::ELEMENT_QUADS, &blocks::EPILOGUE]
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
pub(super) const KERNELS: &[&Kernel] = &[TILED.by_4x4, TILED.by_8x4, &SUBGROUP];

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
    let formats = [a.region, b.region, c.region].map(|region| region.format);
    let core = recording.core(&work, formats);
    by(core, recording, [m, n, k], [a, b], bias, c);
}

/// The same by a core.
pub(super) fn by(
    core: Core,
    recording: &mut Recording,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let work = Work::Matmul([m, n, k], [a.transposed, b.transposed]);
    let traits = recording.traits;
    let parts = recording.parts(|| strategy::sum_parts(&traits, &work, core));
    let (to, bias_now) = match parts {
        1 => (c, bias),
        _ => {
            let parts = recording.transient("product parts", parts * m * n);
            (parts.into(), None)
        }
    };
    let extents = ([m, n, k], parts);
    match core {
        // Where it does not, its kernel is not in the program.
        Core::Subgroup if core.exists() => by_subgroups(recording, extents, [a, b], bias_now, to),
        Core::Subgroup
        | Core::Tiled32
        | Core::Tiled64
        | Core::Tiled128
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft
        | Core::Direct => by_tiles(recording, core, extents, [a, b], bias_now, to),
    }
    recording.flops(work.flops());
    if parts > 1 {
        reduce::sum_parts(recording, to.region, parts, [m, n, 1], bias, c);
    }
}

fn params([m, n, k]: [usize; 3], parts: usize) -> Params {
    Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
        parts: parts as u32,
    }
}

/// The product, or parts of its sums, without workgroup memory.
fn by_subgroups(
    recording: &mut Recording,
    ([m, n, k], parts): ([usize; 3], usize),
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let traits = recording.traits;
    let rows = recording.parts(|| strategy::subgroup_rows(&traits, [m, n, k], parts));
    let a_width = if a.transposed { m } else { k };
    let b_width = if b.transposed { k } else { n };
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias.is_some())),
        ("TALL", flag(rows == 64)),
        ("A_VEC4", whole_vectors(a_width)),
        ("B_VEC4", whole_vectors(b_width)),
        ("OUTPUT_VEC4", whole_vectors(n)),
    ];
    constants.extend(c.constants(recording));
    let (a, b) = (Some(a.region), Some(b.region));
    let regions = [a, b, bias, c.saved(), Some(c.region)];
    let length = k.div_ceil(parts).next_multiple_of(4);
    recording.iterations(length / 4 + length.div_ceil(128));
    let [x, y, _] = group_grid(m.div_ceil(rows) * n.div_ceil(32));
    let (params, grid) = (params([m, n, k], parts), [x, y, parts as u64]);
    recording.dispatch(&SUBGROUP, &constants, &regions, params, grid);
}

/// The same by tiles in workgroup memory. Each part has a slab of its own.
fn by_tiles(
    recording: &mut Recording,
    core: Core,
    ([m, n, k], parts): ([usize; 3], usize),
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    c: Output,
) {
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias.is_some())),
        ("A_ALONG_K", flag(!a.transposed)),
        ("B_ALONG_K", flag(b.transposed)),
    ];
    constants.extend(c.constants(recording));
    let (a, b) = (Some(a.region), Some(b.region));
    let regions = [a, b, bias, c.saved(), Some(c.region)];
    let extents = Extents {
        m,
        n,
        k: k.div_ceil(parts),
        slices: parts,
    };
    let params = params([m, n, k], parts);
    TILED.dispatch(recording, core, extents, constants, &regions, params);
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
