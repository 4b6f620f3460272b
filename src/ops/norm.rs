//! Batch and layer normalisation.

use super::{Call, expect, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::norm;
use crate::op::{BatchNorm, LayerNorm, check_epsilon};
use crate::{Result, Shape};

/// What batch normalisation in training leaves beside its output.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean and inverse standard deviation of each channel, `(C, 2)`: for the backward pass.
    pub batch: Tensor,
    /// The new running means, `(C)`.
    pub running_mean: Tensor,
    /// The new running variances, `(C)`.
    pub running_variance: Tensor,
}

/// Batch normalisation of `x` `(N, C, ...)` in training, with gamma, beta and the running statistics
/// `(C)` each.
pub fn batch_norm_forward(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    [running_mean, running_variance]: [&Tensor; 2],
    layer: &BatchNorm,
) -> Result<(Tensor, BatchStatistics)> {
    let (batch, example) = split_batch("batch_norm input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    geometry.check_training()?;
    for tensor in [gamma, beta, running_mean, running_variance] {
        expect("batch_norm parameter", tensor, [geometry.channels])?;
    }
    let call = Call::new("batch_norm_forward", x.gpu());
    let output = call.output(x.shape())?;
    let kept = call.output([geometry.channels, 2])?;
    let copies = [
        call.copy("running mean", running_mean)?,
        call.copy("running variance", running_variance)?,
    ];
    let inputs = call.inputs([("x", x), ("gamma", gamma), ("beta", beta)])?;
    let statistics = [&kept, &copies[0], &copies[1]].map(|tensor| call.region(tensor));
    let to = call.region(&output);
    norm::batch_forward(
        &mut call.recording(),
        layer,
        &geometry,
        inputs,
        statistics,
        to.into(),
    );
    call.run()?;
    let [running_mean, running_variance] = copies;
    Ok((
        output,
        BatchStatistics {
            batch: kept,
            running_mean,
            running_variance,
        },
    ))
}

/// Batch normalisation of `x` `(N, C, ...)` in evaluation, by the running statistics.
pub fn batch_norm_forward_evaluation(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    running: [&Tensor; 2],
    layer: &BatchNorm,
) -> Result<Tensor> {
    let (batch, example) = split_batch("batch_norm input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    for tensor in [gamma, beta, running[0], running[1]] {
        expect("batch_norm parameter", tensor, [geometry.channels])?;
    }
    let call = Call::new("batch_norm_forward_evaluation", x.gpu());
    let output = call.output(x.shape())?;
    let inputs = call.inputs([("x", x), ("gamma", gamma), ("beta", beta)])?;
    let (running, to) = (
        call.inputs([
            ("running mean", running[0]),
            ("running variance", running[1]),
        ])?,
        call.region(&output),
    );
    norm::batch_forward_evaluation(
        &mut call.recording(),
        layer,
        &geometry,
        inputs,
        running,
        to.into(),
    );
    call.run()?;
    Ok(output)
}

/// The gradients of batch normalisation in training with respect to `x`, gamma and beta.
/// `statistics` is [`BatchStatistics::batch`].
pub fn batch_norm_backward(
    x: &Tensor,
    gamma: &Tensor,
    statistics: &Tensor,
    gradient_output: &Tensor,
    layer: &BatchNorm,
) -> Result<[Tensor; 3]> {
    let (batch, example) = split_batch("batch_norm input", x.shape())?;
    let geometry = layer.geometry(batch, &example)?;
    expect("gamma", gamma, [geometry.channels])?;
    expect("statistics", statistics, [geometry.channels, 2])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("batch_norm_backward", x.gpu());
    let to_input = call.output(x.shape())?;
    let [to_gamma, to_beta] = [
        call.output([geometry.channels])?,
        call.output([geometry.channels])?,
    ];
    let inputs = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("statistics", statistics),
        ("gamma", gamma),
    ])?;
    let gradients = [call.region(&to_gamma), call.region(&to_beta)];
    let to = Some(call.region(&to_input).into());
    norm::batch_backward(&mut call.recording(), &geometry, inputs, gradients, to);
    call.run()?;
    Ok([to_input, to_gamma, to_beta])
}

/// Layer normalisation of `x` `(N, ...)` with gamma and beta of one example's shape, and the mean and
/// inverse standard deviation of each example, `(N, 2)`, for the backward pass.
pub fn layer_norm_forward(
    x: &Tensor,
    [gamma, beta]: [&Tensor; 2],
    layer: &LayerNorm,
) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("layer_norm input", x.shape())?;
    check_epsilon("layer_norm", layer.epsilon)?;
    expect("gamma", gamma, &example)?;
    expect("beta", beta, &example)?;
    let call = Call::new("layer_norm_forward", x.gpu());
    let (output, kept) = (call.output(x.shape())?, call.output([batch, 2])?);
    let inputs = call.inputs([("x", x), ("gamma", gamma), ("beta", beta)])?;
    let outputs = [call.region(&kept), call.region(&output)];
    let extents = [batch, example.len()];
    norm::layer_forward(
        &mut call.recording(),
        layer.epsilon,
        extents,
        inputs,
        outputs,
    );
    call.run()?;
    Ok((output, kept))
}

/// The gradients of layer normalisation with respect to `x`, gamma and beta, from what the forward
/// pass kept.
pub fn layer_norm_backward(
    x: &Tensor,
    gamma: &Tensor,
    kept: &Tensor,
    gradient_output: &Tensor,
) -> Result<[Tensor; 3]> {
    let (batch, example) = split_batch("layer_norm input", x.shape())?;
    expect("gamma", gamma, &example)?;
    expect("kept", kept, [batch, 2])?;
    expect("output gradient", gradient_output, x.shape())?;
    let call = Call::new("layer_norm_backward", x.gpu());
    let to_input = call.output(x.shape())?;
    let like = |shape: &Shape| call.output(shape);
    let [to_gamma, to_beta] = [like(&example)?, like(&example)?];
    let inputs = call.inputs([
        ("x", x),
        ("output gradient", gradient_output),
        ("kept", kept),
        ("gamma", gamma),
    ])?;
    let gradients = [call.region(&to_gamma), call.region(&to_beta)];
    let to = Some(call.region(&to_input).into());
    let extents = [batch, example.len()];
    norm::layer_backward(&mut call.recording(), extents, inputs, gradients, to);
    call.run()?;
    Ok([to_input, to_gamma, to_beta])
}
