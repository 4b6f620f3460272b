//! The matrix product, and the dense layer that is made of it.

use super::{Gradient, Read, ReadWrite, Recording, Region};
use super::{code, flag, product_grid};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::op::{Activation, LinearGeometry};

params! {
    struct Params {
        m: u32,
        n: u32,
        k: u32,
    }
}

pub(crate) const MATMUL: Kernel = Kernel {
    name: "matmul",
    source: source!(
        "matmul.wgsl",
        "core/product_tiled.wgsl",
        "core/activation.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: &[
        "TRANSPOSE_A",
        "TRANSPOSE_B",
        "HAS_BIAS",
        "ACTIVATION",
        "GRADIENT_OF",
        "ACCUMULATE",
        "A_ALONG_K",
        "B_ALONG_K",
    ],
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

/// `C = activation(A B + bias)`, with A of `(m, k)` and B of `(k, n)` after their transpositions.
pub(crate) fn matmul(
    recording: &mut Recording,
    [m, n, k]: [usize; 3],
    [a, b]: [Factor; 2],
    bias: Option<Region>,
    activation: Option<Activation>,
    c: Gradient,
) {
    let mut constants = vec![
        ("TRANSPOSE_A", flag(a.transposed)),
        ("TRANSPOSE_B", flag(b.transposed)),
        ("HAS_BIAS", flag(bias.is_some())),
        ("ACTIVATION", code(activation)),
        ("A_ALONG_K", flag(!a.transposed)),
        ("B_ALONG_K", flag(b.transposed)),
    ];
    constants.extend(c.constants());
    let regions = [
        Some(a.region),
        Some(b.region),
        bias,
        c.forward(),
        Some(c.region),
    ];
    let params = Params {
        m: m as u32,
        n: n as u32,
        k: k as u32,
    };
    recording.dispatch(
        &MATMUL,
        &constants,
        &regions,
        params,
        product_grid(m, n, 1, 64),
    );
}

/// `y = activation(x W^T + b)`.
pub(crate) fn linear_forward(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    activation: Option<Activation>,
    output: Region,
) {
    let LinearGeometry {
        rows,
        in_features,
        out_features,
    } = *geometry;
    let factors = [Factor::plain(input), Factor::transposed(weight)];
    let extents = [rows, out_features, in_features];
    matmul(recording, extents, factors, bias, activation, output.into());
}

/// `gx = gy W`.
pub(crate) fn linear_backward_input(
    recording: &mut Recording,
    geometry: &LinearGeometry,
    [gradient_output, weight]: [Region; 2],
    gradient_input: Gradient,
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
        None,
        gradient_input,
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
    matmul(
        recording,
        extents,
        factors,
        None,
        None,
        gradient_weight.into(),
    );
}
