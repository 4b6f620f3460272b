//! A device's memory: buffers, and bytes on their way to the host.

use std::ops::Deref;
use std::sync::Arc;

use futures_intrusive::channel::shared::{OneshotBroadcastReceiver, oneshot_broadcast_channel};

use super::Gpu;
use super::verdict::Verdicts;
use crate::{Error, Result};

/// Bytes of NaN before and after a poisoned buffer; more where a binding's offset needs it.
const MARGIN: u64 = 256;
/// A quiet NaN.
const POISON: [u8; 4] = 0x7fc0_0000_u32.to_le_bytes();

/// A buffer of the library's own. Clones share it, and its memory goes with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Buffer(Arc<Owned>);

#[derive(Debug)]
struct Owned(wgpu::Buffer);

impl Deref for Buffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.0.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // A browser would keep the memory until it collects garbage, which it does by what the host's memory is
        // short of. What was submitted before is not touched.
        if cfg!(target_arch = "wasm32") {
            self.0.destroy();
        }
    }
}

/// A buffer on its way to being mapped. Several may wait for it, and each is told.
#[derive(Clone)]
pub(crate) struct Mapping(OneshotBroadcastReceiver<Mapped>);

type Mapped = std::result::Result<(), wgpu::BufferAsyncError>;

/// Unmaps a buffer however its reading ends, a dropped future included.
struct Unmap<'a> {
    gpu: &'a Gpu,
    staging: &'a Buffer,
}

impl Drop for Unmap<'_> {
    fn drop(&mut self) {
        // Where mapping it has failed, there is nothing to unmap.
        let scopes = self.gpu.scopes();
        self.staging.unmap();
        drop(scopes.close("unmap", 0));
    }
}

impl Gpu {
    /// Asks for a buffer to be mapped once the queue is done with it.
    pub(crate) fn map(&self, buffer: &Buffer, mode: wgpu::MapMode) -> Mapping {
        let (sender, receiver) = oneshot_broadcast_channel();
        // The callback tells of every error; the scope keeps it from the device's own handler, which
        // may be the user's.
        let scope = self
            .inner
            .device
            .push_error_scope(wgpu::ErrorFilter::Validation);
        buffer.map_async(mode, .., move |result| {
            // Nobody listens any more where the receiver is gone.
            let _ = sender.send(result);
        });
        drop(scope.pop());
        Mapping(receiver)
    }

