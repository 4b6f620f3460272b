//! The sum of two values.

use super::{Call, expect};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::add as kernels;

/// The sum of two tensors of one shape.
pub fn add(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    expect("right", right, left.shape())?;
    let call = Call::new("add", left.gpu());
    let output = call.output(left.shape())?;
    let (inputs, to) = (
        call.inputs([("left", left), ("right", right)])?,
        call.region(&output),
    );
    kernels::add(&mut call.recording(), left.shape().len(), inputs, to.into());
    call.run()?;
    Ok(output)
}
