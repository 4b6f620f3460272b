//! Normalisations of tensors of a device.

use super::*;

/// A batch, and the values of a channel that its normalisation has.
fn channels(d: &mut Draw) -> Result<(Tensor, [Tensor; 4]), Error> {
    let shape = images(d);
    let channels = shape.get(1).copied().unwrap_or(1);
    let x = tensor(d, shape)?;
    let mut each = || tensor(d, [channels]);
    Ok((x, [each()?, each()?, each()?, each()?]))
}

pub fn batch_norm_forward(d: &mut Draw) -> Done {
    let (x, [gamma, beta, mean, variance]) = channels(d)?;
    let (layer, batches) = (op::batch_norm(d), tensor(d, [])?);
    let factors = factors(d, layer.affine, [&gamma, &beta]);
    let running = [&mean, &variance, &batches];
    let count = match d.is_hostile() {
        true => d.below(4),
        false => 2 + usize::from(layer.momentum.is_none()),
    };
    ops::batch_norm_forward(&x, factors, &running[..count], &layer).map(drop)
}

pub fn batch_norm_forward_evaluation(d: &mut Draw) -> Done {
    let (x, [gamma, beta, mean, variance]) = channels(d)?;
    let layer = op::batch_norm(d);
    let factors = factors(d, layer.affine, [&gamma, &beta]);
    ops::batch_norm_forward_evaluation(&x, factors, [&mean, &variance], &layer).map(drop)
}

pub fn batch_norm_backward(d: &mut Draw) -> Done {
    let (x, [gamma, ..]) = channels(d)?;
    let statistics = tensor(d, [gamma.shape().len(), 2])?;
    let gy = tensor(d, x.shape())?;
    let layer = op::batch_norm(d);
    let gamma = factors(d, layer.affine, &gamma);
    ops::batch_norm_backward(&x, gamma, &statistics, &gy, &layer).map(drop)
}

pub fn batch_norm_backward_evaluation(d: &mut Draw) -> Done {
    let (x, [gamma, mean, variance, _]) = channels(d)?;
    let (layer, gy) = (op::batch_norm(d), tensor(d, x.shape())?);
    let (gamma, running) = (factors(d, layer.affine, &gamma), [&mean, &variance]);
    ops::batch_norm_backward_evaluation(&x, gamma, running, &gy, &layer).map(drop)
}

/// Gamma, or gamma and beta, mostly where a layer has them.
fn factors<T>(d: &mut Draw, affine: bool, factors: T) -> Option<T> {
    (affine != d.is_hostile()).then_some(factors)
}

pub fn layer_norm_channels_forward(d: &mut Draw) -> Done {
    let (x, [gamma, beta, ..]) = channels(d)?;
    let layer = op::layer_norm_channels(d);
    let factors = factors(d, layer.affine, [&gamma, &beta]);
    ops::layer_norm_channels_forward(&x, factors, &layer).map(drop)
}

pub fn layer_norm_channels_backward(d: &mut Draw) -> Done {
    let (x, [gamma, ..]) = channels(d)?;
    let positions = x.shape().iter().skip(2).product();
    let kept = tensor(d, [x.shape().first().copied().unwrap_or(1), positions, 2])?;
    let (layer, gy) = (op::layer_norm_channels(d), tensor(d, x.shape())?);
    let gamma = factors(d, layer.affine, &gamma);
    ops::layer_norm_channels_backward(&x, gamma, &kept, &gy, &layer).map(drop)
}

pub fn group_norm_forward(d: &mut Draw) -> Done {
    let (x, [gamma, beta, ..]) = channels(d)?;
    let layer = op::group_norm(d);
    let factors = factors(d, layer.affine, [&gamma, &beta]);
    ops::group_norm_forward(&x, factors, &layer).map(drop)
}

pub fn group_norm_backward(d: &mut Draw) -> Done {
    let (x, [gamma, ..]) = channels(d)?;
    let (layer, batch) = (op::group_norm(d), x.shape().first().copied().unwrap_or(1));
    let groups = layer.groups.unwrap_or(gamma.shape().len());
    let kept = tensor(d, [batch, groups, 2])?;
    let gy = tensor(d, x.shape())?;
    let gamma = factors(d, layer.affine, &gamma);
    ops::group_norm_backward(&x, gamma, &kept, &gy, &layer).map(drop)
}

pub fn local_response_norm_forward(d: &mut Draw) -> Done {
    let x = images(d);
    ops::local_response_norm_forward(&tensor(d, x)?, &op::local_response_norm(d)).map(drop)
}

pub fn local_response_norm_backward(d: &mut Draw) -> Done {
    let x = images(d);
    let [x, kept, gy] = [tensor(d, &x)?, tensor(d, &x)?, tensor(d, &x)?];
    let layer = op::local_response_norm(d);
    ops::local_response_norm_backward(&x, &kept, &gy, &layer).map(drop)
}

pub fn layer_norm_forward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let example = Shape::from(shape.get(1..).unwrap_or_default());
    let [x, gamma, beta] = [
        tensor(d, shape)?,
        tensor(d, &example)?,
        tensor(d, &example)?,
    ];
    let layer = op::layer_norm(d);
    let factors = factors(d, layer.affine, [&gamma, &beta]);
    ops::layer_norm_forward(&x, factors, &layer).map(drop)
}

pub fn layer_norm_backward(d: &mut Draw) -> Done {
    let shape = d.shape();
    let example = Shape::from(shape.get(1..).unwrap_or_default());
    let kept = tensor(d, [shape.first().copied().unwrap_or(1), 2])?;
    let [x, gy, gamma] = [tensor(d, &shape)?, tensor(d, &shape)?, tensor(d, &example)?];
    let gamma = factors(d, true, &gamma);
    ops::layer_norm_backward(&x, gamma, &kept, &gy).map(drop)
}
