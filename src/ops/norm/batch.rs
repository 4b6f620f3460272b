//! Batch normalisation.

use super::{Call, expect, factors, gamma_of, place, places, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::norm::batch;
use crate::op::{BatchNorm, BatchNormGeometry};
use crate::{Error, Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// What batch normalisation in training leaves beside its output.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean and inverse standard deviation of each channel, `(C, 2)`: for the backward pass.
    pub batch: Tensor,
    /// The new running means, `(C)`.
    pub running_mean: Tensor,
    /// The new running variances, `(C)`.
    pub running_variance: Tensor,
    /// The number of batches that they are averages of, one more than before, `()`: where
    /// [`BatchNorm::momentum`] is `None`.
    pub num_batches_tracked: Option<Tensor>,
}

fn geometry(x: &Tensor, layer: &BatchNorm) -> Result<BatchNormGeometry> {
    let (batch, example) = split_batch("batch_norm input", x.shape())?;
    layer.geometry(batch, &example)
}

/// Batch normalisation of `x` `(N, C, ...)` in training, whether it is frozen or not.
///
/// `affine` is gamma and beta `(C)`, or `None` for a layer without; `running` the running mean and variance
/// `(C)`, and for a layer whose momentum is `None` the number of batches so far, `()`.
///
/// # Errors
///
/// [`Error::Shape`] where a tensor has another shape, or a channel holds one value; [`Error::Argument`]
/// where there are more or fewer tensors than the layer has.
#[cfg(feature = "native")]
pub fn batch_norm_forward<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    running: impl AsRef<[&'a Tensor]>,
    layer: &BatchNorm,
) -> Result<(Tensor, BatchStatistics)> {
    block_on(batch_norm_forward_async(x, affine, running, layer))
}

/// [`batch_norm_forward`] for asynchronous programs and the browser.
pub async fn batch_norm_forward_async<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    running: impl AsRef<[&'a Tensor]>,
    layer: &BatchNorm,
) -> Result<(Tensor, BatchStatistics)> {
    let geometry = geometry(x, layer)?;
    geometry.check_training()?;
    let channels = Shape::from([geometry.channels]);
    let factors = factors("batch_norm", layer.affine, affine.into(), &channels)?;
    let (mean, variance, batches) = match (running.as_ref(), layer.momentum) {
        (&[mean, variance], Some(_)) => (mean, variance, None),
        (&[mean, variance, batches], None) => (mean, variance, Some(batches)),
        (running, momentum) => {
            let expected = if momentum.is_some() { 2 } else { 3 };
            let reason = format!("{expected} running statistics, not {}", running.len());
            return Err(Error::argument("batch_norm", reason));
        }
    };
    expect("running mean", mean, &channels)?;
    expect("running variance", variance, &channels)?;
    if let Some(batches) = batches {
        expect("number of batches", batches, [])?;
    }
    let call = Call::new("batch_norm_forward", x.gpu());
    let output = call.output(x.shape())?;
    let kept = call.output([geometry.channels, 2])?;
    let running_mean = call.copy("running mean", mean)?;
    let running_variance = call.copy("running variance", variance)?;
    let batches = batches.map(|batches| call.copy("number of batches", batches));
    let num_batches_tracked = batches.transpose()?;
    let running = batch::Running {
        folds_later: false,
        mean: call.region(&running_mean),
        variance: call.region(&running_variance),
        batches: num_batches_tracked
            .as_ref()
            .map(|batches| call.region(batches)),
    };
    let (input, [gamma, beta]) = (call.input("x", x)?, places(&call, &factors)?);
    let (statistics, to) = (call.region(&kept), call.region(&output).into());
    let read = [Some(input), gamma, beta];
    batch::forward(
        &mut call.recording(),
        layer,
        &geometry,
        read,
        (statistics, running),
        to,
    );
    call.run().await?;
    Ok((
        output,
        BatchStatistics {
            batch: kept,
            running_mean,
            running_variance,
            num_batches_tracked,
        },
    ))
}

/// Batch normalisation of `x` `(N, C, ...)` in evaluation, by the running mean and variance `(C)`. `affine`
/// is gamma and beta `(C)`, or `None` for a layer without.
///
/// # Errors
///
/// [`Error::Shape`] where a tensor has another shape; [`Error::Argument`] where gamma and beta are there for
/// a layer without, or missing.
#[cfg(feature = "native")]
pub fn batch_norm_forward_evaluation<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    running: [&Tensor; 2],
    layer: &BatchNorm,
) -> Result<Tensor> {
    block_on(batch_norm_forward_evaluation_async(
        x, affine, running, layer,
    ))
}

