//! Averages of weights.

use super::{Call, expect};
use crate::gpu::Tensor;
use crate::gpu::kernels::average;
use crate::gpu::record::Varies;
use crate::op::Average;
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// What an update, counted from 1, makes of an average: the parameter itself at first, and then
/// `kept * averaged + taken * parameter` with the [shares](Average::shares) of both.
///
/// # Errors
/// [`Error::Argument`] for a decay out of range and for update 0, [`Error::Shape`] where the tensors do not
/// fit each other.
#[cfg(feature = "native")]
pub fn average_update(
    average: &Average,
    update: u64,
    parameter: &Tensor,
    averaged: &Tensor,
) -> Result<Tensor> {
    block_on(average_update_async(average, update, parameter, averaged))
}

/// [`average_update`] for asynchronous programs and the browser.
pub async fn average_update_async(
    average: &Average,
    update: u64,
    parameter: &Tensor,
    averaged: &Tensor,
) -> Result<Tensor> {
    average.check()?;
    if update == 0 {
        return Err(Error::argument("update", "counts from 1"));
    }
    expect("average", averaged, parameter.shape())?;
    let call = Call::new("average_update", parameter.gpu());
    let new = call.copy("average", averaged)?;
    let regions = [call.input("parameter", parameter)?, call.region(&new)];
    let len = parameter.shape().len().div_ceil(4);
    average::update(&mut call.recording(), len, regions);
    for dispatch in &mut call.recording().dispatches {
        if let Varies::Average = dispatch.varies {
            average::set_shares(&mut dispatch.params, average, update);
        }
    }
    call.run().await?;
    Ok(new)
}
