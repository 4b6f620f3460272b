//! Updates of parameters.

use super::{Call, expect};
use crate::gpu::Tensor;
use crate::gpu::kernels::optimizer;
use crate::gpu::record::Varies;
use crate::op::Optimizer;
use crate::{Error, Result};
#[cfg(feature = "native")]
use pollster::block_on;

/// One update of a parameter by its gradient: the new parameter and the new state. `step` counts from
/// 1; `state` holds [`state_slots`](Optimizer::state_slots) tensors like the parameter. What they hold
/// before the first step, which takes [`initial_state`](Optimizer::initial_state) in their place, does not
/// matter.
///
/// # Errors
/// [`Error::Argument`] for hyper-parameters out of range and for step 0, [`Error::Shape`] where the
/// tensors do not fit each other.
#[cfg(feature = "native")]
pub fn optimizer_update(
    optimizer: impl Into<Optimizer>,
    step: u64,
    parameter: &Tensor,
    gradient: &Tensor,
    state: &[Tensor],
) -> Result<(Tensor, Vec<Tensor>)> {
    block_on(optimizer_update_async(
        optimizer, step, parameter, gradient, state,
    ))
}

/// [`optimizer_update`] for asynchronous programs and the browser.
pub async fn optimizer_update_async(
    optimizer: impl Into<Optimizer>,
    step: u64,
    parameter: &Tensor,
    gradient: &Tensor,
    state: &[Tensor],
) -> Result<(Tensor, Vec<Tensor>)> {
    let (optimizer, shape) = (optimizer.into(), parameter.shape());
    optimizer.check()?;
    if step == 0 {
        return Err(Error::argument("step", "counts from 1"));
    }
    expect("gradient", gradient, shape)?;
    if state.len() != optimizer.state_slots() {
        let expected = format!("{} tensors", optimizer.state_slots());
        return Err(Error::shape("optimizer state", expected, state.len()));
    }
    for slot in state {
        expect("optimizer state", slot, shape)?;
    }
    let call = Call::new("optimizer_update", parameter.gpu());
    let new_parameter = call.copy("parameter", parameter)?;
    let new_state = state
        .iter()
        .enumerate()
        .map(|(at, slot)| call.copy(&format!("state[{at}]"), slot))
        .collect::<Result<Vec<_>>>()?;
    let regions = [
        call.input("gradient", gradient)?,
        call.region(&new_parameter),
    ];
    let slots: Vec<_> = new_state.iter().map(|slot| call.region(slot)).collect();
    let len = shape.len().div_ceil(4);
    optimizer::update(
        &mut call.recording(),
        (0, &optimizer),
        len,
        regions,
        None,
        &slots,
    );
    for dispatch in &mut call.recording().dispatches {
        if let Varies::Optimizer { vectors, .. } = dispatch.varies {
            dispatch.params = optimizer::params(&optimizer, step, vectors, 1.0);
        }
    }
    call.run().await?;
    Ok((new_parameter, new_state))
}
