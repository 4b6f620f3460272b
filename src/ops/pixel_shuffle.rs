//! Channels laid out as pixels, and pixels as channels.

use super::{Call, split_batch};
use crate::Result;
use crate::gpu::Tensor;
use crate::gpu::kernels::pixel_shuffle::{Towards, shuffle};
use crate::op::{PixelShuffle, PixelUnshuffle};
#[cfg(feature = "native")]
use pollster::block_on;

/// `x` `(N, C * r * r, H, W)` with the channels laid out as pixels: `(N, C, H * r, W * r)` for a factor `r`.
/// See [`PixelShuffle`]. The gradient of [`pixel_unshuffle`].
#[cfg(feature = "native")]
pub fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    block_on(pixel_shuffle_async(x, factor))
}

/// [`pixel_shuffle`] for asynchronous programs and the browser.
pub async fn pixel_shuffle_async(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (batch, example) = split_batch("pixel_shuffle input", x.shape())?;
    let geometry = PixelShuffle::new(factor).geometry(batch, &example)?;
    let (channels, size) = (geometry.planes / batch, geometry.large_size());
    let call = Call::new("pixel_shuffle", x.gpu());
    let output = call.output([batch, channels, size.height, size.width])?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    shuffle(&mut call.recording(), &geometry, Towards::Pixels, from, to);
    call.run().await?;
    Ok(output)
}

/// `x` `(N, C, H * r, W * r)` with the pixels laid out as channels: `(N, C * r * r, H, W)` for a factor `r`.
/// See [`PixelUnshuffle`]. The gradient of [`pixel_shuffle`].
#[cfg(feature = "native")]
pub fn pixel_unshuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    block_on(pixel_unshuffle_async(x, factor))
}

/// [`pixel_unshuffle`] for asynchronous programs and the browser.
pub async fn pixel_unshuffle_async(x: &Tensor, factor: usize) -> Result<Tensor> {
    let (batch, example) = split_batch("pixel_unshuffle input", x.shape())?;
    let geometry = PixelUnshuffle::new(factor).geometry(batch, &example)?;
    let (channels, size) = (example[0] * factor * factor, geometry.size);
    let call = Call::new("pixel_unshuffle", x.gpu());
    let output = call.output([batch, channels, size.height, size.width])?;
    let (from, to) = (call.input("x", x)?, call.region(&output).into());
    shuffle(
        &mut call.recording(),
        &geometry,
        Towards::Channels,
        from,
        to,
    );
    call.run().await?;
    Ok(output)
}
