//! Kernels on a device with buffers of their own, which can be written and read.

use std::ops::Range;

use crate::gpu::kernel::Format;
use crate::gpu::program::Program;
use crate::gpu::record::{BufferId, Dispatch, Recording, Region, Varies};
use crate::{Error, Gpu, Result};

/// A recording whose used buffers are all persistent, compiled.
pub(super) struct Rig<'a> {
    gpu: &'a Gpu,
    recording: &'a Recording,
    program: Program,
}

/// A quiet NaN, which shows where a kernel wrote nothing or read what it should not.
const NAN: u32 = 0x7fc0_0000;

impl<'a> Rig<'a> {
    pub async fn new(gpu: &'a Gpu, recording: &'a Recording) -> Result<Self> {
        let program = Program::compile(gpu, recording).await?;
        Ok(Self {
            gpu,
            recording,
            program,
        })
    }

    /// Fills all buffers with NaN.
    pub async fn clear(&self) -> Result<()> {
        for (id, info) in self.recording.buffers.iter().enumerate() {
            let buffer = BufferId(id);
            if self.program.buffer(buffer).is_some() {
                let whole = Region {
                    buffer,
                    offset: 0,
                    size: info.size,
                    format: Format::F32,
                };
                self.write(whole, &vec![NAN; info.size as usize / 4])
                    .await?;
            }
        }
        Ok(())
    }

    /// Writes to the beginning of a region; does nothing where no kernel uses its buffer.
    pub async fn write<T: bytemuck::Pod>(&self, region: Region, values: &[T]) -> Result<()> {
        let Some(buffer) = self.program.buffer(region.buffer) else {
            return Ok(());
        };
        let offset = self.gpu.margin() + region.offset;
        let write = || {
            self.gpu
                .queue()
                .write_buffer(buffer, offset, bytemuck::cast_slice(values))
        };
        self.gpu.guard("verification data", write).await
    }

    /// Runs ranges of the dispatches. `fill` completes the params of those that vary.
    pub async fn run(
        &self,
        ranges: &[Range<usize>],
        fill: impl Fn(&Dispatch, &mut [u8]),
    ) -> Result<()> {
        let dispatches = &self.recording.dispatches;
        let mut params = self.program.params_block(dispatches);
        for (at, dispatch) in dispatches.iter().enumerate() {
            if dispatch.varies != Varies::Nothing {
                fill(dispatch, &mut params[self.program.params_offset(at)..]);
            }
        }
        let submit = || {
            let queue = self.gpu.queue();
            queue.write_buffer(self.program.uniforms(), 0, &params);
            let mut encoder = self
                .gpu
                .device()
                .create_command_encoder(&Default::default());
            self.program.encode(&mut encoder, dispatches, ranges);
            queue.submit([encoder.finish()]);
        };
        self.gpu.guard("verification", submit).await
    }

    /// Reads the first `len` elements of a region.
    pub async fn read<T: bytemuck::Pod>(&self, region: Region, len: usize) -> Result<Vec<T>> {
        let missing = || Error::Gpu {
            message: "a result has no memory".into(),
        };
        let buffer = self.program.buffer(region.buffer).ok_or_else(missing)?;
        self.program.check_margins(self.gpu).await?;
        let (offset, size) = (self.gpu.margin() + region.offset, len as u64 * 4);
        let staging = self.gpu.read_back_buffer(size.max(4)).await?;
        let bytes = self.gpu.read(buffer, offset, size, &staging).await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}
