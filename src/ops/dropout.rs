//! Dropout, as it is in training. In evaluation it is a copy.

use super::Call;
use crate::gpu::Tensor;
use crate::gpu::kernels::dropout as kernels;
use crate::op::Dropout;
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// Dropout of `x`, of any shape: each element is zero with this probability and
/// `1 / (1 - probability)` times itself otherwise. The mask follows from the seed, the step (the
/// updates before this one), the operator's number in its model, and the element's place in `x`, the first
/// batch of that update, and from nothing else. Operators are numbered from 0 in the order of their execution, those within
/// blocks and what joins them too. It is the mask that a [`Trainer`](crate::Trainer) with this seed
/// makes, and that of [`cpu::dropout`](crate::cpu::dropout). So the gradient is this function of the
/// gradient with respect to the result. NaN and infinities that are dropped give NaN.
///
/// ```no_run
/// use wgpu_cnn::{Gpu, Tensor, ops};
/// let gpu = Gpu::new()?;
/// let x = Tensor::from_slice(&gpu, [2, 3], &[1.0; 6])?;
/// let (seed, step, layer) = (7, 0, 1);
/// let y = ops::dropout(&x, 0.5, seed, step, layer)?;
/// assert!(y.to_vec()?.iter().all(|&y| y == 0.0 || y == 2.0));
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) where the probability is not within `0..1`.
#[cfg(feature = "native")]
pub fn dropout(x: &Tensor, probability: f64, seed: u64, step: u64, layer: u32) -> Result<Tensor> {
    block_on(dropout_async(x, probability, seed, step, layer))
}

/// [`dropout()`] for asynchronous programs and the browser.
pub async fn dropout_async(
    x: &Tensor,
    probability: f64,
    seed: u64,
    step: u64,
    layer: u32,
) -> Result<Tensor> {
    run(x, probability, None, [seed, step], layer).await
}

/// The same for runs of `span` neighbouring values each, which are kept or dropped together, as
/// [`cpu::dropout_spans`](crate::cpu::dropout_spans): `span` is a plane for dropout over channels, and an
/// example or a batch for stochastic depth. A run's number takes the place of the element's.
///
/// # Errors
/// [`Error::Argument`] where the probability is not within `0..1`, and where `span` is zero.
#[cfg(feature = "native")]
pub fn dropout_spans(
    x: &Tensor,
    probability: f64,
    span: usize,
    seed: u64,
    step: u64,
    layer: u32,
) -> Result<Tensor> {
    block_on(dropout_spans_async(x, probability, span, seed, step, layer))
}

/// [`dropout_spans`] for asynchronous programs and the browser.
pub async fn dropout_spans_async(
    x: &Tensor,
    probability: f64,
    span: usize,
    seed: u64,
    step: u64,
    layer: u32,
) -> Result<Tensor> {
    if span == 0 {
        return Err(Error::argument("dropout span", "must not be zero"));
    }
    // No run is longer than all values.
    let span = span.min(x.shape().len().max(1));
    run(x, probability, Some(span), [seed, step], layer).await
}

async fn run(
    x: &Tensor,
    probability: f64,
    span: Option<usize>,
    [seed, step]: [u64; 2],
    layer: u32,
) -> Result<Tensor> {
    Dropout::new(probability).check()?;
    let call = Call::new("dropout", x.gpu());
    let output = call.output(x.shape())?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    let extents = kernels::Extents {
        len: x.shape().len(),
        span,
        masks: 0,
    };
    kernels::dropout(&mut call.recording(), probability, layer, extents, from, to);
    for dispatch in &mut call.recording().dispatches {
        kernels::set_step(&mut dispatch.params, seed, step, 0);
    }
    call.run().await?;
    Ok(output)
}