    /// Waits until the device is done with a submission, or with all of them. Native back ends make
    /// progress only when they are polled; in the browser this is nothing.
    pub(crate) fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let wait = wgpu::PollType::Wait {
            submission_index,
            timeout: None,
        };
        if self.poll(wait)?.is_ok() {
            return Ok(());
        }
        // A submission that was refused is none that can be waited for.
        self.check_lost()?;
        let all = self.poll(wgpu::PollType::wait_indefinitely())?;
        all.map(|_| ()).map_err(|error| Error::Gpu {
            message: error.to_string(),
        })
    }

    /// Waits until a buffer is mapped: for a submission, or for all of them.
    pub(crate) async fn mapped(
        &self,
        mapping: &Mapping,
        submission_index: Option<wgpu::SubmissionIndex>,
    ) -> Result<()> {
        self.wait(submission_index)?;
        if self.inner.debugging.answers_later {
            super::give_way().await;
        }
        let result = mapping.0.receive().await;
        self.check()?;
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.not_mapped(error)),
            None => Err(self.not_mapped("nobody answered")),
        }
    }

    /// Reads bytes back through `staging`, a buffer of usage `MAP_READ | COPY_DST`.
    pub(crate) async fn read(
        &self,
        source: &Buffer,
        offset: u64,
        size: u64,
        staging: &Buffer,
    ) -> Result<Vec<u8>> {
        self.guard("read-back", || {
            let mut encoder = self
                .inner
                .device
                .create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(source, offset, staging, 0, size);
            self.inner.queue.submit([encoder.finish()]);
        })
        .await?;
        let mapping = self.map(staging, wgpu::MapMode::Read);
        let _unmap = Unmap { gpu: self, staging };
        self.mapped(&mapping, None).await?;
        match staging.get_mapped_range(..size) {
            Ok(view) => Ok(view.to_vec()),
            Err(error) => Err(self.not_mapped(error)),
        }
    }

    /// A buffer to read `size` bytes through.
    pub(crate) async fn read_back_buffer(&self, size: u64) -> Result<Buffer> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        self.buffer("read-back", size, usage).await
    }

    /// A buffer, or the error that says why not.
    pub(crate) async fn buffer(
        &self,
        what: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer> {
        self.create(what, size, usage, false).await
    }

    /// A buffer that is mapped from the start.
    pub(crate) async fn mapped_buffer(
        &self,
        what: &str,
        size: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<Buffer> {
        // A browser maps host memory with the buffer, and ends the program where there is none; a request is refused.
        let asks = cfg!(target_arch = "wasm32") || self.inner.debugging.answers_later;
        let buffer = self.create(what, size, usage, !asks).await?;
        if asks {
            let mapping = self.map(&buffer, wgpu::MapMode::Write);
            self.mapped(&mapping, None).await?;
        }
        Ok(buffer)
    }

    async fn create(
        &self,
        what: &str,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<Buffer> {
        let mut verdicts = Verdicts::of(self);
        let buffer = self.begin_buffer(&mut verdicts, (what, size), usage, mapped_at_creation)?;
        verdicts.known().await?;
        Ok(buffer)
    }

    /// A buffer that is there once the verdicts are known.
    fn begin_buffer(
        &self,
        verdicts: &mut Verdicts,
        (what, size): (&str, u64),
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<Buffer> {
        let available = self.inner.limits.max_buffer_size;
        if size > available {
            let limit = "max_buffer_size";
            return Err(Error::Limit {
                limit,
                what: what.into(),
                needed: size,
                available,
            });
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation,
        };
        let create = || self.inner.device.create_buffer(&descriptor);
        let buffer = verdicts.guard(what, size, create)?;
        Ok(Buffer(Arc::new(Owned(buffer))))
    }

    /// Memory for kernels to work on, `size` bytes that begin at [`margin`](Self::margin). It is there once the
    /// verdicts are known.
    pub(super) fn memory(&self, verdicts: &mut Verdicts, what: &str, size: u64) -> Result<Buffer> {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        let size = size + 2 * self.margin();
        let buffer = self.begin_buffer(verdicts, (what, size), usage, false)?;
        if self.inner.debugging.poison {
            let bytes = POISON.repeat(buffer.size() as usize / 4);
            verdicts.guard(what, 0, || {
                self.inner.queue.write_buffer(&buffer, 0, &bytes)
            })?;
        }
        Ok(buffer)
    }

    /// Where the contents of such a buffer begin.
    pub(crate) fn margin(&self) -> u64 {
        let alignment = self.inner.limits.min_storage_buffer_offset_alignment.into();
        match self.inner.debugging.poison {
            true => MARGIN.next_multiple_of(alignment),
            false => 0,
        }
    }

    /// Examines what surrounds poisoned buffers.
    pub(crate) async fn check_margins<'a>(
        &self,
        buffers: impl IntoIterator<Item = &'a Buffer>,
    ) -> Result<()> {
        if !self.inner.debugging.poison {
            return Ok(());
        }
        let staging = self.read_back_buffer(self.margin()).await?;
        for buffer in buffers {
            for offset in [0, buffer.size() - self.margin()] {
                let bytes = self.read(buffer, offset, self.margin(), &staging).await?;
                if bytes.chunks(4).any(|word| word != POISON) {
                    let message = format!("a kernel wrote outside its buffer, at {offset}");
                    return Err(Error::Gpu { message });
                }
            }
        }
        Ok(())
    }
}
