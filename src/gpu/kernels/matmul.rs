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
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "A"), (1, "B"), (3, "Saved"), (4, "Output")],
    params: Params,
    constants: ["TRANSPOSE_A", "TRANSPOSE_B", "HAS_BIAS", "ROW_SUMS"],
    source: "matmul.wgsl",
    blocks: [&blocks::EPILOGUE],
    quads: [&blocks::ELEMENT_QUADS, &blocks::ELEMENT_QUADS_KEPT]
);

pub(crate) const SUBGROUP: Kernel = Kernel {
    name: "matmul_subgroup",
    source: source!("matmul_subgroup.wgsl"),
    blocks: &[&blocks::PRODUCT_SUBGROUP, &blocks::EPILOGUE4],
    bindings: &[Read, Read, Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "A"), (1, "B"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &[
        "TRANSPOSE_A",
        "TRANSPOSE_B",
        "A_VEC4",
        "B_VEC4",
        "OUTPUT_VEC4",
        "HAS_BIAS",
        "ROW_SUMS",
    ],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] =
    &[TILED.by_4x4, TILED.by_8x4, TILED.by_2x4.unwrap(), &SUBGROUP];

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

/// Vectors that a product has to do with beside its matrices.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Vectors {
    /// What is added to each row of C.
    bias: Option<Region>,
    /// Where the sums of the rows of A go, which is transposed then.
    row_sums: Option<Region>,
}

impl Vectors {
    /// The constants that say which there are: most products have no word of sums.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        let mut constants = vec![("HAS_BIAS", flag(self.bias.is_some()))];
        constants.extend(self.row_sums.map(|_| ("ROW_SUMS", flag(true))));
        constants
    }

    /// All bindings of a product's kernel.
    fn bindings(&self, [a, b]: [Factor; 2], c: Output) -> [Option<Region>; 6] {
        [
            Some(a.region),
            Some(b.region),
            self.bias,
            c.saved(),
            Some(c.region),
            self.row_sums,
        ]
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
    let core = core(recording, [m, n, k], [a, b], c.region);
    let vectors = Vectors {
        bias,
        ..Vectors::default()
    };
    by(core, recording, [m, n, k], [a, b], vectors, c);
}

/// The core for a product.
fn core(recording: &mut Recording, extents: [usize; 3], [a, b]: [Factor; 2], c: Region) -> Core {
    let work = Work::Matmul(extents, [a.transposed, b.transposed]);
    recording.core(&work, [a.region, b.region, c].map(|region| region.format))
}

/// The same by a core, with other vectors.
pub(super) fn by(
    core: Core,
    recording: &mut Recording,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    vectors: Vectors,
    c: Output,
) {
    let work = Work::Matmul([m, n, k], [a.transposed, b.transposed]);
    let traits = recording.traits;
    let parts = recording.parts(|| strategy::sum_parts(&traits, &work, core));
    let (to, now) = match parts {
        1 => (c, vectors),
        _ => {
            let parts = recording.transient("product parts", parts * m * n);
            (parts.into(), Vectors::default())
        }
    };
    let extents = ([m, n, k], parts);
    match core {
        // Where it does not, its kernel is not in the program.
        Core::Subgroup if core.exists() => by_subgroups(recording, extents, [a, b], now, to),
        Core::Subgroup
        | Core::Tiled32
        | Core::Tiled64
        | Core::Tiled128
        | Core::TiledLean
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft
        | Core::Direct => by_tiles(recording, core, extents, [a, b], now, to),
    }
    recording.flops(work.flops());
    if parts > 1 {
        reduce::sum_parts(recording, to.region, parts, [m, n, 1], vectors.bias, c);
        if let Some(row_sums) = vectors.row_sums {
            reduce::bias_gradient(recording, [k, m, 1], a.region, row_sums);
        }
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
    vectors: Vectors,
    c: Output,
) {
    let traits = recording.traits;
    let rows = recording.parts(|| strategy::subgroup_rows(&traits, [m, n, k], parts));
    let a_width = if a.transposed { m } else { k };
    let b_width = if b.transposed { k } else { n };
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("TALL", flag(rows == 64)),
        ("A_VEC4", whole_vectors(a_width)),
        ("B_VEC4", whole_vectors(b_width)),
        ("OUTPUT_VEC4", whole_vectors(n)),
    ];
    constants.extend(vectors.constants());
    constants.extend(c.constants(recording));
    let regions = vectors.bindings([a, b], c);
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
    vectors: Vectors,
    c: Output,
) {
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("A_ALONG_K", flag(!a.transposed)),
        ("B_ALONG_K", flag(b.transposed)),
    ];
    constants.extend(vectors.constants());
    constants.extend(c.constants(recording));
    let regions = vectors.bindings([a, b], c);
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

/// `gW = gy^T x`, and the sums of gy over its rows to `gradient_bias`.
pub(crate) fn linear_backward_weight(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [input, gradient_output]: [Region; 2],
    (gradient_weight, gradient_bias): (Region, Option<Region>),
) {
    let LinearGeometry {
        rows,
        in_features,
        out_features,
    } = *geometry;
    let factors = [Factor::transposed(gradient_output), Factor::plain(input)];
    let extents = [out_features, in_features, rows];
    let vectors = Vectors {
        row_sums: gradient_bias,
        ..Vectors::default()
    };
    let core = core(recording, extents, factors, gradient_weight);
    by(
        core,
        recording,
        extents,
        factors,
        vectors,
        gradient_weight.into(),
    );
}
