//! Values joined along their channels.

use super::{Call, split_batch};
use crate::gpu::Tensor;
use crate::gpu::kernels::concat::{Block, copy};
use crate::{Error, Result, Shape};
#[cfg(feature = "native")]
use pollster::block_on;

/// Tensors `(N, C, ...)` one after the other along their channels.
#[cfg(feature = "native")]
pub fn concat(tensors: &[&Tensor]) -> Result<Tensor> {
    block_on(concat_async(tensors))
}

/// [`concat()`] for asynchronous programs and the browser.
pub async fn concat_async(tensors: &[&Tensor]) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        return Err(Error::argument("concat", "needs a tensor"));
    };
    let (batch, _) = split_batch("concat", first.shape())?;
    let mut extents = first.shape().to_vec();
    if extents.len() < 2 {
        return Err(Error::shape("concat", "tensors (N, C, ...)", first.shape()));
    }
    extents[1] = 0;
    for tensor in tensors {
        let shape = tensor.shape();
        if shape.rank() != extents.len() || shape[0] != batch || shape[2..] != extents[2..] {
            let expected = format!("a tensor like {} but for its channels", first.shape());
            return Err(Error::shape("concat", expected, shape));
        }
        extents[1] += shape[1];
    }
    let shape = Shape::from(extents);
    let whole = shape.len() / batch;
    let call = Call::new("concat", first.gpu());
    let output = call.output(shape)?;
    let (to, mut offset) = (call.region(&output), 0);
    for (at, tensor) in tensors.iter().enumerate() {
        let stride = tensor.shape().len() / batch;
        let from = call.input(&format!("tensors[{at}]"), tensor)?;
        let from = (from, Block { stride, offset: 0 });
        let block = Block {
            stride: whole,
            offset,
        };
        copy(
            &mut call.recording(),
            [batch, stride],
            from,
            (to.into(), block),
        );
        offset += stride;
    }
    call.run().await?;
    Ok(output)
}
