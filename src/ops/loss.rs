//! Losses.

use super::{Call, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels;
use crate::gpu::record::Varies;
use crate::op::{Loss, Target};
#[cfg(feature = "native")]
use pollster::block_on;

/// The loss of a batch of outputs `(N, ...)`, as a tensor of one element, and its gradient with
/// respect to them.
#[cfg(feature = "native")]
pub fn loss(
    output: &Tensor,
    target: impl Into<Target>,
    loss: impl Into<Loss>,
) -> Result<(Tensor, Tensor)> {
    block_on(loss_async(output, target, loss))
}

/// [`loss()`] for asynchronous programs and the browser.
pub async fn loss_async(
    output: &Tensor,
    target: impl Into<Target>,
    loss: impl Into<Loss>,
) -> Result<(Tensor, Tensor)> {
    let (batch, example) = split_batch("output", output.shape())?;
    let (target, loss) = (target.into(), loss.into());
    let geometry = loss.geometry(batch, &example)?;
    target.check(&loss, &geometry)?;
    let scale = (1.0 / loss.normaliser(&target, &geometry)) as f32;
    let step = kernels::loss::LossStep {
        scale,
        gradient_scale: scale,
        weight: 1.0,
        soft: matches!(target, Target::Values(_)),
    };
    let gpu = output.gpu();
    let (labels, values) = match target {
        Target::Values(values) => (vec![0], values),
        labels @ (Target::Labels(_) | Target::WideLabels(_)) => {
            (labels.codes(&loss).into_owned(), vec![0.0])
        }
    };
    let labels = Tensor::from_slice_async(gpu, [labels.len()], &labels).await?;
    let values = Tensor::from_slice_async(gpu, [values.len()], &values).await?;
    let weights = match loss.weights() {
        Some(weights) => Some(Tensor::from_slice_async(gpu, [weights.len()], &weights).await?),
        None => None,
    };
    let call = Call::new("loss", gpu);
    let (total, gradient) = (call.output([1])?, call.output(output.shape())?);
    let targets = kernels::loss::Targets {
        labels: call.region(&labels),
        values: call.region(&values),
        weights: weights.as_ref().map(|weights| call.region(weights)),
    };
    let (from, to) = (
        call.input("output", output)?,
        [call.region(&total), call.region(&gradient)],
    );
    let geometries = [&geometry, &geometry];
    kernels::loss::loss(&mut call.recording(), &loss, geometries, from, targets, to);
    for dispatch in &mut call.recording().dispatches {
        match dispatch.varies {
            Varies::Loss => kernels::loss::set_step(&loss, &mut dispatch.params, step),
            Varies::LossTotal => kernels::loss::set_total_step(&mut dispatch.params, step),
            Varies::Nothing
            | Varies::Dropout { .. }
            | Varies::Clip
            | Varies::Optimizer { .. }
            | Varies::Average => {}
        }
    }
    call.run().await?;
    Ok((total, gradient))
}