/// [`batch_norm_forward_evaluation`] for asynchronous programs and the browser.
pub async fn batch_norm_forward_evaluation_async<'a>(
    x: &Tensor,
    affine: impl Into<Option<[&'a Tensor; 2]>>,
    running: [&Tensor; 2],
    layer: &BatchNorm,
) -> Result<Tensor> {
    let geometry = geometry(x, layer)?;
    let channels = Shape::from([geometry.channels]);
    let factors = factors("batch_norm", layer.affine, affine.into(), &channels)?;
    expect("running mean", running[0], &channels)?;
    expect("running variance", running[1], &channels)?;
    let call = Call::new("batch_norm_forward_evaluation", x.gpu());
    let output = call.output(x.shape())?;
    let (input, [gamma, beta]) = (call.input("x", x)?, places(&call, &factors)?);
    let running = call.inputs([
        ("running mean", running[0]),
        ("running variance", running[1]),
    ])?;
    let to = call.region(&output).into();
    let read = [Some(input), gamma, beta];
    batch::forward_evaluation(&mut call.recording(), layer, &geometry, read, running, to);
    call.run().await?;
    Ok(output)
}

/// The gradients of batch normalisation in training with respect to `x`, gamma and beta, the last two of a
/// layer without them, too. `statistics` is [`BatchStatistics::batch`].
///
/// # Errors
///
/// [`Error::Shape`] where a tensor has another shape; [`Error::Argument`] where gamma is there for a layer
/// without, or missing.
#[cfg(feature = "native")]
pub fn batch_norm_backward<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    statistics: &Tensor,
    gradient_output: &Tensor,
    layer: &BatchNorm,
) -> Result<[Tensor; 3]> {
    block_on(batch_norm_backward_async(
        x,
        gamma,
        statistics,
        gradient_output,
        layer,
    ))
}

/// [`batch_norm_backward`] for asynchronous programs and the browser.
pub async fn batch_norm_backward_async<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    statistics: &Tensor,
    gradient_output: &Tensor,
    layer: &BatchNorm,
) -> Result<[Tensor; 3]> {
    let geometry = geometry(x, layer)?;
    let channels = Shape::from([geometry.channels]);
    let gamma = gamma_of("batch_norm", layer.affine, gamma.into(), &channels)?;
    expect("statistics", statistics, [geometry.channels, 2])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("batch_norm_backward", x.gpu());
    let to = [
        call.output(x.shape())?,
        call.output(&channels)?,
        call.output(&channels)?,
    ];
    let [to_input, to_gamma, to_beta] = [0, 1, 2].map(|at| call.region(&to[at]));
    let [x, gradient, statistics] = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("statistics", statistics),
    ])?;
    let read = (x, gradient.into(), statistics);
    let gamma = place(&call, &gamma)?;
    let (gradients, output) = ([to_gamma, to_beta], Some(to_input.into()));
    batch::backward(
        &mut call.recording(),
        &geometry,
        read,
        gamma,
        gradients,
        output,
    );
    call.run().await?;
    Ok(to)
}

/// The gradients of batch normalisation in evaluation, where the running mean and variance `(C)` are
/// constants, with respect to `x`, gamma and beta, the last two of a layer without them, too.
///
/// # Errors
///
/// Those of [`batch_norm_backward`].
#[cfg(feature = "native")]
pub fn batch_norm_backward_evaluation<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    running: [&Tensor; 2],
    gradient_output: &Tensor,
    layer: &BatchNorm,
) -> Result<[Tensor; 3]> {
    block_on(batch_norm_backward_evaluation_async(
        x,
        gamma,
        running,
        gradient_output,
        layer,
    ))
}

/// [`batch_norm_backward_evaluation`] for asynchronous programs and the browser.
pub async fn batch_norm_backward_evaluation_async<'a>(
    x: &Tensor,
    gamma: impl Into<Option<&'a Tensor>>,
    running: [&Tensor; 2],
    gradient_output: &Tensor,
    layer: &BatchNorm,
) -> Result<[Tensor; 3]> {
    let geometry = geometry(x, layer)?;
    let channels = Shape::from([geometry.channels]);
    let gamma = gamma_of("batch_norm", layer.affine, gamma.into(), &channels)?;
    expect("running mean", running[0], &channels)?;
    expect("running variance", running[1], &channels)?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("batch_norm_backward_evaluation", x.gpu());
    let to = [
        call.output(x.shape())?,
        call.output(&channels)?,
        call.output(&channels)?,
    ];
    let [to_input, to_gamma, to_beta] = [0, 1, 2].map(|at| call.region(&to[at]));
    let [x, gradient] = call.inputs([("x", x), ("output gradient", gradient_output)])?;
    let read = (x, gradient.into());
    let running = call.inputs([
        ("running mean", running[0]),
        ("running variance", running[1]),
    ])?;
    let gamma = place(&call, &gamma)?;
    let gradients = (Some([to_gamma, to_beta]), Some(to_input.into()));
    let norm = (layer, &geometry);
    batch::backward_evaluation(&mut call.recording(), norm, read, gamma, running, gradients);
    call.run().await?;
    Ok(to)
}
