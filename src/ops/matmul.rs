//! The matrix product and the dense layer.

use super::{Call, expect};
use crate::gpu::Tensor;
use crate::gpu::kernels::matmul::{self as kernels, Factor};
use crate::op::LinearGeometry;
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// The product of two matrices, `(M, K)` times `(K, N)`, either of them given transposed.
#[cfg(feature = "native")]
pub fn matmul(a: &Tensor, transpose_a: bool, b: &Tensor, transpose_b: bool) -> Result<Tensor> {
    block_on(matmul_async(a, transpose_a, b, transpose_b))
}

/// [`matmul()`] for asynchronous programs and the browser.
pub async fn matmul_async(
    a: &Tensor,
    transpose_a: bool,
    b: &Tensor,
    transpose_b: bool,
) -> Result<Tensor> {
    let [mut a_extents, mut b_extents] = [extents("matmul a", a)?, extents("matmul b", b)?];
    if transpose_a {
        a_extents.reverse();
    }
    if transpose_b {
        b_extents.reverse();
    }
    let ([m, k], [inner, n]) = (a_extents, b_extents);
    if k != inner {
        return Err(Error::shape("matmul b", format!("{k} rows"), inner));
    }
    let call = Call::new("matmul", a.gpu());
    let output = call.output([m, n])?;
    let a = Factor {
        region: call.input("a", a)?,
        transposed: transpose_a,
    };
    let b = Factor {
        region: call.input("b", b)?,
        transposed: transpose_b,
    };
    let to = call.region(&output).into();
    kernels::matmul(&mut call.recording(), [m, n, k], [a, b], None, to);
    call.run().await?;
    Ok(output)
}

/// The dense layer `x W^T + b` of `x` `(N, in)` with `weight` `(out, in)` and an optional bias
/// `(out)`: `(N, out)`. Its gradients are products: `gx = gy W`, `gW = gy^T x`.
#[cfg(feature = "native")]
pub fn linear_forward(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    block_on(linear_forward_async(x, weight, bias))
}

/// [`linear_forward`] for asynchronous programs and the browser.
pub async fn linear_forward_async(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let ([rows, in_features], [out_features, inner]) =
        (extents("x", x)?, extents("weight", weight)?);
    if in_features != inner {
        return Err(Error::shape(
            "weight",
            format!("{in_features} columns"),
            inner,
        ));
    }
    if let Some(bias) = bias {
        expect("bias", bias, [out_features])?;
    }
    let call = Call::new("linear_forward", x.gpu());
    let output = call.output([rows, out_features])?;
    let inputs = call.inputs([("x", x), ("weight", weight)])?;
    let (bias, to) = (
        bias.map(|bias| call.input("bias", bias)).transpose()?,
        call.region(&output),
    );
    let geometry = LinearGeometry {
        rows,
        in_features,
        out_features,
    };
    kernels::linear_forward(&mut call.recording(), &geometry, inputs, bias, to.into());
    call.run().await?;
    Ok(output)
}

fn extents(name: &str, matrix: &Tensor) -> Result<[usize; 2]> {
    match matrix.shape()[..] {
        [rows, columns] => Ok([rows, columns]),
        _ => Err(Error::shape(name, "a matrix", matrix.shape())),
    }
}
